//! The one enum that machines handle, its encoding and its decoding.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{self, Frame, Kind};
use crate::terminal::Modes;
use crate::{blob, hello, job, join, member, region, status, task, visit, worker};

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Version(u32),
    VersionAnswer {
        accepted: bool,
    },
    Hello(hello::Hello),
    Welcome(hello::Welcome),
    Ping,
    Pong,
    Goodbye(hello::Goodbye),
    Define(task::Define),
    Credit(task::Credit),
    Run(task::Run),
    Done(task::Done),
    Cancel,
    TakeBack(task::TakeBack),
    Returned(task::Returned),
    Data(Bytes),
    End,
    Window(task::Window),
    Log(job::Log, Bytes),
    Job(job::Job),
    Have(blob::Have),
    Known(blob::Known),
    Put(blob::Put, Bytes),
    Stored(blob::Stored),
    Lend(blob::Lend),
    Lent(blob::Lent),
    Fetch(blob::Fetch),
    Fetched(blob::Fetched),
    Members(member::Members),
    MembersAsk,
    StatusAsk,
    Status(status::Report),
    WhyAsk(job::WhyAsk),
    /// Far larger than whatever else is passed around, and seldom.
    Why(Box<job::Why>),
    JobsAsk,
    Jobs(job::Jobs),
    Join(join::Join),
    Joined(join::Joined),
    Setup(worker::Setup),
    Ready(worker::Ready),
    Buffer(worker::Buffer),
    Need(worker::Need),
    RegionCreate(region::Create),
    RegionCreated(Box<region::Created>),
    RegionsAsk,
    Regions(region::Regions),
    RegionDrop(region::Drop),
    RegionDropped(region::Dropped),
    Attach(region::Attach),
    Attached(Box<region::Attached>),
    Request(region::Ask, Bytes),
    Answer(region::Answer, Bytes),
    Changed(region::Changed),
    Recall(region::Recall),
    Built(visit::Built),
    Refused(visit::Refused),
    Wake(visit::Wake),
    Woken(visit::Woken),
    Stdio(visit::Stdio, Bytes),
    Taken(visit::Taken),
    Closed(visit::Closed),
    Modes(Modes),
    Resize(visit::Resize),
    Stopped(visit::Stopped),
    Exited(visit::Exited),
    VisitsAsk,
    Visits(visit::Visits),
    Call(visit::Call),
    /// The next bytes of an image; none: it breaks off.
    Image(Bytes),
}

/// Why a frame is no message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("a frame of unknown kind {kind:#04x}")]
    UnknownKind { kind: u8 },
    #[error("a frame of kind {kind:#04x} whose {length} bytes are no such message")]
    Malformed { kind: u8, length: usize },
}

impl Message {
    /// Appends the message as a frame.
    pub fn encode(&self, channel: u64, output: &mut BytesMut) {
        let empty = |kind| (kind, None);
        let (kind, trailer): (u8, Option<&[u8]>) = match self {
            Self::Version(_) | Self::VersionAnswer { .. } => empty(Kind::VERSION),
            Self::Hello(_) => empty(Kind::HELLO),
            Self::Welcome(_) => empty(Kind::WELCOME),
            Self::Ping => empty(Kind::PING),
            Self::Pong => empty(Kind::PONG),
            Self::Goodbye(_) => empty(Kind::GOODBYE),
            Self::Define(_) => empty(Kind::DEFINE),
            Self::Credit(_) => empty(Kind::CREDIT),
            Self::Run(run) => (Kind::RUN, Some(&run.inline)),
            Self::Done(done) => (Kind::DONE, Some(&done.inline)),
            Self::Cancel => empty(Kind::CANCEL),
            Self::TakeBack(_) => empty(Kind::TAKE_BACK),
            Self::Returned(_) => empty(Kind::RETURNED),
            Self::Data(bytes) => (Kind::DATA, Some(bytes)),
            Self::End => empty(Kind::END),
            Self::Window(_) => empty(Kind::WINDOW),
            Self::Log(_, bytes) => (Kind::LOG, Some(bytes)),
            Self::Job(_) => empty(Kind::JOB),
            Self::Have(_) => empty(Kind::HAVE),
            Self::Known(_) => empty(Kind::KNOWN),
            Self::Put(_, bytes) => (Kind::PUT, Some(bytes)),
            Self::Stored(_) => empty(Kind::STORED),
            Self::Lend(_) => empty(Kind::LEND),
            Self::Lent(_) => empty(Kind::LENT),
            Self::Fetch(_) => empty(Kind::FETCH),
            Self::Fetched(_) => empty(Kind::FETCHED),
            Self::Members(_) => empty(Kind::MEMBERS),
            Self::MembersAsk => empty(Kind::MEMBERS_ASK),
            Self::StatusAsk => empty(Kind::STATUS_ASK),
            Self::Status(_) => empty(Kind::STATUS),
            Self::WhyAsk(_) => empty(Kind::WHY_ASK),
            Self::Why(_) => empty(Kind::WHY),
            Self::JobsAsk => empty(Kind::JOBS_ASK),
            Self::Jobs(_) => empty(Kind::JOBS),
            Self::Join(_) => empty(Kind::JOIN),
            Self::Joined(_) => empty(Kind::JOINED),
            Self::Setup(_) => empty(Kind::SETUP),
            Self::Ready(_) => empty(Kind::READY),
            Self::Buffer(_) => empty(Kind::BUFFER),
            Self::Need(_) => empty(Kind::NEED),
            Self::RegionCreate(_) => empty(Kind::REGION_CREATE),
            Self::RegionCreated(_) => empty(Kind::REGION_CREATED),
            Self::RegionsAsk => empty(Kind::REGIONS_ASK),
            Self::Regions(_) => empty(Kind::REGIONS),
            Self::RegionDrop(_) => empty(Kind::REGION_DROP),
            Self::RegionDropped(_) => empty(Kind::REGION_DROPPED),
            Self::Attach(_) => empty(Kind::ATTACH),
            Self::Attached(_) => empty(Kind::ATTACHED),
            Self::Request(_, bytes) => (Kind::REQUEST, Some(bytes)),
            Self::Answer(_, bytes) => (Kind::ANSWER, Some(bytes)),
            Self::Changed(_) => empty(Kind::CHANGED),
            Self::Recall(_) => empty(Kind::RECALL),
            Self::Built(_) => empty(Kind::BUILT),
            Self::Refused(_) => empty(Kind::REFUSED),
            Self::Wake(_) => empty(Kind::WAKE),
            Self::Woken(_) => empty(Kind::WOKEN),
            Self::Stdio(_, bytes) => (Kind::STDIO, Some(bytes)),
            Self::Taken(_) => empty(Kind::TAKEN),
            Self::Closed(_) => empty(Kind::CLOSED),
            Self::Modes(_) => empty(Kind::MODES),
            Self::Resize(_) => empty(Kind::RESIZE),
            Self::Stopped(_) => empty(Kind::STOPPED),
            Self::Exited(_) => empty(Kind::EXITED),
            Self::VisitsAsk => empty(Kind::VISITS_ASK),
            Self::Visits(_) => empty(Kind::VISITS),
            Self::Call(_) => empty(Kind::CALL),
            Self::Image(bytes) => (Kind::IMAGE, Some(bytes)),
        };
        frame::put(output, kind, channel, |body| {
            self.put_head(body);
            if let Some(trailer) = trailer {
                body.put_slice(trailer);
            }
        });
    }

    fn put_head(&self, body: &mut BytesMut) {
        match self {
            Self::Version(version) => body.put_u32_le(*version),
            Self::VersionAnswer { accepted } => body.put_u8(u8::from(*accepted)),
            Self::Run(run) => put_small(body, &run.head),
            Self::Done(done) => put_done(body, &done.head),
            Self::Credit(credit) => put_small(body, credit),
            Self::Hello(hello) => put(body, hello),
            Self::Welcome(welcome) => put(body, welcome),
            Self::Goodbye(goodbye) => put(body, goodbye),
            Self::Define(define) => put(body, define),
            Self::TakeBack(take_back) => put_small(body, take_back),
            Self::Returned(returned) => put(body, returned),
            Self::Window(window) => put_small(body, window),
            Self::Log(log, _) => put_small(body, log),
            Self::Job(job) => put(body, job),
            Self::Have(have) => put_small(body, have),
            Self::Known(known) => put_small(body, known),
            Self::Put(head, _) => put_small(body, head),
            Self::Stored(stored) => put(body, stored),
            Self::Lend(lend) => put(body, lend),
            Self::Lent(lent) => put_small(body, lent),
            Self::Fetch(fetch) => put(body, fetch),
            Self::Fetched(fetched) => put(body, fetched),
            Self::Members(members) => put(body, members),
            Self::Status(report) => put(body, report),
            Self::WhyAsk(ask) => put_small(body, ask),
            Self::Why(why) => put(body, why),
            Self::Jobs(jobs) => put(body, jobs),
            Self::Join(join) => put(body, join),
            Self::Joined(joined) => put(body, joined),
            Self::Setup(setup) => put(body, setup),
            Self::Ready(ready) => put(body, ready),
            Self::Buffer(buffer) => put_small(body, buffer),
            Self::Need(need) => put_small(body, need),
            Self::RegionCreate(create) => put(body, create),
            Self::RegionCreated(created) => put(body, created),
            Self::Regions(regions) => put(body, regions),
            Self::RegionDrop(drop) => put(body, drop),
            Self::RegionDropped(dropped) => put(body, dropped),
            Self::Attach(attach) => put(body, attach),
            Self::Attached(attached) => put(body, attached),
            Self::Request(ask, _) => put_request(body, ask),
            Self::Answer(answer, _) => put_answer(body, answer),
            Self::Changed(changed) => put(body, changed),
            Self::Recall(recall) => put_small(body, recall),
            Self::Built(built) => put_small(body, built),
            Self::Refused(refused) => put(body, refused),
            Self::Wake(wake) => put_small(body, wake),
            Self::Woken(woken) => put_small(body, woken),
            Self::Stdio(stdio, _) => put_small(body, stdio),
            Self::Taken(taken) => put_small(body, taken),
            Self::Closed(closed) => put_small(body, closed),
            Self::Modes(modes) => put_small(body, modes),
            Self::Resize(resize) => put_small(body, resize),
            Self::Stopped(stopped) => put_small(body, stopped),
            Self::Exited(exited) => put_small(body, exited),
            Self::Visits(visits) => put(body, visits),
            Self::Call(call) => put_small(body, call),
            Self::Ping | Self::Pong | Self::Cancel | Self::Data(_) | Self::End => {}
            Self::Image(_) => {}
            Self::StatusAsk | Self::MembersAsk | Self::JobsAsk | Self::RegionsAsk => {}
            Self::VisitsAsk => {}
        }
    }
}

/// Heads of the hot path are a few integers: they are written in one piece.
fn put_small<T: Serialize>(body: &mut BytesMut, head: &T) {
    let mut bytes = [0; 64];
    match postcard::to_slice(head, &mut bytes) {
        Ok(bytes) => body.put_slice(bytes),
        Err(error) => unreachable!("a head of fixed size outgrew 64 bytes: {error}"),
    }
}

/// A `Done` is of fixed size unless it carries a reason in words.
fn put_done(body: &mut BytesMut, head: &task::DoneHead) {
    if matches!(head.status, task::Status::Finished { .. }) {
        put_small(body, head);
    } else {
        put(body, head);
    }
}

/// Only a transaction has lists.
fn put_request(body: &mut BytesMut, ask: &region::Ask) {
    match ask.request {
        region::Request::Transact { .. } => put(body, ask),
        _ => put_small(body, ask),
    }
}

/// The answers of the hot path are of fixed size.
fn put_answer(body: &mut BytesMut, answer: &region::Answer) {
    use region::Answer;
    match answer {
        Answer::Unchanged { .. }
        | Answer::Page { .. }
        | Answer::Locked { .. }
        | Answer::Committed { .. }
        | Answer::Released
        | Answer::Done
        | Answer::Granted { .. } => put_small(body, answer),
        _ => put(body, answer),
    }
}

fn put<T: Serialize>(body: &mut BytesMut, head: &T) {
    match postcard::to_stdvec(head) {
        Ok(bytes) => body.put_slice(&bytes),
        Err(error) => unreachable!("a message of plain data always encodes: {error}"),
    }
}

/// Reads what `frame` says. `kind` 0x01 is a version to a listener and an answer to a dialler: four
/// bytes or one.
pub fn decode(frame: Frame) -> Result<(u64, Message), DecodeError> {
    let Frame { kind, channel, body } = frame;
    let malformed = DecodeError::Malformed { kind, length: body.len() };
    let message = match kind {
        Kind::RUN => {
            with_trailer(&body).map(|(head, inline)| Message::Run(task::Run { head, inline }))
        }
        Kind::DONE => {
            with_trailer(&body).map(|(head, inline)| Message::Done(task::Done { head, inline }))
        }
        Kind::DATA => Some(Message::Data(body)),
        Kind::VERSION => version(&body),
        Kind::HELLO => whole(&body).map(Message::Hello),
        Kind::WELCOME => whole(&body).map(Message::Welcome),
        Kind::PING => bare(&body, Message::Ping),
        Kind::PONG => bare(&body, Message::Pong),
        Kind::GOODBYE => whole(&body).map(Message::Goodbye),
        Kind::DEFINE => whole(&body).map(Message::Define),
        Kind::CREDIT => whole(&body).map(Message::Credit),
        Kind::CANCEL => bare(&body, Message::Cancel),
        Kind::TAKE_BACK => whole(&body).map(Message::TakeBack),
        Kind::RETURNED => whole(&body).map(Message::Returned),
        Kind::END => bare(&body, Message::End),
        Kind::WINDOW => whole(&body).map(Message::Window),
        Kind::LOG => with_trailer(&body).map(|(head, bytes)| Message::Log(head, bytes)),
        Kind::JOB => whole(&body).map(Message::Job),
        Kind::HAVE => whole(&body).map(Message::Have),
        Kind::KNOWN => whole(&body).map(Message::Known),
        Kind::PUT => with_trailer(&body).map(|(head, bytes)| Message::Put(head, bytes)),
        Kind::STORED => whole(&body).map(Message::Stored),
        Kind::LEND => whole(&body).map(Message::Lend),
        Kind::LENT => whole(&body).map(Message::Lent),
        Kind::FETCH => whole(&body).map(Message::Fetch),
        Kind::FETCHED => whole(&body).map(Message::Fetched),
        Kind::MEMBERS => whole(&body).map(Message::Members),
        Kind::STATUS_ASK => bare(&body, Message::StatusAsk),
        Kind::MEMBERS_ASK => bare(&body, Message::MembersAsk),
        Kind::STATUS => whole(&body).map(Message::Status),
        Kind::WHY_ASK => whole(&body).map(Message::WhyAsk),
        Kind::WHY => whole(&body).map(Message::Why),
        Kind::JOBS_ASK => bare(&body, Message::JobsAsk),
        Kind::JOBS => whole(&body).map(Message::Jobs),
        Kind::JOIN => whole(&body).map(Message::Join),
        Kind::JOINED => whole(&body).map(Message::Joined),
        Kind::SETUP => whole(&body).map(Message::Setup),
        Kind::READY => whole(&body).map(Message::Ready),
        Kind::BUFFER => whole(&body).map(Message::Buffer),
        Kind::NEED => whole(&body).map(Message::Need),
        Kind::REGION_CREATE => whole(&body).map(Message::RegionCreate),
        Kind::REGION_CREATED => whole(&body).map(Message::RegionCreated),
        Kind::REGIONS_ASK => bare(&body, Message::RegionsAsk),
        Kind::REGIONS => whole(&body).map(Message::Regions),
        Kind::REGION_DROP => whole(&body).map(Message::RegionDrop),
        Kind::REGION_DROPPED => whole(&body).map(Message::RegionDropped),
        Kind::ATTACH => whole(&body).map(Message::Attach),
        Kind::ATTACHED => whole(&body).map(Message::Attached),
        Kind::REQUEST => with_trailer(&body).map(|(head, bytes)| Message::Request(head, bytes)),
        Kind::ANSWER => with_trailer(&body).map(|(head, bytes)| Message::Answer(head, bytes)),
        Kind::CHANGED => whole(&body).map(Message::Changed),
        Kind::RECALL => whole(&body).map(Message::Recall),
        Kind::BUILT => whole(&body).map(Message::Built),
        Kind::REFUSED => whole(&body).map(Message::Refused),
        Kind::WAKE => whole(&body).map(Message::Wake),
        Kind::WOKEN => whole(&body).map(Message::Woken),
        Kind::STDIO => with_trailer(&body).map(|(head, bytes)| Message::Stdio(head, bytes)),
        Kind::TAKEN => whole(&body).map(Message::Taken),
        Kind::CLOSED => whole(&body).map(Message::Closed),
        Kind::MODES => whole(&body).map(Message::Modes),
        Kind::RESIZE => whole(&body).map(Message::Resize),
        Kind::STOPPED => whole(&body).map(Message::Stopped),
        Kind::EXITED => whole(&body).map(Message::Exited),
        Kind::VISITS_ASK => bare(&body, Message::VisitsAsk),
        Kind::VISITS => whole(&body).map(Message::Visits),
        Kind::CALL => whole(&body).map(Message::Call),
        Kind::IMAGE => Some(Message::Image(body)),
        _ => return Err(DecodeError::UnknownKind { kind }),
    };
    message.map(|message| (channel, message)).ok_or(malformed)
}

fn version(body: &Bytes) -> Option<Message> {
    match body[..] {
        [a, b, c, d] => Some(Message::Version(u32::from_le_bytes([a, b, c, d]))),
        [accepted @ (0 | 1)] => Some(Message::VersionAnswer { accepted: accepted == 1 }),
        _ => None,
    }
}

fn bare(body: &Bytes, message: Message) -> Option<Message> {
    body.is_empty().then_some(message)
}

/// A head that fills the whole body: bytes left over are an error, not an extension.
fn whole<T: DeserializeOwned>(body: &Bytes) -> Option<T> {
    let (head, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(head)
}

/// A head and the bytes after it, which stay where they are.
fn with_trailer<T: DeserializeOwned>(body: &Bytes) -> Option<(T, Bytes)> {
    let (head, rest): (T, &[u8]) = postcard::take_from_bytes(body).ok()?;
    Some((head, body.slice(body.len() - rest.len()..)))
}

#[cfg(test)]
mod tests;
