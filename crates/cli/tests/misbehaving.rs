//! Cores that cannot be loaded, or load with more than they should: each with its status and reason,
//! at every jail level.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use client::{Cluster, Core, Failure, Output, Why};
use support::process::children;
use support::{Machine, PATIENCE, Running, skipped};

const LEVELS: [&str; 3] = ["none", "user", "strict"];

struct Host {
    machine: Machine,
    _node: Running,
    pid: u32,
    cluster: Cluster,
}

impl Host {
    fn new(level: &str) -> Option<Self> {
        if level == "strict"
            && let Err(why) = worker::jail::strict_is_possible()
        {
            skipped(&format!("level strict: {why}"));
            return None;
        }
        let machine = Machine::new();
        let (node, address) = machine.start_node(&format!("--name a --slots 1 --jail {level}"));
        let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
        assert_eq!(cluster.wait_for_nodes(1, PATIENCE), 1);
        let pid = node.child.id();
        Some(Self { machine, _node: node, pid, cluster })
    }

    fn core(&self, path: impl AsRef<Path>) -> Core {
        self.cluster.core(path.as_ref()).unwrap().retries(0)
    }

    fn example(&self, name: &str) -> Core {
        self.core(self.machine.core(&format!("misbehaving/{name}")))
    }

    /// Compiles `text`; `flags` come after it.
    fn compile(&self, name: &str, text: &str, flags: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let source = self.machine.write(format!("{name}.c").as_str(), text);
        let library = self.machine.path(format!("lib{name}.so"));
        let mut command = Command::new("cc");
        command.args(["-O1", "-shared", "-fPIC", "-I"]).arg(root.join("crates/core-abi/include"));
        command.arg("-o").arg(&library).arg(source).args(flags);
        assert!(command.status().unwrap().success());
        library
    }

    /// A core that answers "ok", with more to it.
    fn core_with(&self, name: &str, more: &str, flags: &[&str]) -> Core {
        let text = format!(
            "#include \"farcall_core.h\"\n{more}\n\
             int32_t worker_init(int32_t v) {{ return v == 1 ? 0 : 1; }}\n\
             int32_t worker_run_job(uint64_t s, void *d, uint64_t *os, void **od)\n\
             {{ (void)s; (void)d; *os = 2; *od = (void *)\"ok\"; return 0; }}\n\
             void worker_free_outdata(uint64_t s, void *d) {{ (void)s; (void)d; }}\n"
        );
        self.core(self.compile(name, &text, flags))
    }
}

fn text(result: Result<Output, Failure>) -> String {
    String::from_utf8_lossy(&result.unwrap()).into_owned()
}

fn why(result: Result<Output, Failure>) -> Why {
    result.expect_err("it was to fail").why
}

#[track_caller]
fn check_refused(core: &Core, words: &str) {
    match why(core.run("")) {
        Why::Refused { reason } => assert!(reason.contains(words), "no {words:?} in {reason:?}"),
        other => panic!("{other:?} instead of a refusal with {words:?}"),
    }
}

fn at_every_level(test: impl Fn(&Host, &str)) {
    for level in LEVELS {
        if let Some(host) = Host::new(level) {
            test(&host, level);
        }
    }
}

#[test]
fn what_was_made_for_another_machine_or_is_cut_off_is_refused_by_name() {
    at_every_level(|host, _| {
        let bytes = fs::read(host.machine.core("misbehaving/specimen.c")).unwrap();
        let edited = |name: &str, at: usize, with: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[at..at + with.len()].copy_from_slice(with);
            host.core(host.machine.write(name, bytes))
        };
        // By the ELF header: class, byte order, machine.
        check_refused(&edited("other.so", 18, &183_u16.to_le_bytes()), "Aarch64");
        check_refused(&edited("arm32.so", 18, &40_u16.to_le_bytes()), "this machine is");
        check_refused(&edited("big-endian.so", 5, &[2]), "is not a shared library");
        check_refused(&edited("class32.so", 4, &[1]), "is not a shared library");
        let half = host.machine.write("half.so", &bytes[..bytes.len() / 2]);
        check_refused(&host.core(half), "is not a shared library");
        check_refused(&host.core(host.machine.write("empty.so", "")), "is not a shared library");
    });
}

#[test]
fn what_lacks_a_function_a_library_or_a_version_is_refused_with_its_name() {
    at_every_level(|host, _| {
        check_refused(&host.example("missing_symbol.c"), "worker_free_outdata");
        check_refused(&host.example("unresolved.c"), "nowhere_to_be_found");
        check_refused(&host.example("init_fails.c"), "worker_init returned 42");

        // A library that is on the maker's machine alone.
        let folder = host.machine.path("").display().to_string();
        host.compile(
            "onlyhere",
            "int only_here(void) { return 1; }",
            &["-Wl,-soname,libonlyhere.so.1"],
        );
        let uses = "int only_here(void); int use(void) { return only_here(); }";
        let flags = ["-L", &folder, "-lonlyhere"];
        check_refused(&host.core_with("needs", uses, &flags), "libonlyhere.so.1");

        // A C library of the future.
        let versions = host.machine.write("versions", "GLIBC_9.99 { global: in_the_future; };");
        let script = format!("-Wl,--version-script={}", versions.display());
        let future = "int in_the_future(void) { return 1; }";
        host.compile("future", future, &["-Wl,-soname,libm.so.6", &script]);
        let uses = "int in_the_future(void); int use(void) { return in_the_future(); }";
        let flags = ["-L", &folder, "-lfuture"];
        check_refused(&host.core_with("newer", uses, &flags), "GLIBC_9.99");
    });
}

#[test]
fn constructors_run_in_the_jail() {
    for (level, answer) in [
        ("strict", "No such file or directory\nRead-only file system\n"),
        ("user", "Permission denied\nPermission denied\n"),
    ] {
        if !sys::limits::is_root() {
            skipped("a node of an ordinary user cannot read the file in any case");
            return;
        }
        let Some(host) = Host::new(level) else { continue };
        assert_eq!(text(host.example("load_looks.c").run("")), answer, "at {level}");
    }
}

#[test]
fn constructors_that_end_the_worker_are_told_and_the_next_program_runs() {
    at_every_level(|host, level| {
        check_refused(&host.example("load_exits.c"), "died while loading it (Code(4))");
        check_refused(&host.example("init_crashes.c"), "died while loading it (Signal(11))");
        let specimen = host.example("specimen.c");
        assert_eq!(text(specimen.run("echo next")), "next", "at {level}");
    });
}

#[test]
fn a_constructor_that_never_ends_is_refused_after_a_while() {
    let Some(host) = Host::new("strict").or_else(|| Host::new("user")) else { return };
    check_refused(&host.example("load_hangs.c"), "did not load within");
    assert_eq!(text(host.example("specimen.c").run("echo next")), "next");
}

#[test]
fn static_memory_counts_when_it_is_touched() {
    at_every_level(|host, level| {
        let limit = 64 << 20;
        let large = host.core_with("bss4g", "char large[1UL << 32];", &["-mcmodel=large"]);
        assert_eq!(text(large.memory(limit).run("")), "ok", "4 GiB untouched at {level}");
        // More than the address space of most hosts is worth: the loader itself says no, or not.
        let huge = host.core_with("bss1t", "char huge[1UL << 40];", &["-mcmodel=large"]);
        match huge.clone().memory(limit).run("") {
            Ok(output) => assert_eq!(&output[..], b"ok"),
            Err(failure) => match failure.why {
                Why::Refused { reason } => assert!(reason.contains("cannot"), "{reason}"),
                other => panic!("{other:?} at {level}"),
            },
        }
        // Touched while it loads.
        let eager = "static volatile char eager[512 << 20];\n\
            __attribute__((constructor)) static void touch(void)\n\
            { for (unsigned long i = 0; i < sizeof eager; i += 4096) eager[i] = 1; }";
        let eager = host.core_with("eager", eager, &[]).memory(limit);
        if level != "none" && limits_memory() {
            let why = why(eager.run(""));
            assert!(
                matches!(why, Why::OutOfMemory { peak, limit: l } if l == limit && peak > l / 2),
                "{why:?} at {level}"
            );
        }
    });
}

fn limits_memory() -> bool {
    let found = worker::jail::abilities();
    let limits = found.iter().any(|a| a.what.starts_with("limits of memory") && a.gap().is_none());
    if !limits {
        skipped("in part: this host lets us limit no memory");
    }
    limits
}

#[test]
fn each_way_to_end_has_its_status() {
    at_every_level(|host, level| {
        let core = host.example("specimen.c");
        let check = |input: &str, is: fn(&Why) -> bool| {
            let reason = why(core.run(input.to_owned()));
            assert!(is(&reason), "{input} fails with {reason:?} at {level}");
        };
        check("crash", |why| matches!(why, Why::Signal { signal: 11, .. }));
        check("abort", |why| matches!(why, Why::Signal { signal: 6, .. }));
        check("signal 9", |why| matches!(why, Why::Signal { signal: 9, .. }));
        check("signal 15", |why| matches!(why, Why::Signal { signal: 15, .. }));
        check(
            "overflow",
            |why| matches!(why, Why::Signal { stderr, .. } if stderr.contains("overflowed its stack")),
        );
        check("exit 3", |why| matches!(why, Why::Exited { code: 3, .. }));
        check("exit 0", |why| matches!(why, Why::Exited { code: 0, .. }));
        check("rc 7", |why| matches!(why, Why::ExitCode { code: 7, .. }));
        check("null 5", |why| matches!(why, Why::Broken { .. }));
        check("huge", |why| matches!(why, Why::Broken { .. }));
        let hasty = core.clone().deadline(Duration::from_millis(300));
        let limit = why(hasty.run("hang"));
        assert!(matches!(limit, Why::TimeLimit { .. }), "{limit:?} at {level}");
        assert_eq!(text(core.run("echo last")), "last");
    });
}

#[test]
fn state_stays_in_a_worker_and_input_may_be_scribbled_over() {
    at_every_level(|host, level| {
        let core = host.example("specimen.c");
        assert_eq!(text(core.run("scribble")), "scribbled");
        let count: u32 = text(core.run("count")).parse().unwrap();
        assert_eq!(text(core.run("count")), (count + 1).to_string(), "at {level}");
        // Also where the input lies in memory that is shared with the node.
        let large = [b"scribble ", &vec![b'x'; 3 << 20][..]].concat();
        assert_eq!(text(core.run(large)), "scribbled");
        let grown = core.run([b"grow ", &vec![b'x'; 1 << 20][..]].concat()).unwrap();
        assert_eq!(grown.len(), 3 * ((1 << 20) + 5));
        assert_eq!(
            (text(core.run("null")), text(core.run("empty"))),
            (String::new(), String::new())
        );
    });
}

#[test]
fn threads_that_go_on_after_their_job_end_with_the_worker() {
    at_every_level(|host, level| {
        let core = host.example("escapee.c");
        assert_eq!(text(core.run("threads 8")), "8");
        assert_eq!(text(core.run("threads 8")), "8", "the next job at {level}");
        assert!(matches!(why(core.run("_exit 5")), Why::Exited { code: 5, .. }));
        support::until("nothing is left", || children(host.pid).is_empty());
    });
}
