//! A job as a picture: a trace in the JSON that Perfetto and `chrome://tracing` show.
//!
//! ```text
//!  this client   queue   |--- task 1 ---|     |-- task 3 --|
//!                queue   |------ task 2 ------|
//!  node a        input                  |- 1 -|                what a task waited for there
//!                waiting                      |- 1 -|
//!                worker 0                           |== 1 ==| |== 3 ==|
//!                worker 1                    |===== 2 =====|
//! ```
//!
//! What a worker ran is placed by its node's own clock, so it cannot overlap; one offset for each
//! node joins that clock to ours. Everything else lies in the first lane that is free. Entries are
//! written as they come, and nothing is kept of them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::time::Duration;

use wire::name::Name;

use crate::entries::{Ended, Entry};

/// Lanes of one kind; what finds none free is left out of the picture, not of its task's numbers.
const LANES_MAX: usize = 64;
/// The process that stands for this client.
const CLIENT: u32 = 1;
/// Threads from here on are lanes of a node's inputs, of waiting tasks, of workers.
const INPUTS: u32 = 1;
const WAITING: u32 = 1000;
const WORKERS: u32 = 2000;

/// Writes a trace of what a [`Journal`](crate::Journal) says.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = farcall::Cluster::local()?;
/// let mut journal = cluster.journal();
/// let mut trace = farcall::Trace::new(std::fs::File::create("trace.json")?)?;
/// let core = cluster.core("./libsum.so")?;
/// for result in core.map(["1 2 3", "4 5 6"]) {
///     drop(result);
///     journal.take().iter().try_for_each(|entry| trace.add(entry))?;
/// }
/// trace.finish()?;
/// # Ok(())
/// # }
/// ```
pub struct Trace<W: Write> {
    to: io::BufWriter<W>,
    empty: bool,
    nodes: BTreeMap<Name, Node>,
    queue: Lanes,
}

/// One node's part of the picture.
struct Node {
    process: u32,
    /// Our clock is so many nanoseconds before the node's.
    offset: i128,
    inputs: Lanes,
    waiting: Lanes,
    /// When what a worker ran last ended, by the node's clock.
    workers: HashMap<u32, u128>,
}

/// Rows of slices that do not overlap.
#[derive(Default)]
struct Lanes {
    /// When the last slice of each ends.
    ends: Vec<i128>,
}

impl Lanes {
    /// A lane that is free from `start` on, and whether it is a new one.
    fn find(&mut self, start: i128, end: i128) -> Option<(u32, bool)> {
        let free = self.ends.iter().position(|last| *last <= start);
        let (lane, new) = match free {
            Some(lane) => (lane, false),
            None if self.ends.len() == LANES_MAX => return None,
            None => {
                self.ends.push(0);
                (self.ends.len() - 1, true)
            }
        };
        self.ends[lane] = end;
        Some((lane as u32, new))
    }
}

/// Where a slice lies.
struct Place {
    process: u32,
    thread: u32,
    start: i128,
    end: i128,
}

impl<W: Write> Trace<W> {
    /// Begins a trace.
    pub fn new(to: W) -> io::Result<Self> {
        let mut to = io::BufWriter::new(to);
        to.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
        let (nodes, queue) = (BTreeMap::new(), Lanes::default());
        let mut trace = Self { to, empty: true, nodes, queue };
        trace.called("process_name", CLIENT, 0, "this client")?;
        Ok(trace)
    }

    /// Adds what happened. What tasks wrote is no part of the picture.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Ended(ended) => self.ended(ended),
            Entry::Wrote(_) | Entry::Lost(_) => Ok(()),
        }
    }

    /// Ends the trace; without this a viewer may miss the last part of it.
    pub fn finish(mut self) -> io::Result<()> {
        self.to.write_all(b"\n]}\n")?;
        self.to.flush()
    }

    fn ended(&mut self, ended: &Ended) -> io::Result<()> {
        let times = &ended.times;
        let received = nanos(times.ended);
        let sent = received - nanos(times.away);
        let submitted = sent - nanos(times.queued);

        // 1. In our queue. What never left it is all there is of its task.
        let ran = ended.node.as_deref().filter(|_| times.began > Duration::ZERO);
        let Some(name) = ran else {
            return self.place_in_queue(ended, submitted, received, own_category(ended));
        };
        if sent > submitted {
            self.place_in_queue(ended, submitted, sent, "queue")?;
        }

        // 2. At the node: its input arrived, it waited.
        self.meet(name, ended)?;
        let Some(node) = self.nodes.get_mut(name) else { return Ok(()) };
        let (process, offset) = (node.process, node.offset);
        let began = times.began.as_nanos() as i128 + offset;
        let there = began - nanos(times.waited);
        let came = there - nanos(times.transfer);
        let input = if there > came { node.inputs.find(came, there) } else { None };
        let wait = if began > there { node.waiting.find(there, began) } else { None };
        for (found, first, what, category, start, end) in [
            (input, INPUTS, "input", "transfer", came, there),
            (wait, WAITING, "waiting", "wait", there, began),
        ] {
            let Some((lane, new)) = found else { continue };
            let thread = first + lane;
            if new {
                self.called("thread_name", process, thread, what)?;
            }
            self.slice(ended, category, &Place { process, thread, start, end })?;
        }

        // 3. In its worker.
        let Some(node) = self.nodes.get_mut(name) else { return Ok(()) };
        let new = !node.workers.contains_key(&ended.worker);
        let last = node.workers.entry(ended.worker).or_default();
        let start = times.began.as_nanos().max(*last);
        let end = (times.began + times.ran).as_nanos().max(start);
        *last = end;
        let thread = WORKERS + ended.worker % (u32::MAX - WORKERS);
        if new {
            self.called("thread_name", process, thread, &format!("worker {}", ended.worker))?;
        }
        let (start, end) = (start as i128 + offset, end as i128 + offset);
        self.slice(ended, own_category(ended), &Place { process, thread, start, end })
    }

    fn place_in_queue(
        &mut self,
        ended: &Ended,
        start: i128,
        end: i128,
        category: &str,
    ) -> io::Result<()> {
        let found = self.queue.find(start, end);
        let is_all_there_is = category != "queue";
        let (lane, new) = match found {
            Some(found) => found,
            // A task is never left out: one that did not run is a point at its end, in a row apart.
            None if is_all_there_is => (LANES_MAX as u32, false),
            None => return Ok(()),
        };
        let thread = 1 + lane;
        if new {
            self.called("thread_name", CLIENT, thread, "queue")?;
        }
        let start = if found.is_some() { start } else { end };
        self.slice(ended, category, &Place { process: CLIENT, thread, start, end })
    }

    /// A node that is new to the picture: how its clock stands to ours, as far as its first task can
    /// tell, whose way there is taken to be as long as the way back.
    fn meet(&mut self, name: &Name, ended: &Ended) -> io::Result<()> {
        if self.nodes.contains_key(name) {
            return Ok(());
        }
        let times = &ended.times;
        let received = nanos(times.ended);
        let came = nanos(times.began) - nanos(times.waited) - nanos(times.transfer);
        let left = nanos(times.began) + nanos(times.ran);
        let offset = (received - nanos(times.away) - came + received - left) / 2;
        let process = CLIENT + 1 + self.nodes.len() as u32;
        let (inputs, waiting, workers) = (Lanes::default(), Lanes::default(), HashMap::new());
        self.nodes.insert(name.clone(), Node { process, offset, inputs, waiting, workers });
        self.called("process_name", process, 0, &format!("node {name}"))
    }

    /// One event on a line of its own. Whatever stands in it is a number, or made of characters that
    /// JSON takes as they are.
    fn event(&mut self, event: std::fmt::Arguments<'_>) -> io::Result<()> {
        if !std::mem::replace(&mut self.empty, false) {
            self.to.write_all(b",\n")?;
        }
        self.to.write_fmt(event)
    }

    fn called(&mut self, what: &str, process: u32, thread: u32, name: &str) -> io::Result<()> {
        self.event(format_args!(
            "{{\"ph\":\"M\",\"name\":\"{what}\",\"pid\":{process},\"tid\":{thread},\
             \"args\":{{\"name\":\"{name}\"}}}}"
        ))
    }

    fn slice(&mut self, ended: &Ended, category: &str, place: &Place) -> io::Result<()> {
        let Place { process, thread, start, end } = *place;
        let times = &ended.times;
        let (task, attempt) = (ended.task, ended.attempt);
        let (failure, colour) = match &ended.failure {
            None => ("none", ""),
            Some(why) if ended.again => (why.kind(), ",\"cname\":\"bad\""),
            Some(why) => (why.kind(), ",\"cname\":\"terrible\""),
        };
        let label = if failure == "none" { String::new() } else { format!(": {failure}") };
        self.event(format_args!(
            "{{\"ph\":\"X\",\"name\":\"{task}{label}\",\"cat\":\"{category}\",\"pid\":{process},\
             \"tid\":{thread},\"ts\":{},\"dur\":{}{colour},\"args\":{{\"attempt\":{attempt},\
             \"failure\":\"{failure}\",\"queued_ms\":{},\"transfer_ms\":{},\"waited_ms\":{},\
             \"ran_ms\":{},\"travel_ms\":{}}}}}",
            Micros(start),
            Micros(end - start),
            Millis(times.queued),
            Millis(times.transfer),
            Millis(times.waited),
            Millis(times.ran),
            Millis(times.travel()),
        ))
    }
}

/// Attempts that were not the last are told apart: there is one slice for each task.
fn own_category(ended: &Ended) -> &'static str {
    if ended.again { "attempt" } else { "task" }
}

fn nanos(span: Duration) -> i128 {
    span.as_nanos() as i128
}

/// Nanoseconds, in microseconds to the last digit.
struct Micros(i128);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", nanos / 1000, nanos % 1000)
    }
}

struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.0.as_secs_f64() * 1000.0)
    }
}
