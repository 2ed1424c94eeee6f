//! Images whose sums are right and whose words are not.

use std::io::Read;

use farcall_wire::image::descriptor::{FileNo, FilePart};
use farcall_wire::image::host::Host;
use farcall_wire::image::memory::{Mapping, Pages, Place, Placed};
use farcall_wire::image::process::Process;
use farcall_wire::image::thread::{Caller, Thread};
use farcall_wire::image::{Error, ImageId, Reader, Section, Writer};
use farcall_wire::limits::{IMAGE_CHUNK_MAX, IMAGE_FRONT_MAX};
use farcall_wire::name::Hash;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::read;
use crate::sample::{PAGE, Part, brief, host, mappings, process, run, small, thread, write};

/// The layout, written a second time so that it can be written wrong.
struct Forger {
    bytes: Vec<u8>,
    number: u32,
}

impl Forger {
    const ID: u64 = 5;

    fn new() -> Self {
        let mut bytes = b"\x89FCIM\r\n\x1a\x01\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&Self::ID.to_le_bytes());
        let sum = xxh3_64_with_seed(&bytes, 0);
        bytes.extend_from_slice(&sum.to_le_bytes());
        Self { bytes, number: 0 }
    }

    /// A head that announces what it likes.
    fn head(&mut self, kind: u8, codec: u8, front: u32, body: u64) {
        let mut head = vec![kind, codec, 0, 0];
        head.extend_from_slice(&self.number.to_le_bytes());
        head.extend_from_slice(&front.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&body.to_le_bytes());
        self.sealed(&head);
    }

    fn sealed(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        let sum = xxh3_64_with_seed(part, Self::ID + u64::from(self.number));
        self.bytes.extend_from_slice(&sum.to_le_bytes());
    }

    fn section(mut self, section: &Section, body: &[u8]) -> Self {
        let numbers: [u8; 9] = [1, 9, 2, 3, 4, 5, 6, 7, 8];
        let front = section.front();
        let kind = numbers[section.kind() as usize];
        self.head(kind, 0, front.len() as u32, body.len() as u64);
        self.sealed(&front);
        if !body.is_empty() {
            self.sealed(body);
        }
        self.number += 1;
        self
    }

    fn sections(self, parts: &[Part]) -> Self {
        parts.iter().fold(self, |forger, (section, body)| forger.section(section, body))
    }
}

#[test]
fn the_forger_knows_the_layout() {
    let parts = small();
    let real = write(Forger::ID, &parts);
    let forged = Forger::new().sections(&parts).bytes;
    assert_eq!(forged, real[..forged.len()]);
}

#[test]
fn lengths_that_nothing_stands_behind_take_no_memory() {
    for (front, body) in [(u32::MAX, 0), (IMAGE_FRONT_MAX as u32 + 1, 0), (0, u64::MAX)] {
        let mut forger = Forger::new();
        forger.head(1, 0, front, body);
        let mut reader = Reader::new(&forger.bytes[..]).expect("no error").expect("an image");
        assert!(reader.next_section().is_err(), "{front} and {body} bytes");
    }
    // What is allowed is taken as it comes: of a megabyte that is announced there is nothing here.
    let mut forger = Forger::new();
    forger.head(1, 0, IMAGE_FRONT_MAX as u32, 0);
    let mut asked = Asked { bytes: &forger.bytes, largest: 0 };
    let error = read(&mut asked).expect_err("a cut image");
    assert!(matches!(error, Error::Truncated(_)), "{error}");
    assert!(asked.largest <= 64 * 1024, "it made room for {} bytes", asked.largest);
}

/// Remembers the largest room that was made for its bytes.
struct Asked<'a> {
    bytes: &'a [u8],
    largest: usize,
}

impl Read for &mut Asked<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.largest = self.largest.max(into.len());
        self.bytes.read(into)
    }
}

#[test]
fn lists_that_announce_more_than_they_have_are_refused() {
    for kind in 1..=8 {
        for front in [&[0xff_u8; 9][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[], &[0x80]] {
            let mut forger = Forger::new();
            let before = usize::from(kind - 1).min(5);
            forger = forger.sections(&brief()[..before]);
            forger.head(kind, 0, front.len() as u32, 0);
            forger.sealed(front);
            let error = read(&forger.bytes[..]).expect_err("no front");
            assert!(matches!(error, Error::Refused { .. }), "kind {kind}: {error}");
        }
    }
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = Forger::new().bytes;
    bytes[8] = 2;
    let sum = xxh3_64_with_seed(&bytes[..24], 0);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    let error = read(&bytes[..]).expect_err("a newer format");
    assert!(matches!(error, Error::Version { found: 2, known: 1 }), "{error}");
}

#[test]
fn what_is_no_image_is_named() {
    for text in [&b"GET / HTTP/1.1\r\n"[..], b"\x7fELF", &[0; 100], b"\x89FCIMx"] {
        assert!(matches!(Reader::new(text), Err(Error::Foreign)), "{text:?}");
    }
}

#[test]
fn compressed_sections_are_refused_by_the_name_of_their_codec() {
    for (codec, name) in [(1, "LZ4"), (2, "zstd"), (3, "in a way")] {
        let mut forger = Forger::new();
        forger.head(1, codec, 0, 0);
        let error = read(&forger.bytes[..]).expect_err("compressed").to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn sections_that_are_missing_or_out_of_order_are_refused() {
    let parts = small();
    for (order, why) in [
        (vec![1], "does not belong"),
        (vec![0, 0], "does not belong"),
        (vec![0, 2], "does not belong"),
        (vec![0, 1, 3], "does not belong"),
        (vec![0, 1, 2, 4, 3], "does not belong"),
        (vec![0, 1, 2, 3, 2], "does not belong"),
        (vec![0, 1, 2, 9, 4], "does not belong"),
        (vec![0, 1, 2, 3, 3], "overlap"),
        (vec![0, 1, 2, 4, 4], "order of their numbers"),
    ] {
        let chosen: Vec<Part> = order.iter().map(|&at| parts[at].clone()).collect();
        refused(&chosen, why);
    }
    let mut short = Forger::new().sections(&parts[..2]);
    short.head(0xff, 0, 0, 80);
    let error = read(&short.bytes[..]).expect_err("no thread").to_string();
    assert!(error.contains("it tells of no thread"), "{error}");
}

#[test]
fn what_no_process_can_have_is_refused() {
    let start = brief()[..3].to_vec();
    let with = |section: Section, body: usize| {
        let mut parts = start.clone();
        parts.push((section, vec![7; body]));
        parts
    };
    let pages = |runs, names| Section::Pages(Pages { runs, names });
    let zero = |runs| Section::Placed(Placed { runs, place: Place::Zero });
    refused(&with(pages(vec![run(1, 2)], vec![]), PAGE), "more or fewer than its pages");
    refused(&with(pages(vec![run(1, 1)], vec![]), PAGE + 1), "more or fewer than its pages");
    refused(&with(pages(vec![], vec![]), 0), "no page");
    refused(&with(pages(vec![run(1, 1)], vec![Hash([0; 32]); 2]), PAGE), "one hash for each");
    let many = IMAGE_CHUNK_MAX / PAGE + 1;
    refused(&with(pages(vec![run(1, many as u32)], vec![]), many * PAGE), "more bytes than");
    refused(&with(zero(vec![run(1, 0)]), 0), "empty");
    refused(&with(zero(vec![run(5, 2), run(6, 1)]), 0), "overlap");
    refused(&with(zero(vec![run(5, 2), run(3, 1)]), 0), "order");
    refused(&with(zero(vec![run(u64::MAX, 9)]), 0), "beyond all addresses");
    refused(&with(zero(vec![run(1 << 52, 1)]), 0), "beyond all addresses");
    refused(&with(zero(vec![run(1, 1)]), 9), "no body");
    let known = Placed { runs: vec![run(1, 2)], place: Place::Known(vec![Hash([0; 32])]) };
    refused(&with(Section::Placed(known), 0), "one hash for each");

    let mapping = |start, end| Mapping { start, end, ..mappings()[1].clone() };
    let mapped = |mappings| with(Section::Mappings(mappings), 0);
    refused(&mapped(vec![mapping(4096, 4096)]), "whole pages");
    refused(&mapped(vec![mapping(8192, 4096)]), "whole pages");
    refused(&mapped(vec![mapping(4096, 8000)]), "whole pages");
    refused(&mapped(vec![mapping(4096, 12288), mapping(8192, 16384)]), "overlap");

    let part = |offset, length| Section::File(FilePart { file: FileNo(1), offset, length });
    refused(&with(part(0, 3), 4), "beyond the end of its file");
    refused(&with(part(u64::MAX, u64::MAX), 4), "beyond the end of its file");

    let mut parts = start.clone();
    let caller = Some(Caller { register: u32::MAX });
    parts[2].0 = Section::Thread(Box::new(Thread { caller, ..thread(1, false) }));
    refused(&parts, "outside of its registers");
    parts[2].0 = Section::Thread(Box::new(thread(0, false)));
    refused(&parts, "no number");
    let mut wrong: Process = process();
    wrong.actions[0].signal = 65;
    parts[1].0 = Section::Process(Box::new(wrong));
    refused(&parts, "a signal that there is not");
    parts[0].0 = Section::Host(Box::new(Host { page_size: 0, ..host() }));
    refused(&parts, "a size that no supported host has");
}

#[test]
fn an_index_of_other_sections_is_refused() {
    let parts = small();
    let mut forger = Forger::new().sections(&parts);
    let entries = vec![0; 40 * parts.len()];
    forger.head(0xff, 0, 0, entries.len() as u64);
    forger.sealed(&[]);
    forger.sealed(&entries);
    let error = read(&forger.bytes[..]).expect_err("an empty index").to_string();
    assert!(error.contains("it is not of the sections before it"), "{error}");
}

/// Neither read nor written.
#[track_caller]
fn refused(parts: &[Part], why: &str) {
    let error = read(&Forger::new().sections(parts).bytes[..]).expect_err("a wrong image");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(!error.is_damage());

    let mut writer = Writer::new(Vec::new(), ImageId(1));
    let put = parts.iter().try_for_each(|(section, body)| writer.put(section, &[body]));
    let error = put.expect_err("a wrong image");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn an_image_upon_itself_or_upon_two_or_behind_its_process_is_refused() {
    let upon = |id| (Section::Upon(ImageId(id)), Vec::new());
    let with = |places: &[(usize, u64)]| {
        let mut parts = brief();
        places.iter().for_each(|(place, id)| parts.insert(*place, upon(*id)));
        Forger::new().sections(&parts).bytes
    };
    for (places, why) in [
        (&[(1, Forger::ID)][..], "changed since itself"),
        (&[(0, 7)], "does not belong"),
        (&[(1, 7), (1, 8)], "does not belong"),
        (&[(2, 7)], "does not belong"),
        (&[(5, 7)], "does not belong"),
    ] {
        let error = read(&with(places)[..]).expect_err("a wrong image");
        assert!(
            matches!(error, Error::Refused { .. }) && error.to_string().contains(why),
            "{error}"
        );
    }
}
