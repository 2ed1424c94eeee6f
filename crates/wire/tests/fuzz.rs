//! The bodies of the fuzz targets `frame`, `message` and `payload_head`, where there is no fuzzer.

#[path = "../../../fuzz/src/frame.rs"]
pub mod frame;
#[path = "../../../fuzz/src/message.rs"]
pub mod message;
#[path = "../../../fuzz/src/noise.rs"]
pub mod noise;
#[path = "../../../fuzz/src/payload_head.rs"]
pub mod payload_head;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;

extern crate farcall_wire as wire;

#[test]
fn frames_come_out_whole_however_they_are_cut() {
    check("frame", 20_000, frame::split);
}

#[test]
fn what_decodes_is_encoded_alike() {
    check("message", 50_000, message::decode);
}

#[test]
fn heads_of_payloads_are_read_or_too_short() {
    check("payload_head", 2_000, payload_head::peek);
}

fn check(target: &str, count: u64, body: fn(&[u8])) {
    let vectors = seeds::vectors(include_str!("../../../docs/protocol.md"));
    let seeds = seeds::seeds(target, &vectors.expect("every vector is one"));
    noise::feed(count, &seeds, body);
}
