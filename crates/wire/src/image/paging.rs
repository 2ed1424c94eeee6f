//! Pages that an image left with its sender, as they follow it.
//!
//! ```text
//!   where the copy runs                     where the pages are
//!                        ◀── pieces ──────  one connection: all of them, and the end
//!     a page is missing  ──  request ─────▶ another: a page that is waited for
//!                        ◀── piece ───────
//!                         ── DONE ────────▶
//! ```
//!
//! Two connections, since who waits for a page must not wait for those that nobody waits for.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::layout::ImageId;
use crate::limits::IMAGE_CHUNK_MAX;

/// Bytes of a request and of a piece's head.
pub const REQUEST: usize = 16;
pub const HEAD: usize = 24;

/// In the place of a request: all is there, or nobody needs it any more. Nothing follows.
pub const DONE: [u8; REQUEST] = [0; REQUEST];

/// The smallest page of any host: what addresses and lengths are multiples of.
const PAGE: u64 = 4096;

/// Bytes go packed if at least this part of them is saved: less is not worth the other side's work.
const WORTH: usize = 8;

/// Memory that somebody waits for. Addresses are those of the process when it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub address: u64,
    pub len: u32,
}

/// What is told of a piece of memory before its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes follow, at most `IMAGE_CHUNK_MAX`.
    Bytes { address: u64, len: u32, sum: u64 },
    /// So many packed bytes follow, fewer than they are of memory ([`unpack`]). The sum is of the memory.
    Packed { address: u64, len: u32, packed: u32, sum: u64 },
    /// All of them are 0.
    Zero { address: u64, len: u32 },
    /// That was all: whatever was not told of is 0.
    End,
}

impl Request {
    pub fn encode(self) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// `None` for what nobody asks for.
    pub fn decode(bytes: &[u8; REQUEST]) -> Option<Self> {
        let request = Self { address: word(bytes, 0), len: half(bytes, 8) };
        (is_memory(request.address, request.len) && half(bytes, 12) == 0).then_some(request)
    }
}

impl Piece {
    /// Of these bytes, which are to follow its head.
    pub fn of(id: ImageId, address: u64, bytes: &[u8]) -> Self {
        Self::Bytes { address, len: bytes.len() as u32, sum: sum(id, address, bytes) }
    }

    pub fn encode(self) -> [u8; HEAD] {
        let (kind, len, address, sum) = match self {
            Self::Bytes { address, len, sum } => (1_u32, len, address, sum),
            Self::Zero { address, len } => (2, len, address, 0),
            Self::End => (3, 0, 0, 0),
            Self::Packed { address, len, packed, sum } => (4 | packed << 8, len, address, sum),
        };
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        bytes[8..16].copy_from_slice(&address.to_le_bytes());
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` for what no sender sends.
    pub fn decode(bytes: &[u8; HEAD]) -> Option<Self> {
        let (kind, len, address, sum) =
            (half(bytes, 0), half(bytes, 4), word(bytes, 8), word(bytes, 16));
        match kind {
            1 if is_memory(address, len) && len as usize <= IMAGE_CHUNK_MAX => {
                Some(Self::Bytes { address, len, sum })
            }
            2 if is_memory(address, len) && sum == 0 => Some(Self::Zero { address, len }),
            3 if (len, address, sum) == (0, 0, 0) => Some(Self::End),
            _ => {
                let packed = kind >> 8;
                let is_sent = kind & 0xff == 4 && is_memory(address, len) && packed > 0;
                let is_bounded = packed < len && len as usize <= IMAGE_CHUNK_MAX;
                (is_sent && is_bounded).then_some(Self::Packed { address, len, packed, sum })
            }
        }
    }
}

/// The sum that goes with bytes of memory at an address: of one image, and of no other place in it.
pub fn sum(id: ImageId, address: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, id.0 ^ address)
}

/// Packs bytes of memory, if that makes them clearly fewer; how many they are then.
pub fn pack(bytes: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    let most = get_maximum_output_size(bytes.len());
    if into.len() < most {
        into.resize(most, 0);
    }
    let packed = compress_into(bytes, into).ok()?;
    (packed < bytes.len() - bytes.len() / WORTH).then_some(packed)
}

/// Fills memory with what was packed. `false`: it is not exactly so much, or nothing that was packed.
pub fn unpack(packed: &[u8], into: &mut [u8]) -> bool {
    decompress_into(packed, into).is_ok_and(|len| len == into.len())
}

fn is_memory(address: u64, len: u32) -> bool {
    let whole = address.is_multiple_of(PAGE) && u64::from(len).is_multiple_of(PAGE);
    whole && len > 0 && address.checked_add(len.into()).is_some()
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

#[cfg(test)]
mod tests;
