//! All that is known of a process but what its pages and files hold.

use std::io::{Read, Write};

use wire::image::descriptor::Descriptor;
use wire::image::host::Host;
use wire::image::memory::Mapping;
use wire::image::process::Process;
use wire::image::thread::Thread;
use wire::image::{Reader, Section, Writer};

use crate::Error;

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
        to.put(&Section::Host(Box::new(self.host.clone())), &[])?;
        to.put(&Section::Process(Box::new(self.process.clone())), &[])?;
        for thread in &self.threads {
            to.put(&Section::Thread(Box::new(thread.clone())), &[])?;
        }
        to.put_mappings(&self.mappings)?;
        Ok(to.put_descriptors(&self.descriptors)?)
    }

    /// Takes it from the beginning of an image, with the section that comes next, of pages or files;
    /// `None` where there is none.
    pub fn take<R: Read>(from: &mut Reader<R>) -> Result<(Self, Option<Section>), Error> {
        let (mut host, mut process) = (None, None);
        let (mut threads, mut mappings, mut descriptors) = (Vec::new(), Vec::new(), Vec::new());
        let next = loop {
            match from.next_section()? {
                Some(Section::Host(told)) => host = Some(*told),
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
        Ok((Self { host, process, threads, mappings, descriptors }, next))
    }
}
