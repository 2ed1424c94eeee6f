//! Counts primes: the input is a range as text, "1000000 2000000" (the end is not in it), the
//! output is how many primes it holds.
//!
//! A sieve in segments, so memory stays small however long the range is.

#![forbid(unsafe_code)]

use farcall_core_abi::{ComputeCore, Failure, export_core};

const SEGMENT: u64 = 1 << 18;
const END_MAX: u64 = 1 << 44;

/// Keeps the small primes from job to job, since neighbouring ranges need the same ones.
struct Primes {
    small: Vec<u64>,
    small_end: u64,
}

impl ComputeCore for Primes {
    fn new() -> Result<Self, Failure> {
        Ok(Self { small: Vec::new(), small_end: 2 })
    }

    fn run(&mut self, input: &mut [u8]) -> Result<Vec<u8>, Failure> {
        let text = std::str::from_utf8(input)?;
        let Some((start, end)) = text.trim().split_once(char::is_whitespace) else {
            return Err(Failure::message(format!("want \"START END\", got {text:?}")));
        };
        let (start, end): (u64, u64) = (start.parse()?, end.trim().parse()?);
        if end > END_MAX {
            return Err(Failure::message(format!("{end} is too far, the end is {END_MAX}")));
        }
        Ok(self.count(start.max(2), end).to_string().into_bytes())
    }
}

impl Primes {
    fn count(&mut self, start: u64, end: u64) -> u64 {
        self.learn(end.isqrt() + 1);
        let mut count = 0;
        let mut from = start;
        while from < end {
            let to = end.min(from + SEGMENT);
            count += self.sieve(from, to).into_iter().filter(|&prime| prime).count() as u64;
            from = to;
        }
        count
    }

    /// Makes sure that all primes below `end` are in `small`.
    fn learn(&mut self, end: u64) {
        if end <= self.small_end {
            return;
        }
        self.learn(end.isqrt() + 1);
        let from = self.small_end;
        let flags = self.sieve(from, end);
        self.small.extend((from..).zip(flags).filter(|&(_, prime)| prime).map(|(n, _)| n));
        self.small_end = end;
    }

    /// Which numbers from `from` up to `to` are prime, given the primes up to the root of `to`.
    fn sieve(&self, from: u64, to: u64) -> Vec<bool> {
        let mut flags = vec![true; (to - from) as usize];
        for &prime in self.small.iter().take_while(|&prime| prime * prime < to) {
            let first = (prime * prime).max(from.next_multiple_of(prime));
            for multiple in (first..to).step_by(prime as usize) {
                flags[(multiple - from) as usize] = false;
            }
        }
        flags
    }
}

export_core!(Primes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_known_ones() {
        check(&[("0 100", "25"), ("0 1000000", "78498"), ("1000000 2000000", "70435")]);
        check(&[("1000000000000 1000000100000", "3614"), ("2 3", "1"), ("4 5", "0"), ("9 3", "0")]);
    }

    #[track_caller]
    fn check(jobs: &[(&str, &str)]) {
        let mut core = Primes::new().unwrap();
        for (range, want) in jobs {
            let got = core.run(&mut range.as_bytes().to_vec()).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), *want, "primes in {range}");
        }
    }
}
