//! What the kernel keeps for a process and for each of its threads, as calls that set it.

use sys::Pid;
use sys::ptrace::Remote;
use wire::image::process::{PosixTimer, Process, SignalInfo, Timer};
use wire::image::thread::Thread;

use super::batch::{Argument, Batch};
use super::nouns::{AT_THE_END, Map, SIGEV_THREAD_ID};
use crate::{Description, Error};

/// Where the kernel believes the program's parts to be, and what it says it has told it at its start.
pub(super) fn of_memory(batch: &mut Batch, of: &Description) {
    let auxiliary = &of.process.auxiliary;
    let words: Vec<u64> = auxiliary.iter().flat_map(|entry| [entry.key, entry.value]).collect();
    let (at, length) = (batch.words(&words), words.len() * 8);
    let marks = &of.process.marks;
    let boundaries = [
        marks.code_start,
        marks.code_end,
        marks.data_start,
        marks.data_end,
        marks.break_start,
        marks.break_now,
        marks.stack_start,
        marks.arguments_start,
        marks.arguments_end,
        marks.environment_start,
        marks.environment_end,
    ];
    let map = batch.memory_map(&boundaries, at, length as u32);
    let args = [PR_SET_MM.into(), PR_SET_MM_MAP.into(), map, MEMORY_MAP_LEN.into()];
    batch.must("tell the kernel the boundaries of", libc::SYS_prctl, &args);
}

const PR_SET_MM: u64 = 35;
const PR_SET_MM_MAP: u64 = 14;
/// Of `struct prctl_mm_map`: eleven boundaries, a pointer, two numbers of 32 bits.
const MEMORY_MAP_LEN: u64 = 104;

/// What one thread has.
pub(super) fn of_thread(thread: &Thread) -> Batch {
    let mut batch = Batch::default();
    if thread.clear_tid != 0 {
        let args = [thread.clear_tid.into()];
        batch.must("set the place of a number of", libc::SYS_set_tid_address, &args);
    }
    if let Some(list) = thread.robust_list {
        let args = [list.head.into(), list.length.into()];
        batch.must("set the robust list of", libc::SYS_set_robust_list, &args);
    }
    let stack = thread.alternate_stack;
    if stack.flags & SS_DISABLE == 0 && stack.size != 0 {
        // Whether a thread is on it is told by its stack pointer.
        let flags = u64::from(stack.flags & !SS_ONSTACK);
        let words = batch.words(&[stack.pointer, flags, stack.size]);
        batch.must("set the signal stack of", libc::SYS_sigaltstack, &[words, 0.into()]);
    }
    let name = batch.text(&thread.name.0);
    batch.must("name a thread of", libc::SYS_prctl, &[(libc::PR_SET_NAME as u64).into(), name]);
    if let Some(rseq) = thread.rseq {
        let args = [rseq.pointer, u64::from(rseq.size), 0, u64::from(rseq.signature)];
        batch.must("register rseq of", libc::SYS_rseq, &args.map(Argument::from));
    }
    if thread.timer_slack != 0 {
        let args = [libc::PR_SET_TIMERSLACK as u64, thread.timer_slack];
        batch.must("set the timer slack of", libc::SYS_prctl, &args.map(Argument::from));
    }
    // Behind others as before, but never before them: whose host this is says who comes first on it.
    if thread.nice > 0 {
        let args = [u64::from(libc::PRIO_PROCESS), 0, thread.nice as u64];
        batch.may("let others go before", libc::SYS_setpriority, &args.map(Argument::from));
    }
    batch
}

const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;

/// What the process has as a whole. `numbers` are those of its threads, in the order of the description.
pub(super) fn of_process(
    remote: &mut Remote<'_>,
    of: &Description,
    maps: &[Map],
    numbers: &[Pid],
) -> Result<(), Error> {
    let process = &of.process;
    let new_number = |tid: i32| {
        let found = of.threads.iter().zip(numbers).find(|(thread, _)| thread.tid == tid);
        found.map_or(0, |(_, number)| number.0)
    };
    let mut batch = Batch::default();
    for map in maps.iter().filter(|map| map.is_kept_open) {
        let length = map.range.end - map.range.start;
        let args = [map.range.start, length, map.protection()];
        batch.must("protect memory of", libc::SYS_mprotect, &args.map(Argument::from));
    }
    for map in maps {
        for advice in map.advice.iter().filter(|it| AT_THE_END.contains(it)) {
            let args = [map.range.start, map.range.end - map.range.start, *advice as u64];
            batch.may("advise on memory of", libc::SYS_madvise, &args.map(Argument::from));
        }
    }
    for map in maps.iter().filter(|map| map.locked) {
        let args = [map.range.start, map.range.end - map.range.start];
        batch.must("lock memory of", libc::SYS_mlock, &args.map(Argument::from));
    }
    for map in maps.iter().filter(|map| map.sealed) {
        let args = [map.range.start, map.range.end - map.range.start, 0];
        batch.must("seal memory of", SYS_MSEAL, &args.map(Argument::from));
    }
    batch.run(remote)?;
    timers(remote, &process.timers, new_number)?;
    limits(remote, process)?;
    attributes(&mut batch, process);
    for (which, timer) in process.interval_timers.iter().enumerate() {
        // One that repeats and has nothing left has just run out: it goes on when its signal is taken.
        if timer.left > 0 || timer.interval > 0 {
            let words = batch.words(&micros(timer));
            batch.must(
                "set a timer of",
                libc::SYS_setitimer,
                &[(which as u64).into(), words, 0.into()],
            );
        }
    }
    // As a new program begins, all but what is ignored is the default here; SIGTRAP is what ends a run.
    let signals = (1..=64_u8).filter(|signal| ![KILL, STOP, TRAP].contains(signal)).chain([TRAP]);
    for signal in signals {
        let action = process.actions.iter().find(|action| action.signal == signal);
        let words = action
            .map_or([0; 4], |action| [action.handler, action.flags, action.restorer, action.mask]);
        let words = batch.words(&words);
        let args = [u64::from(signal).into(), words, 0.into(), 8.into()];
        batch.must("set what a signal does to", libc::SYS_rt_sigaction, &args);
    }
    batch.run(remote)?;
    pending(remote, of, numbers)
}

const SYS_MSEAL: i64 = 462;
const KILL: u8 = 9;
const STOP: u8 = 19;
const TRAP: u8 = 5;

/// Signals wait until the thread that they are for wakes: they are sent by the process to itself, as only so
/// they look the same.
fn pending(remote: &mut Remote<'_>, of: &Description, numbers: &[Pid]) -> Result<(), Error> {
    let mut batch = Batch::default();
    let pid = numbers.first().map_or(0, |pid| pid.0) as u64;
    let signal = |info: &SignalInfo| u64::from(info.0[0]);
    for (thread, number) in of.threads.iter().zip(numbers) {
        for info in &thread.pending {
            let data = batch.data(&info.0);
            let args = [pid.into(), (number.0 as u64).into(), signal(info).into(), data];
            batch.must("queue a signal of", libc::SYS_rt_tgsigqueueinfo, &args);
            if batch.is_full() {
                batch.run(remote)?;
            }
        }
    }
    for info in &of.process.pending {
        let data = batch.data(&info.0);
        batch.must(
            "queue a signal of",
            libc::SYS_rt_sigqueueinfo,
            &[pid.into(), signal(info).into(), data],
        );
        if batch.is_full() {
            batch.run(remote)?;
        }
    }
    batch.run(remote)?;
    Ok(())
}

/// What the process may use. What this user may not raise here stays as it is here.
fn limits(remote: &mut Remote<'_>, process: &Process) -> Result<(), Error> {
    let mut batch = Batch::default();
    let mut found = Vec::new();
    for limit in &process.limits {
        let now = batch.words(&[0, 0]);
        let args = [0.into(), u64::from(limit.resource).into(), 0.into(), now];
        batch.must("read a limit of", libc::SYS_prlimit64, &args);
        found.push((limit, now));
    }
    batch.run(remote)?;
    let mut now = Vec::new();
    for (limit, at) in found {
        let bytes = Batch::left(remote, at, 16)?;
        let mut hard = [0; 8];
        hard.copy_from_slice(&bytes[8..]);
        now.push((limit, u64::from_le_bytes(hard)));
    }
    let mut wanted = Batch::default();
    for (limit, _) in &now {
        let words = wanted.words(&[limit.soft, limit.hard]);
        let args = [0.into(), u64::from(limit.resource).into(), words, 0.into()];
        wanted.may("set a limit of", libc::SYS_prlimit64, &args);
    }
    let results = wanted.try_run(remote)?;
    for ((limit, hard), _) in now.iter().zip(results).filter(|(_, result)| result.is_err()) {
        let hard = limit.hard.min(*hard);
        let words = batch.words(&[limit.soft.min(hard), hard]);
        let args = [0.into(), u64::from(limit.resource).into(), words, 0.into()];
        batch.must("set a limit of", libc::SYS_prlimit64, &args);
    }
    batch.run(remote)?;
    Ok(())
}

fn attributes(batch: &mut Batch, process: &Process) {
    let attributes = &process.attributes;
    let mut set = |what: i32, value: u64| {
        let args = [what as u64, value, 0, 0, 0];
        batch.must("set an attribute of", libc::SYS_prctl, &args.map(Argument::from));
    };
    set(libc::PR_SET_PDEATHSIG, u64::from(attributes.parent_death_signal));
    set(libc::PR_SET_CHILD_SUBREAPER, u64::from(attributes.child_subreaper));
    if attributes.no_new_privileges {
        set(libc::PR_SET_NO_NEW_PRIVS, 1);
    }
    if attributes.huge_pages_disabled {
        set(libc::PR_SET_THP_DISABLE, 1);
    }
    // 2, which is root's alone, can only be had by being started so.
    if attributes.dumpable < 2 {
        set(libc::PR_SET_DUMPABLE, u64::from(attributes.dumpable));
    }
    let personality = [u64::from(attributes.personality).into()];
    batch.must("set the personality of", libc::SYS_personality, &personality);
    batch.must("set the umask of", libc::SYS_umask, &[u64::from(process.umask).into()]);
}

/// Timers of `timer_create`, with the numbers that the program knows them by.
fn timers(
    remote: &mut Remote<'_>,
    timers: &[PosixTimer],
    new_number: impl Fn(i32) -> i32,
) -> Result<(), Error> {
    if timers.is_empty() {
        return Ok(());
    }
    // Kernels since 6.16 give the number that is asked for; before, they count up.
    let mut batch = Batch::default();
    let asked = [PR_TIMER_CREATE_RESTORE_IDS.into(), 1.into()];
    batch.may("ask for the numbers of timers of", libc::SYS_prctl, &asked);
    let gives = batch.try_run(remote)?.iter().all(Result::is_ok);
    let mut sorted: Vec<&PosixTimer> = timers.iter().collect();
    sorted.sort_by_key(|timer| timer.id);
    let mut next = 0;
    for timer in sorted {
        while !gives && next < timer.id {
            if timer.id - next > TIMERS_PASSED {
                let source = std::io::Error::from_raw_os_error(libc::ENOSYS);
                let action = "give a timer its number in";
                return Err(Error::Step { action, pid: remote.pid(), source });
            }
            let id = batch.words(&[0]);
            let args = [(libc::CLOCK_MONOTONIC as u64).into(), 0.into(), id];
            batch.must("count timers of", libc::SYS_timer_create, &args);
            batch.must("count timers of", libc::SYS_timer_delete, &[(next as u64).into()]);
            batch.run(remote)?;
            next += 1;
        }
        let mut event = [0_u64; 8];
        event[0] = timer.value;
        event[1] = u64::from(timer.signal) | (timer.notify as u64) << 32;
        if timer.notify == SIGEV_THREAD_ID {
            event[2] = new_number(timer.thread) as u64;
        }
        let event = batch.words(&event);
        let id = batch.words(&[timer.id as u64]);
        let args = [(i64::from(timer.clock) as u64).into(), event, id];
        batch.must("make a timer of", libc::SYS_timer_create, &args);
        if timer.timer.left > 0 {
            let words = batch.words(&nanos(&timer.timer));
            let args = [(timer.id as u64).into(), 0.into(), words, 0.into()];
            batch.must("set a timer of", libc::SYS_timer_settime, &args);
        }
        batch.run(remote)?;
        next = timer.id + 1;
    }
    if gives {
        let args = [PR_TIMER_CREATE_RESTORE_IDS.into(), 0.into()];
        batch.must("count timers of", libc::SYS_prctl, &args);
    }
    batch.run(remote)?;
    Ok(())
}

const PR_TIMER_CREATE_RESTORE_IDS: u64 = 77;

/// Numbers that are passed over, one by one, to come to that of a timer.
const TIMERS_PASSED: i32 = 1000;

const SECOND: u64 = 1_000_000_000;

/// Interval and value, each of seconds and microseconds; what runs does not run out before it begins. One
/// with an interval and nothing left has run out, and its signal is pending: only when that is taken does the
/// kernel set it again, which it does not for a signal that it has not sent.
fn micros(timer: &Timer) -> [u64; 4] {
    let pair = |nanos: u64| [nanos / SECOND, nanos % SECOND / 1000];
    let left = if timer.left == 0 { timer.interval } else { timer.left };
    let ([a, b], [c, d]) = (pair(timer.interval), pair(left.max(1000)));
    [a, b, c, d]
}

fn nanos(timer: &Timer) -> [u64; 4] {
    [timer.interval / SECOND, timer.interval % SECOND, timer.left / SECOND, timer.left % SECOND]
}
