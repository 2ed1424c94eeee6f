//! What a node says of processes that moved to it, and are over.

use wire::limits::VISITS_OVER_MAX;
use wire::visit::{Begin, Entry, Stage};

use super::*;
use crate::VisitId;

fn entry() -> Entry {
    let (from, command) = ("a".to_owned(), "x".to_owned());
    Entry::Begin(Begin { from, pid: 1, command, memory: 0, terminal: false })
}

fn begin(bench: &mut Bench, link: u32) {
    let purpose = Purpose::Visit { entry: entry() };
    bench.greet(LinkId(link), Peer::Client(name("me")), purpose);
}

fn ask(bench: &mut Bench, token: u64) -> String {
    let entry = Entry::Return { visit: token };
    bench.greet(LinkId(9), Peer::Client(name("me")), Purpose::Visit { entry })
}

#[test]
fn who_asks_for_a_visit_that_ran_and_is_lost_is_told_so() {
    let mut bench = Bench::new();
    let cases = [
        (1, vec![], "never ran"),
        (2, vec![Stage::Built], "never ran"),
        (3, vec![Stage::Built, Stage::Runs], "it ran there, and is lost"),
        (4, vec![Stage::Runs, Stage::Ended], "it ran there, and how it ended"),
    ];
    for (link, stages, words) in cases {
        begin(&mut bench, link);
        let visit = VisitId(link);
        let mut events: Vec<Event> =
            stages.into_iter().map(|stage| Event::VisitCame { visit, stage }).collect();
        events.push(Event::VisitEnded { visit });
        bench.handle(events);
        let said = ask(&mut bench, 100 + u64::from(link));
        assert!(said.contains("Absent") && said.contains(words), "{said}");
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
