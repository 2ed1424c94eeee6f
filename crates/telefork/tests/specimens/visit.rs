//! What is done to a specimen between its two files: how it is stopped, looked at, and let go.

use std::fs;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::thread;
use std::time::Duration;

use farcall_telefork::capture::Frozen;
use farcall_telefork::files::{self, Overrides};
use farcall_telefork::{Description, Error};
use nix::sys::signal::{Signal, kill};
use sys::ptrace::Tracee;
use sys::{Pid, process_memory};
use wire::image::descriptor::{Descriptor, Opened};
use wire::image::{ImageId, Reader, Section, Writer};

use crate::run::{PATIENCE, Run, until};

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
}

impl Visit {
    pub(crate) const ALL: [Self; 3] = [Self::Stopped, Self::Traced, Self::Captured];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Captured => "captured",
        }
    }

    /// What cannot travel is refused here.
    pub(crate) fn is_choosy(self) -> bool {
        self == Self::Captured
    }
}

/// Fails with the words of a refusal.
pub(crate) fn pay(visit: Visit, run: &Run) -> Result<(), String> {
    for _ in 0..ROUNDS {
        match visit {
            Visit::Stopped => stop_and_continue(run.pid),
            Visit::Traced => trace_and_detach(run.pid),
            Visit::Captured => capture_and_release(run.pid)?,
        }
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

/// `Z` also of one that is gone.
fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or('Z', |(_, rest)| rest.chars().next().unwrap())
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
    let mut frozen = match Frozen::freeze(pid, PATIENCE) {
        Ok(frozen) => frozen,
        // One that comes to its own end has come to it.
        Err(_) if state(pid) == 'Z' => return Ok(()),
        Err(error) => panic!("{error}"),
    };
    let mut description = match frozen.describe() {
        Ok(description) => description,
        Err(error @ Error::Mapping { .. }) => return Err(error.to_string()),
        Err(error) => panic!("{error}"),
    };
    description.descriptors = files::describe(pid, &Overrides::none()).unwrap();
    refuse(&description.descriptors)?;
    let mut writer = Writer::new(BufWriter::new(tempfile::tempfile().unwrap()), ImageId(1));
    description.put(&mut writer).unwrap();
    files::send(pid, &description.descriptors, &mut writer).unwrap();
    let sent = frozen.send(&description, &mut writer).unwrap();
    let mut image = writer.finish().unwrap().into_inner().unwrap();
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

/// Fails with the reasons of all that cannot travel.
fn refuse(descriptors: &[Descriptor]) -> Result<(), String> {
    let reasons = descriptors.iter().filter_map(|descriptor| match &descriptor.what {
        Opened::Unsupported { why, .. } => Some(format!("{}: {why}", descriptor.number)),
        _ => None,
    });
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
}

/// The next bytes of the image are those that the process has here.
#[track_caller]
fn assert_is_there<R: Read>(pid: Pid, image: &mut Reader<R>, at: u64, length: u64) {
    let (mut told, mut there) = (vec![0; length as usize], vec![0; length as usize]);
    image.read(&mut told).unwrap();
    process_memory::read(pid, at, &mut there).unwrap();
    assert!(told == there, "the image has other bytes for {at:#x}");
}
