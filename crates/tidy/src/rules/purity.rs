//! What code of a certain crate must not touch: `logic` nothing, libraries not the terminal.

use crate::exceptions::{LIBRARY_EXCEPTIONS, PROGRAM_CRATES};
use crate::manifest::{dependencies, line_of, table};
use crate::repo::{Finding, Repo};

/// The ends of std that reach outside.
const WORLDLY_STD: [&str; 7] = ["net", "fs", "thread", "process", "env", "os", "backtrace"];
/// Clocks, wherever they come from.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];
/// Crates that reach outside, draw random numbers, or wait.
const WORLDLY_CRATES: [&str; 12] = [
    "rand",
    "getrandom",
    "fastrand",
    "mio",
    "socket2",
    "tokio",
    "nix",
    "libc",
    "rustls",
    "sys",
    "transport",
    "tempfile",
];
const FORBIDDEN_MACROS: [&str; 5] = ["println", "eprintln", "print", "eprint", "dbg"];
const FORBIDDEN_CALLS: [&str; 7] = [
    "process::exit",
    "process::abort",
    "env::args",
    "env::args_os",
    "env::var",
    "env::var_os",
    "env::vars",
];

/// Invariant 1: `logic` opens no file or socket, starts no thread, reads no clock, draws no
/// random number. Its tests neither: they are scripts of events.
pub fn logic_touches_nothing(repo: &Repo) -> Vec<Finding> {
    let why = "machines decide and touch nothing, so that `sim` can replay them";
    let remedy = "take it as an event or a parameter, or leave it to the driver as an effect (addresses are data: `core::net`)";
    let mut found = Vec::new();
    for file in repo.rust().filter(|file| file.crate_name() == Some("logic")) {
        for path in &file.outline.paths {
            let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
            let touches = match segments.as_slice() {
                ["std", end, ..] if WORLDLY_STD.contains(end) => true,
                [first, _, ..] if WORLDLY_CRATES.contains(first) => true,
                all => all.iter().any(|s| CLOCKS.contains(s)),
            };
            if touches {
                let what = format!("`{}` in `logic`", segments.join("::"));
                found.push(file.finding(path.line, what, why, remedy));
            }
        }
    }
    if let Some(file) = repo.files.get("crates/logic/Cargo.toml") {
        for (used, _) in dependencies(&table(&file.text), &["dependencies", "build-dependencies"]) {
            if WORLDLY_CRATES.contains(&used.as_str()) {
                let what = format!("`logic` depends on `{used}`");
                found.push(file.finding(line_of(&file.text, &used), what, why, remedy));
            }
        }
    }
    found
}

/// Invariant 7: libraries never print, exit, or read arguments and environment. Programs do:
/// the crates listed as such, `main.rs`, `src/bin`, build scripts, examples.
pub fn libraries_stay_silent(repo: &Repo) -> Vec<Finding> {
    let why = "libraries never print, exit, or read arguments and environment; programs do";
    let mut found = Vec::new();
    for file in repo.rust() {
        let Some(name) = file.crate_name() else { continue };
        let inner = file.path_in_crate();
        let library =
            inner.starts_with("src/") && inner != "src/main.rs" && !inner.starts_with("src/bin/");
        if !library || PROGRAM_CRATES.contains(&name) || repo.is_test(file) {
            continue;
        }
        let exceptions = LIBRARY_EXCEPTIONS.iter().filter(|e| e.file == file.path);
        let may: Vec<&str> = exceptions.flat_map(|e| e.may.iter().copied()).collect();
        for path in file.outline.paths.iter().filter(|path| !path.test) {
            let last = path.segments.last().map_or("", String::as_str);
            let pair = path
                .segments
                .windows(2)
                .map(|pair| pair.join("::"))
                .find(|pair| FORBIDDEN_CALLS.contains(&pair.as_str()));
            let speaks = pair.or_else(|| {
                (path.macro_call && FORBIDDEN_MACROS.contains(&last)).then(|| format!("{last}!"))
            });
            let speaks = speaks.filter(|what| !may.contains(&what.as_str()));
            if let Some(what) = speaks {
                let remedy = "return it to the caller or take it as a parameter; a true exception goes to tidy's `exceptions.rs` with its reason";
                found.push(file.finding(
                    path.line,
                    format!("`{what}` in library `{name}`"),
                    why,
                    remedy,
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
