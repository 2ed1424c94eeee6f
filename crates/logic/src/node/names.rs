//! A name has one node.

use wire::hello::Goodbye;
use wire::member::Member;
use wire::units::Time;

use super::{Connection, Kind, Node};
use crate::LinkId;

impl Node {
    /// Whether a node may have this name: nobody has it, or it was here itself before. Then its old
    /// link is of no more use, though the network may not have said so yet.
    pub(super) fn makes_room(&mut self, now: Time, member: &Member) -> bool {
        let named = |link: &Option<Connection>| {
            let kind = link.as_ref().map(|connection| &connection.kind);
            kind.is_some_and(|kind| *kind == Kind::Neighbour(member.name.clone()))
        };
        let there: Vec<usize> =
            (0..self.links.len()).filter(|&at| named(&self.links[at])).collect();
        if !there.is_empty() && !self.members.is_at(member) {
            return false;
        }
        for at in there {
            let link = LinkId(at as u32);
            let reason = "this node was started anew".to_owned();
            // The same process may keep a link in each direction.
            if self.members.is_older(member) {
                self.refuse(now, link, Goodbye::Forbidden { reason });
            }
        }
        true
    }
}
