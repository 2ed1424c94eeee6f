//! Streams of bytes from clients into the regions of a home, and what its vault says meanwhile.
//!
//! The input is a stream of frames. Those of regions are the current link's; those of kinds that the
//! protocol does not have say what happens in the world around it:
//!
//! ```text
//! kind   channel
//! 0xe0   nanoseconds that pass
//! 0xe1   bits 0..2: the link to speak on from now; bits 2..4: who it is
//! 0xe5   the current link closes
//! 0xe6   the current link is of a protocol without sessions
//! 0xe8   the vault has kept so many commits more
//! 0xe9   the vault has lost the region
//! ```
//!
//! It never panics; it answers no request twice and nobody who is gone; the commits of a region have
//! numbers without gaps and each page's versions rise; and when everybody is gone and the region is
//! dropped, nothing is left.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use logic::LinkId;
use logic::regions::{Effect, Epoch, Event, Options, Owner, Regions};
use wire::limits::{CONTROL_BODY_MAX, LEASE, SESSION_KEPT};
use wire::name::Name;
use wire::region::{Drop, Durability, PageNo, Refusal, RegionId, Version};
use wire::units::{Span, Time};
use wire::{Message, frame};

const LINKS: usize = 4;

/// Bytes that all regions may have: the fuzzer gives the process no more.
const HELD_MAX: u64 = 4 << 20;

/// Serves whatever the bytes say.
pub fn share(bytes: &[u8]) {
    let mut world = World {
        regions: Regions::new(Options {
            keeps: vec![Durability::Async, Durability::Sync, Durability::Replicated],
            held_max: HELD_MAX,
            lease: LEASE,
        }),
        now: Time(1),
        open: [false; LINKS],
        speaks: 0,
        who: 0,
        ids: 0,
        asked: 0,
        unkept: VecDeque::new(),
        sequences: BTreeMap::new(),
        versions: BTreeMap::new(),
    };
    // Who else might be home is not tried here.
    world.event(Event::Renewed { until: Time(u64::MAX) });
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = frame::take(&mut input, CONTROL_BODY_MAX) {
        match frame.kind {
            0xe0..=0xe9 => world.happen(frame.kind, frame.channel),
            _ => {
                let Ok((channel, message)) = wire::decode(frame) else { break };
                world.hear(channel, message);
            }
        }
    }
    world.end();
}

struct World {
    regions: Regions,
    now: Time,
    open: [bool; LINKS],
    speaks: usize,
    who: u64,
    ids: u64,
    /// Requests that were asked and not answered, of everybody.
    asked: u64,
    unkept: VecDeque<(RegionId, u64)>,
    /// The latest commit of each region, and the latest version of each page.
    sequences: BTreeMap<RegionId, u64>,
    versions: BTreeMap<(RegionId, PageNo), Version>,
}

impl World {
    fn link(&self) -> LinkId {
        LinkId(self.speaks as u32)
    }

    fn owner(&self) -> Owner {
        let (name, is_admin) =
            [("a", false), ("b", false), ("a", true), ("c", false)][(self.who % 4) as usize];
        Owner { name: known(name), is_admin }
    }

    fn happen(&mut self, kind: u8, channel: u64) {
        let link = self.link();
        match kind {
            0xe0 => self.pass(Span(channel % Span::from_secs(200).0)),
            0xe1 => {
                self.speaks = channel as usize % LINKS;
                self.who = channel >> 2;
            }
            0xe5 => self.close(),
            0xe6 => {
                self.open[self.speaks] = true;
                self.event(Event::AttachBare { link, region: known("genes") });
            }
            0xe8 => {
                for _ in 0..channel.min(self.unkept.len() as u64) {
                    let Some((id, sequence)) = self.unkept.pop_front() else { break };
                    self.event(Event::Kept { id, sequence });
                }
            }
            0xe9 => {
                if let Some((id, _)) = self.unkept.pop_front() {
                    self.unkept.retain(|(other, _)| *other != id);
                    self.event(Event::Lost { id, reason: "lost".to_owned() });
                }
            }
            _ => {}
        }
    }

    fn hear(&mut self, channel: u64, message: Message) {
        let (link, owner) = (self.link(), self.owner());
        self.event(Event::Heard { link });
        let event = match message {
            Message::RegionCreate(create) => {
                self.ids += 1;
                Event::Create { link, channel, owner, create, id: RegionId(self.ids) }
            }
            Message::RegionDrop(drop) => Event::Drop { link, channel, owner, drop },
            Message::RegionsAsk => Event::RegionsAsk { link, channel, owner },
            Message::Attach(attach) => Event::Attach { link, owner, attach },
            Message::Request(ask, bytes) => {
                self.asked += 1;
                Event::Request { link, channel, ask, bytes }
            }
            _ => return,
        };
        self.open[self.speaks] = true;
        self.event(event);
    }

    fn event(&mut self, event: Event) {
        self.regions.handle(self.now, event);
        while let Some(effect) = self.regions.poll_effect() {
            self.carry_out(effect);
        }
        let figures = self.regions.figures();
        // A waiting answer's bytes are those of a page; tables are counted when they are made.
        assert!(figures.bytes <= HELD_MAX + (4 << 20), "{figures:?}");
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { link, channel, message }
            | Effect::SendLater { link, channel, message } => {
                assert!(self.open[link.0 as usize], "{message:?} for somebody who is gone");
                if matches!(message, Message::Answer(..)) {
                    self.asked =
                        self.asked.checked_sub(1).expect("an answer that nobody asked for");
                }
                message.encode(channel, &mut BytesMut::new());
            }
            Effect::Close { link } => {
                self.open[link.0 as usize] = false;
                self.regions.handle(self.now, Event::Closed { link });
            }
            Effect::Make { id, .. } => {
                // A vault that fails now and then.
                let reason = || "no space".to_owned();
                let result = match id.0 % 4 {
                    0 => Err(Refusal::Unkept { reason: reason() }),
                    _ => Ok(Epoch { number: id.0 }),
                };
                self.regions.handle(self.now, Event::Made { id, result });
            }
            Effect::Open { name } => {
                let result = Err(Refusal::NoSuchRegion);
                self.regions.handle(self.now, Event::Opened { name, result });
            }
            Effect::Remove { id } => {
                self.unkept.retain(|(other, _)| *other != id);
                self.regions.handle(self.now, Event::Removed { id, result: Ok(()) });
            }
            Effect::Shut { .. } | Effect::Discard { .. } => {}
            Effect::Keep(batch) => {
                let latest = self.sequences.entry(batch.region).or_default();
                assert_eq!(batch.sequence, *latest + 1, "a gap between commits");
                *latest = batch.sequence;
                for written in &batch.written {
                    let version = self.versions.entry((batch.region, written.page)).or_default();
                    assert!(written.version > *version, "{:?} has {version:?} again", written.page);
                    *version = written.version;
                }
                self.unkept.push_back((batch.region, batch.sequence));
            }
        }
    }

    fn pass(&mut self, span: Span) {
        let until = self.now + span;
        for _ in 0..1000 {
            let next = self.regions.poll_timeout();
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.event(Event::Tick);
        }
        self.now = until;
        self.event(Event::Tick);
    }

    fn close(&mut self) {
        let link = self.link();
        self.open[self.speaks] = false;
        self.event(Event::Closed { link });
    }

    fn end(&mut self) {
        for at in 0..LINKS {
            self.speaks = at;
            self.close();
        }
        self.pass(LEASE);
        self.pass(SESSION_KEPT);
        assert_eq!(self.regions.poll_timeout(), Time::NEVER, "somebody is not forgotten");
        while let Some((id, sequence)) = self.unkept.pop_front() {
            self.event(Event::Kept { id, sequence });
        }
        self.open[0] = true;
        let owner = Owner { name: known("a"), is_admin: true };
        for name in ["genes", "g", "me"] {
            let (owner, drop) = (owner.clone(), Drop { name: known(name) });
            self.event(Event::Drop { link: LinkId(0), channel: 0, owner, drop });
        }
        let figures = self.regions.figures();
        assert!(figures.regions > 0 || figures.bytes == 0, "{figures:?}");
    }
}

fn known(name: &str) -> Name {
    let Ok(name) = name.parse() else { unreachable!("a constant name") };
    name
}
