//! `farcall worker`: what a node starts in a jail. Of no use by hand.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::Context;

/// Serves the node: its frames come at descriptor 3, ours go to 4, descriptors come over 5, and 6 may be
/// the entrance of our control group.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let inherited = |number| -> anyhow::Result<OwnedFd> {
        sys::process::inherited(number)
            .context("this command is started by a node; run `farcall node` instead")
    };
    let (reader, writer) = (inherited(3)?, inherited(4)?);
    let descriptors = UnixStream::from(inherited(5)?);
    // Only where the host has groups of version 2.
    let group = sys::process::inherited(6).ok();
    worker::serve::serve(reader.into(), writer.into(), descriptors, group)?;
    Ok(ExitCode::SUCCESS)
}
