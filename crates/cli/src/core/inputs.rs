//! Where inputs come from: files, or the lines of one. They are read as tasks are sent, not before.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::codes;
use crate::errors::{Complaint, complaint, file};

/// An iterator over inputs. One that cannot be read ends it, and leaves word in `trouble`.
pub(crate) struct Inputs {
    source: Source,
    count: Option<u64>,
    trouble: Trouble,
}

enum Source {
    Files {
        files: Rc<[PathBuf]>,
        next: usize,
    },
    Lines {
        from: Box<dyn BufRead>,
        name: PathBuf,
    },
    /// Some lines of a file, by their numbers from 1 in rising order.
    Chosen {
        from: Box<dyn BufRead>,
        name: PathBuf,
        lines: Rc<[u64]>,
        next: usize,
        read: u64,
    },
    /// Lines that were kept, each in a file of its own.
    Kept {
        files: Vec<PathBuf>,
        lines: Rc<[u64]>,
        next: usize,
    },
}

/// Why the inputs ended early.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Rc<RefCell<Option<Complaint>>>);

impl Trouble {
    pub(crate) fn take(&self) -> Option<Complaint> {
        self.0.take()
    }
}

/// What inputs are called.
pub(crate) enum Names {
    Files(Rc<[PathBuf]>),
    Lines,
    /// Some lines, by their numbers.
    Numbers(Rc<[u64]>),
}

impl Names {
    /// The file, or the line's number, which starts at 1.
    pub(crate) fn of(&self, index: u64) -> String {
        match self {
            Self::Files(files) => files[index as usize].display().to_string(),
            Self::Lines => (index + 1).to_string(),
            Self::Numbers(lines) => lines[index as usize].to_string(),
        }
    }

    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Files(_) => "file",
            Self::Lines | Self::Numbers(_) => "line",
        }
    }
}

impl Inputs {
    /// Each file is an input. All must be there.
    pub(crate) fn files(files: Vec<PathBuf>) -> Result<Self, Complaint> {
        for path in &files {
            // Not opened yet: a pipe can be read once.
            let kind = std::fs::metadata(path).map_err(|error| file("read", path, &error))?;
            if kind.is_dir() {
                return Err(complaint(&codes::E0103, format!("{} is a folder", path.display()))
                    .help(format!("name the files in it, as {}/*", path.display())));
            }
        }
        let count = Some(files.len() as u64);
        let source = Source::Files { files: files.into(), next: 0 };
        Ok(Self { source, count, trouble: Trouble::default() })
    }

    /// Each line of a file is an input, without the newline; `-` is standard input.
    pub(crate) fn lines(path: &Path) -> Result<Self, Complaint> {
        let name = path.to_owned();
        let (from, count): (Box<dyn BufRead>, _) = if path == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), None)
        } else {
            let open = || {
                let opened = File::open(path)?;
                // Only a regular file can be read twice.
                let count = opened.metadata()?.is_file().then(|| count_lines(path)).transpose()?;
                io::Result::Ok((opened, count))
            };
            let (opened, count) = open().map_err(|error| file("read", path, &error))?;
            (Box::new(BufReader::new(opened)), count)
        };
        let source = Source::Lines { from, name };
        Ok(Self { source, count, trouble: Trouble::default() })
    }

    /// Some lines of a file, by their numbers from 1 in rising order.
    pub(crate) fn chosen(path: &Path, lines: Vec<u64>) -> Result<Self, Complaint> {
        let opened = File::open(path).map_err(|error| file("read", path, &error))?;
        let (from, name) = (Box::new(BufReader::new(opened)), path.to_owned());
        let count = Some(lines.len() as u64);
        let source = Source::Chosen { from, name, lines: lines.into(), next: 0, read: 0 };
        Ok(Self { source, count, trouble: Trouble::default() })
    }

    /// Lines that were kept, each in a file of its own.
    pub(crate) fn kept(files: Vec<PathBuf>, lines: Vec<u64>) -> Self {
        let count = Some(lines.len() as u64);
        let source = Source::Kept { files, lines: lines.into(), next: 0 };
        Self { source, count, trouble: Trouble::default() }
    }

    /// How many there are, if that can be known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.count
    }

    /// One file, whose result is its bytes and nothing else.
    pub(crate) fn is_single(&self) -> bool {
        matches!(&self.source, Source::Files { files, .. } if files.len() == 1)
    }

    pub(crate) fn names(&self) -> Names {
        match &self.source {
            Source::Files { files, .. } => Names::Files(files.clone()),
            Source::Lines { .. } => Names::Lines,
            Source::Chosen { lines, .. } | Source::Kept { lines, .. } => {
                Names::Numbers(lines.clone())
            }
        }
    }

    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }
}

impl Iterator for Inputs {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let (read, path) = match &mut self.source {
            Source::Files { files, next } => {
                let path = files.get(*next)?;
                *next += 1;
                (std::fs::read(path).map(Some), path)
            }
            Source::Lines { from, name } => (read_line(from), &*name),
            Source::Chosen { from, name, lines, next, read } => {
                let wanted = *lines.get(*next)?;
                *next += 1;
                (read_to_line(from, wanted, read), &*name)
            }
            Source::Kept { files, next, .. } => {
                let path = files.get(*next)?;
                *next += 1;
                (std::fs::read(path).map(Some), path)
            }
        };
        match read {
            Ok(input) => input,
            Err(error) => {
                self.trouble.0.replace(Some(file("read", path, &error)));
                None
            }
        }
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(Some(line))
}

/// The line of this number, when so many were read before.
fn read_to_line(
    from: &mut impl BufRead,
    wanted: u64,
    read: &mut u64,
) -> io::Result<Option<Vec<u8>>> {
    while let Some(line) = read_line(from)? {
        *read += 1;
        if *read == wanted {
            return Ok(Some(line));
        }
    }
    let what = format!("it has no line {wanted} any more");
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
}

fn count_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut lines, mut last) = (0, b'\n');
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines + u64::from(last != b'\n')),
            count => {
                lines += buffer[..count].iter().filter(|&&byte| byte == b'\n').count() as u64;
                last = buffer[count - 1];
            }
        }
    }
}
