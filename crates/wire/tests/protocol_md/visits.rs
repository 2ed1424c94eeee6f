//! The vectors of visits.

use bytes::Bytes;
use farcall_wire::Message;
use farcall_wire::blob::Permit;
use farcall_wire::limits::VISIT_LEASE;
use farcall_wire::terminal::Modes;
use farcall_wire::units::Span;
use farcall_wire::visit::{
    Alone, Begin, Built, Call, CallImage, Chained, Closed, Entry, Exited, Lane, Refused, Resize,
    SIGNALS, Stage, Stdio, Stopped, Taken, Visit, Visits, Wake, Woken,
};

pub(super) fn begin() -> Begin {
    Begin { from: "a".into(), pid: 4242, command: "sum 1".into(), memory: 1 << 20, terminal: false }
}

pub(super) fn chained(permit: Permit) -> Chained {
    let from = Some(("b".parse().expect("a name"), permit));
    Chained { begin: begin(), number: 2, from, onward: None }
}

pub(super) fn pages() -> Entry {
    Entry::Pages { visit: 300, lane: Lane::Faults }
}

pub(super) fn messages() -> Vec<(&'static str, u64, Message)> {
    use Message as M;
    let size = Resize { rows: 24, columns: 80 };
    let modes = Modes { flags: [0x500, 5, 0xbf, 0x8a3b], discipline: 0, characters: [3; 19] };
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
        (
            "stdio-signal",
            0,
            M::Stdio(Stdio { stream: SIGNALS, at: 0 }, Bytes::from_static(b"\x0f")),
        ),
        ("resize", 0, M::Resize(size)),
        ("modes", 0, M::Modes(modes)),
        ("stopped", 0, M::Stopped(Stopped { number: 20 })),
        ("exited", 0, M::Exited(Exited::Code(-1))),
        ("exited-signal", 0, M::Exited(Exited::Signal(9))),
        ("call", 7, M::Call(Call { image: CallImage::Changes, wakes: true })),
        ("image", 7, M::Image(Bytes::from_static(b"abc"))),
        ("visits-ask", 0, M::VisitsAsk),
        ("visits", 0, M::Visits(Visits { visits: vec![visit] })),
    ]
}
