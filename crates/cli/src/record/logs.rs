//! What tasks wrote to their standard error, in a record: of each the first bytes as they come, and
//! the last ones when it has ended.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;

use client::Wrote;

use super::Batch;
use super::files::Piece;

/// Bytes of one task that are kept as they come.
const FIRST_MAX: u64 = 32 * 1024;
/// Bytes of one task that are kept besides: the last ones.
const LAST_MAX: usize = 32 * 1024;
/// Bytes of all tasks of a job.
const ALL_MAX: u64 = 64 << 20;
/// Tasks that run, and have written, at once. More than any client has under way at so many nodes.
const WRITERS_MAX: usize = 16 * 1024;
/// Tasks that have ended, of which a last piece may still come: it is read after their result.
const LATE_MAX: usize = 1024;

pub(super) struct Logs {
    batch: Batch,
    writers: HashMap<u64, Writer>,
    /// Those of them that have ended, the oldest first.
    late: VecDeque<u64>,
}

/// A task that has written something and has not ended.
struct Writer {
    attempt: u32,
    node: Option<String>,
    first: u64,
    last: VecDeque<u8>,
    skipped: u64,
}

impl Logs {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            batch: Batch::open(path, ALL_MAX)?,
            writers: HashMap::new(),
            late: VecDeque::new(),
        })
    }

    /// `false`: there is no more room.
    pub(super) fn wrote(&mut self, wrote: &Wrote) -> io::Result<bool> {
        let task = wrote.task.task;
        let node = wrote.node.as_ref().map(|node| node.to_string());
        if self.writers.len() >= WRITERS_MAX && !self.writers.contains_key(&task) {
            return Ok(false);
        }
        let new = || Writer {
            attempt: wrote.attempt,
            node: node.clone(),
            first: 0,
            last: VecDeque::new(),
            skipped: 0,
        };
        let before = self.writers.get(&task).map(|writer| writer.attempt);
        let another = before.is_some_and(|attempt| attempt != wrote.attempt);
        let was_room = !another || self.close(task)?;
        let writer = self.writers.entry(task).or_insert_with(new);
        writer.skipped += wrote.skipped;
        let room = usize::try_from(FIRST_MAX - writer.first).unwrap_or(usize::MAX);
        let (now, later) = wrote.bytes.split_at(wrote.bytes.len().min(room));
        writer.first += now.len() as u64;
        writer.last.extend(later);
        let surplus = writer.last.len().saturating_sub(LAST_MAX);
        writer.last.drain(..surplus);
        writer.skipped += surplus as u64;
        if now.is_empty() {
            return Ok(was_room);
        }
        let skipped = if later.is_empty() { std::mem::take(&mut writer.skipped) } else { 0 };
        let attempt = wrote.attempt;
        let piece = Piece { task, attempt, node, skipped, bytes: now.len() as u64 };
        Ok(self.put(&piece, now)? && was_room)
    }

    fn put(&mut self, piece: &Piece, bytes: &[u8]) -> io::Result<bool> {
        let mut text = serde_json::to_vec(piece).map_err(io::Error::other)?;
        text.push(b'\n');
        text.extend_from_slice(bytes);
        text.push(b'\n');
        self.batch.add(&text)
    }

    /// A task has ended: its last words are written. `false`: there is no more room.
    pub(super) fn ended(&mut self, task: u64) -> io::Result<bool> {
        if self.writers.is_empty() {
            return Ok(true);
        }
        let Some(writer) = self.writers.get_mut(&task) else { return Ok(true) };
        // What was waiting is written now, and the first bytes are not counted anew.
        let writer = Writer {
            last: std::mem::take(&mut writer.last),
            skipped: std::mem::take(&mut writer.skipped),
            node: writer.node.clone(),
            ..*writer
        };
        self.late.push_back(task);
        let oldest = if self.late.len() > LATE_MAX { self.late.pop_front() } else { None };
        let was_room = oldest.map_or(Ok(true), |oldest| self.close(oldest))?;
        Ok(self.put_last(task, writer)? && was_room)
    }

    /// Nothing more can come of this attempt.
    fn close(&mut self, task: u64) -> io::Result<bool> {
        let Some(writer) = self.writers.remove(&task) else { return Ok(true) };
        self.put_last(task, writer)
    }

    fn put_last(&mut self, task: u64, writer: Writer) -> io::Result<bool> {
        let Writer { attempt, node, mut last, skipped, .. } = writer;
        if last.is_empty() && skipped == 0 {
            return Ok(true);
        }
        let bytes = last.make_contiguous();
        let piece = Piece { task, attempt, node, skipped, bytes: bytes.len() as u64 };
        self.put(&piece, bytes)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.batch.flush()
    }

    /// The job is over. `false`: there was no room for all of it.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        let mut was_room = true;
        let open: Vec<u64> = self.writers.keys().copied().collect();
        for task in open {
            was_room &= self.close(task)?;
        }
        self.flush().map(|()| was_room)
    }
}

#[cfg(test)]
mod tests;
