//! The home side of shared memory: every region that lives on this node.
//!
//! ```text
//!   REQUEST --> session (asked before?) --> page, lock, transaction, watch --> ANSWER
//!                                                │ a commit
//!                                                ▼
//!                                      Keep(batch) --> vault --> Kept(sequence)
//! ```
//!
//! A commit is in force as soon as it is decided, so that what follows sees it at once. In a durable
//! region no answer leaves before all that it tells is kept: each waits for the sequence of the latest
//! commit that it has seen.
//!
//! Elsewhere: the client's side (`copy`, `mapped`), pages that are memory (`coherent`), bytes
//! (`wire::region`), where pages outlive the node (crate `vault`).

pub mod copy;
mod mapping;
mod region;
pub mod coherent;
pub mod mapped;
pub mod snapshots;
mod table;
mod watches;
mod barriers;
mod sessions;
mod locks;
mod places;
mod made;

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use slab::Slab;
use wire::Message;
use wire::limits::{LEASE, REGIONS_HELD_MAX, REGIONS_MAX, REGIONS_TOLD_MAX, TRANSACTION_BYTES_MAX};
use wire::name::Name;
use wire::region::{About, Answer, Ask, Attach, Attached, Bound, Create, Created, Drop, Dropped};
use wire::region::{Durability, PageNo, Refusal, RegionId, SessionId, Style, Version};
use wire::units::{Span, Time};

use crate::LinkId;
use crate::alarms::Alarms;
use made::{must_be_bounded, no_vault};
use region::{EPOCHS_MAX, Region};
use sessions::SessionAt;

#[derive(Debug)]
pub enum Event {
    /// On a client's control connection.
    Create {
        link: LinkId,
        channel: u64,
        owner: Owner,
        create: Create,
        id: RegionId,
    },
    Drop {
        link: LinkId,
        channel: u64,
        owner: Owner,
        drop: Drop,
    },
    RegionsAsk {
        link: LinkId,
        channel: u64,
        owner: Owner,
    },
    /// On a connection of purpose Memory, its first message.
    Attach {
        link: LinkId,
        owner: Owner,
        attach: Attach,
    },
    /// A peer of a protocol without sessions (`netmem`): one that lives and dies with its
    /// connection, and needs no lease.
    AttachBare {
        link: LinkId,
        region: Name,
    },
    Request {
        link: LinkId,
        channel: u64,
        ask: Ask,
        bytes: Bytes,
    },
    /// Bytes came from this link.
    Heard {
        link: LinkId,
    },
    Closed {
        link: LinkId,
    },
    /// A vault has made a region, or could not.
    Made {
        id: RegionId,
        result: Result<Epoch, Refusal>,
    },
    /// A vault has a region of this name and opened it here, or has none.
    Opened {
        name: Name,
        result: Result<Box<Opened>, Refusal>,
    },
    /// All commits of a region up to this one outlive the node.
    Kept {
        id: RegionId,
        sequence: u64,
    },
    /// Replicated regions may be used until then: before it, no other node is their home. Whoever
    /// brings a request in reads the clock after the request's bytes.
    Renewed {
        until: Time,
    },
    /// A vault has removed a region, or could not.
    Removed {
        id: RegionId,
        result: Result<(), Refusal>,
    },
    /// A vault lost a region, or this node's right to it: nothing that waits for it can be answered.
    Lost {
        id: RegionId,
        reason: String,
    },
    Tick,
}

#[derive(Debug)]
pub enum Effect {
    Send {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    /// Nobody waits for it: along with what is sent next.
    SendLater {
        link: LinkId,
        channel: u64,
        message: Message,
    },
    /// After what is queued has been sent.
    Close {
        link: LinkId,
    },
    /// Make a region in a vault; `Made` follows.
    Make {
        id: RegionId,
        owner: Name,
        create: Create,
    },
    /// Look in the vaults for a region; `Opened` follows.
    Open {
        name: Name,
    },
    /// Forget it, in the vault too; `Removed` or `Lost` follows.
    Remove {
        id: RegionId,
    },
    /// Give up what was opened, and leave it as it is.
    Shut {
        id: RegionId,
    },
    /// Forget what a vault has of a region that it refused to open.
    Discard {
        name: Name,
    },
    /// Keep a commit, after those before it; `Kept` or `Lost` follows.
    Keep(Batch),
}

/// For whom something is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub name: Name,
    pub is_admin: bool,
}

/// Since when a region is open, and until when it may be used without hearing from its vault again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Higher than whenever it was open before, counted from 1: it stands above the counter in a
    /// lock's token, so it is less than `EPOCHS_MAX`.
    pub number: u64,
}

/// A region as its vault gives it back.
#[derive(Clone, Debug)]
pub struct Opened {
    pub id: RegionId,
    pub owner: Name,
    pub create: Create,
    pub epoch: Epoch,
    /// Of the latest commit.
    pub sequence: u64,
    pub pages: u64,
    pub written: Vec<Written>,
    pub outcomes: Vec<Outcome>,
}

/// One commit, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub region: RegionId,
    /// One higher than the commit before.
    pub sequence: u64,
    /// The region has so many pages now, if it grew.
    pub grown: Option<u64>,
    pub written: Vec<Written>,
    /// What became of the request, so that it is not carried out again after a restart.
    pub outcome: Option<Outcome>,
    /// Outcomes that nobody will ask for any more: of this session, up to this request. They go before
    /// `outcome` comes, since a session that ended may have come back with it.
    pub forgotten: Vec<(SessionId, u64)>,
    /// The same: of this session, this request alone. The vault has no more of a session than its home.
    pub dropped: Vec<(SessionId, u64)>,
}

/// All bytes of a page, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub page: PageNo,
    pub version: Version,
    pub bytes: Bytes,
}

/// What became of a request that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub session: SessionId,
    pub owner: Name,
    pub request: u64,
    pub answer: Answer,
}

/// How long to wait for word of whether replicated regions are still ours.
const UNSURE: Span = Span::from_millis(100);

const NOT_OURS: &str = "this node has not heard for too long that it is still its home; try again";

/// What a home can do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Durabilities that a vault of this node keeps. `None` needs none.
    pub keeps: Vec<Durability>,
    /// Bytes that the written pages of all regions may take.
    pub held_max: u64,
    /// A session that is silent for so long loses its locks.
    pub lease: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self { keeps: Vec::new(), held_max: REGIONS_HELD_MAX, lease: LEASE }
    }
}

/// How many regions there are, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub regions: usize,
    pub bytes: u64,
    pub bytes_max: u64,
}

/// All regions of a node. After each batch of `handle`, drain `poll_effect`, then sleep until
/// `poll_timeout`.
#[derive(Debug)]
pub struct Regions {
    options: Options,
    regions: Slab<Region>,
    names: BTreeMap<Name, usize>,
    ids: HashMap<RegionId, usize>,
    /// A vault makes them.
    making: BTreeMap<RegionId, Making>,
    /// A vault removes them: what each was called, and who waits for the answer, if still.
    leaving: BTreeMap<RegionId, (Name, Option<(LinkId, u64)>)>,
    /// A vault looks for them.
    opening: BTreeMap<Name, Vec<Newcomer>>,
    links: Vec<Seat>,
    /// Regions that their vault has and cannot open, and why not.
    refused: BTreeMap<Name, String>,
    /// Replicated regions are ours until then.
    until: Time,
    /// When each region is looked at again.
    alarms: Alarms,
    out: Outbox,
}

/// What the parts of this machine add to.
#[derive(Debug)]
struct Outbox {
    effects: VecDeque<Effect>,
    /// Bytes of all written pages, their tables, and of changes that wait.
    held: u64,
    held_max: u64,
    /// Bytes of pages that conflicts may still bring, of those that one event leads to.
    conflicts: u64,
}

/// What a link has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seat {
    #[default]
    None,
    /// It waits for a region to be opened.
    Waiting,
    Session(usize, SessionAt),
}

#[derive(Debug)]
struct Making {
    /// Who waits for the answer, if still.
    asker: Option<(LinkId, u64)>,
    owner: Name,
    create: Create,
}

/// Who waits for a region to be opened.
#[derive(Debug)]
struct Newcomer {
    link: LinkId,
    owner: Option<Owner>,
    session: Option<SessionId>,
}

impl Regions {
    pub fn new(options: Options) -> Self {
        Self {
            regions: Slab::new(),
            names: BTreeMap::new(),
            ids: HashMap::new(),
            making: BTreeMap::new(),
            leaving: BTreeMap::new(),
            opening: BTreeMap::new(),
            links: Vec::new(),
            refused: BTreeMap::new(),
            until: Time(0),
            alarms: Alarms::default(),
            out: Outbox {
                effects: VecDeque::new(),
                held: 0,
                held_max: options.held_max,
                conflicts: 0,
            },
            options,
        }
    }

    pub fn handle(&mut self, now: Time, event: Event) {
        self.out.conflicts = TRANSACTION_BYTES_MAX;
        match event {
            Event::Request { link, channel, ask, bytes } => {
                self.request(now, link, channel, ask, bytes);
            }
            Event::Heard { link } => {
                if let Some((region, session)) = self.session(link) {
                    self.regions[region].heard(now, session);
                }
            }
            Event::Create { link, channel, owner, create, id } => {
                match self.create(link, channel, owner, create, id) {
                    Ok(Some(about)) => self.created(link, channel, Ok(about)),
                    // Its vault has to make it.
                    Ok(None) => {}
                    Err(refusal) => self.created(link, channel, Err(refusal)),
                }
            }
            Event::Drop { link, channel, owner, drop } => {
                match self.droppable(now, &owner, &drop.name) {
                    Ok(Some(at)) => self.drop_region(at, link, channel),
                    Ok(None) => {
                        self.refused.remove(&drop.name);
                        self.dropped(link, channel, Ok(()));
                        self.out.effects.push_back(Effect::Discard { name: drop.name });
                    }
                    Err(refusal) => self.dropped(link, channel, Err(refusal)),
                }
            }
            Event::RegionsAsk { link, channel, owner } => {
                let regions = self.list(&owner);
                self.out.send(link, channel, Message::Regions(regions));
            }
            Event::Attach { link, owner, attach } => {
                let newcomer = Newcomer { link, owner: Some(owner), session: Some(attach.session) };
                self.attach(now, attach.region, newcomer);
            }
            Event::AttachBare { link, region } => {
                self.attach(now, region, Newcomer { link, owner: None, session: None });
            }
            Event::Closed { link } => self.closed(now, link),
            Event::Made { id, result } => self.made(now, id, result),
            Event::Opened { name, result } => self.opened(now, name, result),
            Event::Kept { id, sequence } => {
                if let Some(&at) = self.ids.get(&id) {
                    self.regions[at].keeps(sequence, &mut self.out);
                }
            }
            Event::Renewed { until } => self.until = self.until.max(until),
            Event::Removed { id, result } => self.removed(id, result),
            Event::Lost { id, reason } => self.lost(now, id, &reason),
            Event::Tick => {
                while let Some(at) = self.alarms.take_due(now) {
                    let is_ours = self.is_ours(now, at as usize);
                    let Some(region) = self.regions.get_mut(at as usize) else { continue };
                    if is_ours {
                        region.tick(now, &mut self.out);
                        self.alarms.set(at, region.due());
                    } else {
                        self.alarms.set(at, now + UNSURE);
                    }
                }
            }
        }
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Time {
        self.alarms.next()
    }

    pub fn figures(&self) -> Figures {
        let (regions, bytes) = (self.regions.len(), self.out.held);
        Figures { regions, bytes, bytes_max: self.out.held_max }
    }

    /// Whether no other node can be the home of a region at this moment.
    fn is_ours(&self, now: Time, at: usize) -> bool {
        let is_replicated = |region: &Region| region.durability == Durability::Replicated;
        now < self.until || !self.regions.get(at).is_some_and(is_replicated)
    }

    fn session(&self, link: LinkId) -> Option<(usize, SessionAt)> {
        match self.seat(link) {
            Seat::Session(region, session) => Some((region, session)),
            Seat::None | Seat::Waiting => None,
        }
    }

    fn seat(&self, link: LinkId) -> Seat {
        self.links.get(link.0 as usize).copied().unwrap_or_default()
    }

    fn sit(&mut self, link: LinkId, seat: Seat) {
        let at = link.0 as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, Seat::None);
        }
        self.links[at] = seat;
    }

    fn request(&mut self, now: Time, link: LinkId, channel: u64, ask: Ask, bytes: Bytes) {
        let Some((at, session)) = self.session(link) else {
            // Nobody asks before the answer to its ATTACH, or after its DETACH.
            self.out.effects.push_back(Effect::Close { link });
            return;
        };
        if !self.is_ours(now, at) {
            // Another node may be its home already. Its client comes back, here or there.
            self.out.effects.push_back(Effect::Close { link });
            return;
        }
        let region = &mut self.regions[at];
        region.request(now, session, channel, ask, bytes, &mut self.out);
        if !region.has(session) {
            self.links[link.0 as usize] = Seat::None;
        }
        self.alarms.set(at as u32, region.due());
    }

    /// Makes a region; a durable one is made by its vault first.
    fn create(
        &mut self,
        link: LinkId,
        channel: u64,
        owner: Owner,
        create: Create,
        id: RegionId,
    ) -> Result<Option<About>, Refusal> {
        must_be_bounded(&create)?;
        if self.names.contains_key(&create.name)
            || self.making.values().any(|making| making.create.name == create.name)
            || self.is_leaving(&create.name)
        {
            return Err(Refusal::Exists);
        }
        let regions = self.regions.len() + self.making.len();
        if regions >= REGIONS_MAX {
            return Err(region::too_many(Bound::Regions, regions + 1, REGIONS_MAX));
        }
        if create.durability == Durability::None && !self.options.keeps.is_empty() {
            // A vault may have one of this name.
            if !self.opening.contains_key(&create.name) {
                self.opening.insert(create.name.clone(), Vec::new());
                self.out.effects.push_back(Effect::Open { name: create.name.clone() });
            }
            let making = Making { asker: Some((link, channel)), owner: owner.name, create };
            self.making.insert(id, making);
            return Ok(None);
        }
        if create.durability == Durability::None {
            let region = Region::new(id, owner.name, create, 1, self.options.lease);
            let about = region.about();
            self.add(region);
            return Ok(Some(about));
        }
        if create.style == Style::Coherent {
            return Err(Refusal::WrongStyle { style: Style::Coherent });
        }
        if !self.options.keeps.contains(&create.durability) {
            return Err(Refusal::NoVault { reason: no_vault(create.durability) });
        }
        let effect = Effect::Make { id, owner: owner.name.clone(), create: create.clone() };
        self.out.effects.push_back(effect);
        let making = Making { asker: Some((link, channel)), owner: owner.name, create };
        self.making.insert(id, making);
        Ok(None)
    }

    fn created(&mut self, link: LinkId, channel: u64, result: Result<About, Refusal>) {
        let created = Box::new(Created { result });
        self.out.send(link, channel, Message::RegionCreated(created));
    }

    fn made(&mut self, now: Time, id: RegionId, result: Result<Epoch, Refusal>) {
        let Some(Making { asker, owner, create }) = self.making.remove(&id) else { return };
        let name = create.name.clone();
        let result = result.and_then(Epoch::checked).map(|epoch| {
            let region = Region::new(id, owner, create, epoch, self.options.lease);
            let about = region.about();
            self.add(region);
            about
        });
        if let Some((link, channel)) = asker {
            self.created(link, channel, result);
        }
        // Those who came meanwhile.
        let Some(newcomers) = self.opening.remove(&name) else { return };
        if let Some(&at) = self.names.get(&name) {
            newcomers.into_iter().for_each(|newcomer| self.enter(now, at, newcomer));
        } else {
            // A vault may have one all the same.
            self.opening.insert(name.clone(), newcomers);
            self.out.effects.push_back(Effect::Open { name });
        }
    }

    /// The region without a vault that is to be made under this name, if none is found.
    fn making_without(&self, name: &Name) -> Option<RegionId> {
        let is_it = |making: &Making| {
            making.create.name == *name && making.create.durability == Durability::None
        };
        self.making.iter().find(|(_, making)| is_it(making)).map(|(&id, _)| id)
    }

    fn add(&mut self, region: Region) -> usize {
        let (id, name) = (region.id, region.name.clone());
        let at = self.regions.insert(region);
        self.ids.insert(id, at);
        self.names.insert(name, at);
        self.alarms.set(at as u32, self.regions[at].due());
        at
    }

    /// Takes a region out; its connections are closed.
    fn remove(&mut self, at: usize) -> Region {
        let region = self.regions.remove(at);
        self.ids.remove(&region.id);
        self.names.remove(&region.name);
        self.alarms.set(at as u32, Time::NEVER);
        for link in region.links() {
            self.links[link.0 as usize] = Seat::None;
        }
        region.close(&mut self.out);
        region
    }

    /// The region of this name, or none if it is one that cannot be opened.
    fn droppable(&self, now: Time, owner: &Owner, name: &Name) -> Result<Option<usize>, Refusal> {
        // The one that is here comes first: what a vault could not open stays for another drop.
        if let Some(&at) = self.names.get(name) {
            if !self.is_ours(now, at) {
                return Err(Refusal::NoVault { reason: NOT_OURS.to_owned() });
            }
            return if self.regions[at].is_of(owner) {
                Ok(Some(at))
            } else {
                Err(Refusal::NotYours)
            };
        }
        let reason = self.refused.get(name).ok_or(Refusal::NoSuchRegion)?.clone();
        // Whose it is cannot be known any more.
        if owner.is_admin { Ok(None) } else { Err(Refusal::Unkept { reason }) }
    }

    /// Nobody can use it from now on; that it is gone is said when its vault has removed it.
    fn drop_region(&mut self, at: usize, link: LinkId, channel: u64) {
        let Region { id, name, durability, .. } = self.remove(at);
        if durability == Durability::None {
            return self.dropped(link, channel, Ok(()));
        }
        self.leaving.insert(id, (name, Some((link, channel))));
        self.out.effects.push_back(Effect::Remove { id });
    }

    fn dropped(&mut self, link: LinkId, channel: u64, result: Result<(), Refusal>) {
        self.out.send(link, channel, Message::RegionDropped(Dropped { result }));
    }

    fn removed(&mut self, id: RegionId, result: Result<(), Refusal>) {
        if let Some((_, Some((link, channel)))) = self.leaving.remove(&id) {
            self.dropped(link, channel, result);
        }
    }

    fn is_leaving(&self, name: &Name) -> bool {
        self.leaving.values().any(|(leaving, _)| leaving == name)
    }

    fn list(&self, owner: &Owner) -> wire::region::Regions {
        let regions = self.names.values().map(|&at| &self.regions[at]);
        let mut regions = regions.filter(|region| region.is_for(owner));
        let told = regions.by_ref().take(REGIONS_TOLD_MAX).map(Region::about).collect();
        wire::region::Regions { regions: told, more: regions.count() as u32 }
    }

    fn attach(&mut self, now: Time, name: Name, newcomer: Newcomer) {
        let link = newcomer.link;
        if self.seat(link) != Seat::None {
            // Whoever wants another region opens another connection.
            self.out.effects.push_back(Effect::Close { link });
        } else if let Some(&at) = self.names.get(&name) {
            if self.is_ours(now, at) {
                self.enter(now, at, newcomer);
            } else {
                self.out.effects.push_back(Effect::Close { link });
            }
        } else if self.options.keeps.is_empty() || self.is_leaving(&name) {
            self.turn_away(link, Refusal::NoSuchRegion);
        } else {
            self.sit(link, Seat::Waiting);
            let is_made = self.making.values().any(|making| making.create.name == name);
            if !is_made && !self.opening.contains_key(&name) {
                self.out.effects.push_back(Effect::Open { name: name.clone() });
            }
            self.opening.entry(name).or_default().push(newcomer);
        }
    }

    fn enter(&mut self, now: Time, at: usize, Newcomer { link, owner, session }: Newcomer) {
        let region = &mut self.regions[at];
        let owner = owner.unwrap_or_else(|| Owner { name: region.owner.clone(), is_admin: false });
        match region.attach(now, link, session, owner, &mut self.out) {
            Ok((session, old)) => {
                self.sit(link, Seat::Session(at, session));
                if let Some(old) = old {
                    self.sit(old, Seat::None);
                    self.out.effects.push_back(Effect::Close { link: old });
                }
            }
            Err(refusal) => self.turn_away(link, refusal),
        }
        self.alarms.set(at as u32, self.regions[at].due());
    }

    /// The connection stays: its client may try another name.
    fn turn_away(&mut self, link: LinkId, refusal: Refusal) {
        self.sit(link, Seat::None);
        let attached = Box::new(Attached { result: Err(refusal) });
        self.out.send(link, 0, Message::Attached(attached));
    }

    fn opened(&mut self, now: Time, name: Name, result: Result<Box<Opened>, Refusal>) {
        if let Some(id) = self.making_without(&name) {
            match &result {
                Err(Refusal::NoSuchRegion) => return self.made(now, id, Ok(Epoch { number: 1 })),
                found => {
                    let refusal = found.as_ref().err().cloned().unwrap_or(Refusal::Exists);
                    let making = self.making.remove(&id);
                    if let Some((link, channel)) = making.and_then(|making| making.asker) {
                        self.created(link, channel, Err(refusal));
                    }
                }
            }
        }
        let newcomers = self.opening.remove(&name).unwrap_or_default();
        match &result {
            Err(Refusal::Unkept { reason }) if !self.names.contains_key(&name) => {
                self.refused.insert(name.clone(), reason.clone());
            }
            _ => {
                self.refused.remove(&name);
            }
        }
        let result = result.and_then(|opened| {
            let id = opened.id;
            let found = self.names.get(&name).copied();
            if let Some(at) = found {
                if self.regions[at].id != id {
                    self.out.effects.push_back(Effect::Shut { id });
                }
                return Ok(at);
            }
            self.add_opened(now, *opened).inspect_err(|_| {
                self.out.effects.push_back(Effect::Shut { id });
            })
        });
        for newcomer in newcomers {
            match &result {
                Ok(at) => self.enter(now, *at, newcomer),
                Err(refusal) => self.turn_away(newcomer.link, refusal.clone()),
            }
        }
    }

    fn add_opened(&mut self, now: Time, opened: Opened) -> Result<usize, Refusal> {
        if self.regions.len() + self.making.len() >= REGIONS_MAX {
            let regions = self.regions.len() + self.making.len() + 1;
            return Err(region::too_many(Bound::Regions, regions, REGIONS_MAX));
        }
        opened.epoch.checked()?;
        let lease = self.options.lease;
        let region = Region::opened(now, opened, lease, &mut self.out);
        Ok(self.add(region))
    }

    /// Nothing of it can be told any more: what was answered is kept, and of the rest it is not known.
    fn lost(&mut self, now: Time, id: RegionId, reason: &str) {
        if self.making.contains_key(&id) {
            self.made(now, id, Err(Refusal::Unkept { reason: reason.to_owned() }));
        } else if let Some(&at) = self.ids.get(&id) {
            self.remove(at);
        } else {
            self.removed(id, Err(Refusal::Unkept { reason: reason.to_owned() }));
        }
    }

    fn closed(&mut self, now: Time, link: LinkId) {
        for making in self.making.values_mut() {
            making.asker = making.asker.filter(|&(asker, _)| asker != link);
        }
        for (_, asker) in self.leaving.values_mut() {
            *asker = asker.filter(|&(asker, _)| asker != link);
        }
        let seat = self.seat(link);
        if seat == Seat::None {
            return;
        }
        self.sit(link, Seat::None);
        let Seat::Session(at, session) = seat else {
            for newcomers in self.opening.values_mut() {
                newcomers.retain(|newcomer| newcomer.link != link);
            }
            return;
        };
        let region = &mut self.regions[at];
        region.closed(now, session, &mut self.out);
        self.alarms.set(at as u32, region.due());
    }
}

impl Outbox {
    fn send(&mut self, link: LinkId, channel: u64, message: Message) {
        self.effects.push_back(Effect::Send { link, channel, message });
    }

    /// Whether there may be so many bytes more.
    fn must_hold(&self, more: u64) -> Result<(), Refusal> {
        let (value, max) = (self.held.saturating_add(more), self.held_max);
        if more == 0 || value <= max {
            return Ok(());
        }
        Err(Refusal::OutOfBounds { what: Bound::Memory, value, max })
    }
}

impl Epoch {
    /// Its number, if it fits into a token.
    fn checked(self) -> Result<u64, Refusal> {
        if (1..EPOCHS_MAX).contains(&self.number) {
            return Ok(self.number);
        }
        Err(Refusal::Unkept { reason: format!("was opened {} times", self.number) })
    }
}

#[cfg(test)]
mod tests;
