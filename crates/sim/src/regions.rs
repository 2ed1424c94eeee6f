//! Regions, their home, and clients that share them: what each saw goes to `verdict`.
//!
//! ```text
//!   client 0   client 1 …     numbers, resends, leases; above it the workload of the seed
//!      |    \  /   |
//!   network: latency, breaks, partitions, stalls
//!      |    /
//!     home                    the real `logic::regions::Regions`; killed, started again
//!      |
//!     vault                   commits in groups, late; a crash leaves some of the latest
//! ```
//!
//! A run has four acts: *faults* while clients work; *calm*, in which all of them must get to the end
//! of their work; a *barrier* that all pass together, three times; and the *end*, where everything is
//! read once more. Then the whole history is judged.

mod world;
mod client;
mod home;
mod vault;
mod scene;
mod goals;
mod pages;
mod plan;

use verdict::{Figures, History};
use wire::units::Span;

use crate::net::{Net, What};
use crate::random::Random;
use crate::run::Report;
use crate::trace::{Line, Trace, Whole};
use pages::PAGE;
pub use plan::Bug;
use plan::Plan;
use scene::Scene;
use world::World;

/// How long everything may take to end once faults have: a lease, reconnecting, and what is left of
/// the work at the slowest network.
const PATIENCE: Span = Span::from_secs(300);
const ROUNDS: u64 = 3;

/// Runs the region of a seed to its end.
pub fn run(seed: u64, bug: Option<Bug>, traced: bool) -> (Report, Figures) {
    // Another story than the cluster of the same seed.
    let mut random = Random::new(!seed);
    let plan = Plan::new(bug, &mut random);
    let whole = if traced { Whole::All } else { Whole::Last };
    let quiet = crate::plan::Plan::quiet(plan.latency, &mut random);
    let net = Net::new(quiet, random, Trace::new(whole));
    let begun = net.now;
    let mut world = World::new(Scene::new(net, plan));
    let figures = acts(&mut world);
    let net = world.scene.net;
    let report = Report {
        hash: net.trace.hash(),
        lasted: net.now.since(begun),
        violation: net.judge.violation().cloned(),
        log: net.trace.lines(),
    };
    (report, figures)
}

fn acts(world: &mut World) -> Figures {
    let act = |world: &mut World, name| world.scene.net.note(Line::Act { name });
    act(world, "faults");
    world.scene.net.after(Span(0), What::Fault);
    let end = world.scene.net.now + world.scene.plan.faults_for;
    if !world.run_until(end) {
        return Figures::default();
    }
    act(world, "calm");
    world.calm();
    if !world.ends("work", |world| world.idle()) {
        return Figures::default();
    }
    act(world, "barrier");
    // Whoever has a dead connection notices it now: a home that was started again does not know who
    // stood at its barriers.
    world.look();
    if !world.ends("a look at everything", |world| world.idle()) {
        return Figures::default();
    }
    for round in 0..ROUNDS {
        world.arrive(round);
        if !world.ends("the barrier", |world| world.idle()) {
            return Figures::default();
        }
    }
    act(world, "end");
    // A lease and some: whoever died holds nothing any more.
    let gone = world.scene.net.now + Span::from_secs(10);
    if !world.run_until(gone) {
        return Figures::default();
    }
    world.look();
    if !world.ends("the last look", |world| world.idle()) {
        return Figures::default();
    }
    world.leave_open();
    let last = world.last_versions();
    let figures = judge(world);
    world.check_watches(&last);
    figures
}

fn judge(world: &mut World) -> Figures {
    let ops = std::mem::take(&mut world.scene.ops);
    let history = History { page_size: PAGE, ops };
    match verdict::judge(&history) {
        Ok(figures) => figures,
        Err(violation) => {
            let mut words = violation.to_string();
            for op in violation.ops.iter().take(6) {
                words += &format!("\n  #{op} {:?}", history.ops[*op]);
            }
            world.scene.net.judge.fail(words);
            Figures::default()
        }
    }
}
