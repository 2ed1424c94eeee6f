//! Heads of requests, and what is made of them.

use super::{Answer, Page, Status, judge};
use wire::limits::HTTP_HEAD_MAX;

/// What is made of a whole head.
#[track_caller]
fn check(head: &str, page: Page) {
    let names = ["node.example".to_owned()];
    let answer = judge(head.as_bytes(), &names).map(|answer| answer.page);
    assert_eq!(answer, Some(page), "{head:?}");
}

#[track_caller]
fn refuses(head: &str, status: Status) {
    check(head, Page::Refusal(status));
}

#[test]
fn pages_are_found_by_their_paths() {
    check("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", Page::Metrics);
    check("GET /metrics?debug=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", Page::Metrics);
    check("GET /healthz HTTP/1.1\r\nhost: localhost:9114\r\nAccept: */*\r\n\r\n", Page::Health);
    check("GET /healthz HTTP/1.0\r\n\r\n", Page::Health);
    check("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Page::Contents);
    for path in ["/metrics/", "/Metrics", "/../metrics", "//metrics", "/%6Detrics", "/admin"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        refuses(&head, Status::NotFound);
    }
}

#[test]
fn only_get_and_head_are_answered() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "QUIT"] {
        let head = format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        refuses(&head, Status::MethodNotAllowed);
    }
    refuses("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", Status::MethodNotAllowed);
    refuses("CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", Status::MethodNotAllowed);
    let head = judge(b"HEAD /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n", &[]);
    assert_eq!(head, Some(Answer { page: Page::Metrics, with_body: false }));
}

#[test]
fn a_host_is_an_address_or_a_name_that_was_given() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:9114",
        "10.1.2.3:1",
        "[::1]",
        "[::1]:9114",
        "LocalHost",
        "node.example:9114",
    ] {
        check(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"), Page::Metrics);
    }
    for host in [
        "evil.example",
        "evil.example:9114",
        "localhost.evil.example",
        "localhost.",
        "127.0.0.1.evil.example",
        "127.1",
        "2130706433",
        "[::1",
        "[::1]x",
        "[::1].evil.example",
        "::1",
        "localhost:port",
        "localhost:",
        "localhost:999999",
        "user@localhost",
        "",
        "127.0.0.1, evil.example",
        "evil.example#127.0.0.1",
    ] {
        refuses(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"), Status::Misdirected);
    }
    refuses("GET /metrics HTTP/1.1\r\n\r\n", Status::BadRequest);
    let twice = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
    refuses(twice, Status::BadRequest);
    let whole = "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    refuses(whole, Status::BadRequest);
}

#[test]
fn pages_of_others_read_nothing() {
    for origin in ["http://evil.example", "null", "http://localhost"] {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\norigin: {origin}\r\n\r\n");
        refuses(&head, Status::Forbidden);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_confuse_it(
        start in proptest::sample::select(vec!["", "GET /metrics HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: "]),
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..HTTP_HEAD_MAX),
    ) {
        let mut head = start.as_bytes().to_vec();
        head.extend(bytes);
        head.truncate(HTTP_HEAD_MAX);
        let answer = judge(&head, &[]);
        // A head that is as long as it may be is not waited for any longer.
        proptest::prop_assert!(answer.is_some() || head.len() < HTTP_HEAD_MAX);
    }
}

#[test]
fn what_is_no_request_is_refused_and_half_of_one_is_waited_for() {
    let whole = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(judge(&whole[..end], &[]), None, "{end} bytes");
    }
    for bytes in [
        "GET /metrics\r\n\r\n",
        "\0\0\0\0",
        "\x16\x03\x01",
        "PRI * HTTP/2.0\r\n\r\n",
        "SSH-2.0-x\r\n",
        "GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET /metrics HTTP/1.1\r\n Host: a\r\n\r\n",
    ] {
        refuses(bytes, Status::BadRequest);
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HTTP_HEAD_MAX));
    refuses(&long[..HTTP_HEAD_MAX], Status::HeadTooLarge);
    let many = "A: b\r\n".repeat(100);
    refuses(&format!("GET / HTTP/1.1\r\n{many}\r\n"), Status::HeadTooLarge);
}

#[test]
fn answers_are_for_nobody_elses_pages() {
    let answer = Answer { page: Page::Refusal(Status::MethodNotAllowed), with_body: true };
    let head = answer.head(Status::MethodNotAllowed, 3).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 405 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("\r\nallow: get, head\r\n"), "{head}");
    assert!(!head.contains("access-control"), "{head}");
}
