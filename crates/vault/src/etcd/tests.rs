//! Against real members of etcd, from Debian's package; where there is none, this is said.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
        Self::start_with(count, &[])
    }

    fn start_with(count: usize, more: &[&str]) -> Option<Self> {
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
                .args(more)
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

    /// Why a region is lost; what was kept before does not matter.
    #[track_caller]
    fn lost(&self) -> String {
        loop {
            match self.event() {
                Event::Lost { reason, .. } => return reason,
                Event::Kept { .. } => (),
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    fn removed(&self) {
        match self.event() {
            Event::Removed { result: Ok(()), .. } => (),
            other => panic!("{other:?}"),
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

/// Passes everything on to a member while it is open, and nothing while it is shut: neither data nor
/// an end.
struct Gate {
    endpoint: String,
    is_shut: Arc<AtomicBool>,
}

impl Gate {
    fn before(member: &str) -> Self {
        let member = member.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("a port"));
        let is_shut = Arc::new(AtomicBool::new(false));
        let shut = Arc::clone(&is_shut);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&member) else { return };
                let ways = [
                    (client.try_clone().expect("it"), server.try_clone().expect("it")),
                    (server, client),
                ];
                for (from, to) in ways {
                    let shut = Arc::clone(&shut);
                    std::thread::spawn(move || go_through(from, to, &shut));
                }
            }
        });
        Self { endpoint, is_shut }
    }

    fn shut(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::SeqCst);
    }
}

/// What comes while the gate is shut is lost.
fn go_through(mut from: TcpStream, mut to: TcpStream, shut: &AtomicBool) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !shut.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_region_that_is_opened_again_after_a_partition_stays_with_its_new_steward() {
    let Some(members) = Members::start(1) else { return };
    let gate = Gate::before(&members.endpoints()[0]);
    // Two tries of some time each, as with several members.
    let one = Bench::new(vec![gate.endpoint.clone(); 2], "one");
    one.make(7, "genes");
    one.vault.keep(batch(1, 1));
    one.kept(1);
    gate.shut(true);
    assert!(one.lost().contains("etcd was not heard of"));
    // Long enough for whatever the first steward still sends to be lost on its way.
    assert!(one.events.recv_timeout(Duration::from_millis(300)).is_err(), "it is told once");
    gate.shut(false);
    let opened = one.open("genes");
    assert_eq!((opened.sequence, opened.epoch.number), (1, 2));
    // Whatever of the tenure before was still under way ends meanwhile.
    for sequence in 2..=40 {
        one.vault.keep(batch(sequence, 1));
        one.kept(sequence);
    }
    let two = Bench::new(members.endpoints(), "two");
    two.vault.open(name("genes"));
    match two.event() {
        Event::Opened { result: Err(Refusal::NoVault { reason }), .. } => {
            assert!(reason.contains("its home is node `one`"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    one.vault.keep(batch(41, 1));
    one.kept(41);
}

#[test]
fn a_lost_region_is_to_be_had_again_at_once_though_its_node_lives_on() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    one.make(8, "other");
    one.vault.keep(batch(5, 1));
    assert!(one.lost().contains("commit 5 came where 1 was due"));
    let two = Bench::new(members.endpoints(), "two");
    assert_eq!(two.open("genes").epoch.number, 2);
    drop(two);
    assert_eq!(one.open("genes").epoch.number, 3);
}

#[test]
fn a_home_key_that_was_not_given_back_is_taken_over_by_its_own_node() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    one.vault.keep(batch(5, 1));
    one.lost();
    let office = &one.vault.shared.office;
    let lease = office.lease.held().expect("a lease").id;
    let key = format!("{}homes/genes", office.root).into_bytes();
    let there = gateway::put_leased(&key, format!("one {lease:x} 0").as_bytes(), lease);
    let gone = || office.gateway.range(&key, None, 1, 0).expect("an answer").kvs.is_empty();
    while !gone() {
        std::thread::yield_now();
    }
    office.gateway.txn(Vec::new(), vec![there], Vec::new()).expect("an answer");
    assert_eq!(one.open("genes").epoch.number, 2);
}

#[test]
fn a_commit_of_which_nobody_is_steward_is_told_to_be_lost() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.vault.keep(batch(1, 1));
    assert!(one.lost().contains("not its home any more"));
}

#[test]
fn an_etcd_whose_space_is_used_up_is_told_with_what_to_do() {
    let Some(members) = Members::start_with(1, &["--quota-backend-bytes", "2000000"]) else {
        return;
    };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    for sequence in 1..=20 {
        let (version, bytes) = (Version(sequence + 1), Bytes::from(vec![1; 4096]));
        let page = |page| Written { page: PageNo(page), version, bytes: bytes.clone() };
        one.vault.keep(Batch { written: (0..100).map(page).collect(), ..batch(sequence, 1) });
    }
    let reason = one.lost();
    assert!(reason.contains("etcd refuses") && reason.contains("space exceeded"), "{reason}");
    assert!(reason.contains("docs/durability.md"), "{reason}");
    // What docs/durability.md says to do.
    let post = |path: &str, ask: serde_json::Value| -> serde_json::Value {
        let url = format!("{}/v3/{path}", members.endpoints()[0]);
        let mut answer = ureq::post(&url).send(ask.to_string()).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("an answer");
        serde_json::from_str(&text).expect("json")
    };
    let revision = Gateway::new(members.endpoints()).range(b"x", None, 1, 0).expect("it");
    let revision = revision.revision().to_string();
    post("kv/compaction", serde_json::json!({ "revision": revision, "physical": true }));
    post("maintenance/defragment", serde_json::json!({}));
    let alarms = post("maintenance/alarm", serde_json::json!({ "action": "GET" }));
    let member = &alarms["alarms"][0]["memberID"];
    let disarm = serde_json::json!({ "action": 2, "memberID": member, "alarm": "NOSPACE" });
    post("maintenance/alarm", disarm);
    let opened = one.open("genes");
    assert_eq!(opened.written.len(), 100);
    let next = opened.sequence + 1;
    one.vault.keep(batch(next, 1));
    one.kept(next);
}

#[test]
fn outcomes_of_many_sessions_and_a_large_transaction_do_not_exceed_what_etcd_takes() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    for sequence in 1..=60 {
        one.vault.keep(Batch { forgotten: Vec::new(), ..batch(sequence, sequence) });
    }
    one.kept(60);
    let (version, bytes) = (Version(62), Bytes::from(vec![1; 4096]));
    let pages = (0..100).map(|page| Written { page: PageNo(page), version, bytes: bytes.clone() });
    let forgotten = (1..=60).map(|session| (SessionId(session), u64::MAX)).collect();
    one.vault.keep(Batch { written: pages.collect(), forgotten, ..batch(61, 61) });
    one.kept(61);
    drop(one);
    let opened = Bench::new(members.endpoints(), "two").open("genes");
    assert_eq!((opened.sequence, opened.written.len()), (61, 100));
    assert_eq!(opened.outcomes.len(), 1);
}

#[test]
fn a_name_is_answered_for_while_its_region_is_being_removed() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    for round in 0..10 {
        one.make(100 + round * 3, "genes");
        one.vault.remove(RegionId(100 + round * 3));
        one.vault.open(name("genes"));
        one.removed();
        match one.event() {
            Event::Opened { result: Err(Refusal::NoSuchRegion), .. } => (),
            other => panic!("{other:?}"),
        }
        one.make(101 + round * 3, "genes");
        one.vault.remove(RegionId(101 + round * 3));
        one.vault.make(RegionId(102 + round * 3), name("ada"), create("genes"));
        one.removed();
        match one.event() {
            Event::Made { result: Ok(_), .. } => (),
            other => panic!("{other:?}"),
        }
        one.vault.remove(RegionId(102 + round * 3));
        one.removed();
    }
    one.make(7, "genes");
    // Whoever asks before having read of it is answered too.
    one.vault.open(name("genes"));
    match one.event() {
        Event::Opened { result: Err(Refusal::NoVault { .. }), .. } => (),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_region_does_not_take_the_home_of_one_with_a_longer_name_along() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    one.make(8, "gene");
    one.vault.shut(RegionId(8));
    // Opened again when the first tenure has ended: its home key was given back then.
    one.open("gene");
    one.vault.remove(RegionId(8));
    one.removed();
    one.vault.keep(batch(1, 1));
    one.kept(1);
}

#[test]
fn a_deposed_home_that_drops_its_region_says_that_it_lives_on() {
    let Some(members) = Members::start(1) else { return };
    let one = Bench::new(members.endpoints(), "one");
    one.make(7, "genes");
    let lease = one.vault.shared.office.lease.held().expect("a lease").id;
    Gateway::new(members.endpoints()).revoke(lease).expect("it ends");
    let two = Bench::new(members.endpoints(), "two");
    two.open("genes");
    one.vault.remove(RegionId(7));
    let reason = one.lost();
    assert!(reason.contains("was not dropped") && reason.contains("`two`"), "{reason}");
    two.vault.keep(batch(1, 1));
    two.kept(1);
}

#[test]
fn any_number_of_names_is_answered_by_a_few_threads() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port");
    let one = Bench::new(vec![format!("http://{nobody}")], "one");
    for number in 0..5000 {
        one.vault.open(name(&format!("genes-{number}")));
        let desk = one.vault.shared.desk();
        assert!(desk.openers <= OPENERS_MAX && desk.waiting <= WAITING_MAX);
    }
    for _ in 0..5000 {
        match one.event() {
            Event::Opened { result: Err(Refusal::NoVault { .. }), .. } => (),
            other => panic!("{other:?}"),
        }
    }
    assert!(one.vault.shared.desk().seats.is_empty());
}
