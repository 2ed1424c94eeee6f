//! This node's lease in etcd: while it lasts, nobody else is the home of the regions that are here.
//!
//! It is reckoned from before each renewal was sent, less a margin, so it ends here before it ends in
//! etcd, whichever clock runs faster. A process that was stopped finds by its own clock that it is
//! over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gateway::{Failure, Gateway};

/// How long etcd waits for a node that is silent before another may be home. An election of etcd's own
/// takes up to two seconds, in which nothing is renewed: this is longer.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// It is over here before it is over there.
const MARGIN: Duration = Duration::from_millis(500);
const RENEWAL: Duration = Duration::from_millis(800);
const RETRY: Duration = Duration::from_millis(100);

pub(super) const SILENCE: &str = "etcd was not heard of for the length of a lease; see that a \
                                  majority of its members is up and reachable from here";

#[derive(Debug)]
pub(crate) struct Lease {
    gateway: Arc<Gateway>,
    state: Mutex<State>,
    /// The state has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// It stays here when it is over, until that was told: nobody gets the next one before.
    held: Option<Held>,
    is_granting: bool,
    is_ending: bool,
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) id: i64,
    /// It is not over before this.
    pub(crate) until: Instant,
}

/// News for whoever depends on the lease.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Until(Instant),
    /// And why.
    Over(String),
}

impl Lease {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The lease, a new one if there is none.
    pub(crate) fn hold(&self) -> Result<Held, Failure> {
        let mut state = self.lock();
        loop {
            if state.is_ending {
                return Err(Failure::Silent("this node is ending".to_owned()));
            }
            match state.held {
                Some(held) if Instant::now() < held.until => return Ok(held),
                None if !state.is_granting => break,
                Some(_) | None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        state.is_granting = true;
        drop(state);
        let asked = Instant::now();
        let granted = self.gateway.grant(LEASE);
        let mut state = self.lock();
        state.is_granting = false;
        self.changed.notify_all();
        let (id, lasts) = granted?;
        let held = Held { id, until: end(asked, lasts) };
        state.held = Some(held);
        Ok(held)
    }

    /// The lease, if it is not over.
    pub(crate) fn held(&self) -> Option<Held> {
        self.lock().held.filter(|held| Instant::now() < held.until)
    }

    /// Until when a lease lasts: nothing if it is over.
    pub(crate) fn until(&self, id: i64) -> Option<Instant> {
        self.held().filter(|held| held.id == id).map(|held| held.until)
    }

    /// Renews it until `end` is called; on a thread of its own.
    pub(crate) fn run(&self, tell: impl Fn(News)) {
        let mut state = self.lock();
        loop {
            let Some(held) = state.held else {
                if state.is_ending {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                if let Some(held) = state.held {
                    drop(state);
                    tell(News::Until(held.until));
                    state = self.lock();
                }
                continue;
            };
            if state.is_ending {
                drop(state);
                // Others need not wait then; if it fails, they wait.
                let _ = self.gateway.revoke(held.id);
                return;
            }
            drop(state);
            let asked = Instant::now();
            let renewed = self.gateway.renew(held.id);
            state = self.lock();
            let over = match renewed {
                Ok(lasts) if lasts > MARGIN => {
                    let until = end(asked, lasts);
                    state.held = Some(Held { id: held.id, until });
                    self.changed.notify_all();
                    drop(state);
                    tell(News::Until(until));
                    self.pause(RENEWAL);
                    state = self.lock();
                    continue;
                }
                Ok(_) => Some(SILENCE.to_owned()),
                Err(failure) if Instant::now() >= held.until => Some(match failure {
                    Failure::Silent(_) => SILENCE.to_owned(),
                    Failure::Refused { .. } => failure.to_string(),
                }),
                Err(_) => None,
            };
            if let Some(reason) = over {
                state.held = Some(Held { id: held.id, until: asked });
                drop(state);
                tell(News::Over(reason));
                state = self.lock();
                state.held = None;
                self.changed.notify_all();
            }
            drop(state);
            self.pause(RETRY);
            state = self.lock();
        }
    }

    /// Unless it ends.
    fn pause(&self, time: Duration) {
        let _ = self.changed.wait_timeout_while(self.lock(), time, |state| !state.is_ending);
    }

    pub(crate) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(asked: Instant, lasts: Duration) -> Instant {
    asked + lasts.saturating_sub(MARGIN)
}
