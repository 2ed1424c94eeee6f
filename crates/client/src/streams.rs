//! The streams that a client has open, between the callers' side and the links'.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use logic::LinkId;
use logic::dispatch::TaskId;
use wire::Message;
use wire::limits::STREAM_WINDOW;

/// All open streams of a client, by task.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) open: HashMap<u32, Open>,
}

pub(crate) struct Open {
    /// Where the task is, once it was sent.
    pub(crate) place: Option<(LinkId, u64)>,
    /// What was written before that.
    pub(crate) early: Vec<Message>,
    /// Bytes that may still be written.
    pub(crate) outward: u64,
    pub(crate) arrived: VecDeque<Bytes>,
    /// Bytes that were read since the last `WINDOW`.
    pub(crate) read: u64,
    pub(crate) ended: bool,
}

impl Streams {
    pub(crate) fn open(&mut self, task: TaskId) {
        let open = Open {
            place: None,
            early: Vec::new(),
            outward: STREAM_WINDOW,
            arrived: VecDeque::new(),
            read: 0,
            ended: false,
        };
        self.open.insert(task.0, open);
    }

    /// A task was sent: what was written before goes after it. A channel's lower half is its task.
    pub(crate) fn began(&mut self, link: LinkId, channel: u64) -> Vec<Message> {
        let Some(open) = self.open.get_mut(&(channel as u32)) else { return Vec::new() };
        open.place = Some((link, channel));
        std::mem::take(&mut open.early)
    }

    /// `DATA`, `END` or `WINDOW` came.
    pub(crate) fn message(&mut self, link: LinkId, channel: u64, message: Message) {
        let open = self.open.get_mut(&(channel as u32));
        let Some(open) = open.filter(|open| open.place == Some((link, channel))) else { return };
        match message {
            Message::Data(bytes) => open.arrived.push_back(bytes),
            Message::Window(window) => {
                open.outward = open.outward.saturating_add(window.bytes).min(STREAM_WINDOW);
            }
            _ => open.ended = true,
        }
    }
}
