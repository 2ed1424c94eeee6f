//! Why a process cannot be captured or restored.

/// Why a process cannot be captured or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] sys::Error),
    #[error("the image cannot be used: {0}")]
    Image(#[from] wire::image::Error),
    #[error("the connection that carries pages broke; the copy cannot go on without them")]
    Pages(#[source] std::io::Error),
    #[error(
        "what carries pages sent something else; both sides must be the same version of Farcall"
    )]
    PageHead,
    #[error("the page at {address:#x} was damaged on its way; the copy cannot go on without it")]
    PageSum { address: u64 },
    #[error("a page at {address:#x} was asked for, which was not left behind")]
    NotLeft { address: u64 },
}
