//! Reads an image, section by section, and believes nothing before its sum has been seen.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use xxhash_rust::xxh3::Xxh3;

use super::error::{Error, Kind, Location, Part};
use super::layout::{
    END, ENTRY, End, Entry, HEAD, Head, INDEX, ImageId, MAGIC, PREAMBLE, RAW, SUM, kind_of,
    read_preamble,
};
use super::section::{Section, Sequence};
use crate::limits::{IMAGE_FRONT_MAX, IMAGE_SECTIONS_MAX};

/// Bytes that are read into a reader's own memory at once.
const STEP: usize = 64 * 1024;

/// Reads one image from a stream, and not a byte beyond its end.
///
/// ```text
/// new -> next_section -> Some(section) -> read, read ... its body, straight to where it belongs
///                     -> Some(section)
///                     -> None                                  the end mark: all of it was whole
/// ```
///
/// What `next_section` hands out is verified, but only `None` says that nothing is missing: until then
/// nothing may run that the image describes. After an error the reader is of no use.
pub struct Reader<R> {
    from: R,
    id: ImageId,
    sequence: Sequence,
    offset: u64,
    number: u32,
    /// Of the entries of all sections so far, as the index must have them.
    entries: Xxh3,
    open: Option<Open>,
    state: State,
}

/// A section whose body has not been read to its end.
struct Open {
    entry: Entry,
    place: Location,
    left: u64,
    sum: Xxh3,
    /// What the index says it comes to, of a section that was jumped to.
    wanted: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Every section so far was read in its turn.
    InTurn,
    /// It has jumped: the end cannot be judged.
    Jumped,
    Ended,
}

impl<R: Read> Reader<R> {
    /// Reads the first bytes of an image; `None` if the stream ends instead.
    pub fn new(mut from: R) -> Result<Option<Self>, Error> {
        let place = Location { part: Part::Preamble, offset: 0 };
        let mut bytes = [0; PREAMBLE];
        let mut length = 0;
        while length < PREAMBLE {
            match from.read(&mut bytes[length..]) {
                Ok(0) if length == 0 => return Ok(None),
                Ok(0) if MAGIC.starts_with(&bytes[..length.min(MAGIC.len())]) => {
                    return Err(Error::Truncated(place));
                }
                Ok(0) => return Err(Error::Foreign),
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Stream { place, source }),
            }
        }
        let id = read_preamble(&bytes)?;
        let (sequence, entries) = (Sequence::of(id), id.running_sum(0));
        let (offset, state) = (PREAMBLE as u64, State::InTurn);
        Ok(Some(Self { from, id, sequence, offset, number: 0, entries, open: None, state }))
    }

    pub fn id(&self) -> ImageId {
        self.id
    }

    /// How far the image has been read, from its beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the latest section's body that are not read yet.
    pub fn left(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.left)
    }

    /// The next section; `None` at the end of an image that was whole. What was left of the latest
    /// body is read and verified, too.
    pub fn next_section(&mut self) -> Result<Option<Section>, Error> {
        self.drain()?;
        if self.state == State::Ended {
            return Ok(None);
        }
        let at = self.offset;
        let head = self.head()?;
        if head.kind == INDEX {
            self.end(at, head)?;
            return Ok(None);
        }
        let (section, _) = self.section(at, head)?;
        Ok(Some(section))
    }

    /// Reads the next bytes of the body. With the last of them its sum is compared, so bytes that
    /// came before an error are not to be used.
    ///
    /// # Panics
    ///
    /// If more is asked for than is `left`.
    pub fn read(&mut self, into: &mut [u8]) -> Result<(), Error> {
        assert!(into.len() as u64 <= self.left(), "this section has fewer bytes");
        // In steps, so that the sum is made of bytes that are still in the processor's cache.
        for part in into.chunks_mut(4 * STEP) {
            let place = self.open.as_ref().map(|open| open.place);
            take(&mut self.from, part, place.expect("there is more than nothing left"))?;
            self.took(part)?;
        }
        Ok(())
    }

    /// The stream, for who moves bytes of the body otherwise, as a kernel does straight into another
    /// process. No byte beyond what is `left` may be taken.
    pub fn stream(&mut self) -> &mut R {
        &mut self.from
    }

    /// Takes note of the next bytes of the body, which were taken from `stream`. As with `read`, they
    /// are verified with the last of them.
    ///
    /// # Panics
    ///
    /// If they are more than are `left`.
    pub fn took(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(mut open) = self.open.take() else { panic!("this section has no more bytes") };
        assert!(bytes.len() as u64 <= open.left, "this section has fewer bytes");
        open.sum.update(bytes);
        self.offset += bytes.len() as u64;
        open.left -= bytes.len() as u64;
        if open.left > 0 {
            self.open = Some(open);
            return Ok(());
        }
        let found = self.word(open.place)?;
        if found != open.sum.digest() || open.wanted.is_some_and(|wanted| wanted != found) {
            return Err(Error::Damaged(open.place));
        }
        self.enter(open.entry, found);
        Ok(())
    }

    /// Gives the stream back. After the end of the image the next one begins there.
    pub fn into_inner(self) -> R {
        self.from
    }

    fn drain(&mut self) -> Result<(), Error> {
        let mut unwanted = Vec::new();
        while self.left() > 0 {
            unwanted.resize(self.left().min(STEP as u64) as usize, 0);
            self.read(&mut unwanted)?;
        }
        Ok(())
    }

    fn head(&mut self) -> Result<Head, Error> {
        let place = Location { part: Part::Head(self.number), offset: self.offset };
        let mut bytes = [0; HEAD];
        self.take(&mut bytes, place)?;
        Head::read(&bytes, self.id, self.number, place.offset)
    }

    fn section(&mut self, at: u64, head: Head) -> Result<(Section, Entry), Error> {
        let refused = |why| {
            Err(Error::Refused {
                place: Location { part: Part::Head(head.number), offset: at },
                why,
            })
        };
        let Some(kind) = kind_of(head.kind) else {
            return refused("it is of a kind that this build does not know");
        };
        if head.front as usize > IMAGE_FRONT_MAX {
            return refused("it tells more than one section may");
        }
        if head.number >= IMAGE_SECTIONS_MAX {
            return refused("the image has more sections than one may");
        }
        let place = Location { part: Part::Front(kind, head.number), offset: self.offset };
        let (front, front_sum) = self.front(head.front as usize, place)?;
        let Some(section) = Section::from_front(kind, &front) else {
            return Err(Error::Refused { place, why: "it is not what any version writes" });
        };
        let admitted = self.sequence.admit(&section, head.body);
        admitted.map_err(|why| Error::Refused { place, why })?;

        let (front, body) = (head.front, head.body);
        let entry = Entry { offset: at, kind, front, body, front_sum, body_sum: 0 };
        if body == 0 {
            self.enter(entry, 0);
        } else {
            let place = Location { part: Part::Body(kind, head.number), offset: self.offset };
            let sum = self.id.running_sum(head.number);
            self.open = Some(Open { entry, place, left: body, sum, wanted: None });
        }
        Ok((section, entry))
    }

    /// Memory is taken as bytes come, not as they are announced.
    fn front(&mut self, length: usize, place: Location) -> Result<(Vec<u8>, u64), Error> {
        let mut front = Vec::new();
        while front.len() < length {
            let had = front.len();
            front.resize(length.min(had + STEP), 0);
            self.take(&mut front[had..], place)?;
        }
        let found = self.word(place)?;
        if found == self.id.sum(self.number, &front) {
            Ok((front, found))
        } else {
            Err(Error::Damaged(place))
        }
    }

    /// One more section was whole.
    fn enter(&mut self, mut entry: Entry, body_sum: u64) {
        entry.body_sum = body_sum;
        self.entries.update(&entry.encode());
        self.number += 1;
    }

    /// The index must be of the sections that were read, and the end mark of this image.
    fn end(&mut self, at: u64, head: Head) -> Result<(), Error> {
        let place = Location { part: Part::Index, offset: self.offset };
        let refused = |why| Err(Error::Refused { place, why });
        if self.state == State::Jumped {
            return refused("its sections were not read in their turn");
        }
        if head.front != 0 || head.body != u64::from(self.number) * ENTRY as u64 {
            return refused("it is not of the sections before it");
        }
        if let Err(why) = self.sequence.end() {
            return refused(why);
        }
        self.front(0, place)?;
        let (mut sum, mut entries) = (self.id.running_sum(self.number), self.id.running_sum(0));
        for _ in 0..self.number {
            let mut entry = [0; ENTRY];
            self.take(&mut entry, place)?;
            sum.update(&entry);
            entries.update(&entry);
        }
        if self.number > 0 && self.word(place)? != sum.digest() {
            return Err(Error::Damaged(place));
        }
        if entries.digest() != self.entries.digest() {
            return refused("it is not of the sections before it");
        }

        let place = Location { part: Part::End, offset: self.offset };
        let mut bytes = [0; END];
        self.take(&mut bytes, place)?;
        let end = End::read(&bytes).ok_or(Error::Damaged(place))?;
        if end != (End { id: self.id, index: at, length: self.offset }) {
            return Err(Error::Refused { place, why: "it is another image's" });
        }
        self.state = State::Ended;
        Ok(())
    }

    fn word(&mut self, place: Location) -> Result<u64, Error> {
        let mut bytes = [0; SUM];
        self.take(&mut bytes, place)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, into: &mut [u8], place: Location) -> Result<(), Error> {
        take(&mut self.from, into, place)?;
        self.offset += into.len() as u64;
        Ok(())
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Leaves out what is left of the latest body, unread and unverified.
    pub fn skip(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let left = i64::try_from(open.left).map_err(|_| Error::Truncated(open.place))?;
        let sought = self.from.seek(SeekFrom::Current(left));
        sought.map_err(|source| Error::Stream { place: open.place, source })?;
        self.offset += open.left;
        // A seek goes beyond the end of a file without a word; this does not.
        let sum = self.word(open.place)?;
        self.enter(open.entry, sum);
        Ok(())
    }

    /// Reads the section that an index of the same file has under this number, and is then as after
    /// `next_section`. The host has been read before, since it says how large a page is.
    ///
    /// # Panics
    ///
    /// If the index has no such number.
    pub fn jump(&mut self, index: &Index, number: u32) -> Result<Section, Error> {
        let Some(wanted) = index.entries.get(number as usize) else {
            panic!("the index has no section {number}")
        };
        let place = Location { part: Part::Head(number), offset: wanted.offset };
        if wanted.kind != Kind::Host && !self.sequence.knows_pages() {
            return Err(Error::Refused { place, why: "the host has to be read first" });
        }
        if index.id != self.id {
            return Err(Error::Refused { place, why: "the index is another image's" });
        }
        let sought = self.from.seek(SeekFrom::Start(index.start + wanted.offset));
        sought.map_err(|source| Error::Stream { place, source })?;
        (self.open, self.state) = (None, State::Jumped);
        (self.offset, self.number) = (wanted.offset, number);
        // What comes before a section does not count when it is asked for by its place.
        self.sequence.any_order(wanted.kind);
        let head = self.head()?;
        let (section, found) = self.section(wanted.offset, head)?;
        if (Entry { body_sum: wanted.body_sum, ..found }) != *wanted {
            return Err(Error::Refused { place, why: "it is not what the index says" });
        }
        if let Some(open) = &mut self.open {
            open.wanted = Some(wanted.body_sum);
        }
        Ok(section)
    }
}

/// Where all sections of an image in a file are: read from the file's end, before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub id: ImageId,
    /// Where the image begins in the file.
    pub start: u64,
    /// Bytes of the whole image.
    pub length: u64,
    pub entries: Vec<Entry>,
}

impl Index {
    /// Of the last image in a file.
    pub fn read(mut file: impl Read + Seek) -> Result<Self, Error> {
        let place = |part, offset| Location { part, offset };
        let stream = |place| move |source| Error::Stream { place, source };
        let at_end = place(Part::End, 0);
        let size = file.seek(SeekFrom::End(0)).map_err(stream(at_end))?;
        let at_end = place(Part::End, size.saturating_sub(END as u64));
        if size < (PREAMBLE + END) as u64 {
            return Err(Error::Truncated(at_end));
        }
        file.seek(SeekFrom::Start(at_end.offset)).map_err(stream(at_end))?;
        let mut bytes = [0; END];
        take(&mut file, &mut bytes, at_end)?;
        let Some(end) = End::read(&bytes) else {
            // Of a file that was cut there is anything at its end.
            return Err(Error::Truncated(at_end));
        };
        let wrong = Error::Refused { place: at_end, why: "it is not of this file" };
        let fixed = (HEAD + 2 * SUM + END) as u64;
        let body = end.length.checked_sub(end.index).and_then(|rest| rest.checked_sub(fixed));
        let (Some(start), Some(body)) = (size.checked_sub(end.length), body) else {
            return Err(wrong);
        };
        let count = body / ENTRY as u64;
        if body % ENTRY as u64 != 0 || count > u64::from(IMAGE_SECTIONS_MAX) {
            return Err(wrong);
        }

        // As many entries as the file has bytes for: `body` is less than its size.
        let number = count as u32;
        let at = place(Part::Index, end.index.saturating_add(HEAD as u64));
        file.seek(SeekFrom::Start(start + end.index)).map_err(stream(at))?;
        let mut head = [0; HEAD];
        take(&mut file, &mut head, at)?;
        let head = Head::read(&head, end.id, number, end.index)?;
        let (kind, codec) = (INDEX, RAW);
        if head != (Head { kind, codec, number, front: 0, body }) {
            return Err(Error::Refused { place: at, why: "it is not what any version writes" });
        }
        let mut sum = [0; SUM];
        take(&mut file, &mut sum, at)?;
        if u64::from_le_bytes(sum) != end.id.sum(number, &[]) {
            return Err(Error::Damaged(at));
        }
        let (mut running, mut entries) = (end.id.running_sum(number), Vec::new());
        for _ in 0..count {
            let mut entry = [0; ENTRY];
            take(&mut file, &mut entry, at)?;
            running.update(&entry);
            entries.push(entry);
        }
        take(&mut file, &mut sum, at)?;
        if u64::from_le_bytes(sum) != running.digest() {
            return Err(Error::Damaged(at));
        }
        let entries: Option<Vec<Entry>> = entries.iter().map(Entry::read).collect();
        let why = "it has an entry that no version writes";
        let entries = entries.ok_or(Error::Refused { place: at, why })?;
        Ok(Self { id: end.id, start, length: end.length, entries })
    }

    /// The sections of one kind, by their numbers.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (u32, &Entry)> {
        let numbered = (0_u32..).zip(&self.entries);
        numbered.filter(move |(_, entry)| entry.kind == kind)
    }
}

fn take(from: &mut impl Read, into: &mut [u8], place: Location) -> Result<(), Error> {
    from.read_exact(into).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated(place),
        _ => Error::Stream { place, source },
    })
}
