//! Calls the exported functions as a host does.

use std::ptr;

use super::*;

/// Obeys its input, and counts its jobs.
struct Obedient {
    jobs: u8,
}

impl ComputeCore for Obedient {
    fn new() -> Result<Self, Failure> {
        Ok(Self { jobs: 0 })
    }

    fn run(&mut self, input: &mut [u8]) -> Result<Vec<u8>, Failure> {
        self.jobs += 1;
        match &*input {
            b"count" => Ok(vec![self.jobs]),
            b"nothing" | b"" => Ok(Vec::new()),
            b"reverse me" => {
                input.reverse();
                Ok(input.to_vec())
            }
            b"fail" => Err(Failure { output: b"so far".to_vec(), ..Failure::code(-7) }),
            b"panic" => panic!("as it was told"),
            b"panic twice" => std::panic::panic_any(PanicsInDrop),
            other => {
                std::str::from_utf8(other)?.parse::<u64>()?;
                Ok(Vec::new())
            }
        }
    }
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in drop as well");
    }
}

struct Refuses;

impl ComputeCore for Refuses {
    fn new() -> Result<Self, Failure> {
        Err(Failure::code(5))
    }

    fn run(&mut self, _: &mut [u8]) -> Result<Vec<u8>, Failure> {
        unreachable!("it never started")
    }
}

#[test]
fn output_reaches_the_host() {
    check(&[("reverse me", 0, b"em esrever")]);
}

#[test]
fn no_output_is_null_and_zero() {
    check(&[("nothing", 0, b""), ("", 0, b"")]);
}

#[test]
fn one_core_serves_all_jobs() {
    check(&[("count", 0, &[1]), ("count", 0, &[2]), ("count", 0, &[3])]);
}

#[test]
fn failure_keeps_its_code_and_its_output() {
    check(&[("fail", -7, b"so far"), ("count", 0, &[2])]);
}

#[test]
fn errors_of_others_become_exit_code_one() {
    check(&[("many", 1, b""), ("\u{fffd}", 1, b""), ("12", 0, b"")]);
}

#[test]
fn panic_is_an_exit_code_and_the_next_job_gets_a_new_core() {
    check(&[("count", 0, &[1]), ("panic", PANICKED, b""), ("count", 0, &[1])]);
    check(&[("panic twice", PANICKED, b""), ("count", 0, &[1])]);
}

#[test]
fn only_version_one_is_spoken() {
    let exports = Exports::<Obedient>::new();
    assert_eq!(exports.init(2), WRONG_VERSION);
    assert_eq!(exports.init(API_VERSION), 0);
}

#[test]
fn core_that_does_not_start_says_its_code() {
    assert_eq!(Exports::<Refuses>::new().init(API_VERSION), 5);
}

/// Starts a core and gives it jobs: input, exit code wanted, output wanted.
#[track_caller]
fn check(jobs: &[(&str, i32, &[u8])]) {
    let exports = Exports::<Obedient>::new();
    assert_eq!(exports.init(API_VERSION), 0);
    for (input, code_wanted, output_wanted) in jobs {
        let mut data = input.as_bytes().to_vec();
        let (mut size, mut address) = (0, ptr::null_mut());
        let start = data.as_mut_ptr().cast();
        // SAFETY: `data` is ours, spans its own length and is not looked at during the call;
        // so are `size` and `address`.
        let code = unsafe { exports.run_job(data.len() as u64, start, &mut size, &mut address) };
        let output = match address.is_null() {
            true => &[],
            // SAFETY: `exports` keeps its output where it said, unchanged, until
            // `free_outdata` below.
            false => unsafe { slice::from_raw_parts(address.cast::<u8>(), size as usize) },
        };
        assert_eq!((code, output), (*code_wanted, *output_wanted), "input {input:?}");
        assert_eq!(address.is_null(), output.is_empty(), "input {input:?}");
        exports.free_outdata();
    }
    exports.unload();
}
