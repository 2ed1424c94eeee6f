//! What a readiness event is about, packed into mio's token.

use mio::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Bulk threads and other helpers have sent events.
    Threads,
    Stop,
    Listener(u32),
    UnixListener,
    Link(u32),
    Worker(u32),
    WorkerExit(u32),
    WorkerStderr(u32),
    HttpListener,
    Http(u32),
    /// The worker's group was short of memory.
    WorkerShort(u32),
    /// A listener of the worker socket protocol v1.
    ControllerListener(u32),
    /// A listener of NetMem.
    NetMemListener(u32),
    /// A visit's pad has said something.
    Pad(u32),
    PadExit(u32),
    /// Something is due.
    Alarm,
}

const KINDS: u32 = 32;

impl Source {
    pub(crate) fn token(self) -> Token {
        let (kind, index) = match self {
            Self::Threads => (0, 0),
            Self::Stop => (1, 0),
            Self::Listener(index) => (2, index),
            Self::UnixListener => (3, 0),
            Self::Link(index) => (4, index),
            Self::Worker(index) => (5, index),
            Self::WorkerExit(index) => (6, index),
            Self::WorkerStderr(index) => (7, index),
            Self::HttpListener => (8, 0),
            Self::Http(index) => (9, index),
            Self::WorkerShort(index) => (10, index),
            Self::ControllerListener(index) => (11, index),
            Self::NetMemListener(index) => (12, index),
            Self::Alarm => (13, 0),
            Self::Pad(index) => (14, index),
            Self::PadExit(index) => (15, index),
        };
        Token(kind << KINDS | index as usize)
    }

    pub(crate) fn of(token: Token) -> Self {
        let index = token.0 as u32;
        match token.0 >> KINDS {
            0 => Self::Threads,
            1 => Self::Stop,
            2 => Self::Listener(index),
            3 => Self::UnixListener,
            4 => Self::Link(index),
            5 => Self::Worker(index),
            6 => Self::WorkerExit(index),
            7 => Self::WorkerStderr(index),
            8 => Self::HttpListener,
            9 => Self::Http(index),
            10 => Self::WorkerShort(index),
            11 => Self::ControllerListener(index),
            12 => Self::NetMemListener(index),
            13 => Self::Alarm,
            14 => Self::Pad(index),
            15 => Self::PadExit(index),
            kind => unreachable!("no token of kind {kind} was ever given out"),
        }
    }
}
