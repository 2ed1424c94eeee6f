//! The bodies of the fuzz targets `frame`, `message`, `payload_head` and `worker_v1`,
//! where there is no fuzzer.

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
#[path = "../../../fuzz/src/worker_v1.rs"]
pub mod worker_v1;

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

#[test]
fn the_front_of_a_v1_message_is_never_misread() {
    check("worker_v1", 50_000, worker_v1::read);
}

fn check(target: &str, count: u64, body: fn(&[u8])) {
    let paper = include_str!("../../../docs/protocol.md");
    let v1 = target == "worker_v1";
    let vectors = if v1 { seeds::vectors_v1(paper) } else { seeds::vectors(paper) };
    let seeds = seeds::seeds(target, &vectors.expect("every vector is one"));
    noise::feed(count, &seeds, body);
}
