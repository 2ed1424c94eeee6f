//! Hosts made of network namespaces: each has an address, files and processes of its own, and a cable
//! to one switch that can be pulled.
//!
//! ```text
//!   a ── eth0 ──┐
//!   b ── eth0 ──┤ switch (a bridge in a namespace of its own: nothing here touches the machine's)
//!   c ── eth0 ──┘
//! ```
//!
//! They need root and `ip`. They go with the test, also after a panic; those of a test that was killed
//! go with the next one.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sched::{CloneFlags, setns};

use super::{Machine, Ran, Running, skipped, under};

/// What namespaces of these tests are called: then the process, the test, the host.
const PREFIX: &str = "farcall";
static TESTS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Hosts {
    tag: String,
    count: Cell<u8>,
}

/// One of them.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) machine: Machine,
    namespace: String,
    number: u8,
    switch: String,
}

/// Runs `ip` with these words, parted by blanks; what went wrong, if anything.
fn try_ip(words: &str) -> Result<String, String> {
    let ran = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("cannot run ip (package iproute2): {error}"))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}

#[track_caller]
fn ip(words: &str) {
    try_ip(words).unwrap_or_else(|error| panic!("{error}"));
}

/// Removes what tests have left that were killed.
fn sweep() {
    let list = try_ip("netns list").unwrap_or_default();
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let mut parts = name.split('-');
        let ours = parts.next() == Some(PREFIX);
        let process = parts.next().and_then(|pid| pid.parse::<u32>().ok());
        if let (true, Some(pid)) = (ours, process)
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = try_ip(&format!("netns del {name}"));
            let _ = fs::remove_dir_all(Path::new("/etc/netns").join(name));
        }
    }
}

impl Hosts {
    /// Nothing, said aloud, where hosts cannot be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        sweep();
        let number = TESTS.fetch_add(1, Ordering::Relaxed);
        let this =
            Self { tag: format!("{PREFIX}-{}-{number}", std::process::id()), count: Cell::new(0) };
        let switch = this.switch();
        if let Err(why) = try_ip(&format!("netns add {switch}")) {
            skipped(&format!("{test} needs network namespaces (root and iproute2): {why}"));
            return None;
        }
        ip(&format!("-n {switch} link add name switch0 type bridge forward_delay 0"));
        ip(&format!("-n {switch} link set switch0 up"));
        Some(this)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.tag)
    }

    pub(crate) fn host(&self, name: &str) -> Host {
        let number = self.count.get() + 1;
        self.count.set(number);
        let (namespace, switch) = (format!("{}-{name}", self.tag), self.switch());
        ip(&format!("netns add {namespace}"));
        ip(&format!(
            "link add p{number} netns {switch} type veth peer name eth0 netns {namespace}"
        ));
        ip(&format!("-n {switch} link set p{number} master switch0 up"));
        ip(&format!("-n {namespace} link set lo up"));
        ip(&format!("-n {namespace} link set eth0 up"));
        ip(&format!("-n {namespace} addr add 10.77.0.{number}/24 dev eth0"));
        ip(&format!("-n {namespace} addr add fd77::{number:x}/64 dev eth0 nodad"));
        Host { name: name.to_owned(), machine: Machine::new(), namespace, number, switch }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let list = try_ip("netns list").unwrap_or_default();
        for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
            if name.starts_with(&format!("{}-", self.tag)) {
                let _ = try_ip(&format!("netns del {name}"));
                let _ = fs::remove_dir_all(Path::new("/etc/netns").join(name));
            }
        }
    }
}

impl Host {
    pub(crate) fn address(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    pub(crate) fn address_6(&self) -> String {
        format!("fd77::{:x}", self.number)
    }

    /// `farcall` with these words, on this host.
    pub(crate) fn command(&self, words: &str) -> Command {
        self.here(&self.machine.command(words.split_whitespace()))
    }

    /// The same command on this host.
    pub(crate) fn here(&self, command: &Command) -> Command {
        under(&["ip", "netns", "exec", &self.namespace], command)
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    pub(crate) fn start(&self, words: &str) -> Running {
        Running::of(&mut self.command(words))
    }

    /// Starts a node of the host's name, at its address.
    pub(crate) fn start_node(&self, words: &str) -> Running {
        let (name, address) = (&self.name, self.address());
        let mut node = self.start(&format!("node --name {name} --listen {address}:4114 {words}"));
        node.line_with("listening at 10.");
        node
    }

    /// A token that this host's authority gives.
    pub(crate) fn token(&self, role: &str) -> String {
        self.run(&format!("auth token --role {role}")).stdout.trim().to_owned()
    }

    /// A node that joins the one on `first`.
    pub(crate) fn join_node(&self, first: &Host, words: &str) -> Running {
        let (at, token) = (first.address(), first.token("node"));
        self.start_node(&format!("--join {at} --token {token} {words}"))
    }

    /// A client of the cluster that the node on `first` has begun.
    pub(crate) fn join_client(&self, first: &Host) {
        let (at, token) = (first.address(), first.token("client"));
        let name = &self.name;
        self.run(&format!("auth join {at} --token {token} --name {name}")).says("client");
    }

    /// Does something in a thread of this host: what it connects to, it connects to from here.
    pub(crate) fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let path = Path::new("/run/netns").join(&self.namespace);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Pulls the cable: what is sent either way is lost, and nobody is told.
    pub(crate) fn pull(&self) {
        ip(&format!("-n {} link set p{} down", self.switch, self.number));
    }

    pub(crate) fn plug(&self) {
        ip(&format!("-n {} link set p{} up", self.switch, self.number));
    }

    /// `ip` with these words, on this host.
    #[track_caller]
    pub(crate) fn ip(&self, words: &str) {
        ip(&format!("-n {} {words}", self.namespace));
    }

    /// Makes names known on this host.
    pub(crate) fn know(&self, names: &[(&str, &str)]) {
        let folder = Path::new("/etc/netns").join(&self.namespace);
        fs::create_dir_all(&folder).unwrap();
        let lines = names.iter().map(|(name, address)| format!("{address} {name}\n"));
        fs::write(folder.join("hosts"), lines.collect::<String>()).unwrap();
    }

    /// Bytes that have left this host by its cable.
    pub(crate) fn sent(&self) -> u64 {
        let table = self.inside(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let line = table.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        line.split_whitespace().nth(8).unwrap().parse().unwrap()
    }
}
