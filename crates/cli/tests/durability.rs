//! Regions that outlive their node, and its host: what was answered is there, once, whoever is killed.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use support::raw::Raw;
use support::{Machine, PATIENCE, Running, skipped, until};
use transport::{Authority, Credentials, DialTls, Role};
use wire::Message;
use wire::hello::Purpose;
use wire::region::{
    About, Answer, Ask, Attach, Audience, Create, Durability, PageNo, Refusal, Request, SessionId,
    Style, Version,
};

const PAGE: usize = 4096;
const WRITERS: u64 = 4;
/// Pages of each writer.
const OWN: u64 = 12;
/// Requests of a writer that are under way: fewer than its pages, so each page has one.
const UNDER_WAY: usize = 8;

/// Credentials of a cluster that is on this machine.
fn dial(machine: &Machine, address: &str, who: &str) -> Raw {
    let authority = Authority::load(&machine.home()).unwrap().unwrap();
    let name = who.parse::<transport::Name>().unwrap();
    let own: Credentials = authority.issue(Role::Client, &name, SystemTime::now()).unwrap();
    Raw::dial(address, &DialTls::new(&own).unwrap())
}

fn make(machine: &Machine, address: &str, durability: Durability) -> Result<About, Refusal> {
    let mut raw = dial(machine, address, "ann");
    raw.greet(Purpose::Client);
    let create = Create {
        name: "genes".parse().unwrap(),
        page_size: PAGE as u32,
        pages: WRITERS * OWN,
        durability,
        style: Style::Transactional,
        audience: Audience::Cluster,
    };
    raw.put_message(5, &Message::RegionCreate(create));
    raw.find(|message| match message {
        Message::RegionCreated(created) => Some(created.result.clone()),
        _ => None,
    })
}

/// A page that says whose it is, which one, and for the how manieth time it was written, all over.
fn full(page: u64, times: u64) -> Bytes {
    let word = page << 40 | times;
    word.to_le_bytes().repeat(PAGE / 8).into()
}

/// How often a page was written; all of it is from the same time.
#[track_caller]
fn times(page: u64, bytes: &[u8]) -> u64 {
    if bytes.iter().all(|byte| *byte == 0) {
        return 0;
    }
    let mut words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    let first = words.next().unwrap();
    assert!(words.all(|word| word == first), "page {page} is torn");
    assert_eq!(first >> 40, page, "another page's bytes");
    first & ((1 << 40) - 1)
}

/// Someone who writes pages of its own, one after the other, and outlives nodes.
struct Writer {
    number: u64,
    /// Of the latest request.
    request: u64,
    /// Requests without an answer: the page, and the how manieth time it is.
    unanswered: BTreeMap<u64, (u64, u64)>,
    /// How often each page was written, and how often that was confirmed.
    written: Vec<u64>,
    confirmed: Vec<u64>,
    /// The latest answer, and to which request.
    latest: Option<(u64, (u64, u64))>,
}

impl Writer {
    fn new(number: u64) -> Self {
        let none = vec![0; OWN as usize];
        let (written, confirmed) = (none.clone(), none);
        Self { number, request: 0, unanswered: BTreeMap::new(), written, confirmed, latest: None }
    }

    fn attach(&self, machine: &Machine, address: &str) -> Result<Raw, Refusal> {
        let mut raw = dial(machine, address, &format!("writer-{}", self.number));
        raw.greet(Purpose::Memory);
        let (region, session) = ("genes".parse().unwrap(), SessionId(100 + self.number));
        raw.put_message(0, &Message::Attach(Attach { region, session }));
        let attached = |message: &Message| match message {
            Message::Attached(attached) => Some(attached.result.clone()),
            _ => None,
        };
        raw.find(attached).map(|_| raw)
    }

    /// The first that was not answered, less one: of all before, nobody asks again.
    fn answered(&self) -> u64 {
        let unanswered = self.unanswered.keys().next().copied().unwrap_or(self.request + 1);
        // The latest is asked for again after a restart.
        unanswered.min(self.latest.map_or(u64::MAX, |(request, _)| request)) - 1
    }

    fn put(&self, raw: &mut Raw, request: u64, page: u64, times: u64) {
        let update = Request::Update {
            page: PageNo(page),
            offset: 0,
            if_version: None,
            at_least: Version(0),
        };
        let ask = Ask { answered: self.answered(), request: update };
        raw.put_message(request, &Message::Request(ask, full(page, times)));
    }

    /// An answer to a request. Each write makes one version, so their numbers are the same: had any
    /// been carried out twice, or been lost, they were not.
    #[track_caller]
    fn hear(&mut self, request: u64, version: Version) {
        if let Some((latest, (page, times))) = self.latest
            && latest == request
        {
            assert_eq!(version, Version(times + 1), "page {page}, asked again");
            return;
        }
        let (page, times) = self.unanswered.remove(&request).expect("an answer to a request");
        assert_eq!(version, Version(times + 1), "page {page}");
        self.confirmed[(page % OWN) as usize] = times;
        self.latest = Some((request, (page, times)));
    }

    /// Writes until the connection ends, or it has written so often.
    #[track_caller]
    fn write(&mut self, raw: &mut Raw, confirmed: &AtomicU64, until: u64) {
        // What was not answered is asked again, and the latest answer, which has to be the same.
        for (&request, &(page, times)) in
            self.latest.iter().map(|(r, p)| (r, p)).chain(&self.unanswered)
        {
            self.put(raw, request, page, times);
        }
        let mut again = usize::from(self.latest.is_some());
        loop {
            while self.unanswered.len() < UNDER_WAY && self.request < until {
                self.request += 1;
                let own = self.request % OWN;
                self.written[own as usize] += 1;
                let (page, times) = (self.number * OWN + own, self.written[own as usize]);
                self.unanswered.insert(self.request, (page, times));
                self.put(raw, self.request, page, times);
            }
            if self.unanswered.is_empty() && again == 0 {
                return;
            }
            match raw.next() {
                Some((request, Message::Answer(Answer::Committed { version }, _))) => {
                    let before = self.unanswered.len();
                    self.hear(request, version);
                    if before == self.unanswered.len() {
                        again = 0;
                    }
                    confirmed.fetch_add(1, Ordering::Relaxed);
                }
                Some((_, Message::Ping | Message::Pong | Message::Goodbye(_))) => (),
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }

    /// Everything that was confirmed is there, and nothing that was not written.
    #[track_caller]
    fn check(&self, raw: &mut Raw) {
        for own in 0..OWN {
            let page = self.number * OWN + own;
            let read = Request::Read { page: PageNo(page), known: Version(0) };
            let ask = Ask { answered: 0, request: read };
            // Above all others: reading is no change, so the numbers are nobody's later.
            raw.put_message(u64::MAX - page, &Message::Request(ask, Bytes::new()));
            let (version, bytes) = raw.find(|message| match message {
                Message::Answer(Answer::Page { version }, bytes) => Some((*version, bytes.clone())),
                _ => None,
            });
            let (times, own) = (times(page, &bytes), own as usize);
            assert_eq!(version, Version(times + 1), "page {page}");
            assert!(
                times >= self.confirmed[own],
                "page {page}: {} confirmed, {times} there",
                self.confirmed[own]
            );
            assert!(times <= self.written[own], "page {page}: {times} there");
        }
    }
}

fn rounds() -> u64 {
    if std::env::var_os("FARCALL_SOAK").is_some() { 100 } else { 10 }
}

/// A number that is another one each time; it is said, so that a failure can be told.
fn below(what: &str, bound: u64) -> u64 {
    let drawn = transport::random_u64() % bound;
    eprintln!("{what}: {drawn}");
    drawn
}

/// Everybody writes until the node is killed, after so many answers.
fn write_until_killed(
    machine: &Machine,
    address: &str,
    writers: &mut [Writer],
    after: u64,
    kill: impl FnOnce() + Send,
) {
    let confirmed = AtomicU64::new(0);
    let confirmed = &confirmed;
    std::thread::scope(|scope| {
        for writer in writers {
            scope.spawn(move || {
                let mut raw = writer.attach(machine, address).unwrap();
                writer.write(&mut raw, confirmed, u64::MAX - 1);
            });
        }
        until("enough is written", || confirmed.load(Ordering::Relaxed) >= after);
        kill();
    });
}

#[test]
fn a_home_that_is_killed_under_load_has_lost_and_repeated_nothing() {
    let machine = Machine::new();
    let (mut node, mut address) = machine.start_node("--name home");
    make(&machine, &address, Durability::Sync).unwrap();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    for _ in 0..rounds() {
        let after = below("killed after answers", 300);
        write_until_killed(&machine, &address, &mut writers, after, || node.signal("KILL"));
        node.child.wait().unwrap();
        (node, address) = machine.start_node("--name home");
        let mut reader = Writer::new(99).attach(&machine, &address).unwrap();
        for writer in &writers {
            writer.check(&mut reader);
        }
    }
    // And a node that ends in order has nothing to recover.
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
    let (_node, address) = machine.start_node("--name home");
    for writer in &mut writers {
        let mut raw = writer.attach(&machine, &address).unwrap();
        let until = writer.request + 20;
        writer.write(&mut raw, &AtomicU64::new(0), until);
        writer.check(&mut raw);
    }
}

/// Three members of etcd.
struct Etcd {
    members: Vec<(Child, String)>,
    _folder: tempfile::TempDir,
}

impl Etcd {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let sockets: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let url = |at: usize| format!("http://{}", sockets[at].local_addr().unwrap());
        let urls: Vec<_> = (0..6).map(url).collect();
        drop(sockets);
        let peers: Vec<_> = (0..3).map(|n| format!("m{n}={}", urls[3 + n])).collect();
        let mut etcd = Self { members: Vec::new(), _folder: folder };
        for n in 0..3 {
            let (client, peer) = (&urls[n], &urls[3 + n]);
            let member = Command::new("etcd")
                .args(["--name", &format!("m{n}"), "--initial-cluster", &peers.join(",")])
                .args(["--listen-client-urls", client, "--advertise-client-urls", client])
                .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
                .arg("--data-dir")
                .arg(etcd._folder.path().join(n.to_string()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            match member {
                Ok(member) => etcd.members.push((member, client.clone())),
                Err(error) => {
                    skipped(&format!("replicated regions: no etcd ({error}); install etcd-server"));
                    return None;
                }
            }
        }
        until("etcd has a leader", || etcd.leader().is_some());
        Some(etcd)
    }

    fn urls(&self) -> String {
        self.members.iter().map(|(_, url)| url.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Which member the others follow.
    fn leader(&self) -> Option<usize> {
        self.members.iter().position(|(_, url)| {
            let status = ask(url, "/v3/maintenance/status");
            let value = |key: &str| {
                let from = status.find(&format!("\"{key}\":\""))? + key.len() + 4;
                Some(status[from..].split('"').next()?.to_owned())
            };
            value("leader").is_some() && value("leader") == value("member_id")
        })
    }

    fn kill_leader(&mut self) {
        let at = self.leader().expect("a leader");
        let (mut member, _) = self.members.remove(at);
        member.kill().unwrap();
        member.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for (member, _) in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// What a member of etcd answers to an empty question.
fn ask(url: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let host = url.trim_start_matches("http://");
    let Ok(mut stream) = std::net::TcpStream::connect(host) else { return String::new() };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let head = format!("POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}");
    let mut answer = String::new();
    if stream.write_all(head.as_bytes()).is_ok() {
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

fn start(machine: &Machine, name: &str, etcd: &Etcd) -> (Running, String) {
    machine.start_node(&format!("--name {name} --etcd {}", etcd.urls()))
}

#[test]
fn a_replicated_region_survives_etcds_leader_and_its_own_home() {
    let Some(mut etcd) = Etcd::start() else { return };
    let machine = Machine::new();
    let (mut one, first) = start(&machine, "one", &etcd);
    let (_two, second) = start(&machine, "two", &etcd);
    make(&machine, &first, Durability::Replicated).unwrap();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();

    // The leader dies under load; a home that then hears nothing of etcd for too long lets go, and
    // its clients come back.
    let confirmed = AtomicU64::new(0);
    let confirmed = &confirmed;
    std::thread::scope(|scope| {
        for writer in &mut writers {
            let (machine, first) = (&machine, &first);
            scope.spawn(move || {
                until("everything is written", || {
                    let Ok(mut raw) = writer.attach(machine, first) else { return false };
                    writer.write(&mut raw, confirmed, 200);
                    writer.request == 200 && writer.unanswered.is_empty()
                });
            });
        }
        until("some is written", || confirmed.load(Ordering::Relaxed) >= 100);
        etcd.kill_leader();
    });

    // The home dies under load; the other one takes over.
    let after = below("killed after answers", 100);
    write_until_killed(&machine, &first, &mut writers, after, || one.signal("KILL"));
    one.child.wait().unwrap();
    let begun = Instant::now();
    for writer in &mut writers {
        let mut raw = writer.attach(&machine, &second).unwrap();
        writer.check(&mut raw);
        let until = writer.request + 20;
        writer.write(&mut raw, confirmed, until);
        writer.check(&mut raw);
    }
    assert!(begun.elapsed() < PATIENCE, "that took {:?}", begun.elapsed());
}

#[test]
fn a_home_that_was_stopped_and_deposed_answers_nothing() {
    let Some(etcd) = Etcd::start() else { return };
    let machine = Machine::new();
    let (one, first) = start(&machine, "one", &etcd);
    let (_two, second) = start(&machine, "two", &etcd);
    make(&machine, &first, Durability::Replicated).unwrap();
    let mut writer = Writer::new(0);
    let mut old = writer.attach(&machine, &first).unwrap();
    writer.write(&mut old, &AtomicU64::new(0), 30);

    one.signal("STOP");
    // These lie in its socket until it goes on.
    let mut late = Writer { request: 1000, ..Writer::new(0) };
    let read = Request::Read { page: PageNo(3), known: Version(0) };
    let ask = Ask { answered: 0, request: read };
    old.put_message(1001, &Message::Request(ask, Bytes::new()));
    late.put(&mut old, 1002, 3, 77);
    old.turn();
    let mut new = writer.attach(&machine, &second).unwrap();
    writer.check(&mut new);
    let until = writer.request + 30;
    writer.write(&mut new, &AtomicU64::new(0), until);
    one.signal("CONT");
    late.request = 0;
    for word in old.last_words() {
        assert!(!matches!(word, Message::Answer(..)), "{word:?}");
    }
    writer.check(&mut new);
}
