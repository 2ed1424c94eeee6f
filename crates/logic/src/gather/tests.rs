//! Streaks of lone tasks, slow and quick.

use super::*;

/// Runs lone tasks of `took` each; returns for how many of them the client stayed, and the time.
fn run(gather: &mut Gather, mut now: Time, count: u32, took: Span) -> (u32, Time) {
    let mut stayed = 0;
    for _ in 0..count {
        stayed += u32::from(gather.stays());
        now = now + took;
        gather.lone(now, took);
    }
    (stayed, now)
}

#[test]
fn quick_tasks_leave_the_client_free() {
    let (stayed, _) = run(&mut Gather::default(), Time(0), 10_000, Span::from_micros(30));
    assert_eq!(stayed, 0);
}

#[test]
fn slow_lone_tasks_make_it_stay_for_a_while() {
    let mut gather = Gather::default();
    let (stayed, now) = run(&mut gather, Time(0), STREAK + STAY, Span::from_micros(70));
    assert_eq!(stayed, STAY);
    assert!(!gather.stays());
    // It did not help: the next attempts are rarer and rarer.
    let (stayed, _) = run(&mut gather, now, 100_000, Span::from_micros(70));
    assert!(stayed <= STAY * 12, "{stayed}");
}

#[test]
fn it_stays_as_long_as_that_helps_and_no_longer() {
    let mut gather = Gather::default();
    let (_, now) = run(&mut gather, Time(0), STREAK, Span::from_micros(70));
    let (stayed, now) = run(&mut gather, now, STAY * 10, Span::from_micros(30));
    assert_eq!(stayed, STAY * 10);
    // Somebody else wants the core now.
    run(&mut gather, now, STAY, Span::from_micros(100));
    assert!(!gather.stays());
}

#[test]
fn long_tasks_and_crowds_never_make_it_stay() {
    let mut gather = Gather::default();
    let (stayed, now) = run(&mut gather, Time(0), 1000, Span::from_millis(1));
    assert_eq!(stayed, 0);
    for _ in 0..1000 {
        run(&mut gather, now, STREAK - 1, Span::from_micros(70));
        gather.crowd();
    }
    assert!(!gather.stays());
}
