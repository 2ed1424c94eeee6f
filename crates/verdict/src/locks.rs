//! Locks: whose turn it was, and who wrote without having it.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::history::{Act, History};
use crate::violation::{Kind, Violation};

struct Grant {
    op: usize,
    page: u64,
    version: u64,
    token: u64,
    queued: Option<u64>,
    begin: u64,
    end: u64,
}

pub(crate) fn check(history: &History, facts: &Facts) -> Result<(), Violation> {
    let mut grants: Vec<Grant> = grants(history).collect();
    grants.sort_by_key(|grant| grant.token);
    tokens(&grants)?;
    let mut pages: BTreeMap<u64, Vec<&Grant>> = BTreeMap::new();
    grants.iter().for_each(|grant| pages.entry(grant.page).or_default().push(grant));
    for grants in pages.values() {
        turns(grants)?;
    }
    holders(history, facts, &pages)
}

fn grants(history: &History) -> impl Iterator<Item = Grant> {
    history.ops.iter().enumerate().filter_map(|(at, op)| match &op.act {
        Act::Grant { page, token, queued } => Some(Grant {
            op: at,
            page: page.page,
            version: page.version,
            token: *token,
            queued: *queued,
            begin: op.begin,
            end: op.end?,
        }),
        _ => None,
    })
}

/// Tokens of a region rise with every grant, whatever the page.
fn tokens(grants: &[Grant]) -> Result<(), Violation> {
    let mut latest: Option<&Grant> = None;
    for (at, grant) in grants.iter().enumerate() {
        if let Some(same) = grants.get(at + 1).filter(|next| next.token == grant.token) {
            let words = format!("token {} was given twice", grant.token);
            return Err(Violation::new(Kind::TokenWentBack, [grant.op, same.op], words));
        }
        // Whoever has a lower token was granted his lock before: he cannot have asked only after
        // this grant was known.
        if let Some(before) = latest.filter(|before| grant.end < before.begin) {
            let words = format!(
                "token {} was given to one who asked when token {} was known",
                before.token, grant.token
            );
            return Err(Violation::new(Kind::TokenWentBack, [before.op, grant.op], words));
        }
        latest = latest.filter(|latest| latest.begin >= grant.begin).or(Some(grant));
    }
    Ok(())
}

/// Of two who were known to wait, the first comes first. The grants are in order of their tokens.
fn turns(grants: &[&Grant]) -> Result<(), Violation> {
    let mut latest: Option<(&Grant, u64)> = None;
    for grant in grants {
        let Some(queued) = grant.queued else { continue };
        if let Some((before, since)) = latest.filter(|(_, since)| *since > queued) {
            let words = format!(
                "page {}: who came at {since} was granted the lock (token {}) before who came at \
                 {queued} (token {})",
                grant.page, before.token, grant.token
            );
            return Err(Violation::new(Kind::OutOfTurn, [before.op, grant.op], words));
        }
        latest = latest.filter(|(_, since)| *since > queued).or(Some((grant, queued)));
    }
    Ok(())
}

/// Whoever gives a lock back, or commits under it, has had it until then.
fn holders(
    history: &History,
    facts: &Facts,
    pages: &BTreeMap<u64, Vec<&Grant>>,
) -> Result<(), Violation> {
    let none = Vec::new();
    for (at, op) in history.ops.iter().enumerate() {
        let (page, token, made) = match &op.act {
            Act::Release { page, token } => (*page, *token, None),
            Act::Commit { writes, versions, token: Some(token), .. } => {
                let Some(put) = writes.first() else { continue };
                let known = versions.iter().find(|(page, _)| *page == put.page);
                let known = known.map(|(_, version)| *version);
                (put.page, *token, known.or_else(|| proven(facts, put.page, at)))
            }
            Act::Commit { .. } | Act::Read { .. } | Act::Seen { .. } | Act::Grant { .. } => {
                continue;
            }
        };
        if op.end.is_none() && made.is_none() {
            continue;
        }
        let grants = pages.get(&page).unwrap_or(&none);
        let later = grants.partition_point(|grant| grant.token <= token);
        for grant in &grants[later..] {
            // The next holder saw the page at his grant; what came after that is not the last one's.
            if made.is_some_and(|made| made > grant.version) {
                let words = format!(
                    "page {page}: a commit under token {token} came after token {} was granted",
                    grant.token
                );
                return Err(Violation::new(Kind::StaleToken, [at, grant.op], words));
            }
            if op.end.is_some() && grant.end < op.begin {
                let words = format!(
                    "page {page}: token {} was granted while token {token} held the lock, which \
                     gave it back later",
                    grant.token
                );
                return Err(Violation::new(Kind::TwoHolders, [at, grant.op], words));
            }
        }
    }
    Ok(())
}

/// The version of the page that this operation has made, though nobody told it so.
fn proven(facts: &Facts, page: u64, op: usize) -> Option<u64> {
    let forced = &facts.pages.get(&page)?.forced;
    forced.iter().find(|(_, maker)| **maker == op).map(|(version, _)| *version)
}
