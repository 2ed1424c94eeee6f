//! The jail from inside: this test starts itself again as a worker, jails it, and has it try things.
//!
//! It has its own `main`, since a jail is put up by a process of one thread and the usual harness
//! runs every test in a second one.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use farcall_worker::jail::{self, Level, Rules, User};
use sys::Pid;
use sys::limits::{Resource, limit};
use sys::process::{Child, Exit, Spawn, Stderr};
use tempfile::TempDir;

const ATTEMPTS: &str = "FARCALL_TEST_ATTEMPTS";
const LEVEL: &str = "FARCALL_TEST_LEVEL";
const UID: &str = "FARCALL_TEST_UID";
const NOBODY: User = User { uid: 65534, gid: 65534 };

/// What is tested, a sentence for each.
const TESTS: [(&str, fn()); 10] = [
    (
        "nothing_outside_the_scratch_folder_is_written_made_moved_or_removed",
        nothing_outside_the_scratch_folder_is_written_made_moved_or_removed,
    ),
    ("the_scratch_folder_is_a_workers_own", the_scratch_folder_is_a_workers_own),
    (
        "reading_and_the_devices_that_keep_nothing_stay_open",
        reading_and_the_devices_that_keep_nothing_stay_open,
    ),
    (
        "the_daemon_cannot_be_signalled_by_its_workers",
        the_daemon_cannot_be_signalled_by_its_workers,
    ),
    ("limits_and_switches_are_set", limits_and_switches_are_set),
    (
        "a_worker_of_a_root_daemon_becomes_another_user_for_good",
        a_worker_of_a_root_daemon_becomes_another_user_for_good,
    ),
    (
        "a_worker_with_another_user_still_dies_with_its_daemon",
        a_worker_with_another_user_still_dies_with_its_daemon,
    ),
    ("running_as_root_is_said", running_as_root_is_said),
    (
        "without_a_jail_only_the_working_directory_changes",
        without_a_jail_only_the_working_directory_changes,
    ),
    (
        "a_jail_that_would_hold_one_of_several_threads_is_refused",
        a_jail_that_would_hold_one_of_several_threads_is_refused,
    ),
];

fn main() {
    if let Ok(attempts) = std::env::var(ATTEMPTS) {
        return worker(&attempts);
    }
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(&wanted)) {
        let passed = std::panic::catch_unwind(test).is_ok();
        eprintln!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    assert!(failed == 0, "{failed} tests failed");
}

/// A place with a scratch folder, and things outside it that a worker should not touch.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Anybody may write everywhere here: what is refused is refused by the jail.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let place = Self { folder };
        fs::create_dir(place.path("scratch")).unwrap();
        fs::create_dir(place.path("outside")).unwrap();
        fs::write(place.path("outside/file"), "text").unwrap();
        for path in ["scratch", "outside", "outside/file"] {
            fs::set_permissions(place.path(path), Permissions::from_mode(0o777)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a jailed worker that makes these attempts; returns what it tells, a line for each gap
    /// (`gap: …`) and for each attempt (`ATTEMPT: outcome`).
    fn worker(&self, level: Level, user: Option<User>, attempts: &[&str]) -> Vec<String> {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut child = self.start(level, user, attempts, writer.into());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Code(0), "{text}");
        text.lines().map(str::to_owned).collect()
    }

    fn start(&self, level: Level, user: Option<User>, attempts: &[&str], output: OwnedFd) -> Child {
        let mut spawn = Spawn::new(std::env::current_exe().unwrap());
        spawn.env = jail::environment(&self.path("scratch"), []);
        spawn.env.push((ATTEMPTS.into(), attempts.join("\n").into()));
        spawn.env.push((LEVEL.into(), format!("{level:?}").into()));
        if let Some(user) = user {
            spawn.env.push((UID.into(), user.uid.to_string().into()));
        }
        spawn.descriptors.push((output, 3));
        spawn.stderr = Stderr::Inherit;
        spawn.start().unwrap()
    }
}

/// The process that the tests start.
fn worker(attempts: &str) {
    let mut output = OpenOptions::new().write(true).open("/proc/self/fd/3").unwrap();
    let scratch = PathBuf::from(std::env::var_os("HOME").unwrap());
    let uid = std::env::var(UID).ok().map(|uid| uid.parse().unwrap());
    let rules = Rules {
        writable: vec![],
        user: uid.map(|uid| User { uid, gid: uid }),
        open_files_max: 100,
        file_bytes_max: Some(1 << 20),
        processes_max: None,
        scratch,
    };
    let level = if std::env::var(LEVEL).unwrap() == "User" { Level::User } else { Level::None };
    let report = jail::apply(level, &rules).unwrap();
    for gap in report.gaps {
        writeln!(output, "gap: {gap}").unwrap();
    }
    for line in attempts.lines() {
        let outcome = attempt(line).unwrap_or_else(|error| format!("{:?}", error.kind()));
        writeln!(output, "{line}: {outcome}").unwrap();
    }
}

/// Does `VERB PATH [PATH]`.
fn attempt(line: &str) -> io::Result<String> {
    let mut words = line.split(' ');
    let verb = words.next().unwrap();
    let mut path = || Path::new(words.next().unwrap());
    match verb {
        "read" => drop(fs::read(path())?),
        "list" => drop(fs::read_dir(path())?),
        "write" => fs::write(path(), "text")?,
        "open-write" => drop(OpenOptions::new().write(true).open(path())?),
        "truncate" => OpenOptions::new().write(true).open(path())?.set_len(0)?,
        "mkdir" => fs::create_dir(path())?,
        "remove" => fs::remove_file(path())?,
        "rename" => fs::rename(path(), path())?,
        "link" => fs::hard_link(path(), path())?,
        "symlink" => symlink(path(), path())?,
        "mode" => return Ok(format!("{:o}", fs::metadata(path())?.permissions().mode() & 0o777)),
        "kill" => {
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", "kill -0 \"$1\"", "sh"])
                .arg(path())
                .stderr(std::process::Stdio::null())
                .status()?;
            return Ok(format!("{:?}", status.code()));
        }
        "status" => {
            let status = fs::read_to_string("/proc/self/status")?;
            let field = path().to_str().unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            return Ok(line
                .trim_start_matches(':')
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "));
        }
        "cwd" => return Ok(std::env::current_dir()?.display().to_string()),
        "limit-open-files" => {
            return Ok(limit(Pid::own(), Resource::OpenFiles).unwrap().hard.to_string());
        }
        "limit-core" => {
            return Ok(limit(Pid::own(), Resource::CoreDump).unwrap().hard.to_string());
        }
        "memfd" => {
            let file = sys::files::in_memory("x").map_err(io::Error::other)?;
            file.set_len(4096)?;
        }
        "wait" => {
            io::stdin().read_to_end(&mut Vec::new())?;
        }
        _ => panic!("no such attempt: {line}"),
    }
    Ok("done".to_owned())
}

/// Splits off the gaps; `None`, said aloud, if Landlock is what they lack.
fn with_landlock(mut lines: Vec<String>) -> Option<Vec<String>> {
    let lacks = |line: &&String| line.starts_with("gap: files can be written anywhere");
    if let Some(why) = lines.iter().find(lacks) {
        eprintln!("SKIPPED, since the host has no Landlock: {why}");
        return None;
    }
    lines.retain(|line| !line.starts_with("gap: "));
    Some(lines)
}

/// That a worker's attempts (`{}` stands for the place) end as told.
#[track_caller]
fn check(user: Option<User>, script: &[(&str, &str)]) {
    let place = Place::new();
    if let Some(user) = user {
        chown(place.path("scratch"), Some(user.uid), Some(user.gid)).unwrap();
    }
    let at = place.folder.path().to_str().unwrap().to_owned();
    let attempts: Vec<String> = script.iter().map(|(line, _)| line.replace("{}", &at)).collect();
    let attempts: Vec<&str> = attempts.iter().map(String::as_str).collect();
    let Some(got) = with_landlock(place.worker(Level::User, user, &attempts)) else { return };
    let want: Vec<String> = script
        .iter()
        .map(|(line, outcome)| format!("{line}: {outcome}").replace("{}", &at))
        .collect();
    assert_eq!(got, want);
}

fn is_root() -> bool {
    let root = sys::limits::is_root();
    if !root {
        eprintln!("SKIPPED, since only root can give a worker another user");
    }
    root
}

fn nothing_outside_the_scratch_folder_is_written_made_moved_or_removed() {
    let denied = "PermissionDenied";
    check(
        None,
        &[
            ("write {}/outside/new", denied),
            ("write {}/outside/file", denied),
            ("open-write {}/outside/file", denied),
            ("truncate {}/outside/file", denied),
            ("mkdir {}/outside/folder", denied),
            ("remove {}/outside/file", denied),
            ("symlink /etc/passwd {}/outside/link", denied),
            ("write {}/scratch/mine", "done"),
            ("rename {}/scratch/mine {}/outside/mine", denied),
            ("rename {}/outside/file {}/scratch/stolen", denied),
            // As between file systems: programs then copy instead, which is fine.
            ("link {}/outside/file {}/scratch/hard", "CrossesDevices"),
            // A way around by a name inside that leads outside.
            ("symlink {}/outside/file {}/scratch/soft", "done"),
            ("write {}/scratch/soft", denied),
            ("write {}/scratch/../outside/file", denied),
            ("write /tmp/farcall-jail-test", denied),
            ("write /dev/shm/farcall-jail-test", denied),
            ("read {}/outside/file", "done"),
        ],
    );
}

fn the_scratch_folder_is_a_workers_own() {
    check(
        None,
        &[
            ("cwd", "{}/scratch"),
            ("write {}/scratch/file", "done"),
            ("mode {}/scratch/file", "600"),
            ("mkdir folder", "done"),
            ("mode folder", "700"),
            ("rename file folder/file", "done"),
            ("truncate folder/file", "done"),
            ("remove folder/file", "done"),
        ],
    );
}

fn reading_and_the_devices_that_keep_nothing_stay_open() {
    check(
        None,
        &[
            ("read /etc/passwd", "done"),
            ("list /usr", "done"),
            ("open-write /dev/null", "done"),
            ("open-write /dev/zero", "done"),
            ("write /dev/null", "done"),
            ("memfd", "done"),
        ],
    );
}

fn the_daemon_cannot_be_signalled_by_its_workers() {
    let parent = format!("kill {}", std::process::id());
    check(None, &[(&parent, "Some(1)")]);
}

fn limits_and_switches_are_set() {
    check(
        None,
        &[
            ("limit-open-files", "100"),
            ("limit-core", "1"),
            ("status NoNewPrivs", "1"),
            ("status Threads", "1"),
        ],
    );
}

fn a_worker_of_a_root_daemon_becomes_another_user_for_good() {
    if !is_root() {
        return;
    }
    check(
        Some(NOBODY),
        &[
            ("status Uid", "65534 65534 65534 65534"),
            ("status Gid", "65534 65534 65534 65534"),
            ("status Groups", ""),
            ("status CapEff", "0000000000000000"),
            ("status CapPrm", "0000000000000000"),
            ("write {}/scratch/file", "done"),
            ("write {}/outside/file", "PermissionDenied"),
            ("read /etc/shadow", "PermissionDenied"),
        ],
    );
}

fn a_worker_with_another_user_still_dies_with_its_daemon() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    chown(place.path("scratch"), Some(NOBODY.uid), Some(NOBODY.gid)).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    // The kernel sees a daemon's end as the end of the thread that started the worker.
    let (mut child, ready) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let attempts = ["cwd", "kill 1", "read /dev/zero"];
            let child = place.start(Level::User, Some(NOBODY), &attempts, writer.into());
            let mut lines = io::BufReader::new(File::from(OwnedFd::from(reader)));
            let mut text = String::new();
            // It is jailed once it tells anything of what it tried; the last attempt has no end.
            while !text.contains("kill 1") {
                assert!(io::BufRead::read_line(&mut lines, &mut text).unwrap() > 0, "{text}");
            }
            (child, text)
        });
        thread.join().unwrap()
    });
    assert_eq!(child.wait().unwrap(), Exit::Signal { signal: 9, core_dumped: false }, "{ready}");
}

fn running_as_root_is_said() {
    if !is_root() {
        return;
    }
    let told = Place::new().worker(Level::User, None, &[]);
    assert!(told.iter().any(|line| line.contains("workers run as root")), "{told:?}");
}

fn without_a_jail_only_the_working_directory_changes() {
    let place = Place::new();
    let outside = format!("write {}", place.path("outside/file").display());
    let told = place.worker(Level::None, None, &["cwd", &outside, "status NoNewPrivs"]);
    let scratch = place.path("scratch").display().to_string();
    let want =
        [format!("cwd: {scratch}"), format!("{outside}: done"), "status NoNewPrivs: 0".into()];
    assert_eq!(told, want);
}

fn a_jail_that_would_hold_one_of_several_threads_is_refused() {
    let place = Place::new();
    let rules = Rules {
        scratch: place.path("scratch"),
        writable: vec![],
        user: None,
        open_files_max: 100,
        file_bytes_max: None,
        processes_max: None,
    };
    std::thread::scope(|scope| {
        let jailed = scope.spawn(|| jail::apply(Level::User, &rules));
        let error = jailed.join().unwrap().unwrap_err();
        assert!(matches!(error, jail::Error::Threads { found } if found > 1), "{error}");
    });
}
