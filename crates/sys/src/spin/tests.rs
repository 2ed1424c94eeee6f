//! Waits, short and long, in rows; and what `wait` asks of its caller.

use std::io::Write;

use super::*;

const QUICK: Duration = Duration::from_micros(5);

/// Waits that each take `took`, as `wait` would report them; returns how many began with a look, how many
/// of these were in vain, and the time.
fn run(spin: &mut Spin, mut now: Instant, count: u32, took: Duration) -> (u32, u32, Instant) {
    let (mut looks, mut vain) = (0, 0);
    for _ in 0..count {
        let has_looked = spin.looks(now);
        let in_vain = has_looked && took > LOOK;
        looks += u32::from(has_looked);
        vain += u32::from(in_vain);
        let slept = match has_looked {
            true => in_vain.then(|| took - LOOK),
            false => Some(took),
        };
        now += took;
        spin.learn(&Waited { ended: now, has_looked, was_late: false, slept, has_found: true });
    }
    (looks, vain, now)
}

#[test]
fn short_waits_in_a_row_make_it_look() {
    let (looks, vain, _) = run(&mut Spin::default(), Instant::now(), ENTER + 100, QUICK);
    assert_eq!((looks, vain), (100, 0));
}

#[test]
fn wake_ups_of_sleeping_cores_make_it_look_too() {
    let mut spin = Spin::default();
    let (.., now) = run(&mut spin, Instant::now(), ENTER, Duration::from_micros(90));
    assert!(spin.looks(now));
}

#[test]
fn long_waits_never_do() {
    let took = Duration::from_micros(500);
    let (looks, ..) = run(&mut Spin::default(), Instant::now(), 100_000, took);
    assert_eq!(looks, 0);
}

#[test]
fn who_comes_to_wait_long_looks_twice_at_most() {
    let mut spin = Spin::default();
    let (.., now) = run(&mut spin, Instant::now(), 1000, QUICK);
    let (looks, vain, _) = run(&mut spin, now, 1000, Duration::from_millis(1));
    assert_eq!(looks, vain);
    assert!(looks <= 2, "{looks}");
}

#[test]
fn waits_a_little_too_long_cost_little() {
    // Each might have been a look, and none is found by one.
    let began = Instant::now();
    let took = Duration::from_micros(119);
    let (_, vain, now) = run(&mut Spin::default(), began, 10_000, took);
    assert!(LOOK * vain * 3 < now - began, "{vain} of 10,000");
}

#[test]
fn a_late_turn_ends_it_for_longer_and_longer() {
    let mut spin = Spin::default();
    let (.., mut now) = run(&mut spin, Instant::now(), ENTER, QUICK);
    let late =
        |now| Waited { ended: now, has_looked: true, was_late: true, slept: None, has_found: true };
    let mut pauses = Vec::new();
    for _ in 0..12 {
        spin.learn(&late(now));
        let since = now;
        while !spin.looks(now) {
            now += Duration::from_micros(100);
        }
        pauses.push(now - since);
    }
    assert_eq!(pauses[0], PAUSE);
    assert!(pauses.windows(2).all(|two| two[1] >= two[0]), "{pauses:?}");
    assert_eq!(pauses[11], PAUSE_MAX);
    // One that comes by itself is noise.
    now += SOON * 2;
    spin.learn(&late(now));
    assert!(spin.looks(now + PAUSE));
}

#[test]
fn late_turns_that_are_rare_cost_little() {
    let mut spin = trusting();
    let mut now = Instant::now();
    for _ in 0..100 {
        let late =
            Waited { ended: now, has_looked: true, was_late: true, slept: None, has_found: true };
        spin.learn(&late);
        assert!(spin.looks(now + PAUSE));
        now += SOON * 2;
    }
}

/// One that looks.
fn trusting() -> Spin {
    Spin { trust: TRUST_MAX, ..Spin::default() }
}

/// Finds something at the given call, and notes what times it was given.
fn at_call<'a>(
    call: usize,
    times: &'a mut Vec<Option<Duration>>,
) -> impl FnMut(Option<Duration>) -> io::Result<Option<&'static str>> + 'a {
    move |timeout| {
        times.push(timeout);
        Ok((times.len() == call).then_some("it"))
    }
}

#[test]
fn who_does_not_look_sleeps() {
    let mut times = Vec::new();
    let found = Spin::default().wait(None, at_call(1, &mut times));
    assert_eq!(found.unwrap(), Some("it"));
    assert_eq!(times, [None]);
}

#[test]
fn who_looks_asks_without_waiting_until_something_is_there() {
    let mut times = Vec::new();
    let found = trusting().wait(None, at_call(2, &mut times));
    assert_eq!(found.unwrap(), Some("it"));
    // The second may come late, where the machine is busy.
    assert_eq!(times[0], Some(Duration::ZERO));
}

#[test]
fn who_looked_in_vain_sleeps_for_what_is_left() {
    let mut last = None;
    let (mut spin, timeout) = (trusting(), Duration::from_secs(1));
    let found = spin.wait(Some(timeout), |timeout| {
        last = timeout;
        Ok((timeout != Some(Duration::ZERO)).then_some("it"))
    });
    assert_eq!(found.unwrap(), Some("it"));
    assert!(last.unwrap() <= timeout - LOOK.min(TURN_MAX));
    assert!(spin.trust < TRUST_MAX);
}

#[test]
fn nothing_came_in_time() {
    let timeout = Some(Duration::from_micros(1));
    assert_eq!(trusting().wait(timeout, |_| Ok(None::<()>)).unwrap(), None);
}

#[test]
fn who_looks_gives_up_when_others_have_the_core() {
    let mut spin = trusting();
    let mut looks = 0;
    let found = spin.wait(None, |timeout| {
        looks += 1;
        // tidy: sleep is the subject under test: a turn that comes late.
        std::thread::sleep(TURN_MAX * 2);
        Ok(timeout.is_none().then_some("it"))
    });
    assert_eq!((found.unwrap(), looks), (Some("it"), 2));
    assert!(!spin.looks(Instant::now()) || spin.not_before.is_some());
}

#[test]
fn errors_end_it() {
    let broken = |_| -> io::Result<Option<()>> { Err(io::ErrorKind::BrokenPipe.into()) };
    let error = trusting().wait(None, broken).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn waits_that_end_by_themselves_teach_nothing() {
    let mut spin = Spin::default();
    for timeout in [Duration::ZERO, Duration::from_micros(1)] {
        for _ in 0..2 * ENTER {
            assert_eq!(spin.wait(Some(timeout), |_| Ok(None::<()>)).unwrap(), None);
        }
    }
    assert_eq!(spin.trust, 0);
}

#[test]
fn reading_gives_what_is_there_then_what_comes_then_the_end() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let mut spin = trusting();
    let mut buffer = [0; 8];
    writer.write_all(b"one").unwrap();
    assert_eq!(spin.read(&mut reader, &mut buffer).unwrap(), 3);
    // Longer than anybody looks: the reader sleeps.
    let later = std::thread::spawn(move || {
        // tidy: sleep is the subject under test: nothing comes while it looks.
        std::thread::sleep(LOOK * 10);
        writer.write_all(b"more").unwrap();
    });
    assert_eq!(spin.read(&mut reader, &mut buffer).unwrap(), 4);
    later.join().unwrap();
    assert_eq!(spin.read(&mut reader, &mut buffer).unwrap(), 0);
}
