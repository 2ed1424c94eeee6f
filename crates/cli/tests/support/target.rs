//! A node that is attacked, and what is to become of the attackers.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use client::Cluster;
use transport::{Authority, Credentials, DialTls, Role};
use wire::Message;
use wire::hello::{Goodbye, Purpose};
use wire::limits::STRANGER_PATIENCE;

use super::process::memory;
use super::raw::Raw;
use super::{Machine, PATIENCE, Running};

/// What a node's memory may grow by under attack, in KiB: its own buffers, and no more.
const GROWTH: u64 = 24 << 10;

/// A node under attack.
pub(crate) struct Target {
    pub(crate) machine: Machine,
    pub(crate) node: Running,
    pub(crate) address: String,
    pub(crate) specimen: String,
    memory: u64,
}

impl Target {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// A node that was told more.
    pub(crate) fn start_with(words: &str) -> Self {
        let machine = Machine::new();
        let specimen = machine.core("misbehaving/specimen.c");
        let (node, address) = machine.start_node(&format!("--name target --slots 1 {words}"));
        let mut this = Self { machine, node, address, specimen, memory: 0 };
        // What an honest client makes it need is not the attackers' doing.
        this.check_serves();
        this.memory = memory(this.pid());
        this
    }

    pub(crate) fn pid(&self) -> u32 {
        self.node.child.id()
    }

    pub(crate) fn check_serves(&self) {
        let cluster = Cluster::connect_with([&self.address], &self.machine.home()).unwrap();
        let core = cluster.core(&self.specimen).unwrap();
        assert_eq!(core.run("echo well").unwrap().as_ref(), b"well");
    }

    /// It is as it was.
    #[track_caller]
    pub(crate) fn check_unharmed(&self) {
        let now = memory(self.pid());
        assert!(now < self.memory + GROWTH, "it grew from {} to {now} KiB", self.memory);
        self.check_serves();
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::load(&self.machine.home()).unwrap().unwrap()
    }

    pub(crate) fn issue(&self, role: Role, name: &str) -> Credentials {
        let name = name.parse::<transport::Name>().unwrap();
        self.authority().issue(role, &name, SystemTime::now()).unwrap()
    }

    pub(crate) fn peer(&self, role: Role, name: &str) -> Raw {
        Raw::dial(&self.address, &DialTls::new(&self.issue(role, name)).unwrap())
    }

    pub(crate) fn stranger(&self) -> Raw {
        Raw::dial(&self.address, &DialTls::join(self.authority().fingerprint()).unwrap())
    }

    /// A client that is let in; the token of its link.
    pub(crate) fn client(&self, name: &str) -> (Raw, u64) {
        let mut raw = self.peer(Role::Client, name);
        let token = raw.greet(Purpose::Client).link;
        (raw, token)
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Everything that the node has said on its standard error; it is ended for that.
    pub(crate) fn log(mut self) -> String {
        self.node.signal("TERM");
        self.node.child.wait().unwrap();
        let mut text = String::new();
        self.node.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

/// The node hangs up at once; whatever it said before, if it says anything.
#[track_caller]
pub(crate) fn check_closed(mut stream: &TcpStream) -> Vec<u8> {
    let begin = Instant::now();
    let mut said = Vec::new();
    if let Err(error) = stream.read_to_end(&mut said) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    assert!(
        begin.elapsed() < Duration::from(STRANGER_PATIENCE),
        "it was closed only by its time limit"
    );
    said
}

/// It is told that it broke the protocol, or nothing, and the node hangs up.
#[track_caller]
pub(crate) fn check_breach(what: &str, raw: &mut Raw) {
    for message in raw.last_words() {
        if let Message::Goodbye(goodbye) = message {
            assert!(matches!(goodbye, Goodbye::Protocol { .. }), "{what}: {goodbye:?}");
        }
    }
}

#[track_caller]
pub(crate) fn check_forbidden(what: &str, raw: &mut Raw) {
    let last = raw.last_words().pop();
    assert!(matches!(&last, Some(Message::Goodbye(Goodbye::Forbidden { .. }))), "{what}: {last:?}");
}
