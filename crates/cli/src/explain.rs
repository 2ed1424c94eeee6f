//! `farcall explain`: what a code of an error, or a signal, means, and what to do.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::codes::{self, Entry, signals};
use crate::errors::{Complaint, complaint};
use crate::terminal::{self, indented, tame_line};

/// Explain the code of an error, or the signal that ended a task
///
/// Says what the code means, why that usually happens, and what to do. Without a code, lists them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall explain                 every code
  farcall explain E0201
  farcall explain T0104 SIGSEGV
  farcall explain --json E0201 | jq -r '.codes[].remedy'")]
pub(crate) struct Explain {
    /// Codes as errors name them, or signals: E0201, T0102, SIGSEGV
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

enum Found {
    Code(&'static Entry),
    Signal(&'static signals::Signal),
}

impl Explain {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let found = self.codes.iter().map(|text| find(text)).collect::<Result<Vec<_>, _>>()?;
        let text = match (self.json, found.is_empty()) {
            (true, true) => {
                format!("{}\n", json!({ "codes": codes::ALL, "signals": signals::ALL }))
            }
            (true, false) => in_json(&found),
            (false, true) => list(),
            (false, false) => found.iter().map(describe).collect::<Vec<_>>().join("\n"),
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn find(text: &str) -> Result<Found, Complaint> {
    let code = codes::find(text).map(Found::Code);
    let found = code.or_else(|| signals::find(text).map(Found::Signal));
    found.ok_or_else(|| {
        let unknown = complaint(&codes::E0109, format!("there is no code `{}`", tame_line(text)));
        match codes::near(text).as_slice() {
            [] => unknown.help("list them with `farcall explain`"),
            near => unknown
                .note(format!("near it are {}", near.join(", ")))
                .help(format!("run `farcall explain {}`", near[0])),
        }
    })
}

fn list() -> String {
    let mut text = String::new();
    for entry in codes::ALL {
        text += &format!("{}  {}\n", entry.code, entry.title);
    }
    text += "\nSignals, as SIGSEGV or 11, are explained, too.\n";
    text
}

fn in_json(found: &[Found]) -> String {
    let (mut codes, mut signals) = (Vec::new(), Vec::new());
    for found in found {
        match found {
            Found::Code(entry) => codes.push(entry),
            Found::Signal(signal) => signals.push(signal),
        }
    }
    format!("{}\n", json!({ "codes": codes, "signals": signals }))
}

fn describe(found: &Found) -> String {
    let (title, parts, example) = match found {
        Found::Code(entry) => (
            format!("{}: {}", entry.code, entry.title),
            vec![entry.means, "Usual cause", entry.cause, "What to do", entry.remedy],
            entry.example,
        ),
        Found::Signal(signal) => (
            format!("{} (signal {}): {}", signal.name, signal.number, signal.short),
            vec!["Usual cause", signal.cause],
            "farcall explain T0102",
        ),
    };
    let mut text = format!("{title}\n");
    for part in parts {
        // Headings are short, and stand out by where they stand.
        let is_heading = part.len() < 16;
        text += &if is_heading { format!("\n{part}:\n") } else { indented(part, 2) };
    }
    text += &format!("\nExample:\n  {example}\n");
    text
}
