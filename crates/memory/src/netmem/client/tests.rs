//! A client against a server that says what it is told to say.

use std::net::TcpListener;
use std::thread;

use wire::netmem::Type;

use super::*;

/// A server that is one page of four bytes, says these answers one after the other, and ends.
fn server(answers: Vec<Vec<u8>>) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let mut stream = listener.accept().unwrap().0;
        for answer in answers {
            let mut header = [0; HEADER];
            if stream.read_exact(&mut header).is_err() {
                return;
            }
            let header = Header::peek(&header).unwrap();
            let data =
                if matches!(header.kind, Type::UNLOCK | Type::UPDATE) { header.length } else { 0 };
            stream.read_exact(&mut vec![0; data as usize]).unwrap();
            stream.write_all(&answer).unwrap();
        }
    };
    (port, thread::spawn(serve))
}

fn header(kind: u8, offset: i32, length: i32, version: i32) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Header { kind, offset, length, version }.put(&mut bytes);
    bytes.to_vec()
}

fn greeting() -> Vec<Vec<u8>> {
    vec![header(1, 1, 0, 4), header(0, 0, 0, 0x0002_0002)]
}

fn connected(then: Vec<Vec<u8>>) -> (Client, thread::JoinHandle<()>) {
    let (port, server) = server([greeting(), then].concat());
    (Client::connect("127.0.0.1", port).unwrap(), server)
}

#[test]
fn nobody_there_is_error_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_eq!(Client::connect("127.0.0.1", port).unwrap_err().code(), Some(1));
}

#[test]
fn no_pages_is_error_2() {
    for (pages, length) in [(0, 4), (4, 0), (-1, 4), (4, i32::MIN)] {
        let (port, _server) = server(vec![header(1, pages, 0, length)]);
        assert_eq!(Client::connect("127.0.0.1", port).unwrap_err().code(), Some(2));
    }
}

#[test]
fn another_api_is_error_4_and_another_server_is_none() {
    for version in [0x0001_0002, 0x0003_0000, 0x0102_0002, -1] {
        let (port, _server) = server(vec![header(1, 1, 0, 4), header(0, 0, 0, version)]);
        assert_eq!(Client::connect("127.0.0.1", port).unwrap_err().code(), Some(4));
    }
    let (port, _server) = server(vec![header(1, 1, 0, 4), header(0, 0, 0, 0x0002_0907)]);
    assert!(Client::connect("127.0.0.1", port).is_ok());
}

#[test]
fn a_broken_connection_is_error_0_and_then_3() {
    let (mut client, server) = connected(Vec::new());
    server.join().unwrap();
    assert_eq!(client.read_page(0).unwrap_err().code(), Some(0));
    assert_eq!(client.read_page(0).unwrap_err().code(), Some(3));
    let (mut client, _server) = connected(Vec::new());
    client.disconnect();
    assert_eq!(client.params().unwrap_err().code(), Some(3));
}

#[test]
fn what_a_server_may_not_say_ends_the_connection() {
    for nonsense in [
        header(3, 0, 0, 1),
        header(2, 0, i32::MAX, 1),
        header(2, 0, -4, 1),
        header(2, 0, 0, 1), // unchanged, but nothing was known
        header(2, 1, 0, 1),
        [header(2, 0, 4, 0), vec![0; 4]].concat(),
        [header(2, 0, 4, 1), vec![0; 3]].concat(),
    ] {
        let (mut client, server) = connected(vec![nonsense.clone()]);
        let error = client.read_page(0).unwrap_err();
        assert_eq!(error.code(), Some(0), "{nonsense:?}");
        drop(client);
        server.join().unwrap();
    }
}

#[test]
fn refusals_leave_the_connection_usable() {
    let refused = vec![header(100, 0, 0, 0), header(101, 0, 0, 0), header(1, 1, 0, 4)];
    let (mut client, _server) = connected(refused);
    assert_eq!(client.read_page(7).unwrap_err().code(), Some(100));
    let mut page = Page { offset: 0, version: 1, data: vec![0; 4] };
    assert_eq!(client.unlock_page(&mut page).unwrap_err().code(), Some(101));
    assert_eq!(client.params().unwrap(), Params { pages: 1, length: 4 });
}

#[test]
fn too_much_data_is_not_even_sent() {
    let (mut client, _server) = connected(Vec::new());
    let error = client.update_page(0, -1, &[0; 5]).unwrap_err();
    assert!(matches!(error, Error::TooLong { length: 5, page_length: 4 }));
    assert_eq!(client.read_page(u32::MAX).unwrap_err().code(), Some(100));
}

#[test]
fn an_empty_address_list_or_no_such_host_is_error_1() {
    for host in ["", "no such host", "127.0.0.1:80"] {
        assert_eq!(Client::connect(host, 1).unwrap_err().code(), Some(1), "{host:?}");
    }
}
