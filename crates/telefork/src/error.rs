//! Why a process cannot be captured or restored.

/// Why a process cannot be captured or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] sys::Error),
    #[error("the image cannot be used: {0}")]
    Image(#[from] wire::image::Error),
}
