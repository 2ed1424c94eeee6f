//! Streaks of lone tasks, and what ends them.

use super::*;

const LINK: LinkId = LinkId(1);
const WORKER: WorkerId = WorkerId(2);
const FOLLOW: Effect = Effect::Follow { link: LINK, worker: WORKER };

/// Runs `count` lone tasks of `took` each, from `now` on; returns the time after.
fn run(near: &mut Near, mut now: Time, count: u32, took: Span) -> Time {
    for _ in 0..count {
        near.lone(now, LINK, WORKER);
        now = now + took;
        near.idle(now);
    }
    now
}

#[track_caller]
fn check(near: &mut Near, want: &[Effect]) {
    let got: Vec<Effect> = std::iter::from_fn(|| near.poll_effect()).collect();
    assert_eq!(got, want);
}

#[test]
fn a_streak_of_short_lone_tasks_brings_the_node_near() {
    let mut near = Near::default();
    run(&mut near, Time(1), STREAK - 1, Span(1000));
    check(&mut near, &[]);
    run(&mut near, Time(1_000_000), 1, Span(1000));
    check(&mut near, &[FOLLOW]);
}

#[test]
fn a_second_task_at_the_same_time_spreads_at_once() {
    let mut near = Near::default();
    run(&mut near, Time(1), STREAK, Span(1000));
    near.crowd();
    check(&mut near, &[FOLLOW, Effect::Spread]);
    assert_eq!(near.poll_timeout(), Time::NEVER);
}

#[test]
fn late_answers_spread_and_the_second_of_them_pauses() {
    let mut near = Near::default();
    let mut now = run(&mut near, Time(1), STREAK + LOOK, Span(1000));
    for want in [&[FOLLOW, FOLLOW, Effect::Spread][..], &[FOLLOW, Effect::Spread], &[]] {
        near.lone(now, LINK, WORKER);
        near.tick(now + LATE);
        check(&mut near, want);
        now = run(&mut near, now + LATE, STREAK, Span(1000));
    }
    check(&mut near, &[]);
    run(&mut near, now + PAUSE, STREAK, Span(1000));
    check(&mut near, &[FOLLOW]);
}

#[test]
fn long_tasks_never_bring_the_node_near() {
    let mut near = Near::default();
    run(&mut near, Time(1), STREAK * 10, Span::from_millis(1));
    check(&mut near, &[]);
}

#[test]
fn quiet_spreads() {
    let mut near = Near::default();
    run(&mut near, Time(1), STREAK, Span(1000));
    near.tick(near.poll_timeout());
    check(&mut near, &[FOLLOW, Effect::Spread]);
    assert_eq!(near.poll_timeout(), Time::NEVER);
}
