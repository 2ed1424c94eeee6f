//! What cannot have happened, and in which words that is said.

use std::fmt;

/// A promise that the history breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {words}")]
pub struct Violation {
    pub kind: Kind,
    pub words: String,
    /// Operations of the history that show it.
    pub ops: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A version has two writers, or two contents.
    VersionRepeated,
    /// A commit has a version that is not above one that was known before it began.
    VersionWentBack,
    /// A read began when a later version was known, and saw an earlier one.
    StaleRead,
    /// A commit took place on top of another that it had not seen, though it named what it saw.
    LostUpdate,
    /// A version has other bytes than the commits up to it have written.
    WrongBytes,
    /// A version is there that no commit can have made.
    Phantom,
    /// A commit took effect a second time.
    DoubleApplication,
    /// Commits that depend on one another in a circle (G0, G1c).
    CircularCommits,
    /// One half of a transaction was seen, and the other was not (G-single).
    TornTransaction,
    /// Transactions each read what the other was about to change (G2).
    WriteSkew,
    /// What is in order by itself is not in the order of the clocks.
    OutOfTime,
    /// A grant has a token that is not above those of earlier grants.
    TokenWentBack,
    /// Two held a lock at once.
    TwoHolders,
    /// A commit took place under a lock that somebody else had been granted since.
    StaleToken,
    /// A lock went to one who had come later.
    OutOfTurn,
    /// Too many operations of unknown outcome to try all orders. Not proven wrong, but not good.
    Undecided,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VersionRepeated => "a version was repeated",
            Self::VersionWentBack => "a version went back",
            Self::StaleRead => "a stale read",
            Self::LostUpdate => "a lost update",
            Self::WrongBytes => "wrong bytes",
            Self::Phantom => "a commit of nobody",
            Self::DoubleApplication => "a commit was carried out twice",
            Self::CircularCommits => "commits in a circle (G1c)",
            Self::TornTransaction => "a torn transaction (read skew)",
            Self::WriteSkew => "write skew (G2)",
            Self::OutOfTime => "an order against the clock",
            Self::TokenWentBack => "a token went back",
            Self::TwoHolders => "two held a lock at once",
            Self::StaleToken => "a commit under a lost lock",
            Self::OutOfTurn => "a lock was granted out of turn",
            Self::Undecided => "too many unknown outcomes",
        })
    }
}

impl Violation {
    pub(crate) fn new(kind: Kind, ops: impl Into<Vec<usize>>, words: impl Into<String>) -> Self {
        Self { kind, words: words.into(), ops: ops.into() }
    }
}
