//! A server and its clients in one program.

use std::fs;
use std::net::TcpStream;
use std::sync::mpsc;

use super::*;
use crate::netmem::Client;

fn served(pages: u32, length: u32) -> (Server, Client) {
    let server = Server::new(pages, length).unwrap();
    let port = server.start(0).unwrap().port();
    let client = Client::connect("127.0.0.1", port).unwrap();
    (server, client)
}

#[test]
fn what_is_committed_inside_is_read_outside_and_the_other_way_round() {
    let (server, mut client) = served(6, 40);
    assert_eq!(client.params().unwrap(), Params { pages: 6, length: 40 });
    let mut page = server.page(2).lock().unwrap();
    page[0] = 7;
    assert_eq!(client.read_page(2).unwrap().data, [0; 40], "not committed yet");
    assert_eq!(page.commit().unwrap(), 2);
    assert_eq!(client.read_page(2).unwrap().data[0], 7);
    let mut page = client.lock_page(2).unwrap();
    page.data[0] += 1;
    assert_eq!(client.unlock_page(&mut page).unwrap(), 3);
    let page = server.page(2).read().unwrap();
    assert_eq!((page.version, page.data[0]), (3, 8));
    assert_eq!(server.page(2).update(100, b"abc").unwrap(), 100);
    let read = client.read_page(2).unwrap();
    assert_eq!((read.version, &read.data[..5]), (100, &b"abc\0\0"[..]));
}

#[test]
fn pages_are_there_before_the_server_starts_and_after_it_stops() {
    let server = Server::new(2, 8).unwrap();
    assert_eq!(server.page(1).lock().unwrap().unlock(b"before").unwrap(), 2);
    assert_eq!(server.address(), None);
    for turn in 0..3 {
        let address = server.start(0).unwrap();
        assert_eq!(server.start(0).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let mut client = Client::connect("127.0.0.1", address.port()).unwrap();
        assert_eq!(client.read_page(1).unwrap().version, 2 + turn);
        client.update_page(1, -1, b"x").unwrap();
        server.stop();
        assert_eq!(client.read_page(1).unwrap_err().code(), Some(0));
        assert_eq!(Client::connect("127.0.0.1", address.port()).unwrap_err().code(), Some(1));
    }
    assert_eq!(server.page(1).read().unwrap().version, 5);
}

#[test]
fn a_lock_that_is_dropped_changes_nothing() {
    let server = Server::new(1, 8).unwrap();
    let mut page = server.page(0).lock().unwrap();
    page[0] = 9;
    drop(page);
    let page = server.page(0).lock().unwrap();
    assert_eq!((page.version(), page[0]), (1, 0));
}

#[test]
fn who_waits_inside_gets_the_lock_of_a_client_that_goes() {
    let (server, mut client) = served(1, 8);
    client.lock_page(0).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| server.page(0).lock().unwrap().unlock(b"inside").unwrap());
        client.disconnect();
        assert_eq!(waiter.join().unwrap(), 2);
    });
}

#[test]
fn who_waits_outside_gets_the_lock_that_is_given_back_inside() {
    let (server, mut client) = served(1, 8);
    let page = server.page(0).lock().unwrap();
    let (asked, asks) = mpsc::channel();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            asked.send(()).unwrap();
            client.lock_page(0).unwrap().data
        });
        asks.recv().unwrap();
        page.unlock(b"inside").unwrap();
        assert_eq!(waiter.join().unwrap(), b"inside\0\0");
    });
}

#[test]
fn bounds_are_errors() {
    for (pages, length) in [(0, 8), (8, 0), (1 << 31, 8), (1, PAGE_SIZE_MAX + 1)] {
        assert_eq!(Server::new(pages, length).unwrap_err().code(), Some(2));
    }
    let server = Server::new(i32::MAX as u32, 8).unwrap();
    assert_eq!(server.page(u32::MAX).lock().unwrap_err().code(), Some(100));
    assert_eq!(server.page(i32::MAX as u32).read().unwrap_err().code(), Some(100));
    assert!(matches!(server.page(0).update(-1, &[0; 9]), Err(Error::TooLong { .. })));
    assert_eq!(server.page(0).read().unwrap().version, 1);
}

#[test]
fn a_join_ends_when_somebody_stops() {
    let server = Server::new(1, 8).unwrap();
    server.start(0).unwrap();
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| server.join());
        server.stop();
        joined.join().unwrap();
    });
}

#[test]
fn copies_share_a_cache_and_have_locks_of_their_own() {
    const THREADS: usize = 4;
    const EACH: u64 = 250;
    let (server, client) = served(1, 8);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let mut copy = client.try_clone().unwrap();
            scope.spawn(move || {
                for _ in 0..EACH {
                    let mut page = copy.lock_page(0).unwrap();
                    let count = u64::from_be_bytes(page.data[..].try_into().unwrap());
                    page.data = (count + 1).to_be_bytes().to_vec();
                    copy.unlock_page(&mut page).unwrap();
                }
            });
        }
    });
    let total = THREADS as u64 * EACH;
    let page = server.page(0).read().unwrap();
    assert_eq!((page.version as u64, page.data), (total + 1, total.to_be_bytes().to_vec()));
}

/// Another descriptor of the server's end of a connection, as a child has for a moment that the program starts.
fn inherited(connection: &TcpStream) -> TcpStream {
    let (ours, of) = (connection.local_addr().unwrap(), sys::Pid(std::process::id().cast_signed()));
    let numbers = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let copies = numbers.filter_map(|number| sys::process::take_descriptor(of, number).ok());
    let mut sockets = copies.map(TcpStream::from);
    sockets.find(|socket| socket.peer_addr().is_ok_and(|peer| peer == ours)).unwrap()
}

#[test]
fn the_last_word_of_a_connection_is_not_taken_for_that_of_the_next() {
    let (server, mut first) = served(1, 8);
    first.disconnect();
    let port = server.address().unwrap().port();
    let connect = || {
        let mut client = Client::connect("127.0.0.1", port).unwrap();
        assert_eq!(client.read_page(0).unwrap().version, 1);
        client
    };
    let one = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // Whoever is served after it was let in after it.
    connect().disconnect();
    let child = inherited(&one);
    drop(one);
    connect().disconnect();
    // All numbers that were given back are somebody's again.
    let mut others: Vec<Client> = (0..4).map(|_| connect()).collect();
    drop(child);
    connect().disconnect();
    for other in &mut others {
        other.update_page(0, -1, b"there").unwrap();
    }
}
