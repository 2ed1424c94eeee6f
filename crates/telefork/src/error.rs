//! Why a process cannot be captured or restored.

use std::io;

use sys::Pid;

/// Why a process cannot be captured or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] sys::Error),
    #[error("the image cannot be used: {0}")]
    Image(#[from] wire::image::Error),
    #[error("the process cannot be restored here: {0}")]
    Refused(#[from] crate::restore::Refusal),
    #[error("the stream ended before an image began; name a stream or file that `telefork_to` writes")]
    NoImage,
    #[error("process {pid} was ended by signal {signal}; see its own output for why")]
    Killed { pid: Pid, signal: i32 },
    #[error("kernel refused to {action} the process that is restored as {pid}")]
    Step { action: &'static str, pid: Pid, source: io::Error },
}
