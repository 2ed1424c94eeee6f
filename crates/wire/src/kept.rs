//! What is kept of a region where it outlives its node: items under keys, on a disk or in etcd.
//!
//! ```text
//! key                              value
//!   r                                checksum | Region         what it is; never changes
//!   h                                checksum | Head           where it stands; in every commit
//!   p | page u64 BE                  checksum | version u64 LE | bytes
//!   o | session u64 BE | request     checksum | owner, answer
//! ```
//!
//! A checksum covers the region, the key and the rest of the value, so no value is taken for another
//! one's. What no checksum of one value can tell, that an older value has come back or that one is
//! gone, is told by the head: it has the sum of the *marks* of all items, each made from a key and
//! its version. A store that lost, kept or revived anything else than it should has another sum.
//!
//! Elsewhere: who keeps it (crate `vault`).

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::name::Name;
use crate::region::{Answer, Create, PageNo, RegionId, SessionId, Version};

/// Bytes of a `HighWater` in a file: one sector, so that no power cut tears it.
pub const HIGH_WATER: usize = 512;

const CHECKSUM: usize = 8;
/// The region record is found by its name, before its number is known.
pub const ANY: RegionId = RegionId(0);

/// What a region is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    pub id: RegionId,
    pub owner: Name,
    pub create: Create,
}

/// Where a region stands after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Raised whenever the region is opened.
    pub epoch: u64,
    pub sequence: u64,
    pub pages: u64,
    /// Pages and outcomes that are kept, and the sum of their marks.
    pub items: u64,
    pub sum: u128,
}

/// What became of a request, so that it is not carried out twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub owner: Name,
    pub answer: Answer,
}

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Region,
    Head,
    Page(PageNo),
    Outcome(SessionId, u64),
}

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Region(Region),
    Head(Head),
    Page(PageNo, Version, Bytes),
    Outcome(SessionId, u64, Outcome),
}

/// How far a region has surely come: beside a store, and written after it. A store that is behind has
/// lost what was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    pub name: Name,
    pub id: RegionId,
    pub stage: Stage,
    pub epoch: u64,
    pub sequence: u64,
}

/// What is going on with a region in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It may be in the store, or not yet.
    Making,
    There,
    /// It may be in the store still.
    Leaving,
}

/// These bytes are not what was kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its checksum is not that of its bytes")]
pub struct Damaged;

impl Key {
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Region => vec![b'r'],
            Self::Head => vec![b'h'],
            Self::Page(page) => [b"p".as_slice(), &page.0.to_be_bytes()].concat(),
            Self::Outcome(session, request) => {
                [b"o".as_slice(), &session.0.to_be_bytes(), &request.to_be_bytes()].concat()
            }
        }
    }

    /// The key that has these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let word = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).map_err(|_| Damaged);
        match bytes {
            b"r" => Ok(Self::Region),
            b"h" => Ok(Self::Head),
            [b'p', page @ ..] => Ok(Self::Page(PageNo(word(page)?))),
            [b'o', rest @ ..] if rest.len() == 16 => {
                Ok(Self::Outcome(SessionId(word(&rest[..8])?), word(&rest[8..])?))
            }
            _ => Err(Damaged),
        }
    }

    /// What an item of this key and version adds to the sum of its region's head. Outcomes have no
    /// versions; 0 stands for theirs.
    pub fn mark(self, version: Version) -> u128 {
        xxh3_128_with_seed(&self.to_bytes(), version.0)
    }
}

impl Item {
    pub fn key(&self) -> Key {
        match self {
            Self::Region(_) => Key::Region,
            Self::Head(_) => Key::Head,
            Self::Page(page, ..) => Key::Page(*page),
            Self::Outcome(session, request, _) => Key::Outcome(*session, *request),
        }
    }

    /// The value to keep under `key`.
    pub fn encode(&self, region: RegionId) -> Vec<u8> {
        let key = self.key().to_bytes();
        match self {
            Self::Region(made) => seal(ANY, &key, &head(made), &[]),
            Self::Head(at) => seal(region, &key, &head(at), &[]),
            Self::Page(_, version, bytes) => seal(region, &key, &version.0.to_le_bytes(), bytes),
            Self::Outcome(.., outcome) => seal(region, &key, &head(outcome), &[]),
        }
    }

    /// What was kept under a key. The bytes of a page are a slice of `value`.
    pub fn decode(region: RegionId, key: &[u8], value: &Bytes) -> Result<Self, Damaged> {
        let named = Key::from_bytes(key)?;
        let region = if named == Key::Region { ANY } else { region };
        let rest = unseal(region, key, value)?;
        match named {
            Key::Region => parse(rest).map(Self::Region),
            Key::Head => parse(rest).map(Self::Head),
            Key::Outcome(session, request) => Ok(Self::Outcome(session, request, parse(rest)?)),
            Key::Page(page) => {
                let (version, bytes) = rest.split_first_chunk::<8>().ok_or(Damaged)?;
                let version = Version(u64::from_le_bytes(*version));
                Ok(Self::Page(page, version, value.slice_ref(bytes)))
            }
        }
    }
}

impl HighWater {
    pub fn encode(&self) -> [u8; HIGH_WATER] {
        let mut bytes = [0; HIGH_WATER];
        let sealed = seal(ANY, &[], &head(self), &[]);
        let length = u16::try_from(sealed.len()).expect("a name and four numbers");
        bytes[..2].copy_from_slice(&length.to_le_bytes());
        bytes[2..2 + sealed.len()].copy_from_slice(&sealed);
        bytes
    }

    /// Nothing but what `encode` made, to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(Damaged)?;
        let sealed = rest.get(..usize::from(u16::from_le_bytes(*length))).ok_or(Damaged)?;
        let water: Self = parse(unseal(ANY, &[], sealed)?)?;
        if water.encode().as_slice() == bytes { Ok(water) } else { Err(Damaged) }
    }
}

fn head(value: &impl Serialize) -> Vec<u8> {
    match postcard::to_stdvec(value) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("these shapes have no values that cannot be written: {error}"),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Damaged),
    }
}

fn checksum(region: RegionId, key: &[u8], rest: &[u8]) -> [u8; CHECKSUM] {
    let place = xxh3_64_with_seed(key, region.0);
    xxh3_64_with_seed(rest, place).to_le_bytes()
}

/// A value with the right checksum, whatever it says.
pub fn seal(region: RegionId, key: &[u8], head: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(CHECKSUM + head.len() + bytes.len());
    sealed.extend_from_slice(&[0; CHECKSUM]);
    sealed.extend_from_slice(head);
    sealed.extend_from_slice(bytes);
    let sum = checksum(region, key, &sealed[CHECKSUM..]);
    sealed[..CHECKSUM].copy_from_slice(&sum);
    sealed
}

fn unseal<'a>(region: RegionId, key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Damaged> {
    let (sum, rest) = sealed.split_first_chunk::<CHECKSUM>().ok_or(Damaged)?;
    if *sum == checksum(region, key, rest) { Ok(rest) } else { Err(Damaged) }
}

#[cfg(test)]
mod tests;
