//! Scripts of what one controller asks and what `slots` says, each step with what must follow.

use super::*;

const LINK: LinkId = LinkId(3);

#[derive(Clone, Debug)]
enum Step {
    Version(u32),
    Core(u64),
    Job,
    /// A job of so many bytes in the buffer of that number.
    Large(u32, u64),
    NoVersion,
    Nonsense,
    TooLong,
    Loaded(u64),
    NotLoaded(u64),
    Unbound(u64),
    /// The next channel that is at `slots` ends, or that one.
    Done(u64),
    DoneLarge(u64),
    Crashed(u64),
    Credit(u64),
    Stuffed(bool),
    HalfClosed,
    Leave,
    Down,
}
use Step::*;

/// The only place that touches the API. Requests are numbered from 0 as they come. What follows is
/// `run 0` (a channel), `bind 7`, `unbind`, `forget 7`, `free 1` (a buffer), `listen`, `finish`, or
/// a reply: `0:yes`, `0:no` (versions), `0:loaded`, `0:code 0`, `0:error …`.
#[track_caller]
fn check(script: &[(Step, &str)]) {
    let mut controllers = Controllers::default();
    controllers.link_up(LINK);
    controllers.credit(LINK, 100);
    let mut next = 0;
    for (number, (step, want)) in script.iter().enumerate() {
        let mut ask = |controllers: &mut Controllers, weight, request| {
            let asked = Asked { id: next, weight, request };
            controllers.handle(LINK, Event::Asked(asked));
            next += 1;
        };
        match step.clone() {
            Version(version) => ask(&mut controllers, 128, Request::Version(version)),
            Core(bound) => {
                let (name, hash) = ("sum".to_owned(), Hash::of(b"sum"));
                let request = Request::Core { name, hash, bound: Bound(bound) };
                ask(&mut controllers, 128, request);
            }
            Job => ask(&mut controllers, 128, Request::Job { input: Payload::empty() }),
            Large(buffer, length) => {
                let input = Payload::Buffer { buffer: BufferId(buffer), length };
                ask(&mut controllers, length, Request::Job { input });
            }
            NoVersion => {
                let reason = "no version".to_owned();
                ask(&mut controllers, 128, Request::NoVersion { reason });
            }
            Nonsense => {
                let request = Request::Nonsense { reason: "what?".to_owned() };
                ask(&mut controllers, 128, request);
            }
            TooLong => {
                ask(&mut controllers, 128, Request::TooLong { reason: "too long".to_owned() });
            }
            Loaded(bound) => controllers.bound(LINK, Bound(bound), Ok(())),
            NotLoaded(bound) => controllers.bound(LINK, Bound(bound), Err("no".to_owned())),
            Unbound(bound) => controllers.unbound(LINK, Bound(bound)),
            Done(channel) => {
                let (status, output) = (Status::Finished { code: 0 }, Payload::empty());
                controllers.done(
                    LINK,
                    channel,
                    Finished { status, ran: Span(1), output, times: Default::default() },
                );
            }
            DoneLarge(channel) => {
                let output = Payload::Buffer { buffer: BufferId(99), length: 1 << 20 };
                let status = Status::Finished { code: 0 };
                controllers.done(
                    LINK,
                    channel,
                    Finished { status, ran: Span(1), output, times: Default::default() },
                );
            }
            Crashed(channel) => {
                let status = Status::Crashed { signal: 11, stderr: String::new() };
                let output = Payload::empty();
                controllers.done(
                    LINK,
                    channel,
                    Finished { status, ran: Span(1), output, times: Default::default() },
                );
            }
            Credit(limit) => controllers.credit(LINK, limit),
            Stuffed(stuffed) => controllers.handle(LINK, Event::Stuffed(stuffed)),
            HalfClosed => controllers.handle(LINK, Event::HalfClosed),
            Leave => controllers.leave(),
            Down => controllers.link_down(LINK),
        }
        let effects = std::iter::from_fn(|| controllers.poll_effect());
        let said: Vec<String> = effects.map(describe).collect();
        assert_eq!(said.join(", "), *want, "after step {number}, {step:?}, of {script:#?}");
        controllers.appetite(LINK);
    }
}

fn describe(effect: Effect) -> String {
    match effect {
        Effect::Reply { id, answer, .. } => match answer {
            Answer::Version { accepted: true } => format!("{id}:yes"),
            Answer::Version { accepted: false } => format!("{id}:no"),
            Answer::Loaded => format!("{id}:loaded"),
            Answer::Result { code, .. } => format!("{id}:code {code}"),
            Answer::Error(text) => format!("{id}:error {text}"),
        },
        Effect::Listen { .. } => "listen".to_owned(),
        Effect::Finish { .. } => "finish".to_owned(),
        Effect::Forget { bound } => format!("forget {}", bound.0),
        Effect::Bind { bound, .. } => format!("bind {}", bound.0),
        Effect::Unbind { .. } => "unbind".to_owned(),
        Effect::Run { channel, .. } => format!("run {channel}"),
        Effect::Release { buffer } => format!("free {}", buffer.0),
    }
}

/// A controller whose core is loaded; its next request is number 2.
const OPEN: [(Step, &str); 3] =
    [(Version(1), "0:yes"), (Core(7), "bind 7"), (Loaded(7), "1:loaded")];

#[track_caller]
fn check_open(script: &[(Step, &str)]) {
    check(&[&OPEN, script].concat());
}

#[test]
fn versions_come_first_and_may_come_again() {
    check(&[
        (Job, "0:error version exchange required"),
        (Core(7), "forget 7, 1:error version exchange required"),
        (Large(1, 1 << 20), "free 1, 2:error version exchange required"),
        (Nonsense, "3:error version exchange required"),
        (NoVersion, "4:error no version"),
        (Version(1), "5:yes"),
        (Version(1), "6:yes"),
        (NoVersion, "7:error no version"),
        (Nonsense, "8:error what?"),
        (Job, "9:error no compute core loaded"),
        (Large(1, 1 << 20), "free 1, 10:error no compute core loaded"),
        (Version(2), "11:no, finish"),
    ]);
}

#[test]
fn answers_come_in_the_order_of_requests() {
    check_open(&[
        (Job, "run 0"),
        (Nonsense, ""),
        (Version(1), ""),
        (Job, "run 1"),
        (Done(1), ""),
        (Done(0), "2:code 0, 3:error what?, 4:yes, 5:code 0"),
    ]);
}

#[test]
fn a_core_replaces_another_when_its_jobs_are_done_and_it_is_gone() {
    check_open(&[
        (Job, "run 0"),
        (Core(8), ""),
        (Job, ""),
        (Crashed(0), "2:error compute core crashed: signal 11, unbind"),
        (Unbound(7), "forget 7, bind 8"),
        (Job, ""),
        (Loaded(8), "3:loaded, run 1, run 2"),
    ]);
}

#[test]
fn a_core_that_cannot_be_loaded_leaves_none() {
    check_open(&[
        (Core(8), "unbind"),
        (Job, ""),
        (Unbound(7), "forget 7, bind 8"),
        (NotLoaded(8), "unbind, forget 8, 2:error no, 3:error no compute core loaded"),
        // What is said late of the one that failed concerns nobody.
        (Unbound(8), ""),
        (Core(9), "bind 9"),
        (Loaded(8), ""),
        (Loaded(9), "4:loaded"),
    ]);
}

#[test]
fn jobs_go_on_credits_and_few_at_a_time_while_outputs_are_large() {
    let mut script = vec![(Credit(1), ""), (Job, "run 0"), (Job, ""), (Done(0), "2:code 0")];
    script.push((Credit(100), "run 1"));
    script.extend(["run 2", "run 3", "run 4"].map(|run| (Job, run)));
    script.push((DoneLarge(1), "3:code 0"));
    script.push((Job, ""));
    script.push((DoneLarge(2), "4:code 0"));
    script.push((DoneLarge(3), "5:code 0, run 5"));
    check_open(&script);
}

#[test]
fn nothing_runs_for_a_peer_that_does_not_read() {
    check_open(&[
        (Job, "run 0"),
        (Stuffed(true), ""),
        (Job, ""),
        (Done(0), "2:code 0"),
        (Stuffed(false), "run 1, listen"),
    ]);
}

#[test]
fn what_is_read_ahead_has_its_bound() {
    check_open(&[
        (Large(1, READ_AHEAD - 1), "run 0"),
        (Job, "run 1"),
        // Full: the next message stays where it is until there is room.
        (Done(0), "2:code 0, listen"),
        (Done(1), "3:code 0"),
    ]);
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    check_open(&[
        (Job, "run 0"),
        (Job, "run 1"),
        (HalfClosed, ""),
        (Done(0), "2:code 0"),
        (Done(1), "3:code 0, unbind, finish"),
        (Unbound(7), "forget 7"),
        (Down, ""),
    ]);
    check_open(&[
        (Job, "run 0"),
        (TooLong, ""),
        (Done(0), "2:code 0, 3:error too long, unbind, finish"),
    ]);
}

#[test]
fn a_node_that_stops_finishes_what_has_begun_and_refuses_the_rest() {
    let refused = |id| format!("{id}:error this node is stopping; try another one");
    let rest = format!("2:code 0, {}, {}, {}, unbind, finish", refused(3), refused(4), refused(5));
    check_open(&[
        (Credit(1), ""),
        (Job, "run 0"),
        (Large(1, 1 << 20), ""),
        (Core(8), ""),
        (Job, ""),
        (Leave, "free 1, forget 8"),
        (Done(0), &rest),
    ]);
    let loading = format!("0:loaded, {}, unbind, finish", refused(2));
    let loading = loading.replace("0:loaded", "1:loaded");
    let begin = [(Version(1), "0:yes"), (Core(7), "bind 7"), (Job, ""), (Leave, "")];
    check(&[&begin[..], &[(Loaded(7), &loading)]].concat());
}

#[test]
fn who_goes_leaves_nothing_behind() {
    check_open(&[(Credit(0), ""), (Large(1, 9), ""), (Large(2, 9), ""), (Down, "free 1, free 2")]);
}

#[test]
fn what_was_decided_for_one_that_is_gone_is_not_done_for_another() {
    let mut controllers = Controllers::default();
    controllers.link_up(LINK);
    controllers.credit(LINK, 100);
    let ask = |controllers: &mut Controllers, id, request| {
        controllers.handle(LINK, Event::Asked(Asked { id, weight: 128, request }));
    };
    let core = |bound| {
        let (name, hash) = ("sum".to_owned(), Hash::of(b"sum"));
        Request::Core { name, hash, bound: Bound(bound) }
    };
    ask(&mut controllers, 0, Request::Version(1));
    ask(&mut controllers, 1, core(7));
    while controllers.poll_effect().is_some() {}
    // It is loaded, and a job goes to it, and another's answer is under way: all in one turn.
    controllers.bound(LINK, Bound(7), Ok(()));
    let input = Payload::Buffer { buffer: BufferId(1), length: 1 << 20 };
    ask(&mut controllers, 2, Request::Job { input });
    controllers.link_down(LINK);
    controllers.link_up(LINK);
    let left: Vec<String> =
        std::iter::from_fn(|| controllers.poll_effect()).map(describe).collect();
    assert_eq!(left, ["free 1"]);
}
