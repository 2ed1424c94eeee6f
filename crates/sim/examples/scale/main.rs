//! What the machines cost in a large cluster, measured without any I/O: `cargo xtask bench scale`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

mod client;
mod stopwatch;

fn main() {
    let few = client::Case { nodes: 100, tasks: 10_000, programs: 1 };
    let many = client::Case { nodes: 10_000, tasks: 1_000_000, programs: 1 };
    for (name, case, rounds) in [("few", few, 20), ("many", many, 3)] {
        let costs: Vec<client::Cost> = (0..rounds).map(|_| client::run(case)).collect();
        let best = costs.iter().map(|cost| cost.task).fold(f64::MAX, f64::min);
        let first = &costs[0];
        println!(
            "{name}: {best:.0} ns, {:.0} B a node, {:.0} B a task, {} retried, {} take-backs",
            first.node_bytes, first.task_bytes, first.retried, first.taken_back
        );
    }
    println!("lone 100: {:.0} ns; lone 10,000: {:.0} ns", client::run_lone(100, 10_000), client::run_lone(10_000, 10_000));
}
