//! Devices that any host has, and that keep no state for who has them open.

use std::fs::File;
use std::path::Path;

use sys::descriptors::Listed;
use sys::handle::{Handle, Links};
use wire::image::descriptor::Opened;
use wire::image::text::Text;

use super::regular::refuse;
use super::unsupported;
use crate::{Error, Unopened};

/// Their major and minor numbers, and where they are.
const EVERYWHERE: [((u32, u32), &str); 5] = [
    ((1, 3), "/dev/null"),
    ((1, 5), "/dev/zero"),
    ((1, 7), "/dev/full"),
    ((1, 8), "/dev/random"),
    ((1, 9), "/dev/urandom"),
];

pub(super) fn describe(listed: &Listed) -> Opened {
    match EVERYWHERE.iter().find(|(numbers, _)| *numbers == listed.node.numbers()) {
        Some((_, path)) => Opened::Device { path: Text::from(*path) },
        None => unsupported::device(listed),
    }
}

/// Opens one of those, and nothing else that an image may name.
pub(super) fn open(number: u32, path: &Text, flags: u32) -> Result<File, Error> {
    let known = EVERYWHERE.iter().find(|(_, known)| known.as_bytes() == path.0);
    let Some((numbers, known)) = known else {
        return Err(refuse(number, path, Unopened::ForeignDevice));
    };
    let found = Handle::of(Path::new(known), Links::Refused);
    let found = found.map_err(|source| refuse(number, path, Unopened::Missing(source)))?;
    let node = found.node();
    if node.kind() != libc::S_IFCHR || node.numbers() != *numbers {
        return Err(refuse(number, path, Unopened::OtherKind));
    }
    found.open(flags).map_err(|source| refuse(number, path, Unopened::Refused(source)))
}
