//! One run: four acts, then the verdict.

use wire::units::{Span, Time};

use crate::client::Client;
use crate::net::{Net, What};
use crate::node::Daemon;
use crate::plan::{Bug, Plan, Story};
use crate::random::Random;
use crate::trace::{Line, Trace, Whole};
use crate::world::World;

/// How long everything may take to end once faults have.
const PATIENCE: Span = Span::from_secs(600);
/// How long it may take until everyone has found everyone again: lost connections are noticed
/// after four heartbeats, and dialled again after at most four seconds.
const RECOVERY: Span = Span::from_secs(40);

/// What one run showed.
#[derive(Debug)]
pub struct Report {
    /// The same for the same seed, always.
    pub hash: u64,
    /// Simulated time.
    pub lasted: Span,
    pub violation: Option<String>,
    /// The last lines of the log, or all of them when the run was traced.
    pub log: Vec<String>,
}

/// Runs the cluster of a seed to its end.
pub fn run(seed: u64, bug: Option<Bug>, traced: bool) -> Report {
    let mut random = Random::new(seed);
    let plan = Plan::new(seed, bug, &mut random);
    let whole = if traced { Whole::All } else { Whole::Last };
    let story = plan.story;
    let mut world = World::new(Net::new(plan, random, Trace::new(whole)));
    let begun = world.net.now;
    match story {
        Story::Chaos => chaos(&mut world),
        Story::Rivals => rivals(&mut world),
    }
    let net = world.net;
    Report {
        hash: net.trace.hash(),
        lasted: net.now.since(begun),
        violation: net.judge.violation().cloned(),
        log: net.trace.lines(),
    }
}

fn act(world: &mut World, name: &'static str) {
    world.net.note(Line::Act { name });
}

/// Everything goes wrong, then nothing does. Stops early at a broken promise.
fn chaos(world: &mut World) {
    act(world, "faults");
    for client in 0..world.clients.len() {
        let first = Span(world.net.random.below(Span::from_secs(2).0));
        world.net.after(first, What::Submit { client });
    }
    world.net.after(Span(0), What::Fault);
    let faults_end = world.net.now + world.net.plan.faults_for;
    if !world.run_until(faults_end) {
        return;
    }

    act(world, "calm");
    world.calm();
    let patience = world.net.now + PATIENCE;
    if !everything_ends(world, patience) {
        return;
    }
    let recovered = world.net.now + RECOVERY;
    if !world.run_until(recovered) {
        return;
    }

    act(world, "probe");
    if !every_slot_works(world) {
        return;
    }

    act(world, "end");
    for client in world.clients.iter_mut().filter(|client| client.alive) {
        client.go(&mut world.net);
    }
    let gone = world.net.now + RECOVERY;
    if world.run_until(gone) {
        let left = world.nodes.iter().filter(|node| node.alive).find_map(|node| {
            node.leftovers().map(|what| format!("{} has left over: {what}", node.name))
        });
        left.into_iter().for_each(|left| world.net.judge.fail(left));
    }
}

fn everything_ends(world: &mut World, until: Time) -> bool {
    let busy = |world: &World| {
        let more = world.clients.iter().any(|client| client.alive && client.to_submit > 0);
        more || world.net.judge.open() > 0
    };
    while busy(world) {
        if world.net.now >= until {
            let waiting = format!("never ended: {:?}", world.net.judge.waiting());
            world.net.judge.fail(waiting);
        }
        let step = world.net.now + Span::from_millis(200);
        if !world.run_until(step) {
            return false;
        }
    }
    true
}

/// No credit, worker or link was lost on the way: tasks for all slots run on all slots.
fn every_slot_works(world: &mut World) -> bool {
    let time = world.net.plan.latency.0 * 4 + Span::from_millis(10).0;
    let slots: u64 = useful(world).map(|node| u64::from(node.slots)).sum();
    let count = 100.max(slots * 10);
    // First everyone learns anew how long a task takes: whoever takes it for short sends too many
    // ahead to one worker.
    for _ in 0..2 {
        world.clients[0].submit_plain(&mut world.net, slots * 2, Span(time));
        let warm = world.net.now + PATIENCE;
        if !everything_ends(world, warm) {
            return false;
        }
        // Who has lost its programs notices only now, and gets them again.
        let ready = world.net.now + RECOVERY;
        if !world.run_until(ready) {
            return false;
        }
    }
    world.nodes.iter_mut().for_each(|node| node.running_most = 0);
    world.clients[0].submit_plain(&mut world.net, count, Span(time));
    let rounds = count.div_ceil(slots.max(1));
    let until = world.net.now + Span(time * rounds * 3 + Span::from_secs(1).0);
    if !everything_ends(world, until) {
        return false;
    }
    let idle = useful(world).find(|node| node.running_most < node.slots as usize);
    let idle = idle.map(|node| {
        let (name, slots, most) = (&node.name, node.slots, node.running_most);
        format!("{name} has {slots} slots, and at most {most} tasks ran there")
    });
    idle.into_iter().for_each(|idle| world.net.judge.fail(idle));
    world.net.judge.violation().is_none()
}

fn useful(world: &World) -> impl Iterator<Item = &Daemon> {
    world.nodes.iter().filter(|node| node.is_useful())
}

/// Two clients want the same of one cluster, and get it.
fn rivals(world: &mut World) {
    act(world, "rivals");
    while world.clients.len() < 2 {
        world.add_client();
    }
    // Long enough that neither starting workers nor the first turn is what is measured.
    let time = world.net.plan.run_min.max(Span::from_micros(100));
    let count = (Span::from_millis(400).0 / time.0).clamp(100, 4000);
    for client in 0..2 {
        world.clients[client].submit_plain(&mut world.net, count, time);
    }
    let mut shares = (0, 0);
    let until = world.net.now + PATIENCE;
    while world.net.judge.open() > 0 && world.net.now < until {
        let step = world.net.now + Span::from_millis(1);
        if !world.run_until(step) {
            return;
        }
        let (a, b) = (world.net.judge.done_by(0), world.net.judge.done_by(1));
        if a.max(b) >= count {
            shares = (a, b);
            break;
        }
    }
    let (a, b) = shares;
    if a > 2 * b || b > 2 * a {
        world.net.judge.fail(format!("equal backlogs of {count}, unequal shares: {a} and {b}"));
    }
    world.clients.iter_mut().for_each(|client: &mut Client| client.to_submit = 0);
    everything_ends(world, until);
}
