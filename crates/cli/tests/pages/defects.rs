//! What the protocol's first server does wrong, and what is done here instead.

use std::thread;

use super::{both, command, header};
use crate::pages::Place;
use crate::support::process;

const UPDATE: u8 = 5;

#[test]
fn defect_1_versions_only_rise_whatever_is_asked_for() {
    both(2, 8, |place| {
        let mut raw = place.raw();
        let mut wants = |wanted: i32, becomes: i32| {
            let (kind, _, version, _) = raw.ask((UPDATE, 0, wanted), b"whatever");
            assert_eq!((kind, version), (UPDATE, becomes), "{wanted} was wanted");
        };
        wants(-1, 2);
        wants(-1, 3);
        wants(3, 4);
        wants(1, 5);
        wants(0, 6);
        wants(25_432, 25_432);
        wants(25_432, 25_433);
        wants(i32::MIN, 25_434);
        wants(i32::MAX - 1, i32::MAX - 1);
        wants(i32::MAX, i32::MAX);
        // It begins again; what is wanted is not higher than what is counted any more.
        wants(-1, 1);
        wants(77, 2);
        // Whoever has kept a page of the first round under such a version is not told that it is the same.
        let (_, _, version, data) = raw.ask((2, 0, 2), b"");
        assert_eq!((version, &data[..]), (2, &b"whatever"[..]));
        // Of other pages everything is as it was.
        assert_eq!(raw.ask((2, 1, 1), b""), (2, 1, 1, Vec::new()));
    });
}

#[test]
fn defect_2_an_unlock_without_the_lock_is_101() {
    both(1, 8, |place| {
        let (mut holder, mut other) = (place.raw(), place.raw());
        let not_locked = (101, 0, 0, Vec::new());
        assert_eq!(other.ask((4, 0, 0), b"unlocked"), not_locked);
        holder.ask((3, 0, 0), b"");
        assert_eq!(other.ask((4, 0, 0), b"not mine"), not_locked);
        assert_eq!(holder.ask((4, 0, 0), b"but mine"), (4, 0, 2, Vec::new()));
        assert_eq!(holder.ask((4, 0, 0), b"no more!"), not_locked);
        assert_eq!(other.ask((2, 0, 0), b""), (2, 0, 2, b"but mine".to_vec()));
    });
}

#[test]
fn defect_3_as_many_as_there_are_is_one_too_many() {
    both(3, 8, |place| {
        let mut raw = place.raw();
        for offset in [3, 4, i32::MAX, -1, i32::MIN] {
            for kind in [2, 3, 4, 5] {
                let data: &[u8] = if kind > 3 { b"12345678" } else { b"" };
                assert_eq!(raw.ask((kind, offset, 0), data), (100, 0, 0, Vec::new()), "{offset}");
            }
        }
        for offset in 0..3 {
            assert_eq!(raw.ask((2, offset, 1), b""), (2, offset, 1, Vec::new()));
        }
    });
}

#[test]
fn defect_4_no_length_but_a_pages_is_believed() {
    both(2, 8, |place| {
        for kind in [4, 5] {
            for length in [0, 7, 9, 1 << 20, i32::MAX, -1, i32::MIN] {
                let mut raw = place.raw();
                raw.put(&header(kind, 0, length, -1, b""));
                raw.ends_cleanly();
            }
        }
        let before = place.node.as_ref().map(|node| process::memory(node.child.id()));
        let mut many: Vec<_> = (0..100).map(|_| place.raw()).collect();
        for raw in &mut many {
            raw.put(&header(5, 0, i32::MAX, -1, &[0; 64]));
        }
        for raw in &mut many {
            raw.ends();
        }
        if let (Some(before), Some(node)) = (before, &place.node) {
            let more = process::memory(node.child.id()).saturating_sub(before);
            assert!(more < 32 << 10, "{more} KiB more for 200 GB that were announced");
        }
        let mut raw = place.raw();
        assert_eq!(raw.ask((2, 0, 1), b""), (2, 0, 1, Vec::new()));
    });
}

#[test]
fn defect_4_a_wrong_length_gives_the_locks_back() {
    both(1, 8, |place| {
        let (mut holder, mut waiter) = (place.raw(), place.raw());
        holder.ask((3, 0, 0), b"");
        waiter.put(&command(3, 0, 1, b""));
        waiter.is_silent();
        // It stays open on its side: only its own end could be noticed otherwise.
        holder.put(&header(4, 0, 9, 0, b""));
        assert_eq!(waiter.answer(), (3, 0, 1, Vec::new()));
        holder.ends_cleanly();
    });
}

#[test]
fn defect_5_a_second_lock_is_the_first() {
    both(1, 8, |place| {
        let mut raw = place.raw();
        for _ in 0..3 {
            assert_eq!(raw.ask((3, 0, 1), b""), (3, 0, 1, Vec::new()));
        }
        assert_eq!(raw.ask((4, 0, 0), b"one does"), (4, 0, 2, Vec::new()));
        assert_eq!(place.raw().ask((3, 0, 0), b""), (3, 0, 2, b"one does".to_vec()));
    });
}

#[test]
fn defect_6_after_its_own_commit_a_client_has_the_new_version() {
    // `nm_4` counts the bytes; here is what a copy of the client sees of it.
    both(1, 8, |place| {
        let mut client = place.client();
        let mut copy = client.try_clone().unwrap();
        let mut page = client.lock_page(0).unwrap();
        page.data.copy_from_slice(b"commited");
        assert_eq!(client.unlock_page(&mut page).unwrap(), 2);
        assert_eq!(page.version, 2);
        for reader in [&mut client, &mut copy] {
            assert_eq!(reader.read_page(0).unwrap(), page);
        }
    });
}

#[test]
fn defect_7_short_data_is_filled_up_and_long_data_refused() {
    both(1, 8, |place| {
        let mut client = place.client();
        client.update_page(0, -1, b"12345678").unwrap();
        client.update_page(0, -1, b"abcd").unwrap();
        assert_eq!(client.read_page(0).unwrap().data, b"abcd\0\0\0\0");
        assert!(client.update_page(0, -1, b"123456789").is_err());
        let mut page = client.lock_page(0).unwrap();
        page.data.truncate(1);
        client.unlock_page(&mut page).unwrap();
        assert_eq!(place.client().read_page(0).unwrap().data, b"a\0\0\0\0\0\0\0");
    });
}

#[test]
fn defect_8_who_waits_is_served_in_order() {
    both(2, 8, |place| {
        let mut holder = place.raw();
        holder.ask((3, 0, 1), b"");
        // Two that lock, then one that updates.
        let mut waiters: Vec<_> = (0..3).map(|_| place.raw()).collect();
        for (at, waiter) in waiters.iter_mut().enumerate() {
            waiter.put(&if at < 2 {
                command(3, 0, 0, b"")
            } else {
                command(5, 0, -1, b"the last")
            });
            waiter.is_silent();
        }
        // Nobody else waits for them.
        assert_eq!(place.raw().ask((3, 1, 1), b""), (3, 1, 1, Vec::new()));
        holder.ask((4, 0, 0), b"previous");
        for version in [2, 3] {
            let waiter = &mut waiters[version as usize - 2];
            assert_eq!(waiter.answer(), (3, 0, version, b"previous".to_vec()));
            waiters[2].is_silent();
            waiters[version as usize - 2].ask((4, 0, 0), b"previous");
        }
        assert_eq!(waiters[2].answer(), (5, 0, 5, Vec::new()));
    });
}

#[test]
fn defect_8_an_update_waits_for_the_lock_and_the_holders_own_gives_it_back() {
    both(1, 8, |place| {
        let (mut holder, mut other) = (place.raw(), place.raw());
        holder.ask((3, 0, 0), b"");
        other.put(&command(5, 0, -1, b"the 2nd!"));
        other.is_silent();
        assert_eq!(holder.ask((5, 0, 40), b"the 1st!"), (5, 0, 40, Vec::new()));
        assert_eq!(other.answer(), (5, 0, 41, Vec::new()));
        assert_eq!(holder.ask((4, 0, 0), b"too late"), (101, 0, 0, Vec::new()));
        assert_eq!(holder.ask((2, 0, 40), b""), (2, 0, 41, b"the 2nd!".to_vec()));
    });
}

#[test]
fn defect_9_bytes_and_version_are_of_one_commit() {
    const COMMITS: i32 = 3000;
    both(1, 4096, |place| {
        thread::scope(|scope| {
            let mut writer = place.raw();
            scope.spawn(move || {
                for version in 2..=COMMITS {
                    let bytes = vec![version as u8; 4096];
                    assert_eq!(writer.ask((5, 0, -1), &bytes), (5, 0, version, Vec::new()));
                }
            });
            for _ in 0..2 {
                let mut reader = place.raw();
                scope.spawn(move || {
                    let mut last = 1;
                    while last < COMMITS {
                        let (_, _, version, data) = reader.ask((2, 0, last), b"");
                        assert!(version >= last, "{version} after {last}");
                        if version > last {
                            assert_eq!(data, vec![version as u8; 4096], "version {version}");
                        }
                        last = version;
                    }
                });
            }
        });
    });
}

#[test]
fn defect_10_threads_share_a_cache_and_have_a_connection_each() {
    let place = Place::inside(8, 64);
    let mut client = place.client();
    let mut copies: Vec<_> = (0..4).map(|_| client.try_clone().unwrap()).collect();
    for page in 0..8 {
        client.update_page(page, -1, &[page as u8; 64]).unwrap();
    }
    drop(client);
    thread::scope(|scope| {
        for copy in &mut copies {
            scope.spawn(move || {
                for turn in 0..400 {
                    let page = turn % 8;
                    assert_eq!(copy.read_page(page).unwrap().data[1..], [page as u8; 63]);
                    let mut locked = copy.lock_page(page).unwrap();
                    locked.data[0] = locked.data[0].wrapping_add(1);
                    copy.unlock_page(&mut locked).unwrap();
                }
            });
        }
    });
    // 4 threads, 50 times each.
    for page in 0..8 {
        assert_eq!(copies[0].read_page(page).unwrap().data[0], (page as u8).wrapping_add(200));
    }
    // A lock is its own connection's.
    copies[0].lock_page(0).unwrap();
    let mut page = copies[1].read_page(0).unwrap();
    assert_eq!(copies[1].unlock_page(&mut page).unwrap_err().code(), Some(101));
}
