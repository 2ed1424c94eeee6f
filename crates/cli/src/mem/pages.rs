//! `farcall mem read`, `write` and `update`: the bytes of one page.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use client::memory::{Error, Region};
use serde_json::json;
use wire::region::Version;

use super::forms::{self, Form, Given, Object, Shown, Source};
use super::place::{self, Place};
use crate::codes;
use crate::errors::{self, complaint};
use crate::terminal;

/// The exit status of a write that found another version.
const CONFLICT: u8 = 3;

/// Read a page: its last committed bytes, without waiting for any lock
///
/// A pipe gets the bytes as they are; a terminal gets them as `hexdump -C` shows them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem read genes 3
  farcall mem read genes 3 > page.bin
  farcall mem read genes 3 --offset 8 --length 8 --hex
  farcall mem read genes 3 --text
  farcall mem read genes 3 --json | jq .version
  farcall mem read genes 3 --known 7      no bytes if it still has version 7")]
pub(crate) struct Read {
    #[command(flatten)]
    place: Place,
    /// The page's number, from 0
    #[arg(value_name = "PAGE", value_parser = place::page)]
    page: u64,
    /// Print nothing if the page has this version; that it has is said on standard error. It saves
    /// printing: the page comes from its node all the same
    #[arg(long, value_name = "VERSION")]
    known: Option<u64>,
    /// From this byte of the page on
    #[arg(long, value_name = "BYTE", default_value_t = 0)]
    offset: u32,
    /// So many bytes [default: up to the end of the page]
    #[arg(long, value_name = "BYTES")]
    length: Option<u32>,
    #[command(flatten)]
    shown: Shown,
}

impl Read {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let part = part(&region, self.offset, self.length)?;
        let snapshot = region.page(self.page).read()?;
        let version = snapshot.version.0;
        let form = self.shown.form();
        if self.known == Some(version) {
            match form {
                Form::Json => {
                    let object =
                        json!({ "page": self.page, "version": version, "unchanged": true });
                    terminal::say(&terminal::json_line(&object))?;
                }
                Form::Raw | Form::Hex | Form::Text => eprintln!("unchanged: version {version}"),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let bytes = snapshot.bytes.get(part).context("the node sent less than a page")?;
        match form {
            Form::Raw => drop(forms::put(bytes)?),
            Form::Text => terminal::say(&forms::text(bytes))?,
            Form::Hex => {
                let head = format!("page {}, version {version}\n", self.page);
                terminal::say(&(head + &forms::dump(bytes, self.offset.into())))?;
            }
            Form::Json => {
                let object = Object {
                    page: self.page,
                    version,
                    offset: self.offset,
                    length: bytes.len(),
                    hex: forms::hex(bytes),
                };
                terminal::say(&terminal::json_line(&object))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The bytes of a page that are meant.
fn part(
    region: &Region,
    offset: u32,
    length: Option<u32>,
) -> anyhow::Result<std::ops::Range<usize>> {
    let size = region.page_size();
    let start = offset as usize;
    let end = length.map_or(Some(size), |length| start.checked_add(length as usize));
    match end.filter(|&end| start <= end && end <= size) {
        Some(end) => Ok(start..end),
        None => Err(does_not_fit(region, "what is to be read").into()),
    }
}

fn does_not_fit(region: &Region, what: &str) -> errors::Complaint {
    let size = region.page_size();
    complaint(&codes::E0606, format!("{what} goes beyond the end of a page"))
        .note(format!("a page of {} has {size} bytes", region.name()))
        .help("choose another offset, or fewer bytes")
}

/// Write a whole page; what is not given is zero
///
/// The bytes come from standard input unless --text, --hex, --file or --from-json gives them. They may
/// be fewer than the page has: the rest of it is zero then. `update` leaves the rest as it is. Waits
/// while somebody else has the page's lock. With --if-version and another version, nothing is written
/// and the exit status is 3.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem write genes 3 < page.bin
  farcall mem write genes 3 --text 'generation 12'
  farcall mem read genes 3 --json | farcall mem write genes 4 --from-json -
  farcall mem write genes 3 --file page.bin --if-version 7")]
pub(crate) struct Write {
    #[command(flatten)]
    place: Place,
    /// The page's number, from 0
    #[arg(value_name = "PAGE", value_parser = place::page)]
    page: u64,
    #[command(flatten)]
    source: Source,
    /// Only if the page has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Print one JSON object: the page and its new version
    #[arg(long)]
    json: bool,
}

impl Write {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let Given { mut bytes, offset } = self.source.read(region.page_size())?;
        if bytes.len() > region.page_size() {
            return Err(does_not_fit(&region, "what is to be written").into());
        }
        if offset.is_some_and(|offset| offset > 0) {
            return Err(complaint(
                &codes::E0615,
                "this object is a part of a page, not a whole one",
            )
            .help("write it with `farcall mem update`")
            .into());
        }
        bytes.resize(region.page_size(), 0);
        let change = Change { page: self.page, offset: 0, if_version: self.if_version };
        change.make(&region, &bytes, self.json)
    }
}

/// Write a part of a page, and leave the rest as it is
///
/// The bytes come from standard input unless --text, --hex, --file or --from-json gives them. Waits
/// while somebody else has the page's lock. With --if-version and another version, nothing is written
/// and the exit status is 3.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem update genes 3 --text hello
  farcall mem update genes 3 --offset 8 --hex 'ff 00 ff 00'
  printf abc | farcall mem update genes 3 --offset 100
  farcall mem update genes 3 --if-version 7 --text mine || echo 'somebody was faster'")]
pub(crate) struct Update {
    #[command(flatten)]
    place: Place,
    /// The page's number, from 0
    #[arg(value_name = "PAGE", value_parser = place::page)]
    page: u64,
    /// From this byte of the page on [default: 0, or what the JSON object says]
    #[arg(long, value_name = "BYTE")]
    offset: Option<u32>,
    #[command(flatten)]
    source: Source,
    /// Only if the page has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Print one JSON object: the page and its new version
    #[arg(long)]
    json: bool,
}

impl Update {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let Given { bytes, offset } = self.source.read(region.page_size())?;
        let offset = self.offset.or(offset).unwrap_or(0);
        let fits = offset as usize + bytes.len() <= region.page_size();
        if !fits {
            return Err(does_not_fit(&region, "what is to be written").into());
        }
        let change = Change { page: self.page, offset, if_version: self.if_version };
        change.make(&region, &bytes, self.json)
    }
}

/// Bytes that are to be in a page.
struct Change {
    page: u64,
    offset: u32,
    if_version: Option<u64>,
}

impl Change {
    fn make(&self, region: &Region, bytes: &[u8], json: bool) -> anyhow::Result<ExitCode> {
        let page = region.page(self.page);
        let made = match self.if_version {
            None => page.update(self.offset, bytes),
            Some(version) => page.compare_and_update(Version(version), self.offset, bytes),
        };
        match made {
            Ok(version) => {
                let text = if json {
                    terminal::json_line(&json!({ "page": self.page, "version": version.0 }))
                } else {
                    format!("page {}: version {}\n", self.page, version.0)
                };
                terminal::say(&text)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(Error::Conflict { version, .. }) => {
                if json {
                    let object = json!({ "page": self.page, "version": version, "conflict": true });
                    terminal::say(&terminal::json_line(&object))?;
                }
                let what = format!("page {} has version {version}", self.page);
                let wanted = self.if_version.unwrap_or_default();
                let conflict = complaint(&codes::E0607, what)
                    .note(format!("it was to be written only if it had version {wanted}"))
                    .help("read it again, and decide again; nothing was changed");
                errors::show(&conflict.into());
                Ok(ExitCode::from(CONFLICT))
            }
            Err(error) => Err(error.into()),
        }
    }
}
