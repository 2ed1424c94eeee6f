//! A node's part for regions: who may speak to their machine, and its effects as the node's.

use wire::Message;
use wire::name::{Hash, Name};
use wire::region::RegionId;
use wire::units::Time;

use super::{Effect, Node, Peer};
use crate::LinkId;
use crate::regions::{self, Owner, Regions};

impl Node {
    /// What vaults this node has. Before anything is asked of its regions.
    pub fn keep_regions(&mut self, options: regions::Options) {
        self.regions = Regions::new(options);
    }

    /// On a client's control connection.
    pub(super) fn about_regions(
        &mut self,
        now: Time,
        link: LinkId,
        channel: u64,
        message: Message,
    ) {
        let Some(owner) = self.region_owner(link) else { return };
        let event = match message {
            Message::RegionCreate(create) => {
                let id = self.region_id(now, link, channel, &create.name);
                regions::Event::Create { link, channel, owner, create, id }
            }
            Message::RegionDrop(drop) => regions::Event::Drop { link, channel, owner, drop },
            _ => regions::Event::RegionsAsk { link, channel, owner },
        };
        self.region_event(now, event);
    }

    /// On a connection of purpose Memory.
    pub(super) fn memory(&mut self, now: Time, link: LinkId, channel: u64, message: Message) {
        let event = match message {
            Message::Request(ask, bytes) => regions::Event::Request { link, channel, ask, bytes },
            Message::Attach(attach) => {
                let Some(owner) = self.region_owner(link) else { return };
                regions::Event::Attach { link, owner, attach }
            }
            Message::Goodbye(_) => return,
            _ => {
                let reason = "a message that is no request to a region".to_owned();
                return self.breach(now, link, reason);
            }
        };
        self.region_event(now, event);
    }

    pub(super) fn region_event(&mut self, now: Time, event: regions::Event) {
        self.regions.handle(now, event);
        let mut closed = Vec::new();
        while let Some(effect) = self.regions.poll_effect() {
            match effect {
                regions::Effect::Send { link, channel, message } => {
                    let Some(message) = self.netmem_told(now, link, channel, message) else {
                        continue;
                    };
                    self.effects.push_back(Effect::Send { link, channel, message });
                }
                regions::Effect::SendLater { link, channel, message } => {
                    self.effects.push_back(Effect::SendLater { link, channel, message });
                }
                regions::Effect::Close { link } if self.netmem_sent_away(now, link) => {}
                regions::Effect::Close { link } => {
                    self.effects.push_back(Effect::Close { link });
                    closed.push(link);
                }
                effect @ (regions::Effect::Make { .. }
                | regions::Effect::Open { .. }
                | regions::Effect::Remove { .. }
                | regions::Effect::Shut { .. }
                | regions::Effect::Discard { .. }
                | regions::Effect::Keep(_)) => self.effects.push_back(Effect::Region(effect)),
            }
        }
        // Only now: what each of them leads to is seen to before the next, however many they are.
        for link in closed {
            self.closed(now, link);
        }
    }

    fn region_owner(&self, link: LinkId) -> Option<Owner> {
        match &self.links.get(link.0 as usize)?.as_ref()?.peer {
            Peer::Client(name) => Some(Owner { name: name.clone(), is_admin: false }),
            Peer::Admin(name) => Some(Owner { name: name.clone(), is_admin: true }),
            Peer::Node(_) | Peer::Stranger => None,
        }
    }

    /// Another one whenever and wherever a region is made: the token of a link is random. What is made
    /// of it tells nothing of it.
    fn region_id(&self, now: Time, link: LinkId, channel: u64, name: &Name) -> RegionId {
        let token = self.links.get(link.0 as usize).and_then(Option::as_ref).map_or(0, |c| c.token);
        let me = &self.members.me().name;
        let what = format!("{me} {name} {token} {channel} {}", now.0);
        let Hash(hash) = Hash::of(what.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        RegionId(u64::from_le_bytes(id))
    }
}
