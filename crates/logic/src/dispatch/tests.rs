//! Scripts of what a client's caller and its nodes do, each step with what must follow from it.

use bytes::Bytes;
use wire::blob::{Fetched, Known, Lent, Permit, Stored};
use wire::name::JobId;
use wire::task::{Credit, Returned};

use super::*;

/// One step of a script. Nodes are named by their link, tasks and programs by their number.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A task of program 0: `Submit(retries)`.
    Submit(u32),
    /// As `Submit`, of another program.
    SubmitOf(u32, u32),
    /// A node with two slots.
    Up(u32),
    Leaving(u32),
    Down(u32),
    Credits(u32, u64),
    /// `Has(link, program)`: the node has the program's bytes.
    Has(u32, u32),
    HasNot(u32, u32),
    Takes(u32, u32),
    Refuses(u32, u32),
    /// Program 0 is large.
    Large,
    /// `Lends(from, to)` program 0.
    Lends(u32, u32),
    LendsNot(u32, u32),
    /// Program 0 came to this node from another.
    Comes(u32),
    ComesNot(u32),
    /// `Done(link, channel, status)`: how the task of that channel ended.
    Done(u32, (u32, u32), How),
    GivesBack(u32, &'static [(u32, u32)]),
    Cancel(u32),
    CancelAll,
    Tick,
}
use Step::*;

#[derive(Clone, Copy, Debug)]
enum How {
    /// After so much time in the worker.
    Well(Span),
    Crash,
    Lost,
    NoMemory,
    Cancelled,
}
use How::*;

const MS: Span = Span::from_millis(1);

/// The only place that touches the API. Each step happens at a time in ms; the text says what
/// followed: `run 0:3.1#1` (on node 0, task 3 on the channel of epoch 1, attempt 1), `end 3 Finished#1`,
/// `have 0:0` (node 0, program 0), `upload 0:0`, `define 0`, `cancel 0:3.1`, `back 0*5`.
#[track_caller]
fn check(script: &[(u64, Step, &str)]) {
    let mut dispatch = Dispatch::new(Time(0));
    dispatch.open_job(JobId(7), "test".to_owned());
    for name in ["a", "b"] {
        dispatch.program(program(name), 0);
    }
    for (number, &(at, step, want)) in script.iter().enumerate() {
        take(&mut dispatch, Time(0) + Span::from_millis(at), step);
        let effects: Vec<Effect> = std::iter::from_fn(|| dispatch.poll_effect()).collect();
        // What is told of jobs has tests of its own.
        let of_jobs = |effect: &&Effect| match effect {
            Effect::Send { message, .. } => matches!(message, Message::Job(_)),
            Effect::Retried { .. } => true,
            Effect::Run { .. } | Effect::Upload { .. } | Effect::Ended { .. } => false,
        };
        let others = effects.iter().filter(|effect| !of_jobs(effect));
        let got: Vec<String> = others.map(describe).collect();
        assert_eq!(got.join(", "), want, "after step {number}, {step:?}, of {script:#?}");
    }
}

fn program(name: &str) -> Program {
    Program::Core { library: Hash::of(name.as_bytes()), name: name.to_owned() }
}

fn hash(program: u32) -> Hash {
    Hash::of(["a", "b"][program as usize].as_bytes())
}

fn channel((task, epoch): (u32, u32)) -> u64 {
    channel_of(TaskId(task), epoch)
}

fn take(dispatch: &mut Dispatch, now: Time, step: Step) {
    let message = |dispatch: &mut Dispatch, link, channel, message| {
        dispatch.handle(now, Event::Message { link: LinkId(link), channel, message });
    };
    let submit = |dispatch: &mut Dispatch, program, retries| {
        let terms = Terms { deadline: Span(0), retries };
        let input = Payload::Inline(Bytes::from_static(b"x"));
        dispatch.submit(now, JobKey(0), ProgramId(program), input, terms);
    };
    match step {
        Submit(retries) => submit(dispatch, 0, retries),
        SubmitOf(program, retries) => submit(dispatch, program, retries),
        Up(link) => {
            let name = format!("node-{link}").parse().expect("a name");
            dispatch.handle(now, Event::NodeUp { link: LinkId(link), name, slots: 2 });
        }
        Leaving(link) => dispatch.handle(now, Event::NodeLeaving { link: LinkId(link) }),
        Down(link) => dispatch.handle(now, Event::NodeDown { link: LinkId(link) }),
        Credits(link, limit) => message(dispatch, link, 0, Message::Credit(Credit { limit })),
        Has(link, program) | HasNot(link, program) => {
            let here = matches!(step, Has(..));
            let known = Known { hash: hash(program), here };
            message(dispatch, link, u64::from(program), Message::Known(known));
        }
        Takes(link, program) | Refuses(link, program) => {
            let refused = matches!(step, Refuses(..)).then(|| "disk full".to_owned());
            let stored = Stored { hash: hash(program), refused };
            message(dispatch, link, u64::from(program), Message::Stored(stored));
        }
        Large => dispatch.weigh(ProgramId(0), PASS_ON_MIN),
        Lends(from, to) | LendsNot(from, to) => {
            let permit = matches!(step, Lends(..)).then_some(Permit([7; 16]));
            let lent = Message::Lent(Lent { hash: hash(0), permit });
            message(dispatch, from, u64::from(to) << 32, lent);
        }
        Comes(link) | ComesNot(link) => {
            let failed = matches!(step, ComesNot(_)).then(|| "it hung up".to_owned());
            let fetched = Fetched { hash: hash(0), failed };
            message(dispatch, link, 0, Message::Fetched(fetched));
        }
        Done(link, task, how) => {
            let (status, ran) = match how {
                Well(ran) => (Status::Finished { code: 0 }, ran),
                Crash => (Status::Crashed { signal: 11, stderr: String::new() }, MS),
                Lost => (Status::WorkerLost { reason: String::new() }, MS),
                NoMemory => (Status::OutOfMemory { peak: 2, limit: 1 }, MS),
                Cancelled => (Status::Cancelled, MS),
            };
            let (link, channel, output) = (LinkId(link), channel(task), Payload::empty());
            let times = Times::default();
            dispatch.handle(now, Event::Done { link, channel, status, ran, output, times });
        }
        GivesBack(link, tasks) => {
            let channels = tasks.iter().copied().map(channel).collect();
            message(dispatch, link, 0, Message::Returned(Returned { channels }));
        }
        Cancel(task) => dispatch.handle(now, Event::Cancel { task: TaskId(task) }),
        CancelAll => dispatch.cancel_all(),
        Tick => dispatch.handle(now, Event::Tick),
    }
}

fn describe(effect: &Effect) -> String {
    let named = |channel: u64| format!("{}.{}", channel as u32, channel >> 32);
    match effect {
        Effect::Send { link, channel, message } => match message {
            Message::Have(_) => format!("have {}:{channel}", link.0),
            Message::Define(_) => format!("define {}", link.0),
            Message::Lend(lend) => format!("lend {}>{}", link.0, lend.to),
            Message::Fetch(fetch) => format!("fetch {}<{}", link.0, fetch.from),
            Message::Cancel => format!("cancel {}:{}", link.0, named(*channel)),
            Message::TakeBack(back) if back.count == u32::MAX => format!("back {}*all", link.0),
            Message::TakeBack(back) => format!("back {}*{}", link.0, back.count),
            other => format!("{other:?}"),
        },
        Effect::Run { link, channel, attempt, .. } => {
            format!("run {}:{}#{attempt}", link.0, named(*channel))
        }
        Effect::Upload { link, channel, .. } => format!("upload {}:{channel}", link.0),
        Effect::Retried { outcome } => format!("again {}", outcome.name.task),
        Effect::Ended { task, outcome } => {
            let how = match &outcome.end {
                End::NodeLost => "NodeLost".to_owned(),
                End::NoNode => "NoNode".to_owned(),
                End::Status { status, .. } => {
                    let status = format!("{status:?}");
                    status.split(' ').next().unwrap_or_default().to_owned()
                }
            };
            format!("end {} {how}#{}", task.0, outcome.attempt)
        }
    }
}

/// Node 0 is up and has program 0; it has given two credits.
const READY: [(u64, Step, &str); 3] =
    [(0, Up(0), ""), (0, Credits(0, 2), ""), (0, Submit(0), "have 0:0")];

#[track_caller]
fn check_ready(script: &[(u64, Step, &str)]) {
    check(&[&READY, script].concat());
}

#[test]
fn a_program_is_asked_for_sent_and_defined_before_its_first_task() {
    check_ready(&[
        (1, HasNot(0, 0), "upload 0:0"),
        (2, Submit(0), ""),
        (3, Takes(0, 0), "define 0, run 0:0.1#1, run 0:1.2#1"),
        (4, Done(0, (0, 1), Well(MS)), "end 0 Finished#1"),
    ]);
}

#[test]
fn a_program_that_is_there_is_not_sent() {
    check_ready(&[(1, Has(0, 0), "define 0, run 0:0.1#1")]);
}

#[test]
fn an_answer_about_another_program_is_no_answer() {
    check_ready(&[
        (1, Has(0, 1), ""),
        (1, Takes(0, 0), ""),
        (2, Has(0, 0), "define 0, run 0:0.1#1"),
    ]);
}

#[test]
fn a_task_leaves_only_on_a_credit() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, Submit(0), "run 0:1.2#1"),
        (3, Submit(0), ""),
        (4, Done(0, (0, 1), Well(MS)), "end 0 Finished#1"),
        (5, Credits(0, 3), "run 0:2.3#1"),
        // A limit never falls.
        (6, Credits(0, 1), ""),
    ]);
}

#[test]
fn tasks_go_to_whichever_node_has_credits_in_turn() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, Up(1), ""),
        (3, Credits(1, 2), ""),
        (4, Submit(0), "run 0:1.2#1"),
        (5, Submit(0), "have 1:0"),
        (6, Has(1, 0), "define 1, run 1:2.3#1"),
        (7, Credits(0, 4), ""),
        (8, Submit(0), "run 1:3.4#1"),
    ]);
}

#[test]
fn a_program_that_every_node_refuses_fails_its_tasks_with_the_reason() {
    check_ready(&[
        (1, Up(1), ""),
        (1, Credits(1, 2), "have 1:0"),
        (2, HasNot(0, 0), "upload 0:0"),
        (2, HasNot(1, 0), "upload 1:0"),
        (3, Refuses(0, 0), ""),
        (4, Refuses(1, 0), "end 0 Refused#1"),
        // Tasks to come fail too, but not before their caller knows their name.
        (5, Submit(0), ""),
        (5, Tick, "end 0 Refused#1"),
        // Another program has nothing to do with it.
        (6, SubmitOf(1, 0), "have 0:1, have 1:1"),
    ]);
}

#[test]
fn a_program_refused_by_all_that_are_left_fails() {
    check_ready(&[
        (1, Up(1), ""),
        (2, HasNot(0, 0), "upload 0:0"),
        (3, Refuses(0, 0), ""),
        (4, Down(1), "end 0 Refused#1"),
    ]);
}

#[test]
fn a_new_node_may_take_what_others_refused() {
    check_ready(&[
        (1, HasNot(0, 0), "upload 0:0"),
        (2, Refuses(0, 0), "end 0 Refused#1"),
        (3, Up(1), ""),
        (4, Credits(1, 2), ""),
        (5, Submit(0), "have 1:0"),
        (6, Has(1, 0), "define 1, run 1:0.1#1"),
    ]);
}

#[test]
fn without_retries_a_lost_node_ends_the_task() {
    check_ready(&[(1, Has(0, 0), "define 0, run 0:0.1#1"), (2, Down(0), "end 0 NodeLost#1")]);
}

#[test]
fn with_retries_a_task_of_a_lost_node_runs_elsewhere() {
    check(&[
        (0, Up(0), ""),
        (0, Credits(0, 2), ""),
        (0, Submit(1), "have 0:0"),
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, Down(0), ""),
        (3, Up(0), ""),
        (4, Credits(0, 1), "have 0:0"),
        (5, Has(0, 0), "define 0, run 0:0.2#2"),
        // What the first attempt still has to say is not heard.
        (6, Done(0, (0, 1), Well(MS)), ""),
        (7, Down(0), "end 0 NodeLost#2"),
    ]);
}

/// Task 0 runs with nine retries.
const STUBBORN: [(u64, Step, &str); 4] = [
    (0, Up(0), ""),
    (0, Credits(0, 9), ""),
    (0, Submit(9), "have 0:0"),
    (1, Has(0, 0), "define 0, run 0:0.1#1"),
];

#[test]
fn a_task_that_kills_three_workers_is_poison() {
    check(
        &[
            &STUBBORN[..],
            &[
                (2, Done(0, (0, 1), Crash), "run 0:0.2#2"),
                (3, Done(0, (0, 2), Lost), "run 0:0.3#3"),
                (4, Done(0, (0, 3), Crash), "run 0:0.4#4"),
                (5, Done(0, (0, 4), Crash), "end 0 Crashed#4"),
            ],
        ]
        .concat(),
    );
}

#[test]
fn what_a_retry_cannot_help_is_not_retried() {
    check(&[&STUBBORN[..], &[(2, Done(0, (0, 1), NoMemory), "end 0 OutOfMemory#1")]].concat());
}

#[test]
fn a_queued_task_is_cancelled_at_once() {
    check(&[(0, Submit(0), ""), (1, Cancel(0), "end 0 Cancelled#1"), (2, Cancel(0), "")]);
}

#[test]
fn a_task_at_a_node_is_cancelled_there() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, Cancel(0), "cancel 0:0.1"),
        (3, Cancel(0), ""),
        (4, Done(0, (0, 1), Cancelled), "end 0 Cancelled#1"),
    ]);
}

#[test]
fn a_cancelled_task_is_not_tried_again() {
    let cancelled = [(2, Cancel(0), "cancel 0:0.1")];
    for (step, want) in [
        (Down(0), "end 0 Cancelled#1"),
        (GivesBack(0, &[(0, 1)]), "end 0 Cancelled#1"),
        (Done(0, (0, 1), Crash), "end 0 Crashed#1"),
        (Done(0, (0, 1), Lost), "end 0 WorkerLost#1"),
    ] {
        check(&[&STUBBORN[..], &cancelled, &[(3, step, want)]].concat());
    }
}

#[test]
fn all_tasks_are_cancelled_wherever_they_are() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, Submit(0), "run 0:1.2#1"),
        (3, Submit(0), ""),
        (4, CancelAll, "cancel 0:0.1, cancel 0:1.2, end 2 Cancelled#1"),
    ]);
}

#[test]
fn without_any_node_tasks_wait_half_a_minute() {
    check(&[(0, Submit(0), ""), (29_999, Tick, ""), (30_000, Tick, "end 0 NoNode#1")]);
}

#[test]
fn a_returned_task_is_not_an_attempt() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, GivesBack(0, &[(0, 1)]), "run 0:0.2#1"),
        // It was returned once; the old channel means nothing any more.
        (3, GivesBack(0, &[(0, 1)]), ""),
        (4, Done(0, (0, 1), Well(MS)), ""),
        (5, Done(0, (0, 2), Well(MS)), "end 0 Finished#1"),
    ]);
}

#[test]
fn a_leaving_node_gets_nothing_more_and_is_told_so() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, Leaving(0), "back 0*all"),
        (3, Submit(0), ""),
        (4, GivesBack(0, &[]), ""),
        (5, Done(0, (0, 1), Well(MS)), "end 0 Finished#1"),
        (6, Down(0), ""),
    ]);
}

/// Six long tasks at node 0, then an idle node 1 that has the program too.
const UNEVEN: [(u64, Step, &str); 12] = [
    (0, Up(0), ""),
    (0, Credits(0, 6), ""),
    (0, Submit(0), "have 0:0"),
    (0, Submit(0), ""),
    (0, Submit(0), ""),
    (0, Submit(0), ""),
    (0, Submit(0), ""),
    (0, Submit(0), ""),
    (
        1,
        Has(0, 0),
        "define 0, run 0:0.1#1, run 0:1.2#1, run 0:2.3#1, run 0:3.4#1, run 0:4.5#1, run 0:5.6#1",
    ),
    (2, Up(1), ""),
    (2, Credits(1, 4), ""),
    (11, Tick, ""),
];

#[test]
fn unstarted_tasks_are_taken_back_for_an_idle_node() {
    check(
        &[
            &UNEVEN[..],
            &[
                (12, Tick, "back 0*2"),
                // Not asked again before it has answered.
                (30, Tick, ""),
                (31, GivesBack(0, &[(5, 6), (4, 5)]), "have 1:0"),
                (32, Has(1, 0), "define 1, run 1:4.7#1, run 1:5.8#1"),
                (42, Tick, ""),
            ],
        ]
        .concat(),
    );
}

#[test]
fn a_node_with_nothing_to_give_back_is_not_asked_for_ever() {
    check(
        &[&UNEVEN[..], &[(12, Tick, "back 0*2"), (13, GivesBack(0, &[]), ""), (30, Tick, "")]]
            .concat(),
    );
}

#[test]
fn short_work_is_not_worth_taking_back() {
    let short = Well(Span::from_micros(10));
    check(
        &[&UNEVEN[..], &[(11, Done(0, (0, 1), short), "end 0 Finished#1"), (12, Tick, "")]]
            .concat(),
    );
}

#[test]
fn a_client_with_one_node_sleeps_until_something_happens() {
    let mut dispatch = Dispatch::new(Time(0));
    dispatch.open_job(JobId(7), "test".to_owned());
    dispatch.program(program("a"), 0);
    for step in [Up(0), Credits(0, 2), Submit(0), Has(0, 0), Submit(0), Done(0, (0, 1), Well(MS))] {
        take(&mut dispatch, Time(0), step);
    }
    assert_eq!(dispatch.len(), 1);
    // A node is to hear of the job once more; then there is nothing to do.
    let due = dispatch.poll_timeout();
    assert_eq!(due, Time(0) + Span::from_millis(200));
    dispatch.handle(due, Event::Tick);
    assert_eq!(dispatch.poll_timeout(), Time::NEVER);
}

#[test]
fn a_node_that_no_task_can_use_stands_aside_until_one_can() {
    check(&[
        (1, Up(0), ""),
        (1, Credits(0, 4), ""),
        (1, Submit(0), "have 0:0"),
        (1, HasNot(0, 0), "upload 0:0"),
        // While program 0 is on its way the other one is not held up, and the other way round.
        (2, SubmitOf(1, 0), "have 0:1"),
        (2, Has(0, 1), "define 0, run 0:1.1#1"),
        (3, SubmitOf(1, 0), "run 0:2.2#1"),
        (3, Takes(0, 0), "define 0, run 0:0.3#1"),
        (4, Submit(0), "run 0:3.4#1"),
        (5, Submit(0), ""),
        (6, Credits(0, 5), "run 0:4.5#1"),
    ]);
}

#[test]
fn a_node_that_comes_and_goes_has_one_turn_at_a_time() {
    let mut dispatch = Dispatch::new(Time(0));
    dispatch.open_job(JobId(7), "test".to_owned());
    dispatch.program(program("a"), 0);
    for _ in 0..1000 {
        for step in [Up(0), Credits(0, 1), Down(0)] {
            take(&mut dispatch, Time(0), step);
        }
    }
    assert!(dispatch.offers.len() <= 4, "{} turns of one node", dispatch.offers.len());
    take(&mut dispatch, Time(0), Up(0));
    take(&mut dispatch, Time(0), Credits(0, 1));
    take(&mut dispatch, Time(0), Submit(0));
    take(&mut dispatch, Time(0), Submit(0));
    take(&mut dispatch, Time(0), Has(0, 0));
    let runs = std::iter::from_fn(|| dispatch.poll_effect());
    assert_eq!(runs.filter(|effect| matches!(effect, Effect::Run { .. })).count(), 1);
}
/// A large program is at node 0, and a second node is up that has not got it.
const LARGE: [(u64, Step, &str); 6] = [
    (0, Large, ""),
    (1, HasNot(0, 0), "upload 0:0"),
    (1, Up(1), ""),
    (1, Credits(1, 2), "have 1:0"),
    (1, Submit(0), ""),
    (2, HasNot(1, 0), ""),
];

#[test]
fn a_large_program_goes_from_node_to_node() {
    let script = [
        (3, Takes(0, 0), "define 0, lend 0>node-1, run 0:0.1#1, run 0:1.2#1"),
        (4, Lends(0, 1), "fetch 1<node-0"),
        (5, Submit(0), ""),
        (6, Comes(1), "define 1, run 1:2.3#1"),
        // Said twice, it means nothing.
        (7, Comes(1), ""),
        (7, Lends(0, 1), ""),
    ];
    check_ready(&[&LARGE[..], &script].concat());
}

#[test]
fn what_no_node_gives_the_client_sends() {
    let end = [(6, Takes(1, 0), "define 1"), (7, ComesNot(1), "")];
    let had = (3, Takes(0, 0), "define 0, lend 0>node-1, run 0:0.1#1, run 0:1.2#1");
    let not_lent = [had, (4, LendsNot(0, 1), "upload 1:0")];
    check_ready(&[&LARGE[..], &not_lent, &end].concat());
    let not_come = [had, (4, Lends(0, 1), "fetch 1<node-0"), (5, ComesNot(1), "upload 1:0")];
    check_ready(&[&LARGE[..], &not_come, &end].concat());
    let refused = [(3, Refuses(0, 0), "upload 1:0")];
    check_ready(&[&LARGE[..], &refused].concat());
    let down = [(3, Down(0), "upload 1:0")];
    check_ready(&[&LARGE[..], &down].concat());
}

#[test]
fn what_comes_too_late_is_sent_and_taken_from_whoever_is_first() {
    let late = 3 + 12_000;
    let script = [
        (3, Takes(0, 0), "define 0, lend 0>node-1, run 0:0.1#1, run 0:1.2#1"),
        (4, Lends(0, 1), "fetch 1<node-0"),
        (late, Tick, "upload 1:0"),
        (late, Comes(1), "define 1"),
        (late, Takes(1, 0), ""),
    ];
    check_ready(&[&LARGE[..], &script].concat());
}

#[test]
fn a_program_that_a_node_has_cleared_away_is_sent_again_and_its_tasks_too() {
    check_ready(&[
        (1, Has(0, 0), "define 0, run 0:0.1#1"),
        (2, HasNot(0, 0), ""),
        (2, GivesBack(0, &[(0, 1)]), "have 0:0"),
        (3, HasNot(0, 0), "upload 0:0"),
        (4, Takes(0, 0), "define 0, run 0:0.2#1"),
    ]);
}

/// A node clears program 0 away, gives the task back that was sent last, and gets the program anew,
/// unless it is refused.
fn clear_away(dispatch: &mut Dispatch, link: u32) -> Vec<String> {
    let channels = vec![channel_of(TaskId(0), dispatch.epoch)];
    take(dispatch, Time(0), HasNot(link, 0));
    let message = Message::Returned(Returned { channels });
    dispatch.handle(Time(0), Event::Message { link: LinkId(link), channel: 0, message });
    take(dispatch, Time(0), HasNot(link, 0));
    take(dispatch, Time(0), Takes(link, 0));
    let effects = std::iter::from_fn(|| dispatch.poll_effect());
    let told =
        effects.filter(|effect| !matches!(effect, Effect::Send { message: Message::Job(_), .. }));
    told.map(|effect| describe(&effect)).collect()
}

fn is_sent_again(told: &[String]) -> bool {
    told.iter().any(|what| what.starts_with("upload "))
        && told.iter().any(|what| what.starts_with("run "))
}

#[test]
fn a_program_that_a_node_clears_away_too_often_without_a_result_is_refused_and_its_tasks_end() {
    let mut dispatch = job_with(&[Up(0), Credits(0, 10_000), Submit(0), Has(0, 0)]);
    while dispatch.poll_effect().is_some() {}
    for time in 0..passing::CLEARED_MAX {
        let told = clear_away(&mut dispatch, 0);
        assert!(is_sent_again(&told), "time {time}: {told:?}");
    }
    let told = clear_away(&mut dispatch, 0);
    assert_eq!(told, ["end 0 Refused#1"]);
    assert!(dispatch.is_empty());
}

#[test]
fn what_other_nodes_clear_away_and_what_was_of_use_in_between_is_no_reason_to_refuse() {
    let mut dispatch = job_with(&[Submit(0)]);
    for link in 0..2 * passing::CLEARED_MAX {
        for step in [Up(link), Credits(link, 10), Has(link, 0)] {
            take(&mut dispatch, Time(0), step);
        }
        let told = clear_away(&mut dispatch, link);
        assert!(is_sent_again(&told), "node {link}: {told:?}");
        let epoch = dispatch.epoch;
        for step in [Done(link, (0, epoch), Well(MS)), Down(link), Submit(0)] {
            take(&mut dispatch, Time(0), step);
        }
        while dispatch.poll_effect().is_some() {}
    }
    let mut dispatch = job_with(&[Up(0), Credits(0, 10_000), Submit(0), Has(0, 0)]);
    for time in 0..2 * passing::CLEARED_MAX {
        let told = clear_away(&mut dispatch, 0);
        assert!(is_sent_again(&told), "time {time}: {told:?}");
        let epoch = dispatch.epoch;
        take(&mut dispatch, Time(0), Done(0, (0, epoch), Well(MS)));
        take(&mut dispatch, Time(0), Submit(0));
    }
}

/// Everything that one node is told of jobs, at which millisecond.
fn words(dispatch: &mut Dispatch, from: u64, to: u64) -> Vec<(u64, wire::job::Job)> {
    let mut words = Vec::new();
    for at in from..to {
        let now = Time(0) + Span::from_millis(at);
        if dispatch.poll_timeout() <= now {
            dispatch.handle(now, Event::Tick);
        }
        while let Some(effect) = dispatch.poll_effect() {
            if let Effect::Send { message: Message::Job(job), .. } = effect {
                words.push((at, job));
            }
        }
    }
    words
}

fn job_with(steps: &[Step]) -> Dispatch {
    let mut dispatch = Dispatch::new(Time(0));
    dispatch.open_job(JobId(7), "test".to_owned());
    dispatch.program(program("a"), 0);
    for step in steps {
        take(&mut dispatch, Time(0), *step);
    }
    dispatch
}

#[test]
fn nodes_are_told_of_a_job_when_it_has_changed_and_once_a_second_at_most() {
    use wire::job::Wait;
    let mut steps = vec![Up(0), Credits(0, 2), Submit(0), Has(0, 0)];
    steps.extend([Submit(0); 4]);
    let mut dispatch = job_with(&steps);
    let told = words(&mut dispatch, 0, 5000);
    assert_eq!(told.len(), 1, "nothing has changed since: {told:?}");
    let (at, job) = &told[0];
    assert_eq!((*at, job.queued, job.next, job.running), (200, 3, 3, 2));
    assert_eq!((job.wait, job.closed), (Wait::Credits, false));
    for at in 5000..8000 {
        take(&mut dispatch, Time(0) + Span::from_millis(at), Submit(0));
    }
    assert!(words(&mut dispatch, 8000, 12_000).len() <= 2);
}

#[test]
fn a_job_that_is_closed_is_told_of_at_once_and_again_when_its_last_task_has_ended() {
    let mut dispatch = job_with(&[Up(0), Credits(0, 2), Submit(0), Has(0, 0)]);
    dispatch.close_job(Time(0), JobKey(0));
    assert!(words(&mut dispatch, 0, 1)[0].1.closed);
    take(&mut dispatch, Time(0), Done(0, (0, 1), Well(MS)));
    let last = words(&mut dispatch, 1, 2);
    assert_eq!((last[0].1.done, last[0].1.running, last[0].1.closed), (1, 0, true));
    // Its place is free for another.
    assert_eq!(dispatch.open_job(JobId(8), "next".to_owned()), JobKey(0));
}

#[test]
fn an_outcome_says_how_long_the_task_waited_here_and_was_away() {
    let mut dispatch = job_with(&[Up(0), Submit(1), Has(0, 0)]);
    let at = |millis| Time(0) + Span::from_millis(millis);
    take(&mut dispatch, at(30), Credits(0, 1));
    take(&mut dispatch, at(30), Has(0, 0));
    take(&mut dispatch, at(50), Done(0, (0, 1), Crash));
    take(&mut dispatch, at(90), Credits(0, 2));
    take(&mut dispatch, at(100), Done(0, (0, 2), Well(MS)));
    let spent = |effect: Effect| match effect {
        Effect::Retried { outcome } | Effect::Ended { outcome, .. } => {
            let Spent { queued, away, .. } = outcome.spent;
            Some((outcome.name.task, outcome.attempt, queued, away))
        }
        Effect::Send { .. } | Effect::Run { .. } | Effect::Upload { .. } => None,
    };
    let effects = std::iter::from_fn(|| dispatch.poll_effect());
    let spent: Vec<_> = effects.filter_map(spent).collect();
    let ms = Span::from_millis;
    assert_eq!(spent, [(1, 1, ms(30), ms(20)), (1, 2, ms(40), ms(10))]);
}
