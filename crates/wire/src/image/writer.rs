//! Writes an image, section by section.

use std::io::Write;

use super::descriptor::Descriptor;
use super::error::{Error, Location, Part};
use super::layout::{END, End, Entry, HEAD, Head, INDEX, ImageId, RAW, SUM, number_of, preamble};
use super::memory::Mapping;
use super::section::{Section, Sequence};
use crate::limits::{IMAGE_FRONT_MAX, IMAGE_LIST_MAX, IMAGE_SECTIONS_MAX};

/// Writes one image onto a stream. It keeps no body: what is put is written before `put` returns,
/// but for a few bytes that go with the next section or with `flush`. After an error the image is of
/// no use, and its reader sees that.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    id: ImageId,
    sequence: Sequence,
    /// What has been put so far, and the entries of the index.
    offset: u64,
    number: u32,
    entries: Vec<u8>,
    /// Small parts that are not written yet, so that they go with others.
    unwritten: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins an image. `id` is to be drawn at random for each one.
    pub fn new(to: W, id: ImageId) -> Self {
        let unwritten = preamble(id).to_vec();
        let offset = unwritten.len() as u64;
        let (sequence, entries) = (Sequence::of(id), Vec::new());
        Self { to, id, sequence, offset, number: 0, entries, unwritten }
    }

    pub fn id(&self) -> ImageId {
        self.id
    }

    /// Puts the next section, with the slices of its body one after another.
    pub fn put(&mut self, section: &Section, body: &[&[u8]]) -> Result<(), Error> {
        let kind = section.kind();
        let offset = self.offset;
        let place = Location { part: Part::Front(kind, self.number), offset: offset + HEAD as u64 };
        let length = body.iter().map(|slice| slice.len() as u64).sum();
        let refused = |why| Error::Refused { place, why };
        self.sequence.admit(section, length).map_err(refused)?;
        let front = section.front();
        if front.len() > IMAGE_FRONT_MAX {
            return Err(refused("it tells more than one section may"));
        }
        if self.number >= IMAGE_SECTIONS_MAX {
            return Err(refused("the image has as many sections as one may"));
        }
        let (front_sum, body_sum) = self.section(number_of(kind), &front, body, place)?;
        let front = front.len() as u32;
        let entry = Entry { offset, kind, front, body: length, front_sum, body_sum };
        self.entries.extend_from_slice(&entry.encode());
        self.number += 1;
        Ok(())
    }

    /// Puts all mappings, in as many sections as they need.
    pub fn put_mappings(&mut self, mappings: &[Mapping]) -> Result<(), Error> {
        let mut lists = mappings.chunks(IMAGE_LIST_MAX);
        lists.try_for_each(|list| self.put(&Section::Mappings(list.to_vec()), &[]))
    }

    /// The same of descriptors.
    pub fn put_descriptors(&mut self, descriptors: &[Descriptor]) -> Result<(), Error> {
        let mut lists = descriptors.chunks(IMAGE_LIST_MAX);
        lists.try_for_each(|list| self.put(&Section::Descriptors(list.to_vec()), &[]))
    }

    /// Writes what is left of the sections that were put, so that the reader can have all of them.
    pub fn flush(&mut self) -> Result<(), Error> {
        let place = Location { part: Part::Head(self.number), offset: self.offset };
        self.write_out(place)?;
        self.to.flush().map_err(|source| Error::Stream { place, source })
    }

    /// Ends the image: only now its reader knows that it is whole.
    pub fn finish(mut self) -> Result<W, Error> {
        let place = Location { part: Part::Index, offset: self.offset + HEAD as u64 };
        self.sequence.end().map_err(|why| Error::Refused { place, why })?;
        let index = self.offset;
        let entries = std::mem::take(&mut self.entries);
        self.section(INDEX, &[], &[&entries], place)?;

        let place = Location { part: Part::End, offset: self.offset };
        let end = End { id: self.id, index, length: self.offset + END as u64 };
        self.unwritten.extend_from_slice(&end.encode());
        self.write_out(place)?;
        self.to.flush().map_err(|source| Error::Stream { place, source })?;
        Ok(self.to)
    }

    /// The sums of what was written.
    fn section(
        &mut self,
        kind: u8,
        front: &[u8],
        body: &[&[u8]],
        place: Location,
    ) -> Result<(u64, u64), Error> {
        let length: u64 = body.iter().map(|slice| slice.len() as u64).sum();
        let number = self.number;
        let head = Head { kind, codec: RAW, number, front: front.len() as u32, body: length };
        let front_sum = self.id.sum(number, front);
        self.unwritten.extend_from_slice(&head.encode(self.id));
        self.unwritten.extend_from_slice(front);
        self.unwritten.extend_from_slice(&front_sum.to_le_bytes());
        self.offset += (HEAD + front.len() + SUM) as u64;
        self.write_out(place)?;
        if length == 0 {
            return Ok((front_sum, 0));
        }

        let mut sum = self.id.running_sum(number);
        for slice in body {
            sum.update(slice);
            self.to.write_all(slice).map_err(|source| Error::Stream { place, source })?;
        }
        let body_sum = sum.digest();
        self.unwritten.extend_from_slice(&body_sum.to_le_bytes());
        self.offset += length + SUM as u64;
        Ok((front_sum, body_sum))
    }

    fn write_out(&mut self, place: Location) -> Result<(), Error> {
        let written = self.to.write_all(&self.unwritten);
        self.unwritten.clear();
        written.map_err(|source| Error::Stream { place, source })
    }
}
