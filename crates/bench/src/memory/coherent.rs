//! Coherent pages that two processes map: what a fault costs, by who had the page before.
//!
//! ```text
//!   holder   writes all pages              writes all pages              writes all, closes
//!   here           reads each: read.dirty        writes each: write.dirty       reads, writes each: *.clean
//! ```
//!
//! The holder is this benchmark's own executable, with a mapping and a connection of its own. It obeys
//! lines on its standard input, and ends when that does.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use client::Cluster;
use client::memory::{self, RegionOptions, Shared, Traffic};

use super::PAGE;
use super::measured::{Figures, subject};
use super::regions::{Client, Home};
use crate::error::Error;
use crate::ours::ours;
use crate::reaped::Reaped;
use crate::setting::Setting;
use crate::turns::{Measurement, fate, percentiles};

const REGION: &str = "coherent";
const DIRTY: &str = "dirty";
const CLEAN: &str = "clean";
const DONE: &str = "done\n";

/// Reads and writes that fault, as `figures` has them: a read and then a write of a page that is clean at
/// home, a read and a write of one that is dirty elsewhere.
pub(super) fn faults<'a>(setting: &Setting, home: &Home, figures: Figures) -> Measurement<'a> {
    let pages = setting.effort.latency_tasks / 4;
    let start = || {
        let client = home.client(REGION, &RegionOptions::new(pages as u64).coherent())?;
        let start = || {
            let shared = client.region.map_coherent().map_err(here)?;
            let holder = Holder::start(setting, &client)?;
            Ok::<_, Error>((shared, holder))
        };
        let (shared, holder) = start().map_err(|error| fate(&error))?;
        Ok(Two { shared, holder, stamp: 0, pages, _client: client })
    };
    subject(figures, start(), |two| {
        two.hold(DIRTY)?;
        let read_dirty = two.read()?;
        two.hold(DIRTY)?;
        let write_dirty = two.write(|traffic| traffic.fetched)?;
        two.hold(CLEAN)?;
        let read_clean = two.read()?;
        let upgrade_clean = two.write(|traffic| traffic.upgraded)?;
        Ok(vec![read_clean, upgrade_clean, read_dirty, write_dirty])
    })
}

/// Two mappings of one region: the one that is measured, and the holder's.
struct Two {
    shared: Shared,
    holder: Holder,
    /// What the holder wrote last.
    stamp: u64,
    pages: usize,
    _client: Client,
}

impl Two {
    /// The holder writes all pages, and has them or gives them back.
    fn hold(&mut self, how: &str) -> Result<(), Error> {
        self.stamp += 1;
        self.holder.obey(how, self.stamp)
    }

    /// p50 of the first read of each page.
    fn read(&self) -> Result<f64, Error> {
        self.each(|traffic| traffic.fetched, |word| word.load(Ordering::Relaxed) == self.stamp)
    }

    /// p50 of the first write of each page.
    fn write(&self, moved: fn(Traffic) -> u64) -> Result<f64, Error> {
        self.each(moved, |word| {
            word.store(0, Ordering::Relaxed);
            true
        })
    }

    /// `moved` counts what each of these touches must cause. A page that was here has no fault to time.
    fn each(
        &self,
        moved: fn(Traffic) -> u64,
        touch: impl Fn(&AtomicU64) -> bool,
    ) -> Result<f64, Error> {
        let before = moved(self.shared.traffic());
        let mut nanoseconds = Vec::with_capacity(self.pages);
        for page in 0..self.pages {
            let word = self.shared.atomic(page * PAGE);
            let start = Instant::now();
            let is_right = touch(word);
            nanoseconds.push(start.elapsed().as_nanos() as u64);
            if !is_right {
                return Err(nonsense(format!("page {page} is not as it was written last")));
            }
        }
        // The last may not be counted yet: the thread that answers faults counts after it has woken us.
        let moved = moved(self.shared.traffic()) - before;
        if moved + 1 < self.pages as u64 {
            return Err(nonsense(format!("of {} pages {moved} were missing", self.pages)));
        }
        Ok(percentiles(nanoseconds, self.pages)[0])
    }
}

/// The process that holds pages.
struct Holder {
    // Fields end in this order: the child ends when its input does.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Reaped,
}

impl Holder {
    fn start(setting: &Setting, client: &Client) -> Result<Self, Error> {
        let mut child = Command::new(&setting.executable)
            .args(["holder", &client.region.target().to_string()])
            .env("FARCALL_HOME", client.keys())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Reaped)
            .map_err(Error::kernel("start a process that holds pages"))?;
        let (Some(input), Some(output)) = (child.0.stdin.take(), child.0.stdout.take()) else {
            unreachable!("both are piped");
        };
        Ok(Self { input, output: BufReader::new(output), _child: child })
    }

    fn obey(&mut self, how: &str, stamp: u64) -> Result<(), Error> {
        let mut answer = String::new();
        writeln!(self.input, "{how} {stamp}")
            .and_then(|()| self.output.read_line(&mut answer))
            .map_err(Error::kernel("tell a process to hold pages"))?;
        if answer != DONE {
            return Err(Error::Answer { who: "the process that holds pages", answer });
        }
        Ok(())
    }
}

/// The holder's whole life: obeys its standard input until the other end closes it.
pub fn hold(node: &str) -> Result<(), Error> {
    let cluster = Cluster::connect([node]).map_err(ours("link to a node"))?;
    let region = cluster.memory(REGION).map_err(ours("open a region"))?;
    let mut mapped = None;
    for line in io::stdin().lines() {
        let line = line.map_err(Error::kernel("read what to hold"))?;
        let Some((how, Ok(stamp))) = line.split_once(' ').map(|(how, stamp)| (how, stamp.parse()))
        else {
            return Err(nonsense(line));
        };
        let shared = match mapped.take() {
            Some(shared) => shared,
            None => region.map_coherent().map_err(here)?,
        };
        for page in 0..shared.len() / PAGE {
            shared.atomic(page * PAGE).store(stamp, Ordering::Relaxed);
        }
        match how {
            CLEAN => shared.close().map_err(ours("give pages back"))?,
            _ => mapped = Some(shared),
        }
        io::stdout().write_all(DONE.as_bytes()).map_err(Error::kernel("say that it is done"))?;
    }
    Ok(())
}

/// Where the kernel lets no process answer its page faults, there is nothing to measure.
fn here(error: memory::Error) -> Error {
    match error {
        memory::Error::Faults { source } => {
            Error::Absent { what: "coherent memory", why: source.to_string() }
        }
        error => ours("map a region")(error),
    }
}

fn nonsense(answer: String) -> Error {
    Error::Answer { who: "coherent memory", answer }
}
