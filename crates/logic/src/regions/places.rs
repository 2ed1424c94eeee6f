//! Where things stand in this machine's tables.

use wire::region::PageNo;

/// A place in the table of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionAt(pub u32);

/// A place in the queue of a page. Tickets rise, so a later one is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub page: PageNo,
    pub ticket: u64,
}
