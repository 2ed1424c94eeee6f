//! What a region's sessions are answered, request by request.

mod pages;
mod locks;
mod sessions;
mod watches;
mod bounds;
mod keeping;
mod model;

use wire::region::{Audience, Changed, Commit, Request, Token, Write};

use super::*;

/// Connections: of `ann`, of `bob`, and one that asks for everything else.
const ANN: LinkId = LinkId(0);
const BOB: LinkId = LinkId(1);
const CAT: LinkId = LinkId(2);
const CONTROL: LinkId = LinkId(9);

const PAGE: usize = 64;

/// A home with one region, `genes`, and the time.
struct Home {
    regions: Regions,
    now: Time,
    /// The latest number of each link's requests.
    numbers: BTreeMap<LinkId, u64>,
}

/// What was sent to a link.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Answer(Answer, Bytes),
    Changed(Changed),
    Attached(Attached),
    Other(Message),
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn owner(text: &str) -> Owner {
    Owner { name: name(text), is_admin: false }
}

fn person(link: LinkId) -> &'static str {
    match link {
        ANN => "ann",
        BOB => "bob",
        _ => "cat",
    }
}

fn create(pages: u64, durability: Durability) -> Create {
    Create {
        name: name("genes"),
        page_size: PAGE as u32,
        pages,
        durability,
        style: Style::Transactional,
        audience: Audience::Cluster,
    }
}

fn full(byte: u8) -> Bytes {
    Bytes::from(vec![byte; PAGE])
}

impl Home {
    /// With a region of 8 pages and sessions of everybody.
    fn new() -> Self {
        Self::with(Options::default(), create(8, Durability::None))
    }

    fn with(options: Options, create: Create) -> Self {
        let mut home =
            Self { regions: Regions::new(options), now: Time(1), numbers: BTreeMap::new() };
        let durability = create.durability;
        home.create(create);
        if durability != Durability::None {
            let made = Event::Made { id: RegionId(7), result: Ok(Epoch { number: 1 }) };
            home.event(made);
        }
        for link in [ANN, BOB, CAT] {
            home.attach(link, u64::from(link.0));
        }
        home
    }

    fn create(&mut self, create: Create) -> Vec<Effect> {
        let owner = owner("ann");
        self.event(Event::Create { link: CONTROL, channel: 0, owner, create, id: RegionId(7) })
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.regions.handle(self.now, event);
        std::iter::from_fn(|| self.regions.poll_effect()).collect()
    }

    fn attach(&mut self, link: LinkId, session: u64) -> Vec<Effect> {
        let attach = Attach { region: name("genes"), session: SessionId(session) };
        self.event(Event::Attach { link, owner: owner(person(link)), attach })
    }

    /// Asks, and returns the number, and everything that was sent to anybody.
    #[track_caller]
    fn ask(
        &mut self,
        link: LinkId,
        request: Request,
        bytes: &[u8],
    ) -> (u64, Vec<(LinkId, u64, Sent)>) {
        let number = self.numbers.entry(link).or_default();
        *number += 1;
        let number = *number;
        (number, self.again(link, number, request, bytes))
    }

    /// Asks under a number that may have been used.
    fn again(
        &mut self,
        link: LinkId,
        number: u64,
        request: Request,
        bytes: &[u8],
    ) -> Vec<(LinkId, u64, Sent)> {
        let ask = Ask { answered: 0, request };
        let bytes = Bytes::copy_from_slice(bytes);
        sent(self.event(Event::Request { link, channel: number, ask, bytes }))
    }

    /// Asks what is answered at once, to the asker alone.
    #[track_caller]
    fn answer(&mut self, link: LinkId, request: Request, bytes: &[u8]) -> (Answer, Bytes) {
        let (number, mut sent) = self.ask(link, request, bytes);
        assert_eq!(sent.len(), 1, "{sent:?}");
        match sent.remove(0) {
            (to, channel, Sent::Answer(answer, bytes)) if (to, channel) == (link, number) => {
                (answer, bytes)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The same, without bytes.
    #[track_caller]
    fn check(&mut self, link: LinkId, request: Request, bytes: &[u8], want: Answer) {
        assert_eq!(self.answer(link, request, bytes), (want, Bytes::new()));
    }

    #[track_caller]
    fn refused(&mut self, link: LinkId, request: Request, bytes: &[u8]) -> Refusal {
        match self.answer(link, request, bytes).0 {
            Answer::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn reads(&mut self, link: LinkId, page: u64) -> (u64, Bytes) {
        match self.answer(link, read(page, 0), &[]) {
            (Answer::Page { version }, bytes) => (version.0, bytes),
            other => panic!("{other:?}"),
        }
    }

    /// Gets a lock that is free.
    #[track_caller]
    fn locks(&mut self, link: LinkId, page: u64) -> Token {
        match self.answer(link, lock(page), &[]).0 {
            Answer::Locked { token, .. } => token,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for what is not answered yet. Returns the number.
    #[track_caller]
    fn waits(&mut self, link: LinkId, request: Request, bytes: &[u8]) -> u64 {
        let (number, sent) = self.ask(link, request, bytes);
        assert_eq!(sent, []);
        number
    }

    /// Time passes, and nobody says anything but these.
    fn pass(&mut self, span: Span, heard: &[LinkId]) -> Vec<(LinkId, u64, Sent)> {
        self.now = self.now + span;
        let mut effects = Vec::new();
        for &link in heard {
            effects.extend(self.event(Event::Heard { link }));
        }
        effects.extend(self.event(Event::Tick));
        sent(effects)
    }
}

fn sent(effects: Vec<Effect>) -> Vec<(LinkId, u64, Sent)> {
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { link, channel, message } | Effect::SendLater { link, channel, message } => {
            Some((
                link,
                channel,
                match message {
                    Message::Answer(answer, bytes) => Sent::Answer(answer, bytes),
                    Message::Changed(changed) => Sent::Changed(changed),
                    Message::Attached(attached) => Sent::Attached(*attached),
                    other => Sent::Other(other),
                },
            ))
        }
        _ => None,
    });
    sent.collect()
}

fn answered(answer: Answer) -> Sent {
    Sent::Answer(answer, Bytes::new())
}

fn read(page: u64, known: u64) -> Request {
    Request::Read { page: PageNo(page), known: Version(known) }
}

fn lock(page: u64) -> Request {
    Request::Lock { page: PageNo(page), known: Version(0), wait: None }
}

/// Without asking for bytes of a page that was never written.
fn lock_for(page: u64, wait: Span) -> Request {
    Request::Lock { page: PageNo(page), known: Version(1), wait: Some(wait) }
}

fn unlock(page: u64, token: Token) -> Request {
    Request::Unlock { page: PageNo(page), token, commit: Commit::Nothing }
}

fn commit(page: u64, token: Token) -> Request {
    Request::Unlock { page: PageNo(page), token, commit: Commit::Bytes { offset: 0 } }
}

fn update(page: u64, offset: u32) -> Request {
    let (if_version, at_least) = (None, Version(0));
    Request::Update { page: PageNo(page), offset, if_version, at_least }
}

fn update_if(page: u64, version: u64) -> Request {
    let (if_version, at_least) = (Some(Version(version)), Version(0));
    Request::Update { page: PageNo(page), offset: 0, if_version, at_least }
}

fn write(page: u64, offset: u32, length: u32) -> Write {
    Write { page: PageNo(page), offset, length }
}

fn transact(reads: &[(u64, u64)], writes: &[Write]) -> Request {
    let reads = reads.iter().map(|&(page, version)| (PageNo(page), Version(version))).collect();
    Request::Transact { reads, writes: writes.to_vec() }
}

fn committed(version: u64) -> Answer {
    Answer::Committed { version: Version(version) }
}
