//! Watches: callers' own, and those that keep cached pages fresh.

use std::collections::VecDeque;

use bytes::Bytes;
use wire::region::{Answer, Changes, PageNo, Refusal, Request};
use wire::units::Time;

use super::{Life, News, Session, Watch, WatchId, Whose};

/// Watches.
impl Session {
    /// To be told of commits to these pages. It is in force once `is_watching` says so.
    pub fn watch(&mut self, now: Time, first: PageNo, count: u64) -> WatchId {
        self.begin_watch(now, first, count, None)
    }

    pub(super) fn begin_watch(
        &mut self,
        now: Time,
        first: PageNo,
        count: u64,
        cached: Option<PageNo>,
    ) -> WatchId {
        let id = WatchId(self.next_watch);
        self.next_watch += 1;
        let watch = Watch {
            first,
            count,
            number: 0,
            sequence: None,
            since: now,
            news: VecDeque::new(),
            is_unseen: false,
            told: Time(0),
            cached,
            refused: None,
        };
        self.watches.insert(id, watch);
        self.ask_to_watch(now, id);
        id
    }

    pub(super) fn ask_to_watch(&mut self, now: Time, id: WatchId) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let (first, count, from) = (watch.first, watch.count, watch.sequence);
        let request = Request::Watch { first, count, from };
        let number = self.ask_for(now, request, Bytes::new(), Whose::Watch(id));
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.number = number;
            watch.is_unseen = false;
        }
        self.watch_numbers.insert(number, id);
    }

    pub(super) fn watching(&mut self, id: WatchId, answer: Answer) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        match answer {
            Answer::Watching { sequence } => {
                watch.sequence = Some(watch.sequence.unwrap_or(0).max(sequence));
            }
            Answer::Refused(refusal) => watch.refused = Some(refusal),
            _ => {}
        }
    }

    /// Whether commits from now on are told; a refusal if they never will be.
    pub fn is_watching(&self, id: WatchId) -> Result<bool, Refusal> {
        match (self.watches.get(&id), &self.life) {
            (_, Life::Over(refusal)) => Err(refusal.clone()),
            (Some(Watch { refused: Some(refusal), .. }), _) => Err(refusal.clone()),
            (Some(watch), _) => Ok(watch.sequence.is_some()),
            (None, _) => Ok(false),
        }
    }

    /// The next news of a watch. When the last is taken, the home may send more.
    pub fn next_news(&mut self, now: Time, id: WatchId) -> Option<News> {
        let watch = self.watches.get_mut(&id)?;
        let news = watch.news.pop_front();
        if watch.news.is_empty() && std::mem::take(&mut watch.is_unseen) {
            let watch = watch.number;
            self.tell(now, Request::Seen { watch });
        }
        news
    }

    /// There are news that were not taken.
    pub fn has_news(&self, id: WatchId) -> bool {
        self.watches.get(&id).is_some_and(|watch| !watch.news.is_empty())
    }

    pub fn unwatch(&mut self, now: Time, id: WatchId) {
        let Some(watch) = self.watches.remove(&id) else { return };
        self.watch_numbers.remove(&watch.number);
        if self.is_up() && watch.refused.is_none() {
            let watch = watch.number;
            self.ask_for(now, Request::Unwatch { watch }, Bytes::new(), Whose::Nobody);
        }
    }

    pub(super) fn changed(&mut self, now: Time, number: u64, sequence: u64, what: Changes) {
        let Some(&id) = self.watch_numbers.get(&number) else { return };
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.sequence = Some(watch.sequence.unwrap_or(0).max(sequence));
        watch.told = now;
        if let Some(page) = watch.cached {
            match what {
                Changes::Pages(pages) => {
                    pages.iter().for_each(|(page, version)| self.cache.told(*page, *version));
                }
                Changes::Resync => {
                    watch.since = now;
                    self.cache.doubt(page);
                }
            }
            return self.tell(now, Request::Seen { watch: number });
        }
        watch.is_unseen = true;
        match what {
            Changes::Pages(pages) => {
                let news = pages.into_iter().map(|(page, version)| News::Page(page, version));
                watch.news.extend(news);
            }
            Changes::Resync => watch.news.push_back(News::Resync),
        }
    }
}
