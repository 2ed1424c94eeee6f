//! Who is told of commits to which pages.
//!
//! A watched range is cut into runs of 2^n pages that begin at a multiple of their length, at most two
//! of each length. A commit looks up one run of each length that is in use, so it costs as many
//! look-ups as there are lengths, and as many steps as there are watches of that very page.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use slab::Slab;
use wire::limits::{CHANGES_KEPT, COMMITS_KEPT, PAGES_MAX};
use wire::region::{Changed, Changes, PageNo, Version};

use super::sessions::SessionAt;

/// Pages below this can be watched: a region has no others.
const LEVELS: usize = PAGES_MAX.ilog2() as usize + 1;

#[derive(Debug)]
struct Watch {
    session: SessionAt,
    /// The request that began it.
    request: u64,
    first: u64,
    end: u64,
    /// All commits up to this one are known to the client; all up to now, where nothing is to be told.
    seen: u64,
    /// Of the latest `CHANGED`, which the client has not read yet.
    outstanding: Option<u64>,
    /// What is to be told after it.
    pending: Pending,
}

#[derive(Debug)]
enum Pending {
    /// Each page once, with its latest version.
    Pages(BTreeMap<PageNo, Version>),
    Resync,
}

/// One page of a commit.
#[derive(Clone, Copy, Debug)]
struct Record {
    sequence: u64,
    page: PageNo,
    version: Version,
}

/// What is to be sent to a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub session: SessionAt,
    pub request: u64,
    pub changed: Changed,
}

#[derive(Debug)]
pub(super) struct Watches {
    watches: Slab<Watch>,
    /// The watches of each run, by the logarithm of its length and its number.
    runs: HashMap<(u8, u64), BTreeSet<u32>>,
    /// How many runs of each length there are.
    levels: [u32; LEVELS],
    /// The latest commits, page by page.
    latest: VecDeque<Record>,
    /// What is older than `latest` begins up to here.
    forgotten: u64,
    /// Commits up to here may be told.
    told: u64,
    news: VecDeque<News>,
}

impl Watches {
    /// Nothing is known of commits up to `sequence`.
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            watches: Slab::new(),
            runs: HashMap::new(),
            levels: [0; LEVELS],
            latest: VecDeque::new(),
            forgotten: sequence,
            told: sequence,
            news: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }

    /// Begins a watch. What was committed after `from` is told at once.
    pub(super) fn add(
        &mut self,
        session: SessionAt,
        request: u64,
        (first, count): (PageNo, u64),
        from: Option<u64>,
    ) -> u32 {
        let end = first.0.saturating_add(count).min(PAGES_MAX);
        let at = self.watches.insert(Watch {
            session,
            request,
            first: first.0,
            end,
            seen: from.unwrap_or(self.told),
            outstanding: None,
            pending: Pending::Pages(BTreeMap::new()),
        }) as u32;
        for run in runs(first.0, end) {
            self.levels[run.0 as usize] += u32::from(self.runs.entry(run).or_default().insert(at));
        }
        if from.is_some() {
            self.replay(at);
        }
        at
    }

    pub(super) fn remove(&mut self, at: u32) {
        let Some(watch) = self.watches.try_remove(at as usize) else { return };
        for run in runs(watch.first, watch.end) {
            let Some(watches) = self.runs.get_mut(&run) else { continue };
            self.levels[run.0 as usize] -= u32::from(watches.remove(&at));
            if watches.is_empty() {
                self.runs.remove(&run);
            }
        }
    }

    /// A page was committed; `tell` tells it.
    pub(super) fn committed(&mut self, sequence: u64, page: PageNo, version: Version) {
        if self.latest.len() == COMMITS_KEPT
            && let Some(oldest) = self.latest.pop_front()
        {
            self.forgotten = oldest.sequence;
        }
        self.latest.push_back(Record { sequence, page, version });
    }

    /// Commits up to this one may be told.
    pub(super) fn tell(&mut self, sequence: u64) {
        let before = self.told;
        self.told = before.max(sequence);
        if self.watches.is_empty() || before >= sequence {
            return;
        }
        if self.forgotten > before {
            // More was committed before any of it could be told than is remembered.
            let all: Vec<u32> = self.watches.iter().map(|(at, _)| at as u32).collect();
            for at in all {
                self.watches[at as usize].pending = Pending::Resync;
                self.send(at);
            }
            return;
        }
        let from = self.latest.partition_point(|record| record.sequence <= before);
        let mut ready = Vec::new();
        for index in from..self.latest.len() {
            let record = self.latest[index];
            if record.sequence > sequence {
                break;
            }
            self.note(before, record, &mut ready);
        }
        for at in ready {
            self.send(at);
        }
    }

    /// Adds a commit to what its watches are to be told; those that had nothing go to `ready`.
    fn note(&mut self, before: u64, record: Record, ready: &mut Vec<u32>) {
        let Record { page, version, .. } = record;
        for level in (0..LEVELS).filter(|&level| self.levels[level] > 0) {
            let Some(watches) = self.runs.get(&(level as u8, page.0 >> level)) else { continue };
            for &at in watches {
                let watch = &mut self.watches[at as usize];
                if watch.outstanding.is_none() && watch.pending.is_nothing() {
                    watch.seen = before;
                    ready.push(at);
                }
                watch.pending.add(page, version);
            }
        }
    }

    /// The client has read the latest news of this watch.
    pub(super) fn seen(&mut self, at: u32) {
        let Some(watch) = self.watches.get_mut(at as usize) else { return };
        if let Some(sequence) = watch.outstanding.take() {
            watch.seen = sequence;
            self.send(at);
        }
    }

    /// The client came back, perhaps without the latest news of this watch.
    pub(super) fn tell_again(&mut self, at: u32) {
        let Some(watch) = self.watches.get_mut(at as usize) else { return };
        if watch.outstanding.take().is_some() {
            self.replay(at);
        }
    }

    /// Tells a watch all that was committed since what its client has seen.
    fn replay(&mut self, at: u32) {
        let (told, watch) = (self.told, &mut self.watches[at as usize]);
        // A commit that is not known here was lost with an earlier time of the region.
        watch.pending = if watch.seen < self.forgotten || watch.seen > told {
            Pending::Resync
        } else {
            let from = self.latest.partition_point(|record| record.sequence <= watch.seen);
            let mut pending = Pending::Pages(BTreeMap::new());
            let new = self.latest.range(from..).take_while(|record| record.sequence <= told);
            for record in new.filter(|record| (watch.first..watch.end).contains(&record.page.0)) {
                pending.add(record.page, record.version);
            }
            pending
        };
        self.send(at);
    }

    fn send(&mut self, at: u32) {
        let watch = &mut self.watches[at as usize];
        if watch.outstanding.is_some() || watch.pending.is_nothing() {
            return;
        }
        let pending = std::mem::replace(&mut watch.pending, Pending::Pages(BTreeMap::new()));
        let what = match pending {
            Pending::Pages(pages) => Changes::Pages(pages.into_iter().collect()),
            Pending::Resync => Changes::Resync,
        };
        watch.outstanding = Some(self.told);
        let changed = Changed { sequence: self.told, what };
        self.news.push_back(News { session: watch.session, request: watch.request, changed });
    }

    pub(super) fn poll(&mut self) -> Option<News> {
        self.news.pop_front()
    }
}

impl Pending {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Pages(pages) if pages.is_empty())
    }

    fn add(&mut self, page: PageNo, version: Version) {
        let Self::Pages(pages) = self else { return };
        pages.insert(page, version);
        if pages.len() > CHANGES_KEPT {
            *self = Self::Resync;
        }
    }
}

/// Cuts a range into runs: the logarithm of the length, and the number, of each.
fn runs(mut first: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    std::iter::from_fn(move || {
        let rest = end.checked_sub(first).filter(|&rest| rest > 0)?;
        let level = first.trailing_zeros().min(rest.ilog2()).min(LEVELS as u32 - 1);
        let run = (level as u8, first >> level);
        first += 1 << level;
        Some(run)
    })
}
