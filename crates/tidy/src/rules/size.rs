//! Lengths: what is very long usually hides a second subject.

use crate::exceptions::LONG_FILES;
use crate::repo::{Finding, Repo};

const FILE_LINES_NOTED: usize = 500;
const FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_NOTED: usize = 70;

/// A Rust file ends before it is two.
pub fn no_file_is_two(repo: &Repo) -> Vec<Finding> {
    let long = repo.rust().filter(|file| {
        file.text.lines().count() > FILE_LINES_MAX
            && !LONG_FILES.iter().any(|(path, _)| *path == file.path)
    });
    long.map(|file| {
        let what = format!("{} lines; the most is {FILE_LINES_MAX}", file.text.lines().count());
        file.finding(1, what, "it hides a second subject", "find it, name it, move it out; or give tidy's `exceptions.rs` the reason why it is one")
    })
    .collect()
}

/// Worth a look, and no failure: files and functions past the length of one subject, machines
/// whose maps are ordered by chance, exceptions of files that are gone.
pub fn worth_a_look(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in repo.rust() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_NOTED {
            found.push(file.finding(
                1,
                format!("{lines} lines"),
                "past 500 there is often a second subject",
                "look for it",
            ));
        }
        for function in file.outline.functions.iter().filter(|f| f.lines > FUNCTION_LINES_NOTED) {
            let what = format!("`{}` has {} lines", function.name, function.lines);
            found.push(file.finding(
                function.line,
                what,
                "past 70 there is often a second subject",
                "look for it",
            ));
        }
        let machine = file.crate_name() == Some("logic") && !repo.is_test(file);
        let shuffled = |path: &&crate::outline::Path| {
            path.segments.iter().any(|s| s == "HashMap" || s == "HashSet")
        };
        if let Some(path) = file.outline.paths.iter().find(shuffled).filter(|_| machine) {
            let why = "its order is drawn at random, and a walk over it makes `sim` unrepeatable";
            found.push(file.finding(
                path.line,
                "a hash map in a machine",
                why,
                "never walk it, or use a BTreeMap",
            ));
        }
    }
    let excused = crate::exceptions::LIBRARY_EXCEPTIONS
        .iter()
        .map(|e| e.file)
        .chain(LONG_FILES.iter().map(|(file, _)| *file));
    for file in excused.filter(|file| !repo.files.contains_key(*file)) {
        let what = format!("an exception for `{file}`, which does not exist");
        found.push(Finding {
            file: "crates/tidy/src/exceptions.rs".into(),
            line: 1,
            what,
            why: "it excuses nobody",
            remedy: "take it out, or name the file of today".into(),
        });
    }
    found
}

#[cfg(test)]
mod tests;
