//! What happens to tasks, one entry after the other: for records, logs and traces.
//!
//! Nothing is kept until somebody asks for it. Elsewhere: the entries, and how many wait (`entries`).

use std::sync::Arc;

use crate::driver::{Owner, now};
use crate::entries::{Entry, Pages};

/// What happens to the tasks of a cluster, from the moment it is made on; see
/// [`Cluster::journal`](crate::Cluster::journal).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = farcall::Cluster::local()?;
/// let mut journal = cluster.journal();
/// let core = cluster.core("./libsum.so")?;
/// for result in core.map(["1 2 3", "4 5 6"]) {
///     drop(result);
///     for entry in journal.take() {
///         println!("{entry:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Journal {
    shared: Arc<Owner>,
}

impl Journal {
    pub(crate) fn begin(shared: Arc<Owner>) -> Self {
        let mut state = shared.state();
        state.pages.get_or_insert_with(|| Pages::new(now()));
        drop(state);
        Self { shared }
    }

    /// What has happened since the last time.
    pub fn take(&mut self) -> Vec<Entry> {
        let mut state = self.shared.state();
        state.pages.as_mut().map(Pages::take).unwrap_or_default()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.state().pages = None;
    }
}
