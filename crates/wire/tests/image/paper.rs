//! `docs/image.md` says what the code does: its vectors, one behind another, are one image.

use std::fmt::Write;

use farcall_wire::image::paging::{self, Piece};
use farcall_wire::image::{ImageId, Index, Reader, Section};

use crate::sample::{brief, write};
use crate::{borders, read, seeds};
use farcall_wire::image::Part as Of;

const PAPER: &str = include_str!("../../../../docs/image.md");
const ID: u64 = 0x0123_4567_89ab_cdef;

#[test]
fn vectors_of_images_are_what_the_code_reads_and_writes() {
    let vectors = seeds::vectors_image(PAPER).expect("every vector is one");
    let written: Vec<_> =
        vectors.iter().map(|one| (one.name.clone(), one.bytes.clone(), one.says.clone())).collect();
    let built = pieces();
    let blocks = built.iter().fold(String::new(), |text, piece| text + &block(piece));
    assert!(written == built, "docs/image.md should say:\n{blocks}");

    let whole: Vec<u8> = vectors.iter().flat_map(|vector| vector.bytes.clone()).collect();
    assert_eq!(read(&whole[..]).expect("whole"), brief());
    assert_eq!(whole, write(ID, &brief()));
}

#[test]
fn limits_of_images_are_in_their_paper() {
    use farcall_wire::limits;
    macro_rules! limits {
        ($($name:ident)*) => { [$((stringify!($name), limits::$name as u64)),*] };
    }
    let values = limits![
        IMAGE_CHUNK_MAX IMAGE_FRONT_MAX IMAGE_LIST_MAX IMAGE_SECTIONS_MAX IMAGE_THREADS_MAX
        IMAGE_MAPPINGS_MAX IMAGE_DESCRIPTORS_MAX
    ];
    for (name, value) in values {
        let row = format!("| `{name}` | {value} |");
        assert!(PAPER.contains(&row), "docs/image.md should have the row {row}");
    }
    let source = include_str!("../../src/limits.rs");
    assert_eq!(source.matches("pub const IMAGE_").count(), values.len(), "limits of images");
}

#[test]
fn the_vector_of_changes_is_what_the_code_reads_and_writes() {
    let vectors = seeds::vectors_image_upon(PAPER).expect("every vector is one");
    let mut parts = brief();
    parts.insert(1, (Section::Upon(ImageId(ID)), Vec::new()));
    let bytes = write(ID + 1, &parts);
    assert_eq!(read(&bytes[..]).expect("whole"), parts);
    let index = Index::read(std::io::Cursor::new(&bytes)).expect("whole");
    let (begin, end) = (index.entries[1].offset as usize, index.entries[2].offset as usize);
    let says = format!("{:?}", parts[1].0);
    let built = ("section-1".to_owned(), bytes[begin..end].to_vec(), says);
    let written: Vec<_> =
        vectors.iter().map(|one| (one.name.clone(), one.bytes.clone(), one.says.clone())).collect();
    let block = block(&built).replace("vector-image", "vector-image-upon");
    assert!(written == [built], "docs/image.md should say:\n{block}");
}

#[test]
fn vectors_of_pieces_are_what_the_code_reads() {
    let vectors = seeds::vectors_piece(PAPER).expect("every vector is one");
    assert!(!vectors.is_empty());
    for seeds::Vector { name, bytes, says } in vectors {
        let (head, rest) = bytes.split_first_chunk().expect("a head");
        let piece = Piece::decode(head).expect(&name);
        assert_eq!((format!("{piece:?}"), piece.encode()), (says, *head), "{name}");
        let Piece::Packed { address, len, packed, sum } = piece else {
            assert!(rest.is_empty(), "{name}");
            continue;
        };
        let mut memory = vec![1; len as usize];
        assert_eq!(rest.len(), packed as usize, "{name}");
        assert!(paging::unpack(rest, &mut memory), "{name}");
        assert_eq!(paging::sum(ImageId(ID), address, &memory), sum, "{name}");
        assert!(memory.iter().all(|byte| *byte == b'a'), "{name}");
    }
}

/// The parts of the image of the paper: their names, bytes, and what they say.
fn pieces() -> Vec<(String, Vec<u8>, String)> {
    let bytes = write(ID, &brief());
    let index = Index::read(std::io::Cursor::new(&bytes)).expect("whole");
    let reader = Reader::new(&bytes[..]).expect("no error").expect("an image");
    let said = format!("{:?}", reader.id());
    let mut pieces = vec![("preamble".to_owned(), bytes[..32].to_vec(), said)];
    let ends = index.entries.iter().skip(1).map(|entry| entry.offset);
    let borders = borders(&bytes);
    let end = borders.iter().find(|(_, part)| *part == Of::End).expect("an end").0;
    let first_of_index = borders.iter().find(|(_, part)| *part == Of::Index).expect("one").0 - 32;
    for ((entry, end), (section, body)) in
        index.entries.iter().zip(ends.chain([first_of_index])).zip(brief())
    {
        let range = entry.offset as usize..end as usize;
        let mut says = format!("{section:?}");
        if !body.is_empty() {
            let _ = write!(says, ", \"{}\"", body.escape_ascii());
        }
        let name = format!("section-{}", pieces.len() - 1);
        pieces.push((name, bytes[range].to_vec(), says));
    }
    let range = first_of_index as usize..end as usize;
    let entries: Vec<_> = index.entries.iter().map(|entry| (entry.offset, entry.kind)).collect();
    pieces.push(("index".to_owned(), bytes[range].to_vec(), format!("{entries:?}")));
    let says = format!("index at {first_of_index}, {} bytes in all", index.length);
    pieces.push(("end".to_owned(), bytes[end as usize..].to_vec(), says));
    pieces
}

/// A vector as it is to be written.
fn block((name, bytes, says): &(String, Vec<u8>, String)) -> String {
    let mut text = format!("```vector-image\nname: {name}\nhex: ");
    for (number, line) in bytes.chunks(24).enumerate() {
        text += if number == 0 { "" } else { "\n     " };
        for word in line.chunks(4) {
            text += " ";
            word.iter().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            });
        }
    }
    format!("{text}\nsays: {says}\n```\n")
}
