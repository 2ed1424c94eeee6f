//! Against real members of etcd, from Debian's package; where there is none, this is said.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;
use logic::regions::{Opened, Outcome, Written};
use wire::region::{Answer, Audience, Durability, PageNo, SessionId, Style, Version};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// Some members, on ports of their own.
struct Members {
    members: Vec<Member>,
    _folder: tempfile::TempDir,
}

struct Member {
    process: Child,
    endpoint: String,
}

impl Members {
    fn start(count: usize) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let sockets: Vec<_> =
            (0..count * 2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let ports: Vec<_> =
            sockets.iter().map(|socket| socket.local_addr().expect("a port").port()).collect();
        drop(sockets);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let peers: Vec<_> = (0..count).map(|n| format!("m{n}={}", url(ports[count + n]))).collect();
        let data = folder.path().to_owned();
        let start = |n: usize| {
            let (client, peer) = (url(ports[n]), url(ports[count + n]));
            let process = Command::new("etcd")
                .args(["--name", &format!("m{n}"), "--initial-cluster", &peers.join(",")])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .arg("--data-dir")
                .arg(data.join(n.to_string()))
                .args(["--log-level", "error"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            process.map(|process| Member { process, endpoint: client })
        };
        let mut members = Self { members: Vec::new(), _folder: folder };
        for n in 0..count {
            match start(n) {
                Ok(member) => members.members.push(member),
                Err(error) => {
                    eprintln!("skipped: etcd cannot be started ({error}); install etcd-server");
                    return None;
                }
            }
        }
        let gateway = Gateway::new(members.endpoints());
        let begun = Instant::now();
        while gateway.range(b"x", None, 1, 0).is_err() {
            assert!(begun.elapsed() < PATIENCE, "etcd does not come up");
            std::thread::yield_now();
        }
        Some(members)
    }

    fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// Ends the member that the others follow, as `kill -9` does.
    fn kill_leader(&mut self) {
        let agent = ureq::Agent::new_with_defaults();
        let leads = |member: &Member| {
            let url = format!("{}/v3/maintenance/status", member.endpoint);
            let mut answer = agent.post(&url).send("{}").expect("its status");
            let text = answer.body_mut().read_to_string().expect("its status");
            let status: serde_json::Value = serde_json::from_str(&text).expect("json");
            status["leader"] == status["header"]["member_id"]
        };
        let at = self.members.iter().position(leads).expect("a leader");
        let mut leader = self.members.remove(at);
        leader.process.kill().expect("its end");
        leader.process.wait().expect("its end");
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}

struct Bench {
    vault: Etcd,
    events: Receiver<Event>,
}

impl Bench {
    fn new(endpoints: Vec<String>, node: &str) -> Self {
        let (sender, events) = mpsc::channel();
        let outbox = Outbox::new(sender, Arc::new(|| ()));
        let start = Instant::now();
        let clock: Clock = Arc::new(move |at| Time(at.duration_since(start).as_nanos() as u64));
        let vault = Etcd::new(endpoints, name(node), "one", outbox, clock).expect("a thread");
        Self { vault, events }
    }

    /// News but of the lease.
    #[track_caller]
    fn event(&self) -> Event {
        loop {
            match self.events.recv_timeout(PATIENCE).expect("news of the vault") {
                Event::Renewed { .. } => (),
                other => return other,
            }
        }
    }

    #[track_caller]
    fn make(&self, id: u64, called: &str) {
        self.vault.make(RegionId(id), name("ada"), create(called));
        match self.event() {
            Event::Made { result: Ok(_), .. } => (),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn open(&self, called: &str) -> Opened {
        self.vault.open(name(called));
        match self.event() {
            Event::Opened { result: Ok(opened), .. } => *opened,
            other => panic!("{other:?}"),
        }
    }

    /// Until this commit is kept.
    #[track_caller]
    fn kept(&self, wanted: u64) {
        loop {
            match self.event() {
                Event::Kept { sequence, .. } if sequence >= wanted => return,
                Event::Kept { .. } => (),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn create(called: &str) -> Create {
    Create {
        name: name(called),
        page_size: 4096,
        pages: 200,
        durability: Durability::Replicated,
        style: Style::Transactional,
        audience: Audience::Cluster,
    }
}

fn batch(sequence: u64, page: u64) -> Batch {
    let version = Version(sequence + 1);
    let bytes = Bytes::from(vec![(sequence * 7 + page) as u8; 4096]);
    let answer = Answer::Committed { version };
    let (session, owner) = (SessionId(page), name("ada"));
    Batch {
        region: RegionId(7),
        sequence,
        grown: None,
        written: vec![Written { page: PageNo(page), version, bytes }],
        outcome: Some(Outcome { session, owner, request: sequence, answer }),
        forgotten: vec![(session, sequence.saturating_sub(100))],
        dropped: Vec::new(),
    }
}

#[track_caller]
fn check_pages(opened: &Opened) {
    for written in &opened.written {
        let sequence = written.version.0 - 1;
        assert_eq!(*written, batch(sequence, written.page.0).written[0]);
    }
}

#[test]
fn a_region_goes_from_node_to_node_with_all_that_was_kept() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    for sequence in 1..=500 {
        one.vault.keep(batch(sequence, sequence % 150));
    }
    one.kept(500);
    one.vault.keep(Batch { grown: Some(300), ..batch(501, 299) });
    one.kept(501);
    drop(one);

    let two = Bench::new(members.endpoints(), "two");
    let opened = two.open("genes");
    assert_eq!((opened.id, opened.sequence, opened.pages), (RegionId(7), 501, 300));
    assert_eq!((opened.owner.as_str(), opened.epoch.number), ("ada", 2));
    assert_eq!(opened.written.len(), 151);
    check_pages(&opened);
    two.vault.make(RegionId(8), name("eve"), create("genes"));
    match two.event() {
        Event::Made { result: Err(Refusal::Exists), .. } => (),
        other => panic!("{other:?}"),
    }
    two.vault.remove(RegionId(7));
    drop(two);
    let three = Bench::new(members.endpoints(), "three");
    three.vault.open(name("genes"));
    match three.event() {
        Event::Opened { result: Err(Refusal::NoSuchRegion), .. } => (),
        other => panic!("{other:?}"),
    }
    three.make(9, "genes");
}

#[test]
fn a_deposed_home_keeps_nothing_more_and_says_so() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    one.vault.keep(batch(1, 1));
    one.kept(1);
    // As etcd does when the node is silent for too long.
    let lease = one.vault.shared.office.lease.held().expect("a lease").id;
    Gateway::new(members.endpoints()).revoke(lease).expect("it ends");
    let two = Bench::new(members.endpoints(), "two");
    let opened = two.open("genes");
    assert_eq!((opened.sequence, opened.epoch.number), (1, 2));
    two.vault.keep(batch(2, 5));
    two.kept(2);
    one.vault.keep(batch(2, 9));
    match one.event() {
        Event::Lost { id: RegionId(7), .. } => (),
        other => panic!("{other:?}"),
    }
    drop(two);
    let three = Bench::new(members.endpoints(), "three").open("genes");
    assert_eq!(three.sequence, 2);
    check_pages(&three);
    assert!(three.written.iter().all(|written| written.page != PageNo(9)));
}

#[test]
fn the_leader_of_etcd_dies_under_load_and_nothing_is_lost() {
    let Some(mut members) = Members::start(3) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    for sequence in 1..=200 {
        one.vault.keep(batch(sequence, sequence % 150));
    }
    one.kept(100);
    members.kill_leader();
    for sequence in 201..=400 {
        one.vault.keep(batch(sequence, sequence % 150));
    }
    one.kept(400);
    drop(one);
    let opened = Bench::new(members.endpoints(), "two").open("genes");
    assert_eq!(opened.sequence, 400);
    check_pages(&opened);
}

/// Passes requests on to a member, and loses every third answer.
fn lossy(member: &str, lost: &Arc<AtomicUsize>) -> String {
    let member = member.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("a port"));
    let lost = Arc::clone(lost);
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            let Ok(server) = TcpStream::connect(&member) else { return };
            let lost = Arc::clone(&lost);
            std::thread::spawn(move || pass(client, server, number, &lost));
        }
    });
    endpoint
}

fn pass(mut client: TcpStream, mut server: TcpStream, number: usize, lost: &AtomicUsize) {
    let (mut from, mut to) = (client.try_clone().expect("it"), server.try_clone().expect("it"));
    let forward = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let mut answers = number;
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        answers += 1;
        if answers.is_multiple_of(3) {
            lost.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
    let _ = forward.join();
}

#[test]
fn a_commit_whose_answer_is_lost_lands_once() {
    let Some(members) = Members::start(1) else { return };
    let lost = Arc::new(AtomicUsize::new(0));
    let one = Bench::new(vec![lossy(&members.endpoints()[0], &lost)], "one");
    one.make(7, "genes");
    for sequence in 1..=60 {
        one.vault.keep(batch(sequence, sequence % 50));
        one.kept(sequence);
    }
    assert!(lost.load(Ordering::Relaxed) > 20);
    drop(one);
    let opened = Bench::new(members.endpoints(), "two").open("genes");
    assert_eq!(opened.sequence, 60);
    check_pages(&opened);
}

#[test]
fn an_etcd_that_is_not_there_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port");
    let one = Bench::new(vec![format!("http://{nobody}")], "one");
    one.vault.open(name("genes"));
    match one.event() {
        Event::Opened { result: Err(Refusal::NoVault { reason }), .. } => {
            assert!(reason.contains("etcd does not answer"), "{reason}");
            assert!(reason.contains(&nobody.to_string()), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
