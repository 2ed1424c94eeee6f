//! What comes from C as a bare pointer or number: texts, buffers, descriptors. The only place that believes
//! one.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::net::TcpStream;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use crate::status::Failure;

/// Longest buffer that is believed: no page, and no transaction, is as long.
const LENGTH_MAX: usize = 1 << 30;

/// What a handle points to.
pub(crate) fn handle<'a, T>(handle: Option<&'a T>, what: &str) -> Result<&'a T, Failure> {
    handle.ok_or_else(|| Failure::argument(format!("the {what} is null")))
}

/// Where a new handle goes.
pub(crate) fn place<T>(
    place: Option<&mut MaybeUninit<*mut T>>,
) -> Result<&mut MaybeUninit<*mut T>, Failure> {
    let place = place.ok_or_else(|| Failure::argument("the place for the new handle is null"))?;
    // Whatever goes wrong later, it points to nothing then.
    place.write(std::ptr::null_mut());
    Ok(place)
}

/// Gives a handle to C.
pub(crate) fn give<T>(place: &mut MaybeUninit<*mut T>, value: T) {
    place.write(Box::into_raw(Box::new(value)));
}

/// Where an answer goes that nobody asks for without wanting it.
pub(crate) fn room<'a, T>(
    place: Option<&'a mut MaybeUninit<T>>,
    what: &str,
) -> Result<&'a mut MaybeUninit<T>, Failure> {
    place.ok_or_else(|| Failure::argument(format!("the {what} is null")))
}

/// Writes to where C wants it, if it does.
pub(crate) fn put<T>(place: Option<&mut MaybeUninit<T>>, value: T) {
    if let Some(place) = place {
        place.write(value);
    }
}

/// A text of C's.
///
/// # Safety
///
/// `text` is null, or ends with a zero and stays as it is for the time of the call.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("the {what} is null")));
    }
    // SAFETY: it is not null; that it ends with a zero and that nobody changes it meanwhile is what
    // the header asks of the caller, who owns it.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::argument(format!("the {what} is not UTF-8")))
}

/// So many texts of C's.
///
/// # Safety
///
/// `all` is null, or points to `count` pointers, each of which is as `text` asks.
pub(crate) unsafe fn texts<'a>(
    all: *const *const c_char,
    count: usize,
    what: &str,
) -> Result<Vec<&'a str>, Failure> {
    check_list(all, count)?;
    // SAFETY: it is not null, and no longer than anything may be; that so many pointers are there and that nobody
    // changes them meanwhile is what the header asks of the caller, who owns them.
    let all = unsafe { std::slice::from_raw_parts(all, count) };
    // SAFETY: each is what the header asks of the caller, as in `text`.
    all.iter().map(|&one| unsafe { text(one, what) }).collect()
}

/// Where so many new handles go.
///
/// # Safety
///
/// `all` is null, or points to room for `count` pointers that nobody else uses for the time of the call.
pub(crate) unsafe fn places<'a, T>(
    all: *mut *mut T,
    count: usize,
) -> Result<&'a mut [MaybeUninit<*mut T>], Failure> {
    check_list(all, count)?;
    // SAFETY: it is not null, and no longer than anything may be; that there is room for so many and that nobody else
    // uses it meanwhile is what the header asks of the caller, who owns it.
    let all = unsafe { std::slice::from_raw_parts_mut(all.cast::<MaybeUninit<*mut T>>(), count) };
    // Whatever goes wrong later, they point to nothing then.
    all.fill_with(|| MaybeUninit::new(std::ptr::null_mut()));
    Ok(all)
}

/// Most copies of one moment: no cluster has as many nodes.
const LIST_MAX: usize = 1 << 16;

fn check_list<T>(all: *const T, count: usize) -> Result<(), Failure> {
    match count {
        _ if all.is_null() => Err(Failure::argument("the list is null")),
        0 => Err(Failure::argument("the list is empty")),
        count if count > LIST_MAX => {
            Err(Failure::argument(format!("a list of {count} is too long")))
        }
        _ => Ok(()),
    }
}

/// A number of bytes that may be wanted.
pub(crate) fn count(length: usize) -> Result<(), Failure> {
    match length {
        length if length > LENGTH_MAX => {
            Err(Failure::argument(format!("no buffer has {length} bytes")))
        }
        _ => Ok(()),
    }
}

/// Bytes of C's, to be read.
///
/// # Safety
///
/// `bytes` is null, or points to `length` bytes that nobody changes for the time of the call.
pub(crate) unsafe fn bytes<'a>(bytes: *const c_void, length: usize) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    check(bytes, length)?;
    // SAFETY: it is not null, and no longer than anything may be; that so many bytes are there and
    // that nobody changes them meanwhile is what the header asks of the caller, who owns them.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast(), length) })
}

/// Copies to a buffer of C's as many bytes as it has room for, from `offset` on.
///
/// # Safety
///
/// `buffer` is null, or points to `length` bytes that nobody else uses for the time of the call.
pub(crate) unsafe fn copy(
    page: &[u8],
    offset: u32,
    buffer: *mut c_void,
    length: usize,
) -> Result<(), Failure> {
    if length == 0 {
        return Ok(());
    }
    check(buffer, length)?;
    let start = offset as usize;
    let part = start.checked_add(length).and_then(|end| page.get(start..end));
    let part = part.ok_or_else(|| Failure {
        status: crate::status::farcall_status::FARCALL_WRONG_LENGTH,
        words: format!(
            "{length} bytes from offset {offset} on go beyond the page, which has {}",
            page.len()
        ),
    })?;
    // SAFETY: `part` has exactly `length` bytes and is ours; the buffer is not null, and that it has
    // room for as many, and that nobody else uses it meanwhile, is what the header asks of the caller.
    unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), buffer.cast(), length) };
    Ok(())
}

fn check<T>(bytes: *const T, length: usize) -> Result<(), Failure> {
    if bytes.is_null() {
        return Err(Failure::argument(format!("the buffer of {length} bytes is null")));
    }
    count(length)
}

/// Milliseconds of C's; below 0: however long it takes.
pub(crate) fn patience(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// A descriptor of C's, which stays open.
pub(crate) enum Descriptor {
    /// Of any family: writing to one whose reader is gone raises no signal.
    Socket(ManuallyDrop<TcpStream>),
    Other(ManuallyDrop<File>),
}

/// A descriptor of C's, for the time of a call.
pub(crate) fn descriptor(fd: c_int) -> Result<Descriptor, Failure> {
    let unknown = || Failure::argument(format!("no descriptor {fd} is open"));
    if fd < 0 {
        return Err(unknown());
    }
    // SAFETY: whether it is open is asked below; it is never closed here. That nobody closes it meanwhile is
    // what the header asks of the caller, whose it is.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let kind = file.metadata().map_err(|_| unknown())?.file_type();
    if !kind.is_socket() {
        return Ok(Descriptor::Other(file));
    }
    // SAFETY: as above, and it is a socket: only what any stream has is asked of it.
    Ok(Descriptor::Socket(ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) })))
}

impl Read for Descriptor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(bytes),
            Self::Other(file) => file.read(bytes),
        }
    }
}

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write(bytes),
            Self::Other(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
