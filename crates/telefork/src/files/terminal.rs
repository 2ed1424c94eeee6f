//! Terminals: the one that controls the process, or is a standard stream, is passed on to where it came from.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;

use sys::descriptors::Listed;
use wire::image::descriptor::{DescriptorKind, Opened};
use wire::image::text::Text;

use super::Context;
use super::unsupported::unsupported;

/// `None` for what is no terminal.
pub(super) fn describe(listed: &Listed, context: &Context<'_>) -> Option<Opened> {
    let (major, minor) = listed.node.numbers();
    match (major, minor) {
        (5, 2) => {
            return Some(unsupported(
                DescriptorKind::Device,
                "the master of a pseudo-terminal, whose other side stays; end what runs in that terminal",
            ));
        }
        // Pseudo-terminals, consoles and serial lines, /dev/tty and /dev/console.
        (136..=143 | 4 | 5, _) => {}
        _ => return None,
    }
    let controls = (major, minor) == (5, 0) || context.terminal == Some(listed.node.special);
    Some(if controls || context.is_standard {
        Opened::Terminal { path: Text(listed.name.clone()) }
    } else {
        let why = format!(
            "a terminal that is neither the process's own nor a standard stream; leave it out with --fd {}=drop",
            listed.number
        );
        unsupported(DescriptorKind::Device, why)
    })
}

/// Which of three streams stands for a terminal under a number beyond them: one that is a terminal.
pub(super) fn among(streams: &[OwnedFd; 3]) -> &OwnedFd {
    streams.iter().find(|stream| stream.is_terminal()).unwrap_or(&streams[0])
}
