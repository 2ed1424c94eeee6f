//! What a call answers that a copy of a process ran: it comes back among what the copy writes to its standard
//! output, behind a mark that both drew before they parted.
//!
//! ```text
//!   what the call wrote itself ... | mark, 16 bytes | length, 8 bytes | Answer
//! ```
//!
//! Elsewhere: how standard output is carried (`visit`).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::ANSWER_MAX;

/// Bytes that stand in front of the answer and nowhere else: nobody can guess them.
pub type Mark = [u8; 16];

/// The mark is followed by the length, in little-endian order.
const LENGTH: usize = 8;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It returned this, as `value` writes it.
    Value(Vec<u8>),
    /// It panicked with these words.
    Panicked(String),
}

/// Bytes are no answer, or not of the value that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It ended before.
    #[error("it ended before its answer had come")]
    Incomplete,
    /// It is longer than anybody takes.
    #[error("its answer has {length} bytes, and may have {ANSWER_MAX}")]
    TooLong { length: u64 },
    /// The bytes make no sense.
    #[error("its answer cannot be read: {reason}")]
    Garbled { reason: String },
}

/// Any value as bytes.
pub fn value<T: Serialize>(value: &T) -> Result<Vec<u8>, Unreadable> {
    postcard::to_stdvec(value).map_err(garbled)
}

/// The value that these bytes are of.
pub fn value_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(Unreadable::Garbled { reason: "there is more of it".to_owned() }),
        Err(error) => Err(garbled(error)),
    }
}

fn garbled(error: postcard::Error) -> Unreadable {
    Unreadable::Garbled { reason: error.to_string() }
}

impl Answer {
    /// With the mark in front.
    pub fn encode(&self, mark: &Mark) -> Result<Vec<u8>, Unreadable> {
        let body = value(self)?;
        let length = body.len() as u64;
        if length > ANSWER_MAX {
            return Err(Unreadable::TooLong { length });
        }
        Ok([&mark[..], &length.to_le_bytes(), &body].concat())
    }
}

/// Finds the answer in what comes.
#[derive(Clone, Debug)]
pub struct Finder {
    mark: Mark,
    /// The beginning of what may become the mark; once it is found, what follows it.
    held: Vec<u8>,
    is_found: bool,
}

impl Finder {
    /// One that looks for this mark.
    pub fn new(mark: Mark) -> Self {
        Self { mark, held: Vec::new(), is_found: false }
    }

    /// Takes what came, and returns what of it the call wrote itself.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        self.held.extend_from_slice(bytes);
        if self.is_found {
            return self.check().map(|()| Vec::new());
        }
        let at = self.held.windows(self.mark.len()).position(|window| window == self.mark);
        if let Some(at) = at {
            let rest = self.held.split_off(at + self.mark.len());
            let mut own = std::mem::replace(&mut self.held, rest);
            own.truncate(at);
            self.is_found = true;
            return self.check().map(|()| own);
        }
        // All but the longest end that the mark begins with.
        let longest = self.held.len().min(self.mark.len() - 1);
        let kept = (0..=longest)
            .rev()
            .find(|&kept| self.held[self.held.len() - kept..] == self.mark[..kept]);
        let rest = self.held.split_off(self.held.len() - kept.unwrap_or(0));
        Ok(std::mem::replace(&mut self.held, rest))
    }

    /// No more comes than that: memory is not held for it.
    fn check(&self) -> Result<(), Unreadable> {
        let Some(length) = self.length() else { return Ok(()) };
        let has = (self.held.len() - LENGTH) as u64;
        match length {
            length if length > ANSWER_MAX => Err(Unreadable::TooLong { length }),
            length if has > length => {
                Err(Unreadable::Garbled { reason: "there is more of it".to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn length(&self) -> Option<u64> {
        self.held.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// All has come. What was written itself and looked like a mark, and `None` if there was none.
    pub fn finish(self) -> (Vec<u8>, Option<Result<Answer, Unreadable>>) {
        if !self.is_found {
            return (self.held, None);
        }
        let answer = match self.length() {
            Some(length) if length == (self.held.len() - LENGTH) as u64 => {
                value_of(&self.held[LENGTH..])
            }
            Some(_) | None => Err(Unreadable::Incomplete),
        };
        (Vec::new(), Some(answer))
    }
}

#[cfg(test)]
mod tests;
