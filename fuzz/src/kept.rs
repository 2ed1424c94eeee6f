//! What a vault keeps of a region, as a disk may give it back.

use bytes::Bytes;
use wire::kept::{self, HighWater, Item};
use wire::region::RegionId;

/// The first byte says under which key the rest was.
pub fn decode(bytes: &[u8]) {
    let [kind, bytes @ ..] = bytes else { return };
    let (key, region) = match kind % 5 {
        0 => (b"r".to_vec(), kept::ANY),
        1 => (b"h".to_vec(), RegionId(1)),
        2 => (b"p-page---".to_vec(), RegionId(1)),
        3 => (b"o-session-request".to_vec(), RegionId(1)),
        _ => (bytes.to_vec(), RegionId(1)),
    };
    let _ = Item::decode(RegionId(1), &key, &Bytes::copy_from_slice(bytes));
    let _ = HighWater::decode(bytes);

    // With a right checksum, what follows it is looked at, too.
    let value = Bytes::from(kept::seal(region, &key, bytes, &[]));
    if let Ok(item) = Item::decode(RegionId(1), &key, &value) {
        assert_eq!(item.key().to_bytes(), key);
        let again = Bytes::from(item.encode(RegionId(1)));
        assert_eq!(Item::decode(RegionId(1), &key, &again), Ok(item));
    }
}
