//! One peer, heard and answered by hand.

use wire::netmem::{Answer, Header};
use wire::region::{Admission, Attached, Audience, Durability, RegionId};
use wire::units::Span;

use super::*;

const LINK: LinkId = LinkId(3);

/// One peer, and the regions played by hand.
struct Play {
    now: Time,
    peers: Peers,
    input: BytesMut,
}

impl Play {
    fn new() -> Self {
        let mut play = Self::unattached(Some(4));
        play.attach(64);
        assert!(play.drain().is_empty());
        play
    }

    fn unattached(length: Option<u32>) -> Self {
        let (now, input) = (Time(0), BytesMut::new());
        let mut play = Self { now, peers: Peers::default(), input };
        let region: Name = "genes".parse().unwrap();
        play.peers.open(now, LINK, Served { region, length });
        assert!(matches!(play.drain()[..], [Effect::Attach { .. }]));
        play
    }

    fn attach(&mut self, page_size: u32) {
        let about = about(page_size, 6);
        let admission = Admission { about, resumed: false, epoch: 1, lease: Span::from_secs(3) };
        let message = Message::Attached(Attached { result: Ok(admission) }.into());
        self.peers.told(self.now, LINK, 0, message);
    }

    fn says(&mut self, command: Command) -> Vec<Effect> {
        command.put(&mut self.input);
        self.hear(false)
    }

    fn hear(&mut self, ended: bool) -> Vec<Effect> {
        self.peers.hear(self.now, LINK, &mut self.input, ended);
        self.drain()
    }

    /// The regions answer the latest request.
    fn region(
        &mut self,
        channel: u64,
        answer: region::Answer,
        bytes: &'static [u8],
    ) -> Vec<Effect> {
        let message = Message::Answer(answer, Bytes::from_static(bytes));
        self.peers.told(self.now, LINK, channel, message);
        self.drain()
    }

    fn sent(&mut self, left: usize) -> Vec<Effect> {
        self.peers.unsent(self.now, LINK, left);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.peers.poll_effect()).collect()
    }
}

fn about(page_size: u32, pages: u64) -> About {
    About {
        id: RegionId(1),
        name: "genes".parse().unwrap(),
        owner: "me".parse().unwrap(),
        page_size,
        pages,
        durability: Durability::None,
        style: Style::Transactional,
        audience: Audience::Cluster,
        written: 0,
        sequence: 0,
        sessions: 1,
        watches: 0,
        locks: 0,
        waiting: 0,
        moves: 0,
    }
}

#[track_caller]
fn request(effects: &[Effect]) -> (u64, &Request) {
    match effects {
        [Effect::Request { channel, ask, .. }] => {
            assert_eq!(ask.answered + 1, *channel, "everything before it was answered");
            (*channel, &ask.request)
        }
        other => panic!("no request: {other:?}"),
    }
}

#[track_caller]
fn reply(effects: &[Effect]) -> &Answer {
    match effects {
        [Effect::Reply { answer, .. }] => answer,
        other => panic!("no reply: {other:?}"),
    }
}

fn page(kind: u8, version: i32, bytes: &'static [u8]) -> Answer {
    Answer::Page { kind, page: 2, version, bytes: Bytes::from_static(bytes) }
}

const READ: Command = Command::Read { page: 2, version: 0 };
const LOCK: Command = Command::Lock { page: 2, version: 0 };

fn unlock() -> Command {
    Command::Unlock { page: 2, bytes: Bytes::from_static(b"ABCD") }
}

fn update(version: i32) -> Command {
    Command::Update { page: 2, version, bytes: Bytes::from_static(b"ABCD") }
}

/// Takes the lock with this token.
fn locked(play: &mut Play) {
    let effects = play.says(LOCK);
    let (channel, asked) = request(&effects);
    let (page_no, known) = (PageNo(2), Version(0));
    assert_eq!(*asked, Request::Lock { page: page_no, known, wait: None });
    let granted = region::Answer::Locked { token: Token(9), version: Version(1) };
    assert_eq!(*reply(&play.region(channel, granted, b"abcdefgh")), page(Type::LOCK, 1, b"abcd"));
    play.sent(0);
}

#[test]
fn versions_and_what_is_unknown_need_no_region() {
    let mut play = Play::new();
    assert_eq!(*reply(&play.says(Command::Version)), Answer::Version(0x0002_0002));
    let header = Header { kind: 6, offset: 1, length: 0, version: 3 };
    assert_eq!(*reply(&play.says(Command::Unknown(header))), Answer::Unknown(header));
}

#[test]
fn params_are_the_regions_pages_and_the_served_length() {
    let mut play = Play::new();
    let effects = play.says(Command::Params);
    let (channel, asked) = request(&effects);
    assert_eq!(*asked, Request::Stat);
    let stat = region::Answer::Stat(Box::new(about(64, 6)));
    let effects = play.region(channel, stat, b"");
    assert_eq!(*reply(&effects), Answer::Params { pages: 6, length: 4 });
    let mut whole = Play::unattached(None);
    whole.attach(64);
    let effects = whole.says(Command::Params);
    let stat = region::Answer::Stat(Box::new(about(64, 1 << 40)));
    let effects = whole.region(request(&effects).0, stat, b"");
    assert_eq!(*reply(&effects), Answer::Params { pages: i32::MAX, length: 64 });
}

#[test]
fn a_page_is_sent_unless_its_version_is_known() {
    for (known, bytes) in [(0, &b"abcd"[..]), (6, b"abcd"), (7, b""), (8, b"abcd"), (-7, b"abcd")] {
        let mut play = Play::new();
        let effects = play.says(Command::Read { page: 2, version: known });
        let answer = region::Answer::Page { version: Version(7) };
        let effects = play.region(request(&effects).0, answer, b"abcdefgh");
        assert_eq!(*reply(&effects), page(Type::READ, 7, bytes), "known: {known}");
    }
}

#[test]
fn after_the_last_version_comes_1_and_nobody_keeps_old_bytes() {
    let max = VERSION_MAX as u64;
    for (version, told, bytes) in [
        (max - 1, VERSION_MAX - 1, &b""[..]),
        (max, VERSION_MAX, b""),
        (max + 1, 1, b"abcd"),
        (max + 2, 2, b"abcd"),
        (2 * max, VERSION_MAX, b"abcd"),
        (2 * max + 1, 1, b"abcd"),
        (u64::MAX, field(Version(u64::MAX)), b"abcd"),
    ] {
        let mut play = Play::new();
        let effects = play.says(Command::Read { page: 2, version: told });
        let answer = region::Answer::Page { version: Version(version) };
        let effects = play.region(request(&effects).0, answer, b"abcdefgh");
        assert_eq!(*reply(&effects), page(Type::READ, told, bytes), "{version}");
        assert!(told > 0);
        assert_ne!(field(Version(version)), field(Version(version - 1)), "{version}");
    }
}

#[test]
fn an_unlock_commits_under_the_token_of_its_lock() {
    let mut play = Play::new();
    locked(&mut play);
    let effects = play.says(unlock());
    let (channel, asked) = request(&effects);
    let commit = Commit::Bytes { offset: 0 };
    assert_eq!(*asked, Request::Unlock { page: PageNo(2), token: Token(9), commit });
    let effects = play.region(channel, region::Answer::Committed { version: Version(2) }, b"");
    let written = Answer::Written { kind: Type::UNLOCK, page: 2, version: 2 };
    assert_eq!(*reply(&effects), written);
    // It holds the lock no more.
    let effects = play.says(unlock());
    let (channel, asked) = request(&effects);
    assert_eq!(*asked, Request::Unlock { page: PageNo(2), token: Token(0), commit });
    let refused = region::Answer::Refused(Refusal::StaleToken { page: PageNo(2) });
    assert_eq!(*reply(&play.region(channel, refused, b"")), Answer::NotLocked);
}

#[test]
fn an_update_gives_the_holders_lock_back() {
    let mut play = Play::new();
    locked(&mut play);
    let effects = play.says(update(25432));
    let (channel, asked) = request(&effects);
    let (page, if_version, at_least) = (PageNo(2), None, Version(25432));
    assert_eq!(*asked, Request::Update { page, offset: 0, if_version, at_least });
    let committed = region::Answer::Committed { version: Version(25432) };
    let effects = play.region(channel, committed, b"");
    let written = Answer::Written { kind: Type::UPDATE, page: 2, version: 25432 };
    assert_eq!(*reply(&effects), written);
    let effects = play.says(unlock());
    assert!(matches!(request(&effects).1, Request::Unlock { token: Token(0), .. }));
}

#[test]
fn a_negative_version_asks_for_any_higher_one() {
    let mut play = Play::new();
    for version in [-1, 0, i32::MIN] {
        let effects = play.says(update(version));
        let (channel, asked) = request(&effects);
        assert!(matches!(asked, Request::Update { at_least: Version(0), .. }), "{asked:?}");
        play.region(channel, region::Answer::Committed { version: Version(2) }, b"");
    }
}

#[test]
fn pages_that_are_not_there_are_refused() {
    let mut play = Play::new();
    let effects = play.says(Command::Read { page: 6, version: 0 });
    let refusal = Refusal::NoSuchPage { page: PageNo(6), pages: 6 };
    let effects = play.region(request(&effects).0, region::Answer::Refused(refusal), b"");
    assert_eq!(*reply(&effects), Answer::NoSuchPage);
    let effects = play.says(Command::Lock { page: -1, version: 0 });
    assert_eq!(*reply(&effects), Answer::NoSuchPage);
}

#[test]
fn commands_wait_for_the_answer_of_the_one_before() {
    let mut play = Play::new();
    LOCK.put(&mut play.input);
    unlock().put(&mut play.input);
    let effects = play.hear(false);
    let (channel, _) = request(&effects);
    assert!(!play.peers.wants(LINK, play.input.len()), "a whole command waits already");
    assert!(play.hear(false).is_empty());
    let granted = region::Answer::Locked { token: Token(9), version: Version(1) };
    let effects = play.region(channel, granted, b"abcdefgh");
    assert!(matches!(effects[..], [Effect::Reply { .. }, Effect::Listen { .. }]), "{effects:?}");
    let effects = play.hear(false);
    assert!(matches!(request(&effects).1, Request::Unlock { token: Token(9), .. }));
}

#[test]
fn a_wrong_length_frees_the_locks_and_ends_the_connection() {
    let mut play = Play::new();
    locked(&mut play);
    Header { kind: Type::UNLOCK, offset: 2, length: i32::MAX, version: 0 }.put(&mut play.input);
    let effects = play.hear(false);
    assert!(matches!(effects[..], [Effect::Detach { .. }, Effect::Finish { .. }]), "{effects:?}");
    // What it says now is dropped; it has a while to end its side.
    play.input.extend_from_slice(&[5; 1000]);
    assert!(play.hear(false).is_empty());
    assert!(play.input.is_empty());
    assert_eq!(play.peers.poll_timeout(), play.now + FAREWELL_PATIENCE);
    assert!(matches!(play.hear(true)[..], [Effect::Drop { .. }]));
    assert!(!play.peers.close(LINK), "the regions know");
}

#[test]
fn who_ends_gets_what_it_has_asked() {
    let mut play = Play::new();
    READ.put(&mut play.input);
    READ.put(&mut play.input);
    let mut effects = play.hear(true);
    for _ in 0..2 {
        let (channel, _) = request(&effects);
        let answer = region::Answer::Page { version: Version(1) };
        let answered = play.region(channel, answer, b"abcdefgh");
        assert!(matches!(answered[..], [Effect::Reply { .. }, Effect::Listen { .. }]));
        effects = play.hear(true);
    }
    // It is let go when it has everything.
    assert!(matches!(effects[..], [Effect::Detach { .. }]), "{effects:?}");
    assert!(play.sent(17).is_empty());
    let effects = play.sent(0);
    assert!(matches!(effects[..], [Effect::Finish { .. }, Effect::Drop { .. }]), "{effects:?}");
}

#[test]
fn who_ends_waits_for_no_lock() {
    let mut play = Play::new();
    assert!(matches!(request(&play.says(LOCK)), (1, Request::Lock { .. })));
    let effects = play.hear(true);
    assert!(matches!(effects[0], Effect::Detach { .. }), "{effects:?}");

    // Its end came together with the command: it may be granted in the same turn.
    let mut play = Play::new();
    LOCK.put(&mut play.input);
    let effects = play.hear(true);
    assert!(matches!(effects[..], [Effect::Request { .. }, Effect::Listen { .. }]), "{effects:?}");
    let effects = play.hear(true);
    assert!(matches!(effects[0], Effect::Detach { .. }), "{effects:?}");

    // Something follows that gives the lock back.
    let mut play = Play::new();
    LOCK.put(&mut play.input);
    unlock().put(&mut play.input);
    play.hear(true);
    assert!(play.hear(true).is_empty());
}

#[test]
fn who_does_not_read_is_not_served_and_has_two_minutes() {
    let mut play = Play::new();
    let effects = play.says(READ);
    let answer = region::Answer::Page { version: Version(1) };
    play.region(request(&effects).0, answer, b"abcdefgh");
    play.sent(NETMEM_UNSENT_MAX + 1);
    assert!(play.says(READ).is_empty());
    let due = play.now + UNREAD_PATIENCE;
    assert_eq!(play.peers.poll_timeout(), due);
    // It has read a little, then nothing more.
    play.now = due;
    assert!(matches!(play.sent(10)[..], [Effect::Listen { .. }]));
    assert!(play.peers.overdue(due).is_empty());
    assert!(matches!(request(&play.hear(false)), (2, Request::Read { .. })));
    assert_eq!(play.peers.overdue(due + UNREAD_PATIENCE), [LINK]);
    assert!(play.peers.close(LINK), "the regions do not know yet");
    assert_eq!(play.peers.poll_timeout(), Time::NEVER);
}

#[test]
fn who_stops_within_a_command_has_two_minutes() {
    let mut play = Play::new();
    play.input.extend_from_slice(&[5, 0, 0]);
    play.hear(false);
    assert_eq!(play.peers.poll_timeout(), play.now + ARRIVAL_PATIENCE);
    play.now = Time(0) + Span::from_secs(60);
    play.input.extend_from_slice(&[0]);
    play.hear(false);
    assert!(play.peers.overdue(Time(0) + ARRIVAL_PATIENCE).is_empty());
    assert_eq!(play.peers.overdue(play.now + ARRIVAL_PATIENCE), [LINK]);
    // Whoever says nothing at all, or waits for a lock, may do so for ever.
    let mut play = Play::new();
    play.says(LOCK);
    assert_eq!(play.peers.poll_timeout(), Time::NEVER);
}

#[test]
fn a_region_that_is_not_there_or_has_short_pages_is_no_use() {
    let mut play = Play::unattached(Some(65));
    play.attach(64);
    let effects = play.drain();
    assert!(matches!(effects[..], [Effect::Detach { .. }, Effect::Finish { .. }]), "{effects:?}");
    let mut play = Play::unattached(None);
    let message = Message::Attached(Attached { result: Err(Refusal::NoSuchRegion) }.into());
    play.peers.told(play.now, LINK, 0, message);
    let effects = play.drain();
    assert!(matches!(effects[..], [Effect::Detach { .. }, Effect::Finish { .. }]), "{effects:?}");
}

#[test]
fn what_came_before_the_region_was_there_is_heard_then() {
    let mut play = Play::unattached(None);
    assert!(play.says(READ).is_empty());
    play.attach(64);
    assert!(matches!(play.drain()[..], [Effect::Listen { .. }]));
    assert!(matches!(request(&play.hear(false)), (1, Request::Read { .. })));
}

#[test]
fn the_oldest_that_never_asked_gives_way() {
    let mut peers = Peers::default();
    let served = Served { region: "genes".parse().unwrap(), length: None };
    for at in 0..NETMEM_CONNECTIONS_MAX as u32 {
        assert_eq!(peers.make_room(), Ok(None));
        // The higher the number, the older it is.
        peers.open(Time(10_000 - u64::from(at)), LinkId(at), served.clone());
    }
    let oldest = LinkId(NETMEM_CONNECTIONS_MAX as u32 - 1);
    assert_eq!(peers.make_room(), Ok(Some(oldest)));
    for peer in peers.table.iter_mut().flatten() {
        peer.known = true;
    }
    assert_eq!(peers.make_room(), Err(Full));
    peers.close(LinkId(7));
    assert_eq!(peers.make_room(), Ok(None));
}
