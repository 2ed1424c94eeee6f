//! Names: of nodes and people (`Name`), of immutable bytes (`Hash`), of jobs and their tasks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// X.509 gives a common name so many bytes.
const NAME_MAX: usize = 64;

/// A name that is safe in a path, a terminal and a certificate: 1 to 64 of `[A-Za-z0-9._-]`, not
/// starting with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no name. Of the text only what can be printed, and not all: it may be a stranger's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no name: use 1 to 64 of A-Z a-z 0-9 . _ - and start with a letter, digit or _")]
pub struct NameError(pub String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = (1..=NAME_MAX).contains(&text.len()) && text.chars().all(plain);
        if fits && !text.starts_with(['.', '-']) {
            return Ok(Self(text));
        }
        Err(NameError(text.chars().take(NAME_MAX).flat_map(char::escape_default).collect()))
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The BLAKE3 hash of a blob: its only name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = HashError;
    fn from_str(text: &str) -> Result<Self, HashError> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return Err(HashError);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0]).ok_or(HashError)? << 4 | digit(pair[1]).ok_or(HashError)?;
        }
        Ok(Self(hash))
    }
}

/// A hash is written in one way.
fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

/// A text is no hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a hash is 64 digits of 0-9 a-f")]
pub struct HashError;

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// Names a job in the whole cluster: a random number that its client drew. In words it is written
/// with the digits and letters that nobody confuses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct JobId(pub u64);

/// Bits of a drawn number: seven characters, of which there are too many to meet twice.
const DRAWN_BITS: u32 = 35;
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHARACTERS: u32 = 7;
const CHARACTERS_MAX: u32 = 13;

impl JobId {
    /// A name of seven characters, from any random number.
    pub fn drawn(random: u64) -> Self {
        Self(random & ((1 << DRAWN_BITS) - 1))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; CHARACTERS_MAX as usize];
        let used = (u64::BITS - self.0.leading_zeros()).div_ceil(5).max(CHARACTERS);
        for (place, digit) in (0..used).rev().zip(&mut text) {
            *digit = DIGITS[(self.0 >> (place * 5) & 31) as usize];
        }
        f.pad(std::str::from_utf8(&text[..used as usize]).map_err(|_| fmt::Error)?)
    }
}

/// Why a text names no job and no task. Nothing of the text: it may be anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write JOB or JOB.TASK, like k3f9qx2.17")]
pub struct JobNameError;

impl FromStr for JobId {
    type Err = JobNameError;
    fn from_str(text: &str) -> Result<Self, JobNameError> {
        if text.is_empty() || text.len() > CHARACTERS_MAX as usize {
            return Err(JobNameError);
        }
        let digit = |number: u64, byte: u8| {
            let plain = match byte.to_ascii_lowercase() {
                b'o' => b'0',
                b'i' | b'l' => b'1',
                other => other,
            };
            let digit = DIGITS.iter().position(|digit| *digit == plain)?;
            number.checked_mul(32)?.checked_add(digit as u64)
        };
        text.bytes().try_fold(0, digit).map(Self).ok_or(JobNameError)
    }
}

/// Names a task in the whole cluster, in words `JOB.TASK`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TaskName {
    pub job: JobId,
    /// Its number in the job, from 1 in the order of the inputs.
    pub task: u64,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.task)
    }
}

impl FromStr for TaskName {
    type Err = JobNameError;
    fn from_str(text: &str) -> Result<Self, JobNameError> {
        let (job, task) = text.split_once('.').ok_or(JobNameError)?;
        Ok(Self { job: job.parse()?, task: task.parse().map_err(|_| JobNameError)? })
    }
}

#[cfg(test)]
mod tests;
