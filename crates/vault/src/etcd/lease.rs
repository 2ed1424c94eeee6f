//! This node's lease in etcd: while it lasts, nobody else is the home of the regions that are here.
//!
//! It is reckoned from before each renewal was sent, less a margin, so it ends here before it ends in
//! etcd, whichever clock runs faster. A process that was stopped finds by its own clock that it is
//! over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gateway::{Gateway, Silent};

/// How long etcd waits for a node that is silent before another may be home. An election of etcd's own
/// takes up to two seconds, in which nothing is renewed: this is longer.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// It is over here before it is over there.
const MARGIN: Duration = Duration::from_millis(500);
const RENEWAL: Duration = Duration::from_millis(800);
const RETRY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Lease {
    gateway: Arc<Gateway>,
    state: Mutex<State>,
    /// The state has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
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
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    Until(Instant),
    Over,
}

impl Lease {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The lease, a new one if there is none.
    pub(crate) fn hold(&self) -> Result<Held, Silent> {
        if let Some(held) = self.held() {
            return Ok(held);
        }
        let asked = Instant::now();
        let (id, lasts) = self.gateway.grant(LEASE)?;
        let held = Held { id, until: end(asked, lasts) };
        let mut state = self.lock();
        if let Some(other) = state.held {
            // Another thread was faster; ours ends by itself.
            return Ok(other);
        }
        state.held = Some(held);
        self.changed.notify_all();
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
            let (news, pause) = match renewed {
                Ok(lasts) if lasts > MARGIN => {
                    let until = end(asked, lasts);
                    state.held = Some(Held { id: held.id, until });
                    (Some(News::Until(until)), RENEWAL)
                }
                Ok(_) => {
                    state.held = None;
                    (Some(News::Over), RETRY)
                }
                Err(_) if Instant::now() >= held.until => {
                    state.held = None;
                    (Some(News::Over), RETRY)
                }
                Err(_) => (None, RETRY),
            };
            drop(state);
            if let Some(news) = news {
                tell(news);
            }
            let paused = self.changed.wait_timeout_while(self.lock(), pause, |s| !s.is_ending);
            state = paused.unwrap_or_else(PoisonError::into_inner).0;
        }
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
