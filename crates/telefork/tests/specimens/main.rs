//! The specimens: one small program for each thing that a process consists of, each of which checks itself.
//!
//! What a process keeps when it is disturbed, stopped or moved is shown by running them (`specimens/` at the
//! root of the repository, whose README says how one is written), and told in `docs/telefork-support.md`,
//! which this test writes when it is told to: `BLESS=1 cargo test -p farcall-telefork --test specimens`.
//! Each is also run so that it damages its own subject: a check that cannot fail is none.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod document;
mod visit;
mod run;
mod build;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::thread;

use build::Built;
use run::Run;
use table::{SPECIMENS, Specimen, Travels};
use visit::Visit;

/// How many run at a time in one test: most of them sleep.
const AT_A_TIME: usize = 3;

/// What a run of a specimen has shown.
#[derive(Debug, Clone)]
enum Outcome {
    Works,
    /// This machine lacks what it is made or run with, or its subject.
    Skipped,
    /// By these words, and with reason.
    Refused(&'static str),
    Wrong(String),
}

impl Outcome {
    fn or_refused(self, says: &'static str) -> Self {
        if let Self::Works = self { Self::Refused(says) } else { self }
    }
}

/// Runs all specimens, several at a time. The outcomes are in their order.
fn for_each(look: impl Fn(&Specimen, &Built) -> Outcome + Sync) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(vec![Outcome::Skipped; SPECIMENS.len()]);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    let Some(specimen) = SPECIMENS.get(at) else { break };
                    let Some(built) = build::built(specimen) else { continue };
                    seen.lock().unwrap()[at] = look(specimen, &built);
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

/// What all specimens have shown when they were visited so. They are run once.
fn outcomes(visit: Visit) -> &'static [Outcome] {
    static SEEN: [OnceLock<Vec<Outcome>>; Visit::ALL.len()] =
        [const { OnceLock::new() }; Visit::ALL.len()];
    SEEN[visit as usize].get_or_init(|| {
        for_each(|specimen, built| {
            let run = Run::start(specimen, built);
            match (visit::pay(visit, &run), specimen.travels) {
                (Ok(()), Travels::Refused(_)) if visit.is_choosy() => {
                    Outcome::Wrong("was not refused".to_owned())
                }
                (Ok(()), _) => run.end_well(),
                (Err(words), Travels::Refused(says)) if words.contains(says) => {
                    // Refused, it goes on as if nothing had happened.
                    run.end_well().or_refused(says)
                }
                (Err(words), _) => Outcome::Wrong(format!("refused: {words}")),
            }
        })
    })
}

#[track_caller]
fn nothing_is_wrong(outcomes: &[Outcome]) {
    let wrong: Vec<_> = outcomes
        .iter()
        .zip(SPECIMENS)
        .filter_map(|(outcome, specimen)| match outcome {
            Outcome::Works | Outcome::Skipped | Outcome::Refused(_) => None,
            Outcome::Wrong(why) => Some(format!("{}: {why}", specimen.source)),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_specimen_passes_where_it_was_started() {
    nothing_is_wrong(&for_each(|specimen, built| Run::start(specimen, built).end_well()));
}

#[test]
fn every_specimen_passes_when_it_is_stopped_and_continued() {
    nothing_is_wrong(outcomes(Visit::Stopped));
}

#[test]
fn every_specimen_passes_when_it_is_traced_and_let_go() {
    nothing_is_wrong(outcomes(Visit::Traced));
}

#[test]
fn every_specimen_passes_when_it_is_captured_and_let_go() {
    nothing_is_wrong(outcomes(Visit::Captured));
}

#[test]
fn every_specimen_notices_when_its_subject_is_damaged() {
    let spoiled = |specimen: &_, built: &_| Run::start_spoiled(specimen, built).end_differently();
    nothing_is_wrong(&for_each(spoiled));
}

#[test]
fn every_file_of_the_specimens_is_in_the_table_once() {
    let mut found: Vec<String> = std::fs::read_dir(build::folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md" && name != "specimen.h")
        .collect();
    let mut told: Vec<&str> = SPECIMENS.iter().map(|specimen| specimen.source).collect();
    found.sort();
    told.sort_unstable();
    assert_eq!(found, told);
}

#[test]
fn the_support_table_is_what_the_runs_say() {
    document::is_as_made();
}
