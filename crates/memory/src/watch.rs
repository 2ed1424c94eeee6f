//! Being told of commits.

use std::ops::Range;
use std::time::Duration;

use logic::regions::copy::{News, WatchId};
use wire::region::{PageNo, Version};
use wire::units::{Span, Time};

use crate::driver::{Interest, State};
use crate::error::Error;
use crate::line::now;
use crate::region::Region;

/// Tells of commits to some pages, as they happen.
///
/// A page that is committed several times before its news are taken is told once, with its latest
/// version; nothing is left out without a word. The watch outlives a lost connection.
///
/// ```no_run
/// # fn example(region: farcall_memory::Region) -> Result<(), farcall_memory::Error> {
/// for change in region.watch(0..100)? {
///     match change? {
///         farcall_memory::Change::Page { page, version } => println!("{page} is at {version:?}"),
///         farcall_memory::Change::Resync => println!("look at all of them"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    region: Region,
    id: WatchId,
}

/// What a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This page was committed.
    Page {
        /// The page.
        page: u64,
        /// The version that it has, or had when this was sent.
        version: Version,
    },
    /// More was committed than could be remembered: any of the pages may have changed.
    Resync,
}

impl Region {
    /// Watches these pages: every commit after this returns is told.
    pub fn watch(&self, pages: Range<u64>) -> Result<Watch, Error> {
        let patience = self.owner.state().session.patience();
        self.watch_by(pages, now() + patience)
    }

    /// The same, if it is in force until then.
    pub(crate) fn watch_by(&self, pages: Range<u64>, until: Time) -> Result<Watch, Error> {
        let owner = &self.owner;
        let mut state = owner.room(owner.state());
        let count = pages.end.saturating_sub(pages.start);
        let id = state.session.watch(now(), PageNo(pages.start), count);
        let watch = Watch { region: self.clone(), id };
        state = owner.send(state);
        let is_watching = |state: &mut State| match state.session.is_watching(id) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(refusal) => Some(Err(refusal)),
        };
        let (state, begun) = owner.wait(state, Interest::Watching(id), until, is_watching);
        let node = state.node.to_string();
        drop(state);
        match begun {
            Some(Ok(())) => Ok(watch),
            Some(Err(refusal)) => Err(self.owner.refused(&node, refusal)),
            None => Err(self.owner.away()),
        }
    }
}

impl Watch {
    /// The next change, waiting at most so long; none in that time is `None`.
    /// Threads that wait at once get one change each.
    pub fn next_within(&self, timeout: Duration) -> Option<Result<Change, Error>> {
        self.next_until(now() + Span::from(timeout))
    }

    fn next_until(&self, until: Time) -> Option<Result<Change, Error>> {
        let (owner, id) = (&self.region.owner, self.id);
        let began = now();
        let (state, found) =
            owner.wait(owner.state(), Interest::Watch(id), until, |state: &mut State| {
                if let Some(news) = state.session.next_news(now(), id) {
                    return Some(Ok(news));
                }
                if let Some(refusal) = state.session.over() {
                    return Some(Err(Some(refusal.clone())));
                }
                let at = now();
                let patience = state.session.patience();
                let is_away = state.session.away(at).is_some_and(|span| span >= patience);
                (is_away && at.since(began) >= patience).then_some(Err(None))
            });
        // That the news were taken is told.
        let state = owner.send(state);
        let node = state.node.to_string();
        drop(state);
        let change = |news| match news {
            News::Page(page, version) => Change::Page { page: page.0, version },
            News::Resync => Change::Resync,
        };
        match found? {
            Ok(news) => Some(Ok(change(news))),
            Err(Some(refusal)) => Some(Err(self.region.owner.refused(&node, refusal))),
            Err(None) => Some(Err(self.region.owner.away())),
        }
    }
}

impl Iterator for &Watch {
    type Item = Result<Change, Error>;

    /// The same as that of a watch of one's own, for threads that share it.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Time::NEVER)
    }
}

impl Iterator for Watch {
    type Item = Result<Change, Error>;

    /// Waits for the next change. An error says that the region is gone, or that the node has been away
    /// for longer than the region's patience; the watch goes on when it is back.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Time::NEVER)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let owner = &self.region.owner;
        let mut state = owner.state();
        state.session.unwatch(now(), self.id);
        drop(owner.send_soon(state, now()));
    }
}
