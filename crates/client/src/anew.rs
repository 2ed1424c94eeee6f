//! A copy of a client links to the cluster by itself.
//!
//! What was made before the copy was (`Owner` and whoever holds one) keeps its driver, whose sockets and thread are
//! the original's: all that was under way with it fails. Clusters and cores ask for the current one.
//!
//! Elsewhere: what the copy shows to nodes (`copied`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Error;
use crate::copied::{self, Means};
use crate::driver::{Owner, Shared, State};
use crate::error::chain;

/// How long the first node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same if it is known why none does.
const PATIENCE_REFUSED: Duration = Duration::from_secs(1);

impl Shared {
    /// Waits until a node is up, or it is known why none is.
    pub(crate) fn wait_until_up(&self) -> Result<(), Error> {
        let now = Instant::now();
        let is_up = |s: &mut State| (s.nodes.up() > 0).then_some(true);
        // Nodes that refuse at once may be about to start; those that say nothing get more time.
        let up = self.wait_for(Some(now + PATIENCE_REFUSED), is_up);
        let up = up.or_else(|| {
            let is_clear = |s: &mut State| s.nodes.are_settled().then_some(false);
            let either = |s: &mut State| is_up(s).or_else(|| is_clear(s));
            self.wait_for(Some(now + PATIENCE), either)
        });
        match up {
            Some(true) => Ok(()),
            Some(false) | None => {
                Err(Error::Unreachable { attempts: self.state().nodes.troubles() })
            }
        }
    }
}

/// The driver to ask: this one, or in a copy of its process the copy's own, which is made now. If it cannot be
/// made this one says why, and the next one who asks tries again.
pub(crate) fn current(owner: &Arc<Owner>) -> &Arc<Owner> {
    if !owner.is_copy() {
        return owner;
    }
    if let Some(next) = owner.anew().get() {
        return current(next);
    }
    match link(owner) {
        Ok(next) => owner.anew().get_or_init(|| next),
        Err(reason) => {
            owner.stays_unlinked(reason);
            owner
        }
    }
}

fn link(before: &Owner) -> Result<Arc<Owner>, String> {
    let (credentials, words) = copied::receive(before.authority())?;
    let (targets, libraries) = {
        let state = before.state();
        (state.nodes.targets_beyond(), state.nodes.libraries())
    };
    if targets.is_empty() {
        return Err("its original reached nodes by their Unix sockets alone, which are closed to copies; give \
                    the node `--listen` and connect to its address"
            .to_owned());
    }
    let shared = Shared::new(targets, Some(&credentials), Means::Own(words), None);
    let shared = shared.map_err(|error| chain(&error))?;
    let next = Owner::of(shared);
    next.wait_until_up().map_err(|error| chain(&error))?;
    for (hash, library) in libraries {
        next.state().nodes.keep_library(hash, library);
    }
    Ok(Arc::new(next))
}
