//! What a node does for whom: roles, payloads, blobs, leaving. Tasks and workers are `slots`' tests.

mod regions;
mod visits;

use wire::blob::{Fetch, Lend, Permit, Put};
use wire::hello::VERSION;
use wire::limits::{FETCHES_MAX, LENDINGS_MAX, PAYLOAD_MAX, PERMIT_PATIENCE};
use wire::member::Members as News;
use wire::name::{JobId, TaskName};
use wire::task::{Define, Input, Output, Program, Run, RunHead, Status, TakeBack, Times};

use super::*;

const CLIENT: LinkId = LinkId(0);
const OTHER: LinkId = LinkId(1);
const LENGTH: u64 = 100_000;

/// A node with one slot, and the time.
struct Bench {
    node: Node,
    now: Time,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn member(text: &str) -> Member {
    Member { name: name(text), life: 1, addresses: Vec::new(), slots: 1, state: State::Here }
}

fn program() -> Program {
    Program::Core { library: Hash::of(b"core"), name: "core".to_owned() }
}

impl Bench {
    fn new() -> Self {
        let options = Options {
            agent: "test".to_owned(),
            me: member("me"),
            grace: Span::from_secs(10),
            controllers: controllers::Options::default(),
        };
        Self { node: Node::new(Time(1), options), now: Time(1) }
    }

    /// A node that a client of this name has a link to, and a program on it.
    fn with_client(client: &str) -> Self {
        let mut bench = Self::new();
        bench.greet(CLIENT, Peer::Client(name(client)), Purpose::Client);
        bench.say(CLIENT, 0, Message::MembersAsk);
        let define = Define { number: 0, program: program(), memory: 0 };
        bench.say(CLIENT, 0, Message::Define(define));
        bench
    }

    fn greet(&mut self, link: LinkId, peer: Peer, purpose: Purpose) -> String {
        let token = u64::from(link.0) + 100;
        let hello = Hello { agent: "test".to_owned(), name: name("somebody"), purpose };
        let (version, hello) = (Message::Version(VERSION), Message::Hello(hello));
        self.handle(vec![
            Event::Accepted { link, peer, token },
            Event::Message { link, channel: 0, message: version },
            Event::Message { link, channel: 0, message: hello },
        ])
    }

    fn say(&mut self, link: LinkId, channel: u64, message: Message) -> String {
        self.handle(vec![Event::Message { link, channel, message }])
    }

    fn run(&mut self, channel: u64, input: Input) -> String {
        let name = TaskName { job: JobId(7), task: channel };
        let head = RunHead { program: 0, attempt: 1, deadline: Span(0), input, name };
        self.say(CLIENT, channel, Message::Run(Run { head, inline: Bytes::new() }))
    }

    /// A payload arrives in a buffer that has the channel's number.
    fn payload(&mut self, channel: u64, length: u64) -> String {
        let buffer = BufferId(channel as u32);
        self.handle(vec![Event::Payload { link: CLIENT, channel, buffer, length }])
    }

    fn worker_ready(&mut self, worker: u32) -> String {
        self.handle(vec![Event::WorkerReady { worker: WorkerId(worker), result: Ok(()) }])
    }

    fn worker_done(&mut self, worker: u32, sequence: u64) -> String {
        let (status, output) = (Status::Finished { code: 0 }, Payload::empty());
        let finished =
            Finished { status, ran: Span::from_millis(9), output, times: Times::default() };
        self.handle(vec![Event::WorkerDone { worker: WorkerId(worker), sequence, finished }])
    }

    /// The only place that touches the API: a batch of events, and what followed in short.
    fn handle(&mut self, events: Vec<Event>) -> String {
        self.now = self.now + Span::from_millis(1);
        events.into_iter().for_each(|event| self.node.handle(self.now, event));
        self.node.settle(self.now);
        let effects = std::iter::from_fn(|| self.node.poll_effect());
        let words: Vec<String> = effects.filter_map(|effect| describe(&effect)).collect();
        words.join(", ")
    }
}

/// What an effect is, in short; what belongs to every link's life is left out.
fn describe(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Send { link, channel, message } => {
            let what = match message {
                Message::VersionAnswer { .. } => return None,
                Message::Welcome(_) => "welcome".to_owned(),
                Message::Members(news) => {
                    let told = news.members.iter();
                    let told: Vec<_> = told.map(|m| format!("{} {:?}", m.name, m.state)).collect();
                    format!("members [{}]", told.join(", "))
                }
                Message::Credit(credit) => format!("credit {}", credit.limit),
                Message::Goodbye(Goodbye::Forbidden { .. }) => "forbidden".to_owned(),
                Message::Goodbye(Goodbye::Protocol { reason }) => format!("breach: {reason}"),
                Message::Goodbye(goodbye) => format!("{goodbye:?}"),
                Message::Done(done) => {
                    let status = format!("{:?}", done.head.status);
                    format!("done {channel} {}", status.split(' ').next().unwrap_or_default())
                }
                Message::Returned(returned) => format!("returned {:?}", returned.channels),
                Message::Known(known) => format!("known {}", known.here),
                Message::Stored(stored) => format!("stored {:?}", stored.refused),
                other => format!("{other:?}"),
            };
            format!("{}: {what}", link.0)
        }
        Effect::SendPayload { link, channel, .. } => format!("{}: payload {channel}", link.0),
        Effect::Close { link } => format!("close {}", link.0),
        Effect::Attach { connection, to, .. } => format!("attach {} to {}", connection.0, to.0),
        Effect::StoreBlob { channel, .. } => format!("store {channel}"),
        Effect::Redeem { .. } => "redeem".to_owned(),
        Effect::DeleteBlob { .. } => "delete".to_owned(),
        Effect::FetchBlob { link, blob, .. } => format!("{}: fetch from {}", link.0, blob.from),
        Effect::LendBlob { connection, .. } => format!("lend over {}", connection.0),
        Effect::Worker(slots::Effect::Release { buffer }) => format!("free {}", buffer.0),
        Effect::Worker(slots::Effect::Start { worker, .. }) => format!("start {}", worker.0),
        Effect::Worker(slots::Effect::Execute { worker, sequence, .. }) => {
            format!("run {}.{sequence}", worker.0)
        }
        Effect::Worker(slots::Effect::Kill { worker }) => format!("kill {}", worker.0),
        Effect::SendLog { link, log, bytes, .. } => {
            let skipped = log.skipped;
            format!("{}: log {} {}+{skipped}", link.0, log.name.task, bytes.len())
        }
        Effect::EndVisit(visit) => format!("end visit {}", visit.0),
        Effect::Left => "left".to_owned(),
        Effect::Warn { words } => format!("warn {words}"),
        _ => return None,
    })
}

/// Who comes with which certificate, wants what, and gets what.
#[track_caller]
fn check(peer: Peer, purpose: Purpose, want: &str) {
    assert_eq!(Bench::new().greet(CLIENT, peer, purpose), want);
}

#[test]
fn a_client_is_let_in_and_gets_credits() {
    let want = "0: welcome, 0: credit 2";
    check(Peer::Client(name("you")), Purpose::Client, want);
    check(Peer::Admin(name("you")), Purpose::Client, want);
}

#[test]
fn a_nodes_certificate_runs_no_tasks() {
    check(Peer::Node(name("you")), Purpose::Client, "0: forbidden, close 0");
}

#[test]
fn a_node_is_let_in_under_its_own_name_only() {
    let node = Purpose::Node { member: member("you") };
    check(Peer::Node(name("you")), node.clone(), "0: welcome, 0: members [me Here]");
    check(Peer::Node(name("me-too")), node.clone(), "0: forbidden, close 0");
    check(Peer::Client(name("you")), node.clone(), "0: forbidden, close 0");
    check(Peer::Admin(name("you")), node, "0: forbidden, close 0");
}

#[test]
fn a_stranger_may_only_join() {
    check(Peer::Stranger, Purpose::Client, "0: forbidden, close 0");
    check(Peer::Stranger, Purpose::Node { member: member("you") }, "0: forbidden, close 0");
    check(Peer::Stranger, Purpose::Bulk { link: 100 }, "0: forbidden, close 0");
    let mut bench = Bench::new();
    assert_eq!(bench.greet(CLIENT, Peer::Stranger, Purpose::Join), "0: welcome");
    let join = Join { secret: [0; 16], name: name("you"), request: Vec::new() };
    assert_eq!(bench.say(CLIENT, 0, Message::Join(join)), "redeem");
    let told = bench.say(CLIENT, 0, Message::StatusAsk);
    assert_eq!(told, "0: breach: a stranger may only join, close 0");
}

#[test]
fn a_connection_for_payloads_is_of_the_same_certificate() {
    let mut bench = Bench::with_client("you");
    let bulk = Purpose::Bulk { link: 100 };
    let told = bench.greet(OTHER, Peer::Client(name("me")), bulk.clone());
    assert_eq!(told, "1: forbidden, close 1");
    let told = bench.greet(OTHER, Peer::Client(name("you")), Purpose::Bulk { link: 7 });
    assert_eq!(told, "1: forbidden, close 1");
    let told = bench.greet(OTHER, Peer::Client(name("you")), bulk);
    assert_eq!(told, "1: welcome, attach 1 to 0");
}

#[test]
fn news_of_members_goes_round() {
    let mut bench = Bench::with_client("you");
    let node = Purpose::Node { member: member("new") };
    let told = bench.greet(OTHER, Peer::Node(name("new")), node);
    assert_eq!(told, "1: welcome, 1: members [me Here], 0: members [new Here]");
    bench.now = bench.now + Span::from_millis(100);
    let told = bench.handle(vec![Event::Closed { link: OTHER }]);
    assert_eq!(told, "0: members [new Lost]");
}

#[test]
fn news_that_comes_fast_is_gathered() {
    let mut bench = Bench::with_client("you");
    for link in 1..=3 {
        let new = format!("new-{link}");
        let node = Purpose::Node { member: member(&new) };
        let told = bench.greet(LinkId(link), Peer::Node(name(&new)), node);
        assert_eq!(told.contains("0: members"), link == 1, "the first is told at once: {told}");
    }
    bench.now = bench.node.poll_timeout();
    let told = bench.handle(vec![Event::Tick]);
    let want = "0: members [new-2 Here, new-3 Here], 1: members [new-2 Here, new-3 Here], \
                2: members [new-3 Here], 3: members [new-2 Here]";
    assert_eq!(told, want);
    assert_eq!(bench.handle(vec![Event::Tick]), "", "and once");
}

#[test]
fn a_client_hears_of_members_once_it_has_asked() {
    let mut bench = Bench::new();
    bench.greet(CLIENT, Peer::Client(name("you")), Purpose::Client);
    let node = Purpose::Node { member: member("new") };
    let told = bench.greet(OTHER, Peer::Node(name("new")), node);
    assert_eq!(told, "1: welcome, 1: members [me Here]");
    let told = bench.say(CLIENT, 0, Message::MembersAsk);
    assert_eq!(told, "0: members [me Here, new Here]");
    assert_eq!(bench.say(CLIENT, 0, Message::MembersAsk), "", "the answer is long: it comes once");
}

#[test]
fn a_client_may_say_only_what_clients_say() {
    for message in [Message::Credit(wire::task::Credit { limit: 9 }), Message::Hello(hello())] {
        let told = Bench::with_client("you").say(CLIENT, 0, message);
        assert!(told.starts_with("0: breach: "), "{told}");
        assert!(told.ends_with("close 0"), "{told}");
    }
}

fn hello() -> Hello {
    Hello { agent: String::new(), name: name("you"), purpose: Purpose::Client }
}

#[test]
fn a_small_input_comes_with_its_task() {
    let mut bench = Bench::with_client("you");
    assert_eq!(bench.run(1, Input::Inline), "start 0");
    assert_eq!(bench.worker_ready(0), "run 0.0");
    assert_eq!(bench.worker_done(0, 0), "0: done 1 Finished, 0: credit 3");
}

#[test]
fn a_large_input_may_come_after_its_task_or_before_it() {
    let mut bench = Bench::with_client("you");
    assert_eq!(bench.run(1, Input::Bulk(LENGTH)), "");
    assert_eq!(bench.payload(1, LENGTH), "start 0");
    assert_eq!(bench.payload(2, LENGTH), "");
    assert_eq!(bench.run(2, Input::Bulk(LENGTH)), "");
    assert_eq!(bench.worker_ready(0), "run 0.0");
    assert_eq!(bench.worker_done(0, 0), "free 1, 0: done 1 Finished, run 0.1, 0: credit 3");
}

#[test]
fn a_payload_that_is_not_as_announced_is_a_breach_and_is_freed() {
    let breach = "0: breach: channel 1: its payload is not as announced, close 0";
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Bulk(LENGTH));
    assert_eq!(bench.payload(1, LENGTH + 1), format!("free 1, {breach}"));
    let mut bench = Bench::with_client("you");
    bench.payload(1, LENGTH + 1);
    assert_eq!(bench.run(1, Input::Bulk(LENGTH)), format!("free 1, {breach}"));
    let mut bench = Bench::with_client("you");
    bench.payload(1, LENGTH);
    assert_eq!(bench.payload(1, LENGTH), format!("free 1, free 1, {breach}"));
}

#[test]
fn bytes_of_a_task_that_was_cancelled_before_them_are_dropped() {
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Bulk(LENGTH));
    assert_eq!(bench.say(CLIENT, 1, Message::Cancel), "0: done 1 Cancelled, 0: credit 3");
    assert_eq!(bench.payload(1, LENGTH), "free 1");
    assert_eq!(bench.node.tally().arrivals, 0);
}

#[test]
fn tasks_that_wait_for_their_bytes_can_be_taken_back() {
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Bulk(LENGTH));
    let all = Message::TakeBack(TakeBack { count: 5 });
    assert_eq!(bench.say(CLIENT, 0, all), "0: returned [1], 0: credit 3");
    assert_eq!(bench.payload(1, LENGTH), "free 1");
}

#[test]
fn a_client_that_goes_leaves_no_buffer() {
    let mut bench = Bench::with_client("you");
    bench.payload(1, LENGTH);
    bench.payload(2, LENGTH);
    bench.run(2, Input::Bulk(LENGTH));
    assert_eq!(bench.handle(vec![Event::Closed { link: CLIENT }]), "free 1, free 2");
    assert_eq!(bench.payload(3, LENGTH), "free 3");
}

#[test]
fn a_large_result_is_sent_before_its_end_is_told() {
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Inline);
    bench.worker_ready(0);
    let output = Payload::Buffer { buffer: BufferId(8), length: LENGTH };
    let status = Status::Finished { code: 0 };
    let finished = Finished { status, ran: Span::from_millis(9), output, times: Times::default() };
    let done = Event::WorkerDone { worker: WorkerId(0), sequence: 0, finished };
    bench.now = bench.now + Span::from_millis(1);
    bench.node.handle(bench.now, done);
    bench.node.settle(bench.now);
    let first = bench.node.poll_effect();
    assert!(matches!(first, Some(Effect::SendPayload { channel: 1, .. })), "{first:?}");
    let Some(Effect::Send { message: Message::Done(done), .. }) = bench.node.poll_effect() else {
        panic!("no end was told");
    };
    assert_eq!(done.head.output, Output::Bulk(LENGTH));
}

#[test]
fn a_blob_is_known_to_whom_it_came_from_and_to_nobody_else() {
    let mut bench = Bench::with_client("you");
    bench.greet(OTHER, Peer::Client(name("spy")), Purpose::Client);
    let hash = Hash::of(b"core");
    let have = || Message::Have(wire::blob::Have { hash });
    assert_eq!(bench.say(CLIENT, 3, have()), "0: known false");
    let put = Message::Put(Put { hash, length: 4 }, Bytes::from_static(b"core"));
    assert_eq!(bench.say(CLIENT, 3, put), "store 3");
    let stored = Event::BlobStored { link: CLIENT, channel: 3, hash, length: 4, refused: None };
    assert_eq!(bench.handle(vec![stored]), "0: stored None");
    assert_eq!(bench.say(CLIENT, 3, have()), "0: known true");
    assert_eq!(bench.say(OTHER, 3, have()), "1: known false");
}

#[test]
fn a_large_blob_comes_as_a_payload() {
    let mut bench = Bench::with_client("you");
    let put = Message::Put(Put { hash: Hash::of(b"big"), length: LENGTH }, Bytes::new());
    assert_eq!(bench.say(CLIENT, 3, put), "");
    assert_eq!(bench.payload(3, LENGTH), "store 3");
}

#[test]
fn a_blob_without_end_is_refused() {
    let mut bench = Bench::with_client("you");
    let put = Put { hash: Hash::of(b"big"), length: PAYLOAD_MAX + 1 };
    let told = bench.say(CLIENT, 3, Message::Put(put, Bytes::new()));
    assert!(told.starts_with("0: stored Some"), "{told}");
}

#[test]
fn a_node_that_leaves_tells_everyone_and_ends_what_runs() {
    let mut bench = Bench::with_client("you");
    bench.greet(OTHER, Peer::Node(name("new")), Purpose::Node { member: member("new") });
    bench.run(1, Input::Inline);
    bench.worker_ready(0);
    bench.run(2, Input::Inline);
    let told = bench.handle(vec![Event::Leave]);
    assert_eq!(told, "0: members [me Leaving], 1: members [me Leaving], 0: Leaving");
    let all = Message::TakeBack(TakeBack { count: u32::MAX });
    assert_eq!(bench.say(CLIENT, 0, all), "0: returned [2]");
    let told = bench.worker_done(0, 0);
    assert_eq!(told, "0: done 1 Finished, 0: members [me Gone], 1: members [me Gone], left");
}

#[test]
fn a_node_does_not_leave_before_its_clients_know() {
    let mut bench = Bench::with_client("you");
    bench.handle(vec![Event::Leave]);
    // It was sent before the client knew, and there is a credit for it.
    assert_eq!(bench.run(1, Input::Inline), "start 0");
    let all = Message::TakeBack(TakeBack { count: u32::MAX });
    let told = bench.say(CLIENT, 0, all);
    assert_eq!(told, "0: returned [1], 0: members [me Gone], left");
}

#[test]
fn patience_with_what_runs_ends() {
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Inline);
    bench.handle(vec![Event::Leave]);
    bench.now = bench.now + Span::from_secs(9);
    assert_eq!(bench.handle(vec![]), "");
    bench.now = bench.now + Span::from_secs(2);
    assert_eq!(bench.handle(vec![]), "0: members [me Gone], left");
}

#[test]
fn a_client_that_comes_while_the_node_leaves_is_told_so_and_gets_no_credit() {
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Inline);
    bench.handle(vec![Event::Leave]);
    let told = bench.greet(OTHER, Peer::Client(name("late")), Purpose::Client);
    assert_eq!(told, "1: welcome, 1: Leaving");
}

#[test]
fn a_result_that_lies_where_its_input_lay_is_sent_and_freed_once() {
    let mut bench = Bench::with_client("you");
    bench.payload(1, LENGTH);
    bench.run(1, Input::Bulk(LENGTH));
    bench.worker_ready(0);
    let output = Payload::Buffer { buffer: BufferId(1), length: 5 };
    let (status, times) = (Status::Finished { code: 0 }, Times::default());
    let finished = Finished { status, ran: Span(1), output, times };
    let done = || {
        let finished = finished.clone();
        vec![Event::WorkerDone { worker: WorkerId(0), sequence: 0, finished }]
    };
    assert!(!bench.handle(done()).contains("free"), "it is still to be sent");
    assert!(!bench.handle(done()).contains("free"), "found in the progress page before");
}

#[test]
fn programs_are_numbered_without_gaps_and_named_in_short() {
    let define = |number, name: String| {
        let program = Program::Core { library: Hash::of(b"core"), name };
        Message::Define(Define { number, program, memory: 0 })
    };
    let mut bench = Bench::with_client("you");
    assert_eq!(bench.say(CLIENT, 0, define(1, "b".repeat(255))), "");
    let breach = "0: breach: program 3 was defined where 2 is next, close 0";
    assert_eq!(bench.say(CLIENT, 0, define(3, "c".to_owned())), breach);
    let mut bench = Bench::with_client("you");
    let breach = "0: breach: a program's name of 256 bytes; at most 255, close 0";
    assert_eq!(bench.say(CLIENT, 0, define(1, "b".repeat(256))), breach);
}

// Blobs between nodes.

const NEIGHBOUR: LinkId = LinkId(2);

impl Bench {
    /// A node that a client has stored a blob at.
    fn with_blob(client: &str) -> (Self, Hash) {
        let mut bench = Self::with_client(client);
        let (hash, refused) = (Hash::of(b"core"), None);
        let length = 4;
        bench.handle(vec![Event::BlobStored { link: CLIENT, channel: 9, hash, length, refused }]);
        (bench, hash)
    }

    fn lend(&mut self, link: LinkId, hash: Hash, to: &str) -> Option<Permit> {
        let (channel, lend) = (5, Lend { hash, to: name(to) });
        self.now = self.now + Span::from_millis(1);
        let message = Message::Lend(lend);
        self.node.handle(self.now, Event::Message { link, channel, message });
        let lent = std::iter::from_fn(|| self.node.poll_effect()).find_map(|effect| match effect {
            Effect::Send { message: Message::Lent(lent), .. } => Some(lent),
            _ => None,
        });
        lent.expect("every LEND is answered").permit
    }

    fn ask(&mut self, peer: Peer, hash: Hash, permit: Permit) -> String {
        let said = self.greet(NEIGHBOUR, peer, Purpose::Fetch { hash, permit });
        self.handle(vec![Event::Closed { link: NEIGHBOUR }]);
        said
    }

    fn fetch(&mut self, from: &str) -> String {
        let (hash, permit) = (Hash::of(b"core"), Permit([1; 16]));
        let fetch = Fetch { hash, length: 4, from: name(from), permit };
        self.say(CLIENT, 5, Message::Fetch(fetch))
    }

    fn fetched(&mut self, link: Option<LinkId>, failed: Option<String>) -> String {
        let (hash, channel, length) = (Hash::of(b"core"), 5, 4);
        self.handle(vec![Event::BlobFetched { link, channel, hash, length, failed }])
    }
}

#[test]
fn a_blob_is_lent_once_to_the_node_that_its_owner_named() {
    let (mut bench, hash) = Bench::with_blob("me");
    let permit = bench.lend(CLIENT, hash, "b").expect("it is mine");
    let forbidden = "2: forbidden, close 2";
    let wrong = [
        (Peer::Node(name("c")), hash, permit),
        (Peer::Client(name("b")), hash, permit),
        (Peer::Admin(name("b")), hash, permit),
        (Peer::Stranger, hash, permit),
        (Peer::Node(name("b")), Hash::of(b"other"), permit),
        (Peer::Node(name("b")), hash, Permit([0; 16])),
    ];
    for (peer, hash, permit) in wrong {
        let what = format!("{peer:?}");
        assert_eq!(bench.ask(peer, hash, permit), forbidden, "{what}");
    }
    let b = || Peer::Node(name("b"));
    assert_eq!(bench.ask(b(), hash, permit), "2: welcome, lend over 2");
    assert_eq!(bench.ask(b(), hash, permit), forbidden, "it was used up");
}

#[test]
fn nobody_lends_what_is_not_his() {
    let (mut bench, hash) = Bench::with_blob("me");
    bench.greet(OTHER, Peer::Client(name("you")), Purpose::Client);
    assert_eq!(bench.lend(OTHER, hash, "b"), None);
    assert_eq!(bench.lend(CLIENT, Hash::of(b"nothing"), "b"), None);
    // The same name over another link is the same owner.
    bench.greet(LinkId(3), Peer::Client(name("me")), Purpose::Client);
    assert!(bench.lend(LinkId(3), hash, "b").is_some());
}

#[test]
fn a_permit_ends_with_its_time_and_with_its_owners_link() {
    let (mut bench, hash) = Bench::with_blob("me");
    let permit = bench.lend(CLIENT, hash, "b").expect("it is mine");
    bench.now = bench.now + PERMIT_PATIENCE;
    assert_eq!(bench.ask(Peer::Node(name("b")), hash, permit), "2: forbidden, close 2");
    let permit = bench.lend(CLIENT, hash, "b").expect("it is mine");
    bench.handle(vec![Event::Closed { link: CLIENT }]);
    assert_eq!(bench.ask(Peer::Node(name("b")), hash, permit), "2: forbidden, close 2");
}

#[test]
fn only_members_are_asked_for_a_blob_and_what_comes_is_the_clients() {
    let mut bench = Bench::with_client("me");
    let there = Member { addresses: vec!["10.0.0.1:1".to_owned()], ..member("a") };
    bench.greet(NEIGHBOUR, Peer::Node(name("a")), Purpose::Node { member: there });
    assert!(bench.fetch("z").contains("knows no way to node z"), "a stranger");
    assert!(bench.fetch("me").contains("knows no way to node me"), "itself");
    assert_eq!(bench.fetch("a"), "0: fetch from a");
    let have = Message::Have(wire::blob::Have { hash: Hash::of(b"core") });
    assert_eq!(bench.say(CLIENT, 5, have.clone()), "0: known false");
    assert!(bench.fetched(Some(CLIENT), None).contains("failed: None"));
    assert_eq!(bench.say(CLIENT, 5, have.clone()), "0: known true");
    bench.greet(OTHER, Peer::Client(name("you")), Purpose::Client);
    assert_eq!(bench.say(OTHER, 5, have), "1: known false");
}

#[test]
fn a_blob_whose_client_is_gone_is_not_kept_unless_it_is_somebodys() {
    let mut bench = Bench::with_client("me");
    let there = Member { addresses: vec!["10.0.0.1:1".to_owned()], ..member("a") };
    bench.greet(NEIGHBOUR, Peer::Node(name("a")), Purpose::Node { member: there });
    assert_eq!(bench.fetch("a"), "0: fetch from a");
    assert_eq!(bench.fetched(None, None), "delete");
    let hash = Hash::of(b"core");
    let stored = |link| Event::BlobStored { link, channel: 9, hash, length: 4, refused: None };
    bench.handle(vec![stored(CLIENT)]);
    assert_eq!(bench.fetch("a"), "0: fetch from a");
    assert_eq!(bench.fetched(None, None), "");
}

#[test]
fn fetching_and_lending_have_their_bounds() {
    let (mut bench, hash) = Bench::with_blob("me");
    let there = Member { addresses: vec!["10.0.0.1:1".to_owned()], ..member("a") };
    bench.greet(LinkId(4), Peer::Node(name("a")), Purpose::Node { member: there });
    for _ in 0..FETCHES_MAX {
        assert_eq!(bench.fetch("a"), "0: fetch from a");
    }
    assert!(bench.fetch("a").contains("being fetched already"));
    bench.fetched(Some(CLIENT), Some("it hung up".to_owned()));
    assert_eq!(bench.fetch("a"), "0: fetch from a");
    for _ in 0..LENDINGS_MAX {
        let permit = bench.lend(CLIENT, hash, "b").expect("it is mine");
        assert_eq!(bench.ask(Peer::Node(name("b")), hash, permit), "2: welcome, lend over 2");
    }
    let permit = bench.lend(CLIENT, hash, "b").expect("it is mine");
    assert!(bench.ask(Peer::Node(name("b")), hash, permit).contains("Full"));
    bench.handle(vec![Event::BlobLent]);
    let permit = bench.lend(CLIENT, hash, "b").expect("it is mine");
    assert_eq!(bench.ask(Peer::Node(name("b")), hash, permit), "2: welcome, lend over 2");
}

// Nodes of one name.

fn at(life: u64, address: &str) -> Member {
    Member { life, addresses: vec![address.to_owned()], ..member("a") }
}

fn purpose(member: Member) -> Purpose {
    Purpose::Node { member }
}

#[test]
fn a_second_node_of_one_name_is_refused_while_the_first_is_there() {
    let mut bench = Bench::new();
    let first = bench.greet(LinkId(1), Peer::Node(name("a")), purpose(at(1, "10.0.0.1:1")));
    assert!(first.contains("welcome"), "{first}");
    let second = bench.greet(LinkId(2), Peer::Node(name("a")), purpose(at(2, "10.0.0.2:1")));
    assert_eq!(second, "2: forbidden, close 2");
    bench.handle(vec![Event::Closed { link: LinkId(1) }]);
    let second = bench.greet(LinkId(2), Peer::Node(name("a")), purpose(at(2, "10.0.0.2:1")));
    assert!(second.contains("2: welcome"), "{second}");
}

#[test]
fn a_node_that_starts_again_where_it_was_takes_the_place_of_its_dead_link() {
    let mut bench = Bench::new();
    bench.greet(LinkId(1), Peer::Node(name("a")), purpose(at(1, "10.0.0.1:1")));
    let again = bench.greet(LinkId(2), Peer::Node(name("a")), purpose(at(2, "10.0.0.1:1")));
    assert!(again.starts_with("1: forbidden, close 1, 2: welcome"), "{again}");
    // A link in the other direction of the same start is none too many.
    let more = bench.greet(LinkId(3), Peer::Node(name("a")), purpose(at(2, "10.0.0.1:1")));
    assert!(more.starts_with("3: welcome"), "{more}");
}

#[test]
fn a_node_that_hears_of_another_with_its_name_says_where() {
    let mut bench = Bench::new();
    bench.node.listen_at(vec!["10.0.0.9:1".to_owned()]);
    bench.greet(LinkId(1), Peer::Node(name("a")), purpose(at(1, "10.0.0.1:1")));
    let me = Member { addresses: vec!["10.0.0.7:1".to_owned()], life: 9, ..member("me") };
    let said = bench.say(LinkId(1), 0, Message::Members(News { members: vec![me] }));
    assert_eq!(
        said,
        "warn two nodes call themselves me, one at 10.0.0.9:1 and one at 10.0.0.7:1; stop one of \
         them, or give it a name of its own with --name"
    );
}

#[test]
fn tasks_whose_library_is_gone_are_given_back_with_the_reason() {
    let (mut bench, hash) = Bench::with_blob("me");
    assert_eq!(bench.run(1, Input::Inline), "start 0");
    bench.run(2, Input::Inline);
    let lost = Event::BlobLost { hash };
    let absent = Event::LibraryAbsent { worker: WorkerId(0), library: hash };
    let (exit, stderr) = (Exit::Code(0), String::new());
    let exited = Event::WorkerExited { worker: WorkerId(0), exit, started: 0, stderr };
    let said = bench.handle(vec![lost, absent, exited]);
    assert!(said.starts_with("delete, 0: known false, 0: returned [1, 2]"), "{said}");
    assert_eq!(bench.node.tally().tasks, 0);
    let have = Message::Have(wire::blob::Have { hash });
    assert_eq!(bench.say(CLIENT, 5, have), "0: known false");
}

fn answer(bench: &mut Bench, link: LinkId, message: Message) -> Option<Message> {
    bench.node.handle(bench.now, Event::Message { link, channel: 3, message });
    bench.node.settle(bench.now);
    let effects = std::iter::from_fn(|| bench.node.poll_effect());
    let answers = effects.filter_map(|effect| match effect {
        Effect::Send { link: to, channel: 3, message } if to == link => Some(message),
        _ => None,
    });
    answers.last()
}

fn why(bench: &mut Bench, link: LinkId, task: u64) -> wire::job::Why {
    let name = TaskName { job: JobId(7), task };
    match answer(bench, link, Message::WhyAsk(wire::job::WhyAsk { name })) {
        Some(Message::Why(why)) => *why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_can_be_followed_from_its_input_to_its_end() {
    use wire::job::{Hold, Now};
    let mut bench = Bench::with_client("you");
    bench.run(1, Input::Bulk(LENGTH));
    assert!(matches!(why(&mut bench, CLIENT, 1).now, Now::Arriving { .. }));
    bench.payload(1, LENGTH);
    let hold = Hold::Loading { workers: 1 };
    let now = why(&mut bench, CLIENT, 1).now;
    assert!(matches!(now, Now::Waiting { before: 0, hold: held, .. } if held == hold), "{now:?}");
    bench.worker_ready(0);
    bench.run(2, Input::Inline);
    let now = why(&mut bench, CLIENT, 1).now;
    assert!(matches!(now, Now::Working { before: 0, worker: 0, attempt: 1, .. }), "{now:?}");
    let now = why(&mut bench, CLIENT, 2).now;
    let hold = Hold::Busy { slots: 1, own: 1, others: 0 };
    assert!(matches!(now, Now::Waiting { before: 0, hold: held, .. } if held == hold), "{now:?}");
    bench.worker_done(0, 0);
    let ended = why(&mut bench, CLIENT, 1);
    assert_eq!((ended.now, ended.ended.len()), (Now::Absent, 1));
    assert_eq!(why(&mut bench, CLIENT, 9).ended, []);
}

#[test]
fn another_owner_sees_nothing_and_an_admin_everything() {
    use wire::job::{Job, Now, Wait};
    let mut bench = Bench::with_client("you");
    let id = JobId(7);
    let (name_, wait) = ("sum".to_owned(), Wait::Credits);
    let job = Job {
        id,
        name: name_,
        queued: 2,
        next: 5,
        running: 1,
        done: 3,
        failed: 0,
        retried: 0,
        wait,
        closed: false,
    };
    bench.run(1, Input::Inline);
    bench.handle(vec![Event::Message { link: CLIENT, channel: 0, message: Message::Job(job) }]);
    bench.worker_ready(0);
    bench.worker_done(0, 0);
    bench.run(2, Input::Inline);
    let admin = LinkId(2);
    bench.greet(OTHER, Peer::Client(name("other")), Purpose::Client);
    bench.greet(admin, Peer::Admin(name("boss")), Purpose::Client);
    for (link, sees) in [(CLIENT, true), (OTHER, false), (admin, true)] {
        let (first, second) = (why(&mut bench, link, 1), why(&mut bench, link, 2));
        assert_eq!(first.ended.len(), usize::from(sees), "{link:?}");
        assert_eq!(second.now != Now::Absent, sees, "{link:?}");
        assert_eq!(second.job.is_some(), sees, "{link:?}");
        let told = answer(&mut bench, link, Message::JobsAsk);
        let Some(Message::Jobs(told)) = told else { panic!("{told:?}") };
        assert_eq!(told.jobs.len(), usize::from(sees), "{link:?}");
    }
}

#[test]
fn what_a_worker_writes_goes_to_the_task_that_it_is_at_or_was_at_last() {
    let mut bench = Bench::with_client("you");
    let wrote = |started, text: &'static [u8]| {
        let bytes = Bytes::from_static(text);
        vec![Event::WorkerWrote { worker: WorkerId(0), started, bytes }]
    };
    bench.run(1, Input::Inline);
    bench.worker_ready(0);
    assert_eq!(bench.handle(wrote(0, b"loading")), "", "no task has begun");
    assert_eq!(bench.handle(wrote(1, b"oops")), "0: log 1 4+0");
    bench.worker_done(0, 0);
    assert_eq!(bench.handle(wrote(1, b"late")), "0: log 1 4+0");
    assert_eq!(bench.handle(vec![Event::Closed { link: CLIENT }]), "");
    assert_eq!(bench.handle(wrote(1, b"gone")), "", "nobody is there to read it");
}

#[test]
fn a_program_of_somebody_elses_library_takes_nothing_from_him() {
    let (mut bench, hash) = Bench::with_blob("me");
    bench.greet(OTHER, Peer::Client(name("eve")), Purpose::Client);
    let define = Define { number: 0, program: program(), memory: 0 };
    bench.say(OTHER, 0, Message::Define(define));
    let head = RunHead {
        program: 0,
        attempt: 1,
        deadline: Span(0),
        input: Input::Inline,
        name: TaskName::default(),
    };
    let run = Message::Run(Run { head, inline: Bytes::new() });
    assert_eq!(bench.say(OTHER, 7, run), "start 0");
    let absent = Event::LibraryAbsent { worker: WorkerId(0), library: hash };
    let said = bench.handle(vec![absent]);
    assert!(said.starts_with("1: known false, 1: returned [7]"), "{said}");
    assert!(!said.contains("delete"), "{said}");
    let have = Message::Have(wire::blob::Have { hash });
    assert_eq!(bench.say(CLIENT, 5, have), "0: known true");
}

#[test]
fn a_job_of_a_controller_that_is_gone_is_not_the_last_clients() {
    let mut bench = Bench::with_client("you");
    bench.handle(vec![Event::Closed { link: CLIENT }]);
    let asked = |id, request| {
        let event = controllers::Event::Asked(controllers::Asked { id, weight: 128, request });
        Event::Controller { link: CLIENT, event }
    };
    let (bound, hash) = (slots::Bound(1), Hash::of(b"core"));
    bench.handle(vec![
        Event::ControllerUp { link: CLIENT, owner: name("v1-1") },
        asked(1, controllers::Request::Version(1)),
        asked(2, controllers::Request::Core { name: "core".to_owned(), hash, bound }),
    ]);
    bench.worker_ready(0);
    bench.handle(vec![asked(3, controllers::Request::Job { input: Payload::empty() })]);
    let (status, output) = (Status::Finished { code: 0 }, Payload::empty());
    let finished = Finished { status, ran: Span(1), output, times: Times::default() };
    bench.handle(vec![
        Event::WorkerDone { worker: WorkerId(0), sequence: 0, finished },
        Event::Closed { link: CLIENT },
    ]);
    bench.greet(OTHER, Peer::Admin(name("boss")), Purpose::Client);
    let ask = Message::WhyAsk(wire::job::WhyAsk { name: TaskName::default() });
    let Some(Message::Why(why)) = answer(&mut bench, OTHER, ask) else { panic!("no answer") };
    assert_eq!(why.ended, []);
}
