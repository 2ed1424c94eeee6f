//! Images of processes, as a file or a peer may give them.

use std::io::Cursor;

use wire::image::{Error, ImageId, Index, Kind, Reader, Section, Summary, Writer};

/// In the order of their numbers, as the seeds have them.
pub const KINDS: [Kind; 9] = [
    Kind::Host,
    Kind::Process,
    Kind::Thread,
    Kind::Mappings,
    Kind::Descriptors,
    Kind::File,
    Kind::Pages,
    Kind::Placed,
    Kind::Upon,
];

/// As a whole image, in every way of reading one; and as the front of one section, whose sum a fuzzer
/// could not guess.
pub fn decode(bytes: &[u8]) {
    let streamed = read(bytes);
    let summary = Summary::decode(Cursor::new(bytes));
    if let Ok(Some((sections, length))) = &streamed {
        let summary = summary.expect("what is whole has a summary").expect("an image");
        assert_eq!(summary.length, *length as u64);
        let index =
            Index::read(Cursor::new(&bytes[..*length])).expect("what is whole has an index");
        assert_eq!(index.entries.len(), *sections);
    }
    if let Ok(index) = Index::read(Cursor::new(bytes)) {
        let mut file = Cursor::new(bytes);
        file.set_position(index.start);
        if let Ok(Some(mut reader)) = Reader::new(file) {
            let _ = reader.next_section();
            for number in 0..index.entries.len() as u32 {
                let _ = reader.jump(&index, number);
            }
        }
    }

    let [kind, front @ ..] = bytes else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    if let Some(section) = Section::from_front(kind, front) {
        assert_eq!((section.kind(), &section.front()[..]), (kind, front));
        // Whether it fits is the writer's and the reader's word, and they say the same.
        let mut writer = Writer::new(Vec::new(), ImageId(1));
        if kind == Kind::Host && writer.put(&section, &[]).is_ok() {
            writer.flush().expect("a vector takes everything");
        }
    }
}

/// How many sections an image has, and its length.
fn read(bytes: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    let mut rest = bytes;
    let Some(mut reader) = Reader::new(&mut rest)? else { return Ok(None) };
    let mut sections = 0;
    let mut page = [0; 4096];
    while let Some(section) = reader.next_section()? {
        assert_eq!(Section::from_front(section.kind(), &section.front()), Some(section));
        sections += 1;
        let some = reader.left().min(4096) as usize;
        reader.read(&mut page[..some])?;
    }
    let length = bytes.len() - rest.len();
    Ok(Some((sections, length)))
}
