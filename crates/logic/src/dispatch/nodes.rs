//! One node as a client sees it: its credits, its backlog, and which programs are ready there.

use std::sync::Arc;

use wire::name::{Hash, Name};
use wire::units::Span;

use super::seats::Seats;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<Name>,
    pub(super) slots: u32,
    /// Tasks that may have been sent in all.
    pub(super) limit: u64,
    /// Tasks sent in all.
    pub(super) sent: u64,
    /// Tasks there now; each knows its seat.
    pub(super) tasks: Seats,
    pub(super) leaving: bool,
    pub(super) standing: Standing,
    /// The number of its turn, in whichever list it stands.
    pub(super) turn: u64,
    /// A `TakeBack` is not answered yet.
    pub(super) asked_back: bool,
    /// It had nothing to give back the last time: all it has is at workers.
    pub(super) dry: bool,
    /// Programs defined so far: the next number.
    pub(super) defined: u32,
    /// Whose turn it is among the programs.
    pub(super) next_program: usize,
    stages: Vec<Stage>,
    /// By program: how often it was cleared away here since a task of it went well; of those that were.
    cleared: Vec<u32>,
    run: Option<Span>,
}

/// How far a program is at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Unknown,
    Asked,
    /// From another node, or from here when no other gives it; see `spread`.
    Coming,
    Uploading,
    Ready(u32),
    Refused,
}

/// Where a node waits for tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nowhere: it has no credit.
    Out,
    Offers,
    /// No task that waits can use it.
    Parked,
}

pub(super) enum Offer {
    Run { program: usize, number: u32 },
    Prepare { program: usize, hash: Hash },
    Nothing,
}

impl Node {
    pub(super) fn new(name: Name, slots: u32) -> Self {
        Self {
            name: Arc::new(name),
            slots,
            limit: 0,
            sent: 0,
            tasks: Seats::default(),
            leaving: false,
            standing: Standing::Out,
            turn: 0,
            asked_back: false,
            dry: false,
            defined: 0,
            next_program: 0,
            stages: Vec::new(),
            cleared: Vec::new(),
            run: None,
        }
    }

    pub(super) fn has_credit(&self) -> bool {
        self.sent < self.limit && !self.leaving
    }

    pub(super) fn busy(&self) -> u32 {
        self.tasks.len()
    }

    /// Programs that it would not store.
    pub(super) fn refused(&self) -> impl Iterator<Item = usize> {
        let stages = self.stages.iter().enumerate();
        stages.filter(|(_, stage)| **stage == Stage::Refused).map(|(program, _)| program)
    }

    pub(super) fn stage(&self, program: usize) -> Stage {
        self.stages.get(program).copied().unwrap_or(Stage::Unknown)
    }

    pub(super) fn set_stage(&mut self, program: usize, stage: Stage) {
        if self.stages.len() <= program {
            self.stages.resize(program + 1, Stage::Unknown);
        }
        self.stages[program] = stage;
    }

    /// A program was cleared away here. How often by now.
    pub(super) fn clear(&mut self, program: usize) -> u32 {
        if self.cleared.len() <= program {
            self.cleared.resize(program + 1, 0);
        }
        self.cleared[program] += 1;
        self.cleared[program]
    }

    /// A task of it went well: it was of use here.
    pub(super) fn used(&mut self, program: usize) {
        if let Some(cleared) = self.cleared.get_mut(program) {
            *cleared = 0;
        }
    }

    pub(super) fn learn(&mut self, ran: Span) {
        self.run = Some(self.run.map_or(ran, |old| Span((old.0 * 7 + ran.0) / 8)));
    }

    /// How long it will take to begin the last of its tasks. Without experience, a task is long.
    pub(super) fn backlog(&self) -> Span {
        let run = self.run.unwrap_or(Span::from_secs(1));
        let rounds = u64::from(self.busy().saturating_sub(self.slots).div_ceil(self.slots.max(1)));
        Span(run.0.saturating_mul(rounds))
    }
}
