//! Compiles small cores with `cc` and calls them.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use super::*;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Tells the child process of a test about crashes what to run.
const CRASH_CHILD: &str = "FARCALL_TEST_JOB";

#[test]
fn output_comes_back() {
    check(&[("echo hello", 0, b"hello"), ("echo a b", 0, b"a b"), ("echo ", 0, b"")]);
}

#[test]
fn input_may_be_overwritten_and_output_may_be_larger() {
    check(&[("scribble", 0, b"scribbled"), ("grow", 0, b"growgrowgrow")]);
}

#[test]
fn no_output_and_an_empty_output_are_both_empty() {
    check(&[("noop", 0, b""), ("null", 0, b""), ("empty", 0, b"")]);
}

#[test]
fn exit_code_comes_with_whatever_output_there_is() {
    check(&[("rc -7", -7, b""), ("rc 3 partial", 3, b"partial"), ("rc 2147483647", i32::MAX, b"")]);
}

#[test]
fn impossible_output_is_an_error_and_the_next_job_runs() {
    let mut core = specimen();
    for (job, place) in [("null 5", "5 bytes at NULL"), ("huge", "at an address")] {
        let error = core.run(&mut job.as_bytes().to_vec(), <[u8]>::to_vec).unwrap_err();
        assert!(error.to_string().contains(place), "{error}");
    }
    assert_eq!(run(&mut core, b"echo fine"), (0, b"fine".to_vec()));
}

#[test]
fn every_input_is_aligned_and_writable() {
    let mut core = specimen();
    let mut bytes = b"aligned".repeat(9);
    for start in 0..=32 {
        let input = &mut bytes[start..start + 7];
        input.copy_from_slice(b"aligned");
        assert_eq!(core.run(input, <[u8]>::to_vec).unwrap(), (0, b"yes".to_vec()), "at {start}");
    }
}

#[test]
fn empty_input_has_an_address_too() {
    let source = r#"
        #include "farcall_core.h"
        static char answer;
        int32_t worker_init(int32_t version) { return version - 1; }
        int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata) {
            if (size != 0 || !data || (uintptr_t)data % 16 || *outsize || *outdata) return 1;
            answer = *(volatile char *)data = 'e';
            *outdata = &answer;
            *outsize = 1;
            return 0;
        }
        void worker_free_outdata(uint64_t size, void *outdata) { (void)size, (void)outdata; }
    "#;
    let mut core = load(&compile_text(source, &[]).path).unwrap();
    assert_eq!(run(&mut core, b""), (0, b"e".to_vec()));
}

#[test]
fn large_unaligned_input_arrives_whole() {
    let mut core = specimen();
    let wanted: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for start in [1, 2] {
        let mut bytes = [&b"  "[..start], b"echo ", &wanted].concat();
        let got = core.run(&mut bytes[start..], <[u8]>::to_vec).unwrap();
        assert!(got == (0, wanted.clone()));
    }
    assert_eq!(run(&mut core, b"echo again"), (0, b"again".to_vec()));
}

#[test]
fn init_comes_once_and_every_run_is_followed_by_one_free() {
    let mut core = load(&compile("misbehaving/recorder.c").path).unwrap();
    assert_eq!(run(&mut core, b"one"), (0, b"i1r3".to_vec()));
    assert_eq!(run(&mut core, b"null"), (0, b"".to_vec()));
    assert_eq!(run(&mut core, b"rc"), (-7, b"i1r3f4r4fNr2".to_vec()));
    assert_eq!(run(&mut core, b""), (0, b"i1r3f4r4fNr2f12r0".to_vec()));
}

#[test]
fn output_is_freed_even_if_its_taker_panics() {
    let mut core = load(&compile("misbehaving/recorder.c").path).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        core.run(&mut b"one".to_vec(), |_| panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    assert_eq!(run(&mut core, b""), (0, b"i1r3f4r0".to_vec()));
}

#[test]
fn dropping_a_core_unloads_it_and_runs_its_destructors() {
    let folder = tempfile::tempdir().unwrap();
    let end = folder.path().join("end");
    let mut core = load(&compile("misbehaving/recorder.c").path).unwrap();
    run(&mut core, format!("file {}", end.display()).as_bytes());
    assert!(!end.exists());
    drop(core);
    let calls = fs::read_to_string(end).unwrap();
    assert!(calls.starts_with("i1r") && calls.ends_with('d'), "{calls}");
}

#[test]
fn second_core_of_the_same_name_runs_its_own_code() {
    // Neither is ever unloaded, so the loader remembers both under their paths and their
    // common SONAME.
    for code in ["41", "42"] {
        let source = format!(
            "#include \"farcall_core.h\"\n\
             int32_t worker_init(int32_t version) {{ return version - 1; }}\n\
             int32_t worker_run_job(uint64_t s, void *d, uint64_t *n, void **o)\n\
             {{ (void)s, (void)d, (void)n, (void)o; return {code}; }}\n\
             void worker_free_outdata(uint64_t s, void *o) {{ (void)s, (void)o; }}\n"
        );
        let library = compile_text(&source, &["-Wl,-soname,libsame.so", "-Wl,-z,nodelete"]);
        let mut core = load(&library.path).unwrap();
        assert_eq!(run(&mut core, b"").0.to_string(), code);
    }
}

#[test]
fn loading_leaves_the_file_position_alone() {
    use std::io::Seek;
    let mut file = File::open(compile("misbehaving/specimen.c").path).unwrap();
    file.seek(std::io::SeekFrom::Start(7)).unwrap();
    Core::load(&file, "specimen").unwrap();
    assert_eq!(file.stream_position().unwrap(), 7);
}

#[test]
fn deleted_file_loads_by_its_descriptor() {
    let library = compile("misbehaving/specimen.c");
    let file = File::open(&library.path).unwrap();
    drop(library);
    assert_eq!(run(&mut Core::load(&file, "deleted").unwrap(), b"echo x"), (0, b"x".to_vec()));
}

#[test]
fn what_is_no_core_is_refused_with_the_reason() {
    let bytes = fs::read(compile("misbehaving/specimen.c").path).unwrap();
    let edited = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let other_machine: [u8; 2] = if cfg!(target_arch = "aarch64") { [62, 0] } else { [183, 0] };
    check_refused("empty", b"", "is not a shared library");
    check_refused("text", b"#!/bin/sh\necho hello\n", "is not a shared library");
    check_refused("magic", b"\x7fELF", "is not a shared library");
    check_refused("half", &bytes[..bytes.len() / 2], "is not a shared library");
    check_refused("machine", &edited(18, &other_machine), "this machine is");
    check_refused("executable", &edited(16, &[2, 0]), "is an executable, not a shared library");
    check_refused("object", &edited(16, &[1, 0]), "is an object file, not a shared library");
    // Without section headers, only the segments tell that the end is missing.
    let no_sections = edited(0x28, &[0; 8]);
    let no_sections = [&no_sections[..0x3a], &[0; 6], &no_sections[0x40..4096]].concat();
    check_refused("cut off", &no_sections, "is cut off: its file has 4096 bytes");
}

#[test]
fn library_that_lacks_something_is_refused_with_its_name() {
    check_unloadable("misbehaving/missing_symbol.c", "has no function worker_free_outdata");
    check_unloadable("misbehaving/unresolved.c", "undefined symbol: nowhere_to_be_found");
    check_unloadable("misbehaving/init_fails.c", "worker_init returned 42");
}

#[test]
fn library_without_functions_is_refused_before_its_constructors_run() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let source = format!(
        "#include <fcntl.h>\n\
         __attribute__((constructor)) static void run(void) {{ open({mark:?}, O_CREAT, 0600); }}"
    );
    let error = load(&compile_text(&source, &[]).path).err().unwrap();
    assert!(error.to_string().contains("has no function worker_init"), "{error}");
    assert!(!mark.exists());
}

#[test]
fn example_cores_in_c_and_cpp_load_and_work() {
    let mut sum = load(&compile("sum.c").path).unwrap();
    for (text, wanted) in [("1 2 39", "42"), ("-5, 3\n--2;", "-4"), ("", "0"), ("a-b -", "0")] {
        assert_eq!(run(&mut sum, text.as_bytes()), (0, wanted.into()), "sum of {text:?}");
    }
    assert_eq!(run(&mut sum, b"9223372036854775807 1").0, 1);
    let mut wordcount = load(&compile("wordcount.cpp").path).unwrap();
    let counted = run(&mut wordcount, b"The cat saw the other cat, the");
    assert_eq!(counted, (0, b"the\t3\ncat\t2\nother\t1\nsaw\t1\n".to_vec()));
}

#[test]
fn crash_ends_only_the_process_it_is_in() {
    check_crash("x", |status| status.signal() == Some(11));
    check_crash("abort", |status| status.signal() == Some(6));
    check_crash("exit 3", |status| status.code() == Some(3));
    check_crash("signal 9", |status| status.signal() == Some(9));
}

#[test]
fn exception_that_leaves_a_core_is_an_abort() {
    check_crash("throw", |status| status.signal() == Some(6));
}

/// Not a test by itself: the child process of the tests about crashes.
#[test]
fn crash_child() {
    let Ok(job) = std::env::var(CRASH_CHILD) else { return };
    let mut core = match job.as_str() {
        "throw" => load(&compile("misbehaving/throws.cpp").path).unwrap(),
        _ => specimen(),
    };
    run(&mut core, job.as_bytes());
}

/// Gives jobs to one specimen: input, exit code wanted, output wanted.
#[track_caller]
fn check(jobs: &[(&str, i32, &[u8])]) {
    let mut core = specimen();
    for (input, code, output) in jobs {
        assert_eq!(run(&mut core, input.as_bytes()), (*code, output.to_vec()), "input {input:?}");
    }
}

#[track_caller]
fn check_refused(name: &str, bytes: &[u8], wanted: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    check_error(&path, wanted);
}

#[track_caller]
fn check_unloadable(source: &str, wanted: &str) {
    check_error(&compile(source).path, wanted);
}

#[track_caller]
fn check_error(library: &Path, wanted: &str) {
    let error = load(library).err().expect("it loads");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    assert!(text.contains(wanted), "wanted {wanted:?}, got {text:?}");
    let name = library.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name), "{text:?} does not name {name:?}");
}

#[track_caller]
fn check_crash(job: &str, wanted: impl Fn(ExitStatus) -> bool) {
    // It has no chance to tidy up, so its temporary files go into a folder of ours.
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["core::tests::crash_child", "--exact", "--test-threads=1"])
        .env(CRASH_CHILD, job)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    assert!(wanted(output.status), "job {job:?}: {output:?}");
}

fn run(core: &mut Core, input: &[u8]) -> (i32, Vec<u8>) {
    core.run(&mut input.to_vec(), <[u8]>::to_vec).unwrap()
}

fn load(library: &Path) -> Result<Core, Error> {
    let name = library.file_name().unwrap().to_str().unwrap();
    Core::load(&File::open(library).unwrap(), name)
}

fn specimen() -> Core {
    load(&compile("misbehaving/specimen.c").path).unwrap()
}

/// A library in a folder of its own. A new one for each core: the same file loaded twice would
/// be one library, with one set of static variables for tests that run at the same time.
struct Compiled {
    path: PathBuf,
    _folder: TempDir,
}

/// Compiles a source that is named as seen from `examples/cores`.
fn compile(source: &str) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(TOP).join("examples/cores").join(source);
    Compiled { path: compile_in(folder.path(), &source, &[]), _folder: folder }
}

fn compile_text(text: &str, flags: &[&str]) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("text.c");
    fs::write(&source, text).unwrap();
    Compiled { path: compile_in(folder.path(), &source, flags), _folder: folder }
}

fn compile_in(folder: &Path, source: &Path, flags: &[&str]) -> PathBuf {
    let library = folder.join(format!("lib{}.so", source.file_stem().unwrap().display()));
    let compiler = if source.extension().unwrap() == "cpp" { "c++" } else { "cc" };
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-I"])
        .arg(Path::new(TOP).join("crates/core-abi/include"))
        .args(flags)
        .arg("-o")
        .args([&library, source])
        .status()
        .unwrap();
    assert!(status.success(), "{compiler} failed on {}", source.display());
    library
}
