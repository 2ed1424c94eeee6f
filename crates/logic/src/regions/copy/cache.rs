//! Pages that were read, and since when it is not known whether they are still the latest.
//!
//! *Verified* is the moment at which the request was sent whose answer said that these are the latest
//! bytes: they were the latest at some later moment, so a caller who began before may have them.

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;
use wire::limits::CACHE_HELD_MAX;
use wire::region::{PageNo, Version};
use wire::units::{Span, Time};

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) version: Version,
    pub(super) bytes: Bytes,
    pub(super) verified: Time,
    /// The highest version that anybody has told of: above `version`, the bytes are old.
    told: Version,
    /// When it was last read without asking, and how old it might have been.
    pub(super) used: Time,
    pub(super) max_age: Span,
}

impl Entry {
    fn is_latest(&self) -> bool {
        self.told <= self.version
    }
}

/// A bounded number of bytes, in two halves: what is used moves to the young one, and when that is full
/// it becomes the old one and what was there is forgotten.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: FxHashMap<PageNo, Entry>,
    old: FxHashMap<PageNo, Entry>,
    /// Of the young half.
    held: usize,
}

impl Cache {
    pub(super) fn get(&mut self, page: PageNo) -> Option<&mut Entry> {
        if !self.old.is_empty() && !self.young.contains_key(&page) {
            let entry = self.old.remove(&page)?;
            self.insert(page, entry);
        }
        self.young.get_mut(&page)
    }

    fn insert(&mut self, page: PageNo, entry: Entry) {
        if self.held >= CACHE_HELD_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
        }
        self.held += entry.bytes.len();
        self.young.insert(page, entry);
    }

    /// The version whose bytes are here.
    pub(super) fn version(&mut self, page: PageNo) -> Version {
        self.get(page).map_or(Version(0), |entry| entry.version)
    }

    /// The bytes, if they were the latest at some moment after `since`.
    pub(super) fn fresh(&mut self, page: PageNo, since: Time) -> Option<&mut Entry> {
        self.get(page).filter(|entry| entry.verified >= since && entry.is_latest())
    }

    /// An answer to what was asked at `asked`: these are the bytes of this version.
    pub(super) fn learn(&mut self, page: PageNo, version: Version, bytes: Bytes, asked: Time) {
        match self.get(page) {
            Some(entry) if entry.version > version => {}
            Some(entry) => {
                entry.version = version;
                entry.bytes = bytes;
                entry.verified = entry.verified.max(asked);
            }
            None => {
                let (told, used) = (Version(0), Time(0));
                let max_age = Span(u64::MAX);
                let verified = asked;
                self.insert(page, Entry { version, bytes, verified, told, used, max_age });
            }
        }
    }

    /// What is here is still the latest, as of `asked`.
    pub(super) fn verify(&mut self, page: PageNo, version: Version, asked: Time) {
        if let Some(entry) = self.get(page).filter(|entry| entry.version == version) {
            entry.verified = entry.verified.max(asked);
        }
    }

    /// Somebody told of a version.
    pub(super) fn told(&mut self, page: PageNo, version: Version) {
        if let Some(entry) = self.get(page) {
            entry.told = entry.told.max(version);
        }
    }

    /// It may have changed.
    pub(super) fn doubt(&mut self, page: PageNo) {
        if let Some(entry) = self.get(page) {
            entry.verified = Time(0);
        }
    }

    /// A commit of ours: where the version before it is known, so are the new bytes.
    pub(super) fn committed<'a>(
        &mut self,
        page: PageNo,
        base: Option<Version>,
        version: Version,
        writes: impl Iterator<Item = (u32, &'a [u8])>,
        asked: Time,
    ) {
        let Some(entry) = self.get(page) else { return };
        if version <= entry.version {
            return;
        }
        entry.told = entry.told.max(version);
        if base != Some(entry.version) {
            return;
        }
        let mut bytes = BytesMut::from(&entry.bytes[..]);
        for (offset, written) in writes {
            let start = offset as usize;
            match bytes.get_mut(start..start + written.len()) {
                Some(place) => place.copy_from_slice(written),
                None => return,
            }
        }
        entry.bytes = bytes.freeze();
        entry.version = version;
        entry.verified = entry.verified.max(asked);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
