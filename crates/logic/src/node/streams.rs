//! Relays streams between clients and workers, and holds both to their windows.
//!
//! Windows are the ends' own: a `WINDOW` goes all the way, so the node never holds more of a stream
//! than one window, and that only until its worker has it.

use std::collections::BTreeMap;

use wire::Message;
use wire::limits::{STREAM_CHUNK_MAX, STREAM_WINDOW};

use crate::{LinkId, WorkerId};

/// All streams of a node.
#[derive(Debug, Default)]
pub(super) struct Streams {
    of_client: BTreeMap<(LinkId, u64), Stream>,
    /// A worker runs one stream at a time.
    of_worker: BTreeMap<WorkerId, (LinkId, u64)>,
}

#[derive(Debug)]
struct Stream {
    worker: Option<(WorkerId, u64)>,
    /// What came before it had a worker: at most a window of pieces, none empty, and the end.
    early: Vec<Message>,
    /// Bytes that the client may still send.
    inward: u64,
    /// Bytes that the worker may still send.
    outward: u64,
    input_ended: bool,
    output_ended: bool,
}

/// More than the window allows, or after the end.
#[derive(Debug)]
pub(super) struct Overrun;

impl Streams {
    pub(super) fn open(&mut self, link: LinkId, channel: u64) {
        let stream = Stream {
            worker: None,
            early: Vec::new(),
            inward: STREAM_WINDOW,
            outward: STREAM_WINDOW,
            input_ended: false,
            output_ended: false,
        };
        self.of_client.insert((link, channel), stream);
    }

    /// A worker has the task; returns what is waiting for it.
    pub(super) fn begin(
        &mut self,
        link: LinkId,
        channel: u64,
        worker: WorkerId,
        sequence: u64,
    ) -> Vec<Message> {
        let Some(stream) = self.of_client.get_mut(&(link, channel)) else { return Vec::new() };
        stream.worker = Some((worker, sequence));
        self.of_worker.insert(worker, (link, channel));
        std::mem::take(&mut stream.early)
    }

    /// The task is over.
    pub(super) fn close(&mut self, link: LinkId, channel: u64) {
        let closed = self.of_client.remove(&(link, channel));
        if let Some((worker, _)) = closed.and_then(|stream| stream.worker) {
            self.of_worker.remove(&worker);
        }
    }

    /// The link is down.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.of_client.extract_if((link, 0)..=(link, u64::MAX), |_, _| true).for_each(drop);
        self.of_worker.retain(|_, (of, _)| *of != link);
    }

    /// Where a client's message goes. `None`: nowhere, or not yet.
    pub(super) fn client_says(
        &mut self,
        link: LinkId,
        channel: u64,
        message: &Message,
    ) -> Result<Option<(WorkerId, u64)>, Overrun> {
        // What was on its way when the task ended concerns nobody.
        let Some(stream) = self.of_client.get_mut(&(link, channel)) else { return Ok(None) };
        match message {
            Message::Data(bytes) => {
                let fits = (1..=STREAM_CHUNK_MAX).contains(&bytes.len()) && !stream.input_ended;
                let left = stream.inward.checked_sub(bytes.len() as u64);
                stream.inward = left.filter(|_| fits).ok_or(Overrun)?;
            }
            // Nothing was sent yet that could be made room for.
            Message::Window(_) if stream.worker.is_none() => return Ok(None),
            Message::Window(window) => stream.outward = widened(stream.outward, window.bytes),
            _ if stream.input_ended => return Err(Overrun),
            _ => stream.input_ended = true,
        }
        if stream.worker.is_none() {
            stream.early.push(message.clone());
        }
        Ok(stream.worker)
    }

    /// Where a worker's message goes.
    pub(super) fn worker_says(
        &mut self,
        worker: WorkerId,
        sequence: u64,
        message: &Message,
    ) -> Result<Option<(LinkId, u64)>, Overrun> {
        let Some(place) = self.of_worker.get(&worker) else { return Ok(None) };
        let Some(stream) = self.of_client.get_mut(place) else { return Ok(None) };
        if stream.worker != Some((worker, sequence)) {
            return Err(Overrun);
        }
        match message {
            Message::Data(bytes) => {
                let left = stream.outward.checked_sub(bytes.len() as u64);
                let fits = (1..=STREAM_CHUNK_MAX).contains(&bytes.len()) && !stream.output_ended;
                stream.outward = left.filter(|_| fits).ok_or(Overrun)?;
            }
            // Only for what it has taken, so there are no more of these than pieces.
            Message::Window(window) => {
                let room = STREAM_WINDOW - stream.inward;
                stream.inward +=
                    Some(window.bytes).filter(|more| (1..=room).contains(more)).ok_or(Overrun)?;
            }
            _ if stream.output_ended => return Err(Overrun),
            _ => stream.output_ended = true,
        }
        Ok(Some(*place))
    }
}

/// Nobody gives more than a whole window.
fn widened(window: u64, by: u64) -> u64 {
    window.saturating_add(by).min(STREAM_WINDOW)
}
