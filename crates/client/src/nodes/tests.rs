//! What is known of nodes by their names.

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn a_node_that_has_changed_its_name_does_not_answer_to_the_old_one() {
    let poll = mio::Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut nodes = Nodes::new(registry, None, name("me"));
    for address in ["127.0.0.1:1", "127.0.0.1:2"] {
        nodes.add(Time(0), Target::Tcp(address.parse().unwrap()));
    }
    nodes.name(0, name("x"));
    nodes.name(0, name("x"));
    assert_eq!(nodes.by_name.get(&name("x")), Some(&0), "it has come back");
    nodes.name(0, name("y"));
    assert_eq!(nodes.by_name.get(&name("x")), None, "so the node x is looked for elsewhere");
    // The other one has the name already when the first tells of its new one.
    nodes.name(1, name("y"));
    nodes.name(0, name("z"));
    let known = ["x", "y", "z"].map(|text| nodes.by_name.get(&name(text)).copied());
    assert_eq!(known, [None, Some(1), Some(0)]);
}
