//! Who may use regions, over which connections.

use wire::region::{
    Answer, Ask, Attach, Attached, Audience, Create, Drop, Durability, Request, SessionId, Style,
};

use super::*;

fn create() -> Message {
    Message::RegionCreate(Create {
        name: name("genes"),
        page_size: 4096,
        pages: 8,
        durability: Durability::None,
        style: Style::Transactional,
        audience: Audience::Cluster,
    })
}

fn attach(session: u64) -> Message {
    Message::Attach(Attach { region: name("genes"), session: SessionId(session) })
}

fn ask(request: Request) -> Message {
    Message::Request(Ask { answered: 0, request }, Bytes::new())
}

#[test]
fn regions_are_made_by_clients_and_used_over_connections_of_their_own() {
    let mut bench = Bench::with_client("ann");
    assert!(bench.say(CLIENT, 3, create()).contains("Ok("));
    for (peer, words) in [
        (Peer::Client(name("bob")), "1: welcome"),
        (Peer::Admin(name("root")), "1: welcome"),
        (Peer::Node(name("other")), "1: forbidden, close 1"),
        (Peer::Stranger, "1: forbidden, close 1"),
    ] {
        assert_eq!(bench.greet(OTHER, peer, Purpose::Memory), words);
        bench.handle(vec![Event::Closed { link: OTHER }]);
    }
    bench.greet(OTHER, Peer::Client(name("bob")), Purpose::Memory);
    bench.say(OTHER, 0, attach(1));
    let answer = bench.say(OTHER, 1, ask(Request::Renew));
    assert_eq!(answer, format!("1: {:?}", Message::Answer(Answer::Done, Bytes::new())));
    // Tasks are not for it, nor are requests for a control connection.
    assert_eq!(
        bench.say(OTHER, 0, Message::StatusAsk),
        "1: breach: a message that is no request to a region, close 1"
    );
    assert!(bench.say(CLIENT, 1, ask(Request::Renew)).contains("breach"));
}

#[test]
fn a_silent_session_loses_its_lock_though_its_link_is_up_and_a_ping_is_a_word() {
    let mut bench = Bench::with_client("ann");
    bench.say(CLIENT, 0, create());
    for (link, session) in [(OTHER, 1), (LinkId(2), 2)] {
        bench.greet(link, Peer::Client(name("bob")), Purpose::Memory);
        bench.say(link, 0, attach(session));
    }
    let page = wire::region::PageNo(0);
    let lock = Request::Lock { page, known: wire::region::Version(1), wait: None };
    assert!(bench.say(OTHER, 1, ask(lock.clone())).contains("Locked"));
    assert_eq!(bench.say(LinkId(2), 1, ask(lock)), "");
    for _ in 0..5 {
        bench.now = bench.now + Span::from_secs(1);
        let heard = [OTHER, LinkId(2)].map(|link| Event::Heard { link });
        let words = bench.handle(heard.into_iter().chain([Event::Tick]).collect());
        assert!(!words.contains("Locked"), "{words}");
    }
    bench.now = bench.now + Span::from_secs(2);
    bench.handle(vec![Event::Heard { link: LinkId(2) }, Event::Tick]);
    bench.now = bench.now + Span::from_secs(1);
    let words = bench.handle(vec![Event::Heard { link: LinkId(2) }, Event::Tick]);
    assert!(words.contains("2: Answer(Locked"), "{words}");
}

#[test]
fn all_connections_of_a_region_end_with_it_however_many_there_are() {
    let mut bench = Bench::with_client("ann");
    bench.say(CLIENT, 0, create());
    let many = 8000;
    for link in 1..=many {
        bench.greet(LinkId(link), Peer::Client(name("bob")), Purpose::Memory);
        bench.node.handle(
            bench.now,
            Event::Message { link: LinkId(link), channel: 0, message: attach(link.into()) },
        );
    }
    let attached = std::iter::from_fn(|| bench.node.poll_effect()).filter(|effect| {
        matches!(effect, Effect::Send { message: Message::Attached(attached), .. }
            if matches!(**attached, Attached { result: Ok(_) }))
    });
    assert!(attached.count() > 0);
    let words = bench.say(CLIENT, 0, Message::RegionDrop(Drop { name: name("genes") }));
    assert_eq!(words.matches("close").count(), many as usize);
    assert_eq!(bench.node.figures(bench.now).regions.regions, 0);
}
