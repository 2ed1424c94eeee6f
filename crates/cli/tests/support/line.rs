//! A line that is slow: so many bytes in a second, and each of them late.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces of one connection that are on the line at once; who sends more has to wait.
const PIECES: usize = 64;
const PIECE: usize = 4096;

/// A proxy in front of a node. All of its connections share the line, each way.
pub(crate) struct Line {
    pub(crate) address: String,
}

struct Piece {
    bytes: Vec<u8>,
    /// Not before it has come through the line.
    due: Instant,
}

impl Line {
    pub(crate) fn start(target: &str, latency: Duration, rate: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = target.to_owned();
        let ways = [Way::new(latency, rate), Way::new(latency, rate)];
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(node) = TcpStream::connect(&target) else { continue };
                let _ = (client.set_nodelay(true), node.set_nodelay(true));
                let ends = (client.try_clone().unwrap(), node.try_clone().unwrap());
                carry(client, node, ways[0].clone());
                carry(ends.1, ends.0, ways[1].clone());
            }
        });
        Self { address }
    }
}

/// One direction, and when it is free for the next piece.
#[derive(Clone)]
struct Way {
    latency: Duration,
    rate: usize,
    free: Arc<Mutex<Instant>>,
}

impl Way {
    fn new(latency: Duration, rate: usize) -> Self {
        Self { latency, rate, free: Arc::new(Mutex::new(Instant::now())) }
    }

    /// When a piece of this length will have come through.
    fn book(&self, length: usize) -> Instant {
        let takes = Duration::from_secs_f64(length as f64 / self.rate as f64);
        let mut free = self.free.lock().unwrap();
        *free = (*free).max(Instant::now()) + takes;
        *free + self.latency
    }
}

fn carry(from: TcpStream, to: TcpStream, way: Way) {
    let (sender, receiver) = sync_channel(PIECES);
    thread::spawn(move || take_in(from, &sender, &way));
    thread::spawn(move || give_out(&receiver, to));
}

fn take_in(mut from: TcpStream, sender: &SyncSender<Piece>, way: &Way) {
    loop {
        let mut bytes = vec![0; PIECE];
        let Ok(count @ 1..) = from.read(&mut bytes) else { break };
        bytes.truncate(count);
        let due = way.book(count);
        if sender.send(Piece { bytes, due }).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

fn give_out(receiver: &Receiver<Piece>, mut to: TcpStream) {
    for Piece { bytes, due } in receiver {
        // Time is what this line is made of.
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
