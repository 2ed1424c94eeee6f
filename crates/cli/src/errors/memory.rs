//! What goes wrong with shared memory, by its code.

use client::memory::Error;

use crate::codes::{self, Code};

/// The code of an error of the library; none where what is below it tells more.
pub(super) fn of_memory(error: &Error) -> Option<Code> {
    Some(match error {
        Error::NoSuchRegion { .. } => &codes::E0601,
        Error::Exists { .. } => &codes::E0602,
        Error::Ambiguous { .. } => &codes::E0603,
        Error::NotYours { .. } => &codes::E0604,
        Error::NoSuchPage { .. } => &codes::E0605,
        Error::WrongLength { .. } => &codes::E0606,
        Error::Conflict { .. } | Error::Overtaken { .. } | Error::VersionAhead { .. } => {
            &codes::E0607
        }
        Error::LostLock { .. } => &codes::E0609,
        Error::WrongStyle { .. } | Error::NotMappable { .. } => &codes::E0610,
        Error::OutOfBounds { .. } | Error::OtherParties { .. } => &codes::E0611,
        Error::Unkept { .. } | Error::NoVault { .. } => &codes::E0612,
        Error::Unknown { .. } | Error::MappingLost { .. } => &codes::E0613,
        Error::Away { .. } | Error::Ended { .. } => &codes::E0614,
        // This command makes no typed use of pages, and passes these on all the same.
        Error::TooLarge { .. } | Error::Layout { .. } | Error::Full { .. } => &codes::E0611,
        Error::Name { .. } => &codes::E0102,
        Error::Silent { .. } | Error::Unfound { .. } | Error::NoNode { .. } => &codes::E0201,
        Error::Protocol { .. } | Error::Down { .. } => &codes::E0205,
        Error::Kernel { .. } | Error::Faults { .. } => &codes::E0204,
        // What the transport says is more to the point.
        Error::Unreachable { .. } | Error::Broken { .. } => return None,
    })
}
