//! How blobs get into the store and out of it, from clients and between nodes.

use logic::node::{Event, FetchBlob};
use logic::{LinkId, Payload};
use wire::name::Hash;
use wire::units::Time;

use super::Daemon;

impl Daemon {
    /// Small blobs are stored here and now, large ones on a thread of their own: hashing and writing
    /// a gigabyte takes seconds.
    pub(super) fn store_blob(
        &mut self,
        now: Time,
        link: LinkId,
        channel: u64,
        hash: Hash,
        bytes: Payload,
    ) {
        let (length, refused) = match bytes {
            Payload::Inline(bytes) => {
                let pieces = std::iter::once(bytes.as_ref().into());
                (bytes.len() as u64, self.store.put(&hash, pieces).err())
            }
            Payload::Stream => (0, Some("a blob is no stream".to_owned())),
            // Its uploader is gone, and the link's number will be another's before it is stored.
            Payload::Buffer { buffer, .. } if self.links.get_mut(link).is_none() => {
                return self.payloads.buffers.release(buffer);
            }
            Payload::Buffer { buffer, length } => {
                let stored = self.payloads.store(&self.store, link, channel, hash, buffer, length);
                match stored {
                    Ok(()) => return,
                    Err(reason) => (length, Some(reason)),
                }
            }
        };
        self.node.handle(now, Event::BlobStored { link, channel, hash, length, refused });
    }

    pub(super) fn fetch_blob(&mut self, now: Time, link: LinkId, channel: u64, blob: FetchBlob) {
        let (hash, length) = (blob.hash, blob.length);
        if self.links.get_mut(link).is_none() {
            // Who wanted it is gone, and the link's number will be another's before it is here.
            let (link, failed) = (None, Some("its client is gone".to_owned()));
            self.node.handle(now, Event::BlobFetched { link, channel, hash, length, failed });
            return;
        }
        let tls = self.dial_tls.clone().ok_or_else(|| "this node has no certificate".to_owned());
        let begun = tls.and_then(|tls| self.payloads.fetch(&self.store, tls, link, channel, blob));
        if let Err(reason) = begun {
            let (link, failed) = (Some(link), Some(reason));
            self.node.handle(now, Event::BlobFetched { link, channel, hash, length, failed });
        }
    }

    pub(super) fn lend_blob(&mut self, now: Time, connection: LinkId, hash: &Hash) {
        let connection = self.links.remove(self.poll.registry(), connection);
        let file = self.store.file(hash).ok();
        if !connection.zip(file).is_some_and(|(to, file)| self.payloads.lend(to, file)) {
            self.node.handle(now, Event::BlobLent);
        }
    }
}
