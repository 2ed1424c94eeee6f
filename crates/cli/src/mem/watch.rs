//! `farcall mem watch`: a line for each commit, as it comes.

use std::process::ExitCode;

use clap::Args;
use client::memory::Change;
use serde_json::json;
use wire::limits::PAGES_MAX;

use super::forms;
use super::place::{self, Place, Span};
use crate::terminal;

/// Print a line for each page that is written, as it happens
///
/// PAGE and VERSION. Commits to a page that come faster than they are printed are one line, with the
/// latest version. Where even the list of pages grew too long, there is one line `resync` instead:
/// anything may have changed. `watching` on standard error says that nothing is missed from then on.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem watch genes                        every page
  farcall mem watch genes 7
  farcall mem watch genes 0-99 --json
  farcall mem watch genes 7 --count 1 && farcall mem read genes 7")]
pub(crate) struct Watch {
    #[command(flatten)]
    place: Place,
    /// The pages: one like 7, several like 0-99, or all from one on like 100-, those too that it grows
    /// by [default: all]
    #[arg(value_name = "PAGES", value_parser = place::span)]
    pages: Option<Span>,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let Span { first, last } = self.pages.unwrap_or(Span::ALL);
        let end = last.map_or(PAGES_MAX, |last| last + 1);
        let watch = region.watch(first..end)?;
        eprintln!("watching");
        let count = self.count.unwrap_or(u64::MAX);
        for (_, change) in (0..count).zip(watch) {
            let text = match (change?, self.json) {
                (Change::Page { page, version }, false) => format!("{page} {}\n", version.0),
                (Change::Page { page, version }, true) => {
                    terminal::json_line(&json!({ "page": page, "version": version.0 }))
                }
                (Change::Resync, false) => "resync\n".to_owned(),
                (Change::Resync, true) => terminal::json_line(&json!({ "resync": true })),
            };
            if !forms::put(text.as_bytes())? {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
