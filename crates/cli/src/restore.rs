//! `farcall restore`: an image becomes a process here or on a node, in the foreground here.

mod here;
mod changed;
mod job;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use client::Cluster;
use client::visit::{Fate, Source, Terms};
use telefork::Description;
use wire::image::Error::Foreign;
use wire::image::Reader;
use wire::limits::AWAY_PATIENCE;
use wire::visit::{Alone, Begin, Wake};

use crate::cluster::Nodes;
use crate::codes;
use crate::errors::{self, complaint};
use crate::image;
use crate::preflight::Wishes;
use crate::visitor::{self, Heard, Leaves, Passage, SIGNALS, Screen, Served, cut};

/// Bytes of an image that are read at once.
const PIECE: usize = 1 << 20;

/// Wake the process of an image file, here or on a node
///
/// The process goes on where it was captured. Its terminal, input, output, signals and exit status are this
/// command's. A file that is cut off or altered is refused, and nothing of it runs. Files that the process has
/// open are this host's where they have the same bytes; else they are those of the image.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall restore solver.image                                here, in the foreground
  farcall restore solver.image --fd 5=reopen                  descriptor 5: the file as it is here
  farcall restore solver.image --on host-b
  farcall restore solver.image --on host-b < input.txt > output.txt")]
pub(crate) struct Restore {
    /// The image, as it was captured
    file: PathBuf,
    /// The node that it is to run on, by its name
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
    /// Bytes of memory that it may have there; 0 is no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0, requires = "on")]
    memory: u64,
    #[command(flatten)]
    wishes: Wishes,
    /// Refuse where the process cannot have its old numbers: locks that hold a thread's number need them
    #[arg(long, conflicts_with = "on")]
    keep_numbers: bool,
    #[command(flatten)]
    nodes: Nodes,
}

impl Restore {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match &self.on {
            None => here::run(&self.file, &self.wishes, self.keep_numbers),
            Some(on) => self.there(on),
        }
    }

    fn there(&self, on: &str) -> anyhow::Result<ExitCode> {
        // What is no image is not sent anywhere.
        let (mut file, description) = open(&self.file)?;
        let screen = Screen::of_streams(Leaves::Own);
        let descriptors =
            changed::descriptors(&description, &self.wishes.overrides(), screen.as_ref())?;
        let named = self.nodes.named()?;
        let named = if named.is_empty() { vec![crate::status::own_node()?] } else { named };
        let cluster = Cluster::connect(&named)?;
        let from = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words = description.process.arguments.iter().map(ToString::to_string);
        let command = cut(words.collect::<Vec<_>>().join(" "));
        let (memory, terminal) = (self.memory, screen.is_some());
        let begin = Begin { from: cut(from), pid: 0, command, memory, terminal };
        let mut visit = cluster.visit(on, begin)?;
        let size = screen.as_ref().and_then(Screen::size);
        let wake = Wake { alone: Alone::Ends, terminal: size };
        let mut source = Source::new(Terms::default(), wake);
        if descriptors == description.descriptors {
            let mut piece = vec![0; PIECE];
            loop {
                let count = file.read(&mut piece);
                let count = count.map_err(|error| errors::file("read", &self.file, &error))?;
                if count == 0 || !visit.pour(&piece[..count])? {
                    break;
                }
            }
        } else {
            changed::pour(&self.file, file, descriptors, &mut visit)?;
        }
        let (node, token) = (visit.node().to_owned(), visit.token());
        // There is no original: the image stays whatever happens.
        let mut passage = Passage {
            visit: Some(visit),
            again: &mut || cluster.visit_again(&node, token),
            hold: &mut || Ok(()),
            is_unwanted: &|| false,
        };
        let fate = passage.settle(&mut source)?;
        match (fate, passage.visit) {
            (Fate::There { .. }, Some(mut visit)) => {
                let heard = Heard::of(&SIGNALS).context("cannot hear of signals")?;
                let served = Served {
                    screen,
                    has_terminal: terminal,
                    has_input: true,
                    is_redrawn: terminal,
                    early: Vec::new(),
                };
                visitor::serve(&mut visit, &heard, served, AWAY_PATIENCE.into())
            }
            (Fate::Here { why }, _) => {
                let what = self.file.display().to_string();
                Err(visitor::not_there(&what, &node, &why).into())
            }
            (Fate::Gone { why }, _) => {
                let what = format!("the process of {}", self.file.display());
                Err(visitor::gone(&what, &node, &why).into())
            }
            (Fate::Doubt | Fate::There { .. }, _) => {
                let what = format!("it is not known whether it runs: {node} cannot be asked");
                let help = "ask `farcall ps` when the node can be reached again";
                Err(complaint(&codes::E0707, what).help(help).into())
            }
        }
    }
}

/// The file, and what is described in it.
fn open(path: &Path) -> anyhow::Result<(File, Description)> {
    let mut file = File::open(path).map_err(|error| errors::file("open", path, &error))?;
    let shown = path.display().to_string();
    let reader = Reader::new(&mut file).map_err(|error| image::refused(&shown, &error))?;
    let mut reader = reader.ok_or_else(|| image::refused(&shown, &Foreign))?;
    let (description, _) = Description::take(&mut reader).map_err(|error| match error {
        telefork::Error::Image(error) => anyhow::Error::from(image::refused(&shown, &error)),
        error => error.into(),
    })?;
    file.rewind().context("cannot go back to the beginning of the image")?;
    Ok((file, description))
}
