//! How tests are written, and which must exist.

use crate::outline::text;
use crate::repo::{File, Finding, Repo};

/// The comment that lets a test sleep; a reason follows it.
const SLEEP_ESCAPE: &str = "tidy: sleep is the subject under test:";
const FUZZ_TARGETS: &str = "fuzz/fuzz_targets";

/// No test is switched off.
pub fn no_test_is_ignored(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in repo.rust() {
        for (at, token) in
            file.tokens.iter().enumerate().filter(|(_, token)| token.text == "ignore")
        {
            let from = at.saturating_sub(24);
            // Inside an attribute: the nearest `#[` before it has not been closed.
            let opened = (from..at)
                .rev()
                .find(|&i| text(&file.tokens, i) == "#" && text(&file.tokens, i + 1) == "[");
            let attribute =
                opened.is_some_and(|i| file.tokens[i..at].iter().all(|t| t.text != "]"));
            let switch = matches!(text(&file.tokens, at + 1), "]" | "=" | ")" | ",");
            if attribute && switch {
                found.push(file.finding(
                    token.line,
                    "an ignored test",
                    "a test that nobody runs proves nothing",
                    "make it pass everywhere; what is long runs when FARCALL_SOAK is set",
                ));
            }
        }
    }
    found
}

/// No test sleeps, unless a comment on the line or above it says why sleep is its subject.
pub fn no_test_sleeps(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in repo.rust() {
        let all = repo.is_test(file);
        for path in file.outline.paths.iter().filter(|path| (all || path.test) && path.call) {
            let sleeps = path.segments.last().is_some_and(|name| name == "sleep");
            if sleeps && !escaped(file, path.line) {
                let remedy = format!(
                    "wait for the event itself, with a deadline; or write `// {SLEEP_ESCAPE} …` above it"
                );
                found.push(file.finding(
                    path.line,
                    "a test sleeps",
                    "a sleep hides a race and makes the run long",
                    remedy,
                ));
            }
        }
    }
    found
}

/// A module of `wire` that decodes has a fuzz target of its name that calls its decoder, and the
/// target is entered in the fuzz crate.
pub fn every_decoder_has_a_fuzz_target(repo: &Repo) -> Vec<Finding> {
    let why = "decoders read bytes of strangers, and never panic";
    let manifest = repo.text("fuzz/Cargo.toml").unwrap_or("");
    let mut found = Vec::new();
    for file in repo.rust().filter(|file| file.crate_name() == Some("wire") && !repo.is_test(file))
    {
        let Some(inner) = file.path_in_crate().strip_prefix("src/") else { continue };
        let decoder = (0..file.tokens.len()).find(|&at| {
            let name = text(&file.tokens, at + 1);
            let public = at > 0 && text(&file.tokens, at - 1) == "pub";
            text(&file.tokens, at) == "fn"
                && (name == "decode" || public && name.starts_with("decode_"))
        });
        let Some(at) = decoder else { continue };
        let line = file.tokens[at].line;
        let module = inner.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "_");
        let path = format!("{FUZZ_TARGETS}/{module}.rs");
        let (what, remedy) = match repo.files.get(&path) {
            None => (format!("decoder without `{path}`"), "add the target"),
            Some(target) if !target.tokens.iter().any(|t| t.text.starts_with("decode")) => {
                (format!("`{path}` never calls a decoder"), "call it with the fuzzer's bytes")
            }
            Some(_) if !manifest.contains(&format!("\"{module}\"")) => {
                (format!("`{module}` is no target of fuzz/Cargo.toml"), "add its [[bin]]")
            }
            Some(_) => continue,
        };
        found.push(file.finding(line, what, why, remedy));
    }
    found
}

/// The escape with a reason stands on the line, or in the comment that ends above it.
fn escaped(file: &File, line: usize) -> bool {
    let remarks: Vec<&str> = file.comments.lines().map(str::trim).collect();
    let above = remarks[..line - 1].iter().rev().take_while(|remark| !remark.is_empty());
    let mut near = std::iter::once(&remarks[line - 1]).chain(above);
    near.any(|remark| {
        remark.split_once(SLEEP_ESCAPE).is_some_and(|(_, reason)| !reason.trim().is_empty())
    })
}

#[cfg(test)]
mod tests;
