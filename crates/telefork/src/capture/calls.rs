//! Questions that a process asks the kernel for us, and where it puts the answers.

use std::io;

use sys::process_memory;
use sys::ptrace::{Call, Remote};

use crate::Error;

/// Calls that are made in one go. Where an answer is written to memory, that is the scratch of the process.
#[derive(Debug)]
pub(super) struct Questions {
    calls: Vec<Call>,
    /// Of the answers: the first address, and bytes.
    start: u64,
    len: usize,
    room: usize,
}

/// One that was put: its number, and where its answer lies, from the first address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    number: usize,
    at: usize,
    len: usize,
}

/// An argument of a question.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument {
    Number(u64),
    /// The address at which the kernel is to put its answer.
    Answer,
}

#[derive(Debug)]
pub(super) struct Answers {
    results: Vec<io::Result<u64>>,
    bytes: Vec<u8>,
}

impl From<u64> for Argument {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl Questions {
    pub(super) fn for_process(remote: &Remote<'_>) -> Self {
        let scratch = remote.scratch();
        let room = (scratch.end - scratch.start) as usize;
        Self { calls: Vec::new(), start: scratch.start, len: 0, room }
    }

    /// Puts a question whose answer has so many bytes beside its result.
    pub(super) fn put(&mut self, number: i64, arguments: &[Argument], len: usize) -> Question {
        let mut args = [0; 6];
        for (arg, argument) in args.iter_mut().zip(arguments) {
            *arg = match argument {
                Argument::Number(number) => *number,
                Argument::Answer => self.start + self.len as u64,
            };
        }
        let question = Question { number: self.calls.len(), at: self.len, len };
        self.calls.push(Call { number, args });
        self.len += len.next_multiple_of(8);
        assert!(self.len <= self.room, "more is asked than there is room for answers");
        question
    }

    pub(super) fn ask(self, remote: &mut Remote<'_>) -> Result<Answers, Error> {
        let results = remote.run(&self.calls)?;
        let mut bytes = vec![0; self.len];
        process_memory::read(remote.pid(), self.start, &mut bytes)?;
        Ok(Answers { results, bytes })
    }
}

impl Answers {
    /// What the call returned; `None` where the kernel does not know it or may not say.
    pub(super) fn result(&self, question: Question) -> Option<u64> {
        self.results.get(question.number)?.as_ref().ok().copied()
    }

    /// What the kernel wrote, if it did.
    pub(super) fn bytes(&self, question: Question) -> Option<&[u8]> {
        self.result(question)?;
        self.bytes.get(question.at..question.at + question.len)
    }

    /// The same as words of 64 bits; an answer that there is not is of zeros.
    pub(super) fn words<const N: usize>(&self, question: Question) -> [u64; N] {
        let mut words = [0; N];
        let bytes = self.bytes(question).unwrap_or_default();
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*chunk);
        }
        words
    }
}
