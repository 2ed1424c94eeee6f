//! The streams that a client has open, between the callers' side and the links'.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use logic::LinkId;
use logic::dispatch::TaskId;
use wire::Message;
use wire::limits::STREAM_WINDOW;

/// Names a stream for as long as its owner holds it; tasks' numbers are used again before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamId(u64);

impl StreamId {
    /// Of no task; see [`TicketId::NEVER`](crate::tickets::TicketId::NEVER).
    pub(crate) const NEVER: Self = Self(0);
}

/// All open streams of a client.
#[derive(Default)]
pub(crate) struct Streams {
    opened: u64,
    pub(crate) open: HashMap<StreamId, Open>,
    /// Which stream a task is.
    of_task: HashMap<u32, StreamId>,
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
    /// Nothing more will be written.
    pub(crate) closed: bool,
}

impl Streams {
    pub(crate) fn open(&mut self, task: TaskId) -> StreamId {
        let open = Open {
            place: None,
            early: Vec::new(),
            outward: STREAM_WINDOW,
            arrived: VecDeque::new(),
            read: 0,
            ended: false,
            closed: false,
        };
        self.opened += 1;
        let id = StreamId(self.opened);
        self.of_task.insert(task.0, id);
        self.open.insert(id, open);
        id
    }

    /// Its owner is gone.
    pub(crate) fn close(&mut self, id: StreamId) {
        self.open.remove(&id);
        self.of_task.retain(|_, of| *of != id);
    }

    fn of_channel(&mut self, channel: u64) -> Option<&mut Open> {
        self.open.get_mut(self.of_task.get(&(channel as u32))?)
    }

    /// A task was sent: what was written before goes after it. A channel's lower half is its task.
    pub(crate) fn began(&mut self, link: LinkId, channel: u64) -> Vec<Message> {
        let Some(open) = self.of_channel(channel) else { return Vec::new() };
        open.place = Some((link, channel));
        std::mem::take(&mut open.early)
    }

    /// `DATA`, `END` or `WINDOW` came.
    pub(crate) fn message(&mut self, link: LinkId, channel: u64, message: Message) {
        let open = self.of_channel(channel);
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
