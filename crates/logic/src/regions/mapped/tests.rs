//! The copy alone as scripts, and copies with a home in any order of things.

mod random;

use wire::limits::COHERENT_PAGE;

use super::*;

const LEASE: Span = Span::from_secs(3);
const PAGE: PageNo = PageNo(2);

fn page_of(byte: u8) -> Bytes {
    Bytes::from(vec![byte; COHERENT_PAGE as usize])
}

fn copy() -> Mapped {
    Mapped::new(Time(0), LEASE, 1)
}

#[track_caller]
fn check(copy: &mut Mapped, at: u64, event: Event, want: &[Effect]) {
    copy.handle(Time(at), event);
    let got: Vec<Effect> = std::iter::from_fn(|| copy.poll_effect()).collect();
    assert_eq!(got, want);
}

fn fault(access: Access) -> Event {
    Event::Fault { page: PAGE, access }
}

fn granted(request: u64, access: Access, version: u64, bytes: Option<Bytes>) -> Event {
    Event::Granted { request, access, version: Version(version), hold: Span(0), bytes }
}

fn recalled(keep: Access, version: u64) -> Event {
    Event::Recalled(Recall { page: PAGE, keep, version: Version(version) })
}

fn fetch(request: u64, answered: u64, access: Access, has: u64) -> Effect {
    let request_of = Request::Fetch { page: PAGE, access, has: Version(has) };
    Effect::Send { request, ask: Ask { answered, request: request_of }, bytes: Bytes::new() }
}

fn yielded(request: u64, answered: u64, kept: Access, version: u64, bytes: Bytes) -> Effect {
    let request_of = Request::Yielded { page: PAGE, kept, version: Version(version) };
    Effect::Send { request, ask: Ask { answered, request: request_of }, bytes }
}

fn install(byte: u8, access: Access) -> Effect {
    Effect::Install { page: PAGE, bytes: page_of(byte), access }
}

#[test]
fn a_fault_is_a_fetch_and_the_grant_is_installed() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Read), &[fetch(1, 0, Access::Read, 0)]);
    check(&mut copy, 1, fault(Access::Read), &[]);
    let grant = granted(1, Access::Read, 4, Some(page_of(9)));
    check(&mut copy, 2, grant, &[install(9, Access::Read)]);
    check(&mut copy, 3, fault(Access::Read), &[Effect::Wake { page: PAGE }]);
    check(&mut copy, 4, fault(Access::Write), &[fetch(2, 1, Access::Write, 4)]);
    check(&mut copy, 5, granted(2, Access::Write, 5, None), &[Effect::Open { page: PAGE }]);
    let traffic = Traffic { faults: 4, fetched: 1, upgraded: 1, recalled: 0 };
    assert_eq!(copy.traffic(), traffic);
}

#[test]
fn a_write_in_vain_waits_for_the_read_that_is_under_way() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Read), &[fetch(1, 0, Access::Read, 0)]);
    check(&mut copy, 1, fault(Access::Write), &[]);
    let grant = granted(1, Access::Read, 1, Some(page_of(0)));
    check(&mut copy, 2, grant, &[install(0, Access::Read)]);
    check(&mut copy, 3, fault(Access::Write), &[fetch(2, 1, Access::Write, 1)]);
}

#[test]
fn a_recall_is_answered_at_once_though_a_fetch_is_under_way() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Read), &[fetch(1, 0, Access::Read, 0)]);
    check(&mut copy, 1, granted(1, Access::Read, 1, Some(page_of(1))), &[install(1, Access::Read)]);
    check(&mut copy, 2, fault(Access::Write), &[fetch(2, 1, Access::Write, 1)]);
    let gone = [Effect::Discard { page: PAGE }, yielded(3, 1, Access::Nothing, 1, Bytes::new())];
    check(&mut copy, 3, recalled(Access::Nothing, 1), &gone);
    let grant = granted(2, Access::Write, 3, Some(page_of(5)));
    check(&mut copy, 4, grant, &[install(5, Access::Write)]);
}

#[test]
fn a_grant_without_bytes_for_a_copy_that_is_gone_is_asked_for_again() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    check(&mut copy, 1, granted(1, Access::Write, 2, None), &[fetch(2, 1, Access::Write, 0)]);
}

#[test]
fn what_was_written_is_given_back_with_its_bytes() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    let grant = granted(1, Access::Write, 2, Some(page_of(0)));
    check(&mut copy, 1, grant, &[install(0, Access::Write)]);
    let back = [Effect::TakeBack { page: PAGE, keep: Access::Read }];
    check(&mut copy, 2, recalled(Access::Read, 2), &back);
    let taken = Event::TakenBack { page: PAGE, bytes: page_of(8) };
    check(&mut copy, 2, taken, &[yielded(2, 1, Access::Read, 2, page_of(8))]);
    check(&mut copy, 3, fault(Access::Read), &[Effect::Wake { page: PAGE }]);
}

#[test]
fn a_page_stays_for_its_hold() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    let hold = Span::from_micros(50);
    let (access, version) = (Access::Write, Version(2));
    let grant = Event::Granted { request: 1, access, version, hold, bytes: Some(page_of(0)) };
    check(&mut copy, 1000, grant, &[install(0, Access::Write)]);
    check(&mut copy, 2000, recalled(Access::Read, 2), &[]);
    check(&mut copy, 2001, recalled(Access::Read, 2), &[]);
    assert_eq!(copy.poll_timeout(), Time(51_000));
    check(&mut copy, 50_999, Event::Tick, &[]);
    let back = [Effect::TakeBack { page: PAGE, keep: Access::Read }];
    check(&mut copy, 51_000, Event::Tick, &back);
    check(
        &mut copy,
        51_001,
        Event::TakenBack { page: PAGE, bytes: page_of(1) },
        &[yielded(2, 1, Access::Read, 2, page_of(1))],
    );
    check(&mut copy, 60_000, Event::Tick, &[]);
}

#[test]
fn nobody_can_be_told_to_hold_a_page_for_good() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Read), &[fetch(1, 0, Access::Read, 0)]);
    let (access, version, hold) = (Access::Read, Version(2), Span(u64::MAX));
    copy.handle(
        Time(0),
        Event::Granted { request: 1, access, version, hold, bytes: Some(page_of(0)) },
    );
    copy.handle(Time(1), recalled(Access::Nothing, 2));
    assert_eq!(copy.poll_timeout(), Time(0) + COHERENT_HOLD_MAX);
}

#[test]
fn a_recall_of_a_copy_that_is_not_here_says_so_under_its_version() {
    let mut copy = copy();
    let nothing = yielded(1, 0, Access::Nothing, 7, Bytes::new());
    check(&mut copy, 0, recalled(Access::Nothing, 7), &[nothing]);
}

#[test]
fn after_a_broken_connection_everything_that_may_be_lost_is_sent_again_in_order() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    check(
        &mut copy,
        1,
        granted(1, Access::Write, 2, Some(page_of(0))),
        &[install(0, Access::Write)],
    );
    copy.handle(Time(2), recalled(Access::Nothing, 2));
    assert!(matches!(copy.poll_effect(), Some(Effect::TakeBack { .. })));
    let first = yielded(2, 1, Access::Nothing, 2, page_of(6));
    check(&mut copy, 2, Event::TakenBack { page: PAGE, bytes: page_of(6) }, &[first]);
    check(&mut copy, 3, Event::Away, &[]);
    check(&mut copy, 4, fault(Access::Read), &[]);
    let again = [yielded(2, 1, Access::Nothing, 2, page_of(6)), fetch(3, 1, Access::Read, 0)];
    check(&mut copy, 5, Event::Resumed { asked: Time(4) }, &again);
    check(&mut copy, 6, granted(3, Access::Read, 9, Some(page_of(7))), &[install(7, Access::Read)]);
    // The answer to 3 says that 2 arrived.
    check(&mut copy, 7, Event::Away, &[]);
    check(&mut copy, 8, Event::Resumed { asked: Time(7) }, &[]);
}

#[test]
fn silence_for_a_lease_takes_the_memory_away() {
    let mut copy = copy();
    assert_eq!(copy.poll_timeout(), Time(LEASE.0 / 3));
    let renew = Ask { answered: 0, request: Request::Renew };
    let renewed = Effect::Send { request: 1, ask: renew, bytes: Bytes::new() };
    check(&mut copy, LEASE.0 / 3, Event::Tick, &[renewed]);
    check(&mut copy, LEASE.0 / 2, Event::Done { request: 1 }, &[]);
    // What is vouched for is when it was sent, not when the answer came.
    copy.handle(Time(LEASE.0 / 3) + Span(LEASE.0 - 1), Event::Tick);
    assert!(matches!(copy.poll_effect(), Some(Effect::Send { .. })));
    let broken = [Effect::Broken(Broken::Lease)];
    check(&mut copy, LEASE.0 / 3 + LEASE.0, Event::Tick, &broken);
    check(&mut copy, LEASE.0 * 2, fault(Access::Read), &[]);
    assert_eq!(copy.poll_timeout(), Time::NEVER);
}

#[test]
fn a_session_that_comes_back_after_its_lease_has_no_pages_any_more() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    let grant = granted(1, Access::Write, 2, Some(page_of(0)));
    check(&mut copy, 1, grant, &[install(0, Access::Write)]);
    check(&mut copy, 2, Event::Away, &[]);
    // It was asked for in time; the answer was heard when the lease was over.
    let resumed = Event::Resumed { asked: Time(LEASE.0 - 1) };
    check(&mut copy, LEASE.0, resumed, &[Effect::Broken(Broken::Lease)]);
}

#[test]
fn closing_gives_back_what_was_written_before_it_says_goodbye() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    check(
        &mut copy,
        1,
        granted(1, Access::Write, 2, Some(page_of(0))),
        &[install(0, Access::Write)],
    );
    copy.handle(Time(2), Event::Close);
    let back = Effect::TakeBack { page: PAGE, keep: Access::Nothing };
    assert_eq!(copy.poll_effect(), Some(back));
    let detach = Ask { answered: 1, request: Request::Detach };
    let goodbye = Effect::Send { request: 3, ask: detach, bytes: Bytes::new() };
    let given = yielded(2, 1, Access::Nothing, 2, page_of(5));
    check(&mut copy, 2, Event::TakenBack { page: PAGE, bytes: page_of(5) }, &[given, goodbye]);
    check(&mut copy, 3, Event::Done { request: 3 }, &[Effect::Closed]);
}

#[test]
fn a_page_that_is_refused_leaves_nobody_waiting_for_ever() {
    let mut copy = copy();
    check(&mut copy, 0, fault(Access::Write), &[fetch(1, 0, Access::Write, 0)]);
    let refusal = Refusal::NoSuchPage { page: PAGE, pages: 1 };
    let broken = [Effect::Broken(Broken::Refused(refusal.clone()))];
    check(&mut copy, 1, Event::Refused { request: 1, refusal }, &broken);
}
