//! A process that moves: when it stops being here and begins to be there.
//!
//! ```text
//! source   Sending --BUILT--> hold, WAKE --> Waking --WOKEN--> end the original     There
//!             |                                |  \--REFUSED-> let it go on         Here
//!             | lost, refused                  | lost
//!             v                                v
//!            Here                            Asking --WOKEN / Over / REFUSED, Absent--> There / Gone / Here
//!
//! pad      Building --> Built --WAKE--> Waking --> Runs --> Ended
//!                         | lost, lease over, asked after
//!                         v
//!                       Refused: never runs
//! ```
//!
//! The commit is one step of one side: the pad takes `WAKE`, or it never will. Not one instruction runs
//! over there before, and the original does not run from the moment at which `WAKE` may be sent until it
//! is known what became of it. Whoever waits for an answer in vain asks on another connection, and a pad
//! that is asked before it was woken is never woken: so each answer is final. What cannot be asked leaves
//! the original stopped, whole, and said to be in doubt: to let it go on would be a guess. The source holds
//! it so that it stays stopped even if the source itself is killed.
//!
//! The lease bounds only how long a built process waits; nothing here rests on two clocks.
//!
//! Elsewhere: the messages (`wire::visit`), freezing and building (`telefork`), bytes of streams (`flow`).

mod source;
mod pad;
pub mod flow;

use wire::limits::{AWAY_PATIENCE, VISIT_DOUBT, VISIT_KEPT, VISIT_LEASE, VISIT_WAITS};
use wire::units::Span;

pub use pad::{Pad, PadEffect, PadEvent};
pub use source::{Fate, Source, SourceEffect, SourceEvent};

/// How long anybody waits for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A built process for `WAKE`.
    pub lease: Span,
    /// A source for an answer, and between two tries to ask.
    pub pause: Span,
    /// A source, all in all, until it is in doubt for good.
    pub doubt: Span,
    /// A pad with the end of a visitor that nobody knows yet.
    pub kept: Span,
    /// What a visitor writes for a client that is away.
    pub waits: Span,
    /// A pad with a visitor that ends without its client.
    pub away: Span,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: VISIT_LEASE,
            pause: Span::from_secs(1),
            doubt: VISIT_DOUBT,
            kept: VISIT_KEPT,
            waits: VISIT_WAITS,
            away: AWAY_PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests;
