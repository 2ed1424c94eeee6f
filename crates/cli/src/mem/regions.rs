//! `farcall mem create`, `list`, `stat`, `grow` and `drop`: regions as a whole.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use client::memory::{Durability, RegionOptions, RegionReport};
use serde_json::{Value, json};
use wire::name::Name;

use super::place::{self, PATIENCE, Place};
use crate::cluster::Nodes;
use crate::codes;
use crate::errors::complaint;
use crate::status::{row, table, trimmed};
use crate::terminal;
use crate::values::{count, spell_size};

/// What is left of a region's commits when its node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kept {
    /// Nothing: the region ends with its node
    None,
    /// All but those of the last moments
    Async,
    /// All: each is on the disk before it is answered
    Sync,
    /// All, whatever node dies: each is in etcd before it is answered
    Replicated,
}

impl Kept {
    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::None => Durability::None,
            Self::Async => Durability::Async,
            Self::Sync => Durability::Sync,
            Self::Replicated => Durability::Replicated,
        }
    }
}

/// Make a region
///
/// All pages are zero at first, and have version 1. Only pages that were written take memory.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem create genes --pages 1000
  farcall mem create ledger --pages 100 --durability sync
  farcall mem create big --pages 1000000 --page-size 64K --on host-b
  farcall mem create shared --pages 256 --coherent        for memory that several hosts map")]
pub(crate) struct Create {
    #[command(flatten)]
    place: Place,
    /// How many pages it has; it can grow
    #[arg(long, value_name = "N", value_parser = place::pages)]
    pages: u64,
    /// Bytes of a page: a power of two from 64 to 1M
    #[arg(long, value_name = "SIZE", default_value = "4096", value_parser = place::page_size)]
    page_size: u32,
    /// What outlives the region's node
    #[arg(long, value_enum, default_value_t = Kept::None)]
    durability: Kept,
    /// The same as --durability replicated
    #[arg(long, conflicts_with_all = ["durability", "coherent"])]
    replicated: bool,
    /// For memory that several processes map: each page has one writer or many readers
    #[arg(long)]
    coherent: bool,
    /// For its owner and admins alone, not for every client of the cluster
    #[arg(long)]
    private: bool,
    /// The node that has it [default: the first that is up]
    #[arg(long, value_name = "NODE")]
    on: Option<Name>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let kept = if self.replicated { Kept::Replicated } else { self.durability };
        let mut options =
            RegionOptions::new(self.pages).page_size(self.page_size).durability(kept.durability());
        if self.coherent {
            options = options.coherent();
        }
        if self.private {
            options = options.private();
        }
        if let Some(node) = &self.on {
            options = options.on(node.as_str());
        }
        let cluster = place::cluster(&self.place.nodes)?;
        let region = cluster.create_memory(&self.place.name, &options)?;
        let about = region.stat()?;
        let text = if self.json {
            terminal::json_line(&object(&about))
        } else {
            let size = spell_size(about.page_size.into());
            let durability = if about.is_coherent { "" } else { "durability " };
            format!(
                "{} on {}: {} of {size}, {durability}{}\n",
                about.name,
                about.node,
                count(about.pages, "page"),
                kind(&about)
            )
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// List the regions of the cluster that you may use
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem list
  farcall mem list --nodes host-a
  farcall mem list --json | jq -r '.regions[].name'")]
pub(crate) struct List {
    #[command(flatten)]
    nodes: Nodes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let reports = place::cluster(&self.nodes)?.regions(PATIENCE);
        let text = if self.json {
            let regions = reports.iter().map(object);
            terminal::json_line(&json!({ "regions": regions.collect::<Vec<_>>() }))
        } else {
            in_table(&reports)
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn in_table(reports: &[RegionReport]) -> String {
    if reports.is_empty() {
        return "no regions yet; `farcall mem create` makes one\n".to_owned();
    }
    let titles =
        ["REGION", "NODE", "DURABILITY", "PAGES", "OF", "WRITTEN", "COMMITS", "USERS", "LOCKS"];
    let mut all = table(&titles, 3..9);
    for about in reports {
        let numbers = [
            about.pages.to_string(),
            spell_size(about.page_size.into()),
            about.written.to_string(),
            about.commits.to_string(),
            about.sessions.to_string(),
            about.locks.to_string(),
        ];
        let [pages, size, written, commits, users, locks] = numbers.each_ref().map(String::as_str);
        let kind = kind(about);
        row(
            &mut all,
            [&about.name, &about.node, &kind, pages, size, written, commits, users, locks],
        );
    }
    trimmed(&all.to_string())
}

/// How a region's pages are kept and used, in words.
fn kind(about: &RegionReport) -> String {
    let kept = if about.is_coherent { "coherent" } else { spelled(about.durability) };
    if about.is_private { format!("{kept}, private") } else { kept.to_owned() }
}

fn spelled(durability: Durability) -> &'static str {
    match durability {
        Durability::None => "none",
        Durability::Async => "async",
        Durability::Sync => "sync",
        Durability::Replicated => "replicated",
    }
}

fn object(about: &RegionReport) -> Value {
    json!({
        "name": about.name,
        "node": about.node,
        "owner": about.owner,
        "pages": about.pages,
        "page_size": about.page_size,
        "durability": spelled(about.durability),
        "coherent": about.is_coherent,
        "private": about.is_private,
        "written": about.written,
        "bytes": about.written.saturating_mul(about.page_size.into()),
        "commits": about.commits,
        "sessions": about.sessions,
        "watches": about.watches,
        "locks": about.locks,
        "waiting": about.waiting,
        "moves": about.moves,
    })
}

/// Show what a region is and who uses it
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem stat genes
  farcall mem stat genes@host-a
  farcall mem stat genes --json | jq .written")]
pub(crate) struct Stat {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Stat {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let about = region.stat()?;
        let text = if self.json {
            terminal::json_line(&object(&about))
        } else {
            let size = spell_size(about.page_size.into());
            let bytes = spell_size(about.written.saturating_mul(about.page_size.into()));
            let mut text = format!("{}\n", about.name);
            let mut line = |title: &str, words: String| {
                text += &terminal::tame(&format!("  {title:<11} {words}\n"));
            };
            line("node", about.node.clone());
            line("owner", about.owner.clone());
            line("durability", kind(&about));
            line("pages", format!("{} of {size}", about.pages));
            line("written", format!("{} ({bytes})", count(about.written, "page")));
            line("commits", about.commits.to_string());
            // This command is one of them.
            line("sessions", format!("{}, with this one", about.sessions));
            line("watches", about.watches.to_string());
            line("locks", format!("{} held, {} waited for", about.locks, about.waiting));
            if about.is_coherent {
                line("moves", format!("{} between sessions", about.moves));
            }
            text
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Let a region grow to so many pages; it never shrinks
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem grow genes 2000
  farcall mem grow genes 2000 --json | jq .pages")]
pub(crate) struct Grow {
    #[command(flatten)]
    place: Place,
    /// How many pages it has afterwards; with more already, nothing changes
    #[arg(value_name = "PAGES", value_parser = place::pages)]
    pages: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Grow {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let pages = region.grow(self.pages)?;
        let text = if self.json {
            terminal::json_line(&json!({ "name": region.name(), "pages": pages }))
        } else {
            format!("{} has {}\n", terminal::tame_line(region.name()), count(pages, "page"))
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Drop a region, with all that it holds
///
/// Whoever uses it is told that it is gone. On a terminal, its name has to be written once more;
/// scripts say --yes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem drop genes
  farcall mem drop genes@host-b --yes")]
pub(crate) struct Drop {
    #[command(flatten)]
    place: Place,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Drop {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let name = &self.place.name;
        let cluster = place::cluster(&self.place.nodes)?;
        if !self.yes {
            let about = cluster.memory(name)?.stat()?;
            let held = format!("{} of data in {name}", count(about.written, "page"));
            self.ask(&held)?;
        }
        cluster.drop_memory(name)?;
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self, held: &str) -> anyhow::Result<()> {
        let unconfirmed = |what: String| complaint(&codes::E0616, what).help("add --yes");
        if !std::io::stdin().is_terminal() {
            return Err(unconfirmed(format!("{held} would be gone for good")).into());
        }
        eprint!("{held} will be gone for good. Write its name to drop it: ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim() != self.place.name {
            return Err(unconfirmed(format!("{} is still there", self.place.name)).into());
        }
        Ok(())
    }
}
