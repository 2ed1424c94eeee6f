//! Words for people: whether a terminal listens, and what is safe to show on it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Somebody watches standard error, and it can redraw a line.
pub(crate) fn stderr_is_alive() -> bool {
    io::stderr().is_terminal() && redraws()
}

/// The same of standard output.
pub(crate) fn stdout_is_alive() -> bool {
    io::stdout().is_terminal() && redraws()
}

fn redraws() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// A stranger's words without what could steer a terminal: control characters become `·`, except
/// for the ends of lines.
pub(crate) fn tame(text: &str) -> String {
    let tame = |c: char| match c {
        '\n' => '\n',
        '\t' => ' ',
        c if steers(c) => '·',
        c => c,
    };
    text.chars().map(tame).collect()
}

/// Whether a terminal may do something else with it than show it; also turn the direction of writing.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line of JSON. JSON lets some of what steers terminals stand; here it is escaped, and what the
/// line says stays the same.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let mut line = String::new();
    for letter in serde_json::to_string(value).unwrap_or_default().chars() {
        if steers(letter) {
            let _ = write!(line, "\\u{:04x}", u32::from(letter));
        } else {
            line.push(letter);
        }
    }
    line.push('\n');
    line
}

/// The same on one line.
pub(crate) fn tame_line(text: &str) -> String {
    tame(text).replace('\n', " ")
}

/// Columns of a terminal that everybody has.
const COLUMNS: usize = 80;

/// The text in lines of at most 80 columns, each behind so many blanks. Words longer than that stay
/// whole.
pub(crate) fn indented(text: &str, blanks: usize) -> String {
    let margin = " ".repeat(blanks);
    let (mut all, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && blanks + line.chars().count() + 1 + word.chars().count() > COLUMNS {
            all += &format!("{margin}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if line.is_empty() { all } else { all + &format!("{margin}{line}\n") }
}

/// Writes to standard output. A reader that has gone away is no error: it has seen enough.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strangers_cannot_steer_the_terminal() {
        assert_eq!(tame("a\u{1b}[31mb\r\u{9b}c\n"), "a·[31mb··c\n");
        assert_eq!(tame("a\u{202e}b\u{2069}c"), "a·b·c");
        assert_eq!(tame("a\u{61c}b\u{200f}c"), "a·b·c");
        assert_eq!(tame_line("a\nb"), "a b");
    }

    #[test]
    fn a_line_of_json_steers_no_terminal_and_says_the_same() {
        let words = "\u{1b}[2J \u{9b}2J \u{7f} \u{61c} \u{202e} \n é";
        let line = json_line(&serde_json::json!({ "words": words, "\u{9b}": 1 }));
        assert!(
            line.trim_end().chars().all(|letter| letter == 'é' || (' '..='~').contains(&letter))
        );
        let same: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&same["words"], &same["\u{9b}"]), (&words.into(), &1.into()));
    }

    #[test]
    fn text_is_broken_at_80_columns() {
        let text = indented(&"word ".repeat(40), 4);
        assert!(text.lines().all(|line| line.len() <= 80 && line.starts_with("    word")));
        assert_eq!(text.split_whitespace().count(), 40);
        let long = "x".repeat(100);
        assert_eq!(indented(&format!("a {long} b"), 1), format!(" a\n {long}\n b\n"));
        assert_eq!(indented("", 4), "");
    }
}
