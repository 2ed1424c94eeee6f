//! What a node keeps for its clients: blobs as they are stored, and whether they are here.

use bytes::Bytes;
use wire::Message;
use wire::blob::{Put, Stored};
use wire::limits::PAYLOAD_MAX;
use wire::name::{Hash, Name};
use wire::task::Program;
use wire::units::Time;

use super::{Effect, Node};
use crate::{LinkId, Payload, slots};

impl Node {
    pub(super) fn put(&mut self, now: Time, link: LinkId, channel: u64, put: Put, bytes: Bytes) {
        let Put { hash, length } = put;
        if length > PAYLOAD_MAX {
            let refused = Some(format!("{length} bytes are more than {PAYLOAD_MAX}"));
            self.send(link, channel, Message::Stored(Stored { hash, refused }));
        } else if bytes.len() as u64 == length {
            let bytes = Payload::Inline(bytes);
            self.effects.push_back(Effect::StoreBlob { link, channel, hash, bytes });
        } else {
            self.put_bulk(now, link, channel, put);
        }
    }

    /// A blob is here now, and this link's owner may use it.
    pub(super) fn keep_blob(&mut self, now: Time, link: LinkId, hash: Hash, length: u64) {
        let Some(owner) = self.owner(link) else { return };
        if !self.blobs.is_owned(&hash, &owner) {
            self.effects.push_back(Effect::OwnBlob { hash, owner: owner.clone() });
        }
        self.own_blob(now, hash, length, owner);
    }

    pub(super) fn own_blob(&mut self, now: Time, hash: Hash, length: u64, owner: Name) {
        for hash in self.blobs.stored(now, hash, length, owner) {
            self.effects.push_back(Effect::DeleteBlob { hash });
        }
    }

    /// Whether anybody's blob has this hash.
    pub fn has_blob(&self, hash: &Hash) -> bool {
        self.blobs.contains(hash)
    }

    /// Whether the library of these workers was stored by their owner. Ask when a worker is started:
    /// a program may be defined while its library is still on the way.
    pub fn has_library(&mut self, now: Time, class: &slots::Class) -> bool {
        let Program::Core { library, .. } = &class.program;
        self.blobs.known(now, library, &class.owner)
    }
}
