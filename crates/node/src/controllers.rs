//! Connections of the worker socket protocol v1: from bytes to requests, from answers to bytes.
//!
//! ```text
//!  socket --> input --> front of a message --> small job -------------------> machine
//!                             |               \-> library, into a sealed file ->  ..
//!                             \--> large job: the rest goes from the socket into a shared buffer
//!  socket <-- output <-- pieces (answers, shared buffers) <-------------------- machine
//! ```
//!
//! Such a connection has its place among the links (`links`), and manners of its own: the peer shows
//! no certificate, its messages have no bound but the one that was set, and it reads when it likes.
//! Of a large payload a bounded amount is moved in each turn, so that nobody else waits for it.
//!
//! Elsewhere: what is asked and answered (`logic::controllers`), listening and dialling (`dials`).

mod sending;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use logic::controllers::{Answer, Appetite, Asked, Effect, Event, Request};
use logic::node::{self, Node};
use logic::slots::Bound;
use logic::{LinkId, Payload};
use mio::Registry;
use transport::ReadOutcome;
use wire::frame::{HEADER, Header};
use wire::limits::{
    ARRIVAL_PATIENCE, CONTROLLERS_MAX, FAREWELL_PATIENCE, INLINE_MAX, INPUTS_HELD_MAX,
    LIBRARIES_HELD_MAX, READ_AHEAD, READ_AHEAD_CORE, READ_AHEAD_EACH, UNREAD_PATIENCE,
};
use wire::name::{Hash, Name};
use wire::units::Time;
use wire::worker_v1 as protocol;

use crate::buffers::{Buffer, Buffers};
use crate::links::Links;
use sending::{Sent, weight};

/// Bytes of one large payload that move in one turn.
const TURN: usize = 256 * 1024;

/// All connections of the protocol, by their places among the links.
pub(crate) struct Controllers {
    payload_max: u64,
    table: HashMap<LinkId, Controller>,
    libraries: HashMap<Bound, Library>,
    /// Bytes of libraries that are here, whole or in part.
    held: u64,
    /// The same of inputs that have buffers of their own, until they are answered; and how many there
    /// may be.
    inputs: u64,
    inputs_max: u64,
    /// Bindings named, and connections opened, so far.
    named: u64,
    opened: u64,
    /// Those with something to send or to end.
    busy: Vec<LinkId>,
    /// They were not finished in their turn.
    again: bool,
    /// For the machine, at the next turn.
    said: Vec<(LinkId, Event)>,
}

struct Library {
    link: LinkId,
    file: File,
    length: u64,
}

struct Controller {
    phase: Phase,
    owner: Name,
    born: Time,
    /// When the last bytes came.
    heard: Time,
    /// What each message that is not answered yet counts of `inputs`.
    unanswered: VecDeque<u64>,
    /// A large input is next, and not taken before an answer has made room.
    waits: bool,
    /// Versions were exchanged.
    greeted: bool,
    /// This node opened it, since it was told to.
    is_dialled: bool,
    /// What lies in the connection's input comes before anything else is read.
    held: bool,
    /// It has no more to say.
    ended: bool,
    /// The machine knows that.
    half_closed: bool,
    /// What goes out after the connection's own output.
    pieces: VecDeque<Piece>,
    is_busy: bool,
    stuffed: bool,
    /// Unsent bytes, and since when they are as many.
    unread: Option<(u64, Time)>,
    finish: Finish,
}

/// How far a goodbye is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    No,
    /// Once everything is sent.
    Wanted,
    /// Our side is ended; the peer has so long to end its own.
    Waiting {
        until: Time,
    },
}

/// Where in a message the connection is.
enum Phase {
    /// At its beginning, or in its front.
    Front,
    /// In one that is of no use; this is what becomes of it.
    Skip {
        id: u64,
        left: u64,
        request: Request,
    },
    Input {
        id: u64,
        buffer: Arc<Buffer>,
        filled: u64,
        length: u64,
    },
    Library {
        id: u64,
        name: String,
        upload: Upload,
    },
}

/// A library that is arriving.
struct Upload {
    file: File,
    hasher: Box<blake3::Hasher>,
    length: u64,
    left: u64,
}

enum Piece {
    Bytes(BytesMut),
    Buffer { buffer: Arc<Buffer>, sent: u64, length: u64 },
}

impl Controllers {
    pub(crate) fn new(payload_max: u64) -> Self {
        Self {
            payload_max,
            table: HashMap::new(),
            libraries: HashMap::new(),
            held: 0,
            inputs: 0,
            inputs_max: INPUTS_HELD_MAX.max(payload_max),
            named: 0,
            opened: 0,
            busy: Vec::new(),
            again: false,
            said: Vec::new(),
        }
    }

    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.table.contains_key(&link)
    }

    /// Whether every place is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.table.len() >= CONTROLLERS_MAX
    }

    /// Whether one more may come: the connection that has to go for it is the oldest one that somebody
    /// opened and that has not even exchanged versions. `Err`: there is none.
    pub(crate) fn make_room(&self) -> Result<Option<LinkId>, ()> {
        if !self.is_full() {
            return Ok(None);
        }
        let gives_way = |controller: &Controller| !controller.greeted && !controller.is_dialled;
        let silent = self.table.iter().filter(|(_, controller)| gives_way(controller));
        let oldest = silent.min_by_key(|(_, controller)| controller.born);
        oldest.map(|(link, _)| Some(*link)).ok_or(())
    }

    /// A connection is there; `peer` is for people. Returns the name that its programs run under:
    /// nobody else's, so that what one peer has sent is in no buffer of another's.
    pub(crate) fn open(&mut self, now: Time, link: LinkId, peer: &str, buffers: &Buffers) -> Name {
        self.opened += 1;
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let peer: String = peer.chars().map(plain).take(32).collect();
        let name = format!("v1-{}-{peer}", self.opened);
        let owner: Name = name.parse().unwrap_or_else(|error| unreachable!("{error}"));
        buffers.expect_guest(&owner);
        self.table.insert(
            link,
            Controller {
                phase: Phase::Front,
                owner: owner.clone(),
                born: now,
                heard: now,
                unanswered: VecDeque::new(),
                waits: false,
                greeted: false,
                is_dialled: false,
                held: false,
                ended: false,
                half_closed: false,
                pieces: VecDeque::new(),
                is_busy: false,
                stuffed: false,
                unread: None,
                finish: Finish::No,
            },
        );
        owner
    }

    /// This node has opened the connection.
    pub(crate) fn note_dialled(&mut self, link: LinkId) {
        if let Some(controller) = self.table.get_mut(&link) {
            controller.is_dialled = true;
        }
    }

    /// The connection is gone. Returns whether versions had been exchanged over it.
    pub(crate) fn forget(&mut self, buffers: &Buffers, link: LinkId) -> bool {
        let Some(gone) = self.table.remove(&link) else { return false };
        self.busy.retain(|other| *other != link);
        self.said.retain(|(of, _)| *of != link);
        match gone.phase {
            Phase::Input { buffer, filled, .. } => {
                self.inputs -= filled;
                buffers.release(buffer.id);
            }
            Phase::Library { upload, .. } => self.held -= upload.arrived(),
            Phase::Front | Phase::Skip { .. } => {}
        }
        self.inputs -= gone.unanswered.iter().sum::<u64>();
        for piece in gone.pieces {
            if let Piece::Buffer { buffer, .. } = piece {
                buffers.release(buffer.id);
            }
        }
        for (_, library) in self.libraries.extract_if(|_, library| library.link == link) {
            self.held -= library.length;
        }
        gone.greeted
    }

    /// The library that a bound worker is to load.
    pub(crate) fn library(&self, bound: Bound) -> Option<BorrowedFd<'_>> {
        self.libraries.get(&bound).map(|library| library.file.as_fd())
    }

    // From bytes to requests.

    /// Reads once from a connection. Returns whether it lives.
    pub(crate) fn read(
        &mut self,
        now: Time,
        link: LinkId,
        links: &mut Links,
        node: &mut Node,
        buffers: &Buffers,
    ) -> bool {
        let Some(controller) = self.table.get_mut(&link) else { return true };
        let Some(entry) = links.get_mut(link) else { return true };
        if node.appetite(link) == Appetite::Done {
            entry.connection.input().clear();
            controller.waits = false;
        }
        let at_front = matches!(controller.phase, Phase::Front);
        if controller.waits || at_front && node.appetite(link) == Appetite::Full {
            return true;
        }
        if self.inputs >= self.inputs_max {
            self.inputs -= controller.give_up_input(buffers);
        }
        let mut more = true;
        let before = entry.connection.input().len();
        if !std::mem::take(&mut controller.held) {
            more = match &mut controller.phase {
                Phase::Input { buffer, filled, length, .. }
                    if entry.connection.input().is_empty() =>
                {
                    let had = *filled;
                    let filling = fill(&*entry.connection, buffer, filled, *length);
                    self.inputs += *filled - had;
                    if *filled > had {
                        controller.heard = now;
                    }
                    match filling {
                        Some(more) => more,
                        None => return false,
                    }
                }
                _ => match entry.connection.read() {
                    Ok(ReadOutcome::Drained) => false,
                    Ok(ReadOutcome::More) => true,
                    Ok(ReadOutcome::Closed) => {
                        controller.ended = true;
                        false
                    }
                    Err(_) => return false,
                },
            };
        }
        if entry.connection.input().len() > before {
            controller.heard = now;
        }
        let asked = |node: &mut Node, asked| {
            let event = Event::Asked(asked);
            node.handle(now, node::Event::Controller { link, event });
        };
        let mut appetite = node.appetite(link);
        loop {
            let Some(controller) = self.table.get_mut(&link) else { return true };
            let Some(entry) = links.get_mut(link) else { return true };
            let input = entry.connection.input();
            let at_front = matches!(controller.phase, Phase::Front);
            if appetite == Appetite::Done || at_front && appetite == Appetite::Full {
                break;
            }
            match self.take(link, input, node.is_open(link), buffers) {
                Took::Nothing => break,
                Took::Front => {
                    if let Some(controller) = self.table.get_mut(&link) {
                        controller.heard = now;
                    }
                }
                Took::Asked(one) => {
                    if let Some(controller) = self.table.get_mut(&link) {
                        controller.unanswered.push_back(held(&one.request));
                    }
                    asked(node, one);
                    appetite = node.appetite(link);
                }
            }
        }
        let Some(controller) = self.table.get_mut(&link) else { return true };
        let Some(entry) = links.get_mut(link) else { return true };
        if appetite == Appetite::Done {
            entry.connection.input().clear();
            controller.phase = match std::mem::replace(&mut controller.phase, Phase::Front) {
                Phase::Input { buffer, filled, .. } => {
                    self.inputs -= filled;
                    buffers.release(buffer.id);
                    Phase::Front
                }
                Phase::Library { upload, .. } => {
                    self.held -= upload.arrived();
                    Phase::Front
                }
                Phase::Front | Phase::Skip { .. } => Phase::Front,
            };
        }
        let is_within = !matches!(controller.phase, Phase::Front);
        if controller.ended && is_within && appetite != Appetite::Done {
            // It ended within a message: nothing of it was meant.
            return false;
        }
        if controller.waits {
            return true;
        }
        if controller.ended {
            match appetite {
                Appetite::Full => {}
                Appetite::Done => return !matches!(controller.finish, Finish::Waiting { .. }),
                Appetite::Hungry => {
                    if !entry.connection.input().is_empty() {
                        // The same, of a message whose front has not come.
                        return false;
                    }
                    if !std::mem::replace(&mut controller.half_closed, true) {
                        let event = Event::HalfClosed;
                        node.handle(now, node::Event::Controller { link, event });
                    }
                }
            }
        } else if more && appetite != Appetite::Full {
            links.read_again(link);
        }
        true
    }

    /// Takes the next piece of a message out of the input.
    fn take(
        &mut self,
        link: LinkId,
        input: &mut BytesMut,
        is_open: bool,
        buffers: &Buffers,
    ) -> Took {
        let Some(controller) = self.table.get_mut(&link) else { return Took::Nothing };
        let phase = std::mem::replace(&mut controller.phase, Phase::Front);
        let (phase, took) = match phase {
            Phase::Front => return self.take_front(link, input, is_open, buffers),
            Phase::Skip { id, left, request } => {
                let count = left.min(input.len() as u64);
                input.advance(count as usize);
                if left > count {
                    (Phase::Skip { id, left: left - count, request }, Took::Nothing)
                } else {
                    (Phase::Front, Took::Asked(Asked { id, weight: READ_AHEAD_EACH, request }))
                }
            }
            Phase::Input { id, buffer, mut filled, length } => {
                let count = (length - filled).min(input.len() as u64) as usize;
                // It fits: the buffer is at least `length` bytes long.
                let _ = buffer.shared.copy_in(filled as usize, &input[..count]);
                input.advance(count);
                filled += count as u64;
                self.inputs += count as u64;
                if filled < length {
                    (Phase::Input { id, buffer, filled, length }, Took::Nothing)
                } else {
                    let weight = READ_AHEAD_EACH + weight(&buffer);
                    let input = Payload::Buffer { buffer: buffer.id, length };
                    let request = Request::Job { input };
                    (Phase::Front, Took::Asked(Asked { id, weight, request }))
                }
            }
            Phase::Library { id, name, mut upload } => {
                let count = upload.left.min(input.len() as u64) as usize;
                let (had, left) = (upload.arrived(), upload.left - count as u64);
                let written = match self.held + count as u64 {
                    held if held > LIBRARIES_HELD_MAX => Err(too_many_libraries(self.held, left)),
                    _ => upload.write(&input[..count]).map_err(|error| cannot_keep(&error)),
                };
                input.advance(count);
                self.held += if written.is_ok() { count as u64 } else { 0 };
                match written {
                    Err(reason) => {
                        self.held -= had;
                        let request = Request::Nonsense { reason };
                        (Phase::Skip { id, left, request }, Took::Front)
                    }
                    Ok(()) if upload.left > 0 => {
                        (Phase::Library { id, name, upload }, Took::Nothing)
                    }
                    Ok(()) => (Phase::Front, Took::Asked(self.keep(link, id, name, upload))),
                }
            }
        };
        if let Some(controller) = self.table.get_mut(&link) {
            controller.phase = phase;
        }
        took
    }

    /// Takes the front of a message, or all of a small one.
    fn take_front(
        &mut self,
        link: LinkId,
        input: &mut BytesMut,
        is_open: bool,
        buffers: &Buffers,
    ) -> Took {
        let Some(header) = Header::peek(input) else { return Took::Nothing };
        let id = header.channel;
        let asked = |request| Took::Asked(Asked { id, weight: READ_AHEAD_EACH, request });
        if header.length > self.payload_max {
            let reason = format!(
                "payload too large: {} bytes; this node takes at most {}",
                header.length, self.payload_max
            );
            return asked(Request::TooLong { reason });
        }
        let arrived = ((input.len() - HEADER) as u64).min(header.length) as usize;
        let front = &input[HEADER..HEADER + arrived];
        let (phase, took) = match protocol::open(&header, front) {
            Ok(None) => return Took::Nothing,
            Err(nonsense) => {
                input.advance(HEADER);
                let reason = nonsense.to_string();
                let request = match nonsense {
                    protocol::Nonsense::VersionLength { .. } => Request::NoVersion { reason },
                    _ => Request::Nonsense { reason },
                };
                (Phase::Skip { id, left: header.length, request }, Took::Front)
            }
            Ok(Some(protocol::Request::Version(version))) => {
                input.advance(HEADER + header.length as usize);
                return asked(Request::Version(version));
            }
            Ok(Some(protocol::Request::Job { input: blob, .. }))
                if blob.length <= INLINE_MAX as u64 =>
            {
                if (arrived as u64) < header.length {
                    return Took::Nothing;
                }
                let mut message = input.split_to(HEADER + arrived);
                message.advance(HEADER + blob.start as usize);
                let weight = READ_AHEAD_EACH + blob.length;
                let input = Payload::Inline(message.freeze());
                return Took::Asked(Asked { id, weight, request: Request::Job { input } });
            }
            // Until versions are exchanged, which the answer says, nothing is kept of what is large.
            Ok(Some(_)) if !is_open => {
                input.advance(HEADER);
                let reason = "versions come first".to_owned();
                let request = Request::Nonsense { reason };
                (Phase::Skip { id, left: header.length, request }, Took::Front)
            }
            Ok(Some(protocol::Request::Job { .. })) if self.must_wait(link) => {
                return Took::Nothing;
            }
            Ok(Some(protocol::Request::Job { input: blob, .. })) => {
                input.advance(HEADER + blob.start as usize);
                (self.begin_input(link, id, blob.length, buffers), Took::Front)
            }
            Ok(Some(protocol::Request::Core { name, library })) => {
                input.advance(HEADER + library.start as usize);
                (self.begin_library(id, name, library.length), Took::Front)
            }
        };
        if let Some(controller) = self.table.get_mut(&link) {
            controller.phase = phase;
        }
        took
    }

    /// Whether a large input has to wait until its connection has had an answer: there are many
    /// already, and one that waits for none would wait for ever.
    fn must_wait(&mut self, link: LinkId) -> bool {
        let Some(controller) = self.table.get_mut(&link) else { return false };
        controller.waits = self.inputs > self.inputs_max / 2 && !controller.unanswered.is_empty();
        controller.waits
    }

    fn begin_input(&self, link: LinkId, id: u64, length: u64, buffers: &Buffers) -> Phase {
        let owner = self.table.get(&link).map(|controller| &controller.owner);
        match owner.and_then(|owner| buffers.take(owner, length)) {
            Some(buffer) => Phase::Input { id, buffer, filled: 0, length },
            None => {
                let reason = format!("the node has no memory for an input of {length} bytes");
                Phase::Skip { id, left: length, request: Request::Nonsense { reason } }
            }
        }
    }

    fn begin_library(&mut self, id: u64, name: String, length: u64) -> Phase {
        let refuse =
            |reason| Phase::Skip { id, left: length, request: Request::Nonsense { reason } };
        if self.held.saturating_add(length) > LIBRARIES_HELD_MAX {
            return refuse(too_many_libraries(self.held, length));
        }
        match sys::files::in_memory("farcall-library") {
            Ok(file) => {
                let hasher = Box::new(blake3::Hasher::new());
                Phase::Library { id, name, upload: Upload { file, hasher, length, left: length } }
            }
            Err(error) => refuse(cannot_keep(&error)),
        }
    }

    /// A library is whole.
    fn keep(&mut self, link: LinkId, id: u64, name: String, upload: Upload) -> Asked {
        let Upload { file, hasher, length, .. } = upload;
        let hash = Hash(*hasher.finalize().as_bytes());
        if let Err(error) = sys::files::seal(&file) {
            self.held -= length;
            let reason = cannot_keep(&error);
            return Asked { id, weight: READ_AHEAD_EACH, request: Request::Nonsense { reason } };
        }
        self.named += 1;
        let bound = Bound(self.named);
        self.libraries.insert(bound, Library { link, file, length });
        let request = Request::Core { name, hash, bound };
        Asked { id, weight: READ_AHEAD_EACH + length.max(READ_AHEAD_CORE), request }
    }

    // From answers to bytes.

    pub(crate) fn carry_out(&mut self, links: &mut Links, buffers: &Buffers, effect: Effect) {
        match effect {
            Effect::Reply { link, id, answer } => self.reply(links, buffers, link, id, answer),
            Effect::Listen { link } => {
                if let Some(controller) = self.table.get_mut(&link) {
                    controller.held = true;
                    links.read_again(link);
                }
            }
            Effect::Finish { link } => {
                if let Some(controller) = self.table.get_mut(&link) {
                    controller.finish = Finish::Wanted;
                    self.set_busy(link);
                }
            }
            Effect::Forget { bound } => {
                if let Some(library) = self.libraries.remove(&bound) {
                    self.held -= library.length;
                }
            }
            Effect::Bind { .. }
            | Effect::Unbind { .. }
            | Effect::Run { .. }
            | Effect::Release { .. } => unreachable!("the machine gives these to `slots`"),
        }
    }

    fn reply(
        &mut self,
        links: &mut Links,
        buffers: &Buffers,
        link: LinkId,
        id: u64,
        answer: Answer,
    ) {
        let payload = match &answer {
            Answer::Result { output: Payload::Buffer { buffer, length }, .. } => {
                buffers.get(*buffer).map(|buffer| (buffer, *length))
            }
            _ => None,
        };
        let (Some(controller), Some(output)) = (self.table.get_mut(&link), links.output(link))
        else {
            // It went in the same breath.
            if let Some((buffer, _)) = payload {
                buffers.release(buffer.id);
            }
            return;
        };
        let mut again = false;
        if let Some(Piece::Buffer { .. }) = controller.pieces.back() {
            controller.pieces.push_back(Piece::Bytes(BytesMut::new()));
        }
        self.inputs -= controller.unanswered.pop_front().unwrap_or(0);
        if std::mem::take(&mut controller.waits) {
            controller.held = true;
            again = true;
        }
        let output = match controller.pieces.back_mut() {
            Some(Piece::Bytes(bytes)) => bytes,
            Some(Piece::Buffer { .. }) | None => output,
        };
        match answer {
            Answer::Version { accepted } => {
                controller.greeted |= accepted;
                protocol::put_version_answer(output, id, accepted);
            }
            Answer::Loaded => protocol::put_loaded(output, id),
            Answer::Error(text) => protocol::put_error(output, id, &text),
            Answer::Result { code, output: Payload::Inline(bytes) } => {
                protocol::put_result(output, id, code, bytes.len() as u64);
                output.extend_from_slice(&bytes);
            }
            Answer::Result { code, .. } => match payload {
                Some((buffer, length)) => {
                    protocol::put_result(output, id, code, length);
                    controller.pieces.push_back(Piece::Buffer { buffer, sent: 0, length });
                }
                None => protocol::put_error(output, id, "the output was lost"),
            },
        }
        self.set_busy(link);
        if again {
            links.read_again(link);
        }
    }

    fn set_busy(&mut self, link: LinkId) {
        if let Some(controller) = self.table.get_mut(&link)
            && !std::mem::replace(&mut controller.is_busy, true)
        {
            self.busy.push(link);
        }
    }

    /// Sends what the links' own flush has left. Returns the connections that are over.
    pub(crate) fn flush(
        &mut self,
        now: Time,
        links: &mut Links,
        registry: &Registry,
        buffers: &Buffers,
    ) -> Vec<LinkId> {
        self.again = false;
        let mut over = Vec::new();
        for link in std::mem::take(&mut self.busy) {
            let Some(controller) = self.table.get_mut(&link) else { continue };
            controller.is_busy = false;
            let Some(entry) = links.get_mut(link) else { continue };
            let Ok(sent) = controller.send(&mut entry.connection, registry, buffers) else {
                over.push(link);
                continue;
            };
            let unsent = controller.unsent(entry.connection.unsent());
            let weight = controller.weight(entry.connection.unsent());
            let stuffed =
                if controller.stuffed { weight > READ_AHEAD / 2 } else { weight > READ_AHEAD };
            if std::mem::replace(&mut controller.stuffed, stuffed) != stuffed {
                self.said.push((link, Event::Stuffed(stuffed)));
            }
            if unsent > 0 {
                let since = controller.unread.filter(|(was, _)| *was == unsent);
                controller.unread = Some((unsent, since.map_or(now, |(_, since)| since)));
                // The rest goes out when the socket takes more, or in the next turn.
                if sent == Sent::SoFar {
                    self.again = true;
                    self.set_busy(link);
                }
                continue;
            }
            controller.unread = None;
            if controller.finish == Finish::Wanted {
                entry.connection.close();
                controller.finish = Finish::Waiting { until: now + FAREWELL_PATIENCE };
                // What it says now is dropped, until it has no more to say.
                links.read_again(link);
            }
            if controller.ended && matches!(controller.finish, Finish::Waiting { .. }) {
                over.push(link);
            }
        }
        over
    }

    /// A connection may be written to again.
    pub(crate) fn writable(&mut self, link: LinkId) {
        self.set_busy(link);
    }

    /// What the machine is to know since the last turn.
    pub(crate) fn take_said(&mut self) -> Vec<(LinkId, Event)> {
        std::mem::take(&mut self.said)
    }

    /// There is work that no readiness will tell of.
    pub(crate) fn has_work(&self) -> bool {
        self.again || !self.said.is_empty()
    }

    /// Nothing is on its way to a peer.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.is_empty() && self.table.values().all(|controller| controller.unread.is_none())
    }

    /// Those whose patience is over.
    pub(crate) fn overdue(&self, now: Time) -> Vec<LinkId> {
        let overdue = self.table.iter().filter(|(_, controller)| controller.due() <= now);
        overdue.map(|(link, _)| *link).collect()
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        self.table.values().map(Controller::due).min().unwrap_or(Time::NEVER)
    }
}

/// What came out of the input.
enum Took {
    /// More must arrive.
    Nothing,
    /// The front of a message.
    Front,
    Asked(Asked),
}

/// Reads the rest of an input straight into its buffer. Returns whether there may be more to read;
/// `None`: the connection is over, within a message.
fn fill(from: &impl AsFd, buffer: &Buffer, filled: &mut u64, length: u64) -> Option<bool> {
    let mut room = TURN as u64;
    while room > 0 && *filled < length {
        let count = (length - *filled).min(room);
        match buffer.shared.read_from(from, *filled as usize, count as usize) {
            Ok(0) => return None,
            Ok(count) => {
                *filled += count as u64;
                room -= count as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(false),
            Err(_) => return None,
        }
    }
    Some(true)
}

/// What a message counts of the inputs that are held.
fn held(request: &Request) -> u64 {
    match request {
        Request::Job { input: Payload::Buffer { length, .. } } => *length,
        Request::Job { .. }
        | Request::Version(_)
        | Request::Core { .. }
        | Request::NoVersion { .. }
        | Request::Nonsense { .. }
        | Request::TooLong { .. } => 0,
    }
}

fn too_many_libraries(held: u64, more: u64) -> String {
    format!("the node holds {held} bytes of libraries already, and {more} are too many more")
}

fn cannot_keep(error: &dyn std::error::Error) -> String {
    format!("the node cannot keep the library: {error}")
}

impl Upload {
    fn arrived(&self) -> u64 {
        self.length - self.left
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)?;
        self.left -= bytes.len() as u64;
        Ok(())
    }
}

impl Controller {
    fn due(&self) -> Time {
        let unread = self.unread.map_or(Time::NEVER, |(_, since)| since + UNREAD_PATIENCE);
        let unread = match self.phase {
            Phase::Input { .. } | Phase::Library { .. } => {
                unread.min(self.heard + ARRIVAL_PATIENCE)
            }
            Phase::Front | Phase::Skip { .. } => unread,
        };
        match self.finish {
            Finish::Waiting { until } => until.min(unread),
            Finish::No | Finish::Wanted => unread,
        }
    }

    /// Drops what has come of a large input, and skips the rest. Returns how much that was.
    fn give_up_input(&mut self, buffers: &Buffers) -> u64 {
        let Phase::Input { id, buffer, filled, length } = &self.phase else { return 0 };
        let (id, filled, left) = (*id, *filled, *length - *filled);
        buffers.release(buffer.id);
        let reason = "the node holds too many inputs already; try again later".to_owned();
        self.phase = Phase::Skip { id, left, request: Request::Nonsense { reason } };
        filled
    }
}

#[cfg(test)]
mod tests;
