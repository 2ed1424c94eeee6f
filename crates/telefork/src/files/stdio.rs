//! Standard streams whose other end stays: pipes and sockets. The caller of a restore says what they are there.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use sys::descriptors::Listed;
use wire::image::descriptor::{Direction, Opened};

use crate::Error;

/// What a restored process has for the streams and terminals that stayed behind.
#[derive(Debug)]
pub enum Stdio {
    /// Those of the process that restores it.
    Inherit,
    /// The same, and this one for whatever was a terminal.
    Terminal(OwnedFd),
    /// Nothing: it reads an end, and what it writes is gone.
    Null,
    /// These, for 0, 1 and 2; ends of pipes or of a pseudo-terminal, for one.
    Given([OwnedFd; 3]),
}

pub(super) fn describe(listed: &Listed) -> Opened {
    let direction = match listed.flags.cast_signed() & libc::O_ACCMODE {
        libc::O_RDONLY => Direction::Read,
        libc::O_WRONLY => Direction::Write,
        _ => Direction::Both,
    };
    Opened::Stdio { direction }
}

impl Stdio {
    /// The three streams that take the place of those that stayed, and what takes that of a terminal, if that
    /// is none of them.
    pub(super) fn open(self) -> Result<([OwnedFd; 3], Option<OwnedFd>), Error> {
        let duplicate = |file: &dyn AsDescriptor| file.duplicate();
        let own = || -> Result<[OwnedFd; 3], Error> {
            Ok([
                duplicate(&std::io::stdin())?,
                duplicate(&std::io::stdout())?,
                duplicate(&std::io::stderr())?,
            ])
        };
        Ok(match self {
            Self::Inherit => (own()?, None),
            Self::Terminal(terminal) => (own()?, Some(terminal)),
            Self::Null => {
                let null: File = sys::files::null()?;
                ([duplicate(&null)?, duplicate(&null)?, null.into()], None)
            }
            Self::Given(streams) => (streams, None),
        })
    }
}

/// Anything with a descriptor, of three types above.
trait AsDescriptor {
    fn duplicate(&self) -> Result<OwnedFd, Error>;
}

impl<T: AsFd> AsDescriptor for T {
    fn duplicate(&self) -> Result<OwnedFd, Error> {
        let failed = |source| sys::Error::Kernel { action: "duplicate a standard stream", source };
        Ok(self.as_fd().try_clone_to_owned().map_err(failed)?)
    }
}
