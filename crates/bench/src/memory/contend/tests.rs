//! The measures of fairness see what is unfair.

use std::sync::atomic::AtomicU64;

use super::*;

#[test]
fn pairs_in_the_wrong_order_are_counted() {
    for (served, want) in [(vec![0, 1, 2, 3], 0), (vec![1, 0, 2, 3], 1), (vec![3, 2, 1, 0], 6)] {
        assert_eq!(overtaken(&served), want, "{served:?}");
    }
}

#[test]
fn a_lock_that_serves_the_latest_first_is_seen() {
    let turns = Mutex::new((false, Vec::new()));
    let turns = &turns;
    let with_lock = |client: &mut usize, inside: &mut dyn FnMut()| {
        // A lock whose queue is a stack.
        turns.lock().unwrap().1.push(*client);
        loop {
            let mut state = turns.lock().unwrap();
            if !state.0 && state.1.last() == Some(client) {
                state.0 = true;
                break;
            }
            drop(state);
            thread::yield_now();
        }
        inside();
        let mut state = turns.lock().unwrap();
        state.0 = false;
        state.1.retain(|other| other != client);
        Ok(())
    };
    let queued = |count| {
        while turns.lock().unwrap().1.len() < count + 1 {
            thread::yield_now();
        }
    };
    assert_eq!(queue_up(&mut [0, 1, 2, 3, 4], &with_lock, queued).unwrap(), 6);
}

#[test]
fn what_clients_got_done_is_counted_for_each() {
    let all = AtomicU64::new(0);
    let turn = |client: &mut u64| {
        *client += 1;
        all.fetch_add(1, Relaxed);
        Ok(2)
    };
    let mut clients = [0, 0];
    let contended = contend(&mut clients, Duration::from_millis(5), &turn).unwrap();
    assert_eq!(contended.done, clients);
    assert_eq!(contended.total(), all.into_inner());
    assert_eq!(contended.retries, 2 * contended.total());
}
