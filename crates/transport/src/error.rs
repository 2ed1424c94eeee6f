//! Why a connection or a credential was refused: one enum, each variant named for whose fault it
//! is, each message ending in the next step where there is one.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why something failed here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The network and the peer.
    /// The connection could not be made.
    #[error("cannot connect to {peer}; check that a node listens there")]
    Unreachable { peer: SocketAddr, source: io::Error },
    /// The socket failed while it was in use.
    #[error("connection to {peer} broke while {action}")]
    Broken { peer: String, action: &'static str, source: io::Error },
    /// The stream ended without the peer's goodbye: what arrived may be only a part.
    #[error(
        "connection to {peer} was cut: it ended without the peer's goodbye, so the last bytes may be missing"
    )]
    Truncated { peer: String },
    /// Our check of the peer's certificate failed.
    #[error(
        "{peer} showed a certificate that this side does not accept; \
         get one from the right authority with `farcall auth token` there and `--join` here"
    )]
    PeerNotTrusted { peer: String, source: rustls::Error },
    /// The peer did not accept what we sent: most often our certificate.
    #[error(
        "{peer} refused this side; if it belongs to another authority, \
         join it with a token from `farcall auth token`"
    )]
    RefusedByPeer { peer: String, source: rustls::Error },
    /// The peer broke the protocol, or does not speak it.
    #[error("{peer} does not speak TLS 1.3 as Farcall does; check that the port is a node's")]
    PeerGarbled { peer: String, source: rustls::Error },
    /// The peer's certificate is ours but carries no name or role we understand.
    #[error("{peer} showed a certificate of this authority without a valid {missing}")]
    PeerUnnamed { peer: String, missing: &'static str },

    // The caller.
    /// Bytes were sent on a connection whose sending side was closed.
    #[error("connection to {peer} was closed on this side; nothing more can be sent")]
    Closed { peer: String },
    /// A name that cannot be written in a certificate.
    #[error(transparent)]
    BadName(#[from] wire::name::NameError),
    /// A role nobody knows.
    #[error("`{role}` is no role: use node, client or admin")]
    BadRole { role: String },
    /// A join token that does not parse.
    #[error("this is no join token ({why}); print a new one with `farcall auth token`")]
    BadToken { why: &'static str },
    /// A well-formed token that this node never issued, or that was used already.
    #[error("this token is unknown or was used already; print a new one with `farcall auth token`")]
    TokenUnknown,
    /// A token past its time.
    #[error("this token has expired; print a new one with `farcall auth token`")]
    TokenExpired,
    /// More tokens outstanding than the store keeps.
    #[error("{max} join tokens are outstanding already; use one, or wait until they expire")]
    TooManyTokens { max: usize },
    /// A request for a certificate that does not prove possession of its key, or is no request.
    #[error("the certificate request is not valid; make a new one and send it again")]
    BadRequest { source: rcgen::Error },

    // The credentials folder.
    /// A file or folder that others may read or write.
    #[error("{} has mode {mode:04o}, so others can use it; run `chmod {wanted:o} {}`", path.display(), path.display())]
    LooseMode { path: PathBuf, mode: u32, wanted: u32 },
    /// A symbolic link where a real file or folder must be.
    #[error("{} is a symbolic link, which credentials never follow; put the real one there", path.display())]
    SymbolicLink { path: PathBuf },
    /// Neither a regular file nor a folder as expected.
    #[error("{} is not {wanted}; move it away", path.display())]
    WrongKind { path: PathBuf, wanted: &'static str },
    /// Someone else's file.
    #[error("{} belongs to uid {owner}, not to uid {user}; use a folder of your own", path.display())]
    ForeignOwner { path: PathBuf, owner: u32, user: u32 },
    /// A file that is not what was written there.
    #[error("{} is damaged: {what}; restore it, or remove it to make a new one", path.display())]
    Damaged { path: PathBuf, what: &'static str },
    /// This machine joined someone's cluster and cannot sign certificates itself.
    #[error(
        "{} has no authority key and no valid certificate for {wanted}; \
         join with a token from `farcall auth token`", folder.display()
    )]
    NoAuthority { folder: PathBuf, wanted: String },

    /// Joining would mix two clusters in one folder.
    #[error(
        "{} belongs to another cluster already; use another folder, \
         or remove this one if that cluster is no longer needed", folder.display()
    )]
    OtherAuthority { folder: PathBuf },

    // The kernel and the libraries below.
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// The cryptographic library refused to make a key or a certificate.
    #[error("cannot {action}")]
    Certificate { action: &'static str, source: rcgen::Error },
    /// The TLS library refused a key, a certificate or a configuration.
    #[error("cannot {action}")]
    Tls { action: &'static str, source: rustls::Error },
}

impl Error {
    /// The connection is gone, but the same dial may work again later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::Truncated { .. })
    }

    /// One of the two sides does not trust the other: only new credentials help.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::PeerNotTrusted { .. } | Self::RefusedByPeer { .. } | Self::PeerUnnamed { .. }
        )
    }

    /// Sorts what the TLS library says of a running connection by whose fault it is.
    pub(crate) fn from_session(peer: String, source: rustls::Error) -> Self {
        match source {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Self::PeerNotTrusted { peer, source }
            }
            rustls::Error::AlertReceived(_) => Self::RefusedByPeer { peer, source },
            _ => Self::PeerGarbled { peer, source },
        }
    }
}
