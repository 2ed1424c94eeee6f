//! The catalogue against the command that uses it: nothing unused, nothing that does not parse.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;

use super::{ALL, distance, find, near, signals};
use crate::Farcall;

/// All source of this command but the catalogue itself.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if !path.ends_with("codes/catalogue.rs") && !path.ends_with("codes/tests.rs") {
            *text += &std::fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn each_entry_is_used() {
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    for entry in ALL {
        let code = entry.code;
        let used = text.contains(&format!("codes::{code}")) || text.contains(&format!("&{code}"));
        assert!(used, "{code} is explained, but no error has it");
    }
}

#[test]
fn each_entry_is_complete() {
    let mut seen = BTreeSet::new();
    for entry in ALL {
        let code = entry.code;
        assert!(seen.insert(code), "{code} is there twice");
        assert!(code.len() == 5 && code.starts_with(['E', 'T']), "{code}");
        assert!(code[1..].bytes().all(|c| c.is_ascii_digit()), "{code}");
        assert!(!entry.title.ends_with('.') && entry.title.len() <= 72, "{code}: {}", entry.title);
        for part in [entry.means, entry.cause, entry.remedy] {
            assert!(part.len() > 15 && part.ends_with('.'), "{code}: {part}");
        }
    }
    assert!(ALL.is_sorted_by_key(|entry| entry.code), "the list is in the order of the codes");
}

#[test]
fn each_example_is_a_command_that_parses() {
    for entry in ALL {
        let words = entry.example.split_whitespace();
        let parsed = Farcall::try_parse_from(words);
        assert!(parsed.is_ok(), "{}: {}", entry.code, parsed.err().unwrap());
    }
    assert!(Farcall::try_parse_from(["farcall", "dctor"]).is_err(), "the parser accepts anything");
}

#[test]
fn codes_are_found_however_they_are_written() {
    assert_eq!(find("e0201").unwrap().code, "E0201");
    assert_eq!(find(" E0201 ").unwrap().code, "E0201");
    assert!(find("E02").is_none());
    assert_eq!(signals::find("segv").unwrap().number, 11);
    assert_eq!(signals::find("SIGSEGV").unwrap().number, 11);
    assert_eq!(signals::find("9").unwrap().name, "SIGKILL");
}

#[test]
fn an_unknown_code_has_near_ones() {
    assert_eq!(near("E0210")[0], "E0211");
    assert!(near("0201").contains(&"E0201"));
    assert!(near("EO201").contains(&"E0201"));
    assert_eq!(near("something else"), Vec::<&str>::new());
    assert_eq!(near(""), Vec::<&str>::new());
    assert_eq!(distance("kitten", "sitting"), 3);
}

#[test]
fn signals_are_those_of_the_system() {
    for signal in &signals::ALL {
        let number = signal.number.to_string();
        let Ok(ended) = std::process::Command::new("kill").args(["-l", &number]).output() else {
            eprintln!("skipped: no kill command here");
            return;
        };
        let name = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(format!("SIG{}", name.trim().trim_start_matches("SIG")), signal.name);
    }
}
