//! The five errors of NetMem with their numbers and texts, and what a server refuses.

use std::io;

/// Why a call of NetMem failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 0: The connection broke, or the server said what it may not say. Locks that were held are free.
    #[error("Server disconnected")]
    ServerDisconnected {
        /// How that was noticed.
        source: io::Error,
    },
    /// 1: Nobody is there.
    #[error("Unable to connect to server")]
    NoServerConnection {
        /// What the system says.
        source: io::Error,
    },
    /// 2: The server has no pages, or pages of no length; or it cannot have so many.
    #[error("Pages initialisation error")]
    NoPagesInit,
    /// 3: This client has disconnected, by itself or after an earlier error.
    #[error("Client disconnected")]
    ClientDisconnected,
    /// 4: The server speaks another version of the protocol.
    #[error("No compatible server API version")]
    NoCompatibleServerVersions {
        /// What it speaks: a byte each for API major, API minor, server major, server minor.
        server: i32,
    },
    /// 100: The server has no such page.
    #[error("no page {page}")]
    NoSuchPage {
        /// The one that was asked for.
        page: u32,
    },
    /// 101: This connection does not hold the page's lock; nothing was changed.
    #[error("page {page} is not locked by this connection")]
    PageNotLocked {
        /// The one that was to be unlocked.
        page: u32,
    },
    /// The bytes do not fit in a page; nothing was sent.
    #[error("{length} bytes are too many for a page of {page_length}")]
    TooLong {
        /// How many they are.
        length: usize,
        /// How many would fit.
        page_length: u32,
    },
}

impl Error {
    /// The protocol's number of it, if it has one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::ServerDisconnected { .. } => Some(0),
            Self::NoServerConnection { .. } => Some(1),
            Self::NoPagesInit => Some(2),
            Self::ClientDisconnected => Some(3),
            Self::NoCompatibleServerVersions { .. } => Some(4),
            Self::NoSuchPage { .. } => Some(100),
            Self::PageNotLocked { .. } => Some(101),
            Self::TooLong { .. } => None,
        }
    }

    /// The connection is of no use any more.
    pub fn is_disconnected(&self) -> bool {
        matches!(self.code(), Some(0..=4))
    }
}

/// The text of an error's number, from 0 to 4.
pub fn error_message(code: i32) -> Option<&'static str> {
    Some(match code {
        0 => "Server disconnected",
        1 => "Unable to connect to server",
        2 => "Pages initialisation error",
        3 => "Client disconnected",
        4 => "No compatible server API version",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_errors_have_numbers_and_texts() {
        let io = || io::Error::from(io::ErrorKind::ConnectionReset);
        let errors = [
            Error::ServerDisconnected { source: io() },
            Error::NoServerConnection { source: io() },
            Error::NoPagesInit,
            Error::ClientDisconnected,
            Error::NoCompatibleServerVersions { server: 1 },
        ];
        for (number, error) in errors.iter().enumerate() {
            let code = error.code().unwrap();
            assert_eq!(code as usize, number);
            assert_eq!(error_message(code), Some(error.to_string().as_str()));
            assert!(error.is_disconnected());
        }
        for code in [-1, 5, 100, 101, i32::MAX, i32::MIN] {
            assert_eq!(error_message(code), None);
        }
        assert!(!Error::NoSuchPage { page: 6 }.is_disconnected());
    }
}
