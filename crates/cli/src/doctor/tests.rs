//! How findings are told, whatever they are.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use super::findings::{Findings, Good, Mark, Section, found, quoted};

fn findings() -> Findings {
    let mut section = Section::new("A", &[Good::Tasks, Good::Cluster]);
    section.add(found(Mark::Ok, "well ".repeat(30)));
    section
        .add(found(Mark::Fail, "the disk is\nfull").breaks(Good::Tasks).remedy("rm -r everything"));
    section.add(found(Mark::Warn, "slow").breaks(Good::Tasks));
    let mut all = Findings::default();
    all.add(section);
    all
}

#[test]
fn findings_fit_into_80_columns_with_their_remedies_on_lines_of_their_own() {
    let text = findings().in_words();
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert!(text.contains("  fail  the disk is full\n          rm -r everything\n"), "{text}");
}

#[test]
fn the_end_says_what_works_and_why_not() {
    let text = findings().in_words();
    assert!(text.contains("\n  tasks: no, because the disk is full\n"), "{text}");
    assert!(text.contains("\n  other hosts: yes\n"), "{text}");
    assert!(!text.contains("strangers"), "what nobody looked at is not told: {text}");
    let json: serde_json::Value = serde_json::from_str(&findings().in_json()).unwrap();
    assert_eq!(json["works"]["tasks"], false);
    assert_eq!(json["works"]["other hosts"], true);
    assert_eq!(json["sections"][0]["findings"][1]["mark"], "fail");
    assert_eq!(json["sections"][0]["findings"][1]["remedy"], "rm -r everything");
}

/// What a shell makes of it.
#[track_caller]
fn check_quoted(shell: &str, word: &[u8], wanted: &[u8]) {
    let words = quoted(OsStr::from_bytes(word));
    let remedy = found(Mark::Fail, "").remedy(format!("printf %s {words}")).remedy.unwrap();
    let said = Command::new(shell).args(["-c", &remedy]).output().unwrap();
    assert_eq!((&*said.stdout, &*said.stderr), (wanted, &b""[..]), "{remedy}");
}

#[test]
fn a_remedy_names_one_file_and_nothing_else_whatever_the_file_is_called() {
    assert_eq!(quoted("/run/user/1000/farcall.sock"), "/run/user/1000/farcall.sock");
    assert_eq!(quoted("/tmp/a b"), "'/tmp/a b'");
    for word in
        ["/a b", "/a;rm -r b", "/$(id)`id`", "/it's", "/\"\\*?[~#&|<>(){}", "/né", "/a!b", ""]
    {
        check_quoted("sh", word.as_bytes(), word.as_bytes());
    }
    check_quoted("sh", b"-rf", b"./-rf");
    if Command::new("bash").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped in part: there is no bash here");
        return;
    }
    for word in [&b"/a\nb\t\x1b\x9b"[..], b"/\xff'\\", "/\u{202e}".as_bytes(), b"-\n"] {
        let wanted = if word == b"-\n" { &b"./-\n"[..] } else { word };
        check_quoted("bash", word, wanted);
    }
}
