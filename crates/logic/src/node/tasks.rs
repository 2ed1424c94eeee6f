//! A node's part of a task's way: inputs that come before or after their task, and results.

use std::collections::{BTreeMap, HashMap};

use wire::Message;
use wire::blob::Put;
use wire::limits::{CREDITS_MAX, PAYLOAD_MAX, PROGRAM_NAME_MAX};
use wire::name::TaskName;
use wire::task::{Define, Done, DoneHead, Input, Output, Run, RunHead};
use wire::units::{Span, Time};

use super::{Effect, Node, streams};
use crate::slots::{self, Finished};
use crate::{BufferId, LinkId, Payload, WorkerId};

/// What control says of a channel and what bulk brought for it; whichever comes first waits here.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    halves: BTreeMap<(LinkId, u64), Half>,
    counts: HashMap<LinkId, u32>,
}

#[derive(Debug)]
enum Half {
    /// With the length of its input, and when it came.
    Task(RunHead, u64, Time),
    Blob(Put),
    Bytes {
        buffer: BufferId,
        length: u64,
    },
    /// The task was cancelled or given back; its bytes still come, and are dropped.
    Unwanted,
}

impl Half {
    fn buffer(&self) -> Option<BufferId> {
        match self {
            Self::Bytes { buffer, .. } => Some(*buffer),
            Self::Task(..) | Self::Blob(_) | Self::Unwanted => None,
        }
    }
}

impl Arrivals {
    /// Keeps one half, or leaves both for `take` if the other one is here.
    fn add(&mut self, link: LinkId, channel: u64, half: Half) -> Result<(), String> {
        let count = self.counts.entry(link).or_default();
        if *count > CREDITS_MAX * 2 {
            return Err("more announced payloads than credits".to_owned());
        }
        *count += 1;
        if self.halves.insert((link, channel), half).is_some() {
            return Err(format!("channel {channel} was used twice"));
        }
        Ok(())
    }

    fn remove(&mut self, link: LinkId, channel: u64) -> Option<Half> {
        let half = self.halves.remove(&(link, channel))?;
        if let Some(count) = self.counts.get_mut(&link) {
            *count -= 1;
        }
        Some(half)
    }

    /// The tasks of this name that wait for their bytes: whose they are, and since when.
    pub(super) fn find(&self, name: TaskName) -> impl Iterator<Item = (LinkId, Time)> {
        self.halves.iter().filter_map(move |((link, _), half)| match half {
            Half::Task(head, _, came) if head.name == name => Some((*link, *came)),
            Half::Task(..) | Half::Blob(_) | Half::Bytes { .. } | Half::Unwanted => None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.halves.len()
    }

    /// Whether a task was waiting here for its bytes; they are dropped when they arrive.
    pub(super) fn cancel(&mut self, link: LinkId, channel: u64) -> bool {
        match self.halves.get_mut(&(link, channel)) {
            Some(half @ Half::Task(..)) => {
                *half = Half::Unwanted;
                true
            }
            Some(Half::Blob(_) | Half::Bytes { .. } | Half::Unwanted) | None => false,
        }
    }

    /// Gives back at most so many tasks that wait for their bytes.
    pub(super) fn take_back(&mut self, link: LinkId, count: usize) -> Vec<u64> {
        let of_link = self.halves.range_mut((link, 0)..=(link, u64::MAX));
        let tasks = of_link.filter(|(_, half)| matches!(half, Half::Task(..)));
        let take = |((_, channel), half): (&(LinkId, u64), &mut Half)| {
            *half = Half::Unwanted;
            *channel
        };
        tasks.take(count).map(take).collect()
    }

    /// The link is down: buffers to release.
    pub(super) fn forget(&mut self, link: LinkId) -> Vec<BufferId> {
        self.counts.remove(&link);
        let gone = self.halves.extract_if((link, 0)..=(link, u64::MAX), |_, _| true);
        gone.filter_map(|(_, half)| half.buffer()).collect()
    }
}

impl Node {
    pub(super) fn define(&mut self, now: Time, link: LinkId, define: Define) {
        let Define { number, program, memory } = define;
        let next = self.slots.next_program(link);
        if number != next {
            let reason = format!("program {number} was defined where {next} is next");
            return self.breach(now, link, reason);
        }
        let length = program.name().len();
        if length > PROGRAM_NAME_MAX {
            let reason = format!("a program's name of {length} bytes; at most {PROGRAM_NAME_MAX}");
            return self.breach(now, link, reason);
        }
        if let Err(breach) = self.slots.define(link, program, memory) {
            self.breach(now, link, breach.to_string());
        }
    }

    pub(super) fn run(&mut self, now: Time, link: LinkId, channel: u64, run: Run) {
        let taken = match run.head.input {
            Input::Inline => {
                let input = Payload::Inline(run.inline);
                let taken = self.slots.run(now, link, channel, run.head, input, Span(0));
                taken.map_err(|breach| breach.to_string())
            }
            Input::Bulk(length) if length > PAYLOAD_MAX => {
                Err(format!("an input of {length} bytes; at most {PAYLOAD_MAX} are taken"))
            }
            Input::Bulk(length) => match self.arrivals.remove(link, channel) {
                Some(Half::Bytes { buffer, length: got }) if got == length => {
                    let input = Payload::Buffer { buffer, length };
                    let taken = self.slots.run(now, link, channel, run.head, input, Span(0));
                    taken.map_err(|breach| breach.to_string())
                }
                Some(other) => Err(self.mismatch(channel, &other)),
                None => self.arrivals.add(link, channel, Half::Task(run.head, length, now)),
            },
            Input::Stream => {
                self.streams.open(link, channel);
                let input = Payload::Stream;
                let taken = self.slots.run(now, link, channel, run.head, input, Span(0));
                taken.map_err(|breach| breach.to_string())
            }
        };
        if let Err(reason) = taken {
            self.breach(now, link, reason);
        }
    }

    /// A whole payload came over a bulk connection.
    pub(super) fn payload(
        &mut self,
        now: Time,
        link: LinkId,
        channel: u64,
        buffer: BufferId,
        length: u64,
    ) {
        if self.owner(link).is_none() {
            return self.release(buffer);
        }
        let bytes = Payload::Buffer { buffer, length };
        let taken = match self.arrivals.remove(link, channel) {
            None => {
                let added = self.arrivals.add(link, channel, Half::Bytes { buffer, length });
                added.inspect_err(|_| self.release(buffer))
            }
            Some(Half::Task(head, want, came)) if want == length => {
                let transfer = now.since(came);
                let taken = self.slots.run(now, link, channel, head, bytes, transfer);
                taken.map_err(|breach| breach.to_string())
            }
            Some(Half::Blob(put)) if put.length == length => {
                let hash = put.hash;
                self.effects.push_back(Effect::StoreBlob { link, channel, hash, bytes });
                Ok(())
            }
            Some(Half::Unwanted) => {
                self.release(buffer);
                Ok(())
            }
            Some(other) => {
                self.release(buffer);
                Err(self.mismatch(channel, &other))
            }
        };
        if let Err(reason) = taken {
            self.breach(now, link, reason);
        }
    }

    /// The two halves of a channel do not fit.
    fn mismatch(&mut self, channel: u64, half: &Half) -> String {
        if let Some(buffer) = half.buffer() {
            self.release(buffer);
        }
        format!("channel {channel}: its payload is not as announced")
    }

    fn release(&mut self, buffer: BufferId) {
        self.effects.push_back(Effect::Worker(slots::Effect::Release { buffer }));
    }

    /// A blob was announced whose bytes come, or came, over a bulk connection.
    pub(super) fn put_bulk(&mut self, now: Time, link: LinkId, channel: u64, put: Put) {
        let taken = match self.arrivals.remove(link, channel) {
            None => self.arrivals.add(link, channel, Half::Blob(put)),
            Some(Half::Bytes { buffer, length }) if length == put.length => {
                let (hash, bytes) = (put.hash, Payload::Buffer { buffer, length });
                self.effects.push_back(Effect::StoreBlob { link, channel, hash, bytes });
                Ok(())
            }
            Some(other) => Err(self.mismatch(channel, &other)),
        };
        if let Err(reason) = taken {
            self.breach(now, link, reason);
        }
    }

    /// Turns what `slots` decided into messages and work for the driver.
    pub(super) fn drain_slots(&mut self, now: Time) {
        while let Some(effect) = self.slots.poll_effect() {
            match effect {
                slots::Effect::Done { link, channel, finished, .. }
                    if self.controllers.has(link) =>
                {
                    self.controllers.done(link, channel, finished);
                }
                slots::Effect::Credit { link, limit } if self.controllers.has(link) => {
                    self.controllers.credit(link, limit);
                }
                slots::Effect::Bound { link, bound, result } => {
                    self.controllers.bound(link, bound, result);
                }
                slots::Effect::Unbound { link, bound } => self.controllers.unbound(link, bound),
                slots::Effect::Done { link, channel, name, attempt, mut finished } => {
                    let began = Time(finished.times.began.0);
                    finished.times.began = began.since(self.since);
                    let spent = (finished.ran, finished.times);
                    // One without a name is a job of a controller that has gone meanwhile.
                    if name != TaskName::default() {
                        self.history.ended(now, link, name, attempt, &finished.status, spent);
                    }
                    self.send_done(link, channel, finished);
                }
                slots::Effect::Credit { link, limit } => {
                    self.send(link, 0, Message::Credit(wire::task::Credit { limit }));
                }
                slots::Effect::Execute { worker, sequence, link, channel, ref input, .. } => {
                    let is_stream = *input == Payload::Stream;
                    self.effects.push_back(Effect::Worker(effect));
                    if is_stream {
                        for message in self.streams.begin(link, channel, worker, sequence) {
                            self.effects.push_back(Effect::ToWorker { worker, sequence, message });
                        }
                    }
                }
                other => self.effects.push_back(Effect::Worker(other)),
            }
        }
    }

    /// A piece of a stream, its end or its window, from a client.
    pub(super) fn stream(&mut self, now: Time, link: LinkId, channel: u64, message: Message) {
        match self.streams.client_says(link, channel, &message) {
            Ok(Some((worker, sequence))) => {
                self.effects.push_back(Effect::ToWorker { worker, sequence, message });
            }
            Ok(None) => {}
            Err(streams::Overrun) => {
                self.breach(now, link, format!("channel {channel}: a stream beyond its window"));
            }
        }
    }

    /// The same from a worker.
    pub(super) fn worker_stream(&mut self, worker: WorkerId, sequence: u64, message: Message) {
        match self.streams.worker_says(worker, sequence, &message) {
            Ok(Some((link, channel))) => self.send(link, channel, message),
            Ok(None) => {}
            Err(streams::Overrun) => self.slots.misbehaved(worker),
        }
    }

    pub(super) fn send_done(&mut self, link: LinkId, channel: u64, finished: Finished) {
        let Finished { status, ran, output, times } = finished;
        self.streams.close(link, channel);
        let (output, inline) = match output {
            Payload::Inline(bytes) => (Output::Inline, bytes),
            Payload::Buffer { buffer, length } => {
                self.effects.push_back(Effect::SendPayload { link, channel, buffer, length });
                (Output::Bulk(length), bytes::Bytes::new())
            }
            Payload::Stream => (Output::Stream, bytes::Bytes::new()),
        };
        let head = DoneHead { status, ran, output, times };
        self.send(link, channel, Message::Done(Done { head, inline }));
    }
}
