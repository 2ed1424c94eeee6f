//! NetMem, version 0.2: pages of fixed length that are locked, read and written over plain TCP.
//!
//! ```text
//!  0      1            5            9            13
//!  +------+------------+------------+------------+------- - -
//!  | type | offset i32 | length i32 | version i32| data
//!  +------+------------+------------+------------+------- - -
//!
//! client                                  server           all integers big-endian
//!   00 version                       ->
//!                                    <-   00  version: API major, minor, server major, minor
//!   01 params                        ->
//!                                    <-   01  offset: pages, version: bytes of a page
//!   02 read    offset, version       ->
//!   03 lock    offset, version       ->
//!                                    <-   the same, version; + data unless the version was known
//!   04 unlock  offset + data         ->
//!   05 update  offset, version + data ->
//!                                    <-   the same, version
//!                                    <-   64  no such page
//!                                    <-   65  the page is not locked
//! ```
//!
//! One question at a time, answered in its turn. `offset` is the number of a page. Only `unlock` and
//! `update` have data behind them, and of an answer only a page; what the other fields hold there
//! means nothing.
//!
//! Elsewhere: what is asked and answered (`logic::netmem`), the protocol of our own (`region`).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a header.
pub const HEADER: usize = 13;

/// What a server says of itself: version 0.2 of the protocol, and of the server.
pub const VERSIONS: i32 = 0x0002_0002;

/// The upper half of it is what both sides have to agree on.
pub const API: i32 = VERSIONS >> 16;

/// Highest version of a page that is told: the sign says something else.
pub const VERSION_MAX: i32 = i32::MAX;

/// The first byte of a header.
pub struct Type;

impl Type {
    pub const VERSION: u8 = 0;
    pub const PARAMS: u8 = 1;
    pub const READ: u8 = 2;
    pub const LOCK: u8 = 3;
    pub const UNLOCK: u8 = 4;
    pub const UPDATE: u8 = 5;
    pub const NO_SUCH_PAGE: u8 = 100;
    pub const NOT_LOCKED: u8 = 101;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub offset: i32,
    pub length: i32,
    pub version: i32,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Version,
    Params,
    /// `version`: of the bytes that the client has, 0 for none.
    Read {
        page: i32,
        version: i32,
    },
    Lock {
        page: i32,
        version: i32,
    },
    Unlock {
        page: i32,
        bytes: Bytes,
    },
    /// `version`: the one that it is to have afterwards; negative: just a higher one.
    Update {
        page: i32,
        version: i32,
        bytes: Bytes,
    },
    /// None of the protocol's: it is answered by its own header.
    Unknown(Header),
}

/// How it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Version(i32),
    Params {
        pages: i32,
        length: i32,
    },
    /// Of `READ` or `LOCK`. Without bytes where they would be those that the client has.
    Page {
        kind: u8,
        page: i32,
        version: i32,
        bytes: Bytes,
    },
    /// Of `UNLOCK` or `UPDATE`.
    Written {
        kind: u8,
        page: i32,
        version: i32,
    },
    NoSuchPage,
    NotLocked,
    Unknown(Header),
}

/// A command whose data is not one page long. What follows it cannot be told from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command with {length} bytes for a page of {page}")]
pub struct WrongLength {
    pub length: i32,
    pub page: u32,
}

/// An answer that is none to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    #[error("an answer of type {kind} to a command of type {asked}")]
    Type { kind: u8, asked: u8 },
    #[error("an answer with {length} bytes for a page of {page}")]
    Length { length: i32, page: u32 },
    #[error("an answer with the version {version}, which no page has")]
    Version { version: i32 },
}

impl Header {
    /// The header at the front of some bytes; `None` if they are too few.
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.get(..HEADER)?;
        Some(Self {
            kind: bytes.get_u8(),
            offset: bytes.get_i32(),
            length: bytes.get_i32(),
            version: bytes.get_i32(),
        })
    }

    pub fn put(&self, output: &mut BytesMut) {
        output.put_u8(self.kind);
        output.put_i32(self.offset);
        output.put_i32(self.length);
        output.put_i32(self.version);
    }

    /// Bytes that follow the header of a command, where a page has so many.
    fn data(&self, page: u32) -> Result<usize, WrongLength> {
        match self.kind {
            Type::UNLOCK | Type::UPDATE if u32::try_from(self.length) == Ok(page) => {
                Ok(page as usize)
            }
            Type::UNLOCK | Type::UPDATE => Err(WrongLength { length: self.length, page }),
            _ => Ok(0),
        }
    }
}

impl Command {
    /// Takes a command off the front of the input. `None`: not all of it is there. Its length is
    /// judged by its header, before any of its data is waited for.
    pub fn take(input: &mut BytesMut, page: u32) -> Result<Option<Self>, WrongLength> {
        let Some(header) = Header::peek(input) else { return Ok(None) };
        let data = header.data(page)?;
        if input.len() - HEADER < data {
            return Ok(None);
        }
        input.advance(HEADER);
        let bytes = input.split_to(data).freeze();
        Ok(Some(Self::of(header, bytes)))
    }

    fn of(header: Header, bytes: Bytes) -> Self {
        let Header { kind, offset: page, version, .. } = header;
        match kind {
            Type::VERSION => Self::Version,
            Type::PARAMS => Self::Params,
            Type::READ => Self::Read { page, version },
            Type::LOCK => Self::Lock { page, version },
            Type::UNLOCK => Self::Unlock { page, bytes },
            Type::UPDATE => Self::Update { page, version, bytes },
            _ => Self::Unknown(header),
        }
    }

    pub fn put(&self, output: &mut BytesMut) {
        let bare = |kind| Header { kind, ..Header::default() };
        let (header, bytes) = match self {
            Self::Version => (bare(Type::VERSION), None),
            Self::Params => (bare(Type::PARAMS), None),
            Self::Read { page, version } => {
                (Header { offset: *page, version: *version, ..bare(Type::READ) }, None)
            }
            Self::Lock { page, version } => {
                (Header { offset: *page, version: *version, ..bare(Type::LOCK) }, None)
            }
            Self::Unlock { page, bytes } => {
                (Header { offset: *page, ..bare(Type::UNLOCK) }, Some(bytes))
            }
            Self::Update { page, version, bytes } => {
                let header = Header { offset: *page, version: *version, ..bare(Type::UPDATE) };
                (header, Some(bytes))
            }
            Self::Unknown(header) => (*header, None),
        };
        put(output, header, bytes);
    }

    /// The type of its header.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Version => Type::VERSION,
            Self::Params => Type::PARAMS,
            Self::Read { .. } => Type::READ,
            Self::Lock { .. } => Type::LOCK,
            Self::Unlock { .. } => Type::UNLOCK,
            Self::Update { .. } => Type::UPDATE,
            Self::Unknown(header) => header.kind,
        }
    }
}

impl Answer {
    pub fn put(&self, output: &mut BytesMut) {
        let bare = |kind| Header { kind, ..Header::default() };
        let (header, bytes) = match self {
            Self::Version(version) => (Header { version: *version, ..bare(Type::VERSION) }, None),
            Self::Params { pages, length } => {
                (Header { offset: *pages, version: *length, ..bare(Type::PARAMS) }, None)
            }
            Self::Page { kind, page, version, bytes } => {
                (Header { offset: *page, version: *version, ..bare(*kind) }, Some(bytes))
            }
            Self::Written { kind, page, version } => {
                (Header { offset: *page, version: *version, ..bare(*kind) }, None)
            }
            Self::NoSuchPage => (bare(Type::NO_SUCH_PAGE), None),
            Self::NotLocked => (bare(Type::NOT_LOCKED), None),
            Self::Unknown(header) => (Header { length: 0, ..*header }, None),
        };
        put(output, header, bytes);
    }

    /// How many bytes follow the header of an answer to a command of the type `asked`, where a page
    /// has so many. They are none, or a page: no other length is believed.
    pub fn data(header: &Header, asked: u8, page: u32) -> Result<u32, Garbled> {
        let refused = matches!(header.kind, Type::NO_SUCH_PAGE | Type::NOT_LOCKED);
        if header.kind != asked && !(refused && asked > Type::PARAMS) {
            return Err(Garbled::Type { kind: header.kind, asked });
        }
        let is_page = matches!(header.kind, Type::READ | Type::LOCK);
        let is_written = matches!(header.kind, Type::UNLOCK | Type::UPDATE);
        if (is_page || is_written) && header.version <= 0 {
            return Err(Garbled::Version { version: header.version });
        }
        match u32::try_from(header.length) {
            Ok(0) => Ok(0),
            Ok(length) if is_page && length == page => Ok(length),
            _ => Err(Garbled::Length { length: header.length, page }),
        }
    }

    /// What an answer says whose `data` was right.
    pub fn of(header: Header, bytes: Bytes) -> Self {
        let Header { kind, offset: page, version, .. } = header;
        match kind {
            Type::VERSION => Self::Version(version),
            Type::PARAMS => Self::Params { pages: page, length: version },
            Type::READ | Type::LOCK => Self::Page { kind, page, version, bytes },
            Type::UNLOCK | Type::UPDATE => Self::Written { kind, page, version },
            Type::NO_SUCH_PAGE => Self::NoSuchPage,
            Type::NOT_LOCKED => Self::NotLocked,
            _ => Self::Unknown(header),
        }
    }
}

fn put(output: &mut BytesMut, mut header: Header, bytes: Option<&Bytes>) {
    let bytes = bytes.map_or(&[][..], |bytes| &bytes[..]);
    // A page is far shorter (`limits::PAGE_SIZE_MAX`).
    header.length = bytes.len().min(i32::MAX as usize) as i32;
    output.reserve(HEADER + bytes.len());
    header.put(output);
    output.put_slice(bytes);
}

#[cfg(test)]
mod tests;
