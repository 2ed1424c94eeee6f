//! What clients say of their jobs, kept for those who ask: queues are the clients' own, and a node
//! would know nothing of them otherwise.
//!
//! Elsewhere: what a client says, and when (`dispatch`).

use std::collections::{BTreeMap, VecDeque};

use wire::job::{Heard, Job, Jobs};
use wire::limits::{JOBS_KEPT, JOBS_OF_LINK_MAX, JOBS_TOLD_MAX, PROGRAM_NAME_MAX};
use wire::name::{JobId, Name};
use wire::units::Time;

use crate::LinkId;

#[derive(Debug)]
struct Word {
    job: Job,
    owner: Name,
    at: Time,
}

/// The latest word on each job.
#[derive(Debug, Default)]
pub struct Hearsay {
    /// Of clients that are here: at most `JOBS_OF_LINK_MAX` for each link.
    live: BTreeMap<(LinkId, JobId), Word>,
    /// Of jobs whose client is gone, or has had many since; the oldest first.
    past: VecDeque<Word>,
}

/// A client said what it may not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job's name of {0} bytes; at most {PROGRAM_NAME_MAX}")]
pub struct TooLong(usize);

impl Hearsay {
    /// A client says how far a job is. It may have said so over another link before.
    pub fn hear(&mut self, now: Time, link: LinkId, owner: &Name, job: Job) -> Result<(), TooLong> {
        if job.name.len() > PROGRAM_NAME_MAX {
            return Err(TooLong(job.name.len()));
        }
        let id = job.id;
        // Another owner's job of the same number is another job.
        self.past.retain(|word| word.job.id != id || word.owner != *owner);
        self.live.insert((link, id), Word { job, owner: owner.clone(), at: now });
        if self.of_link(link).count() > JOBS_OF_LINK_MAX
            && let Some((_, oldest)) = self.of_link(link).map(|(key, word)| (word.at, *key)).min()
            && let Some(word) = self.live.remove(&oldest)
        {
            self.pass(word);
        }
        Ok(())
    }

    fn of_link(&self, link: LinkId) -> impl Iterator<Item = (&(LinkId, JobId), &Word)> {
        self.live.range((link, JobId(0))..=(link, JobId(u64::MAX)))
    }

    /// Its client may come back by another link, or not.
    pub fn link_down(&mut self, link: LinkId) {
        let all = (link, JobId(0))..=(link, JobId(u64::MAX));
        let gone: Vec<Word> =
            self.live.extract_if(all, |_, _| true).map(|(_, word)| word).collect();
        gone.into_iter().for_each(|word| self.pass(word));
    }

    /// Only the latest of these are kept.
    fn pass(&mut self, word: Word) {
        if self.past.len() == JOBS_KEPT {
            self.past.pop_front();
        }
        self.past.push_back(word);
    }

    /// Every word that somebody may hear, those of clients that are here first. `None` hears all.
    fn words(&self, owner: Option<&Name>) -> impl Iterator<Item = (&Word, bool)> {
        let live = self.live.values().map(|word| (word, true));
        let past = self.past.iter().rev().map(|word| (word, false));
        live.chain(past).filter(move |(word, _)| owner.is_none_or(|me| word.owner == *me))
    }

    pub fn find(&self, now: Time, job: JobId, owner: Option<&Name>) -> Option<Heard> {
        let found = self.words(owner).find(|(word, _)| word.job.id == job);
        found.map(|(word, attached)| heard(now, word, attached))
    }

    pub fn all(&self, now: Time, owner: Option<&Name>) -> Jobs {
        let mut words: Vec<(&Word, bool)> = self.words(owner).collect();
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.at));
        let more = words.len().saturating_sub(JOBS_TOLD_MAX) as u32;
        let told = words.into_iter().take(JOBS_TOLD_MAX);
        Jobs { jobs: told.map(|(word, attached)| heard(now, word, attached)).collect(), more }
    }
}

fn heard(now: Time, word: &Word, attached: bool) -> Heard {
    Heard { job: word.job.clone(), owner: word.owner.clone(), attached, ago: now.since(word.at) }
}

#[cfg(test)]
mod tests;
