//! Scripts: what a session sends and says when this happens.

use wire::limits::SESSION_KEPT;
use wire::name::Name;
use wire::region::{About, Audience, Changed, Changes, Style};

use super::*;

const PAGE: PageNo = PageNo(3);

fn about(durability: Durability) -> About {
    let name: Name = "genes".parse().expect("a name");
    About {
        id: RegionId(7),
        owner: name.clone(),
        name,
        page_size: 64,
        pages: 8,
        durability,
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

/// How the home lets the session in.
#[derive(Clone, Copy)]
enum Home {
    Knows,
    Forgot,
    /// Opened anew, without and with outcomes of this session.
    Reopened,
    ReopenedAndKnows,
    OtherRegion,
}

struct Script {
    session: Session,
    now: Time,
    durability: Durability,
}

impl Script {
    /// A session that is up.
    fn new(durability: Durability) -> Self {
        let mut script =
            Self { session: Session::new(Time(1), SessionId(9)), now: Time(1), durability };
        script.up(Home::Forgot);
        script
    }

    fn up(&mut self, home: Home) {
        let mut about = about(self.durability);
        let (resumed, epoch) = match home {
            Home::Knows => (true, 1),
            Home::Forgot => (false, 1),
            Home::Reopened => (false, 2),
            Home::ReopenedAndKnows => (true, 2),
            Home::OtherRegion => (false, 1),
        };
        if matches!(home, Home::OtherRegion) {
            about.id = RegionId(8);
        }
        let admission = Admission { about, resumed, epoch, lease: LEASE };
        self.session.handle(self.now, Event::Up { admission, asked: self.now });
    }

    fn lose(&mut self) {
        self.session.handle(self.now, Event::Down);
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now + span;
    }

    fn tick(&mut self) {
        self.session.handle(self.now, Event::Tick);
    }

    fn ask(&mut self, request: Request) -> u64 {
        self.session.ask(self.now, request, Bytes::from_static(b"bytes"))
    }

    fn answer(&mut self, number: u64, answer: Answer, bytes: &'static [u8]) {
        let message = Message::Answer(answer, Bytes::from_static(bytes));
        self.session.handle(self.now, Event::Message { channel: number, message });
    }

    /// What is sent: numbers, what is said of answers, and requests.
    fn sent(&mut self) -> Vec<(u64, u64, Request)> {
        let effects = std::iter::from_fn(|| self.session.poll_effect());
        let sent = effects.map(|effect| match effect {
            Effect::Send { number, message: Message::Request(ask, _) } => {
                (number, ask.answered, ask.request)
            }
            other => panic!("{other:?}"),
        });
        sent.collect()
    }

    fn numbers(&mut self) -> Vec<u64> {
        self.sent().into_iter().map(|(number, ..)| number).collect()
    }
}

fn update() -> Request {
    Request::Update { page: PAGE, offset: 0, if_version: None, at_least: Version(0) }
}

fn read(known: u64) -> Request {
    Request::Read { page: PAGE, known: Version(known) }
}

fn lock() -> Request {
    Request::Lock { page: PAGE, known: Version(0), wait: None }
}

const BYTES: &[u8] = &[5; 64];

#[test]
fn numbers_rise_and_what_was_answered_is_told() {
    let mut script = Script::new(Durability::None);
    let (first, second) = (script.ask(update()), script.ask(update()));
    script.answer(second, Answer::Committed { version: Version(3) }, b"");
    let third = script.ask(update());
    script.answer(first, Answer::Committed { version: Version(2) }, b"");
    let fourth = script.ask(update());
    let sent: Vec<(u64, u64)> = script.sent().into_iter().map(|(n, known, _)| (n, known)).collect();
    assert_eq!(sent, [(first, 0), (second, 0), (third, 0), (fourth, 2)]);
    let committed = Answer::Committed { version: Version(2) };
    assert_eq!(script.session.outcome(first), Some(Outcome::Answered(committed, Bytes::new())));
    assert_eq!(script.session.outcome(first), None, "it is told once");
    assert_eq!(script.session.outcome(third), None, "it is under way");
}

#[test]
fn home_that_knows_the_session_is_sent_everything_again_in_order() {
    let mut script = Script::new(Durability::None);
    let asked = [script.ask(update()), script.ask(read(0)), script.ask(lock())];
    let done = script.ask(update());
    script.answer(done, Answer::Committed { version: Version(2) }, b"");
    script.numbers();
    script.lose();
    let late = script.ask(update());
    assert_eq!(script.numbers(), [], "nothing leaves while the home is away");
    script.up(Home::Knows);
    assert_eq!(script.numbers(), [asked[0], asked[1], asked[2], late]);
}

/// What becomes of an update that had left, of one that had not, and of a read, when the home is back.
#[track_caller]
fn check_return(durability: Durability, away: Span, home: Home, want: Option<Outcome>) {
    let mut script = Script::new(durability);
    let (gone, harmless) = (script.ask(update()), script.ask(read(0)));
    script.numbers();
    script.lose();
    script.pass(away);
    let unsent = script.ask(update());
    script.up(home);
    let mut resent = vec![gone, harmless, unsent];
    resent.retain(|number| *number != gone || want.is_none());
    assert_eq!(script.numbers(), resent);
    assert_eq!(script.session.outcome(gone), want);
}

#[test]
fn session_that_was_forgotten_makes_changes_unknown_and_nothing_else() {
    let short = Span::from_secs(1);
    check_return(Durability::None, short, Home::Knows, None);
    check_return(Durability::None, short, Home::Forgot, Some(Outcome::Unknown));
    check_return(Durability::Sync, short, Home::Forgot, Some(Outcome::Unknown));
}

#[test]
fn region_opened_anew_keeps_outcomes_so_what_it_does_not_know_was_not_done() {
    let short = Span::from_secs(1);
    for durability in [Durability::Async, Durability::Sync, Durability::Replicated] {
        check_return(durability, short, Home::Reopened, None);
        check_return(durability, short, Home::ReopenedAndKnows, None);
    }
}

#[test]
fn client_that_was_away_too_long_sends_no_change_again() {
    let long = Span(SESSION_KEPT.0 / 2);
    for home in [Home::Knows, Home::Forgot, Home::Reopened, Home::ReopenedAndKnows] {
        check_return(Durability::Sync, long, home, Some(Outcome::Unknown));
    }
}

#[test]
fn arrival_at_a_barrier_is_not_repeated_at_a_region_opened_anew() {
    let mut script = Script::new(Durability::Sync);
    let number = script.ask(Request::Arrive { barrier: 1, parties: 2 });
    script.numbers();
    script.lose();
    script.up(Home::ReopenedAndKnows);
    assert_eq!(
        (script.numbers(), script.session.outcome(number)),
        (vec![], Some(Outcome::Unknown))
    );
}

#[test]
fn other_region_of_the_same_name_ends_the_session() {
    let mut script = Script::new(Durability::None);
    let (gone, harmless) = (script.ask(update()), script.ask(read(0)));
    script.numbers();
    script.lose();
    script.up(Home::OtherRegion);
    let over = Outcome::Over(Refusal::NoSuchRegion);
    assert_eq!(script.session.outcome(gone), Some(Outcome::Unknown));
    assert_eq!(script.session.outcome(harmless), Some(over.clone()));
    let later = script.ask(read(0));
    assert_eq!(script.session.outcome(later), Some(over));
    assert_eq!(script.numbers(), []);
}

#[test]
fn whoever_waits_too_long_is_told_whether_it_may_have_been_done() {
    let mut script = Script::new(Durability::Sync);
    let (gone, harmless) = (script.ask(update()), script.ask(read(0)));
    script.numbers();
    script.pass(Span::from_secs(1));
    script.lose();
    let unsent = script.ask(update());
    script.tick();
    assert_eq!(script.session.poll_timeout(), script.now + AWAY_PATIENCE);
    script.pass(AWAY_PATIENCE);
    script.tick();
    assert_eq!(script.session.outcome(gone), Some(Outcome::Unknown));
    assert_eq!(script.session.outcome(harmless), Some(Outcome::Away));
    assert_eq!(script.session.outcome(unsent), Some(Outcome::Away));
    script.up(Home::Knows);
    assert_eq!(script.numbers(), [], "what was given up is not sent later");
}

#[test]
fn lock_is_held_for_a_lease_after_what_was_heard_of_last() {
    let mut script = Script::new(Durability::None);
    let number = script.ask(lock());
    script.answer(number, Answer::Locked { token: Token(4), version: Version(1) }, BYTES);
    assert!(script.session.holds(script.now, PAGE, Token(4)));
    assert!(!script.session.holds(script.now, PAGE, Token(3)));
    assert_eq!(script.session.poll_timeout(), script.now + Span(LEASE.0 / 3));
    script.numbers();
    script.pass(Span(LEASE.0 / 3));
    script.tick();
    let sent = script.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].2, Request::Renew);
    let renewed = script.now;
    script.answer(sent[0].0, Answer::Done, b"");
    assert!(script.session.holds(Time(renewed.0 + LEASE.0 - 1), PAGE, Token(4)));
    assert!(!script.session.holds(renewed + LEASE, PAGE, Token(4)));
    script.lose();
    script.up(Home::Knows);
    assert!(script.session.holds(script.now, PAGE, Token(4)));
    script.lose();
    script.up(Home::ReopenedAndKnows);
    assert!(!script.session.holds(script.now, PAGE, Token(4)), "of an earlier time");
}

#[test]
fn silent_home_is_asked_and_then_given_up() {
    let mut script = Script::new(Durability::None);
    let number = script.ask(read(0));
    assert_eq!(script.numbers(), [number]);
    script.pass(Span(LEASE.0 / 3));
    script.tick();
    assert_eq!(script.numbers().len(), 1, "it renews");
    assert_eq!(script.session.poll_timeout(), script.now + Span(2 * LEASE.0));
    script.pass(Span(2 * LEASE.0));
    script.tick();
    assert_eq!(script.session.poll_effect(), Some(Effect::HangUp));
    assert!(!script.session.is_up());
}

#[test]
fn reads_are_joined_only_by_those_who_began_before_they_left() {
    let mut script = Script::new(Durability::None);
    let began = script.now;
    let Reading::Asked(number) = script.session.read(began, PAGE, began) else { panic!() };
    script.pass(Span(10));
    let later = script.now;
    assert_eq!(script.session.read(later, PAGE, later), Reading::Joined(number));
    script.answer(number, Answer::Page { version: Version(2) }, BYTES);
    let there = Reading::There(Version(2), Bytes::from_static(BYTES));
    assert_eq!(script.session.read(later, PAGE, began), there, "whoever began before may have it");
    let again = script.session.read(later, PAGE, later);
    assert!(matches!(again, Reading::Asked(next) if next > number), "{again:?}");
    let sent = script.sent();
    assert_eq!(sent[1].2, read(2), "the bytes are here");
}

/// A page in the cache, as of now.
fn with_page(version: u64) -> Script {
    let mut script = Script::new(Durability::None);
    let number = script.ask(read(0));
    script.answer(number, Answer::Page { version: Version(version) }, BYTES);
    script.session.outcome(number);
    script.numbers();
    script
}

#[test]
fn commits_of_ones_own_are_in_the_cache_or_put_it_in_doubt() {
    let long = Span::from_secs(100);
    let first = |script: &mut Script| {
        let cached = script.session.cached(script.now, PAGE, long);
        cached.map(|(version, bytes)| (version.0, bytes[0]))
    };
    let mut script = with_page(2);
    assert_eq!(first(&mut script), Some((2, 5)));
    let (if_version, at_least) = (Some(Version(2)), Version(0));
    let number = script.ask(Request::Update { page: PAGE, offset: 0, if_version, at_least });
    script.answer(number, Answer::Committed { version: Version(3) }, b"");
    assert_eq!(first(&mut script), Some((3, b'b')), "the version before was here");
    let number = script.ask(update());
    script.answer(number, Answer::Committed { version: Version(9) }, b"");
    assert_eq!(first(&mut script), None, "others may have written before it");
    let number = script.ask(read(3));
    script.answer(number, Answer::Page { version: Version(9) }, BYTES);
    assert_eq!(first(&mut script), Some((9, 5)));
}

#[test]
fn conflict_brings_the_bytes_for_the_next_try() {
    let mut script = with_page(2);
    let reads = vec![(PAGE, Version(2)), (PageNo(4), Version(1))];
    let write = Write { page: PAGE, offset: 0, length: 5 };
    let number = script.ask(Request::Transact { reads, writes: vec![write] });
    let pages = vec![(PAGE, Version(8)), (PageNo(4), Version(6))];
    script.answer(number, Answer::Conflict { pages }, BYTES);
    assert_eq!(script.session.known(PAGE).map(|known| known.0), Some(Version(8)));
    let reads = vec![(PAGE, Version(8))];
    let number = script.ask(Request::Transact { reads, writes: vec![write] });
    script.answer(number, Answer::Transacted { versions: vec![Version(9)] }, b"");
    let (version, bytes) = script.session.known(PAGE).expect("it is in the cache");
    assert_eq!((version, &bytes[..6]), (Version(9), &b"bytes\x05"[..]));
}

#[test]
fn page_read_from_the_cache_again_and_again_is_watched_and_kept_fresh() {
    let age = Span::from_millis(100);
    let mut script = with_page(2);
    script.pass(age);
    assert!(script.session.cached(script.now, PAGE, age).is_some());
    script.pass(Span(1));
    assert!(script.session.cached(script.now, PAGE, age).is_none(), "older than that");
    script.session.keep_fresh(script.now, PAGE, age);
    let since = Time(script.now.0 - age.0);
    let Reading::Asked(number) = script.session.read(script.now, PAGE, since) else { panic!() };
    let sent = script.sent();
    assert_eq!(sent[0].2, Request::Watch { first: PAGE, count: 1, from: None });
    assert_eq!(sent[1].2, read(2));
    script.answer(sent[0].0, Answer::Watching { sequence: 40 }, b"");
    script.answer(number, Answer::Unchanged { version: Version(2) }, b"");

    // A renewal makes it as fresh as itself, without a read.
    script.pass(Span(age.0 / 2));
    script.tick();
    let sent = script.sent();
    assert_eq!((sent.len(), &sent[0].2), (1, &Request::Renew));
    script.answer(sent[0].0, Answer::Done, b"");
    script.pass(Span(age.0));
    assert!(script.session.cached(script.now, PAGE, age).is_some());

    // What the watch tells makes it old at once; a renewal does not help then.
    let what = Changes::Pages(vec![(PAGE, Version(3))]);
    let watch = sent_watch(&script);
    let message = Message::Changed(Changed { sequence: 41, what });
    script.session.handle(script.now, Event::Message { channel: watch, message });
    assert_eq!(script.sent()[0].2, Request::Seen { watch });
    assert!(script.session.cached(script.now, PAGE, age).is_none());
    script.tick();
    for (number, ..) in script.sent() {
        script.answer(number, Answer::Done, b"");
    }
    assert!(script.session.cached(script.now, PAGE, age).is_none());
}

fn sent_watch(script: &Script) -> u64 {
    *script.session.watch_numbers.keys().next().expect("a watch")
}

#[test]
fn page_that_nobody_reads_any_more_is_not_watched() {
    let age = Span::from_millis(100);
    let mut script = with_page(2);
    script.session.cached(script.now, PAGE, age);
    script.session.keep_fresh(script.now, PAGE, age);
    let watch = script.numbers()[0];
    script.answer(watch, Answer::Watching { sequence: 1 }, b"");
    script.pass(CACHE_IDLE);
    script.tick();
    for (number, ..) in script.sent() {
        script.answer(number, Answer::Done, b"");
    }
    assert_eq!(script.sent()[0].2, Request::Unwatch { watch });
    assert_eq!(script.session.next_fresh, Time::NEVER);
}

#[test]
fn watch_goes_on_after_what_was_told_last() {
    let mut script = Script::new(Durability::Sync);
    let id = script.session.watch(script.now, PageNo(0), 8);
    let first = script.numbers()[0];
    assert_eq!(script.session.is_watching(id), Ok(false));
    script.answer(first, Answer::Watching { sequence: 10 }, b"");
    assert_eq!(script.session.is_watching(id), Ok(true));
    let what = Changes::Pages(vec![(PAGE, Version(3))]);
    let message = Message::Changed(Changed { sequence: 12, what });
    script.session.handle(script.now, Event::Message { channel: first, message });
    assert_eq!(script.sent(), [], "the news were not taken yet");
    assert_eq!(script.session.next_news(script.now, id), Some(News::Page(PAGE, Version(3))));
    assert_eq!(script.sent()[0].2, Request::Seen { watch: first });
    script.lose();
    script.up(Home::ReopenedAndKnows);
    let requests: Vec<Request> = script.sent().into_iter().map(|(.., request)| request).collect();
    let again = Request::Watch { first: PageNo(0), count: 8, from: Some(12) };
    assert_eq!(requests, [Request::Unwatch { watch: first }, again]);
}

#[test]
fn lock_that_nobody_wants_any_more_is_given_back() {
    let mut script = Script::new(Durability::None);
    let number = script.ask(lock());
    script.session.abandon(script.now, number);
    let sent = script.sent();
    assert_eq!(sent[1].2, Request::Withdraw { request: number });
    script.answer(number, Answer::Locked { token: Token(4), version: Version(1) }, BYTES);
    let unlock = Request::Unlock { page: PAGE, token: Token(4), commit: Commit::Unawaited };
    assert_eq!(script.sent()[0].2, unlock);
}

#[test]
fn answers_that_nobody_hurries_leave_room() {
    let mut script = Script::new(Durability::None);
    for token in 0..REQUESTS_MAX as u64 {
        script.session.unlock(script.now, PageNo(token), Token(token));
    }
    let sent = script.sent();
    let is_hurried =
        |request: &Request| matches!(request, Request::Unlock { commit: Commit::Nothing, .. });
    let hurried = sent.iter().filter(|(.., request)| is_hurried(request)).count();
    assert_eq!(hurried, REQUESTS_MAX - RESERVE);
}

#[test]
fn lock_that_waits_for_ever_holds_up_no_memory() {
    let mut script = Script::new(Durability::None);
    let waiting = script.ask(lock());
    for _ in 0..100_000 {
        let number = script.ask(update());
        script.answer(number, Answer::Committed { version: Version(2) }, b"");
        script.session.outcome(number);
        script.session.effects.clear();
    }
    assert!(script.session.slots.len() <= ROW_MAX && script.session.aside.len() == 1);
    script.answer(waiting, Answer::Locked { token: Token(4), version: Version(1) }, BYTES);
    assert!(matches!(
        script.session.outcome(waiting),
        Some(Outcome::Answered(Answer::Locked { .. }, _))
    ));
    assert!(script.session.aside.is_empty());
}

#[test]
fn lock_that_counted_as_lost_stays_lost_whatever_is_heard_later() {
    let locked = |script: &mut Script| {
        let number = script.ask(lock());
        script.answer(number, Answer::Locked { token: Token(4), version: Version(1) }, BYTES);
        script.numbers();
    };
    // Stopped for longer than the lease, over a connection that stands.
    let mut script = Script::new(Durability::None);
    locked(&mut script);
    script.pass(Span(LEASE.0 + 1));
    script.tick();
    let renewal = script.numbers()[0];
    script.answer(renewal, Answer::Done, b"");
    assert!(!script.session.holds(script.now, PAGE, Token(4)));
    // Answers that were long on their way, each asked for within the lease of the one before.
    let mut script = Script::new(Durability::None);
    locked(&mut script);
    let late: Vec<u64> = (0..4)
        .map(|_| {
            script.pass(Span(LEASE.0 / 2));
            script.ask(read(0))
        })
        .collect();
    for number in late {
        script.answer(number, Answer::Unchanged { version: Version(1) }, b"");
    }
    assert!(!script.session.holds(script.now, PAGE, Token(4)));
    // Away for longer than the lease.
    let mut script = Script::new(Durability::None);
    locked(&mut script);
    script.lose();
    script.pass(LEASE);
    script.up(Home::Knows);
    assert!(!script.session.holds(script.now, PAGE, Token(4)));
    // One that is granted later is held.
    let number = script.ask(lock());
    script.answer(number, Answer::Locked { token: Token(5), version: Version(1) }, BYTES);
    assert!(script.session.holds(script.now, PAGE, Token(5)));
}

#[test]
fn refused_commit_gives_the_lock_back() {
    let mut script = Script::new(Durability::None);
    let unlock = |commit| Request::Unlock { page: PAGE, token: Token(4), commit };
    let commit = Commit::Bytes { offset: 0 };
    let number = script.ask(unlock(commit));
    script.numbers();
    script.answer(number, Answer::Refused(Refusal::NotYours), b"");
    assert_eq!(script.sent()[0].2, unlock(Commit::Unawaited));
    let number = script.ask(unlock(commit));
    script.numbers();
    let stale = Refusal::StaleToken { page: PAGE };
    script.answer(number, Answer::Refused(stale), b"");
    assert_eq!(script.sent(), [], "it was lost");
}

#[test]
fn places_and_locks_that_were_given_up_are_given_back_to_a_home_that_knows_them() {
    let unlock = |token, commit| Request::Unlock { page: PAGE, token: Token(token), commit };
    let patience = Span(LEASE.0 / 3);
    for home in [Home::Knows, Home::Forgot] {
        let mut script = Script::new(Durability::None);
        script.session.set_patience(patience);
        let waiting = script.ask(lock());
        let commit = script.ask(unlock(4, Commit::Bytes { offset: 0 }));
        script.numbers();
        script.lose();
        script.session.unlock(script.now, PAGE, Token(5));
        script.tick();
        script.pass(patience);
        script.tick();
        assert!(script.session.is_settled(waiting));
        assert_eq!(script.session.outcome(waiting), Some(Outcome::Away));
        assert_eq!(script.session.outcome(waiting), None, "it is told once");
        assert_eq!(script.session.outcome(commit), Some(Outcome::Unknown));
        assert!(script.session.poll_timeout() > script.now, "nobody waits any more");
        script.up(home);
        let sent: Vec<Request> = script.sent().into_iter().map(|(.., request)| request).collect();
        if matches!(home, Home::Forgot) {
            assert_eq!(sent, []);
            continue;
        }
        let withdraw = Request::Withdraw { request: waiting };
        let nothing = Commit::Unawaited;
        assert_eq!(sent, [lock(), unlock(5, nothing), withdraw, unlock(4, nothing)]);
        // It was granted before it was withdrawn.
        script.answer(waiting, Answer::Locked { token: Token(6), version: Version(1) }, BYTES);
        assert_eq!(script.sent()[0].2, unlock(6, nothing));
    }
}

#[test]
fn watch_of_a_region_that_may_have_lost_commits_begins_anew() {
    for (durability, home, from) in [
        (Durability::Async, Home::Reopened, 0),
        (Durability::Async, Home::Knows, 10),
        (Durability::Sync, Home::Reopened, 10),
    ] {
        let mut script = Script::new(durability);
        script.session.watch(script.now, PageNo(0), 8);
        let first = script.numbers()[0];
        script.answer(first, Answer::Watching { sequence: 10 }, b"");
        script.lose();
        script.up(home);
        let again = Request::Watch { first: PageNo(0), count: 8, from: Some(from) };
        assert_eq!(script.sent().pop().map(|(.., request)| request), Some(again));
    }
}

#[test]
fn renewal_verifies_no_page_that_was_told_of_while_it_was_under_way() {
    let age = Span::from_millis(100);
    let mut script = with_page(2);
    script.session.cached(script.now, PAGE, age);
    script.session.keep_fresh(script.now, PAGE, age);
    let watch = script.numbers()[0];
    script.answer(watch, Answer::Watching { sequence: 1 }, b"");
    script.pass(Span(1));
    let (read_at, number) = (script.now, script.ask(read(2)));
    script.pass(Span(1));
    script.tick();
    let (renewed, renewal) = (script.now, script.numbers()[1]);
    // While it is under way, another commit is told and its bytes come; yet another waits at the home
    // until that was seen.
    script.pass(Span(1));
    let what = Changes::Pages(vec![(PAGE, Version(3))]);
    let message = Message::Changed(Changed { sequence: 2, what });
    script.session.handle(script.now, Event::Message { channel: watch, message });
    script.answer(number, Answer::Page { version: Version(3) }, BYTES);
    script.numbers();
    script.answer(renewal, Answer::Done, b"");
    assert!(script.session.cached(script.now, PAGE, script.now.since(renewed)).is_none());
    assert!(script.session.cached(script.now, PAGE, script.now.since(read_at)).is_some());
    // The next one left after all was told and seen.
    script.pass(age);
    script.tick();
    let renewal = script.numbers()[0];
    let renewed = script.now;
    script.answer(renewal, Answer::Done, b"");
    assert!(script.session.cached(renewed, PAGE, Span(0)).is_some());
    // A watch that is refused to a home that forgot it keeps nothing fresh.
    script.lose();
    script.up(Home::Forgot);
    let sent = script.sent();
    let refused = Answer::Refused(Refusal::NotYours);
    script.answer(sent[0].0, refused, b"");
    script.pass(age);
    script.tick();
    for number in script.numbers() {
        script.answer(number, Answer::Done, b"");
    }
    assert!(script.session.cached(script.now, PAGE, Span(age.0 / 2)).is_none());
}
