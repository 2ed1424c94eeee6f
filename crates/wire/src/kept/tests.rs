//! That what is kept comes back, and anything else is known as such.

use proptest::prelude::*;

use super::*;
use crate::region::{Audience, Durability, Style};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn items() -> Vec<Item> {
    let create = Create {
        name: name("genes"),
        page_size: 4096,
        pages: 7,
        durability: Durability::Sync,
        style: Style::Transactional,
        audience: Audience::Cluster,
    };
    let outcome = Outcome { owner: name("ada"), answer: Answer::Committed { version: Version(9) } };
    vec![
        Item::Region(Region { id: RegionId(5), owner: name("ada"), create }),
        Item::Head(Head { epoch: 3, sequence: 900, pages: 7, items: 2, sum: u128::MAX / 3 }),
        Item::Page(PageNo(6), Version(9), Bytes::from(vec![7; 4096])),
        Item::Outcome(SessionId(11), 12, outcome),
    ]
}

#[test]
fn what_is_kept_comes_back() {
    for item in items() {
        let value = Bytes::from(item.encode(RegionId(5)));
        let key = item.key().to_bytes();
        assert_eq!(Key::from_bytes(&key), Ok(item.key()));
        assert_eq!(Item::decode(RegionId(5), &key, &value), Ok(item));
    }
}

#[test]
fn any_bit_that_is_flipped_is_found() {
    for item in items() {
        let value = item.encode(RegionId(5));
        for bit in 0..value.len() * 8 {
            let mut wrong = value.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let key = item.key().to_bytes();
            assert_eq!(Item::decode(RegionId(5), &key, &Bytes::from(wrong)), Err(Damaged));
        }
    }
}

#[test]
fn a_value_is_no_other_keys_and_no_other_regions() {
    let page = Item::Page(PageNo(6), Version(9), Bytes::from_static(b"four"));
    let value = Bytes::from(page.encode(RegionId(5)));
    let elsewhere = Key::Page(PageNo(7)).to_bytes();
    assert_eq!(Item::decode(RegionId(5), &elsewhere, &value), Err(Damaged));
    assert_eq!(Item::decode(RegionId(6), &page.key().to_bytes(), &value), Err(Damaged));
}

#[test]
fn pages_lie_in_their_order() {
    let keys: Vec<_> = [0, 1, 255, 256, 1 << 32].map(|n| Key::Page(PageNo(n)).to_bytes()).into();
    assert!(keys.is_sorted());
}

#[test]
fn marks_differ_in_key_and_version() {
    let page = |number, version| Key::Page(PageNo(number)).mark(Version(version));
    assert_ne!(page(1, 2), page(1, 3));
    assert_ne!(page(1, 2), page(2, 2));
    assert_ne!(page(1, 0), Key::Outcome(SessionId(0), 1).mark(Version(0)));
}

#[test]
fn a_high_water_that_is_cut_or_flipped_anywhere_is_damaged() {
    let water = HighWater {
        name: name("genes"),
        id: RegionId(5),
        stage: Stage::There,
        epoch: 3,
        sequence: 1 << 40,
    };
    let bytes = water.encode();
    assert_eq!(HighWater::decode(&bytes), Ok(water));
    for length in 0..bytes.len() {
        assert_eq!(HighWater::decode(&bytes[..length]), Err(Damaged));
    }
    for bit in 0..bytes.len() * 8 {
        let mut wrong = bytes;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(HighWater::decode(&wrong), Err(Damaged), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(key: Vec<u8>, value: Vec<u8>, kind in 0..5usize) {
        let keys = [key, b"r".to_vec(), b"h".to_vec(), vec![b'p'; 9], vec![b'o'; 17]];
        let value = Bytes::from(value);
        let _ = Item::decode(RegionId(1), &keys[kind], &value);
        let _ = HighWater::decode(&value);
        // Bytes with a right checksum reach the rest of the decoder.
        let sealed = seal(if kind == 1 { ANY } else { RegionId(1) }, &keys[kind], &value, &[]);
        let _ = Item::decode(RegionId(1), &keys[kind], &Bytes::from(sealed));
    }
}
