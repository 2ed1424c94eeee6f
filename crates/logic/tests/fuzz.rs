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

fn vectors() -> Vec<seeds::Vector> {
    seeds::vectors(include_str!("../../../docs/protocol.md")).expect("every vector is one")
}
