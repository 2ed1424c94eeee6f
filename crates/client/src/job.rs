//! Jobs: what tasks belong to, and are named by.

use std::sync::Arc;

use logic::dispatch::JobKey;
use wire::name::JobId;

use crate::driver::Owner;

/// A job that cores hold. When the last of them is gone no more tasks come, and nodes are told.
pub(crate) struct Job {
    shared: Arc<Owner>,
    pub(crate) key: JobKey,
    pub(crate) id: JobId,
}

impl Job {
    pub(crate) fn open(shared: Arc<Owner>, name: &str) -> Arc<Self> {
        let id = JobId::drawn(transport::random_u64());
        // Nodes take names of so many bytes.
        let name = &name[..name.floor_char_boundary(wire::limits::PROGRAM_NAME_MAX)];
        let key = shared.state().open_job(id, name);
        Arc::new(Self { shared, key, id })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.shared.submit(|state| state.close_job(self.key));
    }
}
