//! What `/proc` tells of a process, field by field. Names inside it are the process's own choice: nothing here
//! panics, and what it cannot read it names.

use std::fs;
use std::path::PathBuf;

use sys::Pid;

use crate::Error;

/// The text of one file of a process.
#[derive(Debug)]
pub(super) struct Told {
    file: String,
    text: String,
}

impl Told {
    pub(super) fn read(of: Pid, name: &str) -> Result<Self, Error> {
        let file = format!("/proc/{of}/{name}");
        let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
        Ok(Self { file, text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What follows a label at the beginning of a line.
    pub(super) fn line(&self, label: &'static str) -> Result<&str, Error> {
        let found = self.text.lines().find_map(|line| line.strip_prefix(label));
        found.map(str::trim).ok_or_else(|| self.missing(label))
    }

    /// All numbers of such a line.
    pub(super) fn numbers(&self, label: &'static str, radix: u32) -> Result<Vec<u64>, Error> {
        let words = self.line(label)?.split_ascii_whitespace();
        let numbers = words.map(|word| u64::from_str_radix(word, radix).ok()).collect();
        Option::ok_or_else(numbers, || self.missing(label))
    }

    /// The number of such a line.
    pub(super) fn number(&self, label: &'static str, radix: u32) -> Result<u64, Error> {
        self.numbers(label, radix)?.first().copied().ok_or_else(|| self.missing(label))
    }

    pub(super) fn missing(&self, field: &'static str) -> Error {
        Error::text(self.file.clone(), field)
    }
}

/// The fields of `stat`, by the numbers that proc(5) gives them, from 3 on.
#[derive(Debug)]
pub(super) struct Stat {
    file: String,
    fields: Vec<String>,
}

impl Stat {
    pub(super) fn read(of: Pid) -> Result<Self, Error> {
        let told = Told::read(of, "stat")?;
        // The name before it may hold anything, also a parenthesis.
        let after = told.text.rsplit_once(')').ok_or_else(|| told.missing("a name"))?.1;
        let fields = after.split_ascii_whitespace().map(str::to_owned).collect();
        Ok(Self { file: told.file, fields })
    }

    pub(super) fn field<T: std::str::FromStr>(
        &self,
        number: usize,
        name: &'static str,
    ) -> Result<T, Error> {
        let field = number.checked_sub(3).and_then(|at| self.fields.get(at)?.parse().ok());
        field.ok_or_else(|| Error::text(self.file.clone(), name))
    }
}

/// Where a link of a process points.
pub(super) fn link(of: Pid, name: &str) -> Result<PathBuf, Error> {
    let path = format!("/proc/{of}/{name}");
    fs::read_link(&path).map_err(Error::file("read the link", path))
}
