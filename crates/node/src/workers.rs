//! Worker processes: starting them, their sockets, their ends.
//!
//! Of each worker the node holds two pipes for frames, a socket for descriptors, a pidfd, the read
//! end of its standard error, and the progress page. Nothing that comes from a worker is believed:
//! it is decoded like a stranger's bytes, and a worker that talks nonsense is killed.

mod pads;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use logic::slots::{Class, Finished};
use logic::{BufferId, Exit, Payload, WorkerId};
use mio::unix::SourceFd;
use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Registry};
use sys::cgroup::Group;
use sys::namespace::Namespaces;
use sys::process::{Child, Spawn, Stderr};
use sys::shared::SharedBuffer;
use sys::socket::{pair, send_with_fds};
use transport::{Connection, READ_MAX, ReadOutcome, Watched};
use wire::Message;
use wire::limits::{CONTROL_BODY_MAX, PAYLOAD_MAX, STDERR_TAIL};
use wire::name::TaskName;
use wire::task::{Done, Input, Output, Run, RunHead, Status, Times};
use wire::units::{Span, Time};
use wire::worker::{self as protocol, Buffer, Ready, Setup, progress};

use crate::accounts::Accounts;
use crate::groups::Groups;
use crate::options::{Jail, WorkerCommand};
use crate::scratch::{self, Scratch};
use crate::source::Source;
use pads::Pads;

/// Memory that the kernel adds to a group's count in one step.
const PAGES_AT_ONCE: u64 = 1 << 20;
/// The most that a process without rights can make a pipe hold, as Linux is set up.
const PIPE_MAX: usize = 1 << 20;
/// Ancestors of a process that are looked at.
const GENERATIONS: usize = 64;

/// What a worker said.
pub(crate) enum Said {
    Ready(Result<(), String>),
    /// What its jail cannot do on this host.
    Gap(String),
    Done {
        sequence: u64,
        finished: Finished,
    },
    /// A piece of a stream, its end or its window.
    Stream {
        sequence: u64,
        message: Message,
    },
    /// It needs a buffer for a result of so many bytes.
    Needs(u64),
    /// It broke the protocol, or hung up: it is to be killed.
    Nonsense,
}

/// What is left of a worker that has ended.
pub(crate) struct Remains {
    pub(crate) said: Vec<Said>,
    pub(crate) exit: Exit,
    pub(crate) started: u64,
    pub(crate) stderr: String,
    /// What it had written and nobody had read.
    pub(crate) wrote: Vec<u8>,
    /// Buffers that were lent to it for results.
    pub(crate) buffers: Vec<BufferId>,
}

/// Why a worker was not started.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The host had too little of something, which may be over soon.
    ForNow(String),
    ForGood(String),
}

impl NotStarted {
    fn of(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut reason = format!("{what}: {error}");
        let mut is_short = false;
        let mut next = Some(error);
        while let Some(error) = next {
            is_short |= error.downcast_ref().is_some_and(sys::is_shortage);
            next = error.source();
            if let Some(cause) = next {
                reason += &format!(": {cause}");
            }
        }
        if is_short { Self::ForNow(reason) } else { Self::ForGood(reason) }
    }
}

pub(crate) struct Worker {
    child: Child,
    /// Limits it and what it starts, and ends them together.
    group: Option<Group>,
    /// Readable once its group was at its limit of memory.
    shortage: Option<OwnedFd>,
    jail: Jail,
    connection: Watched,
    descriptors: UnixStream,
    stderr: Receiver,
    stderr_tail: VecDeque<u8>,
    progress: SharedBuffer,
    scratch: PathBuf,
    pub(crate) class: Class,
    /// Buffers whose descriptor it has.
    knows: HashMap<BufferId, u64>,
    /// The buffers that the inputs of its tasks lie in, those of the first task first.
    inputs: VecDeque<Option<BufferId>>,
    /// It asked for a buffer and has not ended the task since.
    asked: bool,
    /// Results that have come: the next one's sequence number.
    finished: u64,
    /// Lent for results that have not come yet.
    lent: HashSet<BufferId>,
    /// It was told to end: that it hangs up is no breach.
    dismissed: bool,
}

/// The worker processes of a node, by the numbers that `slots` gives them.
pub(crate) struct Workers {
    command: WorkerCommand,
    jail: Jail,
    groups: Groups,
    accounts: Accounts,
    scratch: Scratch,
    table: HashMap<WorkerId, Worker>,
    pads: Pads,
    /// Whether the memory of a visitor can follow it.
    follows: Result<(), String>,
    /// Workers whose number has been given to another may still be about to end.
    started: u64,
}

impl Workers {
    pub(crate) fn new(
        command: WorkerCommand,
        jail: Jail,
        groups: Groups,
        scratch: Scratch,
    ) -> Self {
        let accounts = Accounts::take(scratch.folder());
        let (table, pads) = (HashMap::new(), Pads::new());
        let follows = pads::pages_follow(jail);
        Self { command, jail, groups, accounts, scratch, table, pads, follows, started: 0 }
    }

    pub(crate) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Worker> {
        self.table.get_mut(&worker)
    }

    pub(crate) fn ids(&self) -> Vec<WorkerId> {
        self.table.keys().copied().collect()
    }

    /// Tells the workers that know a buffer to forget it; returns which.
    pub(crate) fn that_forget(&mut self, buffer: BufferId) -> Vec<WorkerId> {
        let told = |(id, worker): (&WorkerId, &mut Worker)| worker.forget(buffer).then_some(*id);
        self.table.iter_mut().filter_map(told).collect()
    }

    /// Whether a process is a worker or a pad, or descends from one.
    pub(crate) fn has_started(&self, mut process: sys::Pid) -> bool {
        // One whose number cannot be told is in no namespace of ours or below: workers are.
        if process.0 <= 0 {
            return false;
        }
        for _ in 0..GENERATIONS {
            if self.known().contains(&process) {
                return true;
            }
            match sys::proc::kinship(process) {
                // What a dead worker has left, and is ours until it is ended.
                Ok(kin) if kin.parent == sys::Pid::own() => return true,
                Ok(kin) if kin.parent.0 > 1 => process = kin.parent,
                Ok(_) => return false,
                // It has ended, or one of its ancestors just has: who that was cannot be told any more, and a
                // worker's child could have another one go on with its connection.
                Err(_) => return true,
            }
        }
        // Nobody has so many ancestors without a reason.
        true
    }

    /// The processes that were started here.
    fn known(&self) -> Vec<sys::Pid> {
        let workers = self.table.values().map(|worker| worker.child.pid());
        workers.chain(self.pads.values().map(|pad| pad.child.pid())).collect()
    }

    /// Starts a process and sends it its program.
    pub(crate) fn start(
        &mut self,
        registry: &Registry,
        worker: WorkerId,
        class: Class,
        program: BorrowedFd<'_>,
    ) -> Result<(), NotStarted> {
        self.started += 1;
        let scratch = self.scratch.folder().join(self.started.to_string());
        let started = self.start_in(&scratch, registry, worker, class, program);
        if started.is_err() {
            // It may be tried again and again.
            self.scratch.remove(&scratch);
        }
        started
    }

    fn start_in(
        &mut self,
        scratch: &Path,
        registry: &Registry,
        worker: WorkerId,
        class: Class,
        program: BorrowedFd<'_>,
    ) -> Result<(), NotStarted> {
        let account = self.account(worker);
        let failed = NotStarted::of;
        scratch::make(scratch, account).map_err(|e| failed("cannot make a scratch folder", &e))?;

        let socket_error = |error: std::io::Error| failed("cannot make a worker's sockets", &error);
        let (to_worker, from_node) = pipe::new().map_err(socket_error)?;
        let (to_node, from_worker) = pipe::new().map_err(socket_error)?;
        let (near_descriptors, far_descriptors) = pair().map_err(socket_error)?;
        // A worker that does not take its descriptors must not make the node wait.
        near_descriptors.set_nonblocking(true).map_err(socket_error)?;
        let (far_stderr, stderr) = pipe::new().map_err(socket_error)?;
        let size = NonZeroUsize::new(progress::SIZE).unwrap_or(NonZeroUsize::MIN);
        let shared = SharedBuffer::create("farcall-progress", size);
        let shared = shared.map_err(|e| failed("cannot make a progress page", &e))?;

        // The worker's ends wait, like any program's: a full pipe is no error to it.
        from_node.set_nonblocking(false).map_err(socket_error)?;
        to_node.set_nonblocking(false).map_err(socket_error)?;
        far_stderr.set_nonblocking(false).map_err(socket_error)?;
        let mut spawn = Spawn::new(&self.command.program);
        spawn.args.clone_from(&self.command.args);
        let home = match self.jail {
            Jail::None | Jail::User => scratch,
            Jail::Strict => std::path::Path::new(worker::jail::policy::SCRATCH),
        };
        spawn.env = worker::jail::environment(home, self.command.environment.clone());
        spawn.namespaces = (self.jail == Jail::Strict).then(Namespaces::for_own_user);
        spawn.descriptors =
            vec![(from_node.into(), 3), (to_node.into(), 4), (far_descriptors.into(), 5)];
        spawn.stderr = Stderr::To(OwnedFd::from(far_stderr));
        let connection = Connection::pipes(from_worker, to_worker);
        let token = Source::Worker(worker.0).token();
        let connection = Watched::new(connection, registry, token).map_err(socket_error)?;
        let group = self.groups.make(self.started, class.memory);
        let group = group.map_err(|e| failed("cannot make a worker's control group", &e))?;
        let begun = Self::spawn(spawn, group.as_ref(), class.memory);
        let (child, shortage) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                group.into_iter().for_each(|group| self.groups.let_go(group));
                return Err(failed("cannot start a worker", &error));
            }
        };

        let mut started = Worker {
            child,
            group,
            shortage,
            jail: self.jail,
            connection,
            descriptors: near_descriptors,
            stderr,
            stderr_tail: VecDeque::new(),
            progress: shared,
            scratch: scratch.to_owned(),
            class: class.clone(),
            knows: HashMap::new(),
            inputs: VecDeque::new(),
            asked: false,
            finished: 0,
            lent: HashSet::new(),
            dismissed: false,
        };
        let setup = Setup {
            program: class.program,
            jail: match self.jail {
                Jail::None => protocol::Jail::None,
                Jail::User => protocol::Jail::User { account },
                Jail::Strict => protocol::Jail::Strict { account },
            },
            scratch: scratch.to_string_lossy().into_owned(),
            memory: class.memory,
        };
        let begun = started.register(registry, worker);
        let begun = begun.map_err(|error| failed("cannot watch a worker", &error));
        started.send(0, &Message::Setup(setup));
        if let Err(error) = begun.and_then(|()| started.hand_out(program).map_err(socket_error)) {
            // Nobody will hear of its end: what is left of it is reaped with the next worker's.
            started.kill();
            started.deregister(registry);
            started.group.take().into_iter().for_each(|group| self.groups.let_go(group));
            return Err(error);
        }
        self.table.insert(worker, started);
        Ok(())
    }

    /// Starts the process in its group.
    fn spawn(
        mut spawn: Spawn,
        group: Option<&Group>,
        memory: u64,
    ) -> Result<(Child, Option<OwnedFd>), sys::Error> {
        let Some(group) = group else { return Ok((spawn.start()?, None)) };
        spawn.groups = group.entrances()?;
        spawn.descriptors.extend(group.late_entrance()?.map(|entrance| (entrance, 6)));
        let shortage = if memory > 0 { group.shortage()? } else { None };
        Ok((spawn.start()?, shortage))
    }

    /// Where the daemon is root, each worker has an account of its own, of nobody else's.
    fn account(&self, worker: WorkerId) -> Option<u32> {
        let has_own = self.jail != Jail::None && sys::limits::is_root();
        has_own.then(|| self.accounts.of(worker.0))
    }

    /// The node ends: nothing of its workers is to stay. What cannot be removed in a moment is
    /// removed by the next node here.
    pub(crate) fn clear_away(&mut self) {
        self.scratch.close();
    }

    /// A worker's pidfd says that it ended. `None`: not yet.
    pub(crate) fn ended(&mut self, registry: &Registry, worker: WorkerId) -> Option<Remains> {
        let exit = match self.table.get_mut(&worker)?.child.try_wait() {
            Ok(Some(sys::process::Exit::Code(code))) => Exit::Code(code),
            Ok(Some(sys::process::Exit::Signal { signal, .. })) => Exit::Signal(signal),
            Ok(None) | Err(_) => return None,
        };
        let mut ended = self.table.remove(&worker)?;
        ended.deregister(registry);
        let exit = ended.true_exit(exit);
        // Before anything is read: what it has left behind could write for ever.
        ended.group.take().into_iter().for_each(|group| self.groups.let_go(group));
        // What it started and left behind is ours now.
        let _ = sys::process::end_adopted(&self.known());
        // First what it sent, then what it did not send any more, then what it wrote for people.
        let mut said = Vec::new();
        ended.drain(&mut said);
        ended.peek(&mut said);
        let mut wrote = Vec::new();
        ended.read_stderr(&mut wrote);
        self.scratch.remove(&ended.scratch);
        Some(Remains {
            said,
            exit,
            started: ended.progress.load_u64(progress::STARTED),
            stderr: ended.stderr_text(),
            wrote,
            buffers: ended.lent.drain().collect(),
        })
    }
}

impl Worker {
    fn register(&mut self, registry: &Registry, worker: WorkerId) -> std::io::Result<()> {
        let exit = Source::WorkerExit(worker.0).token();
        let pidfd = self.child.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&pidfd), exit, Interest::READABLE)?;
        let stderr = Source::WorkerStderr(worker.0).token();
        registry.register(&mut self.stderr, stderr, Interest::READABLE)?;
        let Some(shortage) = &self.shortage else { return Ok(()) };
        let token = Source::WorkerShort(worker.0).token();
        registry.register(&mut SourceFd(&shortage.as_raw_fd()), token, Interest::READABLE)
    }

    /// Sends the descriptors that every worker has.
    fn hand_out(&self, program: BorrowedFd<'_>) -> std::io::Result<()> {
        let send = |descriptor| send_with_fds(&self.descriptors, &[0], &[descriptor]);
        match send(self.progress.fd()).and_then(|_| send(program)) {
            // It is dead already. Its end is told like any other's: its tasks begin in another one.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    fn deregister(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut SourceFd(&self.child.as_fd().as_raw_fd()));
        let _ = registry.deregister(&mut self.stderr);
        if let Some(shortage) = &self.shortage {
            let _ = registry.deregister(&mut SourceFd(&shortage.as_raw_fd()));
        }
    }

    /// The process that runs tasks: the first one of a pid namespace only looks after it.
    pub(crate) fn pid(&self) -> sys::Pid {
        let own = self.child.pid();
        if self.jail != Jail::Strict {
            return own;
        }
        let children = sys::proc::children(own).unwrap_or_default();
        children.first().copied().unwrap_or(own)
    }

    /// How the process that runs tasks ended, by the word of the one that looked after it and of
    /// the kernel.
    fn true_exit(&self, seen: Exit) -> Exit {
        if let Some(killed) = self.out_of_memory() {
            return killed;
        }
        let said = self.progress.load_u64(progress::END);
        let value = said as u32 as i32;
        match said & !u64::from(u32::MAX) {
            progress::END_CODE => Exit::Code(value),
            progress::END_SIGNAL => Exit::Signal(value),
            _ => seen,
        }
    }

    fn out_of_memory(&self) -> Option<Exit> {
        let group = self.group.as_ref()?;
        let found = group.out_of_memory().filter(|found| found.kills > 0)?;
        let (peak, limit) = (found.peak, self.class.memory);
        // It is at its limit when not one page more fits; the kernel takes them by the dozen.
        if limit > 0 && peak + PAGES_AT_ONCE >= limit {
            return Some(Exit::OutOfMemory { peak, limit });
        }
        let host = sys::proc::host_memory().ok();
        let limit = group.memory_limit_above().into_iter().chain(host).min().unwrap_or(0);
        Some(Exit::HostOutOfMemory { peak, limit })
    }

    /// Its group is at its limit of memory, or was. The most that it has had.
    pub(crate) fn shortage(&self) -> u64 {
        let peak = self.group.as_ref().and_then(Group::out_of_memory).map_or(0, |o| o.peak);
        // The kernel rounds the limit down to a page.
        peak.max(self.class.memory)
    }

    /// Ends the process and what it started. Its exit is reported by its pidfd.
    pub(crate) fn kill(&self) {
        // A process that is gone already is as good as killed. The group's files may be out of
        // reach for a moment, for want of descriptors: the process itself ends all the same, and
        // `slots` has this done again if that is not enough.
        let _ = match &self.group {
            Some(group) => {
                let all = group.kill();
                self.child.kill().and(all)
            }
            // With the first process of a pid namespace all others end.
            None if self.jail == Jail::Strict => self.child.kill(),
            None => self.child.kill_tree(),
        };
    }

    /// Hangs up: the worker unloads its program and ends. Its exit is reported by its pidfd.
    pub(crate) fn dismiss(&mut self) {
        self.dismissed = true;
        self.connection.close();
    }

    fn send(&mut self, channel: u64, message: &Message) {
        message.encode(channel, self.connection.output());
    }

    /// Queues a task. Nothing leaves before `flush`.
    pub(crate) fn execute(
        &mut self,
        sequence: u64,
        attempt: u32,
        input: Payload,
        buffer: Option<&SharedBuffer>,
    ) {
        self.inputs.push_back(match &input {
            Payload::Buffer { buffer, .. } => Some(*buffer),
            Payload::Inline(_) | Payload::Stream => None,
        });
        let (input, inline) = match input {
            Payload::Inline(bytes) => (Input::Inline, bytes),
            Payload::Stream => (Input::Stream, bytes::Bytes::new()),
            Payload::Buffer { buffer: id, length } => {
                if let Some(shared) = buffer {
                    self.hand_over(id, shared);
                }
                (Input::Bulk(length), bytes::Bytes::copy_from_slice(&id.0.to_le_bytes()))
            }
        };
        let name = TaskName::default();
        let head = RunHead { program: 0, attempt, deadline: Span(0), input, name };
        self.send(sequence, &Message::Run(Run { head, inline }));
    }

    /// Queues a piece of a stream.
    pub(crate) fn pass_on(&mut self, sequence: u64, message: &Message) {
        self.send(sequence, message);
    }

    /// Lends a buffer for a result.
    pub(crate) fn lend(&mut self, id: BufferId, shared: &SharedBuffer) {
        self.hand_over(id, shared);
        self.lent.insert(id);
        self.send(0, &Message::Buffer(Buffer::Lend { number: id.0 }));
    }

    /// Makes sure that the worker has a buffer's descriptor.
    fn hand_over(&mut self, id: BufferId, shared: &SharedBuffer) {
        if self.knows.contains_key(&id) {
            return;
        }
        if send_with_fds(&self.descriptors, &[0], &[shared.fd()]).is_err() {
            // It has stopped taking what it is given.
            return self.kill();
        }
        self.knows.insert(id, shared.len() as u64);
        self.send(0, &Message::Buffer(Buffer::Take { number: id.0 }));
    }

    /// A buffer exists no more. Returns whether the worker has to be told.
    pub(crate) fn forget(&mut self, id: BufferId) -> bool {
        let known = self.knows.remove(&id).is_some() && !self.dismissed;
        if known {
            self.send(0, &Message::Buffer(Buffer::Forget { number: id.0 }));
        }
        known
    }

    pub(crate) fn flush(&mut self, registry: &Registry) -> bool {
        self.connection.flush(registry).is_ok()
    }

    /// Reads what the worker sent. `true`: there is more.
    pub(crate) fn read(&mut self, said: &mut Vec<Said>) -> bool {
        match self.connection.read() {
            Ok(outcome) => {
                self.listen(said);
                if outcome == ReadOutcome::Closed && !self.dismissed {
                    said.push(Said::Nonsense);
                }
                outcome == ReadOutcome::More
            }
            Err(_) => {
                said.push(Said::Nonsense);
                false
            }
        }
    }

    /// Reads what a worker that has ended had sent, up to what a pipe can hold, or to the first
    /// nonsense.
    fn drain(&mut self, said: &mut Vec<Said>) {
        for _ in 0..PIPE_MAX.div_ceil(READ_MAX) {
            let more = matches!(self.connection.read(), Ok(ReadOutcome::More));
            self.listen(said);
            if !more || matches!(said.last(), Some(Said::Nonsense)) {
                return;
            }
        }
    }

    /// Takes the frames that have arrived.
    fn listen(&mut self, said: &mut Vec<Said>) {
        let mut input = std::mem::take(self.connection.input());
        self.decode(&mut input, said);
        *self.connection.input() = input;
    }

    fn decode(&mut self, input: &mut BytesMut, said: &mut Vec<Said>) {
        loop {
            let frame = match wire::frame::take(input, CONTROL_BODY_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => {
                    // Where the next frame would begin is not known: nothing of it is kept.
                    input.clear();
                    return said.push(Said::Nonsense);
                }
            };
            let next = match wire::decode(frame) {
                // Seen in the progress page before it was sent, or the other way round: it counts
                // once, in its turn.
                Ok((sequence, Message::Done(_))) if sequence != self.finished => continue,
                Ok((sequence, Message::Done(done))) => match self.result(done) {
                    Some(finished) => {
                        self.finished += 1;
                        Said::Done { sequence, finished }
                    }
                    None => Said::Nonsense,
                },
                Ok((_, Message::Ready(Ready::Yes { gaps }))) => {
                    said.extend(gaps.into_iter().map(Said::Gap));
                    Said::Ready(Ok(()))
                }
                Ok((_, Message::Ready(Ready::No { reason }))) => Said::Ready(Err(reason)),
                Ok((
                    sequence,
                    message @ (Message::Data(_) | Message::End | Message::Window(_)),
                )) => Said::Stream { sequence, message },
                Ok((_, Message::Need(need))) if self.may_ask(need.bytes) => Said::Needs(need.bytes),
                Ok(_) | Err(_) => Said::Nonsense,
            };
            said.push(next);
        }
    }

    /// A task may ask for one buffer, no larger than a payload can be.
    fn may_ask(&mut self, bytes: u64) -> bool {
        let may = !self.asked && !self.inputs.is_empty() && bytes <= PAYLOAD_MAX;
        self.asked = true;
        may
    }

    /// A worker may say only what a worker can know: a result of the task it is at, in a buffer that
    /// it was given for it.
    fn result(&mut self, done: Done) -> Option<Finished> {
        let input = self.inputs.pop_front()?;
        self.asked = false;
        let output = match done.head.output {
            Output::Inline => Payload::Inline(done.inline),
            Output::Bulk(length) => {
                let buffer = BufferId(u32::from_le_bytes(*done.inline.first_chunk()?));
                let is_its_own = input == Some(buffer) || self.lent.contains(&buffer);
                if !is_its_own || length > *self.knows.get(&buffer)? {
                    return None;
                }
                self.lent.remove(&buffer);
                Payload::Buffer { buffer, length }
            }
            Output::Stream => Payload::Stream,
        };
        let status = match done.head.status {
            status @ (Status::Finished { .. } | Status::Broken { .. }) => status,
            _ => return None,
        };
        let times = Times { began: done.head.times.began, ..Times::default() };
        Some(Finished { status, ran: done.head.ran, output, times })
    }

    /// Reads the results that the worker has ready but did not send, and how far it is.
    pub(crate) fn peek(&mut self, said: &mut Vec<Said>) -> (u64, Time) {
        let turn = self.progress.load_u64(progress::TURN);
        let unsent = self.progress.load_u64(progress::UNSENT);
        let unsent = usize::try_from(unsent).unwrap_or(usize::MAX);
        if unsent > 0 && unsent <= progress::SIZE - progress::RESULTS {
            let mut results = BytesMut::with_capacity(unsent);
            let copied = self.progress.copy_out_to(progress::RESULTS, unsent, &mut results).is_ok();
            if copied && self.progress.load_u64(progress::TURN) == turn {
                self.decode(&mut results, said);
            }
        }
        let started = self.progress.load_u64(progress::STARTED);
        (started, Time(self.progress.load_u64(progress::SINCE)))
    }

    pub(crate) fn peak_memory(&self) -> Option<u64> {
        Some(sys::proc::memory(self.pid()).ok()??.peak_resident)
    }

    /// Tasks that it says it has begun.
    pub(crate) fn started(&self) -> u64 {
        self.progress.load_u64(progress::STARTED)
    }

    /// Reads what the worker has written to its standard error, and keeps the last of it. Returns
    /// whether there is more.
    pub(crate) fn read_stderr(&mut self, wrote: &mut Vec<u8>) -> bool {
        let mut bytes = [0; STDERR_TAIL];
        // A worker that writes without end gets its turn again after everybody else.
        for _ in 0..16 {
            match self.stderr.read(&mut bytes) {
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    wrote.extend_from_slice(&bytes[..count]);
                    let kept = self.stderr_tail.len() + count;
                    self.stderr_tail.drain(..kept.saturating_sub(STDERR_TAIL).min(kept - count));
                    self.stderr_tail.extend(&bytes[..count]);
                }
            }
        }
        true
    }

    fn stderr_text(&self) -> String {
        let bytes: Vec<u8> = self.stderr_tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
