//! The fixed parts of an image, to the byte. All numbers are little-endian.
//!
//! ```text
//! image      preamble | section ... | index | end
//! preamble   magic 8 | version u16 | 0 6 | id u64 | sum u64
//! section    head 32 | front | sum u64 | body | sum u64          the last two only with a body
//! head       kind u8 | codec u8 | 0 2 | number u32 | front u32 | 0 4 | body u64 | sum u64
//! index      a section of kind 0xff without a front; its body is one entry for each section
//! entry      offset u64 | kind u8 | codec u8 | 0 2 | front u32 | body u64 | sum u64 | sum u64
//! end        magic 8 | id u64 | index u64 | length u64 | sum u64
//! ```
//!
//! A sum is XXH3, 64 bits: it finds damage, at a fifth of the price of BLAKE3. Its seed is the image's
//! id and the section's number, so that a section of another image, or one at another place, does not
//! fit. Who changes an image on purpose can change its sums as well: images come over TLS, or
//! from a file of one's own.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::error::{Error, Kind, Location, Part};

/// A first byte that is no text, a name, and both ends of a line: what copies as text would change.
pub(super) const MAGIC: [u8; 8] = *b"\x89FCIM\r\n\x1a";
pub(super) const END_MAGIC: [u8; 8] = *b"\x89FCIMEND";
pub const VERSION: u16 = 1;

pub(super) const PREAMBLE: usize = 32;
pub(super) const HEAD: usize = 32;
pub(super) const ENTRY: usize = 40;
pub(super) const END: usize = 40;
pub(super) const SUM: usize = 8;

/// The kind of the index.
pub(super) const INDEX: u8 = 0xff;

/// Names an image, so that its parts are not taken for another's: a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageId(pub u64);

/// What a section says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) codec: u8,
    pub(super) number: u32,
    pub(super) front: u32,
    pub(super) body: u64,
}

/// Where a section is, and what its bytes sum up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of its head, from the beginning of the image.
    pub offset: u64,
    pub kind: Kind,
    pub front: u32,
    pub body: u64,
    pub(super) front_sum: u64,
    /// 0 without a body.
    pub(super) body_sum: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) id: ImageId,
    pub(super) index: u64,
    pub(super) length: u64,
}

impl ImageId {
    fn seed(self, number: u32) -> u64 {
        self.0.wrapping_add(u64::from(number))
    }

    pub(super) fn sum(self, number: u32, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed(number))
    }

    pub(super) fn running_sum(self, number: u32) -> Xxh3 {
        Xxh3::with_seed(self.seed(number))
    }
}

pub(super) fn preamble(id: ImageId) -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.0.to_le_bytes());
    let sum = xxh3_64_with_seed(&bytes[..24], 0);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

pub(super) fn read_preamble(bytes: &[u8; PREAMBLE]) -> Result<ImageId, Error> {
    let place = Location { part: Part::Preamble, offset: 0 };
    if bytes[..8] != MAGIC {
        return Err(Error::Foreign);
    }
    if word(bytes, 24) != xxh3_64_with_seed(&bytes[..24], 0) {
        return Err(Error::Damaged(place));
    }
    let found = u16::from_le_bytes([bytes[8], bytes[9]]);
    if found != VERSION {
        return Err(Error::Version { found, known: VERSION });
    }
    if bytes[10..16] != [0; 6] {
        return Err(Error::Refused { place, why: "it asks for something that this build lacks" });
    }
    Ok(ImageId(word(bytes, 16)))
}

impl Head {
    pub(super) fn encode(&self, id: ImageId) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[0] = self.kind;
        bytes[1] = self.codec;
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.front.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.body.to_le_bytes());
        let sum = id.sum(self.number, &bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The head of section `number`; that of another one has another sum.
    pub(super) fn read(
        bytes: &[u8; HEAD],
        id: ImageId,
        number: u32,
        at: u64,
    ) -> Result<Self, Error> {
        let place = Location { part: Part::Head(number), offset: at };
        if word(bytes, 24) != id.sum(number, &bytes[..24]) {
            return Err(Error::Damaged(place));
        }
        let refused = |why| Err(Error::Refused { place, why });
        if bytes[2..4] != [0; 2] || bytes[12..16] != [0; 4] || half(bytes, 4) != number {
            return refused("its head is not what any version writes");
        }
        match bytes[1] {
            RAW => {}
            LZ4 => return refused("it is compressed with LZ4, which this build does not read"),
            ZSTD => return refused("it is compressed with zstd, which this build does not read"),
            _ => return refused("it is compressed in a way that this build does not know"),
        }
        Ok(Self {
            kind: bytes[0],
            codec: bytes[1],
            number,
            front: half(bytes, 8),
            body: word(bytes, 16),
        })
    }
}

/// The codecs of bodys. Only the first is written and read; the numbers of the others are taken.
pub(super) const RAW: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8] = number_of(self.kind);
        bytes[9] = RAW;
        bytes[12..16].copy_from_slice(&self.front.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.body.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.front_sum.to_le_bytes());
        bytes[32..].copy_from_slice(&self.body_sum.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8; ENTRY]) -> Option<Self> {
        let entry = Self {
            offset: word(bytes, 0),
            kind: kind_of(bytes[8])?,
            front: half(bytes, 12),
            body: word(bytes, 16),
            front_sum: word(bytes, 24),
            body_sum: word(bytes, 32),
        };
        (entry.encode() == *bytes).then_some(entry)
    }
}

impl End {
    pub(super) fn encode(&self) -> [u8; END] {
        let mut bytes = [0; END];
        bytes[..8].copy_from_slice(&END_MAGIC);
        bytes[8..16].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.index.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        let sum = self.id.sum(0, &bytes[..32]);
        bytes[32..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8; END]) -> Option<Self> {
        let end =
            Self { id: ImageId(word(bytes, 8)), index: word(bytes, 16), length: word(bytes, 24) };
        (end.encode() == *bytes).then_some(end)
    }
}

const KINDS: [(u8, Kind); 9] = [
    (1, Kind::Host),
    (2, Kind::Process),
    (3, Kind::Thread),
    (4, Kind::Mappings),
    (5, Kind::Descriptors),
    (6, Kind::File),
    (7, Kind::Pages),
    (8, Kind::Placed),
    (9, Kind::Upon),
];

pub(super) fn kind_of(number: u8) -> Option<Kind> {
    KINDS.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
}

pub(super) fn number_of(kind: Kind) -> u8 {
    match kind {
        Kind::Host => 1,
        Kind::Process => 2,
        Kind::Thread => 3,
        Kind::Mappings => 4,
        Kind::Descriptors => 5,
        Kind::File => 6,
        Kind::Pages => 7,
        Kind::Placed => 8,
        Kind::Upon => 9,
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    let mut half = [0; 4];
    half.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(half)
}
