//! `farcall image`: what is in an image of a process, without waking it.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use wire::image::{Error, Reader, Summary};

use crate::codes;
use crate::errors::{self, complaint, put};
use crate::terminal;
use crate::values::{count, spell_size};

/// Describe an image of a process that `farcall checkpoint` has written
///
/// Verifies what the image tells of the process, and with --verify every byte. An image that is cut off,
/// damaged or of another version is refused by name.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall image sort.image
  farcall image sort.image --verify             read all of it, and compare every checksum
  farcall image sort.image --json | jq .process.arguments")]
pub(crate) struct Image {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Verify the bytes of pages and files as well
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Image {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let unreadable = |error: std::io::Error| errors::file("read", &self.file, &error);
        let mut file = BufReader::new(File::open(&self.file).map_err(unreadable)?);
        let refused = |error: Error| refused(&self.file.display().to_string(), &error);
        let mut images = Vec::new();
        while let Some(summary) = Summary::decode(&mut file).map_err(refused)? {
            images.push(summary);
        }
        if images.is_empty() {
            return Err(refused(Error::Foreign).into());
        }
        if self.verify {
            file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
            for _ in &images {
                let Some(mut reader) = Reader::new(&mut file).map_err(refused)? else { break };
                // What was left of a section is read and compared with the next one.
                while reader.next_section().map_err(refused)?.is_some() {}
            }
        }
        let text: String = if self.json {
            let all: Vec<Value> = images.iter().map(|one| in_json(one, self.verify)).collect();
            terminal::json_line(&json!({ "images": all }))
        } else {
            images.iter().map(|one| in_words(one, self.verify)).collect::<Vec<_>>().join("\n")
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The words of the error with its code and the file's name.
pub(crate) fn refused(file: &str, error: &Error) -> errors::Complaint {
    if let Error::Stream { source, .. } = error {
        return complaint(&codes::E0401, format!("cannot read {file}"))
            .note(source.to_string())
            .help("check the path and its permissions");
    }
    put(errors::moving::of_image(error), error).note(format!("the file is {file}"))
}

fn in_words(image: &Summary, verified: bool) -> String {
    let (process, host, pages) = (&image.process, &image.host, &image.pages);
    let page = u64::from(host.page_size);
    let arguments: Vec<String> = process.arguments.iter().map(ToString::to_string).collect();
    let size = |pages: u64| spell_size(pages.saturating_mul(page));
    let mut lines = vec![
        ("image", format!("{}, format {}", spell_size(image.length), wire::image::VERSION)),
        ("program", process.executable.path.to_string()),
        ("command", arguments.join(" ")),
        ("process", format!("{}, of user {}", process.pid, process.credentials.users[0])),
        ("folder", process.directory.to_string()),
        ("threads", image.threads.to_string()),
        (
            "memory",
            format!("{} mapped in {}", spell_size(image.mapped), count(image.mappings, "mapping")),
        ),
        (
            "pages",
            format!(
                "{} carried, {} known by hash, {} with the sender",
                size(pages.carried),
                size(pages.known),
                size(pages.with_sender)
            ),
        ),
        ("open", count(image.descriptors, "descriptor")),
        ("files", format!("{} taken along", spell_size(image.file_bytes))),
        ("host", format!("Linux {}, {}", host.kernel, host.processor.model)),
    ];
    if let Some(upon) = image.upon {
        lines.insert(1, ("changes", format!("since image {:016x}; no process by itself", upon.0)));
    }
    lines.push((
        "checked",
        if verified { "every byte" } else { "all but the bytes of pages and files (--verify)" }
            .to_owned(),
    ));
    lines.iter().map(|(name, what)| format!("{name:<9}{}\n", terminal::tame_line(what))).collect()
}

fn in_json(image: &Summary, verified: bool) -> Value {
    let (process, host, pages) = (&image.process, &image.host, &image.pages);
    let arguments: Vec<String> = process.arguments.iter().map(ToString::to_string).collect();
    let parts: Vec<Value> = image
        .parts
        .iter()
        .map(|part| {
            json!({ "kind": format!("{:?}", part.kind), "sections": part.sections,
                "bytes": part.bytes })
        })
        .collect();
    json!({
        "format": wire::image::VERSION,
        "bytes": image.length,
        "upon": image.upon.map(|upon| format!("{:016x}", upon.0)),
        "verified": verified,
        "process": {
            "pid": process.pid,
            "executable": process.executable.path.to_string(),
            "arguments": arguments,
            "directory": process.directory.to_string(),
            "user": process.credentials.users[0],
        },
        "host": {
            "kernel": host.kernel,
            "architecture": format!("{:?}", host.architecture),
            "processor": host.processor.model,
            "page_size": host.page_size,
        },
        "threads": image.threads,
        "mappings": image.mappings,
        "mapped_bytes": image.mapped,
        "descriptors": image.descriptors,
        "file_bytes": image.file_bytes,
        "pages": { "carried": pages.carried, "zero": pages.zero, "known": pages.known,
            "with_sender": pages.with_sender },
        "parts": parts,
    })
}
