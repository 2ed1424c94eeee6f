//! Errors in words: a code, what happened, why, and one next step.
//!
//! ```text
//! error[E0201]: no node can be reached
//!   note: host-a:4114 (no answer)
//!   help: one next step
//!   more: farcall explain E0201
//! ```
//!
//! A code is an entry of the catalogue (`codes`). Library errors end in their next step after a
//! semicolon where they have one; here it becomes the help.

mod memory;
pub(crate) mod moving;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::codes::{self, Code};
use crate::terminal::{steers, tame, tame_line};

/// An error of the command itself.
#[derive(Debug)]
pub(crate) struct Complaint {
    code: Code,
    what: String,
    notes: Vec<String>,
    help: Option<String>,
}

pub(crate) fn complaint(code: Code, what: impl Into<String>) -> Complaint {
    Complaint { code, what: what.into(), notes: Vec::new(), help: None }
}

impl Complaint {
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Complaint {}

/// A file of the user's that cannot be read or written.
pub(crate) fn file(action: &str, path: &Path, error: &std::io::Error) -> Complaint {
    complaint(&codes::E0401, format!("cannot {action} {}", path.display()))
        .note(error.to_string())
        .help("check the path and its permissions")
}

/// The kernel's own reason, where a file is concerned.
pub(crate) fn reason(error: sys::Error) -> std::io::Error {
    match error {
        sys::Error::File { source, .. } => source,
        other => std::io::Error::other(other),
    }
}

/// Ends a command whose words were wrong, and quotes none of them in a way that steers the terminal.
pub(crate) fn misused(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    if error.use_stderr() && text.chars().any(|c| c != '\n' && steers(c)) {
        eprint!("{}", tame(&text));
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// Prints an error, and says with which status the command ends.
pub(crate) fn show(error: &anyhow::Error) -> ExitCode {
    eprint!("{}", describe(error));
    ExitCode::FAILURE
}

/// Words of another host that are `what; next step`, in the shape of an error.
pub(crate) fn warning(code: Code, words: &str) -> String {
    let (what, help) = words.split_once("; ").unwrap_or((words, ""));
    let mut text = format!("warning[{}]: {}\n", code.code, tame_line(what));
    if !help.is_empty() {
        text += &format!("  help: {}\n", tame_line(help));
    }
    text
}

fn describe(error: &anyhow::Error) -> String {
    let complaint = match error.downcast_ref::<Complaint>() {
        Some(own) => Complaint {
            code: own.code,
            what: own.what.clone(),
            notes: own.notes.clone(),
            help: own.help.clone(),
        },
        None => of_library(error),
    };
    let mut text = format!("error[{}]: {}\n", complaint.code.code, tame_line(&complaint.what));
    for note in &complaint.notes {
        text += &format!("  note: {}\n", tame_line(note));
    }
    if let Some(help) = &complaint.help {
        text += &format!("  help: {}\n", tame_line(help));
    }
    text += &more([complaint.code]);
    text
}

/// Where to read on.
pub(crate) fn more(codes: impl IntoIterator<Item = Code>) -> String {
    let codes: Vec<&str> = codes.into_iter().map(|entry| entry.code).collect();
    format!("  more: farcall explain {}\n", codes.join(" "))
}

/// The innermost error that has a code of its own tells most.
fn of_library(error: &anyhow::Error) -> Complaint {
    let chain: Vec<&(dyn std::error::Error + 'static)> = error.chain().collect();
    let coded = (0..chain.len()).rev().find_map(|at| code(chain[at]).map(|code| (at, code)));
    let (at, code) = coded.unwrap_or((0, &codes::E0901));
    if let Some(client::Error::Unreachable { attempts }) = chain[at].downcast_ref() {
        // Written for one line; what to do about it comes once, and last.
        let attempts = attempts.replace("; check that a node listens there", "");
        return complaint(code, "no node can be reached")
            .note(attempts)
            .help("start a node there with `farcall node`");
    }
    let mut complaint = put(code, chain[at]);
    complaint.help = complaint.help.or_else(|| help(chain[at]));
    complaint
}

/// An error whose words are `what; next step`, and its causes.
pub(crate) fn put(code: Code, error: &(dyn std::error::Error + 'static)) -> Complaint {
    let words = error.to_string();
    let mut complaint = match words.split_once("; ") {
        Some((what, step)) => complaint(code, what).help(step),
        None => complaint(code, words),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        complaint = complaint.note(cause.to_string());
        source = cause.source();
    }
    complaint
}

fn code(error: &(dyn std::error::Error + 'static)) -> Option<Code> {
    if let Some(error) = error.downcast_ref::<client::Error>() {
        return of_client(error);
    }
    if let Some(error) = error.downcast_ref::<node::Error>() {
        return of_node(error);
    }
    if let Some(error) = error.downcast_ref::<client::memory::Error>() {
        return memory::of_memory(error);
    }
    if let Some(error) = error.downcast_ref::<telefork::Error>() {
        return Some(moving::of_telefork(error));
    }
    error.downcast_ref::<transport::Error>().map(of_transport)
}

fn of_client(error: &client::Error) -> Option<Code> {
    use client::Error;
    Some(match error {
        Error::Address { .. } => &codes::E0101,
        Error::Unreachable { .. } => &codes::E0201,
        Error::LocalNode { .. } => &codes::E0202,
        Error::NoBinary => &codes::E0203,
        Error::Kernel { .. } => &codes::E0204,
        Error::Worker { .. } => &codes::E0206,
        Error::Join { .. } => &codes::E0301,
        Error::NoCredentials { .. } => &codes::E0302,
        // What the transport says is more to the point.
        Error::Credentials { .. } => return None,
        Error::File { .. } => &codes::E0401,
    })
}

fn of_node(error: &node::Error) -> Option<Code> {
    use node::Error;
    Some(match error {
        Error::Listen { .. }
        | Error::Http { .. }
        | Error::ListenV1 { .. }
        | Error::NetMem { .. } => &codes::E0211,
        Error::Data { .. } | Error::Closed { .. } => &codes::E0212,
        Error::Kernel { .. } | Error::Sys { .. } => &codes::E0213,
        Error::Transport { .. } => return None,
        Error::Strict { .. } => &codes::E0218,
        Error::NoCredentials => &codes::E0302,
        Error::Resolve { .. } => &codes::E0101,
    })
}

fn of_transport(error: &transport::Error) -> Code {
    use transport::Error;
    match error {
        Error::Unreachable { .. } | Error::Broken { .. } | Error::Truncated { .. } => &codes::E0201,
        Error::Closed { .. } | Error::PeerGarbled { .. } => &codes::E0205,
        Error::TokenUnknown | Error::TokenExpired => &codes::E0301,
        Error::NoAuthority { .. } => &codes::E0303,
        Error::PeerNotTrusted { .. }
        | Error::RefusedByPeer { .. }
        | Error::PeerUnnamed { .. }
        | Error::OtherAuthority { .. } => &codes::E0304,
        Error::LooseMode { .. }
        | Error::SymbolicLink { .. }
        | Error::WrongKind { .. }
        | Error::ForeignOwner { .. } => &codes::E0305,
        Error::Damaged { .. } => &codes::E0306,
        Error::BadName { .. } | Error::BadRole { .. } | Error::BadToken { .. } => &codes::E0102,
        Error::TooManyTokens { .. } | Error::BadRequest { .. } => &codes::E0307,
        Error::File { .. } | Error::Certificate { .. } | Error::Tls { .. } => &codes::E0308,
    }
}

/// The next step of those that do not say it themselves.
fn help(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    use client::Error;
    if error.is::<telefork::Error>() {
        let step = "ask as the owner of the process, or as root, if the kernel refused; `farcall doctor` says what this host allows";
        return Some(step.to_owned());
    }
    let step = match error.downcast_ref::<client::Error>()? {
        Error::Join { .. } => "print a new token with `farcall auth token` there",
        Error::NoCredentials { .. } => {
            "get some with `farcall auth join ADDR --token T`; the token comes from \
             `farcall auth token` on a node"
        }
        Error::LocalNode { .. } => "start one by hand with `farcall node` to see more",
        Error::File { .. } => "check the path",
        Error::Address { .. } => "write an address that `getent hosts` can find",
        Error::Worker { .. }
        | Error::Unreachable { .. }
        | Error::NoBinary
        | Error::Kernel { .. }
        | Error::Credentials { .. } => return None,
    };
    Some(step.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_the_next_step() {
        let own =
            complaint(&codes::E0101, "`x` is no line").note("it is a dot").help("draw a line");
        assert_eq!(
            describe(&own.into()),
            "error[E0101]: `x` is no line\n  note: it is a dot\n  help: draw a line\n  \
             more: farcall explain E0101\n"
        );
        let source = transport::Error::TokenExpired;
        let wrapped = client::Error::Credentials { source };
        assert_eq!(
            describe(&wrapped.into()),
            "error[E0301]: this token has expired\n  \
             help: print a new one with `farcall auth token`\n  \
             more: farcall explain E0301\n"
        );
    }

    #[test]
    fn words_of_another_host_are_one_tame_line() {
        let error = client::Error::Unreachable { attempts: "a (\u{1b}[2J\nno)".to_owned() };
        let text = describe(&error.into());
        assert!(text.contains("  note: a (·[2J no)\n"), "{text}");
    }
}
