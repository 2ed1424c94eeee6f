//! Images: what is written comes back, and nothing else is taken for it.

#[path = "../../../fuzz/src/noise.rs"]
pub mod noise;
#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;
#[path = "image/hostile.rs"]
mod hostile;
#[path = "image/paper.rs"]
mod paper;
#[path = "image/sample.rs"]
mod sample;

use std::io::{Cursor, Read};

use farcall_wire::image::{
    Error, ImageId, Index, Kind, PageCounts, Part as Of, Reader, Section, Summary, Writer,
};
use farcall_wire::name::Hash;
use noise::Noise;
use sample::{PAGE, Part, random, small, write};

#[test]
fn what_is_written_comes_back() {
    for seed in 0..60 {
        let parts = random(seed);
        let bytes = write(seed, &parts);
        assert_eq!(read(&bytes[..]).expect("whole"), parts, "seed {seed}");
    }
}

#[test]
fn a_stream_may_come_in_any_pieces() {
    for seed in 0..20 {
        let parts = random(seed);
        let bytes = write(seed, &parts);
        let pieces = Pieces { bytes: &bytes, noise: Noise::new(seed) };
        assert_eq!(read(pieces).expect("whole"), parts, "seed {seed}");
    }
}

#[test]
fn images_follow_each_other_on_one_stream() {
    let (first, second) = (random(1), random(2));
    let mut bytes = [write(1, &first), write(2, &second)].concat();
    bytes.extend_from_slice(b"more");
    let mut stream = &bytes[..];
    assert_eq!(read(&mut stream).expect("whole"), first);
    assert_eq!(read(&mut stream).expect("whole"), second);
    assert_eq!(stream, b"more", "a reader stays within its image");
    let ended = Reader::new(&b""[..]).expect("no error");
    assert!(ended.is_none(), "where a stream ends there is no image");
}

#[test]
fn a_section_can_be_had_before_the_next_one_is_written() {
    let (sender, receiver) = std::io::pipe().map(|(read, write)| (write, read)).expect("a pipe");
    let mut writer = Writer::new(sender, ImageId(3));
    let parts = small();
    writer.put(&parts[0].0, &[]).expect("written");
    writer.flush().expect("written");
    let mut reader = Reader::new(receiver).expect("no error").expect("an image");
    assert_eq!(reader.next_section().expect("whole"), Some(parts[0].0.clone()));
    for (section, body) in &parts[1..] {
        writer.put(section, &[body]).expect("written");
        writer.flush().expect("written");
        assert_eq!(reader.next_section().expect("whole").as_ref(), Some(section));
        let mut bytes = vec![0; reader.left() as usize];
        reader.read(&mut bytes).expect("whole");
        assert_eq!(bytes, *body);
    }
    writer.finish().expect("written");
    assert_eq!(reader.next_section().expect("whole"), None);
    assert_eq!(reader.next_section().expect("whole"), None, "an end stays the end");
}

#[test]
fn any_byte_that_is_changed_is_found_and_named() {
    let parts = small();
    let bytes = write(9, &parts);
    let borders = borders(&bytes);
    for at in 0..bytes.len() {
        for change in [0x01, 0x80] {
            let mut wrong = bytes.clone();
            wrong[at] ^= change;
            let error = read(&wrong[..]).expect_err("a changed byte");
            let (begins, named) = borders
                .iter()
                .rev()
                .find(|(begins, _)| *begins <= at as u64)
                .expect("every byte is in a part");
            match error {
                Error::Foreign => assert!(at < 8, "byte {at}"),
                Error::Damaged(place) => {
                    assert_eq!((place.offset, place.part), (*begins, *named), "byte {at}");
                }
                other => panic!("byte {at}: {other}"),
            }
            let error = Summary::decode(Cursor::new(&wrong));
            let unread = matches!(named, Of::Body(..)) && error.is_ok();
            assert!(unread || error.is_err(), "byte {at}: a summary of a damaged image");
        }
    }
}

#[test]
fn an_image_that_is_cut_anywhere_is_found_and_named() {
    let parts = small();
    let bytes = write(9, &parts);
    let borders = borders(&bytes);
    for length in 1..bytes.len() {
        let (begins, named) = borders
            .iter()
            .rev()
            .find(|(begins, _)| *begins <= length as u64)
            .expect("every byte is in a part");
        for error in [
            read(&bytes[..length]).expect_err("a cut image"),
            Summary::decode(Cursor::new(&bytes[..length])).expect_err("a cut image"),
        ] {
            match error {
                Error::Truncated(place) => {
                    assert_eq!((place.offset, place.part), (*begins, *named), "cut at {length}");
                }
                other => panic!("cut at {length}: {other}"),
            }
        }
        let error = Index::read(Cursor::new(&bytes[..length])).expect_err("a cut image");
        assert!(error.is_damage(), "cut at {length}: {error}");
    }
}

#[test]
fn a_section_of_another_image_or_from_another_place_does_not_fit() {
    let parts = small();
    let (bytes, other) = (write(9, &parts), write(10, &parts));
    assert_eq!(bytes.len(), other.len());
    let borders = borders(&bytes);
    for pair in borders.windows(2).skip(1) {
        let range = pair[0].0 as usize..pair[1].0 as usize;
        let mut mixed = bytes.clone();
        mixed[range.clone()].copy_from_slice(&other[range]);
        assert!(read(&mixed[..]).expect_err("a foreign part").is_damage());
    }
    // Three sections that nothing but their numbers keeps in order, turned round.
    let index = Index::read(Cursor::new(&bytes)).expect("whole");
    let placed: Vec<_> = index.of(Kind::Placed).map(|(_, entry)| entry.offset as usize).collect();
    let end = index.of(Kind::File).next().expect("a file").1.offset as usize;
    let turned = [
        &bytes[..placed[0]],
        &bytes[placed[1]..placed[2]],
        &bytes[placed[0]..placed[1]],
        &bytes[placed[2]..end],
        &bytes[end..],
    ]
    .concat();
    assert!(read(&turned[..]).expect_err("sections in another order").is_damage());
}

#[test]
fn an_index_finds_every_section_where_it_is() {
    for seed in 0..20 {
        let parts = random(seed);
        let bytes = [b"before".to_vec(), write(seed, &parts)].concat();
        let mut file = Cursor::new(&bytes[..]);
        let index = Index::read(&mut file).expect("whole");
        assert_eq!((index.start, index.length), (6, bytes.len() as u64 - 6));
        assert_eq!(index.entries.len(), parts.len());
        file.set_position(index.start);
        let mut reader = Reader::new(file).expect("no error").expect("an image");
        assert!(reader.next_section().expect("whole").is_some(), "the host");
        for number in (0..parts.len()).rev() {
            let section = reader.jump(&index, number as u32).expect("whole");
            let mut body = vec![0; reader.left() as usize];
            reader.read(&mut body).expect("whole");
            assert_eq!((section, body), parts[number], "seed {seed}, section {number}");
        }
        // Who has jumped cannot say that all of it is whole.
        reader.jump(&index, parts.len() as u32 - 1).expect("whole");
        let error = reader.next_section().expect_err("not in turn");
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
}

#[test]
fn a_page_that_was_damaged_behind_a_whole_index_is_found_when_it_is_read() {
    let bytes = write(9, &small());
    let index = Index::read(Cursor::new(&bytes)).expect("whole");
    let (number, entry) = index.of(Kind::Pages).next().expect("pages");
    let mut wrong = bytes.clone();
    wrong[entry.offset as usize + 32 + entry.front as usize + 8 + 77] ^= 4;
    assert_eq!(Index::read(Cursor::new(&wrong)).expect("whole"), index);
    let mut reader = Reader::new(Cursor::new(&wrong)).expect("no error").expect("an image");
    reader.next_section().expect("whole");
    reader.jump(&index, number).expect("its front is whole");
    let mut page = [0; PAGE];
    let error = reader.read(&mut page).expect_err("a damaged page");
    assert_eq!(
        error.to_string(),
        format!(
            "the image is damaged in the bytes of section {number}, pages (from byte {}): its \
             checksum is not that of its bytes; copy the file again, or take the checkpoint again",
            entry.offset + 32 + u64::from(entry.front) + 8
        )
    );
}

#[test]
fn bytes_that_took_another_way_are_verified_when_they_are_shown() {
    let bytes = write(9, &small());
    for wound in [0, 4] {
        let mut rest = &bytes[..];
        let mut reader = Reader::new(&mut rest).expect("no error").expect("an image");
        while reader.left() != PAGE as u64 {
            reader.next_section().expect("whole").expect("pages are the last of it");
        }
        let mut page = [0; PAGE];
        reader.stream().read_exact(&mut page).expect("a page");
        page[PAGE - 1] ^= wound;
        reader.took(&page[..1000]).expect("not all of it yet");
        let taken = reader.took(&page[1000..]);
        assert_eq!(taken.is_ok(), wound == 0);
        if wound == 0 {
            assert_eq!(reader.next_section().expect("whole"), None);
            assert_eq!(reader.offset(), bytes.len() as u64);
        }
    }
}

#[test]
fn an_index_of_another_image_leads_nowhere() {
    let bytes = write(9, &small());
    let index = Index::read(Cursor::new(write(10, &small()))).expect("whole");
    let mut reader = Reader::new(Cursor::new(&bytes)).expect("no error").expect("an image");
    let error = reader.jump(&index, 1).expect_err("no host yet");
    assert!(error.to_string().contains("the host has to be read first"), "{error}");
    reader.next_section().expect("whole");
    let error = reader.jump(&index, 1).expect_err("another image");
    assert!(error.to_string().contains("the index is another image's"), "{error}");
}

#[test]
fn a_summary_counts_what_is_there_and_reads_no_page() {
    for seed in 0..20 {
        let parts = random(seed);
        let bytes = write(seed, &parts);
        let mut file = Counted { file: Cursor::new(&bytes), read: 0 };
        let summary = Summary::decode(&mut file).expect("whole").expect("an image");
        assert_eq!(summary.length, bytes.len() as u64);
        assert_eq!(summary.id, ImageId(seed));
        let carried: usize = parts.iter().map(|(_, body)| body.len()).sum();
        assert_eq!(file.read, bytes.len() - carried, "seed {seed}: bytes that were read");
        let of = |kind| parts.iter().filter(move |(section, _)| section.kind() == kind);
        assert_eq!(summary.threads, of(Kind::Thread).count() as u64);
        let pages: usize = of(Kind::Pages).map(|(_, body)| body.len() / PAGE).sum();
        assert_eq!(summary.pages.carried, pages as u64);
        let files: usize = of(Kind::File).map(|(_, body)| body.len()).sum();
        assert_eq!(summary.file_bytes, files as u64);
        for part in &summary.parts {
            assert_eq!(part.sections, of(part.kind).count() as u64);
        }
        let sections: u64 = summary.parts.iter().map(|part| part.bytes).sum();
        let index = Index::read(Cursor::new(&bytes)).expect("whole");
        let entries = 40 * parts.len() as u64;
        assert_eq!(sections, index.length - (32 + 32 + 8 + entries + 8 + 40), "seed {seed}");
    }
    let summary = Summary::decode(Cursor::new(write(1, &small()))).expect("whole").expect("one");
    assert_eq!(
        summary.pages,
        PageCounts { carried: 1, zero: 2, known: 1, with_sender: 9, guards: 0 }
    );
    assert_eq!((summary.mappings, summary.mapped, summary.descriptors), (6, 40 * 4096, 7));
}

#[test]
fn pages_that_repeat_cost_their_hash_and_zero_ones_nothing() {
    use farcall_wire::image::memory::{Place, Placed};
    let mut parts = sample::brief();
    parts.truncate(5);
    let without = write(1, &parts).len();
    let place = Place::Zero;
    let million = Placed { runs: vec![sample::run(0x400, 1 << 20)], place };
    parts.push((Section::Placed(million), Vec::new()));
    let zero = write(1, &parts).len();
    assert!(zero - without < 100, "4 GiB of zeros took {} bytes", zero - without);
    let place = Place::Known(vec![Hash([1; 32]); 10_000]);
    let known = Placed { runs: vec![sample::run(0x400, 10_000)], place };
    parts.push((Section::Placed(known), Vec::new()));
    let known = write(1, &parts).len() - zero;
    assert!(known < 33 * 10_000, "10,000 known pages took {known} bytes");
}

#[test]
fn many_mappings_with_long_paths_fit() {
    use farcall_wire::image::descriptor::{Descriptor, Opened};
    use farcall_wire::image::memory::{Mapping, MappingKind};
    use farcall_wire::image::text::Text;
    let long = Text(vec![b'x'; 4095]);
    let mapping = &sample::mappings()[0];
    let MappingKind::File(file) = &mapping.kind else { panic!("the first one is of a file") };
    let mappings: Vec<Mapping> = (0..1000)
        .map(|number| {
            let mut file = file.clone();
            file.path = long.clone();
            let (start, end) = (number * PAGE as u64, (number + 1) * PAGE as u64);
            Mapping { start, end, kind: MappingKind::File(file), ..mapping.clone() }
        })
        .collect();
    let descriptors: Vec<Descriptor> = (0..1000)
        .map(|number| {
            let what = Opened::Folder { path: long.clone() };
            Descriptor { number, what, ..sample::descriptors()[0].clone() }
        })
        .collect();
    let mut writer = Writer::new(Vec::new(), ImageId(1));
    for (section, _) in &sample::brief()[..3] {
        writer.put(section, &[]).expect("written");
    }
    writer.put_mappings(&mappings).expect("written");
    writer.put_descriptors(&descriptors).expect("written");
    let bytes = writer.finish().expect("written");
    let (mut found_mappings, mut found_descriptors) = (Vec::new(), Vec::new());
    for (section, _) in read(&bytes[..]).expect("whole") {
        match section {
            Section::Mappings(list) => found_mappings.extend(list),
            Section::Descriptors(list) => found_descriptors.extend(list),
            _ => {}
        }
    }
    assert_eq!((found_mappings, found_descriptors), (mappings, descriptors));
}

#[test]
fn names_are_shown_without_what_a_terminal_obeys() {
    let text = &sample::process().arguments[1];
    assert_eq!(text.to_string(), r"to\xff\u{1b}");
}

/// All sections of an image with their bodys, if it is whole.
fn read(from: impl Read) -> Result<Vec<Part>, Error> {
    let mut reader = Reader::new(from)?.expect("an image");
    let mut parts = Vec::new();
    while let Some(section) = reader.next_section()? {
        let mut body = vec![0; reader.left() as usize];
        // In two pieces, to two places.
        let half = body.len() / 2;
        let (one, other) = body.split_at_mut(half);
        reader.read(one)?;
        reader.read(other)?;
        parts.push((section, body));
    }
    Ok(parts)
}

/// Where each part of an image begins, by the lengths that the paper tells.
fn borders(bytes: &[u8]) -> Vec<(u64, Of)> {
    let index = Index::read(Cursor::new(bytes)).expect("whole");
    let mut borders = vec![(0, Of::Preamble)];
    let mut at = 32;
    for (number, entry) in (0..).zip(&index.entries) {
        assert_eq!(entry.offset, at);
        borders.push((at, Of::Head(number)));
        borders.push((at + 32, Of::Front(entry.kind, number)));
        at += 32 + u64::from(entry.front) + 8;
        if entry.body > 0 {
            borders.push((at, Of::Body(entry.kind, number)));
            at += entry.body + 8;
        }
    }
    borders.push((at, Of::Head(index.entries.len() as u32)));
    borders.push((at + 32, Of::Index));
    at += 32 + 8 + 40 * index.entries.len() as u64 + 8;
    borders.push((at, Of::End));
    assert_eq!(at + 40, bytes.len() as u64);
    borders
}

/// A stream that gives a few bytes at a time, and is interrupted now and then.
struct Pieces<'a> {
    bytes: &'a [u8],
    noise: Noise,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.noise.below(9) == 0 {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let length = into.len().min(1 + self.noise.below(700));
        self.bytes.read(&mut into[..length])
    }
}

/// Counts what is read, and not what is jumped over.
struct Counted<'a> {
    file: Cursor<&'a Vec<u8>>,
    read: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(into)?;
        self.read += length;
        Ok(length)
    }
}

impl std::io::Seek for Counted<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}
