//! The kinds of socket under a connection, as one.

use mio::event::Source;
use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Silence after which the kernel asks whether the peer is there, and how often.
const QUIET: Duration = Duration::from_secs(10);
const ASK: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unanswered.
const UNHEARD: Duration = Duration::from_secs(25);

/// A non-blocking stream in both directions.
pub(crate) enum Socket {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
    /// A pipe for each direction: a round trip through two of them takes 5 µs, through a Unix
    /// socket 8.
    Pipes {
        reader: Receiver,
        writer: Option<Sender>,
    },
}

impl Socket {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => retry(|| stream.read(buffer)),
            Self::Unix(stream) => retry(|| stream.read(buffer)),
            Self::Pipes { reader, .. } => retry(|| reader.read(buffer)),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => retry(|| stream.write(bytes)),
            Self::Unix(stream) => retry(|| stream.write(bytes)),
            Self::Pipes { writer: Some(writer), .. } => retry(|| writer.write(bytes)),
            Self::Pipes { writer: None, .. } => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Pipes { writer, .. } => {
                *writer = None;
                Ok(())
            }
        }
    }
}

impl Source for Socket {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(to, token, interest),
            Self::Unix(stream) => stream.register(to, token, interest),
            Self::Pipes { reader, writer } => {
                // The writing end stays registered: unlike a Unix socket, a pipe reports that it
                // can be written to only if it was full before.
                if let Some(writer) = writer {
                    writer.register(to, token, Interest::WRITABLE)?;
                }
                reader.register(to, token, Interest::READABLE)
            }
        }
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(to, token, interest),
            Self::Unix(stream) => stream.reregister(to, token, interest),
            Self::Pipes { .. } => Ok(()),
        }
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(from),
            Self::Unix(stream) => stream.deregister(from),
            Self::Pipes { reader, writer } => {
                if let Some(writer) = writer {
                    writer.deregister(from)?;
                }
                reader.deregister(from)
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Pipes { reader, .. } => reader.as_fd(),
        }
    }
}

/// Has the kernel notice a peer that is gone without a word, on connections that have no heartbeat
/// of their own: about as soon as a link's heartbeat would.
pub(crate) fn notice_death(stream: &mio::net::TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(ASK).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNHEARD))
}

/// The same for a peer that may leave what it is sent unread for as long as it likes: only one that
/// does not answer the kernel's own questions is gone.
pub(crate) fn notice_absence(stream: &mio::net::TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(ASK).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// The call may succeed after the next event. A socket that is still connecting answers ENOTCONN
/// in some states.
pub(crate) fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            result => return result,
        }
    }
}
