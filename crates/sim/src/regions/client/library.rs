//! A client with the library's machine: what it says goes to the network, what it knows to the work.

use bytes::Bytes;
use logic::regions::copy::{Effect, Event, News, Outcome, Reading, Session, WatchId};
use wire::Message;
use wire::region::{Admission, Answer, PageNo, Request, SessionId, Version};
use wire::units::{Span, Time};

use super::work::Asked;
use super::{Client, UnderWay};
use crate::regions::pages::PAGES;
use crate::regions::scene::Scene;

#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) session: Session,
    watch: WatchId,
    /// What was there before the watch began was not read yet.
    is_new: bool,
    /// Reads of what somebody else reads already.
    joined: Vec<(u64, u64, Asked)>,
    /// Reads that nobody had to be asked for.
    ready: Vec<(Asked, Version, Bytes)>,
}

impl Library {
    pub(crate) fn new(scene: &Scene, id: SessionId) -> Self {
        let now = scene.net.now;
        let mut session = Session::new(now, id);
        session.set_patience(scene.plan.patience);
        let watch = session.watch(now, PageNo(0), PAGES);
        Self { session, watch, is_new: true, joined: Vec::new(), ready: Vec::new() }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.joined.is_empty()
            && self.ready.is_empty()
            && self.session.is_watching(self.watch) == Ok(true)
    }
}

impl Client {
    pub(super) fn ask_library(
        &mut self,
        scene: &Scene,
        request: Request,
        bytes: Bytes,
        asked: Asked,
    ) -> u64 {
        let Some(library) = &mut self.library else { return 0 };
        let number = library.session.ask(scene.net.now, request.clone(), bytes.clone());
        self.under_way.insert(number, UnderWay { request, bytes, asked });
        number
    }

    pub(super) fn read_by_library(&mut self, scene: &Scene, page: u64, asked: Asked) {
        let Some(library) = &mut self.library else { return };
        let since = match asked {
            Asked::Read { begin, .. } | Asked::CatchUp { begin, .. } => begin,
            _ => scene.net.now,
        };
        match library.session.read(scene.net.now, PageNo(page), since) {
            Reading::There(version, bytes) => library.ready.push((asked, version, bytes)),
            Reading::Joined(number) => library.joined.push((number, page, asked)),
            Reading::Asked(number) => {
                let request = Request::Read { page: PageNo(page), known: Version(0) };
                let bytes = Bytes::new();
                self.under_way.insert(number, UnderWay { request, bytes, asked });
            }
        }
    }

    /// The bytes of a page without asking, if they are no older than that.
    pub(super) fn cached(&mut self, now: Time, page: u64, max_age: Span) -> Option<(u64, Bytes)> {
        let library = self.library.as_mut()?;
        let found = library.session.cached(now, PageNo(page), max_age);
        if found.is_none() {
            library.session.keep_fresh(now, PageNo(page), max_age);
        }
        found.map(|(version, bytes)| (version.0, bytes))
    }

    pub(super) fn known_to_library(&mut self, page: u64, version: u64) -> Option<Vec<u8>> {
        let (known, bytes) = self.library.as_mut()?.session.known(PageNo(page))?;
        (known.0 == version).then(|| bytes.to_vec())
    }

    pub(crate) fn set_patience(&mut self, patience: Span) {
        if let Some(library) = &mut self.library {
            library.session.set_patience(patience);
        }
    }

    pub(super) fn library_is_up(&mut self, scene: &mut Scene, admission: Admission, asked: Time) {
        let Some(library) = &mut self.library else { return };
        if std::mem::take(&mut library.is_new) {
            self.missed.extend(0..PAGES);
        }
        library.session.handle(scene.net.now, Event::Up { admission, asked });
        self.catch_up(scene);
        self.work_on(scene);
    }

    pub(super) fn library_is_down(&mut self, now: Time) {
        if let Some(library) = &mut self.library {
            library.session.handle(now, Event::Down);
        }
    }

    pub(super) fn tell_library(&mut self, scene: &Scene, channel: u64, message: Message) {
        if let Some(library) = &mut self.library {
            library.session.handle(scene.net.now, Event::Message { channel, message });
        }
    }

    pub(super) fn tick_library(&mut self, scene: &Scene) {
        if let Some(library) = &mut self.library
            && library.session.poll_timeout() <= scene.net.now
        {
            library.session.handle(scene.net.now, Event::Tick);
        }
    }

    /// Until the machine has nothing more to say, and nobody anything more to ask.
    pub(super) fn settle_library(&mut self, scene: &mut Scene) {
        let now = scene.net.now;
        while let Some(library) = &mut self.library {
            if let Some(effect) = library.session.poll_effect() {
                match (effect, &mut self.wire) {
                    (Effect::Send { number, message }, Some(wire)) => {
                        message.encode(number, &mut wire.output);
                    }
                    (Effect::HangUp, _) => self.hang_up(scene),
                    (Effect::Send { .. }, None) => {}
                }
                continue;
            }
            if let Some(news) = library.session.next_news(now, library.watch) {
                match news {
                    News::Page(page, version) => {
                        self.learn(page.0, version.0);
                        self.work.told(scene, self.at, page.0, version.0);
                    }
                    News::Resync => {
                        self.missed.extend(0..PAGES);
                        self.catch_up(scene);
                    }
                }
                continue;
            }
            if let Some((asked, version, bytes)) = library.ready.pop() {
                self.answered(scene, asked, Answer::Page { version }, bytes);
                continue;
            }
            let settled = library.joined.iter().position(|(n, ..)| library.session.is_settled(*n));
            if let Some(at) = settled {
                let (_, page, asked) = library.joined.swap_remove(at);
                self.read_by_library(scene, page, asked);
                continue;
            }
            let done = self.under_way.keys().find_map(|number| {
                library.session.outcome(*number).map(|outcome| (*number, outcome))
            });
            let Some((number, outcome)) = done else { break };
            let Some(UnderWay { asked, .. }) = self.under_way.remove(&number) else { break };
            match outcome {
                Outcome::Answered(answer, bytes) => self.answered(scene, asked, answer, bytes),
                Outcome::Over(refusal) => {
                    return self.fail(&mut scene.net, &format!("its session is over: {refusal:?}"));
                }
                Outcome::Away | Outcome::Unknown => {
                    if let Asked::CatchUp { page, .. } = asked {
                        // Until the home is back.
                        self.missed.insert(page);
                    } else if outcome == Outcome::Unknown {
                        self.work.unknown(scene, self.at, asked);
                    } else {
                        self.void(now, &asked);
                    }
                }
            }
        }
    }
}
