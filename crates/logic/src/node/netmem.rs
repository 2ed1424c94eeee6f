//! A node's part for NetMem: between the machine of its peers and the regions.
//!
//! A region that is to be served is looked for at the node's start, in the vaults too, and made if there
//! is none. Whoever looks has a number above those of all links, since it is none.

use wire::Message;
use wire::limits::LINKS_MAX;
use wire::name::Name;
use wire::region::{Audience, Create, Durability, Refusal, RegionId, Style};
use wire::units::Time;

use super::{Effect, Node};
use crate::LinkId;
use crate::netmem::{self, Peers, Served};
use crate::regions::{self, Owner};

/// Links have lower numbers, those that are not welcome yet included.
const SEEKERS: u32 = 2 * LINKS_MAX as u32;

/// A region that is served at one port.
#[derive(Clone, Debug)]
pub struct Port {
    pub served: Served,
    /// What it has if it is made.
    pub pages: u64,
    pub page_size: u32,
    /// No other region has or had it.
    pub id: RegionId,
}

impl Node {
    /// Looks for the regions of these ports. Before anybody connects to them.
    pub fn serve_netmem(&mut self, now: Time, ports: Vec<Port>) {
        self.sought = vec![false; ports.len()];
        self.ports = ports;
        for at in 0..self.ports.len() {
            let (link, region) = (seeker(at), self.ports[at].served.region.clone());
            self.region_event(now, regions::Event::AttachBare { link, region });
        }
    }

    /// Whether the region of a port has been looked for: who connects earlier has to wait, since a vault
    /// may take a while to open it.
    pub fn knows_netmem(&self, at: usize) -> bool {
        self.sought[at]
    }

    /// Somebody connected to one of the ports.
    pub fn netmem_up(&mut self, now: Time, link: LinkId, at: usize) {
        self.netmem.open(now, link, self.ports[at].served.clone());
    }

    /// The peers, for what the driver alone knows: bytes.
    pub fn netmem(&mut self) -> &mut Peers {
        &mut self.netmem
    }

    /// Its connection is gone. `false`: it was none.
    pub(super) fn netmem_down(&mut self, now: Time, link: LinkId) -> bool {
        if !self.netmem.has(link) {
            return false;
        }
        if self.netmem.close(link) {
            self.region_event(now, regions::Event::Closed { link });
        }
        true
    }

    /// Takes what the regions say to a peer, or to one of those who look for regions. Returns what is
    /// for somebody else.
    pub(super) fn netmem_told(
        &mut self,
        now: Time,
        link: LinkId,
        channel: u64,
        message: Message,
    ) -> Option<Message> {
        if link.0 >= SEEKERS {
            self.sought(now, (link.0 - SEEKERS) as usize, message);
            None
        } else if self.netmem.has(link) {
            self.netmem.told(now, link, channel, message);
            None
        } else {
            Some(message)
        }
    }

    /// The regions close a peer's connection: it hears of it in its own way. `false`: it is none.
    pub(super) fn netmem_sent_away(&mut self, now: Time, link: LinkId) -> bool {
        let is_peer = self.netmem.has(link);
        if is_peer {
            self.netmem.sent_away(now, link);
        }
        is_peer || link.0 >= SEEKERS
    }

    /// Brings what peers ask for to the regions, and their answers to the driver.
    pub(super) fn drain_netmem(&mut self, now: Time) {
        while let Some(effect) = self.netmem.poll_effect() {
            let event = match effect {
                netmem::Effect::Attach { link, region } => {
                    regions::Event::AttachBare { link, region }
                }
                netmem::Effect::Request { link, channel, ask, bytes } => {
                    regions::Event::Request { link, channel, ask, bytes }
                }
                netmem::Effect::Detach { link } => regions::Event::Closed { link },
                effect @ (netmem::Effect::Reply { .. }
                | netmem::Effect::Listen { .. }
                | netmem::Effect::Finish { .. }
                | netmem::Effect::Drop { .. }) => {
                    self.effects.push_back(Effect::NetMem(effect));
                    continue;
                }
            };
            self.region_event(now, event);
        }
    }

    /// What became of looking for a region.
    fn sought(&mut self, now: Time, at: usize, message: Message) {
        let Port { served, pages, page_size, id } = self.ports[at].clone();
        let link = seeker(at);
        let refused = match message {
            Message::Attached(attached) => match attached.result {
                Err(Refusal::NoSuchRegion) => {
                    let owner = Owner { name: self.members.me().name.clone(), is_admin: false };
                    let create = volatile(served.region, pages, page_size);
                    let channel = 0;
                    let event = regions::Event::Create { link, channel, owner, create, id };
                    return self.region_event(now, event);
                }
                Err(refusal) => Some(format!("{refusal:?}")),
                Ok(admission) => {
                    self.region_event(now, regions::Event::Closed { link });
                    let about = admission.about;
                    let length = served.length.unwrap_or(about.page_size);
                    if about.style == Style::Coherent {
                        Some("it is coherent".to_owned())
                    } else if length > about.page_size {
                        Some(format!("its pages have {} bytes, not {length}", about.page_size))
                    } else {
                        None
                    }
                }
            },
            Message::RegionCreated(created) => match created.result {
                // Another port has made it just now.
                Ok(_) | Err(Refusal::Exists) => None,
                Err(refusal) => Some(format!("it cannot be made: {refusal:?}")),
            },
            _ => None,
        };
        self.sought[at] = true;
        if let Some(why) = refused {
            let words = format!(
                "NetMem cannot serve the region {}: {why}; name another one, or leave \
                 --netmem-page-size away",
                served.region
            );
            self.effects.push_back(Effect::NetMemRefused { words });
        }
    }
}

fn seeker(at: usize) -> LinkId {
    LinkId(SEEKERS + at as u32)
}

/// A region as NetMem has them: for everybody, and gone with its node.
fn volatile(name: Name, pages: u64, page_size: u32) -> Create {
    let (durability, style, audience) = (Durability::None, Style::Transactional, Audience::Cluster);
    Create { name, page_size, pages, durability, style, audience }
}

#[cfg(test)]
mod tests;
