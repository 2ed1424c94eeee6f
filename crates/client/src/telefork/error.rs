//! Why a copy of this process did not go, or did not end well.

use crate::outcome::{COPIED, UNLINKED};

/// Why a copy of this process did not go, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TravelError {
    /// The handle is of the process that this one is a copy of.
    #[error("{COPIED}")]
    Copied,
    /// The process has a thread of its own, under which memory would change.
    #[error(
        "thread {name} ({tid}) of this process would see memory change under it; call `yoyo` from the main thread \
         with no other running, or use `fork_call`, which only brings a result back"
    )]
    Threads {
        /// The thread's name.
        name: String,
        /// Its number.
        tid: u32,
    },
    /// It did not go, or what it came to did not come back. Here nothing has changed.
    #[error("nothing came back from {node}, and all is as it was here: {reason}")]
    Stayed {
        /// The node.
        node: String,
        /// Why; next step.
        reason: String,
    },
    /// This process is a copy, and could not link to the cluster by itself.
    #[error("{UNLINKED}: {reason}")]
    Unlinked {
        /// Why not; next step.
        reason: String,
    },
    /// No node is up.
    #[error("no node is up to run it; see `farcall status`")]
    NoNode,
    /// No copy could be made of this process, or it could not be read.
    #[error("this process cannot be copied")]
    Unmade {
        /// What stood in the way.
        source: telefork::Error,
    },
    /// Private keys could not be kept out of the copy.
    #[error("nothing was sent: private keys cannot be kept out of the copy: {reason}")]
    Unwiped {
        /// What stood in the way.
        reason: String,
    },
    /// The kernel refused a thread.
    #[error("cannot start the thread that sends a copy; see `ulimit -u`")]
    NoThread {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The image did not reach the node. The copy does not run.
    #[error("the copy cannot be sent to {node}; nothing of it runs there")]
    Unsent {
        /// The node.
        node: String,
        /// What the connection said.
        source: memory::Error,
    },
    /// The node did not let it wake. The copy does not run.
    #[error("the copy does not wake on {node}: {reason}")]
    Refused {
        /// The node.
        node: String,
        /// What it said; next step.
        reason: String,
    },
    /// It was told to wake, and nobody could be asked since.
    #[error("it is not known whether the copy runs: {node} cannot be asked; see `farcall ps`")]
    Doubt {
        /// The node.
        node: String,
    },
    /// It ran there, and nobody heard of it before it was over.
    #[error("the copy on {node} is no more: {reason}")]
    Ended {
        /// The node.
        node: String,
        /// What is known of it; next step.
        reason: String,
    },
    /// It ran, and its node was lost.
    #[error("{node} is gone, and the copy with it; send another one elsewhere")]
    Lost {
        /// The node.
        node: String,
        /// What the connection said.
        source: std::sync::Arc<memory::Error>,
    },
    /// It ran ahead of its memory, which could not follow it, and was ended.
    #[error("the copy on {node} was ended: its memory could not follow it; send another one")]
    NotFollowed {
        /// The node.
        node: String,
        /// What stood in the way.
        source: telefork::Error,
    },
    /// The node said what makes no sense.
    #[error("{node} broke the protocol; compare the versions of `farcall`")]
    Nonsense {
        /// The node.
        node: String,
    },
    /// A signal ended it.
    #[error("signal {signal} ended the copy on {node}; its output says why")]
    Killed {
        /// The node.
        node: String,
        /// The signal's number.
        signal: u8,
    },
    /// A call panicked.
    #[error("the call panicked on {node}: {words}")]
    Panicked {
        /// The node.
        node: String,
        /// The panic's message.
        words: String,
    },
    /// A call ended its process.
    #[error("the call ended its process on {node} with status {status} instead of returning")]
    Unanswered {
        /// The node.
        node: String,
        /// The exit status.
        status: i32,
    },
    /// What a call returned cannot be read.
    #[error("what the call on {node} returned cannot be read")]
    Unreadable {
        /// The node.
        node: String,
        /// Why.
        source: wire::answer::Unreadable,
    },
}

impl crate::driver::Shared {
    /// Whoever asks is the process that linked, or its copy that has linked by itself.
    pub(super) fn check_linked(&self) -> Result<(), TravelError> {
        match self.is_copy() {
            false => Ok(()),
            true => Err(TravelError::Unlinked { reason: self.reason_unlinked() }),
        }
    }
}
