//! The program that is moved, and processes of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use sys::Pid;
use sys::process::{Child, Spawn};

use crate::error::Error;
use crate::folder::Folder;
use crate::ours::ours;

/// `subject.c`, compiled.
pub(super) struct Program {
    path: PathBuf,
    _folder: Folder,
}

/// A process of it, by what it says.
pub(super) struct Subject {
    child: Child,
    said: Lines,
}

/// Lines of a word and numbers.
pub(super) struct Lines(BufReader<File>);

impl Program {
    pub(super) fn compile() -> Result<Self, Error> {
        let failed = |why: String| Error::Absent { what: "a process that moves", why };
        let folder = Folder::new().map_err(Error::kernel("make a folder"))?;
        let path = folder.path().join("subject");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-x", "c", "-o"]).arg(&path).arg("-").stdin(Stdio::piped());
        let mut cc = cc.spawn().map_err(|error| failed(format!("cc: {error}")))?;
        if let Some(mut source) = cc.stdin.take() {
            let text = include_bytes!("subject.c");
            source.write_all(text).map_err(Error::kernel("give a program to the compiler"))?;
        }
        match cc.wait() {
            Ok(status) if status.success() => Ok(Self { path, _folder: folder }),
            Ok(status) => Err(failed(format!("cc ended with {status}"))),
            Err(error) => Err(failed(format!("cc: {error}"))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it, and waits until it has its memory.
    pub(super) fn start(&self, args: &[&str]) -> Result<Subject, Error> {
        self.start_with(args, Vec::new())
    }

    /// The same with descriptors under some numbers.
    pub(super) fn start_with(
        &self,
        args: &[&str],
        mut descriptors: Vec<(OwnedFd, i32)>,
    ) -> Result<Subject, Error> {
        let (said, output) = pipe()?;
        descriptors.push((output, 1));
        let args = args.iter().map(Into::into).collect();
        let spawn = Spawn { args, descriptors, ..Spawn::new(&self.path) };
        let child = spawn.start().map_err(ours("start a process"))?;
        let mut subject = Subject { child, said };
        let [] = subject.said("ready")?;
        Ok(subject)
    }

    /// Has the host give the machine so many MiB: memory that nobody touched for seconds is slow at first.
    pub(super) fn warm(&self, mib: u64) -> Result<(), Error> {
        let mut warm = Command::new(&self.path);
        let status = warm.args(["warm", &mib.to_string()]).status();
        status.map(drop).map_err(Error::kernel("touch memory"))
    }
}

impl Subject {
    pub(super) const STILL: Signal = Signal::SIGUSR1;
    pub(super) const FORK: Signal = Signal::SIGUSR2;

    pub(super) fn pid(&self) -> Pid {
        self.child.pid()
    }

    pub(super) fn ask(&self, what: Signal) -> Result<(), Error> {
        let asked = kill(nix::unistd::Pid::from_raw(self.pid().0), what);
        asked.map_err(|error| Error::kernel("ask a process")(error.into()))
    }

    pub(super) fn said<const N: usize>(&mut self, word: &'static str) -> Result<[i64; N], Error> {
        self.said.said(word)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It has ended, or is ended: there is nothing else that could be done.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    /// The numbers behind this word, which is what must come next.
    pub(super) fn said<const N: usize>(&mut self, word: &'static str) -> Result<[i64; N], Error> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(Error::kernel("hear a process"))?;
        let numbers = line.trim().strip_prefix(word).and_then(|rest| {
            let numbers = rest.split_ascii_whitespace().map(|number| number.parse().ok());
            numbers.collect::<Option<Vec<i64>>>()?.try_into().ok()
        });
        numbers.ok_or(Error::Answer { who: "a process that moves", answer: line })
    }
}

/// What is written into one end is read at the other.
pub(super) fn pipe() -> Result<(Lines, OwnedFd), Error> {
    let (read, write) = std::io::pipe().map_err(Error::kernel("make a pipe"))?;
    Ok((Lines(BufReader::new(File::from(OwnedFd::from(read)))), write.into()))
}

/// The same the other way around: what is written here is what a process reads.
pub(super) fn pipe_in() -> Result<(File, OwnedFd), Error> {
    let (read, write) = std::io::pipe().map_err(Error::kernel("make a pipe"))?;
    Ok((File::from(OwnedFd::from(write)), read.into()))
}
