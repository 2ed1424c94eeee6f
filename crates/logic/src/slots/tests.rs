//! Scripts of what users and workers do, each step with what must follow from it.

mod bound;
mod killed;

use super::*;
use wire::name::TaskName;

/// One step of a script. Tasks are named by their channel, workers by their number.
#[derive(Clone, Debug)]
enum Step {
    /// A user appears and defines a program: `Up(link, owner, program)`.
    Up(u32, &'static str, &'static str),
    /// As `Up`, with a limit of memory.
    Limited(u32, u64),
    /// A user appears and binds a worker: `Bind(link, binding)`.
    Bind(u32, u64),
    /// As `Bind`, of a user who is there.
    BindAgain(u32, u64),
    Unbind(u32),
    Down(u32),
    Run(u32, u64),
    /// As `Run`, with a large input: its buffer has the channel's number.
    RunBulk(u32, u64),
    RunUntil(u32, u64, Span),
    Burst(u32, std::ops::Range<u64>),
    Cancel(u32, u64),
    TakeBack(u32, u32),
    Ready(u32),
    Unusable(u32),
    /// The worker's next results, each after so much time in it.
    Done(u32, u64, Span),
    /// It died of a signal after it had begun so many tasks.
    Died(u32, i32, u64),
    /// The page says: so many begun, the last one since then.
    Peeked(u32, u64, Span),
    Measured(u32, u64),
    /// The host had no process to spare for it.
    NotStarted(u32),
    /// The kernel keeps the limits of memory.
    Grouped,
    /// It found the worker, or a child of it, at its limit.
    AtLimit(u32, u64),
    /// It killed the worker for its own limit, before it had begun anything.
    Starved(u32, u64, u64),
    Tick,
}
use Step::*;

const fn us(micros: u64) -> Span {
    Span::from_micros(micros)
}

/// The only place that touches the API. Each step happens at a time in µs, in a batch of its own;
/// the text says what followed: `start 0`, `run 0.5` (worker 0, its task 5; `run 0.5-9` for many),
/// `done 1:7 Finished` (link 1, channel 7), `credit 1=8`, `kill 0`, `peek 0`, `measure 0`,
/// `free 7` (a buffer).
#[track_caller]
fn check(size: u32, script: &[(u64, Step, &str)]) {
    let mut slots = Slots::new(size);
    let mut results = std::collections::BTreeMap::new();
    for (number, (at, step, want)) in script.iter().enumerate() {
        let now = Time(1_000_000) + us(*at);
        take(&mut slots, &mut results, now, step.clone());
        slots.settle(now);
        let effects: Vec<Effect> = std::iter::from_fn(|| slots.poll_effect()).collect();
        let Counters { accepted, .. } = slots.counters();
        let (running, waiting) = slots.running_and_waiting();
        let here = u64::from(running + waiting);
        assert_eq!(accepted, slots.counters().gone() + here, "after step {number}, {step:?}");
        assert_eq!(describe(&effects), *want, "after step {number}, {step:?}, of {script:#?}");
    }
}

fn take(
    slots: &mut Slots,
    results: &mut std::collections::BTreeMap<u32, u64>,
    now: Time,
    step: Step,
) {
    let program = |name: &str| {
        let library = wire::name::Hash::of(name.as_bytes());
        Program::Core { library, name: name.to_owned() }
    };
    let head = |deadline| {
        let input = wire::task::Input::Inline;
        let name = TaskName::default();
        RunHead { program: 0, attempt: 1, deadline, input, name }
    };
    let run = |slots: &mut Slots, link, channel, deadline, input| {
        let taken = slots.run(now, LinkId(link), channel, head(deadline), input, Span(0));
        taken.expect("no breach");
    };
    match step {
        Up(link, owner, name) => {
            slots.link_up(LinkId(link), owner.parse().expect("a name"));
            slots.define(LinkId(link), program(name), 0).expect("no breach");
        }
        Limited(link, memory) => {
            slots.link_up(LinkId(link), "me".parse().expect("a name"));
            slots.define(LinkId(link), program("limited"), memory).expect("no breach");
        }
        Bind(link, bound) | BindAgain(link, bound) => {
            if matches!(step, Bind(..)) {
                slots.link_up(LinkId(link), format!("v1.{link}").parse().expect("a name"));
            }
            let bound = super::Bound(bound);
            let bind = slots.bind(now, LinkId(link), bound, program("bound"), 0, us(500));
            bind.expect("there is room");
        }
        Unbind(link) => slots.unbind(now, LinkId(link)),
        Down(link) => slots.link_down(now, LinkId(link)),
        Run(link, channel) => run(slots, link, channel, Span(0), Payload::empty()),
        RunBulk(link, channel) => {
            let input = Payload::Buffer { buffer: BufferId(channel as u32), length: 1 };
            run(slots, link, channel, Span(0), input);
        }
        RunUntil(link, channel, deadline) => run(slots, link, channel, deadline, Payload::empty()),
        Burst(link, channels) => {
            channels.for_each(|channel| run(slots, link, channel, Span(0), Payload::empty()));
        }
        Cancel(link, channel) => slots.cancel(LinkId(link), channel),
        TakeBack(link, count) => {
            let returned = slots.take_back(LinkId(link), count);
            assert!(returned.len() <= count as usize);
            assert!(returned.is_sorted_by(|a, b| a > b), "the last first: {returned:?}");
        }
        Ready(worker) => {
            results.insert(worker, 0);
            slots.ready(now, WorkerId(worker), Ok(()));
        }
        Unusable(worker) => slots.ready(now, WorkerId(worker), Err("no such symbol".into())),
        Done(worker, count, ran) => {
            let next = results.entry(worker).or_default();
            for sequence in *next..*next + count {
                let status = Status::Finished { code: 0 };
                let (output, times) = (Payload::empty(), Times::default());
                let finished = Finished { status, ran, output, times };
                slots.done(now, WorkerId(worker), sequence, finished);
            }
            *next += count;
        }
        Died(worker, signal, started) => {
            slots.exited(now, WorkerId(worker), Exit::Signal(signal), started, "");
        }
        Peeked(worker, started, since) => {
            let since = if since == Span(0) { Time(0) } else { Time(1_000_000) + since };
            slots.peeked(now, WorkerId(worker), started, since);
        }
        Measured(worker, peak) => slots.measured(now, WorkerId(worker), peak),
        NotStarted(worker) => slots.not_started(now, WorkerId(worker), "no process to spare"),
        Grouped => slots.memory_is_limited(),
        AtLimit(worker, peak) => slots.out_of_memory(WorkerId(worker), peak),
        Starved(worker, peak, limit) => {
            slots.exited(now, WorkerId(worker), Exit::OutOfMemory { peak, limit }, 0, "");
        }
        Tick => slots.tick(now),
    }
}

fn describe(effects: &[Effect]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut batch: Option<(u32, u64, u64)> = None;
    let flush = |batch: &mut Option<(u32, u64, u64)>, words: &mut Vec<String>| {
        if let Some((worker, first, last)) = batch.take() {
            let last = if last > first { format!("-{last}") } else { String::new() };
            words.push(format!("run {worker}.{first}{last}"));
        }
    };
    for effect in effects {
        if let Effect::Execute { worker, sequence, .. } = effect {
            match &mut batch {
                Some((of, _, last)) if *of == worker.0 && *last + 1 == *sequence => *last += 1,
                batch => {
                    flush(batch, &mut words);
                    *batch = Some((worker.0, *sequence, *sequence));
                }
            }
            continue;
        }
        flush(&mut batch, &mut words);
        words.push(match effect {
            Effect::Execute { .. } => unreachable!(),
            Effect::Done { link, channel, finished, .. } => {
                let status = format!("{:?}", finished.status);
                let status = status.split(' ').next().unwrap_or_default();
                format!("done {}:{channel} {status}", link.0)
            }
            Effect::Credit { link, limit } => format!("credit {}={limit}", link.0),
            Effect::Start { worker, .. } => format!("start {}", worker.0),
            Effect::Kill { worker } => format!("kill {}", worker.0),
            Effect::Dismiss { worker } => format!("dismiss {}", worker.0),
            Effect::Bound { link, bound, result } => {
                let why = result.as_ref().err().map_or(String::new(), |why| format!(" {why}"));
                format!("bound {}:{}{why}", link.0, bound.0)
            }
            Effect::Unbound { link, bound } => format!("unbound {}:{}", link.0, bound.0),
            Effect::Peek { worker } => format!("peek {}", worker.0),
            Effect::Measure { worker } => format!("measure {}", worker.0),
            Effect::Release { buffer } => format!("free {}", buffer.0),
        });
    }
    flush(&mut batch, &mut words);
    words.join(", ")
}

const UP: Step = Up(0, "me", "a");

#[test]
fn a_task_starts_a_worker_and_ends_where_it_came_from() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 7), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, Done(0, 1, us(4000)), "done 0:7 Finished, credit 0=3"),
            (4, Run(0, 8), "run 0.1"),
        ],
    );
}

#[test]
fn a_second_slot_is_used_by_a_second_task() {
    check(
        2,
        &[
            (0, UP, "credit 0=4"),
            (1, Burst(0, 1..4), "start 0, start 1"),
            (2, Ready(1), "run 1.0"),
            (3, Ready(0), "run 0.0"),
            (4, Done(1, 1, us(9000)), "done 0:1 Finished, run 1.1, credit 0=5"),
        ],
    );
}

#[test]
fn credits_grow_with_what_fits_into_the_prefetch() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            // 40 tasks of 100 µs fill the prefetch of 4 ms, and one runs.
            (3, Done(0, 1, us(100)), "done 0:1 Finished, credit 0=42"),
        ],
    );
}

#[test]
fn credits_are_renewed_in_batches() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, Done(0, 1, us(100)), "done 0:1 Finished, credit 0=42"),
            (4, Burst(0, 2..12), "run 0.1-2"),
            (5, Done(0, 2, us(100)), "done 0:2 Finished, done 0:3 Finished, run 0.3-4"),
        ],
    );
}

#[test]
fn short_tasks_are_sent_ahead_and_long_ones_are_not() {
    let script = |ran, ahead| {
        [
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, Done(0, 1, ran), ahead),
        ]
    };
    let mut short = script(us(20), "done 0:1 Finished, credit 0=202").to_vec();
    short.push((4, Burst(0, 2..40), "run 0.1-10"));
    check(1, &short);
    let mut long = script(us(1000), "done 0:1 Finished, credit 0=6").to_vec();
    long.push((4, Burst(0, 2..6), "run 0.1"));
    check(1, &long);
}

#[test]
fn two_clients_of_one_owner_take_turns_at_a_worker() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (0, Up(1, "me", "a"), "credit 1=2"),
            (1, Burst(0, 1..3), "start 0"),
            (1, Burst(1, 11..13), ""),
            (2, Ready(0), "run 0.0"),
            (3, Done(0, 1, us(2000)), "done 0:1 Finished, run 0.1, credit 0=4"),
            (4, Done(0, 1, us(2000)), "done 1:11 Finished, run 0.2, credit 1=4"),
            (5, Done(0, 1, us(2000)), "done 0:2 Finished, run 0.3, credit 0=5"),
            (6, Done(0, 1, us(2000)), "done 1:12 Finished, credit 1=5"),
        ],
    );
}

#[test]
fn a_newcomer_gets_his_share_of_slots_from_one_whose_workers_are_kept_busy() {
    check(
        2,
        &[
            (0, UP, "credit 0=4"),
            (1, Burst(0, 1..3), "start 0, start 1"),
            (2, Ready(0), "run 0.0"),
            (2, Ready(1), "run 1.0"),
            (3, Done(0, 1, us(50)), "done 0:1 Finished, credit 0=163"),
            (3, Done(1, 1, us(50)), "done 0:2 Finished"),
            (4, Burst(0, 3..20), "run 0.1-4, run 1.1-4"),
            (5, Up(1, "you", "b"), "credit 1=4"),
            (6, Run(1, 1), ""),
            // Both have had alike, and it was the other's turn.
            (
                7,
                Done(0, 3, us(50)),
                "done 0:3 Finished, done 0:4 Finished, done 0:5 Finished, run 0.5-7",
            ),
            // Not topped up any more: one falls idle, and its slot changes hands.
            (8, Done(1, 3, us(50)), "done 0:7 Finished, done 0:8 Finished, done 0:9 Finished"),
            (9, Done(1, 1, us(50)), "done 0:10 Finished, kill 1, start 2"),
            (
                10,
                Done(0, 3, us(50)),
                "done 0:6 Finished, done 0:11 Finished, done 0:12 Finished, run 0.8-10",
            ),
        ],
    );
}

#[test]
fn an_idle_worker_keeps_its_slot_only_for_a_moment() {
    check(
        2,
        &[
            (0, UP, "credit 0=4"),
            (1, Burst(0, 1..3), "start 0, start 1"),
            (2, Ready(0), "run 0.0"),
            (2, Ready(1), "run 1.0"),
            (3, Up(1, "you", "b"), "credit 1=4"),
            (4, Done(0, 1, us(9000)), "done 0:1 Finished, credit 0=5"),
            (5, Burst(1, 1..3), "kill 0, start 2"),
            (6, Done(1, 1, us(9000)), "done 0:2 Finished, credit 0=6"),
            (7, Tick, ""),
            (60_000, Tick, "kill 1, start 3"),
        ],
    );
}

#[test]
fn a_waiting_task_is_cancelled_at_once() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, RunBulk(0, 1), "start 0"),
            (2, Cancel(0, 1), "free 1, done 0:1 Cancelled, credit 0=3"),
            (3, Ready(0), ""),
        ],
    );
}

#[test]
fn a_running_task_is_cancelled_with_its_worker() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Burst(0, 1..3), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, Cancel(0, 1), "kill 0, start 1"),
            (4, Died(0, 9, 1), "done 0:1 Cancelled, credit 0=3"),
            (5, Cancel(0, 1), ""),
        ],
    );
}

/// A worker with tasks 2 to 11 at it, the first of which is running; two more wait.
const AHEAD: [(u64, Step, &str); 5] = [
    (0, UP, "credit 0=2"),
    (1, Run(0, 1), "start 0"),
    (2, Ready(0), "run 0.0"),
    (3, Done(0, 1, us(20)), "done 0:1 Finished, credit 0=202"),
    (4, Burst(0, 2..14), "run 0.1-10"),
];

#[track_caller]
fn check_ahead(script: &[(u64, Step, &str)]) {
    check(1, &[&AHEAD, script].concat());
}

#[test]
fn a_task_sent_ahead_is_cancelled_when_its_turn_comes() {
    check_ahead(&[
        (5, Cancel(0, 3), ""),
        (6, Done(0, 1, us(20)), "done 0:2 Finished, kill 0, start 1"),
        // It was not begun, and neither were those behind it.
        (7, Died(0, 9, 2), "done 0:3 Cancelled"),
        (8, Ready(1), "run 1.0-9"),
    ]);
}

#[test]
fn of_a_dead_workers_tasks_only_the_culprit_is_blamed() {
    check_ahead(&[
        (5, Died(0, 11, 4), "done 0:4 Crashed, done 0:3 WorkerLost, done 0:2 WorkerLost, start 0"),
        (6, Ready(0), "run 0.0-8"),
    ]);
}

#[test]
fn nobody_is_blamed_for_the_task_before_it() {
    // The deadline's task ended while the kill was on its way; the next one had begun.
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, Done(0, 1, us(20)), "done 0:1 Finished, credit 0=202"),
            (4, RunUntil(0, 2, us(100)), "run 0.1"),
            (5, Run(0, 3), "run 0.2"),
            (200, Peeked(0, 2, us(5)), "kill 0"),
            (201, Done(0, 1, us(190)), "done 0:2 Finished"),
            (202, Died(0, 9, 3), "done 0:3 WorkerLost"),
        ],
    );
}

#[test]
fn a_program_whose_workers_die_at_birth_is_refused() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Died(0, 11, 0), "start 0"),
            (3, Died(0, 11, 0), "start 0"),
            (4, Died(0, 11, 0), "done 0:1 Refused, credit 0=3"),
            // It may be tried again.
            (5, Run(0, 2), "start 0"),
        ],
    );
}

#[test]
fn a_program_that_cannot_be_loaded_is_refused_with_its_reason() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Burst(0, 1..3), "start 0"),
            (2, Unusable(0), "kill 0, done 0:1 Refused, done 0:2 Refused, credit 0=4"),
            (3, Died(0, 9, 0), ""),
        ],
    );
}

#[test]
fn a_program_that_loads_for_ever_is_refused() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (29_999_000, Tick, ""),
            (30_000_001, Tick, "kill 0, done 0:1 Refused, credit 0=3"),
        ],
    );
}

#[test]
fn a_deadline_counts_from_when_the_worker_began() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, RunUntil(0, 1, us(100)), "start 0"),
            (2, Ready(0), "run 0.0"),
            (102, Tick, "peek 0"),
            // The process got round to it only late.
            (102, Peeked(0, 1, us(60)), ""),
            (159, Tick, ""),
            (160, Tick, "peek 0"),
            (160, Peeked(0, 1, us(60)), "kill 0"),
            (161, Died(0, 9, 1), "done 0:1 TimeLimit, credit 0=3"),
        ],
    );
}

#[test]
fn a_result_on_its_way_is_not_late() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, RunUntil(0, 1, us(100)), "start 0"),
            (2, Ready(0), "run 0.0"),
            (102, Tick, "peek 0"),
            (102, Peeked(0, 1, us(0)), ""),
            (103, Done(0, 1, us(90)), "done 0:1 Finished, credit 0=46"),
        ],
    );
}

#[test]
fn results_held_back_are_looked_for() {
    check_ahead(&[(5003, Tick, ""), (5004, Tick, "peek 0"), (5005, Peeked(0, 2, us(4)), "")]);
}

#[test]
fn too_much_memory_ends_the_task() {
    check(
        1,
        &[
            (0, Limited(0, 100), "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (20_002, Tick, "measure 0"),
            (20_002, Measured(0, 100), ""),
            (40_002, Tick, "measure 0"),
            (40_002, Measured(0, 101), "kill 0"),
            (40_003, Died(0, 9, 1), "done 0:1 OutOfMemory, credit 0=3"),
        ],
    );
}

#[test]
fn an_idle_worker_ends_after_a_while() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, Done(0, 1, us(9000)), "done 0:1 Finished, credit 0=3"),
            (30_000_002, Tick, ""),
            (30_000_003, Tick, "kill 0"),
            (30_000_004, Died(0, 9, 1), ""),
        ],
    );
}

#[test]
fn only_what_is_not_at_a_worker_is_given_back() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, RunBulk(0, 2), ""),
            // Its credit comes back at once.
            (4, TakeBack(0, 9), "free 2, credit 0=3"),
            (5, TakeBack(0, 9), ""),
            (6, Done(0, 1, us(9000)), "done 0:1 Finished, credit 0=4"),
        ],
    );
}

#[test]
fn a_client_that_goes_takes_its_tasks_with_it() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, RunBulk(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (3, RunBulk(0, 2), ""),
            (4, Down(0), "free 2, kill 0"),
            (5, Died(0, 9, 1), "free 1"),
        ],
    );
}

#[test]
fn a_worker_that_cannot_be_started_is_tried_again_after_pauses_that_double() {
    check(
        1,
        &[
            (0, UP, "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, NotStarted(0), ""),
            (3, Run(0, 2), ""),
            (50_001, Tick, ""),
            (50_002, Tick, "start 0"),
            (50_003, NotStarted(0), ""),
            (150_002, Tick, ""),
            (150_003, Tick, "start 0"),
            (150_004, Ready(0), "run 0.0"),
            (150_005, Done(0, 1, us(9000)), "done 0:1 Finished, run 0.1, credit 0=3"),
        ],
    );
}

#[test]
fn a_host_that_never_has_a_process_to_spare_refuses_in_the_end() {
    let mut slots = Slots::new(1);
    let mut results = std::collections::BTreeMap::new();
    for step in [UP, Run(0, 1)] {
        take(&mut slots, &mut results, Time(1), step);
        slots.settle(Time(1));
    }
    let mut now = Time(1);
    let (mut starts, mut end) = (0, String::new());
    while end.is_empty() {
        while let Some(effect) = slots.poll_effect() {
            match effect {
                Effect::Start { worker, .. } => {
                    starts += 1;
                    slots.not_started(now, worker, "no process to spare");
                }
                Effect::Done { finished, .. } => end = format!("{:?}", finished.status),
                _ => {}
            }
        }
        if end.is_empty() {
            assert!(slots.poll_timeout() > now, "it would spin");
            now = slots.poll_timeout();
            slots.tick(now);
            slots.settle(now);
        }
    }
    assert_eq!(starts, 6);
    assert!(end.contains("Refused") && end.contains("no process to spare"), "{end}");
    // The next task is another matter.
    take(&mut slots, &mut results, now + Span::from_secs(60), Run(0, 2));
    slots.tick(now + Span::from_secs(60));
    slots.settle(now + Span::from_secs(60));
    let effects: Vec<Effect> = std::iter::from_fn(|| slots.poll_effect()).collect();
    assert!(describe(&effects).contains("start 0"), "{effects:?}");
}

#[test]
fn where_the_kernel_limits_memory_nobody_measures_and_its_word_ends_the_worker() {
    check(
        1,
        &[
            (0, Grouped, ""),
            (0, Limited(0, 100), "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Ready(0), "run 0.0"),
            (40_000, Tick, ""),
            (40_001, AtLimit(0, 100), "kill 0"),
            (40_002, Died(0, 9, 1), "done 0:1 OutOfMemory, credit 0=3"),
        ],
    );
}

#[test]
fn a_program_that_is_too_large_to_load_is_refused_at_once() {
    check(
        1,
        &[
            (0, Limited(0, 100), "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Starved(0, 100, 100), "done 0:1 OutOfMemory, credit 0=3"),
            // The same, when the kernel's word comes before its end.
            (3, Run(0, 2), "start 0"),
            (4, AtLimit(0, 100), "kill 0, done 0:2 OutOfMemory, credit 0=4"),
            (5, Died(0, 9, 0), ""),
        ],
    );
}

#[test]
fn after_everyone_has_gone_nothing_is_left() {
    let mut slots = Slots::new(2);
    let mut results = std::collections::BTreeMap::new();
    let steps =
        [UP, Burst(0, 1..4), Ready(0), Ready(1), Down(0), Died(0, 9, 1), Died(1, 9, 1), Tick];
    for (at, step) in steps.into_iter().enumerate() {
        let now = Time(at as u64 + 1);
        take(&mut slots, &mut results, now, step);
        slots.settle(now);
    }
    assert_eq!(slots.tally(), Tally::default());
    assert_eq!(slots.poll_timeout(), Time::NEVER);
}

#[test]
fn a_task_without_a_credit_is_a_breach_and_its_buffer_is_freed() {
    let mut slots = Slots::new(1);
    let mut results = std::collections::BTreeMap::new();
    for step in [UP, Run(0, 1), Run(0, 2)] {
        take(&mut slots, &mut results, Time(1), step);
        slots.settle(Time(1));
    }
    while slots.poll_effect().is_some() {}
    // Cancelling what was announced only must not make room for more.
    slots.pass(LinkId(0));
    let input = wire::task::Input::Bulk(1);
    let name = TaskName::default();
    let head = RunHead { program: 0, attempt: 1, deadline: Span(0), input, name };
    let payload = Payload::Buffer { buffer: BufferId(3), length: 1 };
    assert_eq!(slots.run(Time(1), LinkId(0), 3, head, payload, Span(0)), Err(Breach::NoCredit));
    assert_eq!(slots.poll_effect(), Some(Effect::Release { buffer: BufferId(3) }));
}

#[test]
fn a_result_counts_once_and_in_its_turn() {
    let mut slots = Slots::new(1);
    let mut results = std::collections::BTreeMap::new();
    let ahead = AHEAD.into_iter().map(|(_, step, _)| step);
    for step in ahead {
        take(&mut slots, &mut results, Time(1), step);
        slots.settle(Time(1));
    }
    while slots.poll_effect().is_some() {}
    let mut ends = |sequence| {
        let output = Payload::Buffer { buffer: BufferId(sequence as u32), length: 1 };
        let finished = Finished {
            status: Status::Finished { code: 0 },
            ran: us(20),
            output,
            times: Times::default(),
        };
        slots.done(Time(2), WorkerId(0), sequence, finished);
        let effects: Vec<Effect> = std::iter::from_fn(|| slots.poll_effect()).collect();
        describe(&effects)
    };
    // What is found in the page may be ahead of what is in the pipe, and comes again from there.
    assert_eq!(ends(2), "");
    assert_eq!(ends(1), "done 0:2 Finished");
    assert_eq!(ends(1), "");
    assert_eq!(ends(2), "done 0:3 Finished");
}

/// Sixty owners with a program each, and two slots: whoever waits is helped in the end, and nothing is
/// left of the lists of who waits.
#[test]
fn more_programs_than_slots_each_have_their_turn() {
    const OWNERS: u32 = 60;
    let mut slots = Slots::new(2);
    let mut now = Time(1_000_000);
    let mut tasks: std::collections::BTreeMap<u32, VecDeque<u64>> = Default::default();
    let mut results = std::collections::BTreeMap::new();
    let names: Vec<String> = (0..OWNERS).map(|at| format!("owner-{at}")).collect();
    for (at, name) in (0..).zip(&names) {
        slots.link_up(LinkId(at), name.parse().expect("a name"));
        let library = wire::name::Hash::of(name.as_bytes());
        let program = Program::Core { library, name: name.clone() };
        slots.define(LinkId(at), program, 0).expect("no breach");
    }
    slots.settle(now);
    for at in 0..OWNERS {
        take(&mut slots, &mut results, now, Run(at, u64::from(at)));
    }
    let (mut ended, mut rounds) = (0, 0);
    while ended < OWNERS {
        rounds += 1;
        assert!(rounds < 10_000, "{ended} of {OWNERS} were helped");
        slots.settle(now);
        while let Some(effect) = slots.poll_effect() {
            match effect {
                Effect::Start { worker, .. } => {
                    tasks.insert(worker.0, VecDeque::new());
                    take(&mut slots, &mut results, now, Ready(worker.0));
                }
                Effect::Execute { worker, sequence, .. } => {
                    tasks.entry(worker.0).or_default().push_back(sequence);
                }
                Effect::Kill { worker } => {
                    tasks.remove(&worker.0);
                    take(&mut slots, &mut results, now, Died(worker.0, 9, 0));
                }
                Effect::Done { .. } => ended += 1,
                _ => {}
            }
        }
        now = now + us(1000);
        slots.tick(now);
        let busy: Vec<u32> =
            tasks.iter().filter(|(_, t)| !t.is_empty()).map(|(&at, _)| at).collect();
        for worker in busy {
            tasks.entry(worker).or_default().pop_front();
            take(&mut slots, &mut results, now, Done(worker, 1, us(1000)));
        }
    }
    assert_eq!((slots.hungry, slots.homeless.len(), slots.wanting), (0, 0, 0));
    (0..OWNERS).for_each(|at| slots.link_down(now, LinkId(at)));
    assert_eq!(slots.tally().lanes, 0);
}

/// A bound worker that is loaded.
const BOUND: [(u64, Step, &str); 2] =
    [(0, Bind(0, 7), "start 0, credit 0=2"), (1, Ready(0), "bound 0:7")];

#[track_caller]
fn check_bound(size: u32, script: &[(u64, Step, &str)]) {
    check(size, &[&BOUND, script].concat());
}

#[test]
fn a_bound_worker_is_started_at_once_and_all_tasks_go_to_it() {
    check_bound(
        4,
        &[
            (2, Burst(0, 1..3), "run 0.0"),
            (3, Done(0, 1, us(9000)), "done 0:1 Finished, run 0.1, credit 0=3"),
            (4, Done(0, 1, us(9000)), "done 0:2 Finished, credit 0=4"),
        ],
    );
}

#[test]
fn an_idle_bound_worker_stays_and_has_no_slot() {
    check_bound(
        1,
        &[
            // Somebody else uses the one slot.
            (2, Up(1, "you", "b"), "credit 1=2"),
            (3, Run(1, 1), "start 1"),
            (4, Ready(1), "run 1.0"),
            (5, Run(0, 1), ""),
            (9000, Done(1, 1, us(9000)), "done 1:1 Finished, kill 1, run 0.0, credit 1=3"),
            (9001, Run(1, 2), ""),
            (9002, Done(0, 1, us(9000)), "done 0:1 Finished, start 2, credit 0=3"),
            (90_000_000, Tick, "kill 2, done 1:2 Refused, credit 1=4"),
            // None but the one whose end nobody has told, nor that of a kill a second ago.
            (900_000_000, Tick, "kill 1"),
        ],
    );
}

#[test]
fn a_bound_worker_that_dies_is_started_anew_for_the_next_task_and_is_never_two() {
    check_bound(
        4,
        &[
            (2, Burst(0, 1..3), "run 0.0"),
            (3, Died(0, 11, 1), "done 0:1 Crashed, start 0, credit 0=3"),
            (4, Ready(0), "run 0.0"),
            (5, Done(0, 1, us(9000)), "done 0:2 Finished, credit 0=4"),
            (6, Died(0, 9, 1), ""),
            (7, Run(0, 3), "start 0"),
        ],
    );
}

#[test]
fn who_waits_for_a_bound_worker_hears_at_once_why_there_is_none() {
    let bind = (0, Bind(0, 7), "start 0, credit 0=2");
    check(1, &[bind.clone(), (1, Unusable(0), "kill 0, bound 0:7 no such symbol")]);
    let crashed = "bound 0:7 it crashed while it was loaded: signal 11";
    check(1, &[bind.clone(), (1, Died(0, 11, 0), crashed)]);
    let late = (501, Tick, "kill 0, bound 0:7 it did not load within 500 µs");
    check(1, &[bind, (499, Tick, ""), late, (502, Died(0, 9, 0), "")]);
}

#[test]
fn a_bound_worker_is_dismissed_and_killed_only_if_it_does_not_go() {
    check_bound(
        1,
        &[
            (2, Unbind(0), "dismiss 0"),
            (3, Died(0, 0, 0), "unbound 0:7"),
            (4, BindAgain(0, 8), "start 0"),
            (5, Ready(0), "bound 0:8"),
            (6, Unbind(0), "dismiss 0"),
            (2_000_005, Tick, ""),
            (2_000_006, Tick, "kill 0"),
            (2_000_007, Died(0, 9, 0), "unbound 0:8"),
            (2_000_008, Unbind(0), ""),
        ],
    );
}

#[test]
fn a_user_that_goes_lets_its_idle_bound_worker_end_in_order() {
    check_bound(1, &[(2, Down(0), "dismiss 0"), (3, Died(0, 0, 0), "")]);
    check_bound(1, &[(2, Run(0, 1), "run 0.0"), (3, Down(0), "kill 0")]);
}

#[test]
fn nothing_is_left_of_bound_workers_and_their_number_is_bounded() {
    let mut slots = Slots::new(1);
    let program = || Program::Core { library: wire::name::Hash::of(b""), name: "bound".into() };
    let bind = |slots: &mut Slots, at: u32| {
        slots.link_up(LinkId(at), "v1".parse().expect("a name"));
        slots.bind(Time(1), LinkId(at), Bound(at.into()), program(), 0, Span(0))
    };
    let most = wire::limits::BOUND_MAX as u32;
    assert!((0..most).all(|at| bind(&mut slots, at).is_ok()));
    assert_eq!(bind(&mut slots, most), Err(NotBound::TooMany));
    for at in 0..=most {
        slots.link_down(Time(2), LinkId(at));
        slots.exited(Time(3), WorkerId(at), Exit::Signal(9), 0, "");
    }
    slots.settle(Time(4));
    assert_eq!(slots.tally(), Tally::default());
    assert_eq!(slots.poll_timeout(), Time::NEVER);
}
