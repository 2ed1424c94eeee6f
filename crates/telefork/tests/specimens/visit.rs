//! What is done to a specimen between its two files: how it is stopped, looked at, and let go.

use std::io::{BufReader, BufWriter, Read, Seek};
use std::thread;
use std::time::Duration;

use farcall_telefork::Description;
use nix::sys::signal::{Signal, kill};
use sys::ptrace::Tracee;
use sys::{Pid, process_memory};
use wire::image::{Reader, Section};

use crate::run::{PATIENCE, Run, state, until};
use crate::travel::{self, Vdso};

/// How often it is disturbed in one run: at other places in its loop, and out of calls made again before.
const ROUNDS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// By SIGSTOP and SIGCONT.
    Stopped,
    /// By a tracer that goes again.
    Traced,
    /// Into an image, which is read again and compared.
    Captured,
    /// Over a connection to a process that wakes it; then it is ended here.
    Moved,
    /// The same, by a file, after it was ended here.
    ToDisk,
    /// Moved four times.
    ThereAndBackTwice,
    /// Woken before its memory has come, which follows from here.
    Lazy,
    /// Moved, and woken as if this kernel had another vDSO.
    Foreign,
}

impl Visit {
    pub(crate) const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Traced,
        Self::Captured,
        Self::Moved,
        Self::ToDisk,
        Self::ThereAndBackTwice,
        Self::Lazy,
        Self::Foreign,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Captured => "captured",
            Self::Moved => "moved",
            Self::ToDisk => "to disk",
            Self::ThereAndBackTwice => "there and back twice",
            Self::Lazy => "lazy",
            Self::Foreign => "foreign vDSO",
        }
    }

    /// Another process wakes it.
    pub(crate) fn is_travel(self) -> bool {
        match self {
            Self::Stopped | Self::Traced | Self::Captured => false,
            Self::Moved | Self::ToDisk | Self::ThereAndBackTwice | Self::Lazy | Self::Foreign => {
                true
            }
        }
    }

    /// It gets other numbers, as its own are still taken.
    pub(crate) fn renumbers(self) -> bool {
        self.is_travel() && self != Self::ToDisk
    }

    /// What cannot travel is refused here.
    pub(crate) fn is_choosy(self) -> bool {
        self == Self::Captured || self.is_travel()
    }
}

/// Fails with the words of a refusal.
pub(crate) fn pay(visit: Visit, run: &mut Run) -> Result<(), String> {
    let rounds = match visit {
        Visit::Stopped | Visit::Traced | Visit::Captured => ROUNDS,
        Visit::Moved | Visit::ToDisk | Visit::Lazy | Visit::Foreign => 1,
        Visit::ThereAndBackTwice => 4,
    };
    for _ in 0..rounds {
        match visit {
            Visit::Stopped => stop_and_continue(run.pid),
            Visit::Traced => trace_and_detach(run.pid),
            Visit::Captured => capture_and_release(run.pid)?,
            Visit::Moved | Visit::ThereAndBackTwice => travel::move_away(run, Vdso::Same)?,
            Visit::Foreign => travel::move_away(run, Vdso::Other)?,
            Visit::Lazy => travel::move_lazily(run)?,
            Visit::ToDisk => travel::by_file(run)?,
        }
        let_work();
    }
    Ok(())
}

/// Moves it there and back so often.
pub(crate) fn there_and_back(run: &mut Run, journeys: u32) -> Result<(), String> {
    for _ in 0..2 * journeys {
        travel::move_away(run, Vdso::Same)?;
        let_work();
    }
    Ok(())
}

/// Gives it, or those who wait for it, time to come to another place. No outcome depends on how much.
fn let_work() {
    thread::park_timeout(Duration::from_millis(3));
}

fn stop_and_continue(pid: Pid) {
    let signal = |signal| kill(nix::unistd::Pid::from_raw(pid.0), signal);
    signal(Signal::SIGSTOP).unwrap();
    until("it stops, or has ended", || matches!(state(pid), 'T' | 'Z'));
    let_work();
    signal(Signal::SIGCONT).unwrap();
}

fn trace_and_detach(pid: Pid) {
    match Tracee::seize(pid, PATIENCE) {
        Ok(tracee) => {
            assert!(!tracee.threads().is_empty());
            let_work();
            tracee.detach().unwrap();
        }
        Err(error) => assert!(error.is_gone() || state(pid) == 'Z', "{error}"),
    }
}

fn capture_and_release(pid: Pid) -> Result<(), String> {
    let Some((frozen, description)) = travel::freeze(pid)? else { return Ok(()) };
    let to = BufWriter::new(tempfile::tempfile().unwrap());
    let (sent, to) = travel::put(&frozen, &description, to).unwrap();
    let mut image = to.into_inner().unwrap();
    image.rewind().unwrap();
    let mut reader = Reader::new(BufReader::new(image)).unwrap().unwrap();
    let (told, mut next) = Description::take(&mut reader).unwrap();
    assert_eq!(told, description);
    let page = u64::from(told.host.page_size);
    let mut compared = 0;
    while let Some(section) = next {
        if let Section::Pages(pages) = section {
            for run in pages.runs {
                compared += u64::from(run.count);
                assert_is_there(pid, &mut reader, run.page * page, u64::from(run.count) * page);
            }
        }
        next = reader.next_section().unwrap();
    }
    assert_eq!(compared, sent.pages);
    frozen.release().unwrap();
    Ok(())
}

/// The next bytes of the image are those that the process has here.
#[track_caller]
fn assert_is_there<R: Read>(pid: Pid, image: &mut Reader<R>, at: u64, length: u64) {
    let (mut told, mut there) = (vec![0; length as usize], vec![0; length as usize]);
    image.read(&mut told).unwrap();
    process_memory::read(pid, at, &mut there).unwrap();
    assert!(told == there, "the image has other bytes for {at:#x}");
}
