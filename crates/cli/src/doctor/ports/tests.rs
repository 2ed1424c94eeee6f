//! The tester is tested: services that are open to strangers must be found out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::BytesMut;
use wire::Message;
use wire::hello::Welcome;

use super::super::findings::{Finding, Mark};
use super::{metrics, node, other};

/// A service that does this with each connection, until the test's process ends.
fn service(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

#[track_caller]
fn check(address: SocketAddr, words: &str) {
    let findings = node(address, None);
    let told = |finding: &&Finding| finding.mark == Mark::Fail && finding.what.contains(words);
    assert!(findings.iter().any(|finding| told(&finding)), "no {words:?} in {findings:?}");
}

#[test]
fn one_who_answers_strangers_is_found_out() {
    let banner = service(|mut stream| drop(stream.write_all(b"220 hello stranger\r\n")));
    check(banner, "is answered: \"220 hello stranger");
    let echo = service(|mut stream| {
        let mut bytes = [0; 4096];
        if let Ok(count) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..count]);
        }
    });
    check(echo, "greets without TLS is answered");
    let web = service(|mut stream| drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")));
    check(web, "HTTP/1.0 200 OK");
}

#[test]
fn one_who_lets_strangers_in_is_found_out() {
    let open = service(|mut stream| {
        let mut bytes = [0; 4096];
        if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            let mut answer = BytesMut::new();
            Message::VersionAnswer { accepted: true }.encode(0, &mut answer);
            let node = "open".parse().unwrap();
            let agent = String::new();
            Message::Welcome(Welcome { agent, node, link: 1, slots: 1 }).encode(0, &mut answer);
            let _ = stream.write_all(&answer);
        }
    });
    check(open, "is let in, and could run tasks here");
}

#[test]
fn one_who_keeps_strangers_is_found_out() {
    let kept = service(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    check(kept, "may stay for more than");
}

#[test]
fn one_who_says_much_is_found_out() {
    let talker = service(|mut stream| {
        let alert = [[0x15, 3, 3, 0, 2, 2, 40].as_slice(), &[0; 20_000]].concat();
        let _ = stream.write_all(&alert);
    });
    check(talker, "gets 20007 bytes");
}

#[test]
fn one_who_hangs_up_is_no_node_but_is_closed() {
    let findings = node(service(drop), None);
    assert!(findings.iter().any(|f| f.mark == Mark::Ok && f.what.contains("strangers: no")));
    assert!(findings.iter().any(|f| f.mark == Mark::Warn && f.what.contains("no node")));
    assert!(findings.iter().all(|f| f.mark != Mark::Fail), "{findings:?}");
}

#[test]
fn a_protocol_without_authentication_is_told_by_who_can_reach_it() {
    let echo = service(|mut stream| {
        let mut copy = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut copy);
    });
    let findings = other(echo);
    assert_eq!(findings[0].mark, Mark::Warn, "{findings:?}");
    assert!(findings[0].what.contains("every user of this host"), "{findings:?}");
    let everyone = SocketAddr::from(([0, 0, 0, 0], echo.port()));
    let findings = other(everyone);
    assert_eq!(findings[0].mark, Mark::Fail, "{findings:?}");
    assert!(findings[0].what.contains("whoever reaches this host"), "{findings:?}");
}

#[test]
fn metrics_that_do_more_than_tell_are_found_out() {
    let page = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfarcall_node_info 1\n";
    let loose = service(move |mut stream| {
        let mut bytes = [0; 4096];
        if stream.read(&mut bytes).is_ok() {
            let _ = stream.write_all(page);
        }
    });
    let findings = metrics(loose);
    let fails =
        |words: &str| findings.iter().any(|f| f.mark == Mark::Fail && f.what.contains(words));
    assert!(findings.iter().all(|f| f.mark != Mark::Fail || f.remedy.is_some()), "{findings:?}");
    assert!(fails("answers more than reading"), "{findings:?}");
    assert!(fails("requests for other hosts"), "{findings:?}");
}
