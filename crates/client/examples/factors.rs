//! Several processes factor a number together, with a genetic algorithm over shared pages.
//!
//! ```text
//! cargo run --release --example factors                        a number of 56 bits, three workers
//! cargo run --release --example factors -- 9123472949 5 7      another one, five workers, seed 7
//! ```
//!
//! ```text
//!   page 0        the number: ten words of 32 bits, the least significant first
//!   pages 1 to 5  the gene pool: on each page five individuals of two words
//!   page 6        the result: a factor of five words, and the other one; zero until it is found
//! ```
//!
//! This process has the pages (`farcall::netmem::Server`); the workers are processes of their own, which
//! know nothing of each other but the pool (`farcall::netmem::Client`). An *individual* is an odd number
//! that may be a factor. How *fit* it is tells the remainder: how near the number is to one of its
//! multiples. A worker reads two pages of the pool, chooses parents in tournaments, crosses their bits,
//! mutates the child, lets it find the best place in its neighbourhood (8,192 odd numbers), and puts it in
//! the place of a less fit one on a page that it has locked for that. What divides the number is
//! written to page 6, and everybody stops.
//!
//! A word about honesty: remainders lead nowhere in particular, so crossing good individuals is hardly
//! better than guessing; what finishes is the search of neighbourhoods, none of which a worker
//! visits twice. Factoring is hard. What is shown here is how programs share pages.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::collections::HashSet;
use std::io::Write;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use farcall::netmem::{Client, Server};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// 188,748,011 times 212,010,923: 56 bits.
const NUMBER: u64 = 40_016_640_026_524_153;
const WORKERS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(300);

const WORDS: usize = 10;
const LENGTH: u32 = 4 * WORDS as u32;
const POOL: std::ops::RangeInclusive<u32> = 1..=5;
const RESULT: u32 = 6;
const INDIVIDUALS: usize = WORDS / 2;
/// Bits of a number within its neighbourhood.
const NEAR: u32 = 14;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| -> Result<u64> {
        Ok(words.get(at).map(|word| word.parse()).transpose()?.unwrap_or(default))
    };
    if words.first().is_some_and(|word| word == "work") {
        work(u16::try_from(number(1, 0)?)?, number(2, 0)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    factor(number(0, NUMBER)?, number(1, WORKERS)?, number(2, 1)?)
}

/// Has the pages, starts the workers, and tells what they find.
fn factor(number: u64, workers: u64, seed: u64) -> Result<ExitCode> {
    let since = Instant::now();
    let server = Server::new(RESULT + 1, LENGTH)?;
    server.page(0).lock()?.unlock(&bytes(&[number as u32, (number >> 32) as u32]))?;
    let mut random = Random::new(seed);
    for page in POOL {
        let words: Vec<u32> = (0..WORDS).map(|_| random.draw() as u32).collect();
        server.page(page).lock()?.unlock(&bytes(&words))?;
    }
    let port = server.start(0)?.port();
    println!("factoring {number} with {workers} workers at port {port}");

    let mut children = Vec::new();
    for worker in 1..=workers {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["work", &port.to_string(), &(seed * 1000 + worker).to_string()]);
        children.push(Worker(command.spawn()?));
    }
    let mut fine = true;
    for Worker(child) in &mut children {
        loop {
            if let Some(status) = child.try_wait()? {
                fine &= status.success();
                break;
            }
            if since.elapsed() > PATIENCE {
                return Err("nothing was found in time".into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    let result = words(&server.page(RESULT).read()?.data);
    let (factor, other) = (value(&result[..5]), value(&result[5..]));
    let generations: i32 = POOL.map(|page| server.page(page).read().map_or(0, |p| p.version)).sum();
    println!("{generations} commits to the gene pool, {:.1} s", since.elapsed().as_secs_f64());
    if factor == 0 {
        println!("{number} is prime, or 1");
    } else {
        println!("{number} = {factor} * {other}");
        fine &= factor.checked_mul(other) == Some(number) && factor > 1 && other > 1;
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A process that ends with this one.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One worker: generations, until somebody has found a factor.
fn work(port: u16, seed: u64) -> Result<()> {
    let mut client = Client::connect("127.0.0.1", port)?;
    let number = value(&words(&client.read_page(0)?.data)[..2]);
    let mut search = Search::new(number, seed);
    let mut generations = 0_u64;
    while value(&words(&client.read_page(RESULT)?.data)[..5]) == 0 {
        let pages = [search.page(), search.page()];
        let mut parents = Vec::new();
        for page in pages {
            // Unless somebody has changed it, this is 13 bytes there and 13 back.
            parents.extend(individuals(&words(&client.read_page(page)?.data)));
        }
        let Some(child) = search.child(&parents) else { break };
        generations += 1;
        if search.remainder(child) == 0 {
            let mut result = client.lock_page(RESULT)?;
            let (factor, other) = (child, number / child);
            assert_eq!(factor * other, number, "a factor divides");
            let halves = [
                [factor as u32, (factor >> 32) as u32, 0, 0, 0],
                [other as u32, (other >> 32) as u32, 0, 0, 0],
            ];
            result.data = bytes(&halves.concat());
            client.unlock_page(&mut result)?;
            break;
        }
        // Only with the lock is it certain who is the least fit.
        let mut page = client.lock_page(pages[0])?;
        let mut pool = individuals(&words(&page.data));
        if let Some(worst) = pool.iter_mut().min_by_key(|one| search.fitness(**one)) {
            *worst = child;
        }
        page.data = bytes(
            &pool.iter().flat_map(|one| [*one as u32, (*one >> 32) as u32]).collect::<Vec<_>>(),
        );
        client.unlock_page(&mut page)?;
    }
    // Several of these write at once: one call, one line.
    std::io::stdout()
        .write_all(format!("worker {seed}: {generations} generations\n").as_bytes())?;
    Ok(())
}

/// What one worker knows.
struct Search {
    number: u64,
    /// No smaller factor is greater.
    root: u64,
    random: Random,
    /// Neighbourhoods in which there is none.
    visited: HashSet<u64>,
}

impl Search {
    fn new(number: u64, seed: u64) -> Self {
        let (root, random) = (number.isqrt().max(3), Random::new(seed));
        Self { number, root, random, visited: HashSet::new() }
    }

    /// A page of the pool.
    fn page(&mut self) -> u32 {
        POOL.start() + (self.random.draw() % POOL.count() as u64) as u32
    }

    /// The number that genes stand for, an odd one or 2.
    fn candidate(&self, genes: u64) -> u64 {
        if genes == 2 { 2 } else { (genes % (self.root + 1)).max(3) | 1 }
    }

    fn remainder(&self, genes: u64) -> u64 {
        self.number % self.candidate(genes)
    }

    /// How near the number is to a multiple: the nearer, the more.
    fn fitness(&self, genes: u64) -> u64 {
        let candidate = self.candidate(genes);
        let remainder = self.number % candidate;
        u64::MAX
            - (u128::from(remainder.min(candidate - remainder)) * (1 << 60) / u128::from(candidate))
                as u64
    }

    /// The fitter one of two that chance picks.
    fn tournament(&mut self, among: &[u64]) -> u64 {
        let mut pick = || among[(self.random.draw() % among.len() as u64) as usize];
        let (one, other) = (pick(), pick());
        if self.fitness(one) >= self.fitness(other) { one } else { other }
    }

    /// The child of two, in the best place of a neighbourhood that is new. `None`: there is none.
    fn child(&mut self, among: &[u64]) -> Option<u64> {
        let (mother, father) = (self.tournament(among), self.tournament(among));
        let mask = self.random.draw();
        let mut genes = mother & mask | father & !mask;
        for _ in 0..2 {
            genes ^= 1 << (self.random.draw() % u64::from(u64::BITS - self.root.leading_zeros()));
        }
        if self.number.is_multiple_of(2) && self.number > 2 {
            return Some(2);
        }
        let places = (self.root >> NEAR) + 1;
        let mut place = self.candidate(genes) >> NEAR;
        if self.visited.len() as u64 == places {
            return None;
        }
        while !self.visited.insert(place) {
            place = (place + 1) % places;
        }
        let first = (place << NEAR | 1).max(3);
        let last = ((place + 1) << NEAR).min(self.root + 1);
        let odd = (first..last).step_by(2).filter(|one| *one < self.number);
        odd.max_by_key(|one| {
            let remainder = self.number % one;
            if remainder == 0 { u64::MAX } else { self.fitness(*one) - 1 }
        })
        .or(Some(3))
    }
}

/// Chance, from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn value(words: &[u32]) -> u64 {
    words.iter().take(2).rev().fold(0, |value, word| value << 32 | u64::from(*word))
}

fn individuals(words: &[u32]) -> Vec<u64> {
    words.chunks_exact(2).map(value).collect::<Vec<_>>()[..INDIVIDUALS].to_vec()
}
