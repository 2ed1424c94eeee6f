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
mod travel;
mod run;
mod build;
mod table;

use std::panic::{self, AssertUnwindSafe};
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
    /// It works only with its old numbers, and these were taken.
    Numbered,
    /// It takes more than this test has.
    NotRun,
    Wrong(String),
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
                    let outcome = panic::catch_unwind(AssertUnwindSafe(|| look(specimen, &built)));
                    let outcome = outcome.unwrap_or_else(|_| Outcome::Wrong("panicked".to_owned()));
                    seen.lock().unwrap()[at] = outcome;
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
            if visit.is_travel() && specimen.travels == Travels::Attended {
                return Outcome::NotRun;
            }
            if visit == Visit::Lazy && !sys::limits::is_root() {
                eprintln!("skipped: {}: only root's memory follows a process", specimen.source);
                return Outcome::Skipped;
            }
            let mut run = Run::start(specimen, built);
            let paid = visit::pay(visit, &mut run);
            let is_lost = paid.is_err() && visit == Visit::ToDisk;
            // Refused, it goes on here as if nothing had happened; but one that was ended first is lost.
            let end = if is_lost { Outcome::Works } else { run.end_well() };
            judge(visit, specimen, paid, end)
        })
    })
}

/// What a run has shown, in the light of what was expected of it.
fn judge(visit: Visit, specimen: &Specimen, paid: Result<(), String>, end: Outcome) -> Outcome {
    let travels = specimen.travels;
    let Outcome::Works = end else {
        return match (travels, end) {
            (Travels::Numbered, Outcome::Wrong(_)) if visit.renumbers() => Outcome::Numbered,
            (_, end) => end,
        };
    };
    match (paid, travels) {
        (Ok(()), Travels::Refused(_)) if visit.is_choosy() => {
            Outcome::Wrong("was not refused".to_owned())
        }
        (Ok(()), Travels::Numbered) if visit.renumbers() => {
            Outcome::Wrong("works with other numbers, and the table does not know it".to_owned())
        }
        (Ok(()), _) => Outcome::Works,
        (Err(words), Travels::Refused(says)) if words.contains(says) => Outcome::Refused(says),
        (Err(words), _) => Outcome::Wrong(format!("refused: {words}")),
    }
}

#[track_caller]
fn nothing_is_wrong(outcomes: &[Outcome]) {
    let wrong: Vec<_> = outcomes
        .iter()
        .zip(SPECIMENS)
        .filter_map(|(outcome, specimen)| match outcome {
            Outcome::Works | Outcome::Skipped | Outcome::NotRun => None,
            Outcome::Refused(_) | Outcome::Numbered => None,
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

// TF-8, TF-9, TF-10: `threads.c`; `file_offset.c`; `vectors.c`, `floating_point.c`, `handlers.c`, `masks.c` and more.
#[test]
fn every_specimen_passes_when_it_is_moved() {
    nothing_is_wrong(outcomes(Visit::Moved));
}

#[test]
fn every_specimen_passes_when_it_is_ended_and_woken_from_a_file() {
    nothing_is_wrong(outcomes(Visit::ToDisk));
}

#[test]
fn every_specimen_passes_when_it_is_moved_there_and_back_twice() {
    nothing_is_wrong(outcomes(Visit::ThereAndBackTwice));
}

#[test]
fn every_specimen_passes_when_its_memory_follows_it() {
    nothing_is_wrong(outcomes(Visit::Lazy));
}

// TF-6: `clock.c`.
#[test]
fn every_specimen_passes_when_it_wakes_where_the_vdso_is_another() {
    nothing_is_wrong(outcomes(Visit::Foreign));
}

/// Journeys there and back in a test run, and with FARCALL_SOAK.
const JOURNEYS: [u32; 2] = [10, 100];

/// Those that go often: threads, files, interpreters, and programs that know of nothing.
const TRAVELLERS: [&str; 7] = [
    "threads.c",
    "file_offset.c",
    "vectors.c",
    "posix_timer.c",
    "thread_pool.rs",
    "interpreter.py",
    "counting.sh",
];

#[test]
fn some_specimens_travel_there_and_back_many_times() {
    let journeys = JOURNEYS[usize::from(std::env::var_os("FARCALL_SOAK").is_some())];
    let outcomes = for_each(|specimen, built| {
        if !TRAVELLERS.contains(&specimen.source) {
            return Outcome::NotRun;
        }
        let mut run = Run::start(specimen, built);
        match visit::there_and_back(&mut run, journeys) {
            Ok(()) => run.end_well(),
            Err(words) => Outcome::Wrong(words),
        }
    });
    nothing_is_wrong(&outcomes);
    let ran = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::NotRun)).count();
    assert_eq!(ran, TRAVELLERS.len(), "each of them is in the table");
}

#[test]
fn a_pad_wakes_what_it_is_sent() {
    travel::be_the_pad();
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
