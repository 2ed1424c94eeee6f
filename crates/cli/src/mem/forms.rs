//! Bytes of pages as people and programs read and write them.
//!
//! | form | out | in |
//! |---|---|---|
//! | raw | the bytes and nothing else; what a pipe gets unless told otherwise | standard input, `--file` |
//! | hex | offset, bytes, letters, as `hexdump -C`; what a terminal gets | digits, blanks where one likes |
//! | text | up to the zeros at the end, without what steers terminals | `--text` |
//! | JSON | an object in one line, bytes as `hex` | the same object |

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::errors::{Complaint, complaint, file};
use crate::terminal::{steers, tame};

/// Bytes in a line of a dump.
const COLUMNS: usize = 16;

/// How bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Raw,
    Hex,
    Text,
    Json,
}

#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Shown {
    /// Print the bytes and nothing else [default, unless standard output is a terminal]
    #[arg(long)]
    raw: bool,
    /// Print offsets, bytes and letters, as `hexdump -C` does [default on a terminal]
    #[arg(long)]
    hex: bool,
    /// Print the bytes as text, without the zeros at the end; what steers terminals becomes `·`
    #[arg(long)]
    text: bool,
    /// Print one JSON object, with the bytes as hexadecimal digits in `hex`
    #[arg(long)]
    json: bool,
}

impl Shown {
    pub(crate) fn form(&self) -> Form {
        match (self.raw, self.hex, self.text, self.json) {
            (true, ..) => Form::Raw,
            (_, true, ..) => Form::Hex,
            (_, _, true, _) => Form::Text,
            (.., true) => Form::Json,
            _ if io::stdout().is_terminal() => Form::Hex,
            _ => Form::Raw,
        }
    }
}

/// Where the bytes of a page come from.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Source {
    /// The bytes are this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// The bytes in hexadecimal digits, blanks where you like; `-` reads them from standard input
    #[arg(long, value_name = "DIGITS", allow_hyphen_values = true)]
    hex: Option<String>,
    /// The bytes are those of this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A JSON object as `read --json` prints it, of which `hex` and `offset` count; `-` is standard
    /// input
    #[arg(long, value_name = "FILE")]
    from_json: Option<PathBuf>,
}

/// Bytes to be written, and where in the page, if they say so themselves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offset: Option<u32>,
}

/// A page, or a part of one, as JSON has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Object {
    #[serde(default)]
    pub(crate) page: u64,
    #[serde(default)]
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) offset: u32,
    #[serde(default)]
    pub(crate) length: usize,
    pub(crate) hex: String,
}

impl Source {
    /// Reads what there is, at most one byte more than fit into a page: then they do not.
    pub(crate) fn read(&self, max: usize) -> Result<Given, Complaint> {
        let plain = |bytes| Given { bytes, offset: None };
        if let Some(text) = &self.text {
            return Ok(plain(text.clone().into_bytes()));
        }
        if let Some(digits) = &self.hex {
            if digits != "-" {
                return of_hex(digits).map(plain);
            }
            return of_hex(&words(Path::new("-"), max)?).map(plain);
        }
        if let Some(path) = &self.from_json {
            return of_json(&words(path, max)?);
        }
        let path = self.file.as_deref().unwrap_or(Path::new("-"));
        contents(path, max + 1).map(plain)
    }
}

/// The text of a form that needs more letters than the page has bytes.
fn words(path: &Path, max: usize) -> Result<String, Complaint> {
    let bytes = contents(path, 4 * max + 4096)?;
    String::from_utf8(bytes).map_err(|_| unreadable("they are no text"))
}

fn contents(path: &Path, max: usize) -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(max as u64).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|opened| opened.take(max as u64).read_to_end(&mut bytes))
    };
    read.map_err(|error| file("read", path, &error))?;
    Ok(bytes)
}

fn unreadable(why: &str) -> Complaint {
    complaint(&codes::E0615, "the bytes cannot be read in this form")
        .note(why)
        .help("write two hexadecimal digits for each byte, like 00ff7a")
}

/// Two digits a byte; blanks and ends of lines may stand between bytes.
pub(crate) fn of_hex(text: &str) -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (at, letter) in text.char_indices() {
        let digit = match letter.to_digit(16) {
            Some(digit) => digit as u8,
            None if letter.is_ascii_whitespace() && high.is_none() => continue,
            None => {
                let what = if steers(letter) { '·' } else { letter };
                return Err(unreadable(&format!("`{what}` at {at} is no hexadecimal digit")));
            }
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err(unreadable("the last byte has one digit only")),
    }
}

fn of_json(text: &str) -> Result<Given, Complaint> {
    let object: Object =
        serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))?;
    Ok(Given { bytes: of_hex(&object.hex)?, offset: Some(object.offset) })
}

/// Digits alone.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Lines of offset, bytes and letters. Lines like the one before are left out, and a `*` says so.
pub(crate) fn dump(bytes: &[u8], first: u64) -> String {
    let mut text = String::new();
    let mut before: Option<&[u8]> = None;
    let mut starred = false;
    for (number, line) in bytes.chunks(COLUMNS).enumerate() {
        let is_last = (number + 1) * COLUMNS >= bytes.len();
        if before == Some(line) && !is_last {
            if !starred {
                text += "*\n";
            }
            starred = true;
            continue;
        }
        (before, starred) = (Some(line), false);
        let _ = write!(text, "{:08x} ", first + (number * COLUMNS) as u64);
        for column in 0..COLUMNS {
            if column % 8 == 0 {
                text.push(' ');
            }
            let _ = match line.get(column) {
                Some(byte) => write!(text, "{byte:02x} "),
                None => write!(text, "   "),
            };
        }
        text += " |";
        text.extend(line.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        }));
        text += "|\n";
    }
    text
}

/// Up to the zeros at the end, on lines of its own.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let mut text = tame(&String::from_utf8_lossy(&bytes[..end]));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Writes bytes as they are; false if nobody reads them any more.
pub(crate) fn put(bytes: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
