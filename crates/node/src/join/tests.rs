//! Redials, and who gets a certificate.

use super::*;

#[test]
fn a_neighbour_is_dialled_again_after_pauses_that_double() {
    let mut neighbours = Neighbours::find(Time(0), &["127.0.0.1:9".to_owned()]).unwrap();
    let mut pauses = Vec::new();
    let mut now = Time(0);
    for _ in 0..8 {
        let mut dialled = 0;
        neighbours.dial(now, |_| {
            dialled += 1;
            None
        });
        assert_eq!(dialled, 1);
        let due = neighbours.poll_timeout();
        pauses.push(due.since(now).0 / 1_000_000);
        now = due;
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
}

#[test]
fn only_its_own_link_brings_a_neighbour_back() {
    let mut neighbours = Neighbours::find(Time(0), &["127.0.0.1:9".to_owned()]).unwrap();
    neighbours.dial(Time(0), |_| Some(LinkId(3)));
    neighbours.closed(Time(1), LinkId(4));
    assert_eq!(neighbours.poll_timeout(), Time::NEVER);
    neighbours.closed(Time(1), LinkId(3));
    assert_eq!(neighbours.poll_timeout(), Time(1) + PAUSE);
}

#[test]
fn a_listener_on_all_addresses_is_told_by_one_that_others_can_use() {
    assert_eq!(reachable("127.0.0.1:7".parse().unwrap()), "127.0.0.1:7".parse().unwrap());
    let told = reachable("0.0.0.0:7".parse().unwrap());
    assert!(!told.ip().is_unspecified());
    assert_eq!(told.port(), 7);
}
