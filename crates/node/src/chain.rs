//! An image that goes from node to node: each reads it from the one before while its pad builds.
//!
//! ```text
//!  node before <== TLS ==> fetch ==> socket ==> pad (its image)
//!                                               pad (what it has read) ==> socket ==> pass_on <== TLS ==> next node
//! ```
//!
//! A thread for each direction, which knows no message. The pad cuts the image off at its end, so nothing of it has
//! to be understood here, and what is passed on is what was taken. Whoever is cut off before finds an image
//! without an end, which no pad wakes.
//!
//! Elsewhere: who may have which image (`logic::node::visits`), what a pad does with it (`pad::tee`).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use bytes::{Buf, BufMut};
use logic::node::{Chain, Upstream};
use transport::{Connection, DialTls, READ_MAX, ReadOutcome};
use wire::limits::AWAY_PATIENCE;

use crate::lending::Line;

/// The ends of a chained pad's two sockets for its image.
pub(crate) struct Ends {
    number: u32,
    /// The pad's, with the numbers that it knows them by.
    pub(crate) far: Vec<(OwnedFd, i32)>,
    pub(crate) upstream: Option<UnixStream>,
    pub(crate) onward: Option<UnixStream>,
}

impl Ends {
    pub(crate) fn new(chain: &Chain) -> io::Result<Self> {
        let mut far = Vec::new();
        let mut end = |wanted: bool, number| {
            wanted
                .then(|| {
                    let (near, theirs) = UnixStream::pair()?;
                    far.push((theirs.into(), number));
                    Ok::<_, io::Error>(near)
                })
                .transpose()
        };
        let upstream = end(chain.from.is_some(), 4)?;
        let onward = end(chain.goes_on, 5)?;
        Ok(Self { number: chain.number, far, upstream, onward })
    }

    /// What the pad is told of them.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = vec!["--number".into(), self.number.to_string().into()];
        words.extend(self.upstream.iter().map(|_| "--chained".into()));
        words.extend(self.onward.iter().map(|_| "--onward".into()));
        words
    }
}

/// Gets an image from another node for a pad, on a thread of its own.
pub(crate) fn fetch(to: UnixStream, from: Upstream, tls: DialTls) {
    let work = move || {
        // Without a connection the pad sees the end of an image that has not begun.
        let addresses = from.addresses.iter().filter_map(|address| address.parse().ok());
        let mut dialled =
            addresses.map(|address| Line::dial(address, &tls, &from.from, &from.hello));
        if let Some(line) = dialled.find_map(Result::ok) {
            let _ = to_pad(line, &to);
        }
    };
    let _ = thread::Builder::new().name("image-in".into()).spawn(work);
}

fn to_pad(mut line: Line, mut to: &UnixStream) -> Result<(), String> {
    // As long as a pad waits: the first of the chain may be slow to begin.
    line.silence = AWAY_PATIENCE.into();
    let words = |error: io::Error| error.to_string();
    loop {
        let outcome = line.read()?;
        let input = line.connection.input();
        while !input.is_empty() {
            let count = to.write(input).map_err(words)?;
            input.advance(count);
        }
        match outcome {
            ReadOutcome::More => {}
            ReadOutcome::Drained => line.wait()?,
            ReadOutcome::Closed => return Ok(()),
        }
    }
}

/// Sends what a pad has read to the node that has come for it, on a thread of its own.
pub(crate) fn pass_on(from: UnixStream, connection: Connection) {
    let work = move || {
        // What went wrong the other node sees: its image has no end.
        let _ = to_node(&from, connection);
    };
    let _ = thread::Builder::new().name("image-on".into()).spawn(work);
}

fn to_node(mut from: &UnixStream, connection: Connection) -> Result<(), String> {
    let mut line = Line::new(connection)?;
    line.silence = AWAY_PATIENCE.into();
    let mut piece = vec![0; READ_MAX];
    loop {
        send(&mut line)?;
        let count = from.read(&mut piece).map_err(|error| error.to_string())?;
        if count == 0 {
            break;
        }
        line.connection.output().put_slice(&piece[..count]);
    }
    line.connection.close();
    Ok(())
}

fn send(line: &mut Line) -> Result<(), String> {
    while !line.flush()? {
        line.wait()?;
        // It has nothing to say; reading is how its end is noticed.
        if line.read()? == ReadOutcome::Closed {
            return Err("the next node hung up".to_owned());
        }
        if !line.connection.input().is_empty() {
            return Err("the next node speaks where it has nothing to say".to_owned());
        }
    }
    Ok(())
}
