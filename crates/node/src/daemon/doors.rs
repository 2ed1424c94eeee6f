//! Who comes in: at the ports, at the Unix socket, and at the doors of other protocols.

use std::io::ErrorKind;

use logic::node::{Event, Peer};
use mio::net::UnixListener;
use transport::Connection;
use wire::units::Time;

use super::{Daemon, NOBODY, PATIENCE, random};

impl Daemon {
    /// Lets in everybody who knocks.
    pub(super) fn accept_all(&mut self, now: Time) {
        for at in 0..self.listeners.len() {
            while let Some((stream, address)) = self.knock(now, |this| this.listeners[at].accept())
            {
                self.free_numbers(now);
                let Some(tls) = &self.listen_tls else { return };
                let registry = self.poll.registry();
                if let Some(evicted) = self.links.accept(registry, now, stream, address, tls) {
                    self.drop_link(now, evicted);
                }
            }
        }
        let accept =
            |this: &Self| this.unix.as_ref().map_or(Err(NOBODY.into()), UnixListener::accept);
        while let Some((stream, _)) = self.knock(now, accept) {
            self.accept_unix(now, stream);
        }
        for at in 0..self.dials.listeners() {
            while let Some(knock) = self.knock(now, |this| this.dials.accept(at)) {
                self.accept_controller(now, knock);
            }
        }
        self.accept_netmem(now);
    }

    /// The next one at a listener, which tells of its readiness only once.
    pub(super) fn knock<T>(
        &mut self,
        now: Time,
        accept: impl Fn(&Self) -> std::io::Result<T>,
    ) -> Option<T> {
        loop {
            match accept(self) {
                Ok(accepted) => return Some(accepted),
                Err(error) if error.kind() == NOBODY => return None,
                // He has gone again, or we were interrupted.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(_) => {
                    self.turned_away = Some(now + PATIENCE);
                    return None;
                }
            }
        }
    }

    /// Over the Unix socket the kernel says who it is: the same user, or nobody. What a worker has
    /// started is no client, though it may have the same user.
    fn accept_unix(&mut self, now: Time, stream: mio::net::UnixStream) {
        let Ok(peer) = sys::socket::peer_credentials(&stream) else { return };
        if peer.uid != sys::limits::own_user() || self.workers.has_started(peer.pid) {
            return;
        }
        let Ok(name) = format!("uid-{}", peer.uid).parse() else { return };
        self.free_numbers(now);
        let connection = Connection::plain(stream);
        if let Some(link) = self.links.insert(self.poll.registry(), now, connection, false) {
            let peer = Peer::Client(name);
            self.links.introduce(link);
            self.node.handle(now, Event::Accepted { link, peer, token: random() });
            self.read_link(now, link);
        }
    }
}
