//! The support table, `docs/telefork-support.md`: made of what the runs have shown, and compared.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::table::SPECIMENS;
use crate::{Outcome, Visit, outcomes};

const HEAD: &str = "\
# What of a process keeps

Made by running the specimens, one small program for each row, each of which checks itself
([`specimens/`](../specimens)): `BLESS=1 cargo test -p farcall-telefork --test specimens`. Do not edit it; the
test fails if it differs.

A specimen is disturbed five times while it works, and must come to its end with nothing different. Each has
also been run so that it damages its own subject, and has said so.

- **stopped**: by `SIGSTOP`, and continued by `SIGCONT`
- **traced**: all threads seized, held, and let go again
- **captured**: made an image of, which is read again and compared with the process, and let go
- **moved**: captured, built by another process over a connection, ended here, woken there
- **to disk**: captured into a file, ended, and woken from the file by another process
- **there and back twice**: moved four times
- **lazy**: woken by another process before its memory has come, which follows over two connections: of each that
  works, pages that hold something were put in place after it had woken
- **foreign vDSO**: moved, and woken as where the kernel has another vDSO

Refused is what cannot travel, before anything is ended, and for what. Both ends are on one machine.

";

/// Compares the document with the runs, or writes it where BLESS is set.
#[track_caller]
pub(crate) fn is_as_made() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/telefork-support.md");
    let made = made();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let other = made.lines().find(|line| !kept.lines().any(|known| known == *line));
    let what = "docs/telefork-support.md is not what the runs say";
    assert!(made == kept, "{what}, at {other:?}; make it with BLESS=1");
}

fn made() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("| feature | specimen |");
    for visit in Visit::ALL {
        write!(text, " {} |", visit.name()).unwrap();
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(Visit::ALL.len()));
    text.push('\n');
    for (at, specimen) in SPECIMENS.iter().enumerate() {
        write!(text, "| {} | `{}` |", specimen.feature, specimen.source).unwrap();
        for visit in Visit::ALL {
            write!(text, " {} |", cell(&outcomes(visit)[at])).unwrap();
        }
        text.push('\n');
    }
    text
}

fn cell(outcome: &Outcome) -> String {
    match outcome {
        // The table is that of a machine which has everything; the run has said what this one lacks.
        Outcome::Works | Outcome::Skipped => "works".to_owned(),
        Outcome::Refused(says) => format!("refused: {says}"),
        Outcome::NotYet(says) => format!("not yet: {says}"),
        Outcome::Numbered => "with its old numbers".to_owned(),
        Outcome::NotRun => "not run".to_owned(),
        Outcome::Wrong(_) => "fails".to_owned(),
    }
}
