//! Our own ports, as a stranger meets them.
//!
//! | he comes with | he must get |
//! |---|---|
//! | nothing; noise; an HTTP request; Farcall's own greeting, without TLS | nothing but a refusal |
//! | TLS without a certificate; TLS with one of his own making, and the greeting | a refusal |
//!
//! and in each case the end of the connection within seconds, after few bytes. Metrics are read by
//! anyone, so there it is looked for what else can be done.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use transport::Fingerprint;
use transport::stranger::{Disguise, Met, meet};
use wire::Message;
use wire::hello::{Hello, Purpose, VERSION};
use wire::limits::{CONTROL_BODY_MAX, STRANGER_PATIENCE};

use super::cluster::Known;
use super::findings::{Finding, Good, Mark, Section, found};
use crate::terminal::tame_line;

/// What a stranger may be told: a handshake with its certificates, and a refusal in words.
const ANSWER_MAX: u64 = 8 * 1024;
/// How much longer than it promises a loaded host may take.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn look(known: Known, http: Option<SocketAddr>) -> Section {
    let mut section = Section::new("Ports, as a stranger meets them", &[Good::Closed]);
    let http = http.or(known.http);
    let Known { nodes, mut others, authority, .. } = known;
    others.retain(|other| !nodes.contains(other) && http != Some(*other));
    // All at once: a silent stranger is given five seconds.
    let probed = std::thread::scope(|scope| {
        let nodes = nodes.iter().map(|&at| scope.spawn(move || node(at, authority)));
        let others = others.iter().map(|&at| scope.spawn(move || other(at)));
        let http = http.iter().map(|&at| scope.spawn(move || metrics(at)));
        let all: Vec<_> = nodes.chain(others).chain(http).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<Finding>>| thread.join();
        all.into_iter().map(join).collect::<Vec<_>>()
    });
    for findings in probed {
        let failed = |_| vec![found(Mark::Warn, "a probe of a port failed").breaks(Good::Closed)];
        section.findings.extend(findings.unwrap_or_else(failed));
    }
    section
}

/// Where this host itself reaches a listener on all its addresses.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

struct Attempt {
    who: &'static str,
    disguise: Disguise,
    says: Vec<u8>,
}

fn attempts() -> Vec<Attempt> {
    let plain = |who, says: &[u8]| Attempt { who, disguise: Disguise::Plain, says: says.to_vec() };
    let encrypted = |who, disguise| Attempt { who, disguise, says: greeting() };
    vec![
        plain("says nothing", b""),
        plain("makes noise", b"\x00\x01\xfe\xff farcall doctor \r\n\r\n"),
        plain("asks for a web page", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        plain("greets without TLS", &greeting()),
        encrypted("greets over TLS without a certificate", Disguise::NoCertificate),
        encrypted("greets over TLS with a certificate of his own", Disguise::ForeignCertificate),
    ]
}

/// What a client says that takes itself for let in: a greeting, and a question.
fn greeting() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Message::Version(VERSION).encode(0, &mut bytes);
    if let Ok(name) = "stranger".parse() {
        let agent = "farcall doctor".to_owned();
        Message::Hello(Hello { agent, name, purpose: Purpose::Client }).encode(0, &mut bytes);
    }
    Message::StatusAsk.encode(1, &mut bytes);
    bytes.to_vec()
}

/// What all strangers met; `None` if nothing listens there.
struct Visit {
    complaints: Vec<String>,
    received: u64,
    slowest: Duration,
    encrypted: bool,
    authority: Option<Fingerprint>,
}

fn visit(address: SocketAddr) -> Option<Visit> {
    let patience = Duration::from(STRANGER_PATIENCE) + GRACE;
    let attempts = attempts();
    let met = std::thread::scope(|scope| {
        let meet =
            |attempt: &Attempt| meet(near(address), attempt.disguise, &attempt.says, patience);
        let all: Vec<_> =
            attempts.iter().map(|attempt| scope.spawn(move || meet(attempt))).collect();
        all.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut visit = Visit {
        complaints: Vec::new(),
        received: 0,
        slowest: Duration::ZERO,
        encrypted: false,
        authority: None,
    };
    let mut complaints: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut reached = false;
    for (attempt, met) in attempts.iter().zip(met) {
        let Ok(Ok(met)) = met else { continue };
        reached = true;
        visit.received = visit.received.max(met.received);
        visit.slowest = visit.slowest.max(met.after);
        visit.encrypted |= met.encrypted;
        visit.authority = visit.authority.or(met.authority);
        if let Some(what) = judge(attempt.disguise, &met) {
            complaints.entry(what).or_default().push(attempt.who);
        }
    }
    for (what, who) in complaints {
        visit.complaints.push(format!("a stranger who {} {what}", who.join(", or ")));
    }
    reached.then_some(visit)
}

/// What was wrong with how a stranger was met.
fn judge(disguise: Disguise, met: &Met) -> Option<String> {
    // An alert of TLS: version 3, and its level and meaning are all that it tells.
    let is_alert = disguise == Disguise::Plain && met.heard.starts_with(&[0x15, 3]);
    let mut refused = false;
    let mut input = BytesMut::from(met.heard.as_slice());
    while let Ok(Some(frame)) = wire::frame::take(&mut input, CONTROL_BODY_MAX) {
        match wire::decode(frame) {
            Ok((_, Message::Welcome(_))) => {
                return Some("is let in, and could run tasks here".to_owned());
            }
            Ok((_, Message::Status(_))) => {
                return Some("is told what the node is doing".to_owned());
            }
            // These are the words in which a node refuses; without TLS it has none.
            Ok((_, Message::VersionAnswer { .. } | Message::Goodbye(_))) => {
                refused = disguise != Disguise::Plain;
            }
            Ok(_) | Err(_) => break,
        }
    }
    if !met.heard.is_empty() && !refused && !is_alert {
        let heard = String::from_utf8_lossy(&met.heard[..met.heard.len().min(40)]).into_owned();
        return Some(format!("is answered: \"{}\"", tame_line(&heard)));
    }
    if met.received > ANSWER_MAX {
        return Some(format!("gets {} bytes", met.received));
    }
    if !met.closed {
        return Some(format!("may stay for more than {} s", met.after.as_secs()));
    }
    None
}

/// Where a node listens, or should.
fn node(address: SocketAddr, authority: Option<Fingerprint>) -> Vec<Finding> {
    let Some(visit) = visit(address) else {
        return vec![found(Mark::Note, format!("nothing listens at {address}"))];
    };
    let mut findings = open(address, &visit, Mark::Fail);
    if findings.is_empty() {
        let (slowest, received) = (visit.slowest.as_secs_f64(), visit.received);
        let what = format!(
            "{address}: open to strangers: no (each was refused within {slowest:.1} s and \
             {received} bytes)"
        );
        findings.push(found(Mark::Ok, what));
    }
    if !visit.encrypted {
        let what = format!("what listens at {address} is no node of Farcall: it speaks no TLS");
        findings.push(found(Mark::Warn, what).remedy(whose(address)));
    } else if let (Some(own), Some(theirs)) = (authority, visit.authority)
        && own != theirs
    {
        let what = format!("the node at {address} belongs to another cluster ({theirs})");
        findings.push(found(Mark::Warn, what).remedy("farcall auth status"));
    }
    findings
}

/// The command that tells which process it is.
fn whose(address: SocketAddr) -> String {
    format!("ss -ltnp 'sport = :{}'", address.port())
}

fn open(address: SocketAddr, visit: &Visit, mark: Mark) -> Vec<Finding> {
    let finding = |complaint: &String| {
        found(mark, format!("{address}: open to strangers: {complaint}"))
            .breaks(Good::Closed)
            .remedy(whose(address))
    };
    visit.complaints.iter().map(finding).collect()
}

/// What else a node of ours listens at: metrics, or a protocol that knows no authentication.
fn other(address: SocketAddr) -> Vec<Finding> {
    if get(address, "GET", &near(address).to_string())
        .is_some_and(|page| page.contains("farcall_node_info"))
    {
        return metrics(address);
    }
    let Some(visit) = visit(address) else { return Vec::new() };
    let Some(complaint) = visit.complaints.first() else {
        return vec![found(Mark::Ok, format!("{address}: open to strangers: no"))];
    };
    let (mark, who) = match address.ip().is_loopback() {
        true => (Mark::Warn, "every user of this host"),
        false => (Mark::Fail, "whoever reaches this host"),
    };
    let what = format!(
        "{address} of our node is a protocol without authentication: {who} can use it ({complaint})"
    );
    vec![found(mark, what).breaks(Good::Closed).remedy(whose(address))]
}

fn metrics(address: SocketAddr) -> Vec<Finding> {
    let Some(page) = get(address, "GET", &near(address).to_string()) else {
        return vec![found(Mark::Note, format!("no metrics are served at {address}"))];
    };
    if !page.contains("farcall_node_info") {
        let what = format!("what listens at {address} serves no metrics of a node");
        return vec![found(Mark::Warn, what).remedy(whose(address))];
    }
    let mut findings = Vec::new();
    let fail = |what: String| found(Mark::Fail, what).breaks(Good::Closed).remedy(whose(address));
    if get(address, "POST", &near(address).to_string())
        .is_none_or(|page| !page.starts_with("HTTP/1.1 405"))
    {
        findings.push(fail(format!("{address} answers more than reading")));
    }
    if get(address, "GET", "stranger.example").is_none_or(|page| page.contains("farcall_node_info"))
    {
        let what = format!("{address} answers requests for other hosts: web pages can read it");
        findings.push(fail(what));
    }
    findings.push(match address.ip().is_loopback() {
        true => found(
            Mark::Ok,
            format!("{address} serves metrics, read-only: every user of this host can read them"),
        ),
        false => found(
            Mark::Warn,
            format!("{address} serves metrics, read-only: whoever reaches this host can read them"),
        )
        .remedy(format!("farcall node --http 127.0.0.1:{}", address.port())),
    });
    findings
}

/// The answer to one request; `None` if there is none.
fn get(address: SocketAddr, method: &str, host: &str) -> Option<String> {
    let says = format!("{method} /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let met = meet(near(address), Disguise::Plain, says.as_bytes(), Duration::from_secs(3)).ok()?;
    let text = String::from_utf8_lossy(&met.heard).into_owned();
    text.starts_with("HTTP/").then_some(text)
}

#[cfg(test)]
mod tests;
