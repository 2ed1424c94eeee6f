//! A program does something elsewhere, with all of its memory, and goes on here with what that came to.
//!
//! `cargo run -p farcall-telefork --example yoyo -- serve 127.0.0.1:7335`, and elsewhere
//! `cargo run -p farcall-telefork --example yoyo -- go 127.0.0.1:7335 100`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write, stdout};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::id;
use std::time::Duration;

use farcall_telefork::yoyo::{Journey, Returning, Stayed, Watch, go};
use farcall_telefork::{Pid, telepad_with, wait_for_exit};

/// How long it may take until somebody answers over there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is not to be seen elsewhere.
const KEY: [u8; 32] = *b"nobody over there is to see this";

/// The same, turned over: what is hidden is hidden in this program's own constants, too.
const TURNED: [u8; 32] = {
    let mut turned = KEY;
    let mut at = 0;
    while at < turned.len() {
        turned[at] = !turned[at];
        at += 1;
    }
    turned
};

/// As many as lie right below where the heap ends, and no mapping of their own.
const KEYS: usize = 4000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    match &args[..] {
        [_, role, address] if role == "serve" => serve(address),
        [_, role, address, rounds] if role == "go" => program(address, rounds.parse()?),
        _ => Err("usage: yoyo serve ADDRESS, or yoyo go ADDRESS ROUNDS".into()),
    }
}

/// Wakes who comes, one after the other; the connection is the standard output of the copy.
fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("listening at {}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept()?;
        let back = OwnedFd::from(stream.try_clone()?);
        wait_for_exit(telepad_with(&mut stream, 0, vec![(1, back)])?)?;
    }
}

/// What the helper does for a caller that stands still.
fn carry(address: &str, caller: Pid, watch: &Watch) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    watch.stop();
    let mut journey = Journey::begin(caller, |_| false)?;
    journey.hide(&[&KEY])?;
    journey.send(&mut stream)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    Ok(journey.land(&back)?)
}

fn send(returning: &Returning<'_>) -> Result<(), Box<dyn Error>> {
    let mut to = File::from(stdout().as_fd().try_clone_to_owned()?);
    returning.send(&mut to)?;
    Ok(to.flush()?)
}

fn words(error: Box<dyn Error>) -> String {
    error.to_string()
}

/// Runs a closure elsewhere.
fn yoyo<T>(address: &str, there: impl FnOnce() -> T) -> Result<T, Stayed> {
    let away = go(PATIENCE, |caller, watch| carry(address, caller, watch).map_err(words))?;
    let result = there();
    away.home(|returning| send(returning).map_err(words));
    Ok(result)
}

fn program(address: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let own = id();
    let mut words: HashMap<String, usize> = HashMap::new();
    let mut numbers = vec![1_u64; 300_000];
    let mut actions: Vec<Box<dyn Fn(usize) -> usize>> = Vec::new();
    let mut keys = vec![KEY; KEYS];
    let mut grown: Vec<Vec<u8>> = Vec::new();
    for round in 0..rounds {
        keys.fill(KEY);
        let there = yoyo(address, || {
            words.insert(format!("word {round}"), round);
            numbers.resize(numbers.len() + 1000, 7);
            numbers[round] += 1;
            actions.push(Box::new(move |add| round + add));
            let unseen =
                keys.iter().all(|key| key.map(|byte| !byte) != std::hint::black_box(TURNED));
            keys[1..].fill([round as u8; KEY.len()]);
            grown.extend((0..50).map(|_| vec![round as u8; 1000]));
            unseen.then(id)
        });
        let there = match there {
            Ok(there) => there,
            Err(Stayed(why)) => {
                let untouched = words.len() == round && numbers.iter().all(|number| *number == 1);
                return Err(format!("{why}; here all is as it was: {untouched}").into());
            }
        };
        if there.is_none() || there == Some(own) || id() != own {
            return Err("it did not run elsewhere, or saw what it was not to see".into());
        }
        if keys[0] != KEY || keys[1..].iter().any(|key| *key != [round as u8; KEY.len()]) {
            return Err("what lay where keys had been is wrong".into());
        }
    }
    let is_right = (0..rounds).all(|round| {
        words.get(&format!("word {round}")) == Some(&round)
            && numbers[round] == 2
            && actions[round](5) == round + 5
    });
    let is_grown = (0..).zip(&grown).all(|(at, it)| *it == [(at / 50) as u8; 1000]);
    if !is_right || !is_grown || words.len() != rounds || numbers.len() != 300_000 + 1000 * rounds {
        return Err("what came back is wrong".into());
    }
    println!("{} words, {} numbers, {} actions", words.len(), numbers.len(), actions.len());
    println!("{} descriptors", std::fs::read_dir("/proc/self/fd")?.count());
    let children = std::fs::read_to_string(format!("/proc/self/task/{own}/children"))?;
    println!("children: {:?}", children.trim());
    println!("{} mappings", std::fs::read_to_string("/proc/self/maps")?.lines().count());
    Ok(())
}
