//! A process that moves: between its source and the pad that lets it in, over one connection.
//!
//! ```text
//! source                                              pad
//!   HELLO (Visit, Begin)        ->                         to the node, which starts the pad
//!                               <-  WELCOME                its `link` names the visit
//!   the image, as bytes without frames ->
//!                               <-  BUILT                  or REFUSED: built, and not one instruction run
//!   WAKE                        ->                         the commit: from here the source is in doubt
//!                               <-  WOKEN                  or REFUSED: it runs there, or never did
//!   STDIO TAKEN CLOSED RESIZE   <->  STDIO TAKEN CLOSED MODES STOPPED
//!                               <-  EXITED
//! ```
//!
//! A connection that is lost is made again with `Return`, which the pad answers with `WOKEN` or `REFUSED`,
//! and the node with `GOODBYE Absent` when there is no such visit, or `Over` when it ran and is no more. Each direction
//! of each stream counts its bytes, so that nothing is lost or doubled over two connections.
//!
//! Calls of copies come over one connection, as many as there are: instead of the image of one process the first
//! thing on it is a `CALL`, and each copy has a channel of its own.
//!
//! ```text
//!   CALL IMAGE ... IMAGE        ->                         on channel n: what has changed since the last
//!                               <-  WOKEN                  it runs; BUILT: its memory is kept; or REFUSED
//!   STDIO TAKEN CLOSED          ->
//!                               <-  STDIO CLOSED EXITED
//! ```
//!
//! A process that goes ahead of its memory has two more connections (`Pages`), made before its image is sent:
//! a node whose kernel does not let pages follow answers them with `GOODBYE Full`, and then all is sent.
//!
//! Elsewhere: who may say what when (`logic::visit`), the image (`image`), the greeting (`hello`).

use serde::{Deserialize, Serialize};

use crate::blob::Permit;
use crate::name::Name;
use crate::units::Span;

/// What a connection of purpose Visit begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A process wants in: its image follows.
    Begin(Begin),
    /// Another connection for a visit that this client began: to its standard streams, or to learn
    /// what became of it.
    Return { visit: u64 },
    /// One of two more connections for a visit that this client began, over which pages follow their
    /// process: made before its image is sent.
    Pages { visit: u64, lane: Lane },
    /// A copy of a process of which several nodes get one: its image comes from here, or from the node before, and
    /// goes on to the next one.
    Chained(Chained),
    /// A node's connection for the image that a visit here passes on. Behind the greeting that comes, and no more.
    Onward { permit: Permit },
}

/// A visit that is one of several of the same image.
///
/// ```text
/// client            node a              node b              node c
///   Chained, onward p  ->
///   Chained, from a p, onward q             ->
///   Chained, from b q                                           ->
///                        <- HELLO Onward p
///                                           <- HELLO Onward q
///   the image       ->  ==================> ==================>        BUILT, WAKE, … to each as ever
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    pub begin: Begin,
    /// What the caller of the copy's fork learns.
    pub number: u32,
    /// The node to get the image from, and the right to it; without it comes over this connection.
    pub from: Option<(Name, Permit)>,
    /// Who shows this gets the image from here.
    pub onward: Option<Permit>,
}

/// What comes next over a connection of `Begin`, where a process moves in rounds: a byte before each image. Before
/// an image that comes alone there is none; it begins with another byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// All of a process that runs on; more follows.
    Whole,
    /// What has changed in it since the round before; more follows.
    Changes,
    /// All of it, as it is to run here.
    LastWhole,
    /// The last changes, and with them all that is no memory.
    LastChanges,
}

/// What a node tells its pad with a connection that carries no pages (of those that do, `Lane::byte`): with the first
/// one of a visitor that is to have a terminal, that.
pub const PLAIN: u8 = 0;
pub const WITH_TERMINAL: u8 = 3;

/// Which of the connections that pages come over (`image::paging`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// All of them, and the end.
    Stream,
    /// Those that are waited for.
    Faults,
}

/// What a node is told of a process before its image; for people, and to limit it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The host that it comes from.
    pub from: String,
    /// Its number there; 0 for one that was a file.
    pub pid: u32,
    pub command: String,
    /// Bytes that it may have here; 0 is no limit.
    pub memory: u64,
    /// It is to have a terminal. Told before its image comes: a session has its terminal before a process is
    /// made in it.
    pub terminal: bool,
}

/// A copy of the client's process, on a channel of its own; its image follows in pieces. Beside it there may be
/// others, all of the same memory: each is told by what has changed since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub image: CallImage,
    /// Whether it wakes at once; otherwise its memory is only kept, for those that come.
    pub wakes: bool,
}

/// What the image of a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallImage {
    /// All of it: what was kept is of no more use.
    Whole,
    /// Upon the image that was kept last.
    Changes,
}

/// It stands ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    pub pid: u32,
    /// How long it waits for `WAKE`.
    pub lease: Span,
}

/// It does not run here, and never will in this visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// `what; next step`.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    pub alone: Alone,
    /// The size of its terminal, if it has one.
    pub terminal: Option<Resize>,
}

/// What becomes of a visitor whose client is gone and does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alone {
    /// It is ended, as a terminal's programs are when it is closed.
    Ends,
    /// It goes on; what it writes is thrown away, and there is nothing more to read.
    GoesOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Woken {
    pub pid: u32,
}

/// The stream of a visitor's terminal, in both directions.
pub const TERMINAL: u8 = 3;
/// The stream of signals to it: each byte is the number of one. So none is lost, or comes twice, whatever
/// becomes of connections.
pub const SIGNALS: u8 = 4;

/// Bytes of a stream follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// 0, 1 or 2, `TERMINAL` or `SIGNALS`.
    pub stream: u8,
    /// How many bytes of the stream come before these.
    pub at: u64,
}

/// So many bytes of a stream have arrived and are done with: `STDIO_WINDOW` more may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub stream: u8,
    pub bytes: u64,
}

/// The stream has no more bytes than these; or, from who reads it, nobody reads it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub stream: u8,
    pub at: u64,
}

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    pub rows: u16,
    pub columns: u16,
}

/// The visitor was stopped by this signal; `SIGCONT` has it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub number: u8,
}

/// How the visitor ended; nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exited {
    Code(i32),
    Signal(u8),
}

/// The visitors of a node, of one owner or, for an admin, of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visits {
    pub visits: Vec<Visit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Its number on this node, since its start.
    pub number: u32,
    pub owner: Name,
    pub begin: Begin,
    pub stage: Stage,
    /// Here; 0 before there is a process.
    pub pid: u32,
    pub since: Span,
}

/// How far a visit is. A pad tells its node each by the byte of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Its image comes.
    Arriving,
    Built,
    Runs,
    /// It has ended, and its client does not know yet.
    Ended,
    /// Memory is kept for calls of its client, and none runs.
    Idle,
    /// It never ran, and never will.
    Refused,
}

impl Round {
    pub fn byte(self) -> u8 {
        match self {
            Self::Whole => 1,
            Self::Changes => 2,
            Self::LastWhole => 3,
            Self::LastChanges => 4,
        }
    }

    pub fn of_byte(byte: u8) -> Option<Self> {
        let all = [Self::Whole, Self::Changes, Self::LastWhole, Self::LastChanges];
        all.into_iter().find(|round| round.byte() == byte)
    }
}

impl Lane {
    /// How a node tells its pad of a connection that is not its first kind, whose byte is 0.
    pub fn byte(self) -> u8 {
        match self {
            Self::Stream => 1,
            Self::Faults => 2,
        }
    }

    pub fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Stream),
            2 => Some(Self::Faults),
            _ => None,
        }
    }
}

impl Stage {
    pub fn byte(self) -> u8 {
        match self {
            Self::Arriving => 0,
            Self::Built => 1,
            Self::Runs => 2,
            Self::Ended => 3,
            Self::Idle => 4,
            Self::Refused => 5,
        }
    }

    pub fn of_byte(byte: u8) -> Option<Self> {
        let all = [Self::Arriving, Self::Built, Self::Runs, Self::Ended, Self::Idle, Self::Refused];
        all.get(usize::from(byte)).copied()
    }
}
