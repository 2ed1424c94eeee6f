//! The C library as a C programmer meets it: installed, found by pkg-config, compiled against, and run
//! against a real node.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use support::hosts::Hosts;
use support::teleserver::serves_visitors_and_survives_garbage;
use support::{Machine, Ran, Running, skipped};

/// A folder with the installed library, and a node to be used.
struct C {
    machine: Machine,
    _node: Running,
}

impl C {
    fn new() -> Self {
        let machine = Machine::new();
        let mut node = machine.start(
            "node --name one --slots 3 --jail none --socket farcall.sock --listen 127.0.0.1:0",
        );
        node.line_with("listening at");
        Self { machine, _node: node }
    }

    /// Compiles a program with all warnings, and nothing told to the compiler but what pkg-config says when
    /// it is asked, and how to optimise and check.
    fn compile(&self, source: &str, asked: &[&str]) -> PathBuf {
        let source = source_file(source);
        let program = self.machine.path(source.file_stem().unwrap());
        let is_cpp = source.extension().is_some_and(|kind| kind == "cpp");
        let mut compile = Command::new(if is_cpp { "c++" } else { "cc" });
        compile.arg(if is_cpp { "-std=c++17" } else { "-std=c11" });
        compile.args(["-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"]);
        compile.arg(source).arg("-o").arg(&program);
        let (how, asked): (Vec<&str>, _) =
            asked.iter().partition(|word| word.starts_with("-O") || word.starts_with("-f"));
        compile.args(how);
        compile.args(self.pkg_config(&[&["--cflags", "--libs"], &asked[..]].concat()));
        well(&compile.output().unwrap());
        program
    }

    fn pkg_config(&self, words: &[&str]) -> Vec<String> {
        let folder = prefix().join("lib/pkgconfig");
        let mut ask = Command::new("pkg-config");
        if words.contains(&"--static") {
            // Linkers take the shared library where they find both.
            let alone = self.machine.path("static");
            std::fs::create_dir_all(alone.join("lib")).unwrap();
            for name in ["include", "lib/libfarcall.a"] {
                let linked = symlink(prefix().join(name), alone.join(name));
                assert!(linked.is_ok() || alone.join(name).exists(), "{linked:?}");
            }
            ask.arg(format!("--define-variable=prefix={}", alone.display()));
        }
        ask.args(words).arg("farcall").env("PKG_CONFIG_PATH", folder);
        let told = ask.output().expect("the C tests need pkg-config");
        well(&told);
        String::from_utf8(told.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    /// With the node's socket in FARCALL_NODES.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", prefix().join("lib"));
        command.env("FARCALL_NODES", self.machine.path("farcall.sock"));
        command.env("FARCALL_HOME", self.machine.home());
        command.stdin(Stdio::null()).current_dir(self.machine.path(""));
        command
    }
}

/// Where the library is installed: once for all tests here, and in its place if it was there.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c-prefix");
        let program = Path::new(env!("CARGO_BIN_EXE_farcall"));
        let profile = program.parent().unwrap();
        let mut install = Command::new(env!("CARGO"));
        install.args(["run", "--quiet", "--offline", "-p", "farcall-xtask"]);
        install.args(["--", "install-c"]).arg(&prefix);
        if profile.ends_with("debug") {
            install.arg("--debug");
        }
        install.env("CARGO_TARGET_DIR", profile.parent().unwrap());
        well(&install.output().unwrap());
        prefix
    })
}

/// A file of the repository.
fn source_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[track_caller]
fn well(output: &Output) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
}

#[test]
fn every_function_does_what_the_header_says() {
    let c = C::new();
    let program = c.compile("crates/capi/tests/programs/everything.c", &[]);
    Ran::of(c.command(program).output().unwrap()).says("everything is as it should be");
}

#[test]
fn nulls_and_nonsense_are_refused_and_crash_nothing() {
    let c = C::new();
    let program = c.compile("crates/capi/tests/programs/misuse.c", &[]);
    Ran::of(c.command(program).output().unwrap()).says("nothing crashed");
}

#[test]
fn the_header_is_cpp_too_and_threads_share_a_region() {
    let c = C::new();
    let program = c.compile("crates/capi/tests/programs/plus.cpp", &[]);
    Ran::of(c.command(program).output().unwrap()).says("400");
}

#[test]
fn two_processes_that_share_a_number_and_a_mutex_lose_no_count() {
    let c = C::new();
    let program = c.compile("crates/capi/tests/programs/mutex.c", &[]);
    let start = || Running::of(c.command(&program).arg("200"));
    let (one, two) = (start(), start());
    one.finish().says("400");
    two.finish().says("400");
}

#[test]
fn two_processes_that_map_one_memory_lose_no_count() {
    let c = C::new();
    let program = c.compile("crates/capi/tests/programs/coherent.c", &[]);
    let start = || Running::of(c.command(&program).arg("200"));
    let (one, two) = (start(), start());
    let (one, two) = (one.finish(), two.finish());
    if one.stdout.starts_with("skipped") {
        return skipped(&one.stdout);
    }
    one.says("400 400\n");
    two.says("400 400\n");
    // Both pages went back and forth, and that can be seen.
    let hot = c.machine.run("mem hot coherent --nodes unix:farcall.sock").says("MOVES");
    let bars = hot.stdout.lines().filter(|line| line.contains("#")).count();
    assert_eq!(bars, 2, "{hot:?}");
}

#[test]
fn the_example_counts_and_can_be_linked_statically() {
    let c = C::new();
    let program = c.compile("examples/memory/counter.c", &[]);
    let start = || Running::of(c.command(&program).arg("100"));
    let (one, two) = (start(), start());
    let sums = [one.finish().says("").stdout, two.finish().says("").stdout];
    assert!(sums.iter().any(|sum| sum == "200\n"), "{sums:?}");

    let alone = c.compile("examples/memory/counter.c", &["--static"]);
    let mut command = c.command(alone);
    command.arg("1").env_remove("LD_LIBRARY_PATH");
    Ran::of(command.output().unwrap()).says("201\n");
}

#[test]
fn a_c_program_sends_copies_of_itself_into_files_and_over_tcp() {
    let c = C::new();
    for how in [&["-O0"][..], &["-O2"], &["-O2", "--static"]] {
        let program = c.compile("crates/capi/tests/programs/telefork.c", how);
        let basic = Ran::of(c.command(&program).args(["basic", "an.image"]).output().unwrap());
        assert_eq!(
            basic.says("").stdout,
            "Hello!\ntls: 4\nfinished teleforking\n\
             hello from a strange new world where I woke up passed 7\n\
             My local variable says foo=103 and I'm going to exit with that status\n\
             tls: 4\nchild exited with status = 103\n"
        );

        let mut server = Running::of(c.command(&program).args(["server", "2"]));
        let listening = server.line_with("listening at");
        let port = listening.split_whitespace().last().unwrap();
        for visitor in 1..=2 {
            let client = c.command(&program).args(["client", port, "again"]).output().unwrap();
            assert_eq!(Ran::of(client).says("").stdout, "sent a copy\n");
            // What it prints after that it prints there.
            server.line_with(&format!("visitor {visitor} has foo=103"));
            server.line_with(&format!("visitor {visitor} ended with 103"));
        }
        server.finish().says("");

        let failures = c.command(&program).args(["failures", "f.image"]).output().unwrap();
        Ran::of(failures).says("every failure has its status");
    }
}

#[test]
fn a_c_program_under_addresssanitizer_sends_copies_of_itself() {
    let c = C::new();
    let probe = c.machine.write("probe.c", "int main(void) { return 0; }");
    let mut sanitize = Command::new("cc");
    sanitize.arg("-fsanitize=address").arg(probe).arg("-o").arg(c.machine.path("probe"));
    if !sanitize.output().is_ok_and(|linked| linked.status.success()) {
        return skipped("this C compiler has no AddressSanitizer");
    }
    let how = ["-O1", "-fsanitize=address"];
    let program = c.compile("crates/capi/tests/programs/telefork.c", &how);
    let basic = c.command(&program).args(["basic", "an.image"]).output().unwrap();
    Ran::of(basic).says("woke up passed 7").says("child exited with status = 103");
    let failures = c.command(&program).args(["failures", "f.image"]).output().unwrap();
    Ran::of(failures).says("every failure has its status");
}

#[test]
fn a_python_program_sends_a_copy_of_itself_and_another_wakes_it() {
    let c = C::new();
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("no python3 here");
    }
    let python = |words: &[&str]| {
        let mut command = c.command("python3");
        command.arg(source_file("crates/capi/tests/programs/telefork.py"));
        command.arg(prefix().join("lib/libfarcall.so")).args(words);
        Ran::of(command.output().unwrap()).says("").stdout
    };
    let left = python(&["leave", "python.image"]);
    // The copy knows the primes that were found before, words, and numbers of any length; each time.
    for value in ["5", "-1"] {
        let woken = python(&["wake", "python.image", value]);
        let all: Vec<&str> = left.lines().chain(woken.lines()).collect();
        assert_eq!((all.len(), all[49], all[50], all[99]), (102, "229", "233", "541"), "{all:?}");
        let words = "{'größe': [1, 2.5, 717897987691852588770249], 'nothing': None}";
        assert_eq!(all[100], format!("{words} and {value}, 499999500000"));
        assert_eq!(all[101], format!("status {}", value.parse::<i32>().unwrap() + 2));
    }
}

#[test]
fn a_c_program_is_on_nodes_and_back() {
    let c = C::new();
    let program = c.compile("crates/capi/tests/programs/copies.c", &[]);
    let ran = Ran::of(c.command(program).output().unwrap());
    let ran = ran.says("everything is as it should be");
    // What copies print is printed here.
    for line in ["a copy has foo=103", "a call has 43", "there"] {
        assert_eq!(ran.stdout.lines().filter(|said| *said == line).count(), 1, "{ran:?}");
    }
    let primes = c.compile("examples/telefork/primes.c", &["-O2"]);
    let ran = Ran::of(c.command(primes).arg("10000").output().unwrap());
    assert_eq!(ran.says("").stdout, "1229 primes below 10000\n");
}

#[test]
fn a_python_program_is_on_nodes_and_back() {
    let c = C::new();
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("no python3 here");
    }
    let mut command = c.command("python3");
    command.arg(source_file("examples/telefork/copies.py"));
    command.arg(prefix().join("lib/libfarcall.so")).args(["one", "one", "one"]);
    let ran = Ran::of(command.output().unwrap()).says("");
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    // Copies print when they do.
    lines[..3].sort_unstable();
    let has = |number| format!("{number} has {{'größe': 717897987691852588770249}}");
    assert_eq!(lines[..3], [has(0), has(1), has(2)]);
    assert_eq!(lines[3..], ["[40, 41, 42]", "[[0, 9], [1, 1], [2, 9], [3, 9]]", "100 541"]);
}

// TF-17.
#[test]
fn a_c_program_goes_to_a_c_server_on_another_host() {
    let Some(hosts) = Hosts::new("TF-17") else { return };
    let c = C::new();
    let program = c.compile("examples/telefork/teleserver.c", &[]);
    let words = |role: &str, address: &str, port: &str| {
        let mut command = c.command(&program);
        command.args([role, address, port]);
        command
    };
    let client = |at: &str| {
        let (address, port) = at.rsplit_once(':').unwrap();
        words("go", address, port)
    };
    serves_visitors_and_survives_garbage(&hosts, |at| words("serve", at, "0"), client);
}

#[test]
fn the_library_exports_all_of_the_header_and_nothing_else() {
    let _c = C::new();
    let header = std::fs::read_to_string(prefix().join("include/farcall.h")).unwrap();
    let words = header.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let is_function =
        |word: &&str| word.starts_with("farcall_") && header.contains(&format!("{word}("));
    let declared: BTreeSet<&str> = words.filter(is_function).collect();
    assert!(declared.len() > 50 && declared.contains("farcall_yoyo"), "{declared:?}");
    let mut list = Command::new("nm");
    list.args(["-D", "--defined-only"]).arg(prefix().join("lib/libfarcall.so"));
    let listed = list.output().expect("the C tests need nm, of the C compiler's binutils");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let words = text.lines().filter_map(|line| line.split_whitespace().last());
    let exported: BTreeSet<&str> = words.filter(|word| word.starts_with("farcall_")).collect();
    assert_eq!(exported, declared);
}

#[test]
fn nothing_is_leaked_and_no_byte_is_touched_that_is_not_there() {
    let c = C::new();
    if Command::new("valgrind").arg("--version").output().is_err() {
        return skipped("no valgrind here");
    }
    for program in ["everything", "misuse"] {
        let compiled = c.compile(&format!("crates/capi/tests/programs/{program}.c"), &[]);
        let mut command = c.command("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        command.args(["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]);
        let ran = Ran::of(command.arg(compiled).arg("unmapped").output().unwrap());
        assert_eq!(ran.code, Some(0), "{program}: {ran:?}");
    }
}
