//! Thousands of random histories that did happen are believed.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use farcall_verdict::{Act, Fact, Figures, History, Op, Put, judge};

const PAGE: usize = 32;

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// What a client is about.
#[derive(Clone, Debug)]
enum Plan {
    Read(Vec<u64>),
    /// With the versions that were seen before, if any.
    Commit {
        reads: Vec<Fact>,
        writes: Vec<Put>,
        token: Option<u64>,
    },
    Lock(u64),
}

/// A store that does one thing at a time, and clients that are slow to ask and slow to hear.
struct Store {
    dice: Dice,
    pages: BTreeMap<u64, (u64, Vec<u8>)>,
    holders: BTreeMap<u64, u64>,
    lines: BTreeMap<u64, Vec<(u64, usize, u64, u64)>>,
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    plans: Vec<(u64, u64, Plan)>,
    ops: Vec<Op>,
    tokens: u64,
    tags: u64,
    losses: u64,
}

impl Store {
    fn page(&mut self, page: u64) -> &mut (u64, Vec<u8>) {
        self.pages.entry(page).or_insert_with(|| (1, vec![0; PAGE]))
    }

    fn fact(&mut self, page: u64) -> Fact {
        let (version, bytes) = self.page(page).clone();
        Fact::new(page, version, &bytes)
    }

    fn put(&mut self, page: u64) -> Put {
        self.tags += 1;
        let offset = self.dice.below(4) as usize * 8;
        Put::new(page, offset, &self.tags.to_le_bytes())
    }

    /// Something that begins now and happens soon.
    fn ask(&mut self, who: u64, now: u64, plan: Plan) {
        let at = now + self.dice.below(40);
        self.plans.push((who, now, plan));
        self.queue.push(Reverse((at, self.plans.len() - 1)));
    }

    fn next(&mut self, who: u64, now: u64, pages: u64) {
        if self.ops.len() > 150 {
            return;
        }
        let page = self.dice.below(pages);
        let other = self.dice.below(pages);
        let put = self.put(page);
        let plan = match self.dice.below(8) {
            0 | 1 => Plan::Read(vec![page]),
            2 => Plan::Read((0..pages).collect()),
            3 => Plan::Commit { reads: vec![], writes: vec![put], token: None },
            4 => Plan::Lock(page),
            // What it sees now it commits on later.
            5 => {
                let reads = vec![self.fact(page)];
                Plan::Commit { reads, writes: vec![put], token: None }
            }
            _ => {
                let reads = if page == other {
                    vec![self.fact(page)]
                } else {
                    vec![self.fact(page), self.fact(other)]
                };
                let second = self.put(other);
                let writes = if self.dice.below(2) == 0 { vec![put] } else { vec![put, second] };
                Plan::Commit { reads, writes, token: None }
            }
        };
        self.ask(who, now, plan);
    }

    fn happen(&mut self, now: u64, at: usize, pages: u64) {
        let (who, begin, plan) = self.plans[at].clone();
        let end = now + self.dice.below(40);
        let lost = self.dice.below(100) < self.losses;
        match plan {
            Plan::Read(pages) => {
                let pages = pages.into_iter().map(|page| self.fact(page)).collect();
                self.ops.push(Op { who, begin, end: Some(end), act: Act::Read { pages } });
            }
            Plan::Commit { reads, writes, token } => {
                let holds = reads.iter().all(|read| self.page(read.page).0 == read.version);
                let locked = writes.iter().any(|put| {
                    self.holders.get(&put.page).copied().unwrap_or(0) != token.unwrap_or(0)
                });
                // What was asked and never arrived.
                let never = lost && self.dice.below(2) == 0;
                if never || !holds || (locked && token.is_none()) {
                    if lost {
                        let act = Act::Commit { reads, writes, versions: vec![], token };
                        self.ops.push(Op { who, begin, end: None, act });
                    } else {
                        let pages = reads.iter().map(|read| self.fact(read.page)).collect();
                        self.ops.push(Op { who, begin, end: Some(end), act: Act::Read { pages } });
                    }
                } else {
                    let mut versions = BTreeMap::new();
                    for put in &writes {
                        let (version, bytes) = self.page(put.page).clone();
                        let version = *versions.entry(put.page).or_insert(version + 1);
                        let mut bytes = bytes;
                        bytes[put.offset..put.offset + put.bytes.len()].copy_from_slice(&put.bytes);
                        self.pages.insert(put.page, (version, bytes));
                    }
                    let versions =
                        if lost { vec![] } else { versions.into_iter().collect::<Vec<_>>() };
                    let end = (!lost).then_some(end);
                    let act = Act::Commit { reads, writes, versions, token };
                    self.ops.push(Op { who, begin, end, act });
                }
                if let Some(token) = token {
                    let page = self.holders.iter().find(|(_, holder)| **holder == token);
                    if let Some(page) = page.map(|(page, _)| *page) {
                        self.holders.remove(&page);
                        self.grant(now, page);
                    }
                }
            }
            Plan::Lock(page) => {
                self.lines.entry(page).or_default().push((now, at, who, begin));
                if !self.holders.contains_key(&page) {
                    self.grant(now, page);
                }
                return;
            }
        }
        self.next(who, end + 1, pages);
    }

    fn grant(&mut self, now: u64, page: u64) {
        let line = self.lines.entry(page).or_default();
        if line.is_empty() {
            return;
        }
        let (queued, _, who, begin) = line.remove(0);
        self.tokens += 1;
        let token = self.tokens;
        self.holders.insert(page, token);
        let end = now + self.dice.below(40);
        let fact = self.fact(page);
        let queued = Some(queued);
        let act = Act::Grant { page: fact.clone(), token, queued };
        self.ops.push(Op { who, begin, end: Some(end), act });
        let put = self.put(page);
        let plan = Plan::Commit { reads: vec![fact], writes: vec![put], token: Some(token) };
        self.ask(who, end + 1, plan);
    }
}

fn history(seed: u64) -> History {
    let mut dice = Dice(seed);
    let (clients, pages, losses) = (1 + dice.below(6), 1 + dice.below(5), dice.below(30));
    let mut store = Store {
        dice,
        pages: BTreeMap::new(),
        holders: BTreeMap::new(),
        lines: BTreeMap::new(),
        queue: BinaryHeap::new(),
        plans: Vec::new(),
        ops: Vec::new(),
        tokens: 0,
        tags: 0,
        losses,
    };
    (0..clients).for_each(|who| store.next(who, who, pages));
    let mut last = 0;
    while let Some(Reverse((now, at))) = store.queue.pop() {
        store.happen(now, at, pages);
        last = last.max(now);
    }
    let facts = (0..pages).map(|page| store.fact(page)).collect();
    let (begin, end) = (last + 100, Some(last + 101));
    store.ops.push(Op { who: 99, begin, end, act: Act::Read { pages: facts } });
    History { page_size: PAGE, ops: store.ops }
}

#[test]
fn what_did_happen_is_believed() {
    let mut sum = Figures::default();
    for seed in 0..3000 {
        let history = history(seed);
        let figures = judge(&history).unwrap_or_else(|violation| {
            for op in &violation.ops {
                eprintln!("#{op} {:?}", history.ops[*op]);
            }
            panic!("seed {seed}: {violation}")
        });
        sum.ops += figures.ops;
        sum.transactions += figures.transactions;
        sum.grants += figures.grants;
        sum.unknown += figures.unknown;
        sum.proven += figures.proven;
    }
    // It is not believed for want of anything to doubt.
    assert!(sum.transactions > 10_000 && sum.grants > 10_000, "{sum:?}");
    assert!(sum.unknown > 10_000 && sum.proven > 1000, "{sum:?}");
}

/// Of the same histories with one answer changed, few are believed: a change that nobody could have
/// noticed is rare.
#[test]
fn what_was_changed_afterwards_is_noticed() {
    let (mut noticed, mut all) = (0, 0);
    for seed in 0..1500 {
        let mut history = history(seed);
        let mut dice = Dice(!seed);
        let mut at = dice.below(history.ops.len() as u64) as usize;
        let changed = loop {
            let op = &mut history.ops[at];
            at = (at + 1) % 150;
            let Some(_) = op.end else { continue };
            match &mut op.act {
                Act::Read { pages } if pages.iter().any(|fact| fact.version > 1) => {
                    let fact = pages.iter_mut().find(|fact| fact.version > 1);
                    if let Some(fact) = fact {
                        fact.version -= 1;
                    }
                    break true;
                }
                Act::Commit { versions, .. } => {
                    versions[0].1 += 1;
                    break true;
                }
                Act::Grant { token, .. } => {
                    *token += 1;
                    break true;
                }
                Act::Read { .. } | Act::Seen { .. } | Act::Release { .. } => {}
            }
        };
        all += usize::from(changed);
        noticed += usize::from(judge(&history).is_err());
    }
    assert!(noticed * 100 >= all * 97, "{noticed} of {all} were noticed");
}
