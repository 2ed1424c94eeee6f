//! Keeps the list of the cluster's nodes, from what they tell each other.
//!
//! Every node tells its neighbours what is new to it, so news reaches all over any connected graph
//! of links and then stops. A node speaks for itself with a higher `life` at each start; of one life
//! the later state wins (`Here` < `Leaving` < `Lost` < `Gone`). A node that hears itself called lost
//! starts a new life to deny it.

use std::collections::BTreeMap;

use wire::limits::MEMBERS_MAX;
use wire::member::{Member, State};
use wire::name::Name;

/// One node's view of the cluster.
#[derive(Debug)]
pub struct Members {
    me: Member,
    others: BTreeMap<Name, Member>,
}

impl Members {
    pub fn new(me: Member) -> Self {
        Self { me, others: BTreeMap::new() }
    }

    pub fn me(&self) -> &Member {
        &self.me
    }

    /// Everyone, oneself first.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.me).chain(self.others.values())
    }

    /// Everyone, oneself first.
    pub fn all(&self) -> Vec<Member> {
        self.iter().cloned().collect()
    }

    pub fn get(&self, name: &Name) -> Option<&Member> {
        if *name == self.me.name { Some(&self.me) } else { self.others.get(name) }
    }

    /// Where a node listens that is there, as far as this one knows.
    pub fn addresses(&self, name: &Name) -> Vec<String> {
        let there = |member: &&Member| matches!(member.state, State::Here | State::Leaving);
        let member = self.others.get(name).filter(there);
        member.map(|member| member.addresses.clone()).unwrap_or_default()
    }

    /// Whether a node of this name was last heard of where this one is.
    pub fn is_at(&self, member: &Member) -> bool {
        let known = self.others.get(&member.name);
        known.is_none_or(|known| known.addresses == member.addresses)
    }

    /// Whether this is a later start of a node than the one that is known.
    pub fn is_older(&self, member: &Member) -> bool {
        self.others.get(&member.name).is_some_and(|known| known.life < member.life)
    }

    /// Two nodes have one name: which, where, and what to do.
    pub fn words_for_two(&self, other: &Member) -> String {
        let Member { name, addresses, .. } = other;
        let here = self.get(name).map(|known| known.addresses.join(", ")).unwrap_or_default();
        let there = addresses.join(", ");
        format!(
            "two nodes call themselves {name}, one at {here} and one at {there}; stop one of them, or give it a name of its own with --name"
        )
    }

    /// Somebody else at another address who says that he is this node, now.
    pub fn namesake(&self, news: &[Member]) -> Option<Member> {
        let same = |member: &&Member| {
            member.name == self.me.name
                && member.state == State::Here
                && member.life > self.me.life
                && member.addresses.iter().all(|there| !self.me.addresses.contains(there))
        };
        news.iter().find(same).cloned()
    }

    /// Learns; returns what was new and is to be told to everyone but the one who told it.
    pub fn learn(&mut self, news: Vec<Member>) -> Vec<Member> {
        let mut fresh = Vec::new();
        for member in news {
            if member.name == self.me.name {
                if member.life >= self.me.life && member.state > self.me.state {
                    self.me.life = member.life + 1;
                    fresh.push(self.me.clone());
                }
                continue;
            }
            let known = self.others.get(&member.name);
            let is_news =
                known.is_none_or(|old| (member.life, member.state) > (old.life, old.state));
            if is_news && (known.is_some() || self.others.len() < MEMBERS_MAX) {
                self.others.insert(member.name.clone(), member.clone());
                fresh.push(member);
            }
        }
        fresh
    }

    /// Our own link to `name` broke.
    pub fn lost(&mut self, name: &Name) -> Vec<Member> {
        match self.others.get(name) {
            Some(member) if member.state < State::Lost => {
                let lost = Member { state: State::Lost, ..member.clone() };
                self.learn(vec![lost])
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// This node's own state changed.
    pub fn become_state(&mut self, state: State) -> Vec<Member> {
        self.me.state = state;
        vec![self.me.clone()]
    }

    /// This node's own addresses are known only once it listens.
    pub fn listen_at(&mut self, addresses: Vec<String>) {
        self.me.addresses = addresses;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, life: u64, state: State) -> Member {
        Member { name: name.parse().unwrap(), life, addresses: Vec::new(), slots: 1, state }
    }

    #[test]
    fn news_is_told_once() {
        let mut members = Members::new(member("me", 1, State::Here));
        let news = vec![member("a", 1, State::Here)];
        assert_eq!(members.learn(news.clone()), news);
        assert_eq!(members.learn(news), []);
    }

    #[test]
    fn a_restart_outdoes_the_loss_of_the_life_before() {
        let mut members = Members::new(member("me", 1, State::Here));
        members.learn(vec![member("a", 1, State::Here)]);
        assert_eq!(members.lost(&"a".parse().unwrap()), [member("a", 1, State::Lost)]);
        assert_eq!(members.learn(vec![member("a", 1, State::Here)]), []);
        assert_eq!(members.learn(vec![member("a", 2, State::Here)]).len(), 1);
    }

    #[test]
    fn who_hears_itself_called_lost_denies_it() {
        let mut members = Members::new(member("me", 3, State::Here));
        assert_eq!(
            members.learn(vec![member("me", 3, State::Lost)]),
            [member("me", 4, State::Here)]
        );
    }
}
