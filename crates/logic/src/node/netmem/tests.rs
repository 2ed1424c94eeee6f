//! A node whose regions are served, and peers that ask for little.

use bytes::BytesMut;
use wire::member::{Member, State};
use wire::netmem::{Answer, Command};
use wire::region::Drop;
use wire::units::Span;

use super::*;
use crate::node::{Event, Options};

const NOW: Time = Time(1);
const PEER: LinkId = LinkId(4);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node() -> Node {
    let me =
        Member { name: name("me"), life: 1, addresses: Vec::new(), slots: 1, state: State::Here };
    let controllers = crate::controllers::Options::default();
    let options = Options { agent: "test".to_owned(), me, grace: Span::from_secs(10), controllers };
    Node::new(NOW, options)
}

fn port(region: &str, length: Option<u32>) -> Port {
    let served = Served { region: name(region), length };
    Port { served, pages: 6, page_size: 64, id: RegionId(9) }
}

/// There is a region already.
fn create(node: &mut Node, style: Style) {
    let size = if style == Style::Coherent { 4096 } else { 128 };
    let create = Create { style, ..volatile(name("genes"), 2, size) };
    let owner = Owner { name: name("somebody"), is_admin: false };
    let (link, channel, id) = (LinkId(0), 1, RegionId(1));
    let event = regions::Event::Create { link, channel, owner, create, id };
    node.handle(NOW, Event::Region(event));
    drain(node);
}

/// What comes of it, save what goes to the one who made a region.
fn drain(node: &mut Node) -> Vec<Effect> {
    node.settle(NOW);
    let all = std::iter::from_fn(|| node.poll_effect());
    all.filter(|effect| !matches!(effect, Effect::Send { link: LinkId(0), .. })).collect()
}

fn asks(node: &mut Node, command: Command) -> Vec<Effect> {
    let mut input = BytesMut::new();
    command.put(&mut input);
    node.netmem().hear(NOW, PEER, &mut input, false);
    drain(node)
}

#[track_caller]
fn answered(effects: &[Effect]) -> &Answer {
    match effects {
        [Effect::NetMem(netmem::Effect::Reply { link: PEER, answer })] => answer,
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn a_region_is_made_where_there_is_none() {
    let mut node = node();
    // Two ports for one region: the second finds it.
    node.serve_netmem(NOW, vec![port("genes", Some(40)), port("genes", None)]);
    assert!(drain(&mut node).is_empty(), "nobody hears of it");
    node.netmem_up(NOW, PEER, 0);
    assert!(drain(&mut node).is_empty());
    let effects = asks(&mut node, Command::Params);
    assert_eq!(*answered(&effects), Answer::Params { pages: 6, length: 40 });
}

#[test]
fn a_region_that_is_there_is_served_as_it_is() {
    let mut node = node();
    create(&mut node, Style::Transactional);
    node.serve_netmem(NOW, vec![port("genes", None)]);
    assert!(drain(&mut node).is_empty());
    node.netmem_up(NOW, PEER, 0);
    assert!(drain(&mut node).is_empty());
    let effects = asks(&mut node, Command::Params);
    assert_eq!(*answered(&effects), Answer::Params { pages: 2, length: 128 });
}

#[test]
fn a_region_that_does_not_fit_is_refused_in_words() {
    for (style, length, why) in [
        (Style::Transactional, Some(129), "its pages have 128 bytes, not 129"),
        (Style::Coherent, None, "it is coherent"),
    ] {
        let mut node = node();
        create(&mut node, style);
        node.serve_netmem(NOW, vec![port("genes", length)]);
        let effects = drain(&mut node);
        let [Effect::NetMemRefused { words }] = &effects[..] else { panic!("{effects:?}") };
        assert!(words.contains(why) && words.contains("region genes"), "{words}");
        // Whoever comes is sent away.
        node.netmem_up(NOW, PEER, 0);
        let effects = drain(&mut node);
        let finish = matches!(effects[..], [Effect::NetMem(netmem::Effect::Finish { link: PEER })]);
        assert!(finish, "{effects:?}");
    }
}

#[test]
fn the_peers_of_a_region_that_is_dropped_are_sent_away() {
    let mut node = node();
    create(&mut node, Style::Transactional);
    node.serve_netmem(NOW, vec![port("genes", None)]);
    node.netmem_up(NOW, PEER, 0);
    drain(&mut node);
    asks(&mut node, Command::Lock { page: 0, version: 0 });
    node.netmem().unsent(NOW, PEER, 0);
    let owner = Owner { name: name("somebody"), is_admin: false };
    let (link, channel, drop) = (LinkId(0), 2, Drop { name: name("genes") });
    node.handle(NOW, Event::Region(regions::Event::Drop { link, channel, owner, drop }));
    let effects = drain(&mut node);
    let finish = matches!(effects[..], [Effect::NetMem(netmem::Effect::Finish { link: PEER })]);
    assert!(finish, "{effects:?}");
    node.handle(NOW, Event::Closed { link: PEER });
    assert!(drain(&mut node).is_empty());
    assert!(!node.netmem().has(PEER));
}

#[test]
fn a_connection_that_is_gone_gives_its_locks_back() {
    let mut node = node();
    node.serve_netmem(NOW, vec![port("genes", Some(8))]);
    let other = LinkId(5);
    node.netmem_up(NOW, other, 0);
    node.netmem_up(NOW, PEER, 0);
    drain(&mut node);
    let mut input = BytesMut::new();
    Command::Lock { page: 0, version: 1 }.put(&mut input);
    node.netmem().hear(NOW, other, &mut input, false);
    drain(&mut node);
    assert!(asks(&mut node, Command::Lock { page: 0, version: 1 }).is_empty(), "it waits");
    node.handle(NOW, Event::Closed { link: other });
    let effects = drain(&mut node);
    let locked = Answer::Page { kind: 3, page: 0, version: 1, bytes: bytes::Bytes::new() };
    assert_eq!(*answered(&effects), locked);
}
