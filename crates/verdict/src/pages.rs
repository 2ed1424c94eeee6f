//! One page: its versions against the clocks, its bytes against the writes.

use std::collections::{BTreeMap, HashSet};

use crate::facts::{Page, Write};
use crate::history::History;
use crate::violation::{Kind, Violation};

/// Of a page that nobody has written.
pub(crate) const FIRST: u64 = 1;
/// States that the walk may try for one page. A good history needs about one for each version.
const STATES_MAX: usize = 20_000;
/// So many versions more than there are commits are looked at one by one, to say whose they are.
const SLACK: u64 = 1000;

pub(crate) fn check(history: &History, page: &mut Page) -> Result<(), Violation> {
    unique(page)?;
    next_to_each_other(page)?;
    in_time(history, page)?;
    let seen = contents(page)?;
    force(history, page, &seen);
    walk(history, page, &seen)
}

fn unique(page: &Page) -> Result<(), Violation> {
    let twice = page.writes.iter().find(|(_, writes)| writes.len() > 1);
    twice.map_or(Ok(()), |(version, writes)| {
        let words = format!("two commits made version {version} of page {}", page.number);
        let ops: Vec<usize> = writes.iter().map(|write| write.op).collect();
        Err(Violation::new(Kind::VersionRepeated, ops, words))
    })
}

/// A commit that has named the version below has made the next one.
fn next_to_each_other(page: &Page) -> Result<(), Violation> {
    for (&version, write) in page.writes.iter().flat_map(|(v, all)| all.iter().map(move |w| (v, w)))
    {
        let Some(on) = write.on.filter(|on| on + 1 != version) else { continue };
        if version <= on {
            let words =
                format!("page {}: a commit on version {on} made version {version}", page.number);
            return Err(Violation::new(Kind::VersionWentBack, [write.op], words));
        }
        let between = page.writes.range(on + 1..version).next_back();
        let mut ops = vec![write.op];
        ops.extend(between.map(|(_, writes)| writes[0].op));
        let number = page.number;
        let words = format!(
            "page {number}: a commit saw version {on} and made version {version}, over what was \
             committed between"
        );
        return Err(Violation::new(Kind::LostUpdate, ops, words));
    }
    Ok(())
}

/// Nobody sees less, and nobody makes less, than was known before he began.
///
/// The versions are a line on which every known operation has its place, so comparing pairs is
/// enough: whatever contradiction there is between that line and the clocks, two of them show it.
fn in_time(history: &History, page: &Page) -> Result<(), Violation> {
    let ops = &history.ops;
    let sights = page.sights.iter().map(|sight| (sight.version, sight.op));
    let writes = page.writes.iter().map(|(version, writes)| (*version, writes[0].op));
    let known = sights.chain(writes);
    let mut ends: Vec<(u64, u64, usize)> =
        known.filter_map(|(version, op)| Some((ops[op].end?, version, op))).collect();
    ends.sort_unstable();
    let mut highest = (FIRST, None);
    for (_, version, op) in &mut ends {
        if *version > highest.0 {
            highest = (*version, Some(*op));
        }
        (*version, *op) = (highest.0, highest.1.unwrap_or(*op));
    }
    // What was known before that moment, and from whom.
    let floor = |begin: u64| {
        let before = ends.partition_point(|(end, ..)| *end < begin);
        before.checked_sub(1).map_or((FIRST, None), |at| (ends[at].1, Some(ends[at].2)))
    };
    let number = page.number;
    for (version, write) in page.writes.iter().map(|(version, writes)| (*version, &writes[0])) {
        let (known, by) = floor(ops[write.op].begin);
        if version <= known {
            let words = format!(
                "page {number}: version {version} was committed by one who began when version \
                 {known} was known"
            );
            let shown: Vec<usize> = [Some(write.op), by].into_iter().flatten().collect();
            return Err(Violation::new(Kind::VersionWentBack, shown, words));
        }
    }
    for sight in page.sights.iter().filter(|sight| sight.is_fresh) {
        let (known, by) = floor(ops[sight.op].begin);
        if sight.version < known {
            let words = format!(
                "page {number}: version {} was seen by one who began when version {known} was known",
                sight.version
            );
            let shown: Vec<usize> = [Some(sight.op), by].into_iter().flatten().collect();
            return Err(Violation::new(Kind::StaleRead, shown, words));
        }
    }
    Ok(())
}

/// The bytes that each version was seen with.
fn contents(page: &Page) -> Result<BTreeMap<u64, (Vec<u8>, usize)>, Violation> {
    let mut seen: BTreeMap<u64, (Vec<u8>, usize)> = BTreeMap::new();
    for sight in &page.sights {
        let Some(bytes) = &sight.bytes else { continue };
        let (first, op) = seen.entry(sight.version).or_insert_with(|| (bytes.clone(), sight.op));
        if first != bytes {
            let (version, number) = (sight.version, page.number);
            let words = format!("page {number} was seen with two contents as version {version}");
            return Err(Violation::new(Kind::VersionRepeated, [*op, sight.op], words));
        }
    }
    Ok(seen)
}

/// Until when a version must have been made: somebody knew it, or a later one.
fn deadlines(history: &History, page: &Page) -> BTreeMap<u64, u64> {
    let sights = page.sights.iter().map(|sight| (sight.version, sight.op));
    let writes = page.writes.iter().map(|(version, writes)| (*version, writes[0].op));
    let mut until: BTreeMap<u64, u64> = BTreeMap::new();
    for (version, op) in sights.chain(writes) {
        let Some(end) = history.ops[op].end else { continue };
        let known = until.entry(version).or_insert(end);
        *known = end.min(*known);
    }
    let mut least = u64::MAX;
    for end in until.values_mut().rev() {
        least = least.min(*end);
        *end = least;
    }
    until
}

/// A place of the walk: all versions below `next` have their makers.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    next: u64,
    bytes: Vec<u8>,
    /// Operations of unknown outcome that have taken place, in order of their numbers.
    used: Vec<usize>,
}

type Seen = BTreeMap<u64, (Vec<u8>, usize)>;

/// Goes through the versions from the first to the last. Where a version has no known maker, one
/// operation of unknown outcome must have made it: each that can have is tried, no state twice.
fn walk(history: &History, page: &Page, seen: &Seen) -> Result<(), Violation> {
    let last_seen = page.sights.iter().map(|sight| sight.version).max().unwrap_or(FIRST);
    let last = page.writes.keys().next_back().copied().unwrap_or(FIRST).max(last_seen);
    let commits = page.writes.len() + page.unknown.len();
    if last > FIRST + commits as u64 + SLACK {
        return Err(nobody(page, seen, last, None, &[]));
    }
    let until = deadlines(history, page);
    // Whoever must have made one version has made no other.
    let bound: HashSet<usize> = page.forced.values().copied().collect();
    let mut states = vec![State { next: FIRST, bytes: vec![0; history.page_size], used: vec![] }];
    let mut tried = HashSet::new();
    let mut furthest: Option<(u64, Violation)> = None;
    while let Some(mut state) = states.pop() {
        let fault = loop {
            if let Some((bytes, op)) = seen.get(&(state.next - 1))
                && *bytes != state.bytes
            {
                break Some(other_bytes(page, state.next - 1, *op));
            }
            if state.next > last {
                return Ok(());
            }
            if state.next == FIRST {
                state.next += 1;
                continue;
            }
            if let Some(writes) = page.writes.get(&state.next) {
                writes[0].apply(&mut state.bytes);
                state.next += 1;
                continue;
            }
            break None;
        };
        let fault = fault.or_else(|| {
            if !tried.insert(state.clone()) {
                return None;
            }
            let forced = page.forced.get(&state.next);
            let can = page.unknown.iter().filter(|write| {
                forced.map_or(!bound.contains(&write.op), |op| *op == write.op)
                    && state.used.binary_search(&write.op).is_err()
                    && can_make(history, &until, write, state.next)
            });
            let mut found = false;
            for write in can {
                let mut after = state.clone();
                write.apply(&mut after.bytes);
                after.next += 1;
                // Most are told apart by their bytes at once.
                if seen.get(&state.next).is_some_and(|(bytes, _)| *bytes != after.bytes) {
                    continue;
                }
                after.used.insert(after.used.partition_point(|op| *op < write.op), write.op);
                states.push(after);
                found = true;
            }
            let before = Some(&state.bytes[..]);
            (!found).then(|| nobody(page, seen, state.next, before, &state.used))
        });
        if let Some(fault) = fault
            && furthest.as_ref().is_none_or(|(next, _)| *next < state.next)
        {
            furthest = Some((state.next, fault));
        }
        if tried.len() > STATES_MAX {
            let words = format!("page {}: gave up after {STATES_MAX} states", page.number);
            return Err(Violation::new(Kind::Undecided, [], words));
        }
    }
    furthest.map_or(Ok(()), |(_, fault)| Err(fault))
}

fn can_make(history: &History, until: &BTreeMap<u64, u64>, write: &Write, version: u64) -> bool {
    let due = until.range(version..).next().map_or(u64::MAX, |(_, end)| *end);
    history.ops[write.op].begin <= due && write.on.is_none_or(|on| on + 1 == version)
}

fn other_bytes(page: &Page, version: u64, op: usize) -> Violation {
    let number = page.number;
    let words = format!(
        "page {number}: version {version} was seen with bytes that the commits up to it have not \
         written"
    );
    let maker = page.writes.get(&version).map(|writes| writes[0].op);
    let ops: Vec<usize> = [Some(op), maker].into_iter().flatten().collect();
    Violation::new(Kind::WrongBytes, ops, words)
}

/// Nobody can have made this version; perhaps somebody did so twice.
fn nobody(
    page: &Page,
    seen: &Seen,
    version: u64,
    before: Option<&[u8]>,
    used: &[usize],
) -> Violation {
    let number = page.number;
    let sight = seen.get(&version);
    let again = sight.zip(before).and_then(|((bytes, _), before)| {
        let earlier = page.writes.range(..version).map(|(_, writes)| &writes[0]);
        let earlier = earlier.chain(page.unknown.iter().filter(|write| used.contains(&write.op)));
        earlier.into_iter().find(|write| {
            let mut after = before.to_vec();
            write.apply(&mut after);
            after == *bytes
        })
    });
    if let Some(write) = again {
        let words =
            format!("page {number}: version {version} is what an earlier commit had written");
        return Violation::new(Kind::DoubleApplication, [write.op], words);
    }
    let words = format!("page {number}: no commit can have made version {version}");
    let ops: Vec<usize> = sight.map(|(_, op)| *op).into_iter().collect();
    Violation::new(Kind::Phantom, ops, words)
}

/// Finds the versions of which it is certain who made them, though he does not know it himself.
fn force(history: &History, page: &mut Page, seen: &Seen) {
    let until = deadlines(history, page);
    let last = until.keys().next_back().copied().unwrap_or(FIRST);
    let (mut forced, mut open) = (BTreeMap::new(), Vec::new());
    for version in (FIRST + 1..=last).filter(|version| !page.writes.contains_key(version)) {
        let fits = |write: &&Write| {
            let made = seen.get(&version).is_none_or(|(bytes, _)| {
                let mut after = bytes.clone();
                write.apply(&mut after);
                after == *bytes
            });
            made && can_make(history, &until, write, version)
        };
        let mut can = page.unknown.iter().filter(fits);
        match (can.next(), can.next()) {
            (Some(write), None) => drop(forced.insert(version, write.op)),
            _ => open.push(version),
        }
    }
    (page.forced, page.open) = (forced, open);
}
