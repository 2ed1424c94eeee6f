//! What has to work, row by row.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::netmem::{Client, Error, Server, error_message};

use super::{Random, Raw, both, command, header};
use crate::support::PATIENCE;

#[test]
fn nm_1_the_wire_is_right_to_the_byte() {
    both(6, 40, |place| {
        // The other 12 bytes mean nothing.
        for rest in ["00000000 00000000 00000000", "ffffffff 7fffffff 12345678"] {
            place.raw().asks(&format!("01 {rest}"), "01 00000006 00000000 00000028");
            place.raw().asks(&format!("00 {rest}"), "00 00000000 00000000 00020002");
        }
    });
    both(6, 8, |place| {
        let mut raw = place.raw();
        let cold = "02 00000002 00000000 00000000";
        raw.asks(cold, "02 00000002 00000008 00000001 0000000000000000");
        raw.asks("02 00000002 00000000 00000001", "02 00000002 00000000 00000001");
        raw.asks("03 00000002 00000000 00000001", "03 00000002 00000000 00000001");
        raw.asks("04 00000002 00000008 00000001 4142434445464748", "04 00000002 00000000 00000002");
        raw.asks(cold, "02 00000002 00000008 00000002 4142434445464748");
        raw.asks("03 00000002 00000000 00000001", "03 00000002 00000008 00000002 4142434445464748");
        raw.asks("05 00000001 00000008 ffffffff 3132333435363738", "05 00000001 00000000 00000002");
        raw.asks("02 00000006 00000000 00000000", "64 00000000 00000000 00000000");
        raw.asks("04 00000001 00000008 00000000 0000000000000000", "65 00000000 00000000 00000000");
        raw.asks("4d 00000001 00000002 00000003", "4d 00000001 00000000 00000003");
        // In pieces, and the answer comes with the last byte.
        for byte in super::hex("02 00000002 00000000 000000") {
            raw.put(&[byte]);
        }
        raw.is_silent();
        raw.put(&[2]);
        raw.says("02 00000002 00000000 00000002");
    });
}

#[test]
fn nm_2_what_one_client_commits_another_reads() {
    both(3, 8, |place| {
        let mut one = place.client();
        assert_eq!((one.params().unwrap().pages, one.params().unwrap().length), (3, 8));
        assert_eq!(one.server_version().unwrap(), 0x0002_0002);
        let mut page = one.lock_page(2).unwrap();
        assert_eq!((page.offset, page.version, &page.data[..]), (2, 1, &[0; 8][..]));
        page.data.copy_from_slice(b"modified");
        assert_eq!(one.unlock_page(&mut page).unwrap(), 2);
        assert_eq!(one.update_page(1, -1, &25432_u32.to_be_bytes()).unwrap(), 2);
        let mut two = place.client();
        let page = two.read_page(2).unwrap();
        assert_eq!((page.version, &page.data[..]), (2, &b"modified"[..]));
        let page = two.read_page(1).unwrap();
        assert_eq!((page.version, &page.data[..4]), (2, &25432_u32.to_be_bytes()[..]));
    });
}

/// Locks, adds one, unlocks.
fn count(client: &mut Client, times: u64) {
    for _ in 0..times {
        let mut page = client.lock_page(0).unwrap();
        let value = u64::from_be_bytes(page.data[..].try_into().unwrap());
        page.data = (value + 1).to_be_bytes().to_vec();
        client.unlock_page(&mut page).unwrap();
    }
}

#[test]
fn nm_3_no_increment_is_lost() {
    both(1, 8, |place| {
        thread::scope(|scope| {
            for _ in 0..8 {
                let mut client = place.client();
                scope.spawn(move || count(&mut client, 1000));
            }
        });
        let mut client = place.client();
        let page = client.read_page(0).unwrap();
        assert_eq!((page.version, page.data), (8001, 8000_u64.to_be_bytes().to_vec()));
        // Threads whose clients share a cache.
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut copy = client.try_clone().unwrap();
                scope.spawn(move || count(&mut copy, 1000));
            }
        });
        let page = client.read_page(0).unwrap();
        assert_eq!((page.version, page.data), (12_001, 12_000_u64.to_be_bytes().to_vec()));
    });
}

/// Passes everything on between a client and a server, and counts it.
struct Counter {
    port: u16,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
}

impl Counter {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self {
            port: listener.local_addr().unwrap().port(),
            up: Arc::default(),
            down: Arc::default(),
        };
        let (up, down) = (this.up.clone(), this.down.clone());
        thread::spawn(move || {
            let Ok((near, _)) = listener.accept() else { return };
            let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || pass(near_too, far_too, &up));
            pass(far, near, &down);
        });
        this
    }

    /// Bytes there and back since the last time.
    fn moved(&self) -> (u64, u64) {
        (self.up.swap(0, Ordering::SeqCst), self.down.swap(0, Ordering::SeqCst))
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    to.set_nodelay(true).unwrap();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        // Before it arrives: who has an answer finds it counted.
        counter.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn nm_4_what_a_client_has_is_not_sent_again() {
    both(3, 40, |place| {
        let counter = Counter::before(place.port);
        let mut client = Client::connect("127.0.0.1", counter.port).unwrap();
        assert_eq!(counter.moved(), (26, 26), "params and versions");
        client.read_page(1).unwrap();
        assert_eq!(counter.moved(), (13, 13 + 40), "cold");
        for _ in 0..3 {
            client.read_page(1).unwrap();
            assert_eq!(counter.moved(), (13, 13), "unchanged");
        }
        place.client().update_page(1, -1, b"foreign").unwrap();
        assert_eq!(&client.read_page(1).unwrap().data[..7], b"foreign");
        assert_eq!(counter.moved(), (13, 13 + 40), "somebody has written it");
        let mut page = client.lock_page(1).unwrap();
        assert_eq!(counter.moved(), (13, 13), "unchanged, locked");
        page.data[0] = b'F';
        client.unlock_page(&mut page).unwrap();
        assert_eq!(counter.moved(), (13 + 40, 13));
        assert_eq!(&client.read_page(1).unwrap().data[..7], b"Foreign");
        assert_eq!(counter.moved(), (13, 13), "after its own unlock");
        client.update_page(1, -1, b"mine").unwrap();
        assert_eq!(counter.moved(), (13 + 40, 13));
        assert_eq!(client.read_page(1).unwrap().data[..5], *b"mine\0");
        assert_eq!(counter.moved(), (13, 13), "after its own update");
    });
}

#[test]
fn nm_5_a_read_waits_for_no_lock() {
    both(2, 8, |place| {
        let (mut holder, mut reader) = (place.client(), place.client());
        let mut page = holder.lock_page(0).unwrap();
        page.data.copy_from_slice(b"not yet!");
        let read = reader.read_page(0).unwrap();
        assert_eq!((read.version, &read.data[..]), (1, &[0; 8][..]));
        holder.unlock_page(&mut page).unwrap();
        assert_eq!(reader.read_page(0).unwrap().data, b"not yet!");
    });
}

const HOLD: &str = "FARCALL_TEST_NETMEM_HOLD";

/// No test of its own: the process that dies with a lock.
#[test]
fn holds_a_lock_until_it_is_killed() {
    let Some(port) = std::env::var(HOLD).ok().and_then(|port| port.parse().ok()) else { return };
    let mut client = Client::connect("127.0.0.1", port).unwrap();
    client.lock_page(0).unwrap();
    println!("locked");
    thread::park_timeout(PATIENCE);
}

#[test]
fn nm_6_the_lock_of_a_killed_process_is_free_at_once() {
    both(1, 8, |place| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "pages::rows::holds_a_lock_until_it_is_killed", "--nocapture"]);
        command.env(HOLD, place.port.to_string());
        let mut holder = crate::support::Running::of(command.stdin(Stdio::null()));
        holder.line_with("locked");
        let mut waiter = place.raw();
        waiter.put(&command_lock());
        waiter.is_silent();
        let killed = Instant::now();
        holder.child.kill().unwrap();
        let (kind, offset, version, data) = waiter.answer();
        let after = killed.elapsed();
        assert_eq!((kind, offset, version, &data[..]), (3, 0, 1, &[0; 8][..]));
        assert!(after < Duration::from_secs(1), "after {after:?}");
        holder.child.wait().unwrap();
    });
}

fn command_lock() -> Vec<u8> {
    command(3, 0, 0, b"")
}

#[test]
fn nm_7_no_version_ever_comes_again() {
    const OPERATIONS: u64 = 100_000;
    both(4, 16, |place| {
        let mut random = Random(7);
        let mut peers: Vec<Raw> = (0..3).map(|_| place.raw()).collect();
        // What each page must be, and who has its lock.
        let mut pages: Vec<(i32, Vec<u8>)> = vec![(1, vec![0; 16]); 4];
        let mut holders: [Option<usize>; 4] = [None; 4];
        for operation in 0..OPERATIONS {
            let at = random.below(4) as usize;
            let who = random.below(3) as usize;
            let (peer, offset, is_free) =
                (&mut peers[who], at as i32, holders[at].is_none_or(|holder| holder == who));
            let known = match random.below(3) {
                0 => 0,
                1 => pages[at].0,
                _ => pages[at].0 - random.below(4) as i32 + 1,
            };
            let (version, bytes) = pages[at].clone();
            let expected = if known == version { Vec::new() } else { bytes };
            let data: Vec<u8> = (0..16).map(|_| random.below(256) as u8).collect();
            match random.below(5) {
                0 | 1 => {
                    let answer = peer.ask((2, offset, known), b"");
                    assert_eq!(answer, (2, offset, version, expected));
                }
                2 if is_free => {
                    let answer = peer.ask((3, offset, known), b"");
                    assert_eq!(answer, (3, offset, version, expected));
                    holders[at] = Some(who);
                }
                3 => {
                    let (kind, of, new, _) = peer.ask((4, offset, known), &data);
                    if holders[at] == Some(who) {
                        assert_eq!((kind, of, new), (4, offset, version + 1));
                        pages[at] = (new, data);
                        holders[at] = None;
                    } else {
                        assert_eq!((kind, new), (101, 0));
                    }
                }
                4 if is_free => {
                    let wanted = match random.below(4) {
                        0 => -1,
                        1 => version - random.below(5) as i32,
                        2 => version + random.below(3) as i32,
                        _ => version + random.below(1000) as i32,
                    };
                    let (kind, of, new, _) = peer.ask((5, offset, wanted), &data);
                    assert_eq!((kind, of, new), (5, offset, wanted.max(version + 1)));
                    pages[at] = (new, data);
                    holders[at] = None;
                }
                // It would wait for the lock, and there is only one thread here.
                _ => {}
            }
            assert!(pages[at].0 >= version, "operation {operation}");
        }
    });
}

#[test]
fn nm_8_errors_have_numbers_and_texts() {
    both(3, 8, |place| {
        let mut client = place.client();
        assert_eq!(client.read_page(3).unwrap_err().code(), Some(100));
        assert_eq!(client.lock_page(3).unwrap_err().code(), Some(100));
        assert_eq!(client.update_page(3, -1, b"").unwrap_err().code(), Some(100));
        let mut page = client.read_page(0).unwrap();
        assert_eq!(client.unlock_page(&mut page).unwrap_err().code(), Some(101));
        page.offset = 3;
        assert_eq!(client.unlock_page(&mut page).unwrap_err().code(), Some(100));
        assert_eq!(client.read_page(0).unwrap().version, 1, "the connection goes on");

        let mut raw = place.raw();
        raw.asks("01 00000000 00000000 00000000", "01 00000003 00000000 00000008");
        raw.put(&header(5, 0, 7, -1, b"seven b"));
        raw.ends_cleanly();
        assert_eq!(client.read_page(0).unwrap().version, 1, "nothing was written");
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    let other = thread::spawn(move || {
        let mut raw = Raw::over(nobody.accept().unwrap().0);
        raw.get(13);
        raw.put(&header(1, 1, 0, 8, b""));
        raw.get(13);
        raw.put(&header(0, 0, 0, 0x0001_0000, b""));
    });
    let error = Client::connect("127.0.0.1", port).unwrap_err();
    assert!(matches!(error, Error::NoCompatibleServerVersions { server: 0x0001_0000 }));
    assert_eq!(error.code(), Some(4));
    other.join().unwrap();
    let texts = [
        "Server disconnected",
        "Unable to connect to server",
        "Pages initialisation error",
        "Client disconnected",
        "No compatible server API version",
    ];
    for (code, text) in texts.iter().enumerate() {
        assert_eq!(error_message(code as i32), Some(*text));
    }
    assert_eq!((error_message(-1), error_message(5)), (None, None));
    assert_eq!(error.to_string(), texts[4]);
    assert_eq!(Client::connect("127.0.0.1", port).unwrap_err().to_string(), texts[1]);
}

#[test]
fn nm_9_a_server_inside_a_program_has_its_pages_at_hand() {
    let server = Server::new(6, 40).unwrap();
    for page in 0..6 {
        let mut locked = server.page(page).lock().unwrap();
        locked.fill(page as u8);
        // With its own bytes, or with others.
        let version =
            if page % 2 == 0 { locked.commit() } else { locked.unlock(&[page as u8; 40]) };
        assert_eq!(version.unwrap(), 2);
    }
    let mut raw = Raw::over(TcpStream::connect(server.start(0).unwrap()).unwrap());
    for page in 0..6 {
        let answer = raw.ask((2, page, 0), b"");
        assert_eq!(answer, (2, page, 2, vec![page as u8; 40]));
    }
    // A lock of the program's own is respected, and given back.
    let locked = server.page(0).lock().unwrap();
    raw.put(&command(5, 0, -1, &[9; 40]));
    raw.is_silent();
    drop(locked);
    assert_eq!(raw.answer(), (5, 0, 3, Vec::new()));
    assert_eq!(server.page(0).read().unwrap().data, [9; 40]);
    server.stop();
    raw.ends();
}

#[test]
fn nm_10_three_processes_factor_a_number() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--offline", "-p", "farcall", "--example", "factors", "--"]);
    let output = command.args(["165600140900011", "3", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find_map(|line| line.strip_prefix("165600140900011 = ")).unwrap();
    let (factor, other) = line.split_once(" * ").unwrap();
    let (factor, other): (u64, u64) = (factor.parse().unwrap(), other.parse().unwrap());
    assert_eq!(factor * other, 165_600_140_900_011);
    assert!(factor > 1 && other > 1, "{said}");
    let workers = said.lines().filter(|line| line.starts_with("worker "));
    assert_eq!(workers.count(), 3, "{said}");
}
