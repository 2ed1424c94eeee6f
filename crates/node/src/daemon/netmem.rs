//! How peers of NetMem get their places in the loop.

use std::net::SocketAddr;

use logic::LinkId;
use logic::netmem::{Full, Served};
use logic::node::{Effect, Port};
use transport::Connection;
use wire::name::Name;
use wire::region::RegionId;
use wire::units::Time;

use super::{Daemon, PATIENCE, random};

impl Daemon {
    /// Has the regions ready that are to be served; returns where, and which.
    pub(super) fn serve_netmem(
        &mut self,
        now: Time,
        places: Vec<SocketAddr>,
    ) -> Vec<(SocketAddr, Name)> {
        let ports = self.options.netmem.iter().map(|port| Port {
            served: Served { region: port.region.clone(), length: port.length },
            pages: port.pages.into(),
            page_size: port.page_size,
            id: RegionId(random()),
        });
        self.node.serve_netmem(now, ports.collect());
        // A vault may have to be asked.
        self.settle(now);
        let regions = self.options.netmem.iter().map(|port| port.region.clone());
        places.into_iter().zip(regions).collect()
    }

    /// Lets in everybody who knocks. A peer may be anybody who gets here: on loopback, this host's users,
    /// and what workers start.
    pub(super) fn accept_netmem(&mut self, now: Time) {
        for at in 0..self.netmem.listeners() {
            if !self.node.knows_netmem(at) {
                // The listener tells only once of who waits there.
                self.turned_away = Some(now + PATIENCE);
                continue;
            }
            while let Some((stream, address)) = self.knock(now, |this| this.netmem.accept(at)) {
                match self.node.netmem().make_room() {
                    Ok(None) => {}
                    Ok(Some(silent)) => self.drop_link(now, silent),
                    Err(Full) => continue,
                }
                let Ok(connection) = Connection::bare(stream, address) else { continue };
                self.free_numbers(now);
                let link = self.links.insert_controller(self.poll.registry(), now, connection);
                if let Some(link) = link {
                    self.netmem.insert(link);
                    self.node.netmem_up(now, link, at);
                    self.read_link(now, link);
                }
            }
        }
    }

    pub(super) fn drop_overdue_netmem(&mut self, now: Time) {
        for link in self.node.netmem().overdue(now) {
            self.drop_link(now, link);
        }
    }

    pub(super) fn carry_out_netmem(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::NetMem(effect) => {
                if let Some(over) = self.netmem.carry_out(&mut self.links, effect) {
                    self.drop_link(now, over);
                }
            }
            Effect::NetMemRefused { words } => (self.options.netmem_refused)(&words),
            _ => unreachable!("others are the daemon's own"),
        }
    }

    /// Reads from a connection; `false`: it is none of these.
    pub(super) fn read_netmem(&mut self, now: Time, link: LinkId) -> bool {
        let is_one = self.netmem.has(link);
        if is_one && !self.netmem.read(now, link, &mut self.links, &mut self.node) {
            self.drop_link(now, link);
        }
        is_one
    }
}
