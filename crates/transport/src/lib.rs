//! Connections of Farcall: sockets, TLS, and who may speak.
//!
//! A [`connection::Connection`] turns a non-blocking socket into plaintext bytes and back. Over
//! TCP it is always TLS 1.3; over a Unix socket the bytes are plain and the caller has asked the
//! kernel who is at the other end. It knows no frame and no message: those are `wire`'s and
//! `logic`'s.
//!
//! Who may speak is decided by certificates. Every user has one *authority* of their own, a key
//! in a folder only they can read ([`credentials`]). It signs a certificate for each node and each
//! client; a certificate carries a name and a role. A machine that has none yet shows a one-time
//! secret ([`token`]) and gets one.
//!
//! ```text
//!   caller's frames <-> input()/output() <-> session (rustls) <-> socket
//!                        plaintext            records              mio
//! ```
//!
//! What is not covered: private keys lie unencrypted in their files (mode 0600), and the copies
//! that the cryptographic library makes in its own heap are not locked into memory.

#![forbid(unsafe_code)]

mod watched;
pub mod connection;
pub mod stranger;
pub mod token;
pub mod tls;
mod delegation;
pub mod credentials;
mod pem;
mod secrets;
mod session;
mod socket;
mod files;
mod base64;
mod random;
pub mod identity;
pub mod error;

pub use connection::{Connection, FlushOutcome, READ_MAX, ReadOutcome};
pub use credentials::{Authority, Credentials, Request, make_csr};
pub use delegation::DELEGATION_VALIDITY;
pub use error::Error;
pub use identity::{Fingerprint, Name, Peer, Role};
pub use random::random_u64;
pub use secrets::Secrets;
pub use tls::{DialTls, ListenTls};
pub use token::{Token, Tokens};
pub use watched::Watched;
