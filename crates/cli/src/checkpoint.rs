//! `farcall checkpoint`: a running process becomes a file.
//!
//! The file has its name only once all of it is on the disk; only then is the process ended. Whatever fails
//! before, the process runs on, and there is no file.

mod file;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use sys::Pid;
use sys::process::Finishing;
use telefork::Description;
use telefork::capture::Frozen;
use telefork::preflight::{Report, Weight, preflight, recheck};
use wire::image::Writer;

use crate::codes;
use crate::errors::{self, complaint};
use crate::preflight::Wishes;
use crate::progress::Progress;
use crate::terminal;
use crate::values::{fine, spell_size};
use file::Unfinished;

/// How long the threads of a process may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// The status of a program that SIGINT ended, as shells see it.
const INTERRUPTED: u8 = 130;

/// Write a running process into a file, and end it
///
/// All of it: memory, threads, open files. `farcall restore` lets it go on, here or on another host. What
/// cannot travel is named before anything is stopped. If the checkpoint fails or is interrupted, the process
/// runs on and there is no file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall checkpoint 4242 -o solver.image
  farcall checkpoint 4242 -o solver.image --leave-running     a copy; the process goes on at once
  farcall checkpoint 4242 -o solver.image --fd 5=drop         descriptor 5 is closed in the copy
  farcall restore solver.image

The file holds all that the process had in memory, secrets as well: its owner alone can read it.")]
pub(crate) struct Checkpoint {
    /// The number of the process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
    /// The file; what it had before is replaced once the new image is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Let the process go on, while the copy of it as it was now is written
    #[arg(long)]
    leave_running: bool,
    #[command(flatten)]
    wishes: Wishes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Checkpoint {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Killed, this command leaves the process as it was.
        sys::process::work_behind()?;
        let pid = Pid(self.pid);
        let overrides = self.wishes.overrides();
        refuse(&preflight(pid, &overrides)?)?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, stop.clone())?;
        }
        let image = Unfinished::beside(&self.output)?;
        let expected = sys::proc::memory(pid)?.map_or(0, |memory| memory.resident);
        let progress = Progress::of_bytes("written", expected);
        let mut watched = Watched { to: &image.file, put: 0, stop: &stop, progress: &progress };

        // From here on whatever goes wrong lets it go on.
        let begun = Instant::now();
        let mut frozen = Frozen::freeze(pid, PATIENCE)?;
        frozen.set_overrides(overrides);
        let description = frozen.describe()?;
        refuse(&recheck(pid, &description)?)?;
        let mut rest = Rest::Frozen(frozen);
        if self.leave_running {
            rest = rest.twin(&description)?;
        }
        let mut stood_still = begun.elapsed();
        let written = rest.write(&description, &mut watched);
        // Killed between the two, it would leave both a process that runs and its image.
        let _finishing = matches!(rest, Rest::Frozen(_)).then(Finishing::begin);
        let bytes = watched.put;
        let pages = match written.and_then(|pages| Ok((pages, image.finish(&stop)?))) {
            Ok((pages, ())) => pages,
            Err(_) if stop.load(Ordering::Relaxed) => {
                drop(rest);
                progress.finish();
                eprintln!("interrupted: process {pid} runs on, and there is no new image");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            Err(error) => return Err(self.unwritten(error)),
        };
        if let Rest::Frozen(_) = rest {
            stood_still = begun.elapsed();
        }
        rest.end()?;
        progress.finish();
        let path = self.output.display().to_string();
        let text = if self.json {
            terminal::json_line(
                &json!({ "pid": pid.0, "file": path, "bytes": bytes, "pages": pages,
                "stood_still_ms": stood_still.as_secs_f64() * 1e3, "runs_on": self.leave_running }),
            )
        } else {
            let size = spell_size(bytes);
            let became = if self.leave_running {
                format!("goes on after {}", fine(stood_still))
            } else {
                "has ended here".to_owned()
            };
            format!("process {pid} is in {}, {size}, and {became}\n", terminal::tame_line(&path))
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// What the disk refused has a code of its own; the rest is about the process.
    fn unwritten(&self, error: anyhow::Error) -> anyhow::Error {
        let source = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
        let is_disk = error.chain().any(|cause| cause.is::<wire::image::Error>())
            || error.downcast_ref::<io::Error>().is_some();
        match source {
            Some(source) if is_disk => {
                let what =
                    format!("process {} is not written to {}", self.pid, self.output.display());
                complaint(&codes::E0720, format!("{what}, and runs on"))
                    .note(source.to_string())
                    .help("write it where there is room, and where you may write")
                    .into()
            }
            _ => error,
        }
    }
}

/// Complains of all that stands in the way.
fn refuse(report: &Report) -> Result<(), errors::Complaint> {
    let mut blocks = report.findings.iter().filter(|one| one.weight == Weight::Blocks);
    let Some(first) = blocks.next() else { return Ok(()) };
    let what =
        format!("process {} cannot be moved: {}: {}", report.pid, first.object, first.reason);
    let mut told = complaint(&codes::E0701, what).help(&first.remedy);
    for more in blocks {
        told = told.note(format!("{}: {}; {}", more.object, more.reason, more.remedy));
    }
    Err(told)
}

/// What is written: the process itself, which stands still, or its twin.
enum Rest {
    Frozen(Frozen),
    Twin(telefork::capture::Twin),
}

impl Rest {
    fn twin(self, description: &Description) -> anyhow::Result<Self> {
        match self {
            Self::Frozen(frozen) => Ok(Self::Twin(frozen.twin(description)?)),
            Self::Twin(_) => Ok(self),
        }
    }

    /// The pages that were written.
    fn write(&mut self, description: &Description, to: &mut Watched<'_>) -> anyhow::Result<u64> {
        let mut writer = Writer::new(BufWriter::new(to), telefork::image_id()?);
        description.put(&mut writer)?;
        let sent = match self {
            Self::Frozen(frozen) => frozen.send(description, &mut writer)?,
            Self::Twin(twin) => twin.send(description, &mut writer)?,
        };
        writer.finish()?.flush()?;
        Ok(sent.pages)
    }

    fn end(self) -> Result<(), telefork::Error> {
        match self {
            Self::Frozen(frozen) => frozen.end(),
            Self::Twin(twin) => twin.end(),
        }
    }
}

/// A file that is written until somebody asks to stop.
struct Watched<'a> {
    to: &'a std::fs::File,
    put: u64,
    stop: &'a AtomicBool,
    progress: &'a Progress,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.to.write(bytes)?;
        self.put += count as u64;
        self.progress.more(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
