//! What belongs to a process as a whole.

use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::time::{SystemTime, UNIX_EPOCH};

use sys::ptrace::Remote;
use sys::{Pid, limits};
use wire::image::process::{
    Attributes, Auxiliary, Clocks, Credentials, Executable, MemoryMarks, PosixTimer, Process,
    ResourceLimit, Session, SignalAction, Timer,
};
use wire::image::text::Text;
use wire::name::Hash;

use super::calls::{Answers, Argument, Question, Questions};
use super::mappings;
use super::told::{Stat, Told, link};
use crate::{Error, elf};

/// Arguments that are told to people, and bytes of each.
const ARGUMENTS_MAX: usize = 64;
const ARGUMENT_MAX: usize = 256;

/// Bytes of an executable without a build id that is named by its hash instead: it takes some 25 ms.
const HASHED_MAX: u64 = 64 << 20;

/// `struct sigaction` of the kernel: handler, flags, restorer, mask.
const ACTION_LEN: usize = 32;

/// `struct itimerval` and `struct itimerspec`: two times of two words.
const TIMER_LEN: usize = 32;

/// POSIX timers that are asked for in one go.
const TIMERS_AT_ONCE: usize = 256;

const ASK_ONLY: u64 = 0xffff_ffff;

/// What is read of a process from outside.
#[derive(Debug)]
pub(super) struct Outside {
    process: Process,
    /// Signals whose action is not the default, and may be asked for.
    acting: Vec<u8>,
}

impl Outside {
    pub(super) fn read(pid: Pid) -> Result<Self, Error> {
        let status = Told::read(pid, "status")?;
        let stat = Stat::read(pid)?;
        let acts = status.number("SigCgt:", 16)? | status.number("SigIgn:", 16)?;
        let acting = (1..=64_u8).filter(|signal| acts & 1 << (signal - 1) != 0).collect();
        let process = Process {
            pid: pid.0,
            executable: executable(pid)?,
            arguments: arguments(pid)?,
            directory: Text(link(pid, "cwd")?.into_os_string().into_vec()),
            root: Text(link(pid, "root")?.into_os_string().into_vec()),
            umask: status.number("Umask:", 8)? as u32,
            limits: limits::all(pid)?
                .into_iter()
                .map(|(resource, limit)| ResourceLimit {
                    resource,
                    soft: limit.soft,
                    hard: limit.hard,
                })
                .collect(),
            marks: marks(&stat)?,
            auxiliary: auxiliary(pid)?,
            attributes: Attributes {
                no_new_privileges: status.number("NoNewPrivs:", 10)? != 0,
                ..Attributes::default()
            },
            interval_timers: [Timer::default(); 3],
            timers: timers(&Told::read(pid, "timers")?)?,
            actions: Vec::new(),
            pending: Vec::new(),
            credentials: credentials(&status)?,
            session: session(pid, &stat)?,
            clocks: Clocks::default(),
            stopped: 0,
        };
        Ok(Self { process, acting })
    }

    /// Asks the process for the rest.
    pub(super) fn ask(self, remote: &mut Remote<'_>) -> Result<Process, Error> {
        let Self { mut process, acting } = self;
        let timers = std::mem::take(&mut process.timers);
        for some in timers.chunks(TIMERS_AT_ONCE) {
            process.timers.extend(ask_timers(remote, some)?);
        }

        let mut questions = Questions::for_process(remote);
        let answer = Argument::Answer;
        let actions: Vec<(u8, Question)> = acting
            .into_iter()
            .map(|signal| {
                let arguments = [u64::from(signal).into(), 0.into(), answer, 8.into()];
                (signal, questions.put(libc::SYS_rt_sigaction, &arguments, ACTION_LEN))
            })
            .collect();
        let interval_timers =
            [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF].map(|which| {
                questions.put(libc::SYS_getitimer, &[(which as u64).into(), answer], TIMER_LEN)
            });
        let clocks = [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME].map(|clock| {
            questions.put(libc::SYS_clock_gettime, &[(clock as u64).into(), answer], 16)
        });
        let break_now = questions.put(libc::SYS_brk, &[0.into()], 0);
        let personality = questions.put(libc::SYS_personality, &[ASK_ONLY.into()], 0);
        let mut attribute = |which: i32, arguments: &[Argument], len| {
            let all: Vec<Argument> =
                [(which as u64).into()].into_iter().chain(arguments.iter().copied()).collect();
            questions.put(libc::SYS_prctl, &all, len)
        };
        let dumpable = attribute(libc::PR_GET_DUMPABLE, &[], 0);
        let no_huge_pages = attribute(libc::PR_GET_THP_DISABLE, &[], 0);
        let subreaper = attribute(libc::PR_GET_CHILD_SUBREAPER, &[answer], 4);
        let death_signal = attribute(libc::PR_GET_PDEATHSIG, &[answer], 4);
        let answers = questions.ask(remote)?;

        process.actions = actions
            .into_iter()
            .filter_map(|(signal, question)| {
                answers.bytes(question)?;
                let [handler, flags, restorer, mask] = answers.words(question);
                Some(SignalAction { signal, handler, flags, restorer, mask })
            })
            .collect();
        process.interval_timers =
            interval_timers.map(|question| timer(answers.words(question), 1_000));
        process.marks.break_now = answers.result(break_now).unwrap_or(0);
        process.attributes = Attributes {
            dumpable: answers.result(dumpable).unwrap_or(1) as u32,
            child_subreaper: small(&answers, subreaper) != 0,
            parent_death_signal: small(&answers, death_signal),
            huge_pages_disabled: answers.result(no_huge_pages).unwrap_or(0) & 1 != 0,
            personality: answers.result(personality).unwrap_or(0) as u32,
            ..process.attributes
        };
        let [monotonic, boot] = clocks.map(|question| {
            let [seconds, nanoseconds] = answers.words(question);
            nanoseconds_of(seconds, nanoseconds, 1)
        });
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        process.clocks = Clocks { real: real.as_nanos() as u64, monotonic, boot };
        Ok(process)
    }
}

/// An answer of 32 bits.
fn small(answers: &Answers, question: Question) -> u32 {
    let bytes = answers.bytes(question).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Interval and time left, whose second words count `unit` nanoseconds.
fn timer(words: [u64; 4], unit: u64) -> Timer {
    let [interval, interval_rest, left, left_rest] = words;
    Timer {
        interval: nanoseconds_of(interval, interval_rest, unit),
        left: nanoseconds_of(left, left_rest, unit),
    }
}

fn nanoseconds_of(seconds: u64, rest: u64, unit: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.saturating_mul(unit))
}

fn ask_timers(remote: &mut Remote<'_>, some: &[PosixTimer]) -> Result<Vec<PosixTimer>, Error> {
    let mut questions = Questions::for_process(remote);
    let asked: Vec<(PosixTimer, Question, Question)> = some
        .iter()
        .map(|timer| {
            let id = Argument::from(timer.id as u64);
            let time = questions.put(libc::SYS_timer_gettime, &[id, Argument::Answer], TIMER_LEN);
            (*timer, time, questions.put(libc::SYS_timer_getoverrun, &[id], 0))
        })
        .collect();
    let answers = questions.ask(remote)?;
    let told = asked.into_iter().map(|(known, time, overrun)| PosixTimer {
        timer: timer(answers.words(time), 1),
        overrun: answers.result(overrun).unwrap_or(0) as u32,
        ..known
    });
    Ok(told.collect())
}

/// The text of `timers`: five lines for each.
///
/// ```text
/// ID: 1
/// signal: 60/00007fff86e452a8
/// notify: signal/pid.2634
/// ClockID: 0
/// ```
fn timers(told: &Told) -> Result<Vec<PosixTimer>, Error> {
    let mut found: Vec<PosixTimer> = Vec::new();
    for line in told.text().lines() {
        let (label, value) = line.split_once(": ").ok_or_else(|| told.missing("a timer"))?;
        let known = match (label, found.last_mut()) {
            ("ID", _) => value.parse().ok().map(|id| found.push(blank(id))),
            ("signal", Some(last)) => value.split_once('/').and_then(|(signal, data)| {
                last.signal = signal.parse().ok()?;
                last.value = u64::from_str_radix(data.trim_start_matches("0x"), 16).ok()?;
                Some(())
            }),
            ("notify", Some(last)) => value.split_once('/').and_then(|(how, whom)| {
                let (kind, number) = whom.split_once('.')?;
                let to_thread = if kind == "tid" { libc::SIGEV_THREAD_ID } else { 0 };
                last.notify = to_thread
                    | match how {
                        "signal" => libc::SIGEV_SIGNAL,
                        "none" => libc::SIGEV_NONE,
                        "thread" => libc::SIGEV_THREAD,
                        _ => return None,
                    };
                last.thread = number.parse().ok()?;
                Some(())
            }),
            ("ClockID", Some(last)) => value.parse().ok().map(|clock| last.clock = clock),
            // What later kernels add.
            (_, Some(_)) => Some(()),
            (_, None) => None,
        };
        known.ok_or_else(|| told.missing("a timer"))?;
    }
    // The kernel tells the newest first.
    found.sort_by_key(|timer| timer.id);
    Ok(found)
}

fn blank(id: i32) -> PosixTimer {
    let timer = Timer::default();
    PosixTimer { id, clock: 0, timer, overrun: 0, notify: 0, signal: 0, value: 0, thread: 0 }
}

fn executable(pid: Pid) -> Result<Executable, Error> {
    let path = link(pid, "exe")?.into_os_string().into_vec();
    let open = format!("/proc/{pid}/exe");
    let file = File::open(&open).map_err(Error::file("open", &open))?;
    let about = file.metadata().map_err(Error::file("look at", &open))?;
    let build_id = elf::build_id(&file);
    let hash = match &build_id {
        None if about.len() <= HASHED_MAX => {
            Some(Hash::of(&fs::read(&open).map_err(Error::file("read", &open))?))
        }
        _ => None,
    };
    let path = Text(path.strip_suffix(b" (deleted)").unwrap_or(&path).to_vec());
    Ok(Executable { path, identity: mappings::identity(&about), build_id, hash })
}

fn arguments(pid: Pid) -> Result<Vec<Text>, Error> {
    let path = format!("/proc/{pid}/cmdline");
    let bytes = fs::read(&path).map_err(Error::file("read", path))?;
    let all = bytes.strip_suffix(&[0]).unwrap_or(&bytes).split(|byte| *byte == 0);
    Ok(all
        .take(ARGUMENTS_MAX)
        .map(|argument| Text(argument[..argument.len().min(ARGUMENT_MAX)].to_vec()))
        .collect())
}

fn marks(stat: &Stat) -> Result<MemoryMarks, Error> {
    let field = |number| stat.field(number, "where its parts lie in memory");
    Ok(MemoryMarks {
        code_start: field(26)?,
        code_end: field(27)?,
        stack_start: field(28)?,
        data_start: field(45)?,
        data_end: field(46)?,
        break_start: field(47)?,
        break_now: 0,
        arguments_start: field(48)?,
        arguments_end: field(49)?,
        environment_start: field(50)?,
        environment_end: field(51)?,
    })
}

fn auxiliary(pid: Pid) -> Result<Vec<Auxiliary>, Error> {
    let path = format!("/proc/{pid}/auxv");
    let bytes = fs::read(&path).map_err(Error::file("read", path))?;
    let words = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
    let words: Vec<u64> = words.collect();
    let pairs =
        words.as_chunks().0.iter().map(|[key, value]| Auxiliary { key: *key, value: *value });
    // It ends with an entry of zeros, AT_NULL, which is no entry.
    Ok(pairs.take_while(|pair| pair.key != 0).collect())
}

fn credentials(status: &Told) -> Result<Credentials, Error> {
    let four = |label| {
        let numbers = status.numbers(label, 10)?;
        let found = numbers.first_chunk().map(|four| four.map(|number: u64| number as u32));
        found.ok_or_else(|| status.missing(label))
    };
    Ok(Credentials {
        users: four("Uid:")?,
        groups: four("Gid:")?,
        further_groups: status.numbers("Groups:", 10)?.into_iter().map(|id| id as u32).collect(),
        capabilities: status.number("CapEff:", 16)?,
    })
}

fn session(pid: Pid, stat: &Stat) -> Result<Session, Error> {
    let (group, session): (i32, i32) = (stat.field(5, "a group")?, stat.field(6, "a session")?);
    let terminal: i64 = stat.field(7, "a terminal")?;
    let foreground: i32 = stat.field(8, "a terminal's group")?;
    Ok(Session {
        session,
        group,
        leads_session: session == pid.0,
        leads_group: group == pid.0,
        terminal: (terminal != 0).then_some(terminal as u32).map(device),
        foreground: foreground == group,
    })
}

/// The kernel numbers devices in 32 bits (`new_encode_dev`), and programs in 64.
fn device(terminal: u32) -> u64 {
    let (major, minor) =
        ((terminal >> 8) & 0xfff, (terminal & 0xff) | ((terminal >> 12) & 0xfff00));
    libc::makedev(major, minor)
}
