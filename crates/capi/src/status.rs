//! How a call went: a number for programs, and words for people, for each thread its own.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use client::memory::Error;

/// How a call went. 0 and above: as it should, one way or the other. Below 0: it failed, and
/// farcall_last_error says why.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum farcall_status {
    /// Done.
    FARCALL_OK = 0,
    /// The page still has the version that was known; no bytes were copied.
    FARCALL_UNCHANGED = 1,
    /// Somebody else wrote first. Nothing was changed: read again, and decide again.
    FARCALL_CONFLICT = 2,
    /// Not within the time that was given: a lock was not granted, or nothing came.
    FARCALL_TIMEOUT = 3,
    /// The function of a transaction did not want it to be committed.
    FARCALL_ROLLED_BACK = 4,
    /// An argument that cannot be: null where something must be, a text that is no name.
    FARCALL_WRONG_ARGUMENT = -1,
    /// No node can be reached.
    FARCALL_UNREACHABLE = -2,
    /// No node has such a region, or it is there no more.
    FARCALL_NO_SUCH_REGION = -3,
    /// There is a region of this name.
    FARCALL_EXISTS = -4,
    /// Several nodes have a region of this name; write NAME@NODE.
    FARCALL_AMBIGUOUS = -5,
    /// The region is its owner's alone.
    FARCALL_NOT_YOURS = -6,
    /// The region has no such page.
    FARCALL_NO_SUCH_PAGE = -7,
    /// Bytes that go beyond the page.
    FARCALL_WRONG_LENGTH = -8,
    /// The lock was lost, and with it what was not committed; the page is as others left it.
    FARCALL_LOST_LOCK = -9,
    /// That is not done in a region of this style (coherent, or not), or with pages of this size.
    FARCALL_WRONG_STYLE = -10,
    /// A number is more than there may be.
    FARCALL_OUT_OF_BOUNDS = -11,
    /// The node cannot keep the region as it should be kept.
    FARCALL_UNKEPT = -12,
    /// It is not known whether the change was made, or the copy runs. It was not sent again.
    FARCALL_UNKNOWN = -13,
    /// The node is away. Nothing was changed; the same may work again later.
    FARCALL_AWAY = -14,
    /// The kernel refused something.
    FARCALL_KERNEL = -15,
    /// A bug of this library: please report it, with what farcall_last_error says.
    FARCALL_BUG = -16,
    /// Anything else.
    FARCALL_OTHER = -17,
    /// What comes is no image of a process, or not a whole and undamaged one.
    FARCALL_NO_IMAGE = -18,
    /// The process cannot be captured as it is, or not be restored on this host.
    FARCALL_IMMOVABLE = -19,
    /// A signal has ended the process.
    FARCALL_KILLED = -20,
    /// The node was lost, or the way to it, and what ran there with it.
    FARCALL_LOST = -21,
    /// It did not go, or what it came to did not come back; here all is as it was.
    FARCALL_STAYED = -22,
    /// A call has ended its process instead of returning.
    FARCALL_UNANSWERED = -23,
}

use farcall_status::*;

/// Why a call fails: its status, and words.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: farcall_status,
    pub(crate) words: String,
}

impl Failure {
    pub(crate) fn argument(words: impl Into<String>) -> Self {
        Self { status: FARCALL_WRONG_ARGUMENT, words: words.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoSuchRegion { .. } | Error::Ended { .. } => FARCALL_NO_SUCH_REGION,
            Error::Exists { .. } => FARCALL_EXISTS,
            Error::Ambiguous { .. } => FARCALL_AMBIGUOUS,
            Error::NotYours { .. } => FARCALL_NOT_YOURS,
            Error::NoSuchPage { .. } => FARCALL_NO_SUCH_PAGE,
            Error::WrongLength { .. } | Error::TooLarge { .. } => FARCALL_WRONG_LENGTH,
            Error::Conflict { .. } | Error::Overtaken { .. } => FARCALL_CONFLICT,
            Error::LostLock { .. } => FARCALL_LOST_LOCK,
            Error::WrongStyle { .. } | Error::NotMappable { .. } => FARCALL_WRONG_STYLE,
            Error::OutOfBounds { .. } | Error::VersionAhead { .. } => FARCALL_OUT_OF_BOUNDS,
            Error::Unkept { .. } | Error::NoVault { .. } => FARCALL_UNKEPT,
            Error::Unknown { .. } | Error::MappingLost { .. } => FARCALL_UNKNOWN,
            Error::Name { .. } | Error::OtherParties { .. } => FARCALL_WRONG_ARGUMENT,
            Error::Kernel { .. } | Error::Faults { .. } => FARCALL_KERNEL,
            away if away.is_away() => FARCALL_AWAY,
            Error::Unfound { .. } | Error::NoNode { .. } => FARCALL_UNREACHABLE,
            _ => FARCALL_OTHER,
        };
        Self { status, words: chain(&error) }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        use client::Error;
        let status = match &error {
            Error::Address { .. } => FARCALL_WRONG_ARGUMENT,
            Error::Kernel { .. } => FARCALL_KERNEL,
            Error::Unreachable { .. } | Error::LocalNode { .. } | Error::NoBinary => {
                FARCALL_UNREACHABLE
            }
            _ => FARCALL_OTHER,
        };
        Self { status, words: chain(&error) }
    }
}

impl From<client::TravelError> for Failure {
    fn from(error: client::TravelError) -> Self {
        use client::TravelError as Error;
        let status = match &error {
            Error::Copied => FARCALL_WRONG_ARGUMENT,
            Error::Unmade { source } => of_process(source),
            Error::Threads { .. } | Error::Unwiped { .. } | Error::Refused { .. } => {
                FARCALL_IMMOVABLE
            }
            Error::NoNode | Error::Unlinked { .. } | Error::Unsent { .. } => FARCALL_UNREACHABLE,
            Error::NoThread { .. } => FARCALL_KERNEL,
            Error::Doubt { .. } => FARCALL_UNKNOWN,
            Error::Lost { .. } | Error::NotFollowed { .. } => FARCALL_LOST,
            Error::Killed { .. } => FARCALL_KILLED,
            Error::Stayed { .. } => FARCALL_STAYED,
            Error::Unanswered { .. } => FARCALL_UNANSWERED,
            _ => FARCALL_OTHER,
        };
        Self { status, words: chain(&error) }
    }
}

impl From<telefork::Error> for Failure {
    fn from(error: telefork::Error) -> Self {
        Self { status: of_process(&error), words: chain(&error) }
    }
}

fn of_process(error: &telefork::Error) -> farcall_status {
    use telefork::Error;
    match error {
        // A stream that breaks, too: it is the kernel who says so.
        Error::Kernel(_) | Error::Step { .. } | Error::Image(wire::image::Error::Stream { .. }) => {
            FARCALL_KERNEL
        }
        Error::NoImage | Error::Image(_) => FARCALL_NO_IMAGE,
        Error::Refused(_)
        | Error::Mapping { .. }
        | Error::Headless { .. }
        | Error::FirstProcess { .. }
        | Error::NoTidAddress => FARCALL_IMMOVABLE,
        Error::Killed { .. } => FARCALL_KILLED,
        _ => FARCALL_OTHER,
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words += &format!(": {cause}");
        source = cause.source();
    }
    words
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Why the latest call of this thread that failed did so, with the next step. Empty if none has. It is
/// valid until the next call on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_last_error() -> *const c_char {
    // A C program may call this while its thread ends.
    LAST.try_with(|last| last.try_borrow().map_or(c"".as_ptr(), |words| words.as_ptr()))
        .unwrap_or(c"".as_ptr())
}

/// Does what an entry point does. No panic passes into C.
pub(crate) fn guard(act: impl FnOnce() -> Result<farcall_status, Failure>) -> farcall_status {
    let failure = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            let words = format!("a bug of Farcall's: {}", words.unwrap_or("it says nothing more"));
            // Dropping what a panic carries may panic again.
            std::mem::forget(panic);
            Failure { status: FARCALL_BUG, words }
        }
    };
    let words: Vec<u8> = failure.words.bytes().filter(|&byte| byte != 0).collect();
    let words = CString::new(words).unwrap_or_default();
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = words));
    failure.status
}

/// Frees what C gives back. No panic passes into C.
pub(crate) fn free<T>(handle: Option<Box<T>>) {
    guard(|| {
        drop(handle);
        Ok(FARCALL_OK)
    });
}

#[cfg(test)]
mod tests;
