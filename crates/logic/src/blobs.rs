//! Knows which blobs are here, and for whom.
//!
//! To ask for a blob of somebody else's by its hash is no way to learn that it exists: `known`
//! answers only those who have uploaded the bytes themselves. The bytes are kept once all the same.
//! Elsewhere: the files (`node`'s store).

use std::collections::{BTreeMap, BTreeSet};

use wire::name::{Hash, Name};
use wire::units::Time;

#[derive(Debug)]
struct Blob {
    owners: BTreeSet<Name>,
    length: u64,
    used: Time,
}

/// The list of a node's blobs. What falls out of it is to be deleted by the driver.
#[derive(Debug)]
pub struct Blobs {
    here: BTreeMap<Hash, Blob>,
    kept: u64,
    kept_max: u64,
}

impl Blobs {
    pub fn new(kept_max: u64) -> Self {
        Self { here: BTreeMap::new(), kept: 0, kept_max }
    }

    /// Whether `owner` has uploaded this blob and it is still here.
    pub fn known(&mut self, now: Time, hash: &Hash, owner: &Name) -> bool {
        match self.here.get_mut(hash) {
            Some(blob) if blob.owners.contains(owner) => {
                blob.used = now;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The bytes arrived from `owner` and were stored. Returns the blobs that must go for it, least
    /// recently used first.
    pub fn stored(&mut self, now: Time, hash: Hash, length: u64, owner: Name) -> Vec<Hash> {
        let blob = self.here.entry(hash).or_insert_with(|| {
            self.kept += length;
            Blob { owners: BTreeSet::new(), length, used: now }
        });
        blob.owners.insert(owner);
        blob.used = now;
        let mut gone = Vec::new();
        while self.kept > self.kept_max {
            let oldest = self.here.iter().filter(|(name, _)| **name != hash);
            let Some(oldest) = oldest.min_by_key(|(_, blob)| blob.used).map(|(name, _)| *name)
            else {
                break;
            };
            if let Some(blob) = self.here.remove(&oldest) {
                self.kept -= blob.length;
            }
            gone.push(oldest);
        }
        gone
    }

    /// Its file is gone.
    pub fn lost(&mut self, hash: &Hash) {
        if let Some(blob) = self.here.remove(hash) {
            self.kept -= blob.length;
        }
    }

    /// Whether `owner` may use it already.
    pub fn is_owned(&self, hash: &Hash, owner: &Name) -> bool {
        self.here.get(hash).is_some_and(|blob| blob.owners.contains(owner))
    }

    /// Whether anybody has uploaded it.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.here.contains_key(hash)
    }

    /// How many, and how many bytes.
    pub fn sum(&self) -> (u64, u64) {
        (self.here.len() as u64, self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_no_key_to_somebody_elses_blob() {
        let (mine, yours): (Name, Name) = ("mine".parse().unwrap(), "yours".parse().unwrap());
        let mut blobs = Blobs::new(100);
        let hash = Hash::of(b"secret");
        assert!(blobs.stored(Time(1), hash, 6, mine.clone()).is_empty());
        assert!(blobs.known(Time(2), &hash, &mine));
        assert!(!blobs.known(Time(2), &hash, &yours));
        blobs.stored(Time(3), hash, 6, yours.clone());
        assert!(blobs.known(Time(4), &hash, &yours));
        assert_eq!(blobs.sum(), (1, 6));
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let me: Name = "me".parse().unwrap();
        let mut blobs = Blobs::new(10);
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Hash::of(bytes));
        blobs.stored(Time(1), a, 4, me.clone());
        blobs.stored(Time(2), b, 4, me.clone());
        assert!(blobs.known(Time(3), &a, &me));
        assert_eq!(blobs.stored(Time(4), c, 4, me.clone()), [b]);
        assert_eq!(blobs.sum(), (2, 8));
    }
}
