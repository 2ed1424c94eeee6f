//! The one loop of a node: readiness into events, effects into bytes.
//!
//! One turn: wait; read what is ready and hand it to the machine; let the machine settle; carry out
//! its effects; write everything once. A task's frame goes from the client's socket to the worker's
//! within one turn, on this thread.

mod blobs;
mod doors;
mod netmem;
mod v1;
mod visits;

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::time::Duration;

use logic::node::{Effect, Event, Node};
use logic::slots;
use logic::{LinkId, Payload, VisitId, WorkerId};
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll};
use sys::clock::monotonic_nanoseconds;
use sys::spin::Spin;
use transport::{Connection, DialTls, ListenTls};
use wire::member::{Member, State};
use wire::name::Name;
use wire::units::{Span, Time};

use crate::Error;
use crate::alarm::Alarm;
use crate::controllers::Controllers;
use crate::dials::Dials;
use crate::groups::Groups;
use crate::http::Http;
use crate::join::{self, Neighbours};
use crate::links::Links;
use crate::netmem::NetMem;
use crate::options::{Endpoint, Jail, Options};
use crate::payloads::{News, Payloads};
use crate::regions::Vaults;
use crate::scratch;
use crate::source::Source;
use crate::store::Store;
use crate::workers::{NotStarted, Said, Workers};

/// Events of one turn.
const EVENTS: usize = 256;
/// How long the last results may take to go out.
const FAREWELL: Span = Span::from_secs(2);
/// What a listener says when nobody is there.
const NOBODY: ErrorKind = ErrorKind::WouldBlock;
/// How soon someone who could not be let in is tried again.
const PATIENCE: Span = Span::from_millis(100);
/// Different things that can be said of the jail and of other nodes.
const GAPS_MAX: usize = 16;
/// Reads of one turn before everything is settled and sent.
const READS: usize = 4;

/// Where a node that is up can be reached.
#[derive(Debug)]
pub struct Started {
    pub addresses: Vec<SocketAddr>,
    /// Of its metrics.
    pub http: Option<SocketAddr>,
    /// Where it serves the worker socket protocol v1.
    pub worker_v1: Vec<Endpoint>,
    /// Where it serves NetMem, and which regions.
    pub netmem: Vec<(SocketAddr, Name)>,
}

/// Runs a node until it is told to stop. `started` is called once it listens.
pub fn run(options: Options, started: impl FnOnce(&Started)) -> Result<(), Error> {
    let mut daemon = Daemon::new(options)?;
    let http = daemon.http.as_ref().map(|http| http.address);
    let worker_v1 = std::mem::take(&mut daemon.worker_v1);
    let netmem = std::mem::take(&mut daemon.netmem_places);
    let netmem = daemon.serve_netmem(now(), netmem);
    started(&Started { addresses: daemon.addresses.clone(), http, worker_v1, netmem });
    daemon.run()
}

struct Daemon {
    options: Options,
    poll: Poll,
    node: Node,
    links: Links,
    neighbours: Neighbours,
    controllers: Controllers,
    dials: Dials,
    worker_v1: Vec<Endpoint>,
    netmem: NetMem,
    netmem_places: Vec<SocketAddr>,
    workers: Workers,
    store: Arc<Store>,
    payloads: Payloads,
    vaults: Vaults,
    listeners: Vec<TcpListener>,
    unix: Option<UnixListener>,
    http: Option<Http>,
    addresses: Vec<SocketAddr>,
    listen_tls: Option<ListenTls>,
    dial_tls: Option<DialTls>,
    stop: mio::net::UnixStream,
    alarm: Alarm,
    /// Workers with something queued.
    dirty: HashSet<WorkerId>,
    /// Workers whose last read left something.
    unread: Vec<WorkerId>,
    said: Vec<Said>,
    stopping: bool,
    left: bool,
    /// Links were dropped since everything was settled: what was meant for them may be under way yet.
    dropped: bool,
    /// What was said of the jail and of other nodes.
    gaps: HashSet<String>,
    /// Workers whose standard error has more to read.
    noisy: Vec<WorkerId>,
    /// Somebody could not be let in for want of descriptors: when to try again.
    turned_away: Option<Time>,
    /// Everything is done; what is queued may still go out.
    left_since: Option<Time>,
    spin: Spin,
}

fn kernel(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Kernel { action, source }
}

impl Daemon {
    fn new(options: Options) -> Result<Self, Error> {
        if options.jail == Jail::Strict {
            worker::jail::strict_is_possible().map_err(|why| Error::Strict { why })?;
        }
        let data = |source| Error::Data { path: options.data.clone(), source };
        fs::create_dir_all(&options.data).map_err(data)?;
        let cluster = options.credentials.as_ref().map(|own| own.authority().to_string());
        let cluster = cluster.unwrap_or_else(|| "none".to_owned());
        let store = Arc::new(Store::open(&options.data, &cluster).map_err(data)?);
        let scratch = scratch::make_all(&options.data, options.jail)?;

        let poll = Poll::new().map_err(kernel("make an event queue"))?;
        let waker = mio::Waker::new(poll.registry(), Source::Threads.token())
            .map_err(kernel("make a waker"))?;
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for (index, address) in options.listen.iter().enumerate() {
            let listen = |source| Error::Listen { address: address.to_string(), source };
            let mut listener = TcpListener::bind(*address).map_err(listen)?;
            addresses.push(listener.local_addr().map_err(listen)?);
            let token = Source::Listener(index as u32).token();
            poll.registry().register(&mut listener, token, Interest::READABLE).map_err(listen)?;
            listeners.push(listener);
        }
        let unix = match &options.socket {
            None => None,
            Some(path) => {
                let listen = |source| Error::Listen { address: path.display().to_string(), source };
                // A socket that a node left behind; what else stands there is not ours to remove.
                if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
                    let _ = fs::remove_file(path);
                }
                let mut listener = UnixListener::bind(path).map_err(listen)?;
                let token = Source::UnixListener.token();
                poll.registry()
                    .register(&mut listener, token, Interest::READABLE)
                    .map_err(listen)?;
                Some(listener)
            }
        };
        let http =
            options.http.as_ref().map(|http| Http::listen(http, poll.registry(), unix_seconds()));
        let http = http.transpose()?;
        let tls = |source| Error::Transport { source };
        let (listen_tls, dial_tls) = match &options.credentials {
            Some(own) => {
                (Some(ListenTls::new(own).map_err(tls)?), Some(DialTls::new(own).map_err(tls)?))
            }
            None if listeners.is_empty() && options.join.is_empty() => (None, None),
            None => return Err(Error::NoCredentials),
        };
        options.stop.set_nonblocking(true).map_err(kernel("use the stop socket"))?;
        let stop = options.stop.try_clone().map_err(kernel("use the stop socket"))?;
        let mut stop = mio::net::UnixStream::from_std(stop);
        let token = Source::Stop.token();
        poll.registry()
            .register(&mut stop, token, Interest::READABLE)
            .map_err(kernel("watch the stop socket"))?;
        let alarm = Alarm::new(poll.registry())?;
        sys::process::become_subreaper()
            .map_err(|source| Error::Sys { action: "adopt workers' orphans", source })?;

        let neighbours = Neighbours::find(now(), &options.join)?;
        let me = Member {
            name: options.name.clone(),
            life: unix_seconds(),
            addresses: addresses.iter().map(|&at| join::reachable(at).to_string()).collect(),
            slots: options.slots,
            state: State::Here,
        };
        let agent = concat!("farcall ", env!("CARGO_PKG_VERSION")).to_owned();
        let (dials, worker_v1) = {
            let v1 = &options.worker_v1;
            Dials::open(now(), &v1.listen, &v1.connect, poll.registry())?
        };
        let (netmem, netmem_places) = NetMem::open(&options.netmem, poll.registry())?;
        let (memory, time) = (options.worker_v1.memory, options.worker_v1.time);
        let payload_max = options.worker_v1.payload_max;
        let controllers = logic::controllers::Options { memory, time };
        let grace = options.grace;
        let mut node = Node::new(now(), logic::node::Options { agent, me, grace, controllers });
        let groups = Groups::open(options.jail, options.notice);
        if groups.limit_memory() {
            node.memory_is_limited();
        }
        let workers = Workers::new(options.worker.clone(), options.jail, groups, scratch);
        node.set_pages_follow(workers.pages_follow());
        let waker = Arc::new(waker);
        let vaults = Vaults::new(&options, &cluster, Arc::clone(&waker), now);
        let vaults = vaults.map_err(kernel("start a thread"))?;
        node.keep_regions(logic::regions::Options {
            keeps: vaults.keeps(),
            ..logic::regions::Options::default()
        });
        let payloads = Payloads::new(waker);
        payloads.recover(&store).map_err(kernel("start a thread"))?;
        Ok(Self {
            options,
            poll,
            node,
            links: Links::default(),
            neighbours,
            controllers: Controllers::new(payload_max),
            dials,
            worker_v1,
            netmem,
            netmem_places,
            workers,
            store,
            payloads,
            vaults,
            listeners,
            unix,
            http,
            addresses,
            listen_tls,
            dial_tls,
            stop,
            alarm,
            dirty: HashSet::new(),
            unread: Vec::new(),
            said: Vec::new(),
            stopping: false,
            left: false,
            dropped: false,
            gaps: HashSet::new(),
            noisy: Vec::new(),
            turned_away: None,
            left_since: None,
            spin: Spin::default(),
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.left {
            let (wait, poll) = (self.timeout(), &mut self.poll);
            let waited = self.spin.wait(wait, |timeout| {
                poll.poll(&mut events, timeout)?;
                Ok((!events.is_empty()).then_some(()))
            });
            match waited {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                result => result.map_err(kernel("wait for events"))?,
            };
            let now = now();
            let mut knocking = self.turned_away.take_if(|until| *until <= now).is_some();
            for event in &events {
                match Source::of(event.token()) {
                    Source::Listener(_)
                    | Source::UnixListener
                    | Source::ControllerListener(_)
                    | Source::NetMemListener(_) => knocking = true,
                    source => self.ready(now, source, event),
                }
            }
            for link in self.links.take_unread() {
                self.read_link(now, link);
            }
            for worker in std::mem::take(&mut self.unread) {
                self.read_worker(now, worker);
            }
            for worker in std::mem::take(&mut self.noisy) {
                self.read_stderr(now, worker);
            }
            if self.node.poll_timeout() <= now {
                self.node.handle(self::now(), Event::Tick);
            }
            for (link, event) in self.controllers.take_said() {
                self.node.handle(now, Event::Controller { link, event });
            }
            for link in self.links.overdue(now).into_iter().chain(self.controllers.overdue(now)) {
                self.drop_link(now, link);
            }
            self.drop_overdue_netmem(now);
            self.settle(now);
            // Only now: a new connection may get the number of one that was dropped above
            // (`free_numbers`).
            if self.neighbours.poll_timeout() <= now {
                self.join_others(now);
            }
            if self.dials.poll_timeout() <= now {
                self.dial_controllers(now);
                self.settle(now);
            }
            if knocking {
                self.accept_all(now);
                self.settle(now);
            }
            if let Some(http) = &mut self.http {
                http.turn(now, self.poll.registry(), &self.node, self.links.counters);
            }
            self.see_off(now);
        }
        self.end_workers();
        Ok(())
    }

    /// After the last task: what is queued goes out, as far as the peers read it.
    fn see_off(&mut self, now: Time) {
        let Some(since) = self.left_since else { return };
        self.links.hurry();
        let is_idle =
            self.payloads.is_idle() && self.links.unsent() == 0 && self.controllers.is_idle();
        if now.since(since) >= FAREWELL || is_idle {
            self.links.close_all();
            self.left = true;
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        if self.left_since.is_some() {
            return Some(Duration::from_millis(5));
        }
        if self.controllers.has_work() {
            return Some(Duration::ZERO);
        }
        if self.links.has_unread() || !self.unread.is_empty() || !self.noisy.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.node.poll_timeout().min(self.links.poll_timeout());
        let due = due.min(self.neighbours.poll_timeout());
        let due = due.min(self.http.as_ref().map_or(Time::NEVER, Http::poll_timeout));
        let due = due.min(self.controllers.poll_timeout()).min(self.dials.poll_timeout());
        let due = due.min(self.turned_away.unwrap_or(Time::NEVER));
        self.alarm.wait(now(), due)
    }

    /// A new connection may get the number of one that was dropped: nothing that was meant for the
    /// old one may be under way any more. Call it before a connection is given its place.
    fn free_numbers(&mut self, now: Time) {
        if self.dropped {
            self.settle(now);
        }
    }

    /// Lets the machine decide, carries out what it wants, and sends everything.
    fn settle(&mut self, now: Time) {
        let now = if self.vaults.may_be_deposed() { self::now() } else { now };
        loop {
            self.decide(now);
            self.dropped = false;
            self.send_all(now);
            // A connection that failed brings new events, and nothing else may ever wake the loop for
            // what follows from them. Each round has fewer connections. What was sent makes room, too.
            if !self.dropped && self.node.netmem().is_settled() {
                break;
            }
        }
    }

    fn decide(&mut self, now: Time) {
        // Carrying out an effect may bring new events (a worker that cannot be started), which
        // bring new effects; each round has fewer, since each ends a task.
        loop {
            self.node.settle(now);
            let mut any = false;
            while let Some(effect) = self.node.poll_effect() {
                any = true;
                self.carry_out(now, effect);
            }
            if !any {
                break;
            }
        }
    }

    fn send_all(&mut self, now: Time) {
        for buffer in self.payloads.buffers.take_gone() {
            for worker in self.workers.that_forget(buffer) {
                self.dirty.insert(worker);
            }
        }
        for worker in std::mem::take(&mut self.dirty) {
            if let Some(known) = self.workers.get_mut(worker)
                && !known.flush(self.poll.registry())
            {
                known.kill();
            }
        }
        for link in self.links.flush(self.poll.registry()) {
            self.drop_link(now, link);
        }
        let (registry, buffers) = (self.poll.registry(), &self.payloads.buffers);
        for link in self.controllers.flush(now, &mut self.links, registry, buffers) {
            self.drop_link(now, link);
        }
        self.netmem.flushed(now, &mut self.links, &mut self.node);
    }

    // From readiness to events.

    fn ready(&mut self, now: Time, source: Source, event: &mio::event::Event) {
        match source {
            Source::Link(at) => {
                let link = LinkId(at);
                if let Some(known) = self.links.get_mut(link) {
                    known.connection.observe(event);
                }
                if event.is_writable() {
                    self.links.writable(link);
                    self.controllers.writable(link);
                }
                // Who is gone altogether waits for nothing, whatever it said before.
                let is_bare = self.controllers.has(link) || self.netmem.has(link);
                if is_bare && (event.is_error() || event.is_write_closed()) {
                    return self.drop_link(now, link);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read_link(now, link);
                }
            }
            Source::Worker(at) => {
                if event.is_readable() {
                    self.read_worker(now, WorkerId(at));
                }
                if event.is_writable() {
                    self.dirty.insert(WorkerId(at));
                }
            }
            Source::WorkerExit(at) => self.worker_exit(now, WorkerId(at)),
            Source::WorkerStderr(at) => self.read_stderr(now, WorkerId(at)),
            Source::WorkerShort(at) => {
                let worker = WorkerId(at);
                let Some(known) = self.workers.get_mut(worker) else { return };
                let peak = known.shortage();
                self.node.handle(now, Event::WorkerOutOfMemory { worker, peak });
            }
            Source::Listener(_) | Source::UnixListener => {}
            Source::ControllerListener(_) | Source::NetMemListener(_) => {}
            Source::HttpListener | Source::Http(_) => {
                if let Some(http) = &mut self.http {
                    http.ready(source);
                }
            }
            Source::Stop => self.stop(now),
            Source::Threads => self.threads(now),
            Source::Alarm => self.alarm.rang(),
            Source::Pad(at) => self.pad_said(now, VisitId(at)),
            Source::PadExit(at) => self.pad_exit(now, VisitId(at)),
        }
    }

    fn read_link(&mut self, now: Time, link: LinkId) {
        if self.read_netmem(now, link) {
            return;
        }
        let node = &mut self.node;
        if self.controllers.has(link) {
            let (links, buffers) = (&mut self.links, &self.payloads.buffers);
            if !self.controllers.read(now, link, links, node, buffers) {
                self.drop_link(now, link);
            }
            return;
        }
        let is_old = self.vaults.may_be_deposed();
        let time = || if is_old { self::now() } else { now };
        if !self.links.read(link, random, |event| node.handle(time(), event)) {
            self.drop_link(now, link);
        }
    }

    /// Bulk threads have something to say.
    fn threads(&mut self, now: Time) {
        while let Some(event) = self.vaults.news() {
            self.node.handle(now, Event::Region(event));
        }
        while let Some(news) = self.payloads.news() {
            match news {
                News::Event(event) => self.node.handle(now, event),
                News::Broken(link) => self.drop_link(now, link),
                // Its uploader left; somebody else may have stored the same meanwhile.
                News::Orphan(hash) if !self.node.has_blob(&hash) => self.store.delete(&hash),
                News::Orphan(_) => {}
            }
        }
    }

    fn attach(&mut self, now: Time, connection: LinkId, to: LinkId, owner: Name) {
        let Some(connection) = self.links.remove(self.poll.registry(), connection) else { return };
        // The link may have ended in the same breath.
        if self.links.get_mut(to).is_none() {
            return;
        }
        if !self.payloads.attach(to, connection, owner) {
            self.drop_link(now, to);
        }
    }

    fn drop_link(&mut self, now: Time, link: LinkId) {
        self.payloads.forget(link);
        if self.links.remove(self.poll.registry(), link).is_some() {
            self.dropped = true;
            self.netmem.forget(link);
            self.neighbours.closed(now, link);
            let greeted = self.controllers.forget(&self.payloads.buffers, link);
            self.dials.closed(now, link, greeted);
            self.node.handle(now, Event::Closed { link });
        }
    }

    fn read_worker(&mut self, now: Time, worker: WorkerId) {
        for _ in 0..READS {
            let Some(known) = self.workers.get_mut(worker) else { return };
            let more = known.read(&mut self.said);
            self.worker_said(now, worker);
            if !more {
                return;
            }
        }
        self.unread.push(worker);
    }

    fn worker_said(&mut self, now: Time, worker: WorkerId) {
        for said in self.said.drain(..) {
            match said {
                Said::Done { sequence, finished } => {
                    self.node.handle(now, Event::WorkerDone { worker, sequence, finished });
                }
                Said::Stream { sequence, message } => {
                    self.node.handle(now, Event::WorkerStream { worker, sequence, message });
                }
                Said::Gap(gap) => {
                    // A worker before its program is loaded is ours, so it can be quoted.
                    if self.gaps.len() < GAPS_MAX && self.gaps.insert(gap.clone()) {
                        (self.options.notice)(&gap);
                    }
                }
                Said::Ready(result) => {
                    self.node.handle(now, Event::WorkerReady { worker, result });
                }
                Said::Needs(bytes) => {
                    let Some(known) = self.workers.get_mut(worker) else { continue };
                    match self.payloads.buffers.take(&known.class.owner, bytes) {
                        Some(buffer) => {
                            known.lend(buffer.id, &buffer.shared);
                            self.dirty.insert(worker);
                        }
                        None => known.kill(),
                    }
                }
                Said::Nonsense => {
                    if let Some(known) = self.workers.get_mut(worker) {
                        known.kill();
                    }
                }
            }
        }
    }

    fn worker_exit(&mut self, now: Time, worker: WorkerId) {
        let Some(remains) = self.workers.ended(self.poll.registry(), worker) else { return };
        self.said.extend(remains.said);
        self.worker_said(now, worker);
        for buffer in remains.buffers {
            self.payloads.buffers.release(buffer);
        }
        let (exit, started, stderr) = (remains.exit, remains.started, remains.stderr);
        let bytes = remains.wrote.into();
        self.node.handle(now, Event::WorkerWrote { worker, started, bytes });
        self.node.handle(now, Event::WorkerExited { worker, exit, started, stderr });
    }

    fn read_stderr(&mut self, now: Time, worker: WorkerId) {
        let Some(known) = self.workers.get_mut(worker) else { return };
        let mut wrote = Vec::new();
        if known.read_stderr(&mut wrote) {
            self.noisy.push(worker);
        }
        if !wrote.is_empty() {
            let (started, bytes) = (known.started(), wrote.into());
            self.node.handle(now, Event::WorkerWrote { worker, started, bytes });
        }
    }

    /// What only the kernel knows of a task that runs.
    fn complete(&mut self, why: &mut wire::job::Why) {
        if let wire::job::Now::Working { worker, pid, memory, .. } = &mut why.now
            && let Some(known) = self.workers.get_mut(WorkerId(*worker))
        {
            *pid = known.pid().0.unsigned_abs();
            *memory = known.peak_memory().unwrap_or(0);
        }
    }

    fn stop(&mut self, now: Time) {
        let mut bytes = [0; 16];
        match self.stop.read(&mut bytes) {
            Ok(count) if count > 1 => self.left = true,
            Ok(_) if self.stopping => self.left = true,
            Ok(_) => {
                self.stopping = true;
                self.dials.stop();
                self.node.handle(now, Event::Leave);
            }
            Err(_) => {}
        }
    }

    // From effects to the world.

    fn carry_out(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Send { link, channel, mut message } => {
                if let wire::Message::Why(why) = &mut message {
                    self.complete(why);
                }
                if let wire::Message::Visits(visits) = &mut message {
                    self.complete_visits(visits);
                }
                self.links.admit(link, &message);
                self.links.send(link, channel, &message);
            }
            Effect::SendLater { link, channel, message } => {
                self.links.send_later(link, channel, &message);
            }
            Effect::SendLog { link, worker, log, bytes } => {
                if self.links.is_stuffed(link) {
                    self.node.log_lost(worker, &log, &bytes);
                } else {
                    self.links.send(link, 0, &wire::Message::Log(log, bytes));
                }
            }
            Effect::Worker(effect) => self.carry_out_worker(now, effect),
            Effect::ToWorker { worker, sequence, message } => {
                if let Some(known) = self.workers.get_mut(worker) {
                    known.pass_on(sequence, &message);
                    self.dirty.insert(worker);
                }
            }
            Effect::Controller(effect) => {
                self.controllers.carry_out(&mut self.links, &self.payloads.buffers, effect);
            }
            Effect::Region(effect) => self.vaults.carry_out(effect),
            Effect::BeginVisit { visit, connection, arrival } => {
                self.begin_visit(now, visit, connection, *arrival);
            }
            Effect::EndVisit(visit) => self.workers.kill_visit(visit),
            Effect::ReturnVisit { visit, connection, what } => {
                self.return_to_visit(visit, connection, what);
            }
            Effect::NetMem(_) | Effect::NetMemRefused { .. } => self.carry_out_netmem(now, effect),
            Effect::Close { link } => {
                self.payloads.forget(link);
                if let Some(mut connection) = self.links.remove(self.poll.registry(), link) {
                    self.neighbours.closed(now, link);
                    connection.close();
                }
            }
            Effect::SendPayload { link, channel, buffer, length } => {
                // Decided before the link went down: its number will be another's.
                if self.links.get_mut(link).is_none() {
                    self.payloads.buffers.release(buffer);
                } else {
                    self.payloads.send(link, channel, buffer, length);
                }
            }
            Effect::Attach { connection, to, owner } => self.attach(now, connection, to, owner),
            Effect::StoreBlob { link, channel, hash, bytes } => {
                self.store_blob(now, link, channel, hash, bytes);
            }
            Effect::OwnBlob { hash, owner } => self.store.own(&hash, &owner),
            Effect::DeleteBlob { hash } => self.store.delete(&hash),
            Effect::FetchBlob { link, channel, blob } => self.fetch_blob(now, link, channel, blob),
            Effect::LendBlob { connection, hash } => self.lend_blob(now, connection, &hash),
            Effect::Redeem { link, channel, join } => {
                let joined = join::redeem(&self.options.credentials_folder, &join);
                self.node.handle(now, Event::Redeemed { link, channel, joined });
            }
            Effect::OwnerGone { owner } => self.payloads.buffers.forget(&owner),
            Effect::Warn { words } => {
                if self.gaps.len() < GAPS_MAX && self.gaps.insert(words.clone()) {
                    (self.options.warn)(&words);
                }
            }
            Effect::Left => self.left_since = Some(now),
        }
    }

    fn carry_out_worker(&mut self, now: Time, effect: slots::Effect) {
        match effect {
            slots::Effect::Execute { worker, sequence, attempt, input, .. } => {
                let Some(known) = self.workers.get_mut(worker) else { return };
                let buffer = match &input {
                    Payload::Inline(_) | Payload::Stream => None,
                    Payload::Buffer { buffer, .. } => self.payloads.buffers.get(*buffer),
                };
                known.execute(sequence, attempt, input, buffer.as_ref().map(|b| &b.shared));
                self.dirty.insert(worker);
            }
            slots::Effect::Start { worker, class } => self.start_worker(now, worker, class),
            slots::Effect::Kill { worker } => {
                if let Some(known) = self.workers.get_mut(worker) {
                    known.kill();
                }
            }
            slots::Effect::Dismiss { worker } => {
                if let Some(known) = self.workers.get_mut(worker) {
                    known.dismiss();
                }
            }
            slots::Effect::Peek { worker } => {
                let Some(known) = self.workers.get_mut(worker) else { return };
                let (started, since) = known.peek(&mut self.said);
                self.worker_said(now, worker);
                self.node.handle(now, Event::WorkerPeeked { worker, started, since });
            }
            slots::Effect::Measure { worker } => {
                let Some(known) = self.workers.get_mut(worker) else { return };
                if let Some(peak) = known.peak_memory() {
                    self.node.handle(now, Event::WorkerMeasured { worker, peak });
                }
            }
            slots::Effect::Release { buffer } => self.payloads.buffers.release(buffer),
            slots::Effect::Done { .. }
            | slots::Effect::Credit { .. }
            | slots::Effect::Bound { .. }
            | slots::Effect::Unbound { .. } => {
                unreachable!("the machine turns these into messages")
            }
        }
    }

    fn start_worker(&mut self, now: Time, worker: WorkerId, class: slots::Class) {
        let wire::task::Program::Core { library, .. } = &class.program;
        let library = *library;
        let registry = self.poll.registry();
        let here = self.node.has_library(now, &class);
        let kept = class.bound.map(|bound| self.controllers.library(bound));
        let started = match (kept, self.store.file(&library)) {
            (Some(Some(file)), _) => self.workers.start(registry, worker, class, file),
            (Some(None), _) => {
                Err(NotStarted::ForGood("its library is not kept any more".to_owned()))
            }
            (None, Ok(file)) if here => self.workers.start(registry, worker, class, file.as_fd()),
            // Want of descriptors, say, is no reason to have it sent again.
            (None, Err(error)) if here && !error.is_gone() => {
                Err(NotStarted::ForNow(format!("its library cannot be opened: {}", chain(&error))))
            }
            (None, file) => {
                if here && file.is_err() {
                    self.node.handle(now, Event::BlobLost { hash: library });
                }
                self.node.handle(now, Event::LibraryAbsent { worker, library });
                return self.stillborn(now, worker);
            }
        };
        match started {
            Ok(()) => {
                self.dirty.insert(worker);
            }
            Err(NotStarted::ForNow(reason)) => {
                self.node.handle(now, Event::WorkerNotStarted { worker, reason });
            }
            Err(NotStarted::ForGood(reason)) => {
                self.node.handle(now, Event::WorkerReady { worker, result: Err(reason) });
                self.stillborn(now, worker);
            }
        }
    }

    /// A worker that never came to be has ended.
    fn stillborn(&mut self, now: Time, worker: WorkerId) {
        let (exit, stderr) = (logic::Exit::Code(0), String::new());
        self.node.handle(now, Event::WorkerExited { worker, exit, started: 0, stderr });
    }

    /// Dials the nodes that it is time to dial.
    fn join_others(&mut self, now: Time) {
        let Some(tls) = &self.dial_tls else { return };
        let (links, registry) = (&mut self.links, self.poll.registry());
        self.neighbours.dial(now, |address| {
            let connection = Connection::dial(address, tls).ok()?;
            links.insert(registry, now, connection, true)
        });
    }

    fn end_workers(&mut self) {
        for worker in self.workers.ids() {
            if let Some(known) = self.workers.get_mut(worker) {
                known.kill();
            }
        }
        self.workers.visits().into_iter().for_each(|visit| self.workers.kill_visit(visit));
        // Killed processes end at once; the kernel only has to get round to it.
        let until = now() + FAREWELL;
        while !(self.workers.ids().is_empty() && self.workers.visits().is_empty()) && now() < until
        {
            for visit in self.workers.visits() {
                self.workers.visit_ended(self.poll.registry(), visit);
            }
            for worker in self.workers.ids() {
                let _ = self.workers.ended(self.poll.registry(), worker);
            }
            std::thread::yield_now();
        }
        self.dials.close();
        if let Some(path) = &self.options.socket {
            let _ = fs::remove_file(path);
        }
        self.workers.clear_away();
    }
}

fn chain(error: &sys::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn now() -> Time {
    Time(monotonic_nanoseconds())
}

fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn random() -> u64 {
    transport::random_u64()
}
