//! All that is known of a process but what its pages and files hold.

use std::io::{Read, Write};

use wire::image::descriptor::Descriptor;
use wire::image::host::Host;
use wire::image::memory::Mapping;
use wire::image::process::Process;
use wire::image::thread::Thread;
use wire::image::{ImageId, Reader, Section, Writer};

use crate::{Error, Refusal};

/// A process, as a destination has to know it before any byte of memory arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub host: Host,
    pub process: Process,
    /// The main thread first.
    pub threads: Vec<Thread>,
    /// In the order of their addresses.
    pub mappings: Vec<Mapping>,
    /// In the order of their numbers.
    pub descriptors: Vec<Descriptor>,
}

impl Description {
    /// Puts it at the beginning of an image.
    pub fn put<W: Write>(&self, to: &mut Writer<W>) -> Result<(), Error> {
        self.put_with(None, to)
    }

    /// The same of an image that says what has changed since another.
    pub fn put_upon<W: Write>(&self, upon: ImageId, to: &mut Writer<W>) -> Result<(), Error> {
        self.put_with(Some(upon), to)
    }

    fn put_with<W: Write>(&self, upon: Option<ImageId>, to: &mut Writer<W>) -> Result<(), Error> {
        to.put(&Section::Host(Box::new(self.host.clone())), &[])?;
        if let Some(upon) = upon {
            to.put(&Section::Upon(upon), &[])?;
        }
        to.put(&Section::Process(Box::new(self.process.clone())), &[])?;
        for thread in &self.threads {
            to.put(&Section::Thread(Box::new(thread.clone())), &[])?;
        }
        to.put_mappings(&self.mappings)?;
        Ok(to.put_descriptors(&self.descriptors)?)
    }

    /// Takes it from the beginning of an image, with the section that comes next, of pages or files;
    /// `None` where there is none. An image that is upon another is refused.
    pub fn take<R: Read>(from: &mut Reader<R>) -> Result<(Self, Option<Section>), Error> {
        match Self::take_upon(from)? {
            (_, Some(_), _) => Err(Refusal::Changes.into()),
            (description, None, next) => Ok((description, next)),
        }
    }

    /// The same of any image, with the one that it is upon.
    pub fn take_upon<R: Read>(
        from: &mut Reader<R>,
    ) -> Result<(Self, Option<ImageId>, Option<Section>), Error> {
        let (mut host, mut upon, mut process) = (None, None, None);
        let (mut threads, mut mappings, mut descriptors) = (Vec::new(), Vec::new(), Vec::new());
        let next = loop {
            match from.next_section()? {
                Some(Section::Host(told)) => host = Some(*told),
                Some(Section::Upon(image)) => upon = Some(image),
                Some(Section::Process(told)) => process = Some(*told),
                Some(Section::Thread(told)) => threads.push(*told),
                Some(Section::Mappings(told)) => mappings.extend(told),
                Some(Section::Descriptors(told)) => descriptors.extend(told),
                next @ (Some(Section::File(_) | Section::Pages(_) | Section::Placed(_)) | None) => {
                    break next;
                }
            }
        };
        let (Some(host), Some(process)) = (host, process) else {
            unreachable!("a reader gives nothing else before a host and a process")
        };
        Ok((Self { host, process, threads, mappings, descriptors }, upon, next))
    }
}
