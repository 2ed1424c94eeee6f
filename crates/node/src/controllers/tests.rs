//! What connections hold of a node, with the machine and real sockets, and a worker that is played.

use std::io::Write;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use logic::WorkerId;
use logic::node::{Event as NodeEvent, Options};
use logic::slots::{self, Finished};
use mio::Poll;
use transport::Connection;
use wire::member::{Member, State};
use wire::task::{Status, Times};
use wire::units::Span;

use super::*;

const KIB: u64 = 1024;

struct Bench {
    poll: Poll,
    links: Links,
    node: Node,
    controllers: Controllers,
    buffers: Buffers,
    now: Time,
    /// Jobs that are at a worker.
    running: VecDeque<(WorkerId, u64)>,
}

/// A controller's end, and what it has to say yet.
struct Peer {
    link: LinkId,
    stream: UnixStream,
    unsaid: Vec<u8>,
}

impl Bench {
    /// A node whose connections together hold so many bytes of large inputs.
    fn new(inputs_max: u64) -> Self {
        let me = Member {
            name: "me".parse().expect("a name"),
            life: 1,
            addresses: Vec::new(),
            slots: 8,
            state: State::Here,
        };
        let (agent, grace) = ("test".to_owned(), Span::from_secs(1));
        let controllers = logic::controllers::Options::default();
        let options = Options { agent, me, grace, controllers };
        Self {
            poll: Poll::new().expect("a queue"),
            links: Links::default(),
            node: Node::new(Time(1), options),
            controllers: Controllers { inputs_max, ..Controllers::new(inputs_max) },
            buffers: Buffers::default(),
            now: Time(1),
            running: VecDeque::new(),
        }
    }

    /// A controller whose core is loaded.
    fn load(&mut self) -> Peer {
        let (ours, stream) = UnixStream::pair().expect("sockets");
        ours.set_nonblocking(true).expect("a socket");
        stream.set_nonblocking(true).expect("a socket");
        let connection = Connection::plain(mio::net::UnixStream::from_std(ours));
        let registry = self.poll.registry();
        let link = self.links.insert_controller(registry, self.now, connection).expect("a place");
        let owner = self.controllers.open(self.now, link, "peer", &self.buffers);
        self.node.handle(self.now, NodeEvent::ControllerUp { link, owner });
        let mut output = BytesMut::new();
        protocol::put_version(&mut output, 1, protocol::VERSION);
        protocol::put_core(&mut output, 2, "core", 4);
        output.extend_from_slice(b"core");
        let mut peer = Peer { link, stream, unsaid: output.to_vec() };
        self.turns(&mut [&mut peer]);
        peer
    }

    /// Turns of the loop, until nothing moves any more.
    fn turns(&mut self, peers: &mut [&mut Peer]) {
        let mut quiet = 0;
        while quiet < 3 {
            for peer in peers.iter_mut() {
                let said = peer.stream.write(&peer.unsaid).unwrap_or(0);
                peer.unsaid.drain(..said);
                self.links.read_again(peer.link);
                quiet = if said > 0 { 0 } else { quiet };
            }
            let before = self.controllers.inputs;
            for link in self.links.take_unread() {
                let (links, node) = (&mut self.links, &mut self.node);
                if !self.controllers.read(self.now, link, links, node, &self.buffers) {
                    self.drop_link(link);
                }
            }
            self.settle();
            quiet = if self.controllers.inputs == before { quiet + 1 } else { 0 };
        }
    }

    fn settle(&mut self) {
        loop {
            self.node.settle(self.now);
            let mut any = false;
            while let Some(effect) = self.node.poll_effect() {
                any = true;
                match effect {
                    node::Effect::Controller(effect) => {
                        self.controllers.carry_out(&mut self.links, &self.buffers, effect);
                    }
                    node::Effect::Worker(slots::Effect::Start { worker, .. }) => {
                        let ready = NodeEvent::WorkerReady { worker, result: Ok(()) };
                        self.node.handle(self.now, ready);
                    }
                    node::Effect::Worker(slots::Effect::Execute { worker, sequence, .. }) => {
                        self.running.push_back((worker, sequence));
                    }
                    node::Effect::Worker(slots::Effect::Release { buffer }) => {
                        self.buffers.release(buffer);
                    }
                    _ => {}
                }
            }
            if !any {
                break;
            }
        }
        self.links.flush(self.poll.registry());
        let (registry, buffers) = (self.poll.registry(), &self.buffers);
        self.controllers.flush(self.now, &mut self.links, registry, buffers);
    }

    fn drop_link(&mut self, link: LinkId) {
        self.links.remove(self.poll.registry(), link);
        self.controllers.forget(&self.buffers, link);
        self.node.handle(self.now, NodeEvent::Closed { link });
    }

    /// The job that began first ends.
    fn finish(&mut self) -> bool {
        let Some((worker, sequence)) = self.running.pop_front() else { return false };
        let (status, output) = (Status::Finished { code: 0 }, Payload::Inline(Bytes::new()));
        let finished = Finished { status, ran: Span(1), output, times: Times::default() };
        self.node.handle(self.now, NodeEvent::WorkerDone { worker, sequence, finished });
        self.settle();
        true
    }
}

impl Peer {
    fn job(&mut self, id: u64, length: u64) {
        let mut output = BytesMut::new();
        protocol::put_job(&mut output, id, 0, length);
        output.resize(output.len() + length as usize, 7);
        self.unsaid.extend_from_slice(&output);
    }

    /// The ids of its answers since the last call, and the words of those that are errors.
    fn answers(&mut self) -> Vec<(u64, String)> {
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut self.stream, &mut bytes);
        let mut rest = &bytes[..];
        let mut answers = Vec::new();
        while let Some(header) = Header::peek(rest) {
            let payload = &rest[HEADER..HEADER + header.length as usize];
            let is_error = header.kind == protocol::Type::ERROR;
            let text = if is_error { String::from_utf8_lossy(payload) } else { "".into() };
            answers.push((header.channel, text.into_owned()));
            rest = &rest[HEADER + payload.len()..];
        }
        answers
    }
}

#[test]
fn large_inputs_of_all_connections_are_read_ahead_up_to_half_of_their_bound() {
    let mut bench = Bench::new(2048 * KIB);
    let (mut one, mut other) = (bench.load(), bench.load());
    assert_eq!((one.answers().len(), other.answers().len()), (2, 2));
    for id in 10..40 {
        one.job(id, 128 * KIB);
        other.job(id, 128 * KIB);
    }
    bench.turns(&mut [&mut one, &mut other]);
    let held = bench.controllers.inputs;
    assert!((1024 * KIB..1536 * KIB).contains(&held), "{held}");
    // Nobody is refused, and nobody waits for ever.
    while bench.finish() {
        bench.turns(&mut [&mut one, &mut other]);
        assert!(bench.controllers.inputs < 1536 * KIB);
    }
    let want: Vec<(u64, String)> = (10..40).map(|id| (id, String::new())).collect();
    assert_eq!((one.answers(), other.answers()), (want.clone(), want));
    assert_eq!(bench.controllers.inputs, 0);
}

#[test]
fn inputs_beyond_the_bound_of_all_are_refused_and_the_next_is_taken() {
    let mut bench = Bench::new(2048 * KIB);
    let (mut one, mut other) = (bench.load(), bench.load());
    assert_eq!((one.answers().len(), other.answers().len()), (2, 2));
    one.job(10, 1500 * KIB);
    other.job(10, 1500 * KIB);
    other.job(11, KIB);
    bench.turns(&mut [&mut one, &mut other]);
    while bench.finish() {
        bench.turns(&mut [&mut one, &mut other]);
    }
    let answers = [one.answers(), other.answers()].concat();
    let refused = "the node holds too many inputs already; try again later";
    let of_large: Vec<&str> =
        answers.iter().filter(|(id, _)| *id == 10).map(|(_, text)| &**text).collect();
    assert!(of_large.contains(&refused) && of_large.contains(&""), "{answers:?}");
    assert!(answers.contains(&(11, String::new())), "{answers:?}");
    assert_eq!(bench.controllers.inputs, 0);
}

#[test]
fn a_message_that_stands_still_is_given_up_and_one_that_moves_is_not() {
    let mut bench = Bench::new(2048 * KIB);
    let mut peer = bench.load();
    bench.now = bench.now + Span::from_secs(1000);
    peer.job(10, 128 * KIB);
    let rest = peer.unsaid.split_off(1000);
    bench.turns(&mut [&mut peer]);
    assert_eq!(bench.controllers.poll_timeout(), bench.now + ARRIVAL_PATIENCE);
    bench.now = bench.now + Span::from_secs(100);
    peer.unsaid = rest[..1000].to_vec();
    bench.turns(&mut [&mut peer]);
    assert_eq!(bench.controllers.poll_timeout(), bench.now + ARRIVAL_PATIENCE);
    bench.now = bench.now + ARRIVAL_PATIENCE;
    assert_eq!(bench.controllers.overdue(bench.now), [peer.link]);
    bench.drop_link(peer.link);
    assert_eq!((bench.controllers.inputs, bench.controllers.held), (0, 0));
    assert_eq!(bench.controllers.poll_timeout(), Time::NEVER);
}

#[test]
fn free_buffers_of_guests_have_one_bound() {
    let buffers = Buffers::default();
    let owners: Vec<Name> = (0..10).map(|at| format!("v1-{at}").parse().expect("a name")).collect();
    let mut all = Vec::new();
    for owner in &owners {
        buffers.expect_guest(owner);
        all.push(buffers.take(owner, 64 << 20).expect("memory").id);
    }
    for id in all {
        buffers.release(id);
    }
    // Four of ten are kept for their owners.
    assert_eq!(buffers.take_gone().len(), 6);
    owners.iter().for_each(|owner| buffers.forget(owner));
    assert_eq!(buffers.take_gone().len(), 4);
    buffers.expect_guest(&owners[9]);
    let last = buffers.take(&owners[9], 64 << 20).expect("memory").id;
    buffers.release(last);
    assert_eq!(buffers.take_gone(), [], "there is room again");
}
