//! A server that wakes whoever comes, on a host of its own, and those who come from another one.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use super::hosts::Hosts;
use super::{Ran, Running};

/// A hundred connections of garbage, then eight visitors at once: all of them wake on the server's host with
/// what they had. `server` listens at the address that it is told, `client` goes to the one that it is told.
pub(crate) fn serves_visitors_and_survives_garbage(
    hosts: &Hosts,
    server: impl FnOnce(&str) -> Command,
    client: impl Fn(&str) -> Command,
) {
    let [there, here] = ["there", "here"].map(|name| hosts.host(name));
    let mut server = Running::of(&mut there.here(&server(&there.address())));
    let line = server.line_with("listening at 10.");
    let address = line.trim_start_matches("listening at ");
    here.inside(|| {
        for round in 0..100_u32 {
            let mut stream = TcpStream::connect(address).unwrap();
            let garbage: Vec<u8> = (0..500 * round).map(|at| ((at * round) >> 3) as u8).collect();
            // It may have had enough before the end.
            let _ = stream.write_all(&garbage);
        }
    });
    let clients: Vec<Running> =
        (0..8).map(|_| Running::of(&mut here.here(&client(address)))).collect();
    for client in clients {
        let ran: Ran = client.finish();
        assert_eq!((ran.code, &ran.stdout[..], &ran.stderr[..]), (Some(0), "sent\n", ""));
    }
    let (mut woke, mut left) = (0, 0);
    while left < 8 {
        let line = server.line_with("");
        woke += usize::from(line.ends_with("woken elsewhere: foo=103"));
        left += usize::from(line.ends_with("has left with status 103"));
    }
    assert_eq!(woke, 8);
}
