//! Why an image is not taken.

use std::fmt;
use std::io;

/// Where in an image something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub part: Part,
    /// The byte at which that part begins, counted from the beginning of the image.
    pub offset: u64,
}

/// What an image consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Preamble,
    /// What a section says of itself, and the number that it has.
    Head(u32),
    /// What a section of this kind tells.
    Front(Kind, u32),
    /// The bytes that belong to it.
    Body(Kind, u32),
    Index,
    End,
}

/// The kinds of sections, in the order in which they come. From `File` on they come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Host,
    Upon,
    Process,
    Thread,
    Mappings,
    Descriptors,
    File,
    Pages,
    Placed,
}

/// Each variant says whose fault it is: the bytes', their maker's, or the stream's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "this is no image of Farcall: it does not begin as one; name a file that `farcall checkpoint` has written"
    )]
    Foreign,
    #[error(
        "the image has format {found}, and this build reads format {known}; restore it with the version of Farcall that made it"
    )]
    Version { found: u16, known: u16 },
    #[error("the image ends too early, in {0}; copy the file again, or take the checkpoint again")]
    Truncated(Location),
    #[error(
        "the image is damaged in {0}: its checksum is not that of its bytes; copy the file again, or take the checkpoint again"
    )]
    Damaged(Location),
    #[error(
        "the image is refused for {place}: {why}; take the checkpoint again with this version of Farcall"
    )]
    Refused { place: Location, why: &'static str },
    #[error("cannot move the image, at {place}")]
    Stream { place: Location, source: io::Error },
}

impl Error {
    /// The bytes are not those that were written: another copy of the same image may be whole.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Truncated(_) | Self::Damaged(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from byte {})", self.part, self.offset)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preamble => write!(f, "its first bytes"),
            Self::Head(number) => write!(f, "the head of section {number}"),
            Self::Front(kind, number) => write!(f, "section {number}, {kind}"),
            Self::Body(kind, number) => write!(f, "the bytes of section {number}, {kind}"),
            Self::Index => write!(f, "the index"),
            Self::End => write!(f, "the end mark"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host",
            Self::Upon => "the image that it says the changes of",
            Self::Process => "the process",
            Self::Thread => "a thread",
            Self::Mappings => "mappings",
            Self::Descriptors => "descriptors",
            Self::File => "a part of a file",
            Self::Pages => "pages",
            Self::Placed => "pages that are elsewhere",
        })
    }
}
