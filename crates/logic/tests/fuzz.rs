//! The bodies of the fuzz targets `link`, `node` and `regions`, where there is no fuzzer.

#[path = "../../../fuzz/src/link.rs"]
pub mod link;
#[path = "../../../fuzz/src/node.rs"]
pub mod node;
#[path = "../../../fuzz/src/noise.rs"]
pub mod noise;
#[path = "../../../fuzz/src/regions.rs"]
pub mod regions;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;

extern crate farcall_logic as logic;

#[test]
fn no_bytes_confuse_a_link() {
    noise::feed(20_000, &seeds::seeds("link", &vectors()), link::converse);
}

#[test]
fn no_bytes_confuse_a_node() {
    noise::feed(20_000, &seeds::seeds("node", &vectors()), node::serve);
}

/// Frames that are right, in an order that is not.
#[test]
fn no_order_of_frames_leaves_anything_behind() {
    let vectors = vectors();
    let mut pieces: Vec<Vec<u8>> = vectors.iter().map(|vector| vector.bytes.clone()).collect();
    pieces.extend(node::happenings());
    let begin =
        |name: &str| vectors.iter().find(|vector| vector.name == name).map(|v| &v.bytes[..]);
    let greeting = ["version", "hello-client", "define"].map(|name| begin(name).expect("a vector"));
    for number in 0..20_000 {
        let mut noise = noise::Noise::new(number);
        let mut stream = greeting.concat();
        for _ in 0..noise.below(40) {
            stream.extend_from_slice(&pieces[noise.below(pieces.len())]);
        }
        node::serve(&stream);
    }
}

#[test]
fn no_bytes_confuse_the_home_of_a_region() {
    noise::feed(20_000, &seeds::seeds("regions", &vectors()), regions::share);
}

/// Sessions, links that come and go, time, and a vault: requests that are right, in any order.
#[test]
fn no_order_of_requests_leaves_anything_in_a_region() {
    let vectors = vectors();
    let begin =
        |name: &str| vectors.iter().find(|vector| vector.name == name).map(|v| &v.bytes[..]);
    let [create, attach] = ["region-create", "attach"].map(|name| begin(name).expect("a vector"));
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for vector in vectors.iter().filter(|vector| vector.name.starts_with("request-")) {
        // Few numbers, so that some come again.
        for number in 1..8_u64 {
            let mut bytes = vector.bytes.clone();
            bytes[1..9].copy_from_slice(&number.to_le_bytes());
            // Nothing was answered yet.
            bytes[17] = 0;
            pieces.push(bytes);
        }
    }
    let happen = seeds::happening;
    for _ in 0..8 {
        let spans = [1_000_000_000, 2_000_000_000, 4_000_000_000, 100_000_000_000];
        pieces.extend(spans.map(|span| happen(0xe0, span, &[])));
        pieces.extend((0..4).map(|link| happen(0xe1, link, &[])));
        pieces.extend((0..3).map(|count| happen(0xe8, count, &[])));
        pieces.extend([happen(0xe5, 0, &[]), happen(0xe6, 0, &[]), happen(0xe9, 0, &[])]);
        pieces.extend([create.to_vec(), attach.to_vec(), attach.to_vec(), attach.to_vec()]);
    }
    // Another session: the last byte but none of its number.
    let mut other = attach.to_vec();
    other[17 + 6] ^= 1;
    pieces.extend(std::iter::repeat_n(other, 16));
    for number in 0..20_000 {
        let mut noise = noise::Noise::new(number);
        let mut stream = [create, attach].concat();
        for _ in 0..noise.below(80) {
            stream.extend_from_slice(&pieces[noise.below(pieces.len())]);
        }
        regions::share(&stream);
    }
}

/// Two controllers, and workers that do what they like.
#[test]
fn no_order_of_requests_leaves_anything_behind() {
    let happen = seeds::happening;
    let asks = |what: u8| happen(0xe7, 0, &[what]);
    let (first, second) = (happen(0xe1, 1, &[]), happen(0xe1, 2, &[]));
    let close = happen(0xe5, 0, &[]);
    let open = [happen(0xe6, 0, &[]), asks(0), asks(2)].concat();
    let mut pieces: Vec<Vec<u8>> = vec![first.clone(), second.clone(), close.clone(), open.clone()];
    pieces.extend((0..11).chain([0, 2, 3, 3, 3, 4]).map(asks));
    for worker in 0..3 {
        pieces.extend([0, 0, 0, 2, 2, 2, 1, 5, 6].map(|what| happen(0xe3, worker, &[what, 1])));
        pieces.push(happen(0xe3, worker, &[5, 4]));
    }
    pieces.extend([1_000_000, 3_000_000_000, 40_000_000_000].map(|span| happen(0xe0, span, &[])));
    for number in 0..30_000 {
        let mut noise = noise::Noise::new(number);
        let mut stream = [&second[..], &close, &open, &first, &close, &open].concat();
        for _ in 0..noise.below(60) {
            stream.extend_from_slice(&pieces[noise.below(pieces.len())]);
        }
        node::serve(&stream);
    }
}

fn vectors() -> Vec<seeds::Vector> {
    seeds::vectors(include_str!("../../../docs/protocol.md")).expect("every vector is one")
}
