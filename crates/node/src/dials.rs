//! How controllers of the worker socket protocol v1 are met: listeners, and controllers that this
//! node was told to dial.
//!
//! Who dialled makes no difference afterwards: this side is the worker. A controller that is lost is
//! dialled again after a pause that doubles; one that has exchanged versions resets the pause.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;

use logic::LinkId;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry};
use transport::Connection;
use wire::units::{Span, Time};

use crate::Error;
use crate::options::Endpoint;
use crate::source::Source;

/// The first pause before a lost controller is dialled again.
const PAUSE: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(30);

#[derive(Default)]
pub(crate) struct Dials {
    listeners: Vec<Listener>,
    controllers: Vec<Dialled>,
    /// The node stops: nobody is dialled any more.
    stopped: bool,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Endpoint),
}

/// A stream that somebody opened.
pub(crate) enum Knock {
    Tcp(TcpStream, std::net::SocketAddr),
    Unix(UnixStream),
}

struct Dialled {
    to: Endpoint,
    state: State,
    pause: Span,
}

enum State {
    Away { until: Time },
    Here { link: LinkId },
}

impl Dials {
    /// Listens, and says where.
    pub(crate) fn open(
        now: Time,
        listen: &[Endpoint],
        connect: &[Endpoint],
        registry: &Registry,
    ) -> Result<(Self, Vec<Endpoint>), Error> {
        let (mut listeners, mut places) = (Vec::new(), Vec::new());
        for (index, place) in listen.iter().enumerate() {
            let failed = |source| Error::ListenV1 { address: place.to_string(), source };
            let token = Source::ControllerListener(index as u32).token();
            let listener = Listener::open(place, registry, token).map_err(failed)?;
            places.push(listener.place().map_err(failed)?);
            listeners.push(listener);
        }
        let away = |to: &Endpoint| {
            let state = State::Away { until: now };
            Dialled { to: to.clone(), state, pause: PAUSE }
        };
        let controllers = connect.iter().map(away).collect();
        Ok((Self { listeners, controllers, stopped: false }, places))
    }

    /// How many listeners there are.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    pub(crate) fn accept(&self, at: usize) -> io::Result<Knock> {
        match &self.listeners[at] {
            Listener::Tcp(listener) => {
                listener.accept().map(|(stream, from)| Knock::Tcp(stream, from))
            }
            Listener::Unix(listener, _) => listener.accept().map(|(stream, _)| Knock::Unix(stream)),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        let due = |dialled: &Dialled| match dialled.state {
            State::Away { until } if !self.stopped => until,
            State::Away { .. } | State::Here { .. } => Time::NEVER,
        };
        self.controllers.iter().map(due).min().unwrap_or(Time::NEVER)
    }

    /// Dials the next one that it is time to dial; say with `dialled` what came of it.
    pub(crate) fn next(&mut self, now: Time) -> Option<(usize, Option<Connection>)> {
        if self.stopped {
            return None;
        }
        let is_due =
            |dialled: &Dialled| matches!(dialled.state, State::Away { until } if until <= now);
        let at = self.controllers.iter().position(is_due)?;
        Some((at, self.controllers[at].connect()))
    }

    /// Whom `next` has dialled.
    pub(crate) fn place(&self, at: usize) -> &Endpoint {
        &self.controllers[at].to
    }

    /// Its link; `None` if there is none.
    pub(crate) fn dialled(&mut self, now: Time, at: usize, link: Option<LinkId>) {
        match link {
            Some(link) => self.controllers[at].state = State::Here { link },
            None => self.controllers[at].rest(now),
        }
    }

    /// A connection is over; perhaps it was one of these. `greeted`: versions were exchanged.
    pub(crate) fn closed(&mut self, now: Time, closed: LinkId, greeted: bool) {
        for dialled in &mut self.controllers {
            if matches!(dialled.state, State::Here { link } if link == closed) {
                if greeted {
                    dialled.pause = PAUSE;
                }
                dialled.rest(now);
            }
        }
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Removes the sockets' files.
    pub(crate) fn close(&self) {
        for listener in &self.listeners {
            if let Listener::Unix(_, Endpoint::Unix(path)) = listener {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Listener {
    fn open(place: &Endpoint, registry: &Registry, token: mio::Token) -> io::Result<Self> {
        match place {
            Endpoint::Tcp(address) => {
                let mut listener = TcpListener::bind(*address)?;
                registry.register(&mut listener, token, Interest::READABLE)?;
                Ok(Self::Tcp(listener))
            }
            Endpoint::Unix(path) => {
                // A socket that a node left behind; one that answers, and what is no socket, stay.
                let is_socket =
                    fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
                if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
                    let _ = fs::remove_file(path);
                }
                let mut listener = UnixListener::bind(path)?;
                registry.register(&mut listener, token, Interest::READABLE)?;
                Ok(Self::Unix(listener, place.clone()))
            }
        }
    }

    /// Where it listens: a port of the kernel's choice is known only now.
    fn place(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Endpoint::Tcp),
            Self::Unix(_, place) => Ok(place.clone()),
        }
    }
}

impl Dialled {
    fn connect(&self) -> Option<Connection> {
        match &self.to {
            Endpoint::Tcp(address) => {
                Connection::bare(TcpStream::connect(*address).ok()?, *address).ok()
            }
            Endpoint::Unix(path) => Some(Connection::plain(UnixStream::connect(path).ok()?)),
        }
    }

    fn rest(&mut self, now: Time) {
        self.state = State::Away { until: now + self.pause };
        self.pause = Span((self.pause.0 * 2).min(PAUSE_MAX.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_versions_were_exchanged() {
        let nowhere = Endpoint::Unix("/nowhere/at/all".into());
        let poll = mio::Poll::new().unwrap();
        let (mut dials, _) = Dials::open(Time(0), &[], &[nowhere], poll.registry()).unwrap();
        let mut now = Time(0);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let (at, connection) = dials.next(now).unwrap();
            assert!(connection.is_none(), "nobody is there");
            dials.dialled(now, at, None);
            assert!(dials.next(now).is_none());
            pauses.push(dials.poll_timeout().since(now).0 / 1_000_000);
            now = dials.poll_timeout();
        }
        let want = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000];
        assert_eq!(pauses, want);

        dials.controllers[0].state = State::Here { link: LinkId(7) };
        dials.closed(now, LinkId(7), false);
        assert_eq!(dials.poll_timeout().since(now), PAUSE_MAX);
        dials.controllers[0].state = State::Here { link: LinkId(7) };
        dials.closed(now, LinkId(7), true);
        assert_eq!(dials.poll_timeout().since(now), PAUSE);
        dials.stop();
        assert_eq!(dials.poll_timeout(), Time::NEVER);
    }
}
