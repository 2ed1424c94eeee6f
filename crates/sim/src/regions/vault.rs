//! A pretended disk: it takes commits in groups, needs time for each group, and a crash leaves of the
//! group that was under way as many as it likes, each of them whole.

use std::collections::{BTreeMap, VecDeque};

use logic::regions::{Batch, Epoch, Opened, Outcome, Written};
use wire::name::Name;
use wire::region::{Create, PageNo, RegionId, SessionId};

use crate::random::Random;
use crate::regions::plan::Bug;

/// What outlives the home.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    made: Option<(RegionId, Name, Create)>,
    epoch: u64,
    sequence: u64,
    pages: u64,
    written: BTreeMap<PageNo, Written>,
    outcomes: BTreeMap<(SessionId, u64), Outcome>,
}

#[derive(Debug, Default)]
pub(crate) struct Vault {
    pub(crate) disk: Disk,
    /// Not begun yet; in one group with the one that is under way next.
    waiting: VecDeque<Batch>,
    under_way: Vec<Batch>,
}

impl Vault {
    pub(crate) fn make(&mut self, id: RegionId, owner: Name, create: Create) -> Epoch {
        self.disk.pages = create.pages;
        self.disk.made = Some((id, owner, create));
        self.disk.epoch = 1;
        Epoch { number: 1 }
    }

    pub(crate) fn keep(&mut self, batch: Batch) {
        self.waiting.push_back(batch);
    }

    /// Begins a group, if there is something to do and nothing under way.
    pub(crate) fn begin(&mut self) -> bool {
        if self.waiting.is_empty() || !self.under_way.is_empty() {
            return false;
        }
        self.under_way.extend(self.waiting.drain(..));
        true
    }

    /// The group is on the disk. The latest commit of it.
    pub(crate) fn done(&mut self, bug: Option<Bug>) -> Result<Option<(RegionId, u64)>, String> {
        let mut last = None;
        for batch in std::mem::take(&mut self.under_way) {
            last = Some((batch.region, batch.sequence));
            self.disk.apply(batch, bug)?;
        }
        Ok(last)
    }

    /// The home dies.
    pub(crate) fn crash(&mut self, random: &mut Random, bug: Option<Bug>) -> Result<(), String> {
        let kept = random.index(self.under_way.len() + 1);
        for batch in std::mem::take(&mut self.under_way).into_iter().take(kept) {
            self.disk.apply(batch, bug)?;
        }
        self.waiting.clear();
        Ok(())
    }
}

impl Disk {
    fn apply(&mut self, batch: Batch, bug: Option<Bug>) -> Result<(), String> {
        let Batch { region: _, sequence, grown, mut written, outcome, forgotten, dropped } = batch;
        if sequence != self.sequence + 1 {
            return Err(format!("commit {sequence} was to be kept after {}", self.sequence));
        }
        self.sequence = sequence;
        self.pages = grown.unwrap_or(self.pages);
        if bug == Some(Bug::HalfTransaction) {
            written.truncate(1);
        }
        for page in written {
            self.written.insert(page.page, page);
        }
        for (session, until) in forgotten {
            self.outcomes.retain(|(of, request), _| *of != session || *request > until);
        }
        for dropped in dropped {
            self.outcomes.remove(&dropped);
        }
        if let Some(outcome) = outcome {
            self.outcomes.insert((outcome.session, outcome.request), outcome);
        }
        Ok(())
    }

    /// The region as it was kept.
    pub(crate) fn open(&mut self, bug: Option<Bug>) -> Option<Opened> {
        let (id, owner, create) = self.made.clone()?;
        self.epoch += 1;
        let mut written: Vec<Written> = self.written.values().cloned().collect();
        let mut outcomes: Vec<Outcome> = self.outcomes.values().cloned().collect();
        match bug {
            Some(Bug::ReuseVersion) => {
                written.iter_mut().for_each(|page| page.version.0 = page.version.0.max(2) - 1);
            }
            Some(Bug::ForgetOutcomes) => outcomes.clear(),
            _ => {}
        }
        Some(Opened {
            id,
            owner,
            create,
            epoch: Epoch { number: self.epoch },
            sequence: self.sequence,
            pages: self.pages,
            written,
            outcomes,
        })
    }
}
