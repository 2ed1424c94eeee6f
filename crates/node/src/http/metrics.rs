//! A node in numbers, in the text format of Prometheus (version 0.0.4).
//!
//! Names follow its conventions: units in the name, `_total` for what only grows. Labels are few and
//! of few values: nothing of a task, a client or a program is among them.

use std::fmt::Write as _;

use logic::node::Figures;
use logic::slots::Ending;
use sys::limits::Resource;
use wire::units::Span;

use super::request::Status;
use crate::links::Counters;

/// Upper bounds of a turn's time in nanoseconds, and as the format writes them in seconds.
const BOUNDS: [(u64, &str); 6] = [
    (10_000, "0.00001"),
    (100_000, "0.0001"),
    (1_000_000, "0.001"),
    (10_000_000, "0.01"),
    (100_000_000, "0.1"),
    (1_000_000_000, "1"),
];

/// How long the loop was at work between two waits. Long turns are what everybody waits for.
#[derive(Default)]
pub(super) struct Turns {
    /// One more than bounds: those beyond all of them.
    buckets: [u64; BOUNDS.len() + 1],
    sum: u64,
    max: u64,
}

impl Turns {
    pub(super) fn add(&mut self, span: Span) {
        let bucket = BOUNDS.iter().position(|&(bound, _)| span.0 <= bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())] += 1;
        self.sum = self.sum.saturating_add(span.0);
        self.max = self.max.max(span.0);
    }
}

/// The page. What is asked of the kernel is asked now; where it does not answer, the line is left out.
pub(super) fn text(
    figures: &Figures,
    links: Counters,
    answered: &[u64; Status::ALL.len()],
    turns: &Turns,
    born: u64,
) -> String {
    let mut page = Page(String::with_capacity(8192));
    let counters = &figures.counters;

    page.family("farcall_node_info", "gauge", "What runs here; always 1.");
    let version = env!("CARGO_PKG_VERSION");
    page.labelled("farcall_node_info", &[("name", &figures.name), ("version", version)], 1);
    page.gauge("farcall_uptime_seconds", "Time since the node's start.", Seconds(figures.up.0));
    let leaving = u8::from(figures.leaving);
    page.gauge("farcall_leaving", "1 once the node takes no more tasks.", leaving);
    page.gauge("farcall_slots", "Tasks that may run at a time.", figures.slots);

    let help = "Tasks that were taken, with their inputs.";
    page.counter("farcall_tasks_accepted_total", help, counters.accepted);
    page.family("farcall_tasks_finished_total", "counter", "Tasks that ended, by how they did.");
    for ending in Ending::ALL {
        let label = [("status", ending.name())];
        page.labelled("farcall_tasks_finished_total", &label, counters.ended(ending));
    }
    let help = "Tasks given back to their clients, never started.";
    page.counter("farcall_tasks_returned_total", help, counters.returned);
    let help = "Tasks whose client has gone.";
    page.counter("farcall_tasks_dropped_total", help, counters.dropped);
    page.gauge("farcall_tasks_running", "Tasks that run now.", figures.running);
    page.gauge("farcall_tasks_waiting", "Tasks that wait for a worker.", figures.waiting);
    let help = "Tasks and blobs of which one half is here, head or payload.";
    page.gauge("farcall_payloads_arriving", help, figures.arriving);
    let help = "Time of ended tasks in their workers.";
    page.counter("farcall_tasks_run_seconds_total", help, Seconds(counters.ran.0));
    let help = "Credits given out: tasks that clients may send.";
    page.counter("farcall_credits_granted_total", help, counters.credits);

    page.gauge("farcall_workers", "Processes that run tasks.", figures.workers);
    let help = "Processes that were started to run tasks.";
    page.counter("farcall_workers_started_total", help, counters.workers_started);
    page.gauge("farcall_blobs", "Blobs that are kept.", figures.blobs);
    page.gauge("farcall_blob_bytes", "Bytes of the blobs that are kept.", figures.blob_bytes);
    page.gauge("farcall_regions", "Regions of shared memory.", figures.regions.regions as u64);
    let help = "Bytes of pages that were written, of all regions.";
    page.gauge("farcall_region_bytes", help, figures.regions.bytes);

    page.family("farcall_links", "gauge", "Links by what is at the other end.");
    for (kind, count) in figures.links {
        page.labelled("farcall_links", &[("kind", kind)], count);
    }
    page.family("farcall_members", "gauge", "Nodes of the cluster that are known, by their state.");
    for (state, count) in figures.members {
        page.labelled("farcall_members", &[("state", state)], count);
    }
    let help = "TCP connections that were taken.";
    page.counter("farcall_connections_accepted_total", help, links.accepted);
    let help = "Connections that ended without having shown a certificate of this cluster.";
    page.counter("farcall_strangers_total", help, links.strangers);
    page.family("farcall_http_requests_total", "counter", "Requests like this one, by answer.");
    for (status, count) in Status::ALL.into_iter().zip(answered) {
        let code = status.code().to_string();
        page.labelled("farcall_http_requests_total", &[("code", &code)], count);
    }

    page.turns(turns);
    page.process(born);
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let escape =
            |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escape(text))).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }

    fn turns(&mut self, turns: &Turns) {
        let name = "farcall_loop_turn_seconds";
        self.family(name, "histogram", "How long the loop was at work between two waits.");
        let mut sum = 0;
        for (count, (_, bound)) in turns.buckets.iter().zip(BOUNDS) {
            sum += count;
            self.labelled("farcall_loop_turn_seconds_bucket", &[("le", bound)], sum);
        }
        sum += turns.buckets[BOUNDS.len()];
        self.labelled("farcall_loop_turn_seconds_bucket", &[("le", "+Inf")], sum);
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {sum}", Seconds(turns.sum));
        let help = "The longest turn of the loop since the node's start.";
        self.gauge("farcall_loop_turn_max_seconds", help, Seconds(turns.max));
    }

    /// By the names that collectors have for every process.
    fn process(&mut self, born: u64) {
        let own = sys::Pid::own();
        if let Ok(Some(memory)) = sys::proc::memory(own) {
            let help = "Memory of the daemon in RAM, without its workers'.";
            self.gauge("process_resident_memory_bytes", help, memory.resident);
        }
        if let Ok(open) = sys::proc::descriptors(own) {
            self.gauge("process_open_fds", "Descriptors that the daemon has open.", open);
        }
        if let Ok(limit) = sys::limits::limit(own, Resource::OpenFiles) {
            self.gauge("process_max_fds", "Descriptors that it may have open.", limit.soft);
        }
        let used = Seconds(sys::clock::own_processor_nanoseconds());
        let help = "Time of the daemon on processors, without its workers'.";
        self.counter("process_cpu_seconds_total", help, used);
        let help = "When the daemon started, in seconds since 1970.";
        self.gauge("process_start_time_seconds", help, born);
    }
}

/// Nanoseconds, written as seconds without a rounding error.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
