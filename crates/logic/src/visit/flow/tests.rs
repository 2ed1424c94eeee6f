//! Bytes of a stream over connections that break.

use wire::limits::STDIO_WINDOW;

use super::{Piece, Receiving, Sending};

/// A small generator, so that a run can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn bytes_come_once_and_in_order_over_connections_that_break_anywhere() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let whole: Vec<u8> = (0..300_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let (mut from, mut to) = (Sending::default(), Receiving::default());
        let (mut given, mut got, mut closed) = (0, Vec::new(), None);
        let mut unread = Vec::new();
        while closed.is_none() || !from.is_done() {
            let count = (dice.below(9000) as usize).min(from.room()).min(whole.len() - given);
            if given < whole.len() {
                from.push(&whole[given..given + count]);
                given += count;
                if given == whole.len() {
                    from.close();
                }
            }
            if dice.below(20) == 0 {
                // A break: the peer says where it is.
                assert!(from.taken(to.again()));
                from.again();
            }
            for _ in 0..dice.below(6) {
                match from.poll_piece() {
                    // Some pieces never arrive; what comes behind a gap is refused.
                    Some(_) if dice.below(15) == 0 => {
                        assert!(from.taken(to.again()));
                        from.again();
                    }
                    Some(Piece::Bytes { at, bytes }) => {
                        let known = to.arrived(at, bytes.len()).expect("no gap, within the window");
                        unread.extend_from_slice(&bytes[known..]);
                    }
                    Some(Piece::Closed { at }) => {
                        assert!(to.is_whole(at));
                        closed = Some(at);
                    }
                    None => {}
                }
            }
            let read = (dice.below(20_000) as usize).min(unread.len());
            got.extend(unread.drain(..read));
            to.done(read);
            assert!(unread.len() as u64 <= STDIO_WINDOW, "however often it breaks");
            if let Some(taken) = to.news() {
                assert!(from.taken(taken));
            }
            if closed.is_some() && unread.is_empty() {
                assert!(from.taken(to.again()));
            }
        }
        got.extend(unread);
        assert!(got == whole, "seed {seed}");
    }
}

#[test]
fn who_comes_back_again_and_again_has_no_more_than_a_window_under_way() {
    let mut to = Receiving::default();
    let window = STDIO_WINDOW as usize;
    assert_eq!(to.arrived(0, window), Some(0));
    for _ in 0..3 {
        // Nothing was handed on yet.
        let at = to.again();
        assert_eq!((at, to.arrived(at, window)), (0, Some(window)));
        assert_eq!(to.arrived(STDIO_WINDOW, 1), None);
    }
    to.done(5);
    assert_eq!(to.again(), 5);
    assert_eq!(to.arrived(STDIO_WINDOW, 5), Some(0));
}

#[test]
fn a_gap_and_more_than_a_window_are_refused() {
    let mut to = Receiving::default();
    assert_eq!(to.arrived(1, 1), None);
    assert_eq!(to.arrived(0, 10), Some(0));
    assert_eq!(to.arrived(5, 10), Some(5));
    assert_eq!(to.arrived(15, STDIO_WINDOW as usize), None);
    assert_eq!(to.arrived(u64::MAX, 2), None);
    let mut from = Sending::default();
    from.push(b"abc");
    assert!(!from.taken(1), "what was not sent cannot have been taken");
    assert!(from.poll_piece().is_some());
    assert!(from.taken(2) && !from.taken(1));
}
