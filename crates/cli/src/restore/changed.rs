//! An image on its way to a node, with what this command has changed about the descriptors in it: what was
//! wished, and that standard streams are what they are here.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Write, stderr, stdin, stdout};
use std::path::Path;

use client::visit::Visit;
use telefork::Description;
use telefork::files::Overrides;
use wire::image::descriptor::{Descriptor, Direction, Opened};
use wire::image::{Error::Foreign, Reader, Writer};

use crate::image;
use crate::visitor::Screen;

/// How a descriptor is open, in its flags.
const O_ACCMODE: u32 = 3;

/// The descriptors that the process is to have.
pub(super) fn descriptors(
    description: &Description,
    overrides: &Overrides,
    screen: Option<&Screen>,
) -> Result<Vec<Descriptor>, telefork::Error> {
    let are_terminals = [stdin().is_terminal(), stdout().is_terminal(), stderr().is_terminal()];
    let mut all = overrides.apply(&description.descriptors)?;
    for descriptor in &mut all {
        let is_terminal = are_terminals.get(descriptor.number as usize).copied();
        descriptor.what = match (&descriptor.what, is_terminal) {
            (Opened::Stdio { .. }, Some(true)) => {
                let modes = screen.map(Screen::modes);
                Opened::Terminal { path: "/dev/tty".into(), modes }
            }
            (Opened::Terminal { .. }, Some(false)) => {
                let direction = match descriptor.flags & O_ACCMODE {
                    0 => Direction::Read,
                    1 => Direction::Write,
                    _ => Direction::Both,
                };
                Opened::Stdio { direction }
            }
            _ => continue,
        };
    }
    Ok(all)
}

/// Sends it, up to where the node says something.
pub(super) fn pour(
    path: &Path,
    file: File,
    descriptors: Vec<Descriptor>,
    visit: &mut Visit,
) -> anyhow::Result<()> {
    let shown = path.display().to_string();
    let refused = |error: &wire::image::Error| image::refused(&shown, error);
    let reader = Reader::new(BufReader::new(file)).map_err(|error| refused(&error))?;
    let mut reader = reader.ok_or_else(|| refused(&Foreign))?;
    let (mut description, mut next) = Description::take(&mut reader)?;
    description.descriptors = descriptors;
    let mut said = Ok(false);
    let to = BufWriter::with_capacity(super::PIECE, Pour { visit, said: &mut said });
    let mut writer = Writer::new(to, reader.id());
    let put = (|| -> anyhow::Result<()> {
        description.put(&mut writer)?;
        let mut body = Vec::new();
        while let Some(section) = &next {
            body.resize(usize::try_from(reader.left())?, 0);
            reader.read(&mut body).map_err(|error| refused(&error))?;
            writer.put(section, &[&body])?;
            next = reader.next_section().map_err(|error| refused(&error))?;
        }
        writer.finish()?.flush()?;
        Ok(())
    })();
    match said {
        Ok(true) => Ok(()),
        Ok(false) => put,
        Err(error) => Err(error.into()),
    }
}

struct Pour<'a> {
    visit: &'a mut Visit,
    /// The node has said something instead of taking it; or the connection is lost.
    said: &'a mut Result<bool, client::memory::Error>,
}

impl Write for Pour<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.said = self.visit.pour(bytes).map(|taken| !taken);
        match self.said {
            Ok(false) => Ok(bytes.len()),
            _ => Err(io::Error::other("the node takes no more of it")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
