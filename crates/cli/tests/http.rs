//! Metrics and health over HTTP: what a collector reads, and what nobody else can do there.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use client::Cluster;
use support::process::{descriptors, memory};
use support::{Machine, PATIENCE, Running, until};
use wire::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEAD_MAX, STRANGER_PATIENCE};

/// A node with metrics.
struct Target {
    machine: Machine,
    node: Running,
    address: String,
    http: String,
}

impl Target {
    fn start(words: &str) -> Self {
        let machine = Machine::new();
        let (mut node, address) =
            machine.start_node(&format!("--name target --slots 1 --http 127.0.0.1:0 {words}"));
        let line = node.line_with("metrics at ");
        let http = line.trim_start_matches("metrics at http://").trim_end_matches("/metrics");
        let http = http.to_owned();
        Self { machine, node, address, http }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Says this, and hears everything until the end.
    fn say(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        heard(stream)
    }

    fn page(&self, path: &str) -> String {
        let answer = self.say(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.http));
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        check_exposition(&self.page("/metrics"))
    }
}

/// Everything until the end; a reset after the answer is an end, too.
fn heard(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(bytes).unwrap()
}

/// Reads the text format of Prometheus, strictly; returns the samples by name and labels.
#[track_caller]
fn check_exposition(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        let head = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(head) && name.chars().all(|c| head(c) || c.is_ascii_digit())
    };
    let mut samples = BTreeMap::new();
    let mut families: BTreeSet<String> = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && help.ends_with('.'), "{line}");
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
            let (of, kind) = kind.split_once(' ').unwrap();
            assert_eq!(of, name);
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            family = Some((name.to_owned(), kind.to_owned()));
            assert!(lines.peek().is_some_and(|next| !next.starts_with('#')), "{name} is empty");
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let (name, labels) = match series.split_once('{') {
            None => (series, ""),
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        };
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, text) = label.split_once("=\"").unwrap();
            let text = text.strip_suffix('"').unwrap_or(text);
            assert!(is_name(label) && !text.contains(['"', '\n']), "{line}");
        }
        let (of, kind) = family.as_ref().unwrap();
        let suffix = name.strip_prefix(of.as_str()).unwrap_or_else(|| panic!("{line} under {of}"));
        let allowed: &[&str] =
            if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(allowed.contains(&suffix), "{line} in a {kind}");
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} comes twice");
    }
    // A histogram's buckets only grow, and the last one counts all.
    let bucket = "farcall_loop_turn_seconds_bucket{le=\"";
    let mut buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|(series, count)| {
            let le = series.strip_prefix(bucket)?.strip_suffix("\"}")?;
            Some((if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() }, *count))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.is_sorted_by_key(|bucket| bucket.1), "{buckets:?}");
    let count = samples["farcall_loop_turn_seconds_count"];
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)));
    samples
}

#[test]
fn the_checker_of_the_format_finds_faults() {
    let machine = std::panic::catch_unwind(|| {
        check_exposition("# HELP a_total Help.\n# TYPE a_total gauge\na_total 1\n");
    });
    assert!(machine.is_err(), "a gauge may not be called a total");
    for text in [
        "a 1\n",
        "# HELP a Help.\n# TYPE a gauge\nb 1\n",
        "# HELP a Help.\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a Help.\n# TYPE a gauge\na NaN\n",
        "# HELP a Help.\n# TYPE a gauge\na 1",
    ] {
        assert!(std::panic::catch_unwind(|| check_exposition(text)).is_err(), "{text}");
    }
}

#[test]
fn metrics_count_what_tasks_do() {
    let target = Target::start("");
    let before = target.metrics();
    assert_eq!(before["farcall_slots"], 1.0);
    assert_eq!(before["farcall_tasks_accepted_total"], 0.0);
    assert_eq!(before["farcall_node_info{name=\"target\",version=\"0.1.0\"}"], 1.0);

    let specimen = target.machine.core("misbehaving/specimen.c");
    let cluster = Cluster::connect_with([&target.address], &target.machine.home()).unwrap();
    let core = cluster.core(&specimen).unwrap().retries(0);
    for input in ["echo a", "echo b", "rc 7", "crash", "exit 3"] {
        let _ = core.run(input);
    }
    let running = core.submit("sleep 60000");
    until("a task runs", || target.metrics()["farcall_tasks_running"] == 1.0);

    let now = target.metrics();
    let ended = |status: &str| now[&format!("farcall_tasks_finished_total{{status=\"{status}\"}}")];
    assert_eq!(now["farcall_tasks_accepted_total"], 6.0);
    assert_eq!(ended("succeeded"), 2.0);
    assert_eq!(ended("failed"), 1.0);
    assert_eq!(ended("crashed"), 1.0);
    assert_eq!(ended("exited"), 1.0);
    assert_eq!(ended("cancelled"), 0.0);
    assert_eq!(now["farcall_tasks_waiting"], 0.0);
    assert_eq!(now["farcall_workers"], 1.0);
    assert!(now["farcall_workers_started_total"] >= 3.0);
    assert_eq!(now["farcall_links{kind=\"client\"}"], 1.0);
    assert_eq!(now["farcall_members{state=\"here\"}"], 1.0);
    assert_eq!(now["farcall_blobs"], 1.0);
    assert!(now["farcall_blob_bytes"] > 1000.0);
    assert!(now["farcall_credits_granted_total"] >= 6.0);
    assert!(now["process_resident_memory_bytes"] > 1e6);
    assert!(now["process_open_fds"] > 5.0);
    assert!(now["process_cpu_seconds_total"] > 0.0);
    assert!(now["farcall_loop_turn_seconds_count"] > 5.0);
    running.cancel();
    let cancelled = "farcall_tasks_finished_total{status=\"cancelled\"}";
    until("the task is gone", || target.metrics()[cancelled] == 1.0);
    assert_eq!(target.metrics()["farcall_tasks_running"], 0.0);
}

#[test]
fn strangers_are_counted() {
    let target = Target::start("");
    let mut stranger = TcpStream::connect(&target.address).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    heard(stranger);
    until("he is counted", || target.metrics()["farcall_strangers_total"] == 1.0);
    assert_eq!(target.metrics()["farcall_connections_accepted_total"], 1.0);
}

#[test]
fn health_turns_bad_while_the_node_leaves() {
    let target = Target::start("--grace 60s");
    let healthy = target.say(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", target.http));
    assert!(healthy.starts_with("HTTP/1.1 200 OK\r\n") && healthy.ends_with("\r\n\r\nok\n"));

    let specimen = target.machine.core("misbehaving/specimen.c");
    let cluster = Cluster::connect_with([&target.address], &target.machine.home()).unwrap();
    let core = cluster.core(&specimen).unwrap();
    let _running = core.submit("sleep 60000");
    until("a task runs", || target.metrics()["farcall_tasks_running"] == 1.0);
    target.node.signal("TERM");
    until("it leaves", || target.metrics()["farcall_leaving"] == 1.0);
    let leaving = target.say(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", target.http));
    assert!(leaving.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{leaving}");
    assert!(leaving.contains("this node leaves"), "{leaving}");
}

#[test]
fn an_address_that_others_reach_is_refused_unless_insisted_on() {
    let machine = Machine::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9114"] {
        machine.run(&format!("node --listen 127.0.0.1:0 --http {address}")).complains(&[
            "error[E0108]",
            "are open to others",
            "--http-anyone",
        ]);
    }
    let target = machine
        .start("node --listen 127.0.0.1:0 --http 0.0.0.0:0 --http-anyone")
        .line_with("metrics at http://0.0.0.0:");
    assert!(target.ends_with("/metrics"));
}

#[test]
fn settings_of_the_file_count_too() {
    let machine = Machine::new();
    let config = machine.write(
        "node.toml",
        "listen = [\"127.0.0.1:0\"]\nhttp = \"127.0.0.1:0\"\nhttp_name = [\"metrics.example\"]\n",
    );
    let mut node = machine.start(&format!("node --config {}", config.display()));
    let line = node.line_with("metrics at http://");
    let http = line.trim_start_matches("metrics at http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: metrics.example\r\n\r\n").unwrap();
    assert!(heard(stream).starts_with("HTTP/1.1 200 "));
}

// Attacks.

#[test]
fn nothing_but_reading_is_answered() {
    let target = Target::start("");
    let host = &target.http;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI"] {
        let answer = target.say(format!(
            "{method} /metrics HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nevil"
        ));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
        assert!(!answer.contains("Access-Control"), "{answer}");
    }
    let head = target.say(format!("HEAD /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    for name in ["evil.example", "localhost.evil.example", ""] {
        let answer = target.say(format!("GET /metrics HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
        assert!(!answer.contains("farcall_"), "{answer}");
    }
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil\r\n\r\n");
    assert!(target.say(page).starts_with("HTTP/1.1 403 "));
    let none = target.say("GET /metrics HTTP/1.1\r\n\r\n");
    assert!(none.starts_with("HTTP/1.1 400 "), "{none}");
    target.metrics();
}

#[test]
fn one_request_is_answered_and_what_follows_is_not() {
    let target = Target::start("");
    let one = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", target.http);
    let answer = target.say(one.repeat(40));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    // With a body behind it that nobody reads.
    let mut stream = target.connect();
    stream.write_all(one.as_bytes()).unwrap();
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    heard(stream);
    // A byte at a time.
    let mut stream = target.connect();
    stream.set_nodelay(true).unwrap();
    for byte in one.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(heard(stream).ends_with("\r\n\r\nok\n"));
    // Who has said everything may close his side before he has heard anything.
    let mut stream = target.connect();
    stream.write_all(one.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(heard(stream).ends_with("\r\n\r\nok\n"));
    target.metrics();
}

#[test]
fn what_is_no_request_of_today_is_refused() {
    let target = Target::start("");
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(2 * HTTP_HEAD_MAX));
    assert!(target.say(long).starts_with("HTTP/1.1 431 "));
    let header = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(2 * HTTP_HEAD_MAX));
    assert!(target.say(header).starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(target.say(many).starts_with("HTTP/1.1 431 "));
    for bytes in [
        "GET /metrics\r\n\r\n",
        "GET /metrics\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
        "SSH-2.0-OpenSSH_9\r\n",
    ] {
        let answer = target.say(bytes);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
    target.metrics();
}

#[test]
fn slow_and_silent_ones_are_closed_in_time() {
    let target = Target::start("");
    let begin = Instant::now();
    let silent = target.connect();
    let mut slow = target.connect();
    slow.write_all(b"GET /metrics HT").unwrap();
    assert_eq!(heard(silent), "");
    assert_eq!(heard(slow), "");
    assert!(begin.elapsed() + Duration::from_millis(100) >= Duration::from(STRANGER_PATIENCE));
    target.metrics();
}

#[test]
fn a_thousand_idle_connections_leave_room_for_one_more() {
    let target = Target::start("");
    target.metrics();
    let (memory_before, descriptors_before) =
        (memory(target.node.child.id()), descriptors(target.node.child.id()));
    let idle: Vec<TcpStream> = (0..1000).map(|_| target.connect()).collect();
    target.metrics();
    let held = descriptors(target.node.child.id());
    assert!(held <= descriptors_before + HTTP_CONNECTIONS_MAX + 1, "{held} descriptors");
    let grown = memory(target.node.child.id()).saturating_sub(memory_before);
    assert!(grown < 8 << 10, "it grew by {grown} KiB");
    drop(idle);
    until("all are gone", || descriptors(target.node.child.id()) <= descriptors_before);
    target.metrics();
}

#[test]
fn tasks_run_while_metrics_are_flooded() {
    let target = Target::start("");
    let sum = target.machine.core("sum.c");
    let cluster = Cluster::connect_with([&target.address], &target.machine.home()).unwrap();
    let core = cluster.core(&sum).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = target
                        .say(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", target.http));
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                }
            });
        }
        for n in 0..500 {
            assert_eq!(
                core.run(format!("{n} 1")).unwrap().as_ref(),
                (n + 1).to_string().as_bytes()
            );
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
