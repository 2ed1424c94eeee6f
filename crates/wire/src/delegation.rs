//! What a copy of a client is handed on so that it can link to the cluster by itself: the first bytes of its
//! standard input, which nobody else reads.
//!
//! ```text
//!   length, 4 bytes, little-endian | Delegation
//! ```
//!
//! Elsewhere: how standard input is carried (`visit`), who signs (`transport`).

use serde::{Deserialize, Serialize};

use crate::limits::DELEGATION_MAX;

/// Bytes of the length.
pub const LENGTH: usize = 4;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delegation {
    /// A key of its own, and who says whose it is; all of it in DER.
    Given { certificate: Vec<u8>, authority: Vec<u8>, key: Vec<u8> },
    /// Nothing, for this reason: `what; next step`.
    Withheld { reason: String },
}

/// Bytes are no delegation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it has {length} bytes, and may have {DELEGATION_MAX}")]
    TooLong { length: usize },
    #[error("it cannot be read: {reason}")]
    Garbled { reason: String },
}

impl std::fmt::Debug for Delegation {
    /// A key is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given { .. } => f.write_str("Given"),
            Self::Withheld { reason } => f.debug_tuple("Withheld").field(reason).finish(),
        }
    }
}

impl Delegation {
    pub fn encode(&self) -> Result<Vec<u8>, Unreadable> {
        let body = postcard::to_stdvec(self).map_err(garbled)?;
        let length = checked(body.len())?;
        let mut bytes = Vec::with_capacity(LENGTH + body.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// How many bytes follow these.
    pub fn length(front: [u8; LENGTH]) -> Result<usize, Unreadable> {
        let length = u32::from_le_bytes(front);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        checked(length).map(|_| length)
    }

    /// What follows the length, and no more.
    pub fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        checked(body.len())?;
        match postcard::take_from_bytes(body) {
            Ok((delegation, [])) => Ok(delegation),
            Ok(_) => Err(Unreadable::Garbled { reason: "there is more of it".to_owned() }),
            Err(error) => Err(garbled(error)),
        }
    }
}

fn checked(length: usize) -> Result<u32, Unreadable> {
    match u32::try_from(length) {
        Ok(fits) if length <= DELEGATION_MAX => Ok(fits),
        _ => Err(Unreadable::TooLong { length }),
    }
}

fn garbled(error: postcard::Error) -> Unreadable {
    Unreadable::Garbled { reason: error.to_string() }
}

#[cfg(test)]
mod tests;
