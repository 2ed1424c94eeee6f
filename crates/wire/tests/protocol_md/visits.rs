//! The vectors of visits.

use bytes::Bytes;
use farcall_wire::Message;
use farcall_wire::limits::VISIT_LEASE;
use farcall_wire::units::Span;
use farcall_wire::visit::{
    Alone, Begin, Built, Call, CallImage, Closed, Entry, Exited, Lane, Refused, Resize, Signal,
    Stage, Stdio, Stopped, Taken, Visit, Visits, Wake, Woken,
};

pub(super) fn begin() -> Begin {
    Begin { from: "a".into(), pid: 4242, command: "sum 1".into(), memory: 1 << 20 }
}

pub(super) fn pages() -> Entry {
    Entry::Pages { visit: 300, lane: Lane::Faults }
}

pub(super) fn messages() -> Vec<(&'static str, u64, Message)> {
    use Message as M;
    let size = Resize { rows: 24, columns: 80 };
    let visit = Visit {
        number: 3,
        owner: "me".parse().expect("a name"),
        begin: begin(),
        stage: Stage::Runs,
        pid: 300,
        since: Span(1_000_000),
    };
    vec![
        ("built", 0, M::Built(Built { pid: 300, lease: VISIT_LEASE })),
        ("refused", 0, M::Refused(Refused { reason: "no".into() })),
        ("wake", 0, M::Wake(Wake { alone: Alone::Ends, terminal: None })),
        ("wake-terminal", 0, M::Wake(Wake { alone: Alone::GoesOn, terminal: Some(size) })),
        ("woken", 0, M::Woken(Woken { pid: 300 })),
        ("stdio", 0, M::Stdio(Stdio { stream: 1, at: 300 }, Bytes::from_static(b"abc"))),
        ("taken", 0, M::Taken(Taken { stream: 1, bytes: 303 })),
        ("closed", 0, M::Closed(Closed { stream: 1, at: 303 })),
        ("signal", 0, M::Signal(Signal { number: 15 })),
        ("resize", 0, M::Resize(size)),
        ("stopped", 0, M::Stopped(Stopped { number: 20 })),
        ("exited", 0, M::Exited(Exited::Code(-1))),
        ("exited-signal", 0, M::Exited(Exited::Signal(9))),
        ("call", 7, M::Call(Call { image: CallImage::Changes, wakes: true })),
        ("image", 7, M::Image(Bytes::from_static(b"abc"))),
        ("visits-ask", 0, M::VisitsAsk),
        ("visits", 0, M::Visits(Visits { visits: vec![visit] })),
    ]
}
