//! The whole verdict.

use crate::facts::Facts;
use crate::history::{Act, History};
use crate::violation::Violation;
use crate::{locks, order, pages};

/// How much was judged: a verdict over nothing says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub ops: usize,
    pub commits: usize,
    /// Commits of several pages.
    pub transactions: usize,
    pub grants: usize,
    /// Commits whose outcome nobody knows, and those among them that took place for sure.
    pub unknown: usize,
    pub proven: usize,
}

/// Says whether the history can have happened.
pub fn judge(history: &History) -> Result<Figures, Violation> {
    let mut facts = Facts::new(history);
    let mut proven = Vec::new();
    for page in facts.pages.values_mut() {
        pages::check(history, page)?;
        proven.extend(page.forced.values().copied());
    }
    locks::check(history, &facts)?;
    order::check(history, &facts)?;
    proven.sort_unstable();
    proven.dedup();
    let mut figures = Figures { proven: proven.len(), ..Figures::default() };
    for op in &history.ops {
        figures.ops += 1;
        match &op.act {
            Act::Commit { writes, .. } => {
                figures.commits += 1;
                figures.unknown += usize::from(op.end.is_none());
                let several = writes.iter().any(|put| put.page != writes[0].page);
                figures.transactions += usize::from(several);
            }
            Act::Grant { .. } => figures.grants += 1,
            Act::Read { .. } | Act::Seen { .. } | Act::Release { .. } => {}
        }
    }
    Ok(figures)
}
