//! How controllers of the worker socket protocol v1 get their places in the loop.

use logic::LinkId;
use logic::node::Event;
use transport::Connection;
use wire::units::Time;

use super::Daemon;
use crate::dials::Knock;

impl Daemon {
    /// A controller may be anybody who gets here: loopback is this host's users', a Unix socket this
    /// user's. What a worker has started is let in nowhere where that can be seen.
    pub(super) fn accept_controller(&mut self, now: Time, knock: Knock) {
        if self.controllers.is_full() {
            // Versions may have been exchanged in this very turn, and who has done that stays.
            self.settle(now);
        }
        match self.controllers.make_room() {
            Ok(None) => {}
            Ok(Some(silent)) => self.drop_link(now, silent),
            Err(()) => return,
        }
        let (connection, peer) = match knock {
            Knock::Tcp(stream, address) => {
                (Connection::bare(stream, address).ok(), address.to_string())
            }
            Knock::Unix(stream) => {
                let Ok(peer) = sys::socket::peer_credentials(&stream) else { return };
                let is_own = peer.uid == sys::limits::own_user();
                if self.workers.has_started(peer.pid) || !is_own && !self.options.worker_v1.anyone {
                    return;
                }
                (Some(Connection::plain(stream)), format!("uid-{}", peer.uid))
            }
        };
        if let Some(connection) = connection {
            self.open_controller(now, connection, &peer);
        }
    }

    fn open_controller(&mut self, now: Time, connection: Connection, peer: &str) -> Option<LinkId> {
        self.free_numbers(now);
        let link = self.links.insert_controller(self.poll.registry(), now, connection)?;
        let owner = self.controllers.open(now, link, peer, &self.payloads.buffers);
        self.node.handle(now, Event::ControllerUp { link, owner });
        self.read_link(now, link);
        Some(link)
    }

    /// Dials the controllers that it is time to dial.
    pub(super) fn dial_controllers(&mut self, now: Time) {
        while let Some((at, connection)) = self.dials.next(now) {
            let to = self.dials.place(at).to_string();
            let has_room = matches!(self.controllers.make_room(), Ok(None));
            let connection = connection.filter(|_| has_room);
            let link = connection.and_then(|connection| self.open_controller(now, connection, &to));
            // It may be gone already.
            let link = link.filter(|link| self.controllers.has(*link));
            if let Some(link) = link {
                self.controllers.note_dialled(link);
            }
            self.dials.dialled(now, at, link);
        }
    }
}
