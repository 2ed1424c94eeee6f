//! Blobs between pretended nodes: what the threads of a real daemon do, on the fake network.

use bytes::Bytes;
use logic::LinkId;
use logic::link::{self, Link as Manners, Pass};
use logic::node::{Event, FetchBlob};
use wire::Kind;
use wire::frame;
use wire::limits::{CONTROL_BODY_MAX, FETCH_SILENCE};
use wire::name::Hash;
use wire::task::{PAYLOAD_HEAD, PayloadHead};
use wire::units::Time;

use super::Daemon;
use crate::net::{End, Net, Side, What};

/// A blob on its way here.
#[derive(Debug)]
pub(super) struct Fetching {
    manners: Manners,
    link: LinkId,
    /// The link may be another's when the blob is here.
    birth: u64,
    channel: u64,
    hash: Hash,
    length: u64,
    pub(super) until: Time,
}

impl Daemon {
    pub(super) fn fetch(&mut self, net: &mut Net, link: LinkId, channel: u64, blob: FetchBlob) {
        let FetchBlob { hash, length, from, hello, .. } = blob;
        let Some(connection) = net.dial(End::Node(self.at), &from) else {
            let (link, failed) = (Some(link), Some("nobody is there".to_owned()));
            let event = Event::BlobFetched { link, channel, hash, length, failed };
            return self.node.handle(net.now, event);
        };
        let birth = self.links[link.0 as usize].as_ref().map_or(0, |known| known.birth);
        let at = self.insert(connection, Side::Dialler);
        let manners = Manners::dial(net.now, hello);
        let until = net.now + FETCH_SILENCE;
        net.at(until, What::Wake(End::Node(self.at)));
        if let Some(known) = &mut self.links[at.0 as usize] {
            let fetching = Fetching { manners, link, birth, channel, hash, length, until };
            known.fetching = Some(Box::new(fetching));
        }
        self.fetch_manners(net, at);
    }

    /// What the other node says on a connection that is for one blob.
    pub(super) fn fetch_hear(&mut self, net: &mut Net, at: LinkId) {
        loop {
            let Some(Some(known)) = self.links.get_mut(at.0 as usize) else { return };
            let Some(fetching) = &mut known.fetching else { return };
            let frame = match frame::take(&mut known.input, CONTROL_BODY_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return net.judge.fail(format!("node {}: {error}", self.at)),
            };
            if frame.kind == Kind::PAYLOAD {
                let Some(head) = PayloadHead::peek(&frame.body) else { return };
                let bytes = frame.body.slice(PAYLOAD_HEAD..);
                let whole = head.total == bytes.len() as u64 && Hash::of(&bytes) == fetching.hash;
                let hash = fetching.hash;
                let failed = if !whole {
                    Some("not its hash".to_owned())
                } else if self.disk_is_full {
                    Some("no space left on device".to_owned())
                } else {
                    self.store.insert(hash, bytes);
                    None
                };
                return self.fetch_end(net, at, failed);
            }
            match wire::decode(frame) {
                Ok((_, message)) => {
                    if fetching.manners.message(net.now, &message) == Pass::On {
                        return net.judge.fail("a message instead of a blob".to_owned());
                    }
                }
                Err(error) => return net.judge.fail(format!("node {}: {error}", self.at)),
            }
            self.fetch_manners(net, at);
        }
    }

    fn fetch_manners(&mut self, net: &mut Net, at: LinkId) {
        while let Some(Some(known)) = self.links.get_mut(at.0 as usize)
            && let Some(fetching) = &mut known.fetching
            && let Some(effect) = fetching.manners.poll_effect()
        {
            match effect {
                link::Effect::Send(message) => message.encode(0, &mut known.output),
                link::Effect::Down(why) => return self.fetch_end(net, at, Some(why.to_string())),
                link::Effect::Up(_) | link::Effect::Greeted(_) => {}
            }
        }
    }

    /// It is here, or will never be.
    pub(super) fn fetch_end(&mut self, net: &mut Net, at: LinkId, failed: Option<String>) {
        let Some(known) = self.links[at.0 as usize].take() else { return };
        net.close(known.connection, known.side);
        let Some(fetching) = known.fetching else { return };
        let Fetching { link, birth, channel, hash, length, .. } = *fetching;
        let same = self.links[link.0 as usize].as_ref().is_some_and(|link| link.birth == birth);
        let link = same.then_some(link);
        let event = Event::BlobFetched { link, channel, hash, length, failed };
        self.node.handle(net.now, event);
    }

    /// Fetches that stand still.
    pub(super) fn fetch_late(&mut self, net: &mut Net) {
        for at in 0..self.links.len() {
            let late = |fetching: &Fetching| fetching.until <= net.now;
            let fetching = self.links[at].as_ref().and_then(|link| link.fetching.as_deref());
            if fetching.is_some_and(late) {
                self.fetch_end(net, LinkId(at as u32), Some("nothing moved".to_owned()));
            }
        }
    }

    pub(super) fn lend(&mut self, net: &mut Net, connection: LinkId, hash: &Hash) {
        if let Some(mut known) = self.links[connection.0 as usize].take() {
            if let Some(bytes) = self.store.get(hash) {
                let total = bytes.len() as u64;
                let bytes: Bytes = bytes.clone();
                frame::put(&mut known.output, Kind::PAYLOAD, 0, |body| {
                    body.extend_from_slice(&PayloadHead { total, offset: 0 }.to_bytes());
                    body.extend_from_slice(&bytes);
                });
            }
            net.send(known.connection, known.side, known.output.split().freeze());
            net.close(known.connection, known.side);
        }
        self.node.handle(net.now, Event::BlobLent);
    }
}
