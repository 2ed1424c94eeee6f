//! What becomes of results: files in a folder, or standard output in the order of the inputs.
//!
//! On standard output a result waits until all before it are there. Nothing is changed in it, apart
//! from the newline that parts it from the next one; only on a terminal it is made harmless.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use client::{Failure, Output, TaskName, Why};
use serde::Serialize;
use sys::files::{Purpose, open_in};

use super::inputs::{Inputs, Names};
use crate::codes;
use crate::errors::{Complaint, complaint, file, reason};
use crate::terminal::{json_line, tame};

pub(crate) enum Results {
    Folder(Box<Folder>),
    Stdout(Box<Ordered>),
}

/// A file for each input, named as it or by the number of its line.
pub(crate) struct Folder {
    path: PathBuf,
    /// The folder that was meant, whatever its name stands for later.
    folder: File,
    names: Names,
}

/// Standard output, in order.
pub(crate) struct Ordered {
    to: BufWriter<io::Stdout>,
    style: Style,
    /// Somebody reads along: nothing waits in the buffer.
    is_terminal: bool,
    next: u64,
    /// Those that came before their turn; nothing to print for some.
    early: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Exact,
    Lines,
    Json,
}

/// One task's end, for programs.
#[derive(Serialize)]
struct Line<'a> {
    /// Jobs of protocol v1 have no names.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    index: u64,
    input: &'a str,
    node: Option<&'a str>,
    attempt: u32,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    /// An output that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Reason>,
}

#[derive(Serialize)]
struct Reason {
    code: &'static str,
    kind: &'static str,
    text: String,
}

impl Results {
    /// A file for each input. Two inputs of one name cannot both have theirs.
    pub(crate) fn in_folder(folder: &Path, inputs: &Inputs) -> Result<Self, Complaint> {
        let names = inputs.names();
        if let Names::Files(files) = &names {
            let mut seen: HashMap<_, &PathBuf> = HashMap::new();
            for path in files.iter() {
                if let Some(other) = seen.insert(path.file_name(), path) {
                    let what = format!(
                        "{} and {} would have the same result file",
                        other.display(),
                        path.display()
                    );
                    return Err(complaint(&codes::E0104, what).help("run them with a folder each"));
                }
            }
        }
        std::fs::create_dir_all(folder).map_err(|error| file("make folder", folder, &error))?;
        let path = folder.to_owned();
        let folder = File::open(&path).map_err(|error| file("open folder", &path, &error))?;
        Ok(Self::Folder(Box::new(Folder { path, folder, names })))
    }

    pub(crate) fn on_stdout(json: bool, single: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let style = match (json, single) {
            (true, _) => Style::Json,
            (false, true) if !is_terminal => Style::Exact,
            (false, _) => Style::Lines,
        };
        let to = BufWriter::new(io::stdout());
        Self::Stdout(Box::new(Ordered { to, style, is_terminal, next: 0, early: BTreeMap::new() }))
    }

    /// Takes one result. `aside` keeps the progress bar away meanwhile. `false`: nobody reads any
    /// more.
    pub(crate) fn put(
        &mut self,
        index: u64,
        task: Option<TaskName>,
        name: &str,
        result: Result<Output, Failure>,
        aside: impl FnOnce(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
    ) -> Result<bool, Complaint> {
        match self {
            Self::Folder(folder) => {
                let Ok(output) = result else { return Ok(true) };
                folder.write(index, &output)?;
                Ok(true)
            }
            Self::Stdout(ordered) => ordered.put(index, task, name, result, aside),
        }
    }

    pub(crate) fn finish(self) -> Result<(), Complaint> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Stdout(mut ordered) => judge(ordered.to.flush()).map(|_| ()),
        }
    }
}

impl Folder {
    /// Not through a link that stands in the file's place, wherever that leads.
    fn write(&self, index: u64, output: &[u8]) -> Result<(), Complaint> {
        let input = match &self.names {
            Names::Files(files) => files[index as usize].file_name(),
            Names::Lines | Names::Numbers(_) => None,
        };
        let number = self.names.of(index);
        let name = input.unwrap_or(number.as_ref());
        let path = self.path.join(name);
        let opened = open_in(&self.folder, name, Purpose::Output).map_err(reason);
        let written = opened.and_then(|mut file| file.write_all(output));
        written.map_err(|error| file("write", &path, &error))
    }
}

impl Ordered {
    fn put(
        &mut self,
        index: u64,
        task: Option<TaskName>,
        name: &str,
        result: Result<Output, Failure>,
        aside: impl FnOnce(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
    ) -> Result<bool, Complaint> {
        let bytes = match (self.style, &result) {
            (Style::Json, result) => json(index, task, name, result),
            (_, Err(_)) => Vec::new(),
            (style, Ok(output)) => {
                let mut bytes = output.to_vec();
                if self.is_terminal {
                    // Somebody looks at it: what a program says shall not steer the terminal.
                    bytes = tame(&String::from_utf8_lossy(&bytes)).into_bytes();
                }
                if style == Style::Lines && bytes.last() != Some(&b'\n') {
                    bytes.push(b'\n');
                }
                bytes
            }
        };
        self.early.insert(index, bytes);
        if index != self.next {
            return Ok(true);
        }
        if self.is_terminal {
            return judge(aside(&mut || {
                self.print()?;
                self.to.flush()
            }));
        }
        judge(self.print())
    }

    /// Prints all whose turn it is.
    fn print(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.early.remove(&self.next) {
            self.next += 1;
            self.to.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// `Ok(false)`: the reader is gone.
fn judge(written: io::Result<()>) -> Result<bool, Complaint> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(file("write", Path::new("to standard output"), &error)),
    }
}

fn json(
    index: u64,
    task: Option<TaskName>,
    input: &str,
    result: &Result<Output, Failure>,
) -> Vec<u8> {
    let ms = |ran: std::time::Duration| (ran.as_secs_f64() * 1e6).round() / 1e3;
    let bytes: Option<&[u8]> = match result {
        Ok(output) => Some(output),
        Err(Failure { why: Why::ExitCode { output, .. }, .. }) => Some(output),
        Err(_) => None,
    };
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let output_base64 = if text.is_none() { bytes.map(base64) } else { None };
    let (node, attempt, ran, failure) = match result {
        Ok(output) => (Some(output.node()), output.attempt(), output.ran(), None),
        Err(failure) => {
            let (code, kind) = (codes::of_failure(&failure.why).code, failure.why.kind());
            let reason = Reason { code, kind, text: failure.why.to_string() };
            (failure.node.as_deref(), failure.attempt, failure.ran, Some(reason))
        }
    };
    let (task, ms, output) = (task.map(|task| task.to_string()), ms(ran), text);
    let line = Line { task, index, input, node, attempt, ms, output, output_base64, failure };
    json_line(&line).into_bytes()
}

/// With padding, as RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = word >> (18 - 6 * digit) & 63;
            let used = digit <= chunk.len();
            text.push(if used { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use client::{JobId, TaskName};

    use super::{Failure, Why, base64, json};

    #[test]
    fn a_line_of_json_steers_no_terminal_and_says_the_same() {
        let reason = "\u{1b}[2J \u{9b}2J \u{7f} \u{202e}".to_owned();
        let why = Why::Refused { reason: reason.clone() };
        let task = Some(TaskName { job: JobId(7), task: 1 });
        let failure = Failure { why, node: None, attempt: 1, ran: Duration::ZERO, task };
        let line = String::from_utf8(json(0, task, "in\u{9b}", &Err(failure))).unwrap();
        assert!(line.trim_end().chars().all(|letter| (' '..='~').contains(&letter)), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["input"], "in\u{9b}");
        assert!(line["failure"]["text"].as_str().unwrap().contains(&reason), "{line}");
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let check = |bytes: &[u8], text| assert_eq!(base64(bytes), text);
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"\xff\xfe\xfd\xfc", "//79/A==");
    }
}
