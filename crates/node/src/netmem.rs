//! Connections of NetMem: their places among the links, and when their sockets are read.
//!
//! Elsewhere: what is asked and answered, and all bounds (`logic::netmem`), a server without a node
//! (crate `memory`).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use logic::LinkId;
use logic::netmem::Effect;
use logic::node::Node;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use transport::ReadOutcome;
use wire::units::Time;

use crate::Error;
use crate::links::Links;
use crate::options;
use crate::source::Source;

#[derive(Default)]
pub(crate) struct NetMem {
    listeners: Vec<TcpListener>,
    /// All connections, and which have ended their side.
    table: HashMap<LinkId, bool>,
    /// Those with something to send.
    busy: Vec<LinkId>,
}

impl NetMem {
    /// Listens, and says where.
    pub(crate) fn open(
        ports: &[options::NetMem],
        registry: &Registry,
    ) -> Result<(Self, Vec<SocketAddr>), Error> {
        let (mut this, mut places) = (Self::default(), Vec::new());
        for (index, port) in ports.iter().enumerate() {
            let failed = |source| Error::NetMem { address: port.address.to_string(), source };
            let mut listener = TcpListener::bind(port.address).map_err(failed)?;
            places.push(listener.local_addr().map_err(failed)?);
            let token = Source::NetMemListener(index as u32).token();
            registry.register(&mut listener, token, Interest::READABLE).map_err(failed)?;
            this.listeners.push(listener);
        }
        Ok((this, places))
    }

    /// How many listeners there are.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    pub(crate) fn accept(&self, at: usize) -> io::Result<(TcpStream, SocketAddr)> {
        self.listeners[at].accept()
    }

    pub(crate) fn insert(&mut self, link: LinkId) {
        self.table.insert(link, false);
    }

    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.table.contains_key(&link)
    }

    pub(crate) fn forget(&mut self, link: LinkId) {
        if self.table.remove(&link).is_some() {
            self.busy.retain(|other| *other != link);
        }
    }

    /// Reads once from a connection. Returns whether it lives.
    pub(crate) fn read(
        &mut self,
        now: Time,
        link: LinkId,
        links: &mut Links,
        node: &mut Node,
    ) -> bool {
        let Some(ended) = self.table.get_mut(&link) else { return true };
        let Some(entry) = links.get_mut(link) else { return true };
        let mut more = false;
        if !*ended && node.netmem().wants(link, entry.connection.input().len()) {
            match entry.connection.read() {
                Ok(ReadOutcome::Drained) => {}
                Ok(ReadOutcome::More) => more = true,
                Ok(ReadOutcome::Closed) => *ended = true,
                Err(_) => return false,
            }
        }
        node.netmem().hear(now, link, entry.connection.input(), *ended);
        if more {
            links.read_again(link);
        }
        true
    }

    /// Carries out what the machine wants of a connection. Returns whether it is over.
    pub(crate) fn carry_out(&mut self, links: &mut Links, effect: Effect) -> Option<LinkId> {
        match effect {
            Effect::Reply { link, answer } => {
                if self.has(link)
                    && let Some(output) = links.output(link)
                {
                    answer.put(output);
                    self.busy.push(link);
                }
                None
            }
            Effect::Listen { link } => {
                links.read_again(link);
                None
            }
            Effect::Finish { link } => {
                if let Some(entry) = links.get_mut(link) {
                    entry.connection.close();
                }
                // What it says now is dropped, until it has no more to say.
                links.read_again(link);
                None
            }
            Effect::Drop { link } => Some(link),
            Effect::Attach { .. } | Effect::Request { .. } | Effect::Detach { .. } => {
                unreachable!("the machine gives these to the regions")
            }
        }
    }

    /// Tells the machine what the links' own flush has left.
    pub(crate) fn flushed(&mut self, now: Time, links: &mut Links, node: &mut Node) {
        self.busy.retain(|link| {
            let Some(entry) = links.get_mut(*link) else { return false };
            let unsent = entry.connection.unsent();
            node.netmem().unsent(now, *link, unsent);
            unsent > 0
        });
    }
}
