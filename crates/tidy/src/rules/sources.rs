//! What every file has or has not: a head comment, `unsafe`, nameless debts, private paths.

use crate::exceptions::UNSAFE_CRATES;
use crate::outline::text;
use crate::repo::{File, Finding, Repo};

/// Words for a debt. One of them is enough, and it names where the debt is written down.
const DEBTS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Folders under which somebody's private files lie.
const PRIVATE_ROOTS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];
/// Names that stand for any user in examples.
const PLACEHOLDERS: [&str; 3] = ["you/", "user/", "USER/"];

/// A file opens with `//!`: what it decides, what lives elsewhere.
pub fn files_open_with_a_head_comment(repo: &Repo) -> Vec<Finding> {
    let bare = repo.rust().filter(|file| {
        let mut lines = file.text.lines().filter(|line| !line.trim().is_empty());
        !lines.next().is_some_and(|line| {
            line.strip_prefix("//!").is_some_and(|said| !said.trim().is_empty())
        })
    });
    bare.map(|file| {
        file.finding(
            1,
            "no head comment",
            "a file is read top to bottom by someone new",
            "open it with `//!`: what it decides, and what lives elsewhere",
        )
    })
    .collect()
}

/// `unsafe` is written in a few crates; the roots of all others forbid it, and their tests,
/// examples and build scripts, which are roots of their own, do not contain it either.
pub fn unsafe_stays_in_its_crates(repo: &Repo) -> Vec<Finding> {
    let why = "`unsafe` is written only where memory or the kernel is the subject";
    let allowed = |file: &File| {
        file.crate_name().is_some_and(|name| UNSAFE_CRATES.iter().any(|(n, _)| *n == name))
    };
    let mut found = Vec::new();
    for file in repo.rust().filter(|file| !allowed(file)) {
        let said = (0..file.tokens.len()).any(|at| {
            ["#", "!", "[", "forbid", "("]
                .iter()
                .enumerate()
                .all(|(i, want)| text(&file.tokens, at + i) == *want)
                && file.tokens[at..]
                    .iter()
                    .take_while(|t| t.text != "]")
                    .any(|t| t.text == "unsafe_code")
        });
        if file.crate_name().is_some() && file.is_root() && !said {
            found.push(file.finding(
                1,
                "`unsafe` is not forbidden",
                why,
                "add `#![forbid(unsafe_code)]` below the head comment",
            ));
        }
        for token in file.tokens.iter().filter(|token| token.text == "unsafe") {
            found.push(file.finding(
                token.line,
                "`unsafe`",
                why,
                "move it to `sys`, behind a safe function that says why it is sound",
            ));
        }
    }
    found
}

/// A debt names its issue.
pub fn debts_name_their_issue(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in repo.files.values() {
        let rust = file.path.ends_with(".rs");
        let other = [".c", ".h", ".cpp", ".hpp", ".py", ".toml", ".sh"]
            .iter()
            .any(|e| file.path.ends_with(e));
        if !rust && !other {
            continue;
        }
        let remarks = if rust { &file.comments } else { &file.text };
        for (number, line) in remarks.lines().enumerate() {
            for debt in DEBTS {
                let named = |rest: &str| debt == DEBTS[0] && issue_follows(rest);
                let nameless = word_ends(line, debt).any(|end| !named(&line[end..]));
                if nameless {
                    let what = format!("`{debt}` without an issue");
                    found.push(file.finding(
                        number + 1,
                        what,
                        "a debt that is written nowhere else is never paid",
                        format!("write `{}(#12): …` with its issue, or do it", DEBTS[0]),
                    ));
                }
            }
        }
    }
    found
}

/// No file names a folder of the machine it was written on.
pub fn no_file_names_a_private_folder(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in repo.files.values() {
        for (number, line) in file.text.lines().enumerate() {
            for root in PRIVATE_ROOTS {
                let named = line.match_indices(root).any(|(at, _)| {
                    let starts =
                        !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_.-~}".contains(c));
                    let rest = &line[at + root.len()..];
                    starts && !PLACEHOLDERS.iter().any(|p| rest.starts_with(p))
                });
                if named {
                    let what = format!("an absolute path under `{root}`");
                    found.push(file.finding(
                        number + 1,
                        what,
                        "it exists on one machine only",
                        "derive it from the repository, a temporary folder or a parameter",
                    ));
                }
            }
        }
    }
    found
}

/// `(#12)` comes next.
fn issue_follows(rest: &str) -> bool {
    let number =
        rest.strip_prefix("(#").and_then(|rest| rest.split_once(')')).map_or("", |(n, _)| n);
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// Where each whole word `word` in a line ends.
fn word_ends<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(move |(at, _)| (at, at + word.len())).filter_map(
        move |(start, end)| {
            let whole = !line[..start].ends_with(joins) && !line[end..].starts_with(joins);
            whole.then_some(end)
        },
    )
}

#[cfg(test)]
mod tests;
