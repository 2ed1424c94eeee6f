//! What a seed means: how large the cluster is, what its tasks do, how often what goes wrong.

use wire::units::Span;

use crate::random::Random;

/// A bug that is planted between a machine and its driver, to see whether it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The last frame before a connection is closed in good order is lost.
    DropLastFrame,
    /// A second attempt is given the number of the first.
    ReuseAttempt,
    /// Channels are told apart by the task's place in the table alone, which is used again.
    ReuseChannel,
    /// One of the tasks that a node gives back is forgotten.
    ForgetReturned,
    /// A result is delivered a second time, under the channel of another task.
    DeliverTwice,
    /// Now and then a credit gets lost.
    LoseCredit,
}

/// What happens to a run besides its own course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// Faults, calm, probe, end.
    Chaos,
    /// Two clients with equal backlogs, and nothing goes wrong.
    Rivals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A connection is reset.
    Break,
    /// A connection swallows everything from now on, and nobody is told.
    Swallow,
    /// A client and a node, or two nodes, cannot reach each other; perhaps in one direction only.
    Partition,
    /// A node is stopped and goes on later.
    Stall,
    /// A node and its workers are a hundred times slower.
    Slow,
    /// A node dies at once; perhaps it is started again, perhaps under another name.
    CrashNode,
    /// A client dies at once.
    CrashClient,
    /// One more node.
    Join,
    /// A node leaves in good order.
    Leave,
    KillWorker,
    /// A node's disk loses the programs that it holds.
    LoseBlobs,
}

pub(crate) const FAULTS: [Fault; 11] = [
    Fault::Break,
    Fault::Swallow,
    Fault::Partition,
    Fault::Stall,
    Fault::Slow,
    Fault::CrashNode,
    Fault::CrashClient,
    Fault::Join,
    Fault::Leave,
    Fault::KillWorker,
    Fault::LoseBlobs,
];

/// What a task does when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Work,
    /// Returns a code of its own.
    Fail,
    /// Kills its worker each time.
    Crash,
    /// Kills its worker the first time.
    CrashOnce,
    Exit,
    /// Runs for ever: it has a deadline.
    Hang,
    /// Takes memory for ever: its program has a limit.
    Leak,
}

/// A program of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Good,
    /// Good, and its memory is limited.
    Limited,
    /// Cannot be loaded.
    Bad,
}

/// Everything that is drawn from the seed before a run begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) story: Story,
    pub(crate) nodes: usize,
    pub(crate) slots_max: u64,
    pub(crate) clients: usize,
    /// Clients with one certificate run their programs in common workers.
    pub(crate) one_owner: bool,
    pub(crate) makes: Vec<Make>,
    /// Tasks that each client submits.
    pub(crate) tasks: u64,
    pub(crate) run_min: Span,
    pub(crate) run_max: Span,
    /// How long faults happen.
    pub(crate) faults_for: Span,
    /// The mean time between two.
    pub(crate) fault_every: Span,
    /// By the order of `FAULTS`.
    pub(crate) weights: [u64; FAULTS.len()],
    pub(crate) latency: Span,
    /// Per mille of tasks that are cancelled, that misbehave, whose payloads are large.
    pub(crate) cancels: u64,
    pub(crate) misdeeds: u64,
    pub(crate) bulks: u64,
    /// Programs pass for so large that nodes pass them on.
    pub(crate) large_programs: bool,
    /// Per mille of workers that die while they load, of blobs that find the disk full, of dead
    /// workers whose results held back are lost.
    pub(crate) stillborn: u64,
    pub(crate) disk_full: u64,
    pub(crate) torn: u64,
    pub(crate) bug: Option<Bug>,
}

impl Plan {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, random: &mut Random) -> Self {
        let story = if seed % 8 == 7 { Story::Rivals } else { Story::Chaos };
        let mut makes = vec![Make::Good];
        makes.extend((0..random.below(3)).map(|_| match random.below(4) {
            0 => Make::Bad,
            1 => Make::Limited,
            _ => Make::Good,
        }));
        // Every third seed is calm: what fails there fails for no reason.
        let faulty = random.below(3) > 0;
        let weights = FAULTS.map(|fault| match fault {
            Fault::Join | Fault::Leave => random.below(4),
            _ if !faulty => 0,
            _ => random.below(8) * random.below(2),
        });
        let rarely = |random: &mut Random, most: u64| random.below(2) * random.below(most);
        let run_min = random.span(Span::from_micros(1), Span::from_millis(20));
        let run_max = random.span(run_min, Span::from_millis(400));
        Self {
            story,
            nodes: if story == Story::Rivals { 1 } else { 1 + random.index(4) },
            slots_max: 1 + random.below(4),
            clients: 1 + random.index(3),
            one_owner: random.below(2) == 0,
            makes,
            tasks: 10 + random.below(120),
            run_min,
            run_max,
            faults_for: Span::from_millis(500 + random.below(12_000)),
            fault_every: random.span(Span::from_millis(100), Span::from_secs(4)),
            weights,
            latency: random.span(Span::from_micros(10), Span::from_millis(40)),
            cancels: rarely(random, 300),
            misdeeds: rarely(random, 200),
            bulks: rarely(random, 300),
            large_programs: random.below(2) == 0,
            stillborn: if faulty && story == Story::Chaos { rarely(random, 200) } else { 0 },
            disk_full: if faulty && story == Story::Chaos { rarely(random, 300) } else { 0 },
            torn: if faulty { rarely(random, 500) } else { 0 },
            bug,
        }
    }

    /// Of a run without tasks: nothing but a network.
    pub(crate) fn quiet(latency: Span, random: &mut Random) -> Self {
        Self { latency, ..Self::new(0, None, random) }
    }

    pub(crate) fn fault(&self, random: &mut Random) -> Option<Fault> {
        let mut at = random.below(self.weights.iter().sum());
        FAULTS.iter().zip(self.weights).find_map(|(fault, weight)| {
            if at < weight {
                return Some(*fault);
            }
            at -= weight;
            None
        })
    }
}
