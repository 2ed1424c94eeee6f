//! Who must come before whom, over all pages and by the clocks. A circle is a contradiction.
//!
//! ```text
//!   ww   made the version before          wr   made the version that was seen
//!   rw   saw a version that the other replaced
//!   time ended before the other began (through a chain of moments, so that there are few edges)
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::facts::{Facts, Page};
use crate::history::{Act, History};
use crate::violation::{Kind, Violation};

/// Beginnings of circles that are tried for the one that says most.
const STARTS_MAX: usize = 64;
/// What an edge `rw` weighs when the plainest circle is looked for: more than any number of others.
const HEAVY: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Ww,
    Wr,
    Rw,
    Time,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    to: usize,
    why: Why,
    page: u64,
}

struct Graph {
    edges: Vec<Vec<Edge>>,
    /// Nodes below are operations, those from here on moments.
    ops: usize,
}

pub(crate) fn check(history: &History, facts: &Facts) -> Result<(), Violation> {
    let ops = history.ops.len();
    let mut graph = Graph { edges: vec![Vec::new(); ops], ops };
    for page in facts.pages.values() {
        graph.add_page(history, facts, page);
    }
    graph.refuse_circles(history, |why| matches!(why, Why::Ww | Why::Wr))?;
    graph.refuse_circles(history, |why| why != Why::Time)?;
    graph.add_time(history, facts);
    graph.refuse_circles(history, |_| true)
}

/// Operations of unknown outcome that took place for sure, on whatever page that shows.
fn proven(facts: &Facts) -> Vec<usize> {
    let all = facts.pages.values().flat_map(|page| page.forced.values().copied());
    let mut all: Vec<usize> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Graph {
    fn add(&mut self, from: usize, to: usize, why: Why, page: u64) {
        if from != to {
            self.edges[from].push(Edge { to, why, page });
        }
    }

    fn add_page(&mut self, history: &History, facts: &Facts, page: &Page) {
        let known = page.writes.iter().map(|(version, writes)| (*version, writes[0].op));
        let forced = page.forced.iter().map(|(version, op)| (*version, *op));
        let makers: BTreeMap<u64, usize> = known.chain(forced).collect();
        let mut readers: Vec<(u64, usize)> =
            page.sights.iter().map(|sight| (sight.version, sight.op)).collect();
        let mut last = Vec::new();
        for op in proven(facts) {
            let Act::Commit { reads, writes, .. } = &history.ops[op].act else { continue };
            let of_page = reads.iter().filter(|read| read.page == page.number);
            readers.extend(of_page.map(|read| (read.version, op)));
            // It took place, and so it did here: if at no version that is known, then after all.
            let here = writes.iter().any(|put| put.page == page.number);
            let placed = page.forced.values().any(|maker| *maker == op);
            if here && !placed && page.open.is_empty() {
                last.push(op);
            }
        }
        let number = page.number;
        for ((_, one), (_, next)) in makers.iter().zip(makers.iter().skip(1)) {
            self.add(*one, *next, Why::Ww, number);
        }
        if let Some(maker) = makers.values().next_back() {
            last.iter().for_each(|op| self.add(*maker, *op, Why::Ww, number));
        }
        for (version, reader) in readers {
            if let Some((made, maker)) = makers.range(..=version).next_back() {
                let why = if *made == version { Why::Wr } else { Why::Ww };
                self.add(*maker, reader, why, number);
            }
            match makers.range(version + 1..).next() {
                Some((_, next)) => self.add(reader, *next, Why::Rw, number),
                None => last.iter().for_each(|op| self.add(reader, *op, Why::Rw, number)),
            }
        }
    }

    /// A moment for each end: whoever ended by then points at it, and it at the next one and at those
    /// who began after it.
    fn add_time(&mut self, history: &History, facts: &Facts) {
        let mut ends: Vec<u64> = history.ops.iter().filter_map(|op| op.end).collect();
        ends.sort_unstable();
        ends.dedup();
        let first = self.ops;
        self.edges.resize(first + ends.len(), Vec::new());
        for at in 1..ends.len() {
            self.add(first + at - 1, first + at, Why::Time, 0);
        }
        let proven = proven(facts);
        for (op, known) in history.ops.iter().enumerate() {
            if let Some(end) = known.end {
                let at = ends.partition_point(|other| *other < end);
                self.add(op, first + at, Why::Time, 0);
            } else if proven.binary_search(&op).is_err() {
                continue;
            }
            let is_fresh = !matches!(known.act, Act::Seen { .. });
            let before = ends.partition_point(|end| *end < known.begin);
            if before > 0 && is_fresh {
                self.add(first + before - 1, op, Why::Time, 0);
            }
        }
    }

    fn refuse_circles(
        &self,
        history: &History,
        counts: impl Fn(Why) -> bool,
    ) -> Result<(), Violation> {
        let Some(knot) = self.knot(&counts) else { return Ok(()) };
        let circle = self.plainest(&knot, &counts);
        let count = |why| circle.iter().filter(|(_, edge)| edge.why == why).count();
        let several = |op: usize| {
            matches!(&history.ops[op].act, Act::Commit { writes, .. }
                if writes.iter().any(|put| put.page != writes[0].page))
        };
        let halved = circle.iter().any(|(_, edge)| edge.why == Why::Rw && several(edge.to));
        let kind = match (count(Why::Rw), count(Why::Time)) {
            (0, 0) => Kind::CircularCommits,
            (1, _) if halved => Kind::TornTransaction,
            (1, 0) => Kind::TornTransaction,
            (_, 0) => Kind::WriteSkew,
            _ => Kind::OutOfTime,
        };
        let mut words = String::new();
        for (from, Edge { why, page, .. }) in &circle {
            if *from < self.ops {
                words += &format!("#{from} ");
            }
            match why {
                Why::Ww => words += &format!("wrote page {page} before "),
                Why::Wr => words += &format!("wrote page {page} as seen by "),
                Why::Rw => words += &format!("saw page {page} as it was before "),
                Why::Time if *from < self.ops => words += "ended before the beginning of ",
                Why::Time => {}
            }
        }
        words += &format!("#{}", circle.first().map_or(0, |(from, _)| *from));
        let ops: Vec<usize> =
            circle.iter().map(|(from, _)| *from).filter(|from| *from < self.ops).collect();
        Err(Violation::new(kind, ops, words))
    }

    /// Nodes that all reach one another: Tarjan's way, without recursion.
    fn knot(&self, counts: &impl Fn(Why) -> bool) -> Option<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let nodes = self.edges.len();
        let (mut number, mut low) = (vec![NEW; nodes], vec![NEW; nodes]);
        let mut on_path = vec![false; nodes];
        let (mut path, mut next) = (Vec::new(), 0);
        for root in 0..nodes {
            if number[root] != NEW {
                continue;
            }
            let mut work = vec![(root, 0)];
            while let Some((node, edge)) = work.pop() {
                if edge == 0 {
                    (number[node], low[node]) = (next, next);
                    next += 1;
                    path.push(node);
                    on_path[node] = true;
                }
                let mut rest = self.edges[node].iter().enumerate().skip(edge);
                let step = rest.find(|(_, edge)| {
                    counts(edge.why) && (number[edge.to] == NEW || on_path[edge.to])
                });
                if let Some((at, edge)) = step {
                    let to = edge.to;
                    if number[to] == NEW {
                        work.push((node, at + 1));
                        work.push((to, 0));
                    } else {
                        low[node] = low[node].min(number[to]);
                        work.push((node, at + 1));
                    }
                    continue;
                }
                if low[node] == number[node] {
                    let from = path.iter().rposition(|other| *other == node)?;
                    let knot = path.split_off(from);
                    knot.iter().for_each(|node| on_path[*node] = false);
                    if knot.len() > 1 {
                        return Some(knot);
                    }
                }
                if let Some((above, _)) = work.last() {
                    low[*above] = low[*above].min(low[node]);
                }
            }
        }
        None
    }

    /// The circle with the fewest edges `rw`, then the shortest.
    fn plainest(&self, knot: &[usize], counts: &impl Fn(Why) -> bool) -> Vec<(usize, Edge)> {
        let mut inside = vec![false; self.edges.len()];
        knot.iter().for_each(|node| inside[*node] = true);
        let starts = knot.iter().filter(|node| **node < self.ops).take(STARTS_MAX);
        let circles = starts.filter_map(|start| {
            let mut best: BTreeMap<usize, (u64, usize, Edge)> = BTreeMap::new();
            let mut queue = BinaryHeap::from([Reverse((0, *start))]);
            while let Some(Reverse((cost, node))) = queue.pop() {
                if node == *start && cost > 0 {
                    break;
                }
                for edge in &self.edges[node] {
                    if !inside[edge.to] || !counts(edge.why) {
                        continue;
                    }
                    let cost = cost + if edge.why == Why::Rw { HEAVY } else { 1 };
                    if best.get(&edge.to).is_none_or(|(known, ..)| cost < *known) {
                        best.insert(edge.to, (cost, node, *edge));
                        queue.push(Reverse((cost, edge.to)));
                    }
                }
            }
            let (cost, ..) = best.get(start)?;
            let (mut circle, mut at) = (Vec::new(), *start);
            loop {
                let (_, from, edge) = best.get(&at)?;
                circle.push((*from, *edge));
                at = *from;
                if at == *start {
                    break;
                }
            }
            circle.reverse();
            Some((*cost, circle))
        });
        circles.min_by_key(|(cost, _)| *cost).map(|(_, circle)| circle).unwrap_or_default()
    }
}
