//! Who has which page alone, and who waits for it, in which order.
//!
//! One queue per page, in the order of asking. Locks, updates and transactions stand in the same one;
//! what they want is their region's business.

use std::collections::{BTreeMap, HashMap};

use wire::region::PageNo;

use super::places::SessionAt;

pub(super) use super::places::Place;

#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub session: SessionAt,
    /// The request that got the lock: sent again, it is told the same.
    pub request: u64,
    pub token: u64,
}

/// The locks of a region. `W`: what waits.
#[derive(Debug)]
pub(super) struct Locks<W> {
    held: HashMap<PageNo, Holder>,
    queue: BTreeMap<Place, W>,
    /// How many stand in the queue of each page that has one.
    lengths: HashMap<PageNo, u32>,
    tickets: u64,
    /// Of the latest grant.
    token: u64,
}

impl<W> Locks<W> {
    /// Tokens are higher than `token`.
    pub(super) fn new(token: u64) -> Self {
        Self {
            held: HashMap::new(),
            queue: BTreeMap::new(),
            lengths: HashMap::new(),
            tickets: 0,
            token,
        }
    }

    pub(super) fn holder(&self, page: PageNo) -> Option<&Holder> {
        // Most pages are locked by nobody, most of the time.
        if self.held.is_empty() { None } else { self.held.get(&page) }
    }

    /// Gives the page, which nobody has. Returns the token.
    pub(super) fn grant(&mut self, page: PageNo, session: SessionAt, request: u64) -> u64 {
        self.token += 1;
        let old = self.held.insert(page, Holder { session, request, token: self.token });
        debug_assert!(old.is_none(), "{page:?} is held by {old:?}");
        self.token
    }

    pub(super) fn release(&mut self, page: PageNo) {
        self.held.remove(&page);
    }

    /// Puts something behind all others that wait for this page, which is held.
    pub(super) fn wait(&mut self, page: PageNo, what: W) -> Place {
        self.tickets += 1;
        let place = Place { page, ticket: self.tickets };
        self.queue.insert(place, what);
        *self.lengths.entry(page).or_default() += 1;
        place
    }

    /// Takes whoever is first in the queue of a page that nobody has.
    pub(super) fn next(&mut self, page: PageNo) -> Option<(Place, W)> {
        if self.lengths.is_empty() {
            return None;
        }
        let places = Place { page, ticket: 0 }..=Place { page, ticket: u64::MAX };
        let (&place, _) = self.queue.range(places).next()?;
        self.withdraw(place).map(|what| (place, what))
    }

    pub(super) fn withdraw(&mut self, place: Place) -> Option<W> {
        let what = self.queue.remove(&place)?;
        if let Some(length) = self.lengths.get_mut(&place.page) {
            *length -= 1;
            if *length == 0 {
                self.lengths.remove(&place.page);
            }
        }
        Some(what)
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// All that waits.
    pub(super) fn wants(&self) -> impl Iterator<Item = &W> {
        self.queue.values()
    }

    /// Pages that somebody waits for.
    pub(super) fn queued(&self) -> Vec<PageNo> {
        let mut pages: Vec<PageNo> = self.lengths.keys().copied().collect();
        pages.sort_unstable();
        pages
    }

    /// How many wait for this page.
    pub(super) fn length(&self, page: PageNo) -> u32 {
        self.lengths.get(&page).copied().unwrap_or(0)
    }
}
