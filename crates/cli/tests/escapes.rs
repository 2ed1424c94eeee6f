//! What each jail level promises, tried by a core that wants out of it.
//!
//! The nodes are real and run as root, or as an ordinary user where a test says so. Each row names
//! what the core tries, and what comes of it at `strict` and at `user`; a dash says that this level
//! promises nothing there, and then nothing is checked.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use client::{Cluster, Core, Failure, Output, Why};
use support::process::{children, descriptors, is_alive, kill, memory};
use support::{Machine, PATIENCE, Running, skipped, until};

const ESCAPEE: &str = "misbehaving/escapee.c";
const SPECIMEN: &str = "misbehaving/specimen.c";
const NOBODY: u32 = 65534;
/// Somebody else, whose files are his own.
const OTHER: u32 = 54321;

/// A node of one jail level, and the core that tries it.
struct Prison {
    machine: Machine,
    node: Running,
    address: String,
    cluster: Cluster,
    core: Core,
}

impl Prison {
    /// `None`, said aloud, where this test cannot be made.
    fn new(level: &str) -> Option<Self> {
        if !sys::limits::is_root() {
            skipped("only root can give each worker a user of its own");
            return None;
        }
        if level == "strict" && !strict_is_possible() {
            return None;
        }
        let machine = Machine::new();
        // So that what is refused is not refused by this folder.
        fs::set_permissions(machine.path(""), Permissions::from_mode(0o755)).unwrap();
        let escapee = machine.core(ESCAPEE);
        let (node, address) = machine.start_node(&format!("--name a --slots 2 --jail {level}"));
        let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
        assert_eq!(cluster.wait_for_nodes(1, PATIENCE), 1);
        let core = cluster.core(&escapee).unwrap().retries(0);
        Some(Self { machine, node, address, cluster, core })
    }

    fn ask(&self, input: &str) -> String {
        text(&self.core.run(input.to_owned()).unwrap_or_else(|e| panic!("{input}: {e:?}")))
    }

    fn why(&self, input: &str) -> Why {
        why(self.core.run(input.to_owned()))
    }

    fn node(&self) -> u32 {
        self.node.child.id()
    }

    /// Ends the worker: what it leaves behind is to end as well.
    fn end_worker(&self) {
        assert!(matches!(self.why("_exit 5"), Why::Exited { code: 5, .. }));
    }
}

fn strict_is_possible() -> bool {
    match worker::jail::strict_is_possible() {
        Ok(()) => true,
        Err(why) => {
            skipped(&why);
            false
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn why(result: Result<Output, Failure>) -> Why {
    result.expect_err("it was to fail").why
}

/// Processes of this name, wherever they are.
fn named(name: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_named = |entry: &fs::DirEntry| {
        let comm = fs::read_to_string(entry.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
            && entry.file_name().to_str().and_then(|pid| pid.parse().ok()).is_some_and(is_alive)
    };
    processes.filter(is_named).count()
}

/// A name that no other test of this machine gives a process.
fn name(of: &str) -> String {
    format!("fc{of}{}", std::process::id())
}

const GONE: &str = "No such file or directory";
const DENIED: &str = "Permission denied";
const UNKNOWN: &str = "Function not implemented";
const NOT_PROMISED: &str = "-";

/// Tries each row at both levels. `{}` stands for a folder in which everybody may do everything.
#[track_caller]
fn check(rows: impl Fn(&Prison) -> Vec<(String, &'static str, &'static str)>) {
    for (level, column) in [("strict", 0), ("user", 1)] {
        let Some(prison) = Prison::new(level) else { continue };
        for (input, strict, user) in rows(&prison) {
            let wanted = [strict, user][column];
            if wanted != NOT_PROMISED {
                assert_eq!(prison.ask(&input), wanted, "{input} at {level}");
            }
        }
    }
}

#[test]
fn files_of_others_are_neither_read_nor_written() {
    check(|prison| {
        let secret = prison.machine.write("secret", "of another");
        chown(&secret, Some(OTHER), Some(OTHER)).unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let open = prison.machine.path("open");
        let _ = fs::create_dir(&open);
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let key = find(&prison.machine.home(), "key");
        let node = prison.node();
        let row = |input: String, strict, user| (input, strict, user);
        vec![
            row(format!("read {}", secret.display()), GONE, DENIED),
            row(format!("read {key}"), GONE, DENIED),
            row("read /etc/shadow".into(), GONE, DENIED),
            row("read /etc/passwd".into(), GONE, NOT_PROMISED),
            row("list /home".into(), GONE, NOT_PROMISED),
            row("list /root".into(), GONE, DENIED),
            row(format!("read /proc/{node}/environ"), GONE, DENIED),
            row(format!("read /proc/{node}/cmdline"), GONE, NOT_PROMISED),
            row("read /proc/1/environ".into(), DENIED, DENIED),
            row("read /sys/kernel/uevent_seqnum".into(), GONE, NOT_PROMISED),
            row("processes".into(), "2", NOT_PROMISED),
            row(format!("write {}/file", open.display()), GONE, DENIED),
            row("write /usr/file".into(), "Read-only file system", DENIED),
            row("write /dev/file".into(), "Read-only file system", DENIED),
            row("write /file".into(), "Read-only file system", DENIED),
            row("write own".into(), "ok", "ok"),
        ]
    });
}

/// A file beneath a folder whose name holds this.
fn find(folder: &Path, part: &str) -> String {
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else if entry.file_name().to_str().unwrap().contains(part) {
                return entry.path().display().to_string();
            }
        }
    }
    panic!("no {part} beneath {}", folder.display());
}

#[test]
fn the_network_is_out_of_reach() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = name("abstract");
    let _unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    check(|prison| {
        let socket = find(&prison.machine.path("run"), "sock");
        vec![
            (format!("tcp 127.0.0.1 {port}"), UNKNOWN, "ok"),
            (format!("tcp {}", prison.address.replace(':', " ")), UNKNOWN, "ok"),
            ("tcp 169.254.169.254 80".into(), UNKNOWN, NOT_PROMISED),
            (format!("unix @{name}"), "Connection refused", NOT_PROMISED),
            (format!("unix {socket}"), GONE, DENIED),
        ]
    });
}

#[test]
fn neighbours_are_neither_traced_nor_read_nor_signalled() {
    check(|prison| {
        let neighbour = prison.cluster.core(prison.machine.core(SPECIMEN)).unwrap();
        neighbour.run("noop").unwrap();
        prison.ask("processes");
        let mut rows = Vec::new();
        let workers = children(prison.node());
        assert!(workers.len() >= 2, "{workers:?}");
        // One of them is its own, which it may signal if it can name it.
        let own = prison.ask("pid").parse().unwrap_or(0);
        let others = workers.into_iter().filter(|&pid| pid != own);
        for pid in others.chain([prison.node()]) {
            rows.push((format!("ptrace {pid}"), UNKNOWN, "Operation not permitted"));
            rows.push((format!("peek {pid}"), UNKNOWN, "Operation not permitted"));
            rows.push((format!("kill {pid}"), "No such process", "Operation not permitted"));
        }
        rows
    });
}

#[test]
fn no_terminal_no_dump_no_new_rights_no_dangerous_call() {
    check(|prison| {
        let setuid = prison.machine.path("id");
        fs::copy("/usr/bin/id", &setuid).unwrap();
        fs::set_permissions(&setuid, Permissions::from_mode(0o4755)).unwrap();
        let refused = "stdin refused, tty refused, TIOCLINUX refused";
        vec![
            ("tiocsti".into(), refused, refused),
            ("dumps".into(), "1 0", "1 0"),
            ("exec-crash".into(), "signal 11", "signal 11"),
            ("setuid /usr/bin/id".into(), "1000", NOT_PROMISED),
            ("calls".into(), "", NOT_PROMISED),
        ]
    });
    let Some(prison) = Prison::new("user") else { return };
    let setuid = prison.machine.path("id");
    fs::copy("/usr/bin/id", &setuid).unwrap();
    fs::set_permissions(&setuid, Permissions::from_mode(0o4755)).unwrap();
    let uid = prison.ask(&format!("setuid {}", setuid.display()));
    assert!(uid.parse::<u32>().unwrap() > 1_000_000_000, "{uid}");
}

#[test]
fn shared_memory_with_a_name_or_number_stays_in_the_jail() {
    let name = name("shm");
    let key = 0x0fa0_0000 + std::process::id();
    check(|prison| {
        let _ = prison;
        vec![(format!("shm /{name}"), "ok", DENIED), (format!("sysv {key}"), "ok", NOT_PROMISED)]
    });
    assert!(!Path::new("/dev/shm").join(&name).exists());
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let keys = table.lines().filter_map(|line| line.split_whitespace().next());
    assert!(keys.into_iter().all(|found| found != key.to_string()), "{table}");
}

#[test]
fn a_daemon_that_a_core_leaves_behind_ends_with_its_worker() {
    for level in ["strict", "user"] {
        let Some(prison) = Prison::new(level) else { continue };
        let name = name(level);
        assert_eq!(prison.ask(&format!("linger {name}")), "ok");
        until("the daemon is up", || named(&name) == 1);
        prison.end_worker();
        until("it ended with its worker", || named(&name) == 0);
        // And with the node, however that ends.
        assert_eq!(prison.ask(&format!("linger {name}")), "ok");
        until("the daemon is up", || named(&name) == 1);
        kill(prison.node());
        if level == "strict" {
            until("it ended with its node", || named(&name) == 0);
        } else if has_groups() {
            // Nothing of the node is left to end it, until the next one comes.
            let _next = prison.machine.start_node("--name b");
            until("it ended with the next node", || named(&name) == 0);
        }
    }
}

/// What it leaves behind holds its pipe, and fills it for as long as anybody reads.
#[test]
fn who_babbles_for_a_dead_worker_neither_holds_nor_fills_the_node() {
    for level in ["strict", "user", "none"] {
        let Some(prison) = Prison::new(level) else { continue };
        let neighbour = prison.cluster.core(prison.machine.core(SPECIMEN)).unwrap();
        assert_eq!(text(&neighbour.run("echo before").unwrap()), "before");
        let before = memory(prison.node());
        let name = name("say");
        assert_eq!(prison.ask(&format!("babble {name}")), "ok");
        prison.end_worker();
        until("all of them have ended", || named(&name) == 0);
        assert_eq!(text(&neighbour.run("echo last").unwrap()), "last", "at {level}");
        let grown = memory(prison.node()).saturating_sub(before);
        assert!(grown < 16 << 10, "the node grew by {grown} KiB at {level}");
    }
}

#[test]
fn two_threads_of_a_strict_worker_get_one_cores_time() {
    if !has_groups() {
        return;
    }
    let Some(prison) = Prison::new("strict") else { return };
    const WALL: u64 = 1500;
    prison.ask("pid");
    let used: u64 = prison.ask(&format!("burn {WALL}")).parse().unwrap();
    // The limit is of each tenth of a second; one more may begin before the first ends.
    assert!(used > 0 && used < WALL * 3 / 2, "{used} ms of {WALL}");
}

/// A node of an ordinary user at level `user`: the column "user, other".
#[test]
fn level_user_holds_for_a_node_of_an_ordinary_user() {
    let Some(nobody) = Nobody::start("user") else { return };
    let (machine, node) = (&nobody.machine, nobody.node.child.id());
    let rows = [
        (format!("write {}/file", machine.path("").display()), DENIED),
        ("write /etc/file".into(), DENIED),
        (format!("ptrace {node}"), "Operation not permitted"),
        (format!("peek {node}"), "Operation not permitted"),
        ("setuid /usr/bin/id".into(), "65534"),
        ("tiocsti".into(), "stdin refused, tty refused, TIOCLINUX refused"),
        ("dumps".into(), "1 0"),
        ("exec-crash".into(), "signal 11"),
        ("write own".into(), "ok"),
    ];
    for (input, wanted) in rows {
        assert_eq!(nobody.ask(&input), wanted, "{input}");
    }
    let name = name("other");
    assert_eq!(nobody.ask(&format!("linger {name}")), "ok");
    nobody.fails("_exit 5");
    until("it ended with its worker", || named(&name) == 0);
}

fn has_groups() -> bool {
    let found = worker::jail::abilities();
    let is_whole = |ability: &worker::jail::Ability| {
        !ability.what.starts_with("limits of") || ability.gap().is_none()
    };
    let has = found.iter().all(is_whole);
    if !has {
        skipped("in part: this host lets us make no control groups");
    }
    has
}

#[test]
fn a_fork_bomb_is_bounded_and_leaves_nothing() {
    if !has_groups() {
        return;
    }
    for (level, most) in [("strict", 128), ("user", 512)] {
        let Some(prison) = Prison::new(level) else { continue };
        let name = name("bomb");
        let made: usize = prison.ask(&format!("bomb 100000 {name}")).parse().unwrap();
        assert!(made < most, "{made} at {level}");
        // So many there are, whoever of them forked whom.
        until("there are as many as may be", || named(&name) > most / 2);
        assert!(named(&name) <= most);
        // The others go on.
        let neighbour = prison.cluster.core(prison.machine.core(SPECIMEN)).unwrap();
        assert_eq!(text(&neighbour.run("echo alive").unwrap()), "alive");
        prison.end_worker();
        until("nothing of it is left", || named(&name) == 0);
        assert_eq!(text(&neighbour.run("echo alive").unwrap()), "alive");
    }
}

#[test]
fn the_scratch_folder_of_a_strict_worker_is_bounded() {
    let Some(prison) = Prison::new("strict") else { return };
    assert_eq!(prison.ask("fill 100000"), "256 No space left on device");
    let made = prison.ask("inodes 1000000");
    let (count, reason) = made.split_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    assert!(count <= 16 * 1024 && count > 8 * 1024, "{made}");
    assert_eq!(reason, "No space left on device");
    // Nothing of it lies on the host's disk.
    assert_eq!(prison.ask("write kept"), "ok");
    let scratch = prison.machine.path("state/farcall/a/scratch");
    let folders = fs::read_dir(&scratch).unwrap().flatten();
    assert!(folders.into_iter().all(|f| fs::read_dir(f.path()).unwrap().next().is_none()));
}

#[test]
fn memory_is_limited_with_all_that_a_core_starts() {
    for level in ["strict", "user"] {
        let Some(prison) = Prison::new(level) else { continue };
        let limit = 64 << 20;
        let specimen = prison.cluster.core(prison.machine.core(SPECIMEN)).unwrap();
        let is_named = |why: Why| match why {
            Why::OutOfMemory { peak, limit: named } => {
                assert_eq!(named, limit);
                assert!(peak > limit / 10 * 9, "a peak of {peak} at {level}");
            }
            other => panic!("{other:?} at {level}"),
        };
        is_named(why(specimen.memory(limit).retries(0).run("leak 512")));
        if has_groups() {
            is_named(why(prison.core.clone().memory(limit).run("leak-child 512")));
        }
        // A new worker of the same program begins anew.
        assert_eq!(text(&prison.core.clone().memory(limit).run("leak-child 8").unwrap()), "code 0");
    }
}

/// A group above the node's has the limit that the task itself has not.
#[test]
fn a_worker_that_dies_for_its_hosts_want_of_memory_is_lost_by_that_name() {
    if !has_groups() || !sys::limits::is_root() {
        return;
    }
    let own = sys::cgroup::Group::own().unwrap();
    let (group, _) = own.make_child(&name("host"));
    group.limit_memory(200 << 20).unwrap();
    let machine = Machine::new();
    fs::set_permissions(machine.path(""), Permissions::from_mode(0o755)).unwrap();
    let specimen = machine.core(SPECIMEN);
    let words = ["node", "--listen", "127.0.0.1:0", "--name", "a", "--slots", "1"];
    let mut command = machine.command(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut entrances = group.entrances().unwrap();
    entrances.extend(group.late_entrance().unwrap());
    // A shell enters the group by itself, then becomes the node.
    let script = "for fd in $FARCALL_TEST_GROUPS; do echo $$ > $fd; done; exec \"$0\" \"$@\"";
    let paths: Vec<String> = entrances
        .iter()
        .map(|fd| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(fd);
            let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            path.display().to_string()
        })
        .collect();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("FARCALL_TEST_GROUPS", paths.join(" ")).stdin(Stdio::null());
    shell.current_dir(machine.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (node, address) = machine.adopt(shell.spawn().unwrap());
    let cluster = Cluster::connect_with([&address], &machine.home()).unwrap();
    let core = cluster.core(specimen).unwrap().retries(0);
    let why = why(core.run("leak 2000"));
    let Why::WorkerLost { reason } = &why else { panic!("{why:?}") };
    assert!(reason.contains("for want of memory") && reason.contains("of 200 MiB"), "{reason}");
    drop(node);
    until("its group can go", || {
        group.children().iter().all(|name| group.sweep(name)) && group.remove()
    });
}

#[test]
fn floods_of_words_harm_nobody() {
    for level in ["strict", "user"] {
        let Some(prison) = Prison::new(level) else { continue };
        prison.ask("processes");
        let before = memory(prison.node());
        assert_eq!(prison.ask("flood 1000000"), "1000000");
        assert_eq!(prison.ask("long-line 4096"), "4096");
        let grown = memory(prison.node()).saturating_sub(before);
        assert!(grown < 16 << 10, "the node grew by {grown} KiB at {level}");
        assert!(
            matches!(prison.why("_exit 5"), Why::Exited { stderr, .. } if stderr.len() <= 4096)
        );
    }
}

#[test]
fn descriptors_and_threads_are_bounded() {
    for (level, most) in [("strict", 128), ("user", 512)] {
        let Some(prison) = Prison::new(level) else { continue };
        let specimen = prison.cluster.core(prison.machine.core(SPECIMEN)).unwrap();
        specimen.run("noop").unwrap();
        prison.ask("processes");
        let before = descriptors(prison.node());
        let opened: u64 = text(&specimen.run("files 100000").unwrap()).parse().unwrap();
        assert!(opened <= 1024 && opened > 512, "{opened}");
        let made: u64 = prison.ask("threads 100000").parse().unwrap();
        assert!(made < most && made > most / 2, "{made} threads at {level}");
        assert!(!prison.ask("processes").is_empty(), "the worker serves on at {level}");
        assert_eq!(descriptors(prison.node()), before);
    }
}

#[test]
fn who_ignores_signals_is_ended_all_the_same_and_named() {
    for level in ["strict", "user", "none"] {
        let Some(prison) = Prison::new(level) else { continue };
        let limit = Duration::from_millis(300);
        for input in ["signals", "segv-handler"] {
            let why = why(prison.core.clone().deadline(limit).run(input));
            assert_eq!(why, Why::TimeLimit { limit }, "{input} at {level}");
        }
        prison.end_worker();
    }
}

/// A node of an ordinary user, and the core that tries it.
struct Nobody {
    machine: Machine,
    node: Running,
    address: String,
    escapee: String,
}

impl Nobody {
    fn start(level: &str) -> Option<Self> {
        if !sys::limits::is_root() {
            skipped("only root can become an ordinary user here");
            return None;
        }
        let machine = Machine::new();
        let escapee = machine.core(ESCAPEE);
        for path in ["", "run"] {
            chown(machine.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(machine.path(""), Permissions::from_mode(0o755)).unwrap();
        if !as_nobody(&machine, "--version").output().is_ok_and(|ran| ran.status.success()) {
            skipped("an ordinary user cannot reach the program that is tested");
            return None;
        }
        let words = format!("node --listen 127.0.0.1:0 --name a --slots 1 --jail {level}");
        let (node, address) = machine.adopt(as_nobody(&machine, &words).spawn().unwrap());
        Some(Self { machine, node, address, escapee })
    }

    fn run(&self, input: &str) -> std::process::Output {
        let path = self.machine.write("in", input);
        let (core, address) = (&self.escapee, &self.address);
        let words = format!("core run {core} {} --nodes {address} --retries 0", path.display());
        as_nobody(&self.machine, &words).output().unwrap()
    }

    fn ask(&self, input: &str) -> String {
        let ran = self.run(input);
        assert!(ran.status.success(), "{input}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    fn fails(&self, input: &str) {
        assert!(!self.run(input).status.success(), "{input}");
    }
}

fn as_nobody(machine: &Machine, words: &str) -> Command {
    let mut command = machine.command(words.split_whitespace());
    command.uid(NOBODY).gid(NOBODY).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn strict_holds_for_a_node_of_an_ordinary_user() {
    if !strict_is_possible() {
        return;
    }
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let Some(nobody) = Nobody::start("strict") else { return };
    let machine = &nobody.machine;
    let node_id = nobody.node.child.id();
    let ask = |input: &str| nobody.ask(input);
    let key = find(&machine.home(), "key");
    let bound = name("nobody");
    let rows = [
        (format!("read {key}"), GONE),
        ("read /etc/passwd".into(), GONE),
        ("list /home".into(), GONE),
        (format!("read /proc/{node_id}/environ"), GONE),
        (format!("kill {node_id}"), "No such process"),
        (format!("write {}/file", machine.path("").display()), GONE),
        (format!("unix {}", find(&machine.path("run"), "sock")), GONE),
        (format!("tcp 127.0.0.1 {port}"), UNKNOWN),
        ("tcp 169.254.169.254 80".into(), UNKNOWN),
        ("setuid /usr/bin/id".into(), "1000"),
        ("dumps".into(), "1 0"),
        ("exec-crash".into(), "signal 11"),
        ("calls".into(), ""),
        ("processes".into(), "2"),
        ("fill 1000".into(), "256 No space left on device"),
        ("write own".into(), "ok"),
        (format!("linger {bound}"), "ok"),
    ];
    for (input, wanted) in rows {
        assert_eq!(ask(&input), wanted, "{input}");
    }
    let made: u64 = ask(&format!("bomb 100000 {bound}")).parse().unwrap();
    assert!(made < 128, "{made} processes");
    until("there are as many as may be", || named(&bound) > 64);
    let Nobody { machine: _machine, mut node, .. } = nobody;
    node.child.kill().unwrap();
    node.child.wait().unwrap();
    until("everything ended with the node", || named(&bound) == 0);
}

/// Groups of a node, by its number.
fn groups_of(node: u32) -> usize {
    let own = sys::cgroup::Group::own().unwrap();
    let is_its =
        |name: &&String| name.starts_with("farcall-") && name.contains(&format!("-{node}-"));
    own.children().iter().filter(is_its).count()
}

#[test]
fn a_node_takes_its_groups_along_and_the_next_removes_those_of_one_that_was_killed() {
    if !has_groups() {
        return;
    }
    for signal in ["TERM", "KILL"] {
        let Some(prison) = Prison::new("user") else { continue };
        prison.ask("processes");
        let node = prison.node();
        assert_eq!(groups_of(node), 1);
        let Prison { machine, node: mut running, cluster, .. } = prison;
        drop(cluster);
        running.signal(signal);
        running.child.wait().unwrap();
        if signal == "KILL" {
            assert_eq!(groups_of(node), 1, "nobody was left to remove it");
            let _next = machine.start_node("--name b");
            until("the next node has removed it", || groups_of(node) == 0);
        }
        assert_eq!(groups_of(node), 0, "after {signal}");
    }
}

#[test]
fn a_node_that_cannot_hold_strict_does_not_start_with_less() {
    let machine = Machine::new();
    // Root of a user namespace, who has forbidden himself what strict needs.
    let script = "echo 0 > /proc/sys/user/max_pid_namespaces && exec \"$0\" \"$@\"";
    let words = ["node", "--listen", "127.0.0.1:0", "--jail", "strict"];
    let command = machine.command(words);
    let mut shell = Command::new("unshare");
    shell.args(["-U", "-r", "sh", "-c", script]).arg(command.get_program()).args(words);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let ran = shell.current_dir(machine.path("")).stdin(Stdio::null()).output();
    let Ok(ran) = ran else {
        skipped("there is no `unshare` here");
        return;
    };
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    if words.contains("unshare failed") || words.contains("cannot create") {
        skipped(&words);
        return;
    }
    assert_eq!(ran.status.code(), Some(1), "{words}");
    assert!(words.contains("error[E0218]") && words.contains("strict"), "{words}");
}
