//! Tells news of members: at once if it has been quiet, else gathered for a moment.
//!
//! A node that many join through would tell each of them of each other in a message of its own, as
//! many messages as pairs. Gathered, a burst of joins costs each link a few.

use std::collections::BTreeMap;

use wire::Message;
use wire::member::{Member, Members as News};
use wire::name::Name;
use wire::units::{Span, Time};

use super::{Effect, Kind, Node};
use crate::LinkId;

/// News is told no more often than this.
const NEWS_PERIOD: Span = Span::from_millis(100);
/// Members told in one message, so that it fits in a frame with addresses of any length in use.
pub(super) const MEMBERS_IN_MESSAGE: usize = 128;

/// What is to be told, and when it may be.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    /// Of whom, and who told us, if that was one link.
    news: BTreeMap<Name, Option<LinkId>>,
    not_before: Time,
}

impl Gossip {
    pub(super) fn poll_timeout(&self) -> Time {
        if self.news.is_empty() { Time::NEVER } else { self.not_before }
    }
}

impl Node {
    /// Has news told to everyone but the one it came from.
    pub(super) fn tell(&mut self, members: Vec<Member>, except: Option<LinkId>) {
        for member in members {
            // What came from two is told to both, since it may have changed between.
            let from = self.gossip.news.entry(member.name).or_insert(except);
            *from = from.filter(|from| Some(*from) == except);
        }
    }

    /// Tells what there is to tell, if it is time.
    pub(super) fn gossip(&mut self, now: Time) {
        if self.gossip.poll_timeout() <= now {
            self.gossip.not_before = now + NEWS_PERIOD;
            self.tell_all();
        }
    }

    /// Tells what there is to tell.
    pub(super) fn tell_all(&mut self) {
        let news = std::mem::take(&mut self.gossip.news);
        let members = |(name, from)| self.members.get(&name).map(|member| (member.clone(), from));
        let news: Vec<(Member, Option<LinkId>)> = news.into_iter().filter_map(members).collect();
        if news.is_empty() {
            return;
        }
        for at in 0..self.links.len() {
            let link = LinkId(at as u32);
            let told = match &self.links[at] {
                Some(connection) => match connection.kind {
                    Kind::Neighbour(_) => true,
                    Kind::Client => connection.listens,
                    Kind::Memory | Kind::Greeting | Kind::Joining => false,
                },
                None => false,
            };
            if told {
                let others = news.iter().filter(|(_, from)| *from != Some(link));
                self.send_members(link, others.map(|(member, _)| member.clone()).collect());
            }
        }
    }

    /// A client wants to hear of members: all of them now, and those that change from now on. Once
    /// is enough: the answer is far longer than the question.
    pub(super) fn listens(&mut self, link: LinkId) {
        let Some(connection) = self.connection(link) else { return };
        if !std::mem::replace(&mut connection.listens, true) {
            let members = self.members.all();
            self.send_members(link, members);
        }
    }

    /// In as many messages as it takes: a large cluster does not fit in one.
    pub(super) fn send_members(&mut self, link: LinkId, members: Vec<Member>) {
        for members in members.chunks(MEMBERS_IN_MESSAGE) {
            let message = Message::Members(News { members: members.to_vec() });
            self.effects.push_back(Effect::Send { link, channel: 0, message });
        }
    }
}
