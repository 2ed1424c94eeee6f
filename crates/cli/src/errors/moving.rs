//! The codes of what goes wrong when a process moves.

use telefork::{Error, Refusal};
use wire::image;

use crate::codes::{self, Code};

pub(super) fn of_telefork(error: &Error) -> Code {
    match error {
        Error::Image(error) => of_image(error),
        Error::NoImage => &codes::E0702,
        Error::Refused(refusal) => of_refusal(refusal),
        Error::Unopened { .. } => &codes::E0723,
        _ => &codes::E0701,
    }
}

fn of_refusal(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Architecture
        | Refusal::PageSize { .. }
        | Refusal::Feature { .. }
        | Refusal::State { .. }
        | Refusal::StateLayout { .. } => &codes::E0721,
        Refusal::Backing { .. } | Refusal::Folder { .. } | Refusal::Root { .. } => &codes::E0722,
        Refusal::Forged { .. }
        | Refusal::Number { .. }
        | Refusal::Page { .. }
        | Refusal::Twice { .. }
        | Refusal::Vdso => &codes::E0724,
        Refusal::Memory { .. } | Refusal::NoRoom { .. } | Refusal::Threads { .. } => &codes::E0725,
        Refusal::Elsewhere { .. } => &codes::E0726,
        Refusal::Changes | Refusal::Upon { .. } | Refusal::OtherHost | Refusal::Unchangeable(_) => {
            &codes::E0732
        }
    }
}

/// Why an image cannot be read.
pub(crate) fn of_image(error: &image::Error) -> Code {
    match error {
        image::Error::Foreign => &codes::E0702,
        image::Error::Version { .. } => &codes::E0703,
        image::Error::Truncated(_) | image::Error::Damaged(_) => &codes::E0704,
        image::Error::Refused { .. } => &codes::E0705,
        image::Error::Stream { .. } => &codes::E0401,
    }
}
