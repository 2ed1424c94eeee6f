//! Join tokens: what a person carries from a node to a machine that has no certificate yet.
//!
//! ```text
//!   farcall1-<base64url of 60 bytes>
//!   fingerprint of the authority 32 | secret 16 | role 1 | expiry, Unix seconds 8 | checksum 3
//! ```
//!
//! The fingerprint tells the newcomer which node to believe, the secret tells the node which
//! newcomer to believe. The node keeps only hashes of secrets, in a file beside its authority; a
//! secret is good once, until its expiry. All numbers are big-endian.

use crate::base64;
use crate::error::Error;
use crate::files::PrivateFolder;
use crate::identity::{Fingerprint, Role};
use rustls::crypto::{GetRandomFailed, SecureRandom};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroize;

/// How long a token is good unless the caller says otherwise.
pub const VALIDITY_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Most tokens outstanding at once in one folder.
pub const OUTSTANDING_MAX: usize = 256;

const PREFIX: &str = "farcall1-";
const FILE: &str = "tokens";
const BODY_LEN: usize = 32 + 16 + 1 + 8;
const CHECKSUM_LEN: usize = 3;

/// The one-time part of a token. It is wiped when dropped and does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// What a node keeps of it. The secret is random, so a plain hash hides it.
    fn hash(&self) -> blake3::Hash {
        blake3::hash(&self.0)
    }
}

/// A join token. `Display` writes the text that a person copies, secret included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub authority: Fingerprint,
    pub secret: Secret,
    pub role: Role,
    /// In whole seconds.
    pub expiry: SystemTime,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BODY_LEN + CHECKSUM_LEN);
        bytes.extend_from_slice(&self.authority.0);
        bytes.extend_from_slice(&self.secret.0);
        bytes.push(role_byte(self.role));
        bytes.extend_from_slice(&seconds(self.expiry).to_be_bytes());
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_LEN]);
        let mut text = base64::encode(&bytes, base64::URL);
        let result = write!(f, "{PREFIX}{text}");
        text.zeroize();
        bytes.zeroize();
        result
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadToken { why };
        let body =
            text.trim().strip_prefix(PREFIX).ok_or(bad("it does not begin with farcall1-"))?;
        if body.len() != (BODY_LEN + CHECKSUM_LEN) / 3 * 4 {
            return Err(bad("it is too short or too long: copy all of it"));
        }
        let mut bytes = base64::decode(body, base64::URL).ok_or(bad("it has a stray character"))?;
        let token = Self::from_bytes(&bytes);
        bytes.zeroize();
        token
    }
}

impl Token {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |why| Error::BadToken { why };
        let (body, checksum) = bytes.split_at(BODY_LEN);
        if blake3::hash(body).as_bytes()[..CHECKSUM_LEN] != *checksum {
            return Err(bad("a character is wrong"));
        }
        let (authority, rest) = body.split_first_chunk().ok_or(bad("it is too short"))?;
        let (secret, rest) = rest.split_first_chunk().ok_or(bad("it is too short"))?;
        let (role, expiry) = rest.split_first().ok_or(bad("it is too short"))?;
        let role = Role::ALL.into_iter().find(|known| role_byte(*known) == *role);
        let expiry = expiry.try_into().map(u64::from_be_bytes).ok().and_then(time);
        Ok(Self {
            authority: Fingerprint(*authority),
            secret: Secret(*secret),
            role: role.ok_or(bad("its role is unknown to this version"))?,
            expiry: expiry.ok_or(bad("its expiry is out of range"))?,
        })
    }
}

/// The outstanding tokens of one folder. Processes may share it: each change is made under the
/// folder's lock, so no secret is accepted twice.
#[derive(Clone, Debug)]
pub struct Tokens {
    folder: PrivateFolder,
}

/// One line of the file.
struct Outstanding {
    hash: blake3::Hash,
    role: Role,
    expiry: SystemTime,
}

impl Tokens {
    /// The tokens of a credentials folder, which must exist.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let missing = || Error::NoAuthority { folder: folder.into(), wanted: "tokens".to_owned() };
        Ok(Self { folder: PrivateFolder::open(folder)?.ok_or_else(missing)? })
    }

    /// Makes a token for one newcomer of this role.
    pub fn issue(
        &self,
        authority: Fingerprint,
        role: Role,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Token, Error> {
        let secret = Secret(random().map_err(|GetRandomFailed| Error::Tls {
            action: "draw a random secret",
            source: rustls::Error::FailedToGetRandomBytes,
        })?);
        let expiry = time(seconds(now).saturating_add(validity.as_secs()))
            .ok_or(Error::BadToken { why: "its expiry is out of range" })?;
        let locked = self.folder.lock()?;
        let mut outstanding = self.read(now)?;
        if outstanding.len() >= OUTSTANDING_MAX {
            return Err(Error::TooManyTokens { max: OUTSTANDING_MAX });
        }
        outstanding.push(Outstanding { hash: secret.hash(), role, expiry });
        locked.replace(FILE, write(&outstanding).as_bytes())?;
        Ok(Token { authority, secret, role, expiry })
    }

    /// Uses a secret up and says which role it stands for. It never works a second time.
    pub fn redeem(&self, secret: &Secret, now: SystemTime) -> Result<Role, Error> {
        let hash = secret.hash();
        let locked = self.folder.lock()?;
        // Expired ones are kept for this look, to be told apart from unknown ones.
        let mut outstanding = self.read(UNIX_EPOCH)?;
        // `blake3::Hash` compares in constant time, and every entry is compared.
        let found = outstanding.iter().enumerate().fold(None, |found, (index, entry)| {
            if entry.hash == hash { Some(index) } else { found }
        });
        let entry = outstanding.swap_remove(found.ok_or(Error::TokenUnknown)?);
        outstanding.retain(|entry| entry.expiry > now);
        locked.replace(FILE, write(&outstanding).as_bytes())?;
        if entry.expiry > now { Ok(entry.role) } else { Err(Error::TokenExpired) }
    }

    /// Reads those that expire after `now`.
    fn read(&self, now: SystemTime) -> Result<Vec<Outstanding>, Error> {
        let Some(bytes) = self.folder.read(FILE)? else { return Ok(Vec::new()) };
        let damaged = || Error::Damaged {
            path: self.folder.path().join(FILE),
            what: "a line is not `hash role expiry`",
        };
        let text = str::from_utf8(&bytes).map_err(|_| damaged())?;
        let mut outstanding = Vec::new();
        for line in text.lines() {
            let entry = parse_line(line).ok_or_else(damaged)?;
            if entry.expiry > now {
                outstanding.push(entry);
            }
        }
        Ok(outstanding)
    }
}

fn parse_line(line: &str) -> Option<Outstanding> {
    let mut words = line.split(' ');
    let hash = blake3::Hash::from_hex(words.next()?).ok()?;
    let role = words.next()?.parse().ok()?;
    let expiry = time(words.next()?.parse().ok()?)?;
    words.next().is_none().then_some(Outstanding { hash, role, expiry })
}

fn write(outstanding: &[Outstanding]) -> String {
    let line = |entry: &Outstanding| {
        format!("{} {} {}\n", entry.hash.to_hex(), entry.role, seconds(entry.expiry))
    };
    outstanding.iter().map(line).collect()
}

fn random() -> Result<[u8; 16], GetRandomFailed> {
    let random: &dyn SecureRandom = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

fn role_byte(role: Role) -> u8 {
    match role {
        Role::Node => 1,
        Role::Client => 2,
        Role::Admin => 3,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
