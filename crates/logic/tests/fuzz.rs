//! The bodies of the fuzz targets `link` and `node`, where there is no fuzzer.

#[path = "../../../fuzz/src/link.rs"]
pub mod link;
#[path = "../../../fuzz/src/node.rs"]
pub mod node;
#[path = "../../../fuzz/src/noise.rs"]
pub mod noise;
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
