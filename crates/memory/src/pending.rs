//! Operations that were begun and not waited for.

use logic::regions::copy::Outcome;
use wire::region::PageNo;

use crate::error::Error;
use crate::line::now;
use crate::region::Region;

/// An operation under way. Dropped without waiting, it is carried out all the same, unless the node is
/// away at that moment, and nobody learns how it went.
#[must_use = "`wait` tells how it went"]
pub struct Pending<T> {
    region: Region,
    page: PageNo,
    number: u64,
    is_told: bool,
    finish: fn(&Region, PageNo, Outcome) -> Result<T, Error>,
}

impl<T> Pending<T> {
    pub(crate) fn new(
        region: Region,
        page: PageNo,
        number: u64,
        finish: fn(&Region, PageNo, Outcome) -> Result<T, Error>,
    ) -> Self {
        Self { region, page, number, is_told: false, finish }
    }

    /// Waits for the answer.
    pub fn wait(mut self) -> Result<T, Error> {
        let owner = &self.region.owner;
        let (state, outcome) = owner.outcome(owner.state(), self.number);
        drop(state);
        self.is_told = true;
        (self.finish)(&self.region, self.page, outcome)
    }

    /// The answer has arrived: `wait` will not wait.
    pub fn is_done(&self) -> bool {
        self.region.owner.state().session.is_settled(self.number)
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if !self.is_told {
            let owner = &self.region.owner;
            let mut state = owner.state();
            state.session.abandon(now(), self.number);
            drop(owner.send_soon(state, now()));
        }
    }
}
