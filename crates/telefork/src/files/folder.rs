//! Folders: opened there by their path.

use std::fs::File;

use sys::descriptors::Listed;
use sys::handle::{Handle, Links};
use wire::image::descriptor::{DescriptorKind, Opened};
use wire::image::text::Text;

use super::Context;
use super::regular::{leads_to_it, path_of, refuse};
use super::unsupported::unsupported;
use crate::{Error, Unopened};

pub(super) fn describe(listed: &Listed, context: &Context<'_>) -> Opened {
    if listed.node.links == 0 || !leads_to_it(listed, context.pid) {
        return unsupported(
            DescriptorKind::Other,
            "a folder that was removed; let the program close it",
        );
    }
    if listed.offset != 0 && context.wish.is_none() {
        let why = format!(
            "a folder whose list of names is being read; try again later, or let it begin anew with --fd {}=reopen",
            listed.number
        );
        return unsupported(DescriptorKind::Other, why);
    }
    Opened::Folder { path: Text(listed.name.clone()) }
}

pub(super) fn open(number: u32, path: &Text, flags: u32) -> Result<File, Error> {
    let found = Handle::of(path_of(number, path)?, Links::Followed);
    let found = found.map_err(|source| refuse(number, path, Unopened::Missing(source)))?;
    if found.node().kind() != libc::S_IFDIR {
        return Err(refuse(number, path, Unopened::OtherKind));
    }
    let flags = flags | libc::O_DIRECTORY as u32;
    found.open(flags).map_err(|source| refuse(number, path, Unopened::Refused(source)))
}
