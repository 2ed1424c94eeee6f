//! `farcall worker`: what a node starts in a jail. Of no use by hand.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::Context;

/// Serves the node at descriptor 3; descriptors come over 4.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let inherited = |number| -> anyhow::Result<UnixStream> {
        let fd: OwnedFd = sys::process::inherited(number)
            .context("this command is started by a node; run `farcall node` instead")?;
        Ok(UnixStream::from(fd))
    };
    worker::serve::serve(inherited(3)?, inherited(4)?)?;
    Ok(ExitCode::SUCCESS)
}
