//! What the first telefork was asked for, row by row, and which test shows it. Stock kernel and libc, no tunables. A row's
//! tests bear its number; those that are nowhere else are here. How long things take is measured by
//! `cargo xtask bench telefork`: no test depends on that.
//!
//! | row | asked | shown by |
//! |---|---|---|
//! | TF-1 | a value, a local variable, a thread's own variable, an exit status | `telefork/tests/restore.rs` `a_program_wakes_a_copy_of_itself_with_a_value` |
//! | TF-2 | a copy sends a copy; a file is woken by another program | `telefork/tests/restore.rs` `a_copy_sends_a_copy_and_another_program_wakes_it` |
//! | TF-3 | server and client on two hosts, garbage, eight at once | `cli/tests/rows.rs` `a_program_goes_to_a_server_on_another_host` |
//! | TF-4 | out and back | `telefork/tests/restore.rs` `a_program_goes_and_comes_back_over_one_connection`, `cli/tests/yoyo.rs` `changed` |
//! | TF-5 | a picture is the same to the byte | `telefork/tests/restore.rs` `a_picture_drawn_elsewhere_is_the_one_drawn_here_to_the_byte` |
//! | TF-6 | a million looks at the clock where the vDSO is another | `telefork/tests/restore.rs` `clocks_go_on_where_the_kernels_code_is_another`, `telefork/tests/specimens/main.rs` `every_specimen_passes_when_it_wakes_where_the_vdso_is_another` |
//! | TF-7 | permissions of memory | `telefork/tests/restore.rs` `a_copy_has_the_same_memory_with_the_same_permissions` |
//! | TF-8 | four busy threads, mutex, condition | `telefork/tests/specimens/main.rs` `every_specimen_passes_when_it_is_moved` |
//! | TF-9 | files with offsets travel; pipes and event counters are named, not yet taken; of TCP nothing yet | `telefork/tests/specimens/main.rs` `every_specimen_passes_when_it_is_moved`, `cli/tests/moves.rs` `what_cannot_move_is_refused_by_name_and_runs_on` |
//! | TF-10 | vector registers, MXCSR, handlers, masks, alternate stacks, timers | `telefork/tests/specimens/main.rs` `every_specimen_passes_when_it_is_moved` |
//! | TF-11 | eight copies have eight numbers, for the sending of one | `cli/tests/rows.rs` `eight_copies_have_numbers_of_their_own_and_cost_the_sending_of_one` |
//! | TF-12 | a copy works before its memory has come | `cli/tests/telefork.rs` `a_copy_runs_before_its_memory_came_and_has_all_of_it_in_the_end` |
//! | TF-13 | the second copy takes what has changed | `cli/tests/telefork.rs` `the_second_copy_takes_what_changed_and_nothing_else` |
//! | TF-14 | a script that counts goes on from its file | `cli/tests/checkpoint.rs` `a_shell_that_counts_is_copied_in_the_middle_and_the_copy_counts_on` |
//! | TF-15 | 512 MiB out and back, five times faster than 9.1 s (timed in release builds; else 32 MiB) | `cli/tests/yoyo.rs` `half_a_gibibyte` |
//! | TF-16 | threads of two nodes count together | `cli/tests/coherent.rs` `atomics_of_two_processes_sum_up_exactly` |
//! | TF-17 | the same as TF-3 in C | `cli/tests/c_interface.rs` `a_c_program_goes_to_a_c_server_on_another_host` |

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Cluster, TeleforkAll};
use support::hosts::Hosts;
use support::teleserver::serves_visitors_and_survives_garbage;
use support::{Machine, skipped};

/// Copies have all memory of this process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_row_has_a_test_that_bears_its_number() {
    let lines = include_str!("rows.rs").lines().filter_map(|line| line.strip_prefix("//! | TF-"));
    let mut rows = BTreeSet::new();
    for line in lines {
        let (row, _) = line.split_once(' ').unwrap();
        rows.insert(row.parse::<u32>().unwrap());
        let shown = line.split('|').nth(2).unwrap();
        let mut words = shown.split('`').skip(1).step_by(2).peekable();
        assert!(words.peek().is_some(), "TF-{row} has no test");
        while let (Some(path), Some(name)) = (words.next(), words.next()) {
            let text = fs::read_to_string(crates().join(path)).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let function = format!("fn {name}(");
            let at = lines.iter().position(|line| line.starts_with(&function));
            let at = at.unwrap_or_else(|| panic!("TF-{row}: {path} has no {name}"));
            let bears = |line: &&str| {
                let mut told = line
                    .strip_prefix("// ")
                    .into_iter()
                    .flat_map(|told| told.split([',', '.', ':', ' ']));
                told.any(|word| word == format!("TF-{row}"))
            };
            let above = &lines[at.saturating_sub(8)..at];
            assert!(above.iter().any(bears), "{path}: {name} does not bear TF-{row}");
        }
    }
    assert!(rows.iter().copied().eq(1..=17), "{rows:?}");
}

// TF-3.
#[test]
fn a_program_goes_to_a_server_on_another_host() {
    let Some(hosts) = Hosts::new("TF-3") else { return };
    let examples = Path::new(env!("CARGO_BIN_EXE_farcall")).with_file_name("examples");
    if !examples.join("teleserver").exists() {
        return skipped(
            "TF-3 needs the examples of farcall-telefork; `cargo xtask test` builds them",
        );
    }
    let program = |name: &str, address: &str| {
        let mut command = Command::new(examples.join(name));
        command.arg(address);
        command
    };
    let server = |at: &str| program("teleserver", &format!("{at}:0"));
    serves_visitors_and_survives_garbage(&hosts, server, |at| program("teleclient", at));
}

/// Memory whose pages all differ.
fn filled(len: usize) -> Vec<u64> {
    let mut memory = vec![0; len / 8];
    memory.iter_mut().step_by(512).zip(1_u64..).for_each(|(word, at)| *word = at);
    memory
}

fn is_right(memory: &[u64]) -> bool {
    memory.iter().step_by(512).zip(1_u64..).all(|(word, at)| *word == at)
}

// TF-11.
#[test]
fn eight_copies_have_numbers_of_their_own_and_cost_the_sending_of_one() {
    let _alone = alone();
    let machine = Machine::new();
    let (_one, address) = machine.start_node("--name one --slots 4 --jail none");
    let (_two, _) =
        machine.start_node(&format!("--name two --slots 4 --jail none --join {address}"));
    let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
    assert_eq!(cluster.wait_for_nodes(2, support::PATIENCE), 2);
    let memory = filled(16 << 20);
    let nodes = ["one", "two", "one", "two", "one", "two", "one", "two"];
    match cluster.telefork_all(nodes).unwrap() {
        TeleforkAll::Child(number) => exit(if is_right(&memory) { 40 + number as i32 } else { 1 }),
        TeleforkAll::Parent(copies) => {
            assert!(copies.iter().all(|copy| copy.wait_until_awake().is_some()));
            let sent: Vec<u64> = copies.iter().map(client::Copy::sent).collect();
            assert!(sent[0] > 16 << 20 && sent[1..] == [0; 7], "{sent:?}");
            let ends: Vec<i32> = copies.into_iter().map(|copy| copy.wait().unwrap()).collect();
            assert_eq!(ends, (40..48).collect::<Vec<i32>>());
        }
    }
}
