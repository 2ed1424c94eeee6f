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
        let link = self.links.insert_controller(self.poll.registry(), now, connection)?;
        let owner = self.controllers.open(now, link, peer, &self.payloads.buffers);
        self.node.handle(now, Event::ControllerUp { link, owner });
        self.read_link(now, link);
        Some(link)
    }

    /// Dials the controllers that it is time to dial.
    pub(super) fn dial_controllers(&mut self, now: Time) {
        let mut dials = std::mem::take(&mut self.dials);
        dials.dial(now, |connection, to| {
            if !matches!(self.controllers.make_room(), Ok(None)) {
                return None;
            }
            let link = self.open_controller(now, connection, &to.to_string())?;
            // It may be gone already.
            self.controllers.has(link).then_some(link)
        });
        self.dials = dials;
    }
}
