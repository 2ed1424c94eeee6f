//! Every page, by its parts and by what a formatter says of it.

use std::io::Write as _;
use std::process::{Command as Program, Stdio};

use clap::CommandFactory;

use super::pages;
use crate::Farcall;

#[test]
fn each_command_has_a_page_with_examples() {
    let pages = pages(Farcall::command()).unwrap();
    let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    for expected in ["farcall", "farcall-node", "farcall-core-run", "farcall-auth-token"] {
        assert!(names.contains(&expected), "no {expected} in {names:?}");
    }
    assert!(!names.contains(&"farcall-worker"), "{names:?}");
    for page in &pages {
        let text = String::from_utf8(page.roff.clone()).unwrap();
        let examples = text.split_once(".SH EXAMPLES\n").map(|(_, rest)| rest);
        let examples = examples.unwrap_or_else(|| panic!("{} has no examples", page.name));
        let examples = examples.split(".fi").next().unwrap();
        assert!(examples.contains("  farcall"), "{}: {examples}", page.name);
        assert!(text.contains(".SH NAME\n") && text.contains(".SH SYNOPSIS\n"), "{text}");
    }
}

#[test]
fn no_page_makes_the_formatter_warn() {
    let pages = pages(Farcall::command()).unwrap();
    for page in &pages {
        let mut groff = Program::new("groff");
        groff.args(["-man", "-Tutf8", "-K", "utf8", "-ww", "-rLL=80n"]);
        groff.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match groff.spawn() {
            Err(error) => {
                writeln!(std::io::stderr(), "skipped: no groff here ({error})").unwrap();
                return;
            }
            Ok(child) => child,
        };
        child.stdin.take().unwrap().write_all(&page.roff).unwrap();
        let ended = child.wait_with_output().unwrap();
        let warnings = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && warnings.is_empty(), "{}: {warnings}", page.name);
        // What is to be typed comes out as it was written.
        let shown = String::from_utf8_lossy(&ended.stdout);
        assert!(shown.contains("farcall"), "{}: {shown}", page.name);
    }
}
