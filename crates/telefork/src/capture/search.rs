//! Secrets in bytes that are seen piece by piece.

use std::ops::Range;

use memchr::memmem::Finder;
use zeroize::{Zeroize, Zeroizing};

/// Looks through bytes that come piece by piece, as their addresses rise. What lies across the border of two pieces,
/// whatever they are of, is found with the second one.
pub(super) struct Search<'a> {
    finders: Vec<Finder<'a>>,
    longest: usize,
    /// There may be part of a secret in it, which nobody would find in a copy of this process.
    bytes: Zeroizing<Vec<u8>>,
    end: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(secrets: &[&'a [u8]]) -> Self {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        let longest = secrets.clone().map(|secret| secret.len()).max().unwrap_or(0);
        let finders = secrets.map(|secret| Finder::new(*secret)).collect();
        Self { finders, longest, bytes: Zeroizing::default(), end: 0 }
    }

    pub(super) fn is_for_nothing(&self) -> bool {
        self.finders.is_empty()
    }

    /// Bytes of the longest secret.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Where the next piece is to be put.
    pub(super) fn room(&mut self, at: u64, len: usize) -> &mut [u8] {
        let kept = match at == self.end {
            true => self.bytes.len().min(self.longest.saturating_sub(1)),
            false => 0,
        };
        let from = self.bytes.len() - kept;
        if self.bytes.capacity() < kept + len {
            let mut larger = Zeroizing::new(Vec::with_capacity(self.longest + len));
            larger.extend_from_slice(&self.bytes[from..]);
            self.bytes = larger;
        } else {
            self.bytes.copy_within(from.., 0);
            self.bytes[kept..].zeroize();
            self.bytes.truncate(kept);
        }
        self.bytes.resize(kept + len, 0);
        self.end = at + len as u64;
        &mut self.bytes[kept..]
    }

    /// Where the secrets are that end in it. Each is found once.
    pub(super) fn found(&mut self) -> Vec<Range<u64>> {
        let begin = self.end - self.bytes.len() as u64;
        let mut found = Vec::new();
        for finder in &self.finders {
            let len = finder.needle().len();
            found.extend(finder.find_iter(&self.bytes).map(|at| at..at + len));
        }
        found.iter().for_each(|part| self.bytes[part.clone()].fill(0));
        found.into_iter().map(|part| begin + part.start as u64..begin + part.end as u64).collect()
    }
}

#[cfg(test)]
mod tests;
