//! What a seed means for a region: who shares it, what they do, how often what goes wrong.

use wire::limits::SESSION_KEPT;
use wire::region::Durability;
use wire::units::Span;

use crate::random::Random;

/// A bug that is planted around the machines, to see whether it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The home is told that commits are kept before they are.
    SkipDurableWait,
    /// What comes under an old token is committed all the same.
    IgnoreToken,
    /// What became of requests is not kept over a start of the home.
    ForgetOutcomes,
    /// A request that is sent again is carried out again.
    ApplyAgain,
    /// Of a transaction only the first page is kept over a start of the home.
    HalfTransaction,
    /// Only the first page of a transaction is committed at all.
    SplitTransaction,
    /// Now and then a grant gets lost.
    LoseWaiter,
    /// After a start of the home the next commit has the version of the last.
    ReuseVersion,
    /// Now and then a page passes for unchanged without looking.
    StaleRead,
    /// Now and then news for a watch get lost.
    LoseNews,
    /// The condition of a compare-and-set is not looked at.
    IgnoreCondition,
    /// Now and then who asks for a lock is put behind the one after him.
    Overtake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A connection is reset.
    Break,
    /// A connection swallows everything from now on, and nobody is told.
    Swallow,
    /// A client and the home cannot reach each other; perhaps in one direction only.
    Partition,
    /// A client is stopped and goes on later.
    StallClient,
    StallHome,
    /// A client dies at once; another comes.
    CrashClient,
    /// The home dies at once and is started again.
    CrashHome,
    /// The disk is slow for a while.
    SlowVault,
}

pub(crate) const TROUBLES: [Trouble; 8] = [
    Trouble::Break,
    Trouble::Swallow,
    Trouble::Partition,
    Trouble::StallClient,
    Trouble::StallHome,
    Trouble::CrashClient,
    Trouble::CrashHome,
    Trouble::SlowVault,
];

/// Everything that is drawn from the seed before a run begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// What each client has to do.
    pub(crate) goals: u64,
    /// How long clients think between two things.
    pub(crate) pause: Span,
    /// How long they hold a lock, at most.
    pub(crate) hold: Span,
    pub(crate) durability: Durability,
    pub(crate) faults_for: Span,
    pub(crate) fault_every: Span,
    /// By the order of `TROUBLES`.
    pub(crate) weights: [u64; TROUBLES.len()],
    pub(crate) latency: Span,
    /// How long the disk takes for a group of commits.
    pub(crate) disk: Span,
    /// How long clients try to find out what became of a request; never so long that its outcome may
    /// be forgotten.
    pub(crate) patience: Span,
    pub(crate) bug: Option<Bug>,
}

impl Plan {
    pub(crate) fn new(bug: Option<Bug>, random: &mut Random) -> Self {
        // Every fourth seed is calm: what fails there fails for no reason.
        let faulty = random.below(4) > 0;
        let durable = random.below(4) > 0;
        let weights = TROUBLES.map(|trouble| match trouble {
            _ if !faulty => 0,
            // The region would be gone with it.
            Trouble::CrashHome if !durable => 0,
            Trouble::CrashHome => 1 + random.below(8),
            _ => random.below(8) * random.below(2),
        });
        let faults_for = Span::from_millis(500 + random.below(20_000));
        Self {
            clients: 2 + random.index(5),
            goals: 10 + random.below(50),
            pause: random.span(Span::from_micros(10), Span::from_millis(400)),
            hold: random.span(Span::from_micros(10), Span::from_secs(2)),
            durability: if durable { Durability::Sync } else { Durability::None },
            faults_for,
            fault_every: random.span(Span::from_millis(50), Span::from_secs(3)),
            weights,
            latency: random.span(Span::from_micros(10), Span::from_millis(40)),
            disk: random.span(Span::from_micros(50), Span::from_millis(100)),
            patience: random.span(Span::from_millis(20), Span(SESSION_KEPT.0 / 2)),
            bug,
        }
    }

    pub(crate) fn trouble(&self, random: &mut Random) -> Option<Trouble> {
        let mut at = random.below(self.weights.iter().sum());
        TROUBLES.iter().zip(self.weights).find_map(|(trouble, weight)| {
            if at < weight {
                return Some(*trouble);
            }
            at -= weight;
            None
        })
    }
}
