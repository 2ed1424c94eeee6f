//! Blobs that pass from node to node, for a client that both serve.
//!
//! ```text
//! lender:  LEND of the owner -> permit -> HELLO (Fetch) of the node it is for -> the blob
//! fetcher: FETCH of a client -> dial the lender with the permit -> stored in that client's name
//! ```
//!
//! A hash alone opens nothing. The lender gives a permit only to who may use the blob himself, and
//! the blob only to the one node that the permit names, once. So a client can make a node fetch
//! nothing but what he could have uploaded to it, and a node's certificate alone fetches nothing.
//! The fetcher never looks whether it has the blob of somebody else: that would show in the time.
//! It dials nobody but members, so a client cannot point it at a stranger.

use std::collections::VecDeque;

use wire::Message;
use wire::blob::{Fetch, Fetched, Known, Lend, Lent, Permit};
use wire::hello::{Goodbye, Hello, Purpose};
use wire::limits::{FETCHES_MAX, LENDINGS_MAX, PAYLOAD_MAX, PERMIT_PATIENCE, PERMITS_MAX};
use wire::name::{Hash, Name};
use wire::task::Returned;
use wire::units::Time;

use super::{Effect, Node, Peer};
use crate::{LinkId, WorkerId};

#[derive(Debug)]
struct Given {
    permit: Permit,
    hash: Hash,
    to: Name,
    /// Whose it is: it ends with this link.
    link: LinkId,
    until: Time,
}

/// What is lent and fetched now.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// Oldest first.
    permits: VecDeque<Given>,
    /// Permits so far.
    given: u64,
    lending: usize,
    fetching: usize,
}

impl Lending {
    pub(super) fn forget(&mut self, link: LinkId) {
        self.permits.retain(|given| given.link != link);
    }

    /// Uses a permit up.
    fn redeem(&mut self, now: Time, hash: &Hash, permit: &Permit, to: &Name) -> bool {
        let fits = |given: &Given| {
            given.permit == *permit && given.hash == *hash && given.to == *to && now < given.until
        };
        let Some(at) = self.permits.iter().position(fits) else { return false };
        self.permits.remove(at);
        true
    }
}

impl Node {
    /// The file of a blob is gone: nobody has it here any more.
    pub(super) fn blob_lost(&mut self, hash: Hash) {
        self.blobs.lost(&hash);
        // So that nothing of it is left for the next start either.
        self.effects.push_back(Effect::DeleteBlob { hash });
    }

    /// A worker's owner has no such library here; others may. Whoever has tasks that need it gets them
    /// back, and hears why first.
    pub(super) fn library_absent(&mut self, worker: WorkerId, library: Hash) {
        for (link, channels) in self.slots.absent(worker) {
            channels.iter().for_each(|channel| self.streams.close(link, *channel));
            let known = Known { hash: library, here: false };
            self.send(link, 0, Message::Known(known));
            self.send(link, 0, Message::Returned(Returned { channels }));
        }
    }

    /// A client wants another node to have a blob of its own.
    pub(super) fn lend(&mut self, now: Time, link: LinkId, channel: u64, lend: Lend) {
        let Lend { hash, to } = lend;
        let here = self.owner(link).is_some_and(|owner| self.blobs.known(now, &hash, &owner));
        let token = self.connection(link).map(|connection| connection.token);
        let permit = token.filter(|_| here).map(|token| {
            self.lending.given += 1;
            permit(token, self.lending.given)
        });
        if let Some(permit) = permit {
            let permits = &mut self.lending.permits;
            permits.retain(|given| now < given.until);
            if permits.len() == PERMITS_MAX {
                permits.pop_front();
            }
            permits.push_back(Given { permit, hash, to, link, until: now + PERMIT_PATIENCE });
        }
        self.send(link, channel, Message::Lent(Lent { hash, permit }));
    }

    /// Another node shows a permit.
    pub(super) fn greeted_fetch(
        &mut self,
        now: Time,
        link: LinkId,
        hash: Hash,
        permit: Permit,
        peer: &Peer,
    ) {
        let may = match peer {
            Peer::Node(name) => self.lending.redeem(now, &hash, &permit, name),
            Peer::Stranger | Peer::Client(_) | Peer::Admin(_) => false,
        };
        if !may {
            let reason = "no such permit for this certificate".to_owned();
            return self.refuse(now, link, Goodbye::Forbidden { reason });
        }
        if self.lending.lending == LENDINGS_MAX {
            let reason = format!("{LENDINGS_MAX} blobs are on their way to other nodes");
            return self.refuse(now, link, Goodbye::Full { reason });
        }
        self.lending.lending += 1;
        self.welcome(now, link, 0);
        self.links[link.0 as usize] = None;
        self.effects.push_back(Effect::LendBlob { connection: link, hash });
    }

    pub(super) fn blob_lent(&mut self) {
        self.lending.lending -= 1;
    }

    /// A client wants this node to get a blob from another.
    pub(super) fn fetch(&mut self, link: LinkId, channel: u64, fetch: Fetch) {
        let Fetch { hash, length, from, permit } = fetch;
        let me = &self.members.me().name;
        let addresses = self.members.addresses(&from);
        let problem = if length > PAYLOAD_MAX {
            Some(format!("{length} bytes are more than {PAYLOAD_MAX}"))
        } else if self.lending.fetching == FETCHES_MAX {
            Some(format!("{FETCHES_MAX} blobs are being fetched already"))
        } else if from == *me || addresses.is_empty() {
            Some(format!("node {me} knows no way to node {from}"))
        } else {
            None
        };
        if let Some(problem) = problem {
            let failed = Some(problem);
            return self.send(link, channel, Message::Fetched(Fetched { hash, failed }));
        }
        self.lending.fetching += 1;
        let purpose = Purpose::Fetch { hash, permit };
        let hello = Hello { agent: self.options.agent.clone(), name: me.clone(), purpose };
        let blob = FetchBlob { hash, length, from, addresses, hello };
        self.effects.push_back(Effect::FetchBlob { link, channel, blob });
    }

    pub(super) fn blob_fetched(
        &mut self,
        now: Time,
        link: Option<LinkId>,
        channel: u64,
        hash: Hash,
        length: u64,
        failed: Option<String>,
    ) {
        self.lending.fetching -= 1;
        let Some(link) = link else {
            // Nobody is left to own it, unless somebody did before.
            if failed.is_none() && !self.blobs.contains(&hash) {
                self.effects.push_back(Effect::DeleteBlob { hash });
            }
            return;
        };
        if failed.is_none() {
            self.keep_blob(now, link, hash, length);
        }
        self.send(link, channel, Message::Fetched(Fetched { hash, failed }));
    }
}

/// What a driver needs to fetch a blob.
#[derive(Debug)]
pub struct FetchBlob {
    pub hash: Hash,
    pub length: u64,
    /// The name that the other node's certificate must have.
    pub from: Name,
    pub addresses: Vec<String>,
    pub hello: Hello,
}

/// The link's token is random and known to its two ends alone; nobody else can tell what follows from
/// it, and a permit does not tell the token.
fn permit(token: u64, number: u64) -> Permit {
    let seed = [&b"permit"[..], &token.to_le_bytes(), &number.to_le_bytes()].concat();
    let Hash(hash) = Hash::of(&seed);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Permit(bytes)
}
