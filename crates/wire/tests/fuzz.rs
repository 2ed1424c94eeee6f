//! The bodies of the fuzz targets `frame`, `message`, `payload_head`, `kept`, `image`, `image_paging`,
//! `delegation`, `answer`, `worker_v1` and `netmem`, where there is no fuzzer.

#[path = "../../../fuzz/src/answer.rs"]
pub mod answer;
#[path = "../../../fuzz/src/delegation.rs"]
pub mod delegation;
#[path = "../../../fuzz/src/frame.rs"]
pub mod frame;
#[path = "../../../fuzz/src/message.rs"]
pub mod message;
#[path = "../../../fuzz/src/netmem.rs"]
pub mod netmem;
#[path = "../../../fuzz/src/noise.rs"]
pub mod noise;
#[path = "../../../fuzz/src/image.rs"]
pub mod image;
#[path = "../../../fuzz/src/image_paging.rs"]
pub mod image_paging;
#[path = "../../../fuzz/src/kept.rs"]
pub mod kept;
#[path = "../../../fuzz/src/payload_head.rs"]
pub mod payload_head;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;
#[path = "../../../fuzz/src/worker_v1.rs"]
pub mod worker_v1;

extern crate farcall_wire as wire;

#[test]
fn what_a_disk_gives_back_is_read_without_a_panic() {
    check("kept", 20_000, kept::decode);
}

#[test]
fn what_a_copy_is_handed_on_is_read_as_it_was_written() {
    check("delegation", 20_000, delegation::decode);
}

#[test]
fn what_a_call_answers_is_found_however_it_is_cut() {
    check("answer", 50_000, answer::find);
}

#[test]
fn every_kind_of_an_images_sections_is_among_its_seeds_and_read() {
    let vectors = seeds::vectors_for("image", "").expect("every vector is one");
    let fronts = seeds::seeds("image", &vectors).split_off(2);
    let mut kinds: Vec<u8> = fronts.iter().map(|seed| seed[0]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.contains(&8) && kinds.len() == image::KINDS.len() - 1, "{kinds:?}");
    for seed in &fronts {
        let kind = image::KINDS[usize::from(seed[0])];
        assert!(wire::image::Section::from_front(kind, &seed[1..]).is_some(), "{kind:?}: {seed:?}");
    }
}

#[test]
fn images_are_read_alike_in_every_way_or_not_at_all() {
    check("image", 20_000, image::decode);
}

#[test]
fn what_is_said_of_pages_that_follow_is_read_as_it_was_written() {
    check("image_paging", 50_000, image_paging::decode);
}

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

#[test]
fn what_netmem_says_is_taken_whole_however_it_is_cut() {
    check("netmem", 50_000, netmem::read);
}

fn check(target: &str, count: u64, body: fn(&[u8])) {
    let paper = include_str!("../../../docs/protocol.md");
    let vectors = seeds::vectors_for(target, paper);
    let seeds = seeds::seeds(target, &vectors.expect("every vector is one"));
    noise::feed(count, &seeds, body);
}
