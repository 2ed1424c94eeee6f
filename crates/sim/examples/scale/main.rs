//! What the machines cost in a large cluster, without any I/O: `cargo xtask bench scale`.
//!
//! Small and large cases take turns, so that a neighbour's load falls on both alike; a ratio is the
//! median of the rounds' ratios. What the figures mean, and what would break first, is in
//! `docs/scale.md`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

mod client;
mod node;
mod joining;
mod stopwatch;

use std::process::ExitCode;

use joining::{Shape, Traffic};
use stopwatch::Stopwatch;
use wire::units::Span;

const ROUNDS: usize = 7;
/// How much more a task may cost in the large case.
const RATIO_MAX: f64 = 1.5;

/// A small case as often as it takes to time it, and a large one.
struct Pair {
    what: &'static str,
    few: (&'static str, fn(&mut Stopwatch) -> u32),
    many: (&'static str, fn(&mut Stopwatch) -> u32),
    /// It must hold.
    bound: bool,
}

const FEW: client::Case =
    client::Case { nodes: 100, tasks: 10_000, programs: 1, credits: 32, seed: 1 };
const MANY: client::Case =
    client::Case { nodes: 10_000, tasks: 1_000_000, programs: 1, credits: 32, seed: 2 };
const FEW_LINKS: node::Case = node::Case { links: 10, tasks: 10_000, slots: 64 };
const MANY_LINKS: node::Case = node::Case { links: 1_000, tasks: 1_000_000, slots: 64 };

/// What one of a client's nodes has to do for it.
const EACH: node::Case = node::Case { links: 1, tasks: 100, slots: 4 };

const PAIRS: [Pair; 6] = [
    Pair {
        what: "a job, its client's decisions and its nodes' together",
        few: ("100 nodes, 10^4 tasks", |watch| {
            nodes_of(50 * FEW.nodes, watch);
            client_often(FEW, 50, watch)
        }),
        many: ("10,000 nodes, 10^6 tasks", |watch| {
            nodes_of(MANY.nodes, watch);
            client_often(MANY, 1, watch)
        }),
        bound: true,
    },
    Pair {
        what: "the client's alone",
        few: ("100 nodes, 10^4 tasks", |watch| client_often(FEW, 50, watch)),
        many: ("10,000 nodes, 10^6 tasks", |watch| client_often(MANY, 1, watch)),
        bound: false,
    },
    Pair {
        what: "the client's alone, four programs",
        few: ("100 nodes", |watch| client_often(client::Case { programs: 4, ..FEW }, 50, watch)),
        many: ("10,000 nodes", |watch| {
            client_often(client::Case { programs: 4, ..MANY }, 1, watch)
        }),
        bound: false,
    },
    Pair {
        what: "a client's tasks one by one",
        few: ("100 nodes", |watch| lone(100, watch)),
        many: ("10,000 nodes", |watch| lone(10_000, watch)),
        bound: true,
    },
    Pair {
        what: "the client's alone, where nodes take many short tasks ahead",
        few: ("100 nodes, 32 credits", |watch| client_often(FEW, 50, watch)),
        many: ("2 nodes, 4096 credits", |watch| {
            client_often(client::Case { nodes: 2, credits: 4096, ..FEW }, 50, watch)
        }),
        bound: true,
    },
    Pair {
        what: "a node of 64 slots",
        few: ("10 links, 5 programs", |watch| {
            (0..20).for_each(|_| {
                node::run(FEW_LINKS, watch);
            });
            20 * FEW_LINKS.tasks
        }),
        many: ("1,000 links, 500 programs", |watch| {
            node::run(MANY_LINKS, watch);
            MANY_LINKS.tasks
        }),
        bound: false,
    },
];

fn client_often(case: client::Case, times: u32, watch: &mut Stopwatch) -> u32 {
    for time in 0..times {
        client::run(client::Case { seed: case.seed + u64::from(time), ..case }, watch);
    }
    times * case.tasks
}

/// So many nodes, each with its share of a job.
fn nodes_of(nodes: u32, watch: &mut Stopwatch) {
    for _ in 0..nodes {
        node::run(EACH, watch);
    }
}

fn lone(nodes: u32, watch: &mut Stopwatch) -> u32 {
    const TASKS: u32 = 100_000;
    client::run_lone(nodes, TASKS, watch);
    TASKS
}

fn main() -> ExitCode {
    // First of all, while nothing that was freed can be used again.
    let (node, task) = client::kept(MANY);
    println!("the machine of a client keeps {node:.0} B of a node, {task:.0} B of a queued task");
    let link = node::kept(10_000);
    println!("the machine of a node keeps {link:.0} B of a link with its five programs");
    let client::Tally { retried, taken_back } = client::run(MANY, &mut Stopwatch::new());
    let started = node::run(MANY_LINKS, &mut Stopwatch::new());
    println!(
        "in the large cases: {retried} tasks tried again, {taken_back} times some taken back; \
         {started} workers started"
    );
    let look = client::look(10_000) / 1e3;
    println!("a look over 10,000 nodes for tasks to take back: {look:.0} µs, each 10 ms at most");
    for (shape, name) in [(Shape::Star, "the first"), (Shape::Tree, "any")] {
        for every in [Span::from_secs(1), Span::from_millis(1)] {
            for count in [100, 200, 400, 800] {
                join(count, every, shape, name);
            }
        }
    }
    let mut holds = true;
    for pair in &PAIRS {
        holds &= compare(pair);
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what a task costs in both cases. Returns whether that is as it must be.
fn compare(pair: &Pair) -> bool {
    let (mut few, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.push(per_task(pair.few.1));
        many.push(per_task(pair.many.1));
        ratios.push(many[many.len() - 1] / few[few.len() - 1]);
    }
    let ratio = median(&mut ratios);
    let holds = !pair.bound || ratio <= RATIO_MAX;
    let Pair { what, few: (few_name, _), many: (many_name, _), .. } = pair;
    println!(
        "{what}: {:.0} ns a task ({few_name}), {:.0} ns ({many_name})",
        median(&mut few),
        median(&mut many)
    );
    let bound = if pair.bound { format!(", at most {RATIO_MAX:.1}") } else { String::new() };
    let verdict = if holds { "" } else { ": MISSED" };
    println!("  ratio {ratio:.2} ({:.2} to {:.2}){bound}{verdict}", ratios[0], ratios[ROUNDS - 1]);
    holds
}

/// Prints what it costs that so many nodes hear of each other.
fn join(count: usize, every: Span, shape: Shape, name: &str) {
    let Traffic { messages, records, bytes, busiest } = joining::run(count, every, shape);
    let pairs = (count * count) as f64;
    println!(
        "{count} nodes join {name}, one each {every}: {messages} messages ({:.3} n²), {:.2} n² \
         records, {:.1} n² bytes, the busiest node sends {:.1} n²",
        messages as f64 / pairs,
        records as f64 / pairs,
        bytes as f64 / pairs,
        busiest as f64 / pairs
    );
}

fn per_task(case: fn(&mut Stopwatch) -> u32) -> f64 {
    let mut watch = Stopwatch::new();
    let tasks = case(&mut watch);
    watch.nanoseconds() / f64::from(tasks)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
