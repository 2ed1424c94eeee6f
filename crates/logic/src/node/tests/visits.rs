//! What a node says of processes that moved to it, and are over.

use wire::blob::Permit;
use wire::limits::{VISIT_WAITS, VISITS_MAX, VISITS_OVER_MAX};
use wire::visit::{Begin, Chained, Entry, Lane, Stage};

use super::*;
use crate::VisitId;

fn entry() -> Entry {
    let (from, command) = ("a".to_owned(), "x".to_owned());
    Entry::Begin(Begin { from, pid: 1, command, memory: 0, terminal: false })
}

fn begin(bench: &mut Bench, link: u32) -> String {
    let purpose = Purpose::Visit { entry: entry() };
    bench.greet(LinkId(link), Peer::Client(name("me")), purpose)
}

fn ask(bench: &mut Bench, token: u64) -> String {
    let entry = Entry::Return { visit: token };
    bench.greet(LinkId(9), Peer::Client(name("me")), Purpose::Visit { entry })
}

#[test]
fn who_asks_for_a_visit_that_ran_and_is_lost_is_told_so() {
    let mut bench = Bench::new();
    let cases = [
        (1, vec![], "Absent", "never ran"),
        (2, vec![Stage::Built], "Absent", "never ran"),
        (5, vec![Stage::Runs, Stage::Refused], "Absent", "never ran"),
        (3, vec![Stage::Built, Stage::Runs], "Over", "it ran there, and is lost"),
        (4, vec![Stage::Runs, Stage::Ended], "Over", "it ran there, and how it ended"),
    ];
    let mut begun = 0;
    for (link, stages, kind, words) in cases {
        begin(&mut bench, link);
        begun += 1;
        let visit = VisitId(begun);
        let mut events: Vec<Event> =
            stages.into_iter().map(|stage| Event::VisitCame { visit, stage }).collect();
        events.push(Event::VisitEnded { visit });
        bench.handle(events);
        let said = ask(&mut bench, 100 + u64::from(link));
        assert!(said.contains(kind) && said.contains(words), "{said}");
    }
    // Another token than any of its own.
    assert!(ask(&mut bench, 7).contains("never ran"));
}

#[test]
fn a_node_remembers_so_many_visits_and_no_more() {
    let mut bench = Bench::new();
    for number in 1..=VISITS_OVER_MAX as u32 + 1 {
        let token = u64::from(number) + 1000;
        let hello = Hello {
            agent: "test".to_owned(),
            name: name("somebody"),
            purpose: Purpose::Visit { entry: entry() },
        };
        let (link, peer, visit) = (LinkId(5), Peer::Client(name("me")), VisitId(number));
        bench.handle(vec![
            Event::Accepted { link, peer, token },
            Event::Message { link, channel: 0, message: Message::Version(VERSION) },
            Event::Message { link, channel: 0, message: Message::Hello(hello) },
            Event::VisitCame { visit, stage: Stage::Runs },
            Event::VisitEnded { visit },
        ]);
    }
    assert!(ask(&mut bench, 1001).contains("never ran"), "the oldest one is forgotten");
    assert!(ask(&mut bench, 1002).contains("it ran there"));
}

#[test]
fn an_end_that_nobody_has_heard_gives_way_to_who_comes_and_takes_no_slot() {
    let mut bench = Bench::new();
    let slots = |bench: &mut Bench| bench.node.visits.busy();
    for link in 1..=VISITS_MAX as u32 {
        begin(&mut bench, link);
        let (visit, stage) = (VisitId(link), Stage::Runs);
        bench.handle(vec![Event::VisitCame { visit, stage }]);
    }
    let said = begin(&mut bench, 200);
    assert!(said.contains("Full"), "{said}");
    for visit in [VisitId(9), VisitId(3)] {
        bench.handle(vec![Event::VisitCame { visit, stage: Stage::Ended }]);
    }
    assert_eq!(slots(&mut bench), VISITS_MAX as u32 - 2);
    let said = begin(&mut bench, 201);
    assert!(said.contains("Full"), "they may be being heard just now: {said}");
    bench.now = bench.now + VISIT_WAITS;
    let said = begin(&mut bench, 202);
    assert!(said.contains("end visit 9") && said.contains("welcome"), "the oldest: {said}");
    assert!(ask(&mut bench, 109).contains("it ran there, and how it ended was forgotten"));
    assert!(ask(&mut bench, 103).contains("welcome"), "that one is still kept");
    // Its pad's end is no news.
    bench.handle(vec![Event::VisitEnded { visit: VisitId(9) }]);
    assert_eq!(slots(&mut bench), VISITS_MAX as u32 - 1);
}

fn chained(bench: &mut Bench, link: u32, from: Option<(&str, Permit)>, onward: Option<Permit>) {
    let begin = Begin { from: "a".into(), pid: 1, command: "x".into(), memory: 0, terminal: false };
    let from = from.map(|(node, permit)| (name(node), permit));
    let entry = Entry::Chained(Chained { begin, number: 3, from, onward });
    bench.greet(LinkId(link), Peer::Client(name("me")), Purpose::Visit { entry });
}

fn come_for(bench: &mut Bench, link: u32, peer: Peer, permit: Permit) -> String {
    bench.greet(LinkId(link), peer, Purpose::Visit { entry: Entry::Onward { permit } })
}

#[test]
fn an_image_goes_on_to_a_node_with_its_permit_once_and_to_nobody_else() {
    let mut bench = Bench::new();
    let permit = Permit([7; 16]);
    chained(&mut bench, 1, None, Some(permit));
    for peer in [Peer::Client(name("me")), Peer::Admin(name("root")), Peer::Stranger] {
        assert!(come_for(&mut bench, 4, peer, permit).contains("forbidden"));
    }
    let node = || Peer::Node(name("b"));
    assert!(come_for(&mut bench, 5, node(), Permit([8; 16])).contains("forbidden"));
    let said = come_for(&mut bench, 6, node(), permit);
    assert!(said.contains("welcome") || said.contains("Welcome"), "{said}");
    assert!(come_for(&mut bench, 7, node(), permit).contains("forbidden"), "it was used");
}

#[test]
fn a_permit_ends_with_its_visit_and_an_ordinary_visit_has_none() {
    let mut bench = Bench::new();
    let permit = Permit([7; 16]);
    chained(&mut bench, 1, Some(("b", Permit([9; 16]))), Some(permit));
    begin(&mut bench, 2);
    bench.handle(vec![Event::VisitEnded { visit: VisitId(1) }]);
    for permit in [permit, Permit([9; 16]), Permit([0; 16])] {
        let said = come_for(&mut bench, 5, Peer::Node(name("b")), permit);
        assert!(said.contains("forbidden"), "{said}");
    }
}

fn pages(bench: &mut Bench, link: u32, peer: &str, token: u64, lane: Lane) -> String {
    let entry = Entry::Pages { visit: token, lane };
    bench.greet(LinkId(link), Peer::Client(name(peer)), Purpose::Visit { entry })
}

#[test]
fn each_lane_of_pages_comes_once_from_whoever_began_the_visit_and_before_it_is_built() {
    let mut bench = Bench::new();
    begin(&mut bench, 1);
    let token = 101;
    // A node of which nothing else is told lets no pages follow, in words.
    let said = pages(&mut bench, 2, "me", token, Lane::Stream);
    assert!(said.contains("Full") && said.contains("; send them before"), "{said}");
    bench.node.set_pages_follow(Ok(()));
    let said = pages(&mut bench, 3, "other", token, Lane::Stream);
    assert!(said.contains("forbidden"), "{said}");
    let said = pages(&mut bench, 4, "me", 7, Lane::Stream);
    assert!(said.contains("Absent"), "{said}");
    for (link, lane) in [(5, Lane::Stream), (6, Lane::Faults)] {
        let said = pages(&mut bench, link, "me", token, lane);
        assert!(said.contains("welcome"), "{said}");
        let again = pages(&mut bench, link + 2, "me", token, lane);
        assert!(again.contains("breach") && !again.contains("welcome"), "{again}");
    }
    begin(&mut bench, 10);
    let visit = VisitId(2);
    bench.handle(vec![Event::VisitCame { visit, stage: Stage::Built }]);
    let said = pages(&mut bench, 11, "me", 110, Lane::Stream);
    assert!(said.contains("breach"), "too late: {said}");
}
