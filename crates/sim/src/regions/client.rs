//! A pretended client of a region: one session, numbers, resends; above it, its work (`work`).
//!
//! Some speak for themselves: they follow the rules that `wire::region` sets, and nothing else, so they
//! share no misunderstanding with the library. The others have its machine (`logic::regions::copy`).

mod library;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use logic::link::{self, Link, Pass};
use wire::Message;
use wire::frame;
use wire::hello::{Hello, Purpose};
use wire::limits::{LEASE, MEMORY_BODY_MAX};
use wire::region::{
    Admission, Answer, Ask, Attach, Changes, PageNo, Refusal, Request, SessionId, Version,
};
use wire::units::{Span, Time};

use crate::net::{End, Net, Side, What};
use crate::node::name;
use crate::regions::pages::PAGES;
use crate::regions::scene::{Scene, home, region};
use crate::trace::Line;
use library::Library;
use work::{Asked, Work};

const BACKOFF: (Span, Span) = (Span::from_millis(20), Span::from_secs(2));

#[derive(Debug)]
struct Wire {
    connection: usize,
    manners: Link,
    attached: bool,
    /// When it asked to be let in.
    asked: Time,
    input: BytesMut,
    output: BytesMut,
}

/// A request without an answer.
#[derive(Debug)]
struct UnderWay {
    request: Request,
    bytes: Bytes,
    asked: Asked,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) at: usize,
    pub(crate) alive: bool,
    pub(crate) stalled: Time,
    pub(crate) session: SessionId,
    /// It has the library's machine.
    library: Option<Box<Library>>,
    wire: Option<Wire>,
    redial: Time,
    backoff: Span,
    wake: Time,
    /// When the home last answered anything, or the session began.
    heard: Time,
    said: Time,
    epoch: Option<u64>,
    number: u64,
    under_way: BTreeMap<u64, UnderWay>,
    /// The last bytes seen of each page.
    pub(crate) cache: BTreeMap<u64, (u64, Bytes)>,
    /// The watch of all pages.
    watch: Option<u64>,
    watching: bool,
    sequence: Option<u64>,
    /// The latest version of each page that the watch knows.
    pub(crate) known: BTreeMap<u64, u64>,
    /// Pages that are to be read, since the watch has missed something.
    missed: BTreeSet<u64>,
    pub(crate) work: Work,
}

impl Client {
    pub(crate) fn new(scene: &mut Scene, at: usize) -> Self {
        let session = SessionId(scene.net.random.next());
        scene.net.after(Span(0), What::Wake(End::Client(at)));
        let has_library = scene.net.random.below(2) == 0;
        let library = has_library.then(|| Box::new(Library::new(scene, session)));
        Self {
            library,
            at,
            alive: true,
            stalled: Time(0),
            session,
            wire: None,
            redial: scene.net.now,
            backoff: BACKOFF.0,
            wake: Time::NEVER,
            heard: scene.net.now,
            said: scene.net.now,
            epoch: None,
            number: 0,
            under_way: BTreeMap::new(),
            cache: BTreeMap::new(),
            watch: None,
            watching: false,
            sequence: None,
            known: BTreeMap::new(),
            missed: BTreeSet::new(),
            work: Work::new(scene),
        }
    }

    // What happens.

    pub(crate) fn hear(&mut self, scene: &mut Scene, connection: usize, bytes: &[u8]) {
        let now = scene.net.now;
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.connection == connection) else {
            return;
        };
        wire.input.extend_from_slice(bytes);
        wire.manners.heard(now);
        if wire.attached {
            self.heard = now;
        }
        while let Some(wire) = &mut self.wire {
            let frame = match frame::take(&mut wire.input, MEMORY_BODY_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return self.fail(&mut scene.net, &error.to_string()),
            };
            let (client, kind, length) = (self.at, frame.kind, frame.body.len());
            let (channel, message) = match wire::decode(frame) {
                Ok(decoded) => decoded,
                Err(error) => return self.fail(&mut scene.net, &error.to_string()),
            };
            scene.net.note(Line::ToClient { client, node: 0, kind, channel, length });
            match wire.manners.message(now, &message) {
                Pass::Taken => self.settle_manners(scene),
                Pass::On => self.message(scene, channel, message),
            }
        }
        self.settle(scene);
    }

    pub(crate) fn closed(&mut self, scene: &mut Scene, connection: usize) {
        if self.wire.as_ref().is_some_and(|wire| wire.connection == connection) {
            self.hang_up(scene);
            self.settle(scene);
        }
    }

    pub(crate) fn wake(&mut self, scene: &mut Scene) {
        let now = scene.net.now;
        if self.wake <= now {
            self.wake = Time::NEVER;
        }
        if let Some(wire) = &mut self.wire
            && wire.manners.poll_timeout() <= now
        {
            wire.manners.tick(now);
            self.settle_manners(scene);
        }
        if self.redial <= now && self.wire.is_none() {
            self.dial(scene);
        }
        self.tick_library(scene);
        if self.library.is_none()
            && self.is_attached()
            && self.needs_lease()
            && now.since(self.said) >= Span(LEASE.0 / 3)
        {
            self.ask(scene, Request::Renew, Bytes::new(), Asked::Other);
        }
        self.give_up(scene);
        self.work_on(scene);
        self.settle(scene);
    }

    /// It dies; what it had under way has no outcome.
    pub(crate) fn die(&mut self, scene: &mut Scene) {
        self.alive = false;
        self.leave_open(scene);
        scene.net.close_all(End::Client(self.at));
    }

    /// Whatever has no answer has an unknown outcome.
    pub(crate) fn leave_open(&mut self, scene: &mut Scene) {
        for (_, under_way) in std::mem::take(&mut self.under_way) {
            self.work.unknown(scene, self.at, under_way.asked);
        }
    }

    // The connection.

    fn dial(&mut self, scene: &mut Scene) {
        self.redial = Time::NEVER;
        let Some(connection) = scene.net.dial(End::Client(self.at), &home()) else {
            return self.try_later(scene.net.now);
        };
        let purpose = Purpose::Memory;
        let hello =
            Hello { agent: "sim".to_owned(), name: name(&format!("c-{}", self.at)), purpose };
        self.wire = Some(Wire {
            connection,
            manners: Link::dial(scene.net.now, hello),
            attached: false,
            asked: scene.net.now,
            input: BytesMut::new(),
            output: BytesMut::new(),
        });
        self.settle_manners(scene);
    }

    fn try_later(&mut self, now: Time) {
        self.redial = now + self.backoff;
        self.backoff = Span((self.backoff.0 * 2).min(BACKOFF.1.0));
    }

    fn hang_up(&mut self, scene: &mut Scene) {
        if let Some(wire) = self.wire.take() {
            scene.net.close(wire.connection, Side::Dialler);
            self.try_later(scene.net.now);
            self.library_is_down(scene.net.now);
        }
    }

    fn settle_manners(&mut self, scene: &mut Scene) {
        while let Some(wire) = &mut self.wire {
            match wire.manners.poll_effect() {
                Some(link::Effect::Send(message)) => message.encode(0, &mut wire.output),
                Some(link::Effect::Up(_)) => {
                    wire.asked = scene.net.now;
                    let attach = Attach { region: region(), session: self.session };
                    Message::Attach(attach).encode(0, &mut wire.output);
                }
                Some(link::Effect::Greeted(_)) => {}
                Some(link::Effect::Down(_)) => self.hang_up(scene),
                None => break,
            }
        }
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.attached)
    }

    fn needs_lease(&self) -> bool {
        let waits = |under_way: &UnderWay| {
            matches!(
                under_way.request,
                Request::Lock { .. }
                    | Request::Update { .. }
                    | Request::Transact { .. }
                    | Request::Arrive { .. }
            )
        };
        self.work.holds() || self.under_way.values().any(waits)
    }

    /// Whoever was away for too long cannot find out any more what became of its requests.
    fn give_up(&mut self, scene: &mut Scene) {
        // The library's machine has rules of its own.
        if self.library.is_some()
            || self.is_attached()
            || scene.net.now.since(self.heard) < scene.plan.patience
        {
            return;
        }
        let lost: Vec<u64> = self.under_way.keys().copied().collect();
        for number in lost {
            if let Some(under_way) = self.under_way.remove(&number) {
                if let Asked::CatchUp { page, .. } = under_way.asked {
                    self.missed.insert(page);
                }
                self.work.unknown(scene, self.at, under_way.asked);
            }
        }
        // As somebody new, so that nothing of the old session is ever mistaken for its own.
        self.session = SessionId(scene.net.random.next());
        self.epoch = None;
        self.number = 0;
        (self.watch, self.watching) = (None, false);
        self.heard = scene.net.now;
        // What may still come on the old connection is for the old session.
        self.hang_up(scene);
    }

    fn attached(&mut self, scene: &mut Scene, admission: &Admission) {
        let now = scene.net.now;
        self.backoff = BACKOFF.0;
        self.heard = now;
        let renewed = self.epoch.replace(admission.epoch) != Some(admission.epoch);
        let Some(wire) = &mut self.wire else { return };
        wire.attached = true;
        let asked = wire.asked;
        if self.library.is_some() {
            return self.library_is_up(scene, admission.clone(), asked);
        }
        let numbers: Vec<u64> = self.under_way.keys().copied().collect();
        for number in numbers {
            self.put(scene, number);
        }
        if renewed || !admission.resumed || self.watch.is_none() {
            self.begin_watch(scene);
        }
        self.work_on(scene);
    }

    fn begin_watch(&mut self, scene: &mut Scene) {
        if let Some(old) = self.watch.take() {
            self.under_way.remove(&old);
        }
        self.watching = false;
        let (first, count, from) = (PageNo(0), PAGES, self.sequence);
        let watch = Request::Watch { first, count, from };
        self.watch = Some(self.ask(scene, watch, Bytes::new(), Asked::Watch));
    }

    // Requests.

    pub(crate) fn ask(
        &mut self,
        scene: &mut Scene,
        request: Request,
        bytes: Bytes,
        asked: Asked,
    ) -> u64 {
        if self.library.is_some() {
            return self.ask_library(scene, request, bytes, asked);
        }
        self.number += 1;
        let number = self.number;
        let answered = !matches!(request, Request::Seen { .. });
        self.under_way.insert(number, UnderWay { request, bytes, asked });
        self.put(scene, number);
        if !answered {
            self.under_way.remove(&number);
        }
        number
    }

    fn put(&mut self, scene: &Scene, number: u64) {
        let lowest = self.under_way.keys().next().copied().unwrap_or(number);
        let Some(UnderWay { request, bytes, .. }) = self.under_way.get(&number) else { return };
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.attached) else { return };
        let ask = Ask { answered: lowest - 1, request: request.clone() };
        Message::Request(ask, bytes.clone()).encode(number, &mut wire.output);
        self.said = scene.net.now;
    }

    fn message(&mut self, scene: &mut Scene, channel: u64, message: Message) {
        let now = scene.net.now;
        match message {
            Message::Attached(attached) => match attached.result {
                Ok(admission) => self.attached(scene, &admission),
                Err(refusal) => self.fail(&mut scene.net, &format!("attach: {refusal:?}")),
            },
            message if self.library.is_some() => self.tell_library(scene, channel, message),
            Message::Answer(answer, bytes) => {
                self.heard = now;
                self.answer(scene, channel, answer, bytes);
            }
            Message::Changed(changed) => {
                self.heard = now;
                if self.watch != Some(channel) {
                    return;
                }
                // A watch whose answer was lost may tell before the next answer comes, after which all
                // that it missed is read.
                if self.sequence.is_some() {
                    self.sequence = Some(changed.sequence);
                }
                match changed.what {
                    Changes::Pages(pages) => {
                        for (PageNo(page), Version(version)) in pages {
                            self.learn(page, version);
                            self.work.told(scene, self.at, page, version);
                        }
                    }
                    Changes::Resync => self.missed.extend(0..PAGES),
                }
                let seen = Request::Seen { watch: channel };
                self.ask(scene, seen, Bytes::new(), Asked::Other);
                self.catch_up(scene);
            }
            other => self.fail(&mut scene.net, &format!("was sent {other:?}")),
        }
    }

    fn learn(&mut self, page: u64, version: u64) {
        let known = self.known.entry(page).or_default();
        *known = version.max(*known);
    }

    /// Reads what the watch may have missed.
    fn catch_up(&mut self, scene: &mut Scene) {
        for page in std::mem::take(&mut self.missed) {
            self.read(scene, page, Asked::CatchUp { page, begin: scene.net.now });
        }
    }

    pub(crate) fn read(&mut self, scene: &mut Scene, page: u64, asked: Asked) {
        if self.library.is_some() {
            return self.read_by_library(scene, page, asked);
        }
        let known = self.cache.get(&page).map_or(Version(0), |(version, _)| Version(*version));
        self.ask(scene, Request::Read { page: PageNo(page), known }, Bytes::new(), asked);
    }

    fn answer(&mut self, scene: &mut Scene, channel: u64, answer: Answer, bytes: Bytes) {
        let Some(UnderWay { asked, .. }) = self.under_way.remove(&channel) else {
            // The answer was given on two connections, or the request was given up.
            return;
        };
        self.answered(scene, asked, answer, bytes);
    }

    fn answered(&mut self, scene: &mut Scene, asked: Asked, answer: Answer, bytes: Bytes) {
        if let Answer::Refused(refusal) = &answer
            && !matches!(refusal, Refusal::StaleToken { .. })
        {
            return self.fail(&mut scene.net, &format!("{asked:?} was refused: {refusal:?}"));
        }
        match (asked, &answer) {
            (Asked::Watch, Answer::Watching { sequence }) => {
                if self.sequence.is_none() {
                    self.missed.extend(0..PAGES);
                }
                self.sequence = Some(self.sequence.unwrap_or(*sequence));
                self.watching = true;
                self.catch_up(scene);
            }
            (Asked::CatchUp { page, begin }, _) => {
                let fact = self.took_page(scene, (page, begin), &answer, &bytes);
                self.learn(page, fact.version);
            }
            (Asked::Other, _) => {}
            (asked, _) => {
                self.took(scene, asked, answer, bytes);
                self.work_on(scene);
            }
        }
    }

    /// Sends what there is to send, and sleeps until something is due.
    fn settle(&mut self, scene: &mut Scene) {
        self.settle_library(scene);
        if let Some(wire) = &mut self.wire
            && !wire.output.is_empty()
        {
            let bytes = wire.output.split().freeze();
            scene.net.send(wire.connection, Side::Dialler, bytes);
        }
        let mut due = self.redial.min(self.work.due());
        if let Some(wire) = &self.wire {
            due = due.min(wire.manners.poll_timeout());
        }
        if let Some(library) = &self.library {
            due = due.min(library.session.poll_timeout());
        } else if self.is_attached() {
            if self.needs_lease() {
                due = due.min(self.said + Span(LEASE.0 / 3));
            }
        } else {
            due = due.min(self.heard + scene.plan.patience);
        }
        if due < self.wake {
            self.wake = due;
            scene.net.at(due, What::Wake(End::Client(self.at)));
        }
    }

    pub(crate) fn fail(&self, net: &mut Net, what: &str) {
        net.judge.fail(format!("client {}: {what}", self.at));
    }

    /// Has nothing under way and nothing more to do.
    pub(crate) fn is_idle(&self) -> bool {
        let watching = self.library.as_ref().map_or(self.watching, |library| library.is_idle());
        self.work.is_done() && self.under_way.is_empty() && watching
    }

    /// For people.
    pub(crate) fn waits_for(&self) -> String {
        let asked: Vec<_> = self.under_way.iter().take(3).collect();
        format!("client {}, attached {}: {:?}, {asked:?}", self.at, self.is_attached(), self.work)
    }
}
