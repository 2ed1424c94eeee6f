//! What TLS over `Connection` costs beside raw TCP and beside rustls' buffered interface.
//!
//! `cargo run --release -p farcall-transport --example pingpong` starts itself again as the other
//! side (with one of the kinds as argument: for that alone), so two unpinned processes talk over loopback. The kinds take turns, and the median of five
//! turns is printed: 64-byte ping-pong, then one GiB one way, with the processor time of both sides.
//!
//! - `tcp`: blocking read and write; `poll`: the same behind mio, as `Connection` is driven;
//! - `rustls`: its buffered interface on blocking sockets; `farcall`: `Connection` over TCP;
//! - `unix`: `Connection` over a Unix socket, plain.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark on the console")]

use bytes::BufMut;
use farcall_transport::{
    Authority, Connection, Credentials, DialTls, FlushOutcome, ListenTls, Name, ReadOutcome, Role,
};
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

const MESSAGE: usize = 64;
const ROUNDS: usize = 20_000;
const BULK: usize = 1 << 30;
const CHUNK: usize = 256 * 1024;
const TURNS: usize = 5;
const KINDS: [&str; 5] = ["tcp", "poll", "rustls", "farcall", "unix"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [kind, folder] => serve(kind, Path::new(folder)),
        [] => compare(&KINDS),
        only => compare(&[only[0].as_str()]),
    }
}

/// p50, p99, rate and processor time of each turn.
type Row = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

fn compare(kinds: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("credentials");
    credentials(&folder, Role::Node);
    let mut table: Vec<Row> = vec![Default::default(); kinds.len()];
    for _ in 0..TURNS {
        for (kind, row) in kinds.iter().zip(&mut table) {
            let (mut server, address) = start(kind, &folder);
            let mut link = dial(kind, &address, &folder);
            let mut times = ping(link.as_mut());
            times.sort_unstable();
            row.0.push(times[ROUNDS / 2] as f64 / 1e3);
            row.1.push(times[ROUNDS * 99 / 100] as f64 / 1e3);
            let before = processor_seconds(server.id());
            row.2.push(bulk(link.as_mut()));
            row.3.push(processor_seconds(server.id()) - before);
            drop(link);
            server.wait().unwrap();
        }
    }
    let base = (median(&table[0].0), median(&table[0].2));
    println!("kind       p50 us   x tcp   p99 us     GB/s   x tcp  processor s");
    for (kind, (p50, p99, rate, processor)) in kinds.iter().zip(&table) {
        let (p50, p99, rate) = (median(p50), median(p99), median(rate));
        let (slower, faster, processor) = (p50 / base.0, rate / base.1, median(processor));
        println!(
            "{kind:8} {p50:8.1} {slower:7.2} {p99:8.1} {rate:8.2} {faster:7.2} {processor:12.2}"
        );
    }
}

/// What this process and the other have used so far: steadier than the clock on a busy machine.
fn processor_seconds(other: u32) -> f64 {
    let ticks = |path: String| {
        let stat = std::fs::read_to_string(path).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let both = ticks("/proc/self/stat".to_owned()) + ticks(format!("/proc/{other}/stat"));
    both as f64 / 100.0
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ping(link: &mut dyn Link) -> Vec<u64> {
    let mut message = [7; MESSAGE];
    let mut once = || {
        let start = Instant::now();
        link.send(&message);
        link.receive(&mut message);
        start.elapsed().as_nanos() as u64
    };
    for _ in 0..ROUNDS / 10 {
        once();
    }
    (0..ROUNDS).map(|_| once()).collect()
}

fn bulk(link: &mut dyn Link) -> f64 {
    let chunk = vec![5; CHUNK];
    link.send(&[0; MESSAGE]);
    let start = Instant::now();
    for _ in 0..BULK / CHUNK {
        link.send(&chunk);
    }
    link.receive(&mut [0; 1]);
    BULK as f64 / 1e9 / start.elapsed().as_secs_f64()
}

/// The other process: echoes messages until one is all zeros, then swallows the bulk.
fn serve(kind: &str, folder: &Path) {
    let mut link = answer(kind, folder);
    let mut message = [1; MESSAGE];
    loop {
        link.receive(&mut message);
        if message[0] == 0 {
            break;
        }
        link.send(&message);
    }
    link.swallow(BULK);
    link.send(&[1]);
    // The first side hangs up.
    link.wait_for_end();
}

fn start(kind: &str, folder: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([kind.as_ref(), folder.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut address).unwrap();
    (child, address.trim().to_owned())
}

fn credentials(folder: &Path, role: Role) -> Credentials {
    let name = "pingpong".parse::<Name>().unwrap();
    Credentials::load_or_create(folder, role, &name, SystemTime::now()).unwrap()
}

fn dial(kind: &str, address: &str, folder: &Path) -> Box<dyn Link> {
    let tcp = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    match kind {
        "tcp" => Box::new(Blocking(tcp())),
        "poll" => Box::new(Polled::new(tcp())),
        "rustls" => {
            let config = Arc::new(buffered(folder).0);
            let name = "node.farcall".try_into().unwrap();
            let session = rustls::ClientConnection::new(config, name).unwrap();
            Box::new(Blocking(rustls::StreamOwned::new(session, tcp())))
        }
        "farcall" => {
            let tls = DialTls::new(&credentials(folder, Role::Client)).unwrap();
            let connection = Connection::dial(address.parse().unwrap(), &tls).unwrap();
            Box::new(Driven::new(connection))
        }
        _ => {
            let stream = UnixStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            Box::new(Driven::new(Connection::plain(mio::net::UnixStream::from_std(stream))))
        }
    }
}

fn answer(kind: &str, folder: &Path) -> Box<dyn Link> {
    if kind == "unix" {
        let path = folder.join(format!("socket-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        println!("{}", path.display());
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        return Box::new(Driven::new(Connection::plain(mio::net::UnixStream::from_std(stream))));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let (stream, from) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    match kind {
        "tcp" => Box::new(Blocking(stream)),
        "poll" => Box::new(Polled::new(stream)),
        "rustls" => {
            let config = Arc::new(buffered(folder).1);
            let session = rustls::ServerConnection::new(config).unwrap();
            Box::new(Blocking(rustls::StreamOwned::new(session, stream)))
        }
        _ => {
            let tls = ListenTls::new(&credentials(folder, Role::Node)).unwrap();
            stream.set_nonblocking(true).unwrap();
            let stream = mio::net::TcpStream::from_std(stream);
            Box::new(Driven::new(Connection::accept(stream, from, &tls).unwrap()))
        }
    }
}

/// rustls as one would use it first, with the same cipher and the same certificates.
fn buffered(folder: &Path) -> (rustls::ClientConfig, rustls::ServerConfig) {
    use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
    let authority = Authority::load(folder).unwrap().unwrap().certificate().clone();
    let pem = std::fs::read(folder.join("node.pem")).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..default_provider()
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (client, server)
}

/// One end of a conversation, whatever carries it.
trait Link {
    fn send(&mut self, bytes: &[u8]);
    fn receive(&mut self, bytes: &mut [u8]);
    fn swallow(&mut self, count: usize);
    fn wait_for_end(&mut self);
}

struct Blocking<S>(S);

impl<S: Read + Write> Link for Blocking<S> {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).unwrap();
    }

    fn swallow(&mut self, mut count: usize) {
        let mut buffer = vec![0; CHUNK];
        while count > 0 {
            count -= self.0.read(&mut buffer).unwrap();
        }
    }

    fn wait_for_end(&mut self) {
        let _ = self.0.read(&mut [0]);
    }
}

struct Polled {
    stream: mio::net::TcpStream,
    poll: Poll,
    events: Events,
}

impl Polled {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        let mut stream = mio::net::TcpStream::from_std(stream);
        let poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(0), both).unwrap();
        Self { stream, poll, events: Events::with_capacity(4) }
    }

    fn wait(&mut self) {
        self.poll.poll(&mut self.events, None).unwrap();
    }

    fn read_some(&mut self, bytes: &mut [u8]) -> usize {
        loop {
            match self.stream.read(bytes) {
                Ok(count) => return count,
                Err(_) => self.wait(),
            }
        }
    }
}

impl Link for Polled {
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => self.wait(),
            }
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let mut have = 0;
        while have < bytes.len() {
            self.wait();
            have += self.read_some(&mut bytes[have..]);
        }
    }

    fn swallow(&mut self, mut count: usize) {
        let mut buffer = vec![0; CHUNK];
        while count > 0 {
            count -= self.read_some(&mut buffer);
        }
    }

    fn wait_for_end(&mut self) {
        let _ = self.read_some(&mut [0]);
    }
}

struct Driven {
    connection: Connection,
    poll: Poll,
    events: Events,
}

impl Driven {
    fn new(mut connection: Connection) -> Self {
        let poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut connection, Token(0), both).unwrap();
        let mut this = Self { connection, poll, events: Events::with_capacity(4) };
        while !this.connection.is_ready() {
            this.wait();
            this.connection.read().unwrap();
            this.connection.flush().unwrap();
        }
        this
    }

    fn wait(&mut self) {
        self.poll.poll(&mut self.events, None).unwrap();
        for event in &self.events {
            self.connection.observe(event);
        }
    }

    /// Reads until at least `count` bytes are there.
    fn fill(&mut self, count: usize) {
        let mut outcome = ReadOutcome::Drained;
        while self.connection.input().len() < count {
            if outcome == ReadOutcome::Drained {
                self.wait();
            }
            outcome = self.connection.read().unwrap();
        }
    }
}

impl Link for Driven {
    fn send(&mut self, mut bytes: &[u8]) {
        if bytes.len() < CHUNK {
            self.connection.output().put_slice(bytes);
            bytes = &[];
        }
        loop {
            let taken = self.connection.send(bytes).unwrap();
            bytes = &bytes[taken..];
            if bytes.is_empty() && self.connection.flush().unwrap() == FlushOutcome::Done {
                return;
            }
            self.wait();
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        self.fill(bytes.len());
        let frame = self.connection.input().split_to(bytes.len()).freeze();
        bytes.copy_from_slice(&frame);
    }

    fn swallow(&mut self, mut count: usize) {
        let mut outcome = ReadOutcome::More;
        loop {
            count -= self.connection.input().len();
            self.connection.input().clear();
            if count == 0 {
                return;
            }
            if outcome == ReadOutcome::Drained {
                self.wait();
            }
            outcome = self.connection.read().unwrap();
        }
    }

    fn wait_for_end(&mut self) {
        while matches!(self.connection.read(), Ok(ReadOutcome::Drained | ReadOutcome::More)) {
            self.wait();
        }
    }
}
