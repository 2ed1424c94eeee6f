//! A history sorted by pages: who wrote which version, who saw it.

use std::collections::BTreeMap;

use crate::history::{Act, Fact, History, Op, Put};

#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) pages: BTreeMap<u64, Page>,
}

/// What is known of one page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) number: u64,
    /// Commits of known outcome, by their versions. More than one for a version is wrong.
    pub(crate) writes: BTreeMap<u64, Vec<Write>>,
    pub(crate) sights: Vec<Sight>,
    /// Commits of unknown outcome.
    pub(crate) unknown: Vec<Write>,
    /// Versions that can only have been made by these operations of unknown outcome. From `pages`.
    pub(crate) forced: BTreeMap<u64, usize>,
    /// Versions made by operations of unknown outcome of which it is not known which. From `pages`.
    pub(crate) open: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) op: usize,
    /// The version that it named as the one before.
    pub(crate) on: Option<u64>,
    pub(crate) puts: Vec<Put>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) op: usize,
    pub(crate) version: u64,
    pub(crate) bytes: Option<Vec<u8>>,
    /// What was seen was there at a moment after the beginning of the operation.
    pub(crate) is_fresh: bool,
}

impl Facts {
    pub(crate) fn new(history: &History) -> Self {
        let mut facts = Self { pages: BTreeMap::new() };
        for (at, op) in history.ops.iter().enumerate() {
            match &op.act {
                Act::Read { pages } => pages.iter().for_each(|fact| facts.sight(at, fact, true)),
                Act::Seen { pages } => pages.iter().for_each(|fact| facts.sight(at, fact, false)),
                Act::Grant { page, .. } => facts.sight(at, page, true),
                Act::Commit { reads, writes, versions, .. } => {
                    facts.commit(at, op, reads, writes, versions);
                }
                Act::Release { .. } => {}
            }
        }
        facts
    }

    pub(crate) fn page(&mut self, number: u64) -> &mut Page {
        self.pages.entry(number).or_insert_with(|| Page { number, ..Page::default() })
    }

    fn sight(&mut self, op: usize, fact: &Fact, is_fresh: bool) {
        let Fact { page, version, bytes } = fact.clone();
        self.page(page).sights.push(Sight { op, version, bytes, is_fresh });
    }

    fn commit(
        &mut self,
        at: usize,
        op: &Op,
        reads: &[Fact],
        writes: &[Put],
        versions: &[(u64, u64)],
    ) {
        let mut by_page: BTreeMap<u64, Vec<Put>> = BTreeMap::new();
        for put in writes {
            by_page.entry(put.page).or_default().push(put.clone());
        }
        for (number, puts) in by_page {
            let on = reads.iter().find(|read| read.page == number).map(|read| read.version);
            let write = Write { op: at, on, puts };
            match versions.iter().find(|(page, _)| *page == number) {
                Some((_, version)) => {
                    self.page(number).writes.entry(*version).or_default().push(write);
                }
                None => self.page(number).unknown.push(write),
            }
        }
        // What a commit of unknown outcome has read was true only if it took place.
        if op.end.is_some() {
            reads.iter().for_each(|read| self.sight(at, read, true));
        }
    }
}

impl Write {
    pub(crate) fn apply(&self, bytes: &mut [u8]) {
        self.puts.iter().for_each(|put| put.apply(bytes));
    }
}
