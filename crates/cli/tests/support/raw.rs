//! A peer that says what it likes: frames, bytes and certificates, without the manners of a client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::{Events, Interest, Poll, Token};
use transport::{Connection, DialTls, Error, FlushOutcome, ListenTls, ReadOutcome};
use wire::Message;
use wire::frame::{Frame, Header};
use wire::hello::{Hello, Purpose, VERSION, Welcome};

use super::PATIENCE;

/// How long to wait before asking the socket again, should an event be missed.
const TURN: Duration = Duration::from_millis(50);

pub(crate) struct Raw {
    poll: Poll,
    pub(crate) connection: Connection,
    /// How the other side ended it.
    pub(crate) end: Option<Result<(), Error>>,
}

impl Raw {
    pub(crate) fn dial(address: &str, tls: &DialTls) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        Self::of(Connection::dial(address, tls).unwrap())
    }

    /// The other side of one, for clients that dial it.
    pub(crate) fn accept(listener: &std::net::TcpListener, tls: &ListenTls) -> Self {
        let (stream, address) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = mio::net::TcpStream::from_std(stream);
        Self::of(Connection::accept(stream, address, tls).unwrap())
    }

    fn of(mut connection: Connection) -> Self {
        let poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut connection, Token(0), both).unwrap();
        Self { poll, connection, end: None }
    }

    /// Sends and reads what can be, or waits a little for it. Whether all that was said is with the kernel.
    pub(crate) fn turn(&mut self) -> bool {
        let mut sent = true;
        let state = |of: &mut Connection| (of.unsent(), of.is_ready(), of.input().len());
        let before = state(&mut self.connection);
        let mut more = false;
        match self.connection.flush() {
            Ok(outcome) => sent = outcome == FlushOutcome::Done,
            Err(error) => self.end = self.end.take().or(Some(Err(error))),
        }
        while self.end.is_none() {
            match self.connection.read() {
                Ok(ReadOutcome::Drained) => break,
                Ok(ReadOutcome::More) => more = true,
                Ok(ReadOutcome::Closed) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        if !more && self.end.is_none() && before == state(&mut self.connection) {
            let mut events = Events::with_capacity(4);
            self.poll.poll(&mut events, Some(TURN)).unwrap();
        }
        sent
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.connection.output().extend_from_slice(bytes);
    }

    pub(crate) fn put_message(&mut self, channel: u64, message: &Message) {
        message.encode(channel, self.connection.output());
    }

    /// A frame of any kind, that says of its length what it likes.
    pub(crate) fn put_frame(&mut self, kind: u8, channel: u64, length: u64, body: &[u8]) {
        Header { kind, channel, length }.put(self.connection.output());
        self.put(body);
    }

    /// The next message; `None` at the end of the connection.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<(u64, Message)> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.take() {
                return Some(wire::decode(frame).unwrap());
            }
            if self.end.is_some() {
                return None;
            }
            assert!(Instant::now() < end, "neither a word nor an end");
            self.turn();
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let input: &mut BytesMut = self.connection.input();
        wire::frame::take(input, u64::MAX).unwrap()
    }

    /// The next message that the predicate makes something of.
    #[track_caller]
    pub(crate) fn find<T>(&mut self, pick: impl Fn(&Message) -> Option<T>) -> T {
        loop {
            let (_, message) = self.next().expect("the connection ended before");
            if let Some(found) = pick(&message) {
                return found;
            }
        }
    }

    /// What the other side says until it hangs up.
    #[track_caller]
    pub(crate) fn last_words(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.next()).map(|(_, message)| message).collect()
    }

    pub(crate) fn put_greeting(&mut self, purpose: Purpose) {
        self.put_message(0, &Message::Version(VERSION));
        let name = "raw".parse().unwrap();
        self.put_message(0, &Message::Hello(Hello { agent: "raw".to_owned(), name, purpose }));
    }

    /// Greets, and is let in.
    #[track_caller]
    pub(crate) fn greet(&mut self, purpose: Purpose) -> Welcome {
        self.put_greeting(purpose);
        self.find(|message| match message {
            Message::Welcome(welcome) => Some(welcome.clone()),
            Message::Goodbye(goodbye) => panic!("{goodbye:?}"),
            _ => None,
        })
    }
}
