//! Decides what the peers of NetMem 0.2 (`wire::netmem`) get of a region.
//!
//! ```text
//!   input --> command --> request --> regions     one at a time: the next command is taken when
//!   output <-- answer <-- answer <----+           the one before is answered, and was read
//! ```
//!
//! Each connection is a bare session of its region: it holds its locks, and they end with it. Who waits
//! for a lock is not read ahead of, but for the end of its stream.
//!
//! NetMem's versions have 31 bits, a region's 64. Up to `VERSION_MAX` they are one number; afterwards
//! the field begins again at 1, and a version that a client names might be another round's. So of a page
//! that is so far its bytes are always sent, and nobody ever keeps old ones.
//!
//! Elsewhere: what the requests do (`regions`), sockets (`node`, `memory`).

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use wire::Message;
use wire::limits::{
    ARRIVAL_PATIENCE, FAREWELL_PATIENCE, NETMEM_CONNECTIONS_MAX, NETMEM_LOCKS_MAX,
    NETMEM_UNSENT_MAX, UNREAD_PATIENCE,
};
use wire::name::Name;
use wire::netmem::{self, Command, HEADER, Type, VERSION_MAX, VERSIONS};
use wire::region::{self, About, Ask, Commit, PageNo, Refusal, Request, Style, Token, Version};
use wire::units::Time;

use crate::LinkId;
use crate::alarms::Alarms;

/// Commands of one peer that are answered in one turn, so that nobody else waits for long.
const TURN: usize = 64;

/// What is shown to the peers of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub region: Name,
    /// Bytes of a page, the first ones of the region's; none: all of them.
    pub length: Option<u32>,
}

#[derive(Debug)]
pub enum Effect {
    // For the regions.
    /// `attached` follows.
    Attach {
        link: LinkId,
        region: Name,
    },
    /// `answered` follows, unless the peer goes.
    Request {
        link: LinkId,
        channel: u64,
        ask: Ask,
        bytes: Bytes,
    },
    /// Its locks are free.
    Detach {
        link: LinkId,
    },
    // For the driver.
    Reply {
        link: LinkId,
        answer: netmem::Answer,
    },
    /// Look again at what it sent, and whether there is more.
    Listen {
        link: LinkId,
    },
    /// End our side: everything was sent.
    Finish {
        link: LinkId,
    },
    /// Both sides have ended.
    Drop {
        link: LinkId,
    },
}

/// All peers of NetMem. After each call, drain `poll_effect`; sleep until `poll_timeout`, then drop
/// who is `overdue`.
#[derive(Debug, Default)]
pub struct Peers {
    table: Vec<Option<Peer>>,
    count: usize,
    alarms: Alarms,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
struct Peer {
    served: Served,
    born: Time,
    stage: Stage,
    /// Of a page; known when it is open.
    length: u32,
    /// It has asked something.
    known: bool,
    /// Requests so far.
    requests: u64,
    doing: Option<Doing>,
    held: HashMap<PageNo, Token>,
    /// It has ended its side.
    ended: bool,
    /// There is something to be looked at that was left.
    behind: bool,
    /// Bytes of a command of which more is to come, and since when they are as many.
    begun: Option<(usize, Time)>,
    /// Bytes of answers that wait, and since when they are as many.
    unsent: usize,
    unread: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Attaching,
    Open,
    /// It was sent away; `until`: our side has ended, and it has so long to end its own.
    Leaving {
        until: Option<Time>,
    },
}

/// The command that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Params,
    Read { page: i32, version: i32 },
    Lock { page: i32, version: i32 },
    Unlock { page: i32 },
    Update { page: i32 },
}

impl Peers {
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether every effect was drained.
    pub fn is_settled(&self) -> bool {
        self.effects.is_empty()
    }

    pub fn has(&self, link: LinkId) -> bool {
        self.get(link).is_some()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether one more may come: the one that has to go for it has asked nothing yet. `Err`: there is
    /// none.
    pub fn make_room(&self) -> Result<Option<LinkId>, Full> {
        if self.count < NETMEM_CONNECTIONS_MAX {
            return Ok(None);
        }
        let mut silent = Vec::new();
        for (at, peer) in self.table.iter().enumerate() {
            if let Some(peer) = peer
                && !peer.known
            {
                silent.push((peer.born, at as u32));
            }
        }
        silent.into_iter().min().map(|(_, at)| Some(LinkId(at))).ok_or(Full)
    }

    /// A connection is there.
    pub fn open(&mut self, now: Time, link: LinkId, served: Served) {
        let at = link.0 as usize;
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        let region = served.region.clone();
        self.table[at] = Some(Peer {
            served,
            born: now,
            stage: Stage::Attaching,
            length: 0,
            known: false,
            requests: 0,
            doing: None,
            held: HashMap::new(),
            ended: false,
            behind: false,
            begun: None,
            unsent: 0,
            unread: None,
        });
        self.count += 1;
        self.effects.push_back(Effect::Attach { link, region });
    }

    /// The connection is gone. What was decided for it is not done any more: its number may be
    /// another's by then. Returns whether the regions have to be told.
    pub fn close(&mut self, link: LinkId) -> bool {
        let Some(gone) = self.table.get_mut(link.0 as usize).and_then(Option::take) else {
            return false;
        };
        self.count -= 1;
        self.alarms.set(link.0, Time::NEVER);
        let mut attached = !matches!(gone.stage, Stage::Leaving { .. });
        self.effects.retain(|effect| match effect {
            Effect::Attach { link: of, .. }
            | Effect::Request { link: of, .. }
            | Effect::Reply { link: of, .. }
            | Effect::Listen { link: of }
            | Effect::Finish { link: of }
            | Effect::Drop { link: of } => *of != link,
            Effect::Detach { link: of } => {
                attached |= *of == link;
                *of != link
            }
        });
        attached
    }

    // What the peer says.

    /// Whether more is to be read, where so much was read and not taken.
    pub fn wants(&mut self, link: LinkId, untaken: usize) -> bool {
        let Some(peer) = self.get_mut(link) else { return false };
        let wants = match peer.stage {
            Stage::Leaving { .. } => true,
            Stage::Attaching | Stage::Open => untaken < HEADER + peer.length as usize,
        };
        peer.behind |= !wants;
        wants
    }

    /// Takes what can be done of the input. `ended`: nothing follows it.
    pub fn hear(&mut self, now: Time, link: LinkId, input: &mut BytesMut, ended: bool) {
        let Some(Some(peer)) = self.table.get_mut(link.0 as usize) else { return };
        let had_ended = peer.ended;
        peer.ended |= ended;
        peer.behind = false;
        let waited = matches!(peer.doing, Some(Doing::Lock { .. }));
        let mut partial = 0;
        for turn in 0.. {
            if let Stage::Leaving { .. } = peer.stage {
                input.clear();
                if peer.ended && !had_ended {
                    peer.part(now, link, &mut self.effects);
                }
                break;
            }
            if peer.stage == Stage::Attaching || peer.doing.is_some() || peer.is_stuffed() {
                peer.behind = peer.ended || !input.is_empty();
                break;
            }
            if turn == TURN {
                peer.behind = true;
                self.effects.push_back(Effect::Listen { link });
                break;
            }
            match Command::take(input, peer.length) {
                Ok(Some(command)) => peer.begin(link, command, &mut self.effects),
                Ok(None) if peer.ended => peer.leave(now, link, &mut self.effects),
                Ok(None) => {
                    partial = input.len();
                    break;
                }
                Err(_) => peer.leave(now, link, &mut self.effects),
            }
        }
        if let Some(Doing::Lock { .. }) = peer.doing
            && peer.ended
        {
            // Nobody could ever give that lock back. It may be granted in this very turn, though.
            let follows = Command::take(&mut input.clone(), peer.length);
            if waited && !matches!(follows, Ok(Some(_))) {
                peer.leave(now, link, &mut self.effects);
            } else if !waited {
                self.effects.push_back(Effect::Listen { link });
            }
        }
        peer.begun = match peer.begun {
            _ if partial == 0 => None,
            Some((was, since)) if was == partial => Some((was, since)),
            _ => Some((partial, now)),
        };
        self.alarms.set(link.0, peer.due());
    }

    /// So many bytes of answers wait yet.
    pub fn unsent(&mut self, now: Time, link: LinkId, unsent: usize) {
        let Some(Some(peer)) = self.table.get_mut(link.0 as usize) else { return };
        let was = std::mem::replace(&mut peer.unsent, unsent);
        peer.unread = match peer.unread {
            _ if unsent == 0 => None,
            Some(since) if was == unsent => Some(since),
            _ => Some(now),
        };
        if let Stage::Leaving { until: None } = peer.stage {
            peer.part(now, link, &mut self.effects);
        } else if peer.behind && peer.doing.is_none() && !peer.is_stuffed() {
            peer.behind = false;
            self.effects.push_back(Effect::Listen { link });
        }
        self.alarms.set(link.0, peer.due());
    }

    /// Those whose patience is over.
    pub fn overdue(&mut self, now: Time) -> Vec<LinkId> {
        let mut overdue = Vec::new();
        while let Some(at) = self.alarms.take_due(now) {
            let Some(Some(peer)) = self.table.get(at as usize) else { continue };
            match peer.due() {
                due if due <= now => overdue.push(LinkId(at)),
                due => self.alarms.set(at, due),
            }
        }
        overdue
    }

    pub fn poll_timeout(&self) -> Time {
        self.alarms.next()
    }

    // What the regions say.

    /// A message for this peer, as for any session.
    pub fn told(&mut self, now: Time, link: LinkId, channel: u64, message: Message) {
        match message {
            Message::Attached(attached) => {
                let about = attached.result.ok().map(|admission| admission.about);
                self.attached(now, link, about);
            }
            Message::Answer(answer, bytes) => self.answered(now, link, channel, answer, bytes),
            // Nothing else was asked for.
            _ => {}
        }
    }

    /// The region has no use for it any more.
    pub fn sent_away(&mut self, now: Time, link: LinkId) {
        if let Some(Some(peer)) = self.table.get_mut(link.0 as usize) {
            peer.leave(now, link, &mut self.effects);
            self.alarms.set(link.0, peer.due());
        }
    }

    fn attached(&mut self, now: Time, link: LinkId, about: Option<About>) {
        let Some(Some(peer)) = self.table.get_mut(link.0 as usize) else { return };
        if peer.stage != Stage::Attaching {
            return;
        }
        let fits = |about: &About| {
            let length = peer.served.length.unwrap_or(about.page_size);
            (about.style == Style::Transactional && length <= about.page_size).then_some(length)
        };
        match about.as_ref().and_then(fits) {
            Some(length) => {
                peer.stage = Stage::Open;
                peer.length = length;
                if std::mem::take(&mut peer.behind) {
                    self.effects.push_back(Effect::Listen { link });
                }
            }
            None => peer.leave(now, link, &mut self.effects),
        }
        self.alarms.set(link.0, peer.due());
    }

    fn answered(
        &mut self,
        now: Time,
        link: LinkId,
        channel: u64,
        answer: region::Answer,
        bytes: Bytes,
    ) {
        let Some(Some(peer)) = self.table.get_mut(link.0 as usize) else { return };
        if peer.requests != channel {
            return;
        }
        let Some(doing) = peer.doing.take() else { return };
        match peer.finish(doing, answer, bytes) {
            Some(answer) => {
                peer.reply(link, answer, &mut self.effects);
                if peer.behind && !peer.is_stuffed() {
                    peer.behind = false;
                    self.effects.push_back(Effect::Listen { link });
                }
            }
            // NetMem has no word for it.
            None => peer.leave(now, link, &mut self.effects),
        }
        self.alarms.set(link.0, peer.due());
    }

    fn get(&self, link: LinkId) -> Option<&Peer> {
        self.table.get(link.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, link: LinkId) -> Option<&mut Peer> {
        self.table.get_mut(link.0 as usize)?.as_mut()
    }
}

/// Every place is taken, by peers that have asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Peer {
    fn is_stuffed(&self) -> bool {
        self.unsent > NETMEM_UNSENT_MAX
    }

    fn due(&self) -> Time {
        let begun = self.begun.map_or(Time::NEVER, |(_, since)| since + ARRIVAL_PATIENCE);
        let unread = self.unread.map_or(Time::NEVER, |since| since + UNREAD_PATIENCE);
        match self.stage {
            Stage::Leaving { until } => until.unwrap_or(unread),
            Stage::Attaching | Stage::Open => begun.min(unread),
        }
    }

    fn leave(&mut self, now: Time, link: LinkId, effects: &mut VecDeque<Effect>) {
        if let Stage::Leaving { .. } = self.stage {
            return;
        }
        self.stage = Stage::Leaving { until: None };
        self.doing = None;
        self.held = HashMap::new();
        effects.push_back(Effect::Detach { link });
        self.part(now, link, effects);
    }

    /// Ends what can be ended, once everything is sent.
    fn part(&mut self, now: Time, link: LinkId, effects: &mut VecDeque<Effect>) {
        if self.unsent > 0 {
            return;
        }
        if let Stage::Leaving { until: until @ None } = &mut self.stage {
            *until = Some(now + FAREWELL_PATIENCE);
            effects.push_back(Effect::Finish { link });
        }
        if self.ended {
            effects.push_back(Effect::Drop { link });
        }
    }

    fn reply(&mut self, link: LinkId, answer: netmem::Answer, effects: &mut VecDeque<Effect>) {
        // The driver says how much is left of it.
        self.unsent += HEADER;
        if let netmem::Answer::Page { bytes, .. } = &answer {
            self.unsent += bytes.len();
        }
        effects.push_back(Effect::Reply { link, answer });
    }

    /// Begins a command, or answers it at once.
    fn begin(&mut self, link: LinkId, command: Command, effects: &mut VecDeque<Effect>) {
        self.known = true;
        // The whole page, whatever is known: only here versions can be compared.
        let known = Version(0);
        let nothing = Bytes::new();
        let (doing, request, bytes) = match command {
            Command::Version => {
                return self.reply(link, netmem::Answer::Version(VERSIONS), effects);
            }
            Command::Unknown(header) => {
                return self.reply(link, netmem::Answer::Unknown(header), effects);
            }
            Command::Params => (Doing::Params, Request::Stat, nothing),
            Command::Read { page, .. }
            | Command::Lock { page, .. }
            | Command::Unlock { page, .. }
            | Command::Update { page, .. }
                if page < 0 =>
            {
                return self.reply(link, netmem::Answer::NoSuchPage, effects);
            }
            Command::Read { page, version } => {
                let request = Request::Read { page: number(page), known };
                (Doing::Read { page, version }, request, nothing)
            }
            // Of a page that it has locked already, it is answered at once.
            Command::Lock { page, version } => {
                let request = Request::Lock { page: number(page), known, wait: None };
                (Doing::Lock { page, version }, request, nothing)
            }
            Command::Unlock { page, bytes } => {
                // Where it holds none, the regions say which of two is wrong: the page, or that.
                let token = self.held.get(&number(page)).copied().unwrap_or_default();
                let commit = Commit::Bytes { offset: 0 };
                (
                    Doing::Unlock { page },
                    Request::Unlock { page: number(page), token, commit },
                    bytes,
                )
            }
            Command::Update { page, version, bytes } => {
                let at_least = Version(version.max(0) as u64);
                let (page_no, if_version) = (number(page), None);
                let request = Request::Update { page: page_no, offset: 0, if_version, at_least };
                (Doing::Update { page }, request, bytes)
            }
        };
        self.ask(link, doing, request, bytes, effects);
    }

    fn ask(
        &mut self,
        link: LinkId,
        doing: Doing,
        request: Request,
        bytes: Bytes,
        effects: &mut VecDeque<Effect>,
    ) {
        // Nothing is ever asked a second time.
        let ask = Ask { answered: self.requests, request };
        self.requests += 1;
        self.doing = Some(doing);
        effects.push_back(Effect::Request { link, channel: self.requests, ask, bytes });
    }

    /// What a command comes to. `None`: to nothing that could be said.
    fn finish(
        &mut self,
        doing: Doing,
        answer: region::Answer,
        bytes: Bytes,
    ) -> Option<netmem::Answer> {
        use region::Answer;
        match (doing, answer) {
            (Doing::Params, Answer::Stat(about)) => {
                let pages = about.pages.min(i32::MAX as u64) as i32;
                Some(netmem::Answer::Params { pages, length: self.length as i32 })
            }
            (Doing::Read { page, version }, Answer::Page { version: is }) => {
                Some(self.page(Type::READ, page, version, is, bytes))
            }
            (Doing::Lock { page, version }, Answer::Locked { token, version: is }) => {
                self.held.insert(number(page), token);
                if self.held.len() > NETMEM_LOCKS_MAX {
                    return None;
                }
                Some(self.page(Type::LOCK, page, version, is, bytes))
            }
            (Doing::Unlock { page }, Answer::Committed { version }) => {
                self.held.remove(&number(page));
                let (kind, version) = (Type::UNLOCK, field(version));
                Some(netmem::Answer::Written { kind, page, version })
            }
            (Doing::Update { page }, Answer::Committed { version }) => {
                // With the lock it gives the lock back.
                self.held.remove(&number(page));
                let (kind, version) = (Type::UPDATE, field(version));
                Some(netmem::Answer::Written { kind, page, version })
            }
            (_, Answer::Refused(Refusal::NoSuchPage { .. })) => Some(netmem::Answer::NoSuchPage),
            (Doing::Unlock { page }, Answer::Refused(Refusal::StaleToken { .. })) => {
                self.held.remove(&number(page));
                Some(netmem::Answer::NotLocked)
            }
            _ => None,
        }
    }

    fn page(
        &self,
        kind: u8,
        page: i32,
        known: i32,
        version: Version,
        mut bytes: Bytes,
    ) -> netmem::Answer {
        // Of another round, the same number says nothing.
        let is_exact = version.0 <= VERSION_MAX as u64;
        let version = field(version);
        if is_exact && version == known {
            bytes = Bytes::new();
        }
        bytes.truncate(self.length as usize);
        netmem::Answer::Page { kind, page, version, bytes }
    }
}

/// A page that is not negative.
fn number(page: i32) -> PageNo {
    PageNo(page.max(0) as u64)
}

/// A version as it is told: never 0, never negative, and of two commits in a row never the same.
pub fn field(version: Version) -> i32 {
    let (version, max) = (version.0.max(1), VERSION_MAX as u64);
    ((version - 1) % max + 1) as i32
}

#[cfg(test)]
mod tests;
