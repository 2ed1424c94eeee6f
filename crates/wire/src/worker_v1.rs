//! The worker socket protocol, version 1, of 2019: a controller asks, a worker answers in order.
//!
//! ```text
//! controller                                   worker
//!   01 version   u32                      ->
//!                                         <-   01   u8: 1 accepted, 0 refused
//!   02 core      String name, Blob file   ->
//!                                         <-   01   empty, or ff why not
//!   03 job       u64 job, Blob input      ->
//!                                         <-   01   i32 exit code, Blob output; or ff why not
//! ```
//!
//! Both use the header of `frame`; its channel is the message's id, which an answer repeats. A
//! String or a Blob is a length, u64 LE, and so many bytes. Requests are read by their front alone:
//! [`open`] says what a message is and where its blob lies, so that a long blob can go where it
//! belongs while it arrives.

use bytes::{BufMut, BytesMut};

use crate::frame::{Header, put};
use crate::limits::TEXT_MAX;

/// The one version that has ever been spoken.
pub const VERSION: u32 = 1;

/// What a message is, by the first byte of its header. `SUCCESS` and `ERROR` are a worker's.
pub struct Type;

impl Type {
    pub const VERSION: u8 = 0x01;
    pub const CORE: u8 = 0x02;
    pub const JOB: u8 = 0x03;
    pub const SUCCESS: u8 = 0x01;
    pub const ERROR: u8 = 0xff;
}

/// Longest name of a core that is taken: it is only shown.
pub const NAME_MAX: u64 = TEXT_MAX as u64;

/// Bytes of a message's payload after which `open` always knows what it is.
pub const FRONT_MAX: usize = 8 + NAME_MAX as usize + 8;

/// Bytes of a length.
const LENGTH: u64 = 8;

/// A blob inside a payload: where it begins and how long it is. It ends where the payload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    pub start: u64,
    pub length: u64,
}

/// What a controller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Version(u32),
    Core { name: String, library: Blob },
    Job { job: u64, input: Blob },
}

/// Why a message asks for nothing. The frame around it is intact: the next one may be sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    #[error("unknown message type 0x{kind:02x}")]
    UnknownType { kind: u8 },
    #[error("a version exchange has a payload of 4 bytes, not of {length}")]
    VersionLength { length: u64 },
    #[error("the payload ends within {what}")]
    CutOff { what: &'static str },
    #[error("the payload goes on for {extra} bytes after {what}")]
    Trailing { what: &'static str, extra: u64 },
    #[error("the name of the core is not UTF-8")]
    NameNotText,
    #[error("the name of the core has {length} bytes; at most {NAME_MAX} are taken")]
    NameTooLong { length: u64 },
}

/// Reads the front of a message: as much of its payload as has arrived. `None`: more is needed, and
/// never more than `FRONT_MAX` bytes.
pub fn open(header: &Header, front: &[u8]) -> Result<Option<Request>, Nonsense> {
    let length = header.length;
    match header.kind {
        Type::VERSION if length != 4 => Err(Nonsense::VersionLength { length }),
        Type::VERSION => Ok(front.first_chunk().map(|v| Request::Version(u32::from_le_bytes(*v)))),
        Type::CORE => open_core(length, front),
        Type::JOB => {
            if length < 2 * LENGTH {
                return Err(Nonsense::CutOff { what: "the numbers of a job" });
            }
            let (Some(job), Some(input)) = (number(front, 0), number(front, 8)) else {
                return Ok(None);
            };
            let input = blob(2 * LENGTH, input, length, "the job's input")?;
            Ok(Some(Request::Job { job, input }))
        }
        kind => Err(Nonsense::UnknownType { kind }),
    }
}

fn open_core(length: u64, front: &[u8]) -> Result<Option<Request>, Nonsense> {
    const NAME: &str = "the name of the core";
    const LIBRARY: &str = "the library";
    if length < LENGTH {
        return Err(Nonsense::CutOff { what: NAME });
    }
    let Some(name) = number(front, 0) else { return Ok(None) };
    if name > length - LENGTH {
        return Err(Nonsense::CutOff { what: NAME });
    }
    if name > NAME_MAX {
        return Err(Nonsense::NameTooLong { length: name });
    }
    if length - LENGTH - name < LENGTH {
        return Err(Nonsense::CutOff { what: LIBRARY });
    }
    // At most `NAME_MAX`, so this is no more than a few thousand.
    let end = (LENGTH + name) as usize;
    let Some(library) = number(front, end) else { return Ok(None) };
    let library = blob(2 * LENGTH + name, library, length, LIBRARY)?;
    let name = front.get(LENGTH as usize..end).unwrap_or_default();
    let name = str::from_utf8(name).map_err(|_| Nonsense::NameNotText)?;
    Ok(Some(Request::Core { name: name.to_owned(), library }))
}

/// A blob from `start` on, which has to fill a payload of so many bytes.
fn blob(start: u64, length: u64, payload: u64, what: &'static str) -> Result<Blob, Nonsense> {
    let room = payload - start;
    if length > room {
        return Err(Nonsense::CutOff { what });
    }
    match room - length {
        0 => Ok(Blob { start, length }),
        extra => Err(Nonsense::Trailing { what, extra }),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

// A controller's messages.

pub fn put_version(output: &mut BytesMut, id: u64, version: u32) {
    put(output, Type::VERSION, id, |body| body.put_u32_le(version));
}

/// The front of a core's message; the library's bytes follow it.
pub fn put_core(output: &mut BytesMut, id: u64, name: &str, library: u64) {
    let length = 2 * LENGTH + name.len() as u64 + library;
    Header { kind: Type::CORE, channel: id, length }.put(output);
    output.put_u64_le(name.len() as u64);
    output.put_slice(name.as_bytes());
    output.put_u64_le(library);
}

/// The front of a job's message; the input's bytes follow it.
pub fn put_job(output: &mut BytesMut, id: u64, job: u64, input: u64) {
    Header { kind: Type::JOB, channel: id, length: 2 * LENGTH + input }.put(output);
    output.put_u64_le(job);
    output.put_u64_le(input);
}

// A worker's answers.

pub fn put_version_answer(output: &mut BytesMut, id: u64, accepted: bool) {
    put(output, Type::SUCCESS, id, |body| body.put_u8(u8::from(accepted)));
}

/// A core is loaded.
pub fn put_loaded(output: &mut BytesMut, id: u64) {
    put(output, Type::SUCCESS, id, |_| {});
}

/// The front of a job's answer; the output's bytes follow it.
pub fn put_result(output: &mut BytesMut, id: u64, code: i32, length: u64) {
    Header { kind: Type::SUCCESS, channel: id, length: RESULT_FRONT as u64 + length }.put(output);
    output.put_i32_le(code);
    output.put_u64_le(length);
}

pub fn put_error(output: &mut BytesMut, id: u64, text: &str) {
    put(output, Type::ERROR, id, |body| body.put_slice(text.as_bytes()));
}

/// Bytes of an answer's payload before its output.
pub const RESULT_FRONT: usize = 4 + LENGTH as usize;

/// What a worker's answer is, apart from its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Success,
    Error,
}

/// Why a worker's answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    #[error("an answer of the unknown type 0x{kind:02x}")]
    UnknownType { kind: u8 },
    #[error("an answer to a version exchange that says neither yes nor no")]
    Version,
    #[error("an answer to a new core with {length} bytes that mean nothing")]
    Loaded { length: usize },
    #[error("an answer to a job whose output is not as long as it says")]
    Result,
}

/// Whether an answer is good news.
pub fn answer(header: &Header) -> Result<Answer, Garbled> {
    match header.kind {
        Type::SUCCESS => Ok(Answer::Success),
        Type::ERROR => Ok(Answer::Error),
        kind => Err(Garbled::UnknownType { kind }),
    }
}

/// Whether the worker speaks the version that it was asked for.
pub fn accepted(payload: &[u8]) -> Result<bool, Garbled> {
    match payload {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Garbled::Version),
    }
}

pub fn loaded(payload: &[u8]) -> Result<(), Garbled> {
    if payload.is_empty() { Ok(()) } else { Err(Garbled::Loaded { length: payload.len() }) }
}

/// A job's exit code; its output begins after `RESULT_FRONT` bytes.
pub fn result(payload: &[u8]) -> Result<i32, Garbled> {
    let code = payload.first_chunk().ok_or(Garbled::Result)?;
    let length = number(payload, 4).ok_or(Garbled::Result)?;
    if length != (payload.len() - RESULT_FRONT) as u64 {
        return Err(Garbled::Result);
    }
    Ok(i32::from_le_bytes(*code))
}

#[cfg(test)]
mod tests;
