//! What happens to tasks, one entry after the other: for records, logs and traces.
//!
//! Nothing is kept until somebody asks for it. Elsewhere: the entries, and how many wait (`entries`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    reader: u64,
}

/// Readers so far, of all clusters.
static READERS: AtomicU64 = AtomicU64::new(0);

impl Journal {
    pub(crate) fn begin(shared: Arc<Owner>) -> Self {
        let reader = READERS.fetch_add(1, Ordering::Relaxed);
        shared.state().pages = Some(Pages::new(now(), reader));
        Self { shared, reader }
    }

    /// What has happened since the last time. Nothing any more, once another journal has begun.
    pub fn take(&mut self) -> Vec<Entry> {
        let mut state = self.shared.state();
        own(&mut state.pages, self.reader).map(Pages::take).unwrap_or_default()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        // Those of a later journal are not ours to close.
        if own(&mut state.pages, self.reader).is_some() {
            state.pages = None;
        }
    }
}

/// The pages, if they are this reader's.
fn own(pages: &mut Option<Pages>, reader: u64) -> Option<&mut Pages> {
    pages.as_mut().filter(|pages| pages.reader() == reader)
}

#[cfg(test)]
mod tests {
    use wire::job::Log;

    use super::*;
    use crate::driver::Shared;

    #[test]
    fn an_earlier_journal_neither_reads_nor_closes_a_later_one() {
        let shared = Shared::new(Vec::new(), None, crate::copied::Means::Nothing, None).unwrap();
        let shared = Arc::new(Owner::of(shared));
        let entries = |journal: &mut Journal| journal.take().len();
        let happens = || {
            let log = Log { name: "k3f9qx2.1".parse().unwrap(), attempt: 1, skipped: 0 };
            let mut state = shared.state();
            state.pages.as_mut().unwrap().wrote(log, None, "word".into());
        };
        let mut first = Journal::begin(shared.clone());
        happens();
        assert_eq!(entries(&mut first), 1);
        let mut second = Journal::begin(shared.clone());
        happens();
        assert_eq!(entries(&mut first), 0);
        drop(first);
        assert_eq!(entries(&mut second), 1);
        happens();
        assert_eq!(entries(&mut second), 1);
        drop(second);
        assert!(shared.state().pages.is_none(), "nobody reads: nothing is kept");
    }
}
