//! Real processes that have exactly one thing each (`specimen.c`), looked at while they run.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::*;
use crate::files::Override;

struct Specimen {
    child: Child,
    subject: Pid,
    folder: TempDir,
}

impl Drop for Specimen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compiled once for all tests; not removed while they run.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("specimen");
        let mut compiler = Command::new("cc")
            .args(["-O1", "-w", "-x", "c", "-o"])
            .args([path.as_os_str(), "-".as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a C compiler");
        compiler.stdin.take().unwrap().write_all(include_bytes!("specimen.c")).unwrap();
        assert!(compiler.wait().unwrap().success());
        (folder, path)
    });
    path
}

/// What is said aloud where this host has not what a test needs.
fn start(mut command: Command, what: &str) -> Option<Specimen> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let mut child = command
        .arg(what)
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.as_mut().unwrap());
    output.read_line(&mut line).unwrap();
    let specimen = |subject| Specimen { child, subject, folder };
    match line.trim().strip_prefix("ready ") {
        Some(pid) => Some(specimen(Pid(pid.parse().unwrap()))),
        None => {
            eprintln!("skipped: {what}: {line}");
            drop(specimen(Pid(0)));
            None
        }
    }
}

fn specimen(what: &str) -> Option<Specimen> {
    start(Command::new(program()), what)
}

fn look(specimen: &Specimen) -> Report {
    preflight(specimen.subject, &Overrides::none()).unwrap()
}

/// It has this one finding and no other.
#[track_caller]
fn check(what: &str, object: &str, reason: &str) {
    let Some(specimen) = specimen(what) else { return };
    check_report(&look(&specimen), what, object, reason);
}

#[track_caller]
fn check_report(report: &Report, what: &str, object: &str, reason: &str) {
    let [found] = &report.findings[..] else { panic!("{what}: {report:#?}") };
    assert!(found.object.contains(object), "{what}: {found:?}");
    assert!(found.reason.contains(reason), "{what}: {found:?}");
    assert!(found.remedy.len() > 5, "{what}: {found:?}");
    assert_eq!(found.weight, Weight::Blocks, "{what}: {found:?}");
    assert!(!report.is_movable());
}

#[test]
fn a_clean_process_has_no_finding_and_all_of_it_travels() {
    let one = specimen("clean").unwrap();
    let report = look(&one);
    assert_eq!(report.findings, []);
    let objects: Vec<_> = report.travels.iter().map(|one| one.object.as_str()).collect();
    assert_eq!(
        objects,
        ["memory", "threads", "descriptor 0", "descriptor 1", "descriptor 2"],
        "{report:#?}"
    );
    let one = specimen("files").unwrap();
    let report = look(&one);
    assert_eq!(report.findings, []);
    assert_eq!(report.travels.len(), 9);
    let file = one.folder.path().join("file").display().to_string();
    assert!(report.travels[5].how.starts_with(&format!("{file}: its 4 bytes")), "{report:#?}");
}

#[test]
fn a_descriptor_that_cannot_travel_is_named() {
    for (what, reason) in [
        ("io_uring", "io_uring"),
        ("device", "device"),
        ("socket", "socket"),
        ("epoll", "epoll"),
        ("eventfd", "eventfd"),
        ("timerfd", "timerfd"),
        ("signalfd", "signalfd"),
        ("inotify", "inotify"),
        ("memfd", "memfd"),
        ("pidfd", "pidfd"),
        ("userfaultfd", "userfaultfd"),
        ("master", "pseudo-terminal"),
        ("proc", "kernel (proc)"),
        ("lock", "locked"),
    ] {
        check(what, "descriptor 3", reason);
    }
}

#[test]
fn both_ends_of_a_pipe_are_named_and_can_be_left_out() {
    let one = specimen("pipe").unwrap();
    let report = look(&one);
    let objects: Vec<_> = report.findings.iter().map(|found| found.object.as_str()).collect();
    assert_eq!(objects, ["descriptor 3", "descriptor 4"], "{report:#?}");
    assert!(report.findings[0].remedy.contains("--fd 3=drop"), "{report:#?}");
    let overrides = Overrides::none().with(3, Override::Drop).with(4, Override::Drop);
    assert!(preflight(one.subject, &overrides).unwrap().is_movable());
}

#[test]
fn memory_that_cannot_travel_is_named() {
    check("sysv", "memory at", "System V");
    check("written", "memory at", "others see what is written");
    check("hugetlb", "memory at", "hugetlbfs");
    check("mapped-device", "memory at", "the memory of a device");
}

#[test]
fn what_a_process_is_in_or_under_is_named() {
    check("child", "children", "1 child of its own");
    check("seccomp", "thread", "seccomp");
    check("traced", "process", "traces it already");
    check("folder", "working folder", "removed");
    check("namespace", "process", "own namespaces: mnt");
}

#[test]
fn one_that_waits_in_vfork_is_named_before_it_could_not_be_stopped() {
    let one = specimen("vfork").unwrap();
    // It says that it is ready before it calls vfork, since it cannot after.
    let report = (0..10_000).map(|_| look(&one)).find(|report| report.findings.len() == 2);
    let report = report.expect("it waits in vfork");
    assert_eq!(report.findings[0].object, "children");
    assert!(report.findings[1].reason.contains("vfork"), "{report:#?}");
}

#[test]
fn a_group_shared_with_others_and_a_deleted_executable_are_told_and_do_not_hinder() {
    let one = specimen("group").unwrap();
    let report = look(&one);
    assert_eq!(report.findings.len(), 1, "{report:#?}");
    assert_eq!(report.findings[0].object, "process group");
    assert!(report.is_movable());

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    fs::copy(program(), &copy).unwrap();
    let one = start(Command::new(&copy), "clean").unwrap();
    fs::remove_file(&copy).unwrap();
    let report = look(&one);
    assert_eq!(report.findings.len(), 1, "{report:#?}");
    assert!(report.findings[0].reason.contains("deleted"), "{report:#?}");
    assert!(report.is_movable());
}

#[test]
fn rights_of_others_are_named() {
    if !sys::limits::is_root() {
        return eprintln!("skipped: only root starts processes of others");
    }
    let mut other = Command::new(program());
    other.uid(65534).gid(65534);
    let one = start(other, "clean").unwrap();
    check_report(&look(&one), "other", "users", "belongs to user 65534");

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("copy");
    fs::copy(program(), &copy).unwrap();
    chown(&copy, Some(65534), None).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
    let one = start(Command::new(&copy), "clean").unwrap();
    let report = look(&one);
    let reasons: Vec<_> = report.findings.iter().map(|found| found.reason.as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("set-user-ID")), "{report:#?}");
    assert!(!report.is_movable());
}

/// `pause()` as a 32-bit program: its ELF head, one segment, and three instructions.
fn narrow_program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
    bytes.resize(16, 0);
    let code: &[u8] = &[0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7];
    let base = 0x0804_8000_u32;
    let whole = 52 + 32 + code.len() as u32;
    for half in [2_u16, 3] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1, base + 84, 52, 0, 0] {
        bytes.extend(u32::to_le_bytes(word));
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1, 0, base, base, whole, whole, 5, 4096] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend(code);
    bytes
}

#[test]
fn a_program_of_32_bits_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("narrow");
    fs::write(&path, narrow_program()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&path);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return eprintln!("skipped: no programs of 32 bits here: {error}"),
    };
    let report = preflight(Pid(child.id() as i32), &Overrides::none()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let narrow = report.findings.iter().find(|found| found.reason.contains("32 bits"));
    assert!(narrow.is_some_and(|found| found.weight == Weight::Blocks), "{report:#?}");
}

#[test]
fn who_cannot_be_traced_is_named_and_nothing_else_is_asked() {
    let own = preflight(Pid::own(), &Overrides::none()).unwrap();
    check_report(&own, "own", "process", "it is this process");
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let gone = preflight(Pid(child.id() as i32), &Overrides::none()).unwrap();
    check_report(&gone, "gone", "process", "it has ended");
    for (refusal, reason) in [
        (Untraceable::Yama(1), "ptrace_scope"),
        (Untraceable::OtherUser(7), "user 7"),
        (Untraceable::Kernels, "kernel"),
    ] {
        let report = judge(&Facts { pid: Pid(2), known: Err(refusal) });
        check_report(&report, "refused", "process 2", reason);
    }
}

#[test]
fn what_this_host_cannot_have_is_judged_from_facts() {
    let one = specimen("clean").unwrap();
    let facts = Facts::gather(one.subject, &Overrides::none()).unwrap();
    let with = |change: &dyn Fn(&mut Known)| {
        let mut facts = facts.clone();
        change(facts.known.as_mut().unwrap());
        judge(&facts)
    };
    let report = with(&|known| known.standing.threads[0].has_shadow_stack = true);
    check_report(&report, "shadow", "thread", "shadow stack");
    let report = with(&|known| {
        let thread = known.standing.threads[0];
        known.stuck.push(Thread { state: 'D', call: Some(0), ..thread });
    });
    check_report(&report, "disk", "thread", "cannot be interrupted");
    let device = Objection::Device("/dev/nvidia0".into());
    let report =
        with(&|known| known.objections = vec![(0x1000, device.clone()), (0x2000, device.clone())]);
    check_report(&report, "device", "memory at 0x1000", "the memory of a device (/dev/nvidia0)");
}

#[test]
fn who_has_the_kernel_remember_its_own_writes_travels_without_that_and_keeps_it_here() {
    use wire::image::{ImageId, Reader, Writer};
    let Some(specimen) = specimen("tracked") else { return };
    let report = look(&specimen);
    assert!(report.is_movable(), "{:?}", report.findings);
    let pid = specimen.subject;
    let is_watched = |mapping: &maps::Mapping| {
        mapping.flags.is_some_and(|flags| flags.contains(maps::Flags::FAULTS_WRITES))
    };
    let watched = || maps::detailed(pid).unwrap().iter().filter(|it| is_watched(it)).count();
    assert_eq!(watched(), 1);
    let mut frozen = crate::capture::Frozen::freeze(pid, Duration::from_secs(10)).unwrap();
    let description = frozen.describe().unwrap();
    let mut writer = Writer::new(Vec::new(), ImageId(1));
    description.put(&mut writer).unwrap();
    frozen.send(&description, &mut writer).unwrap();
    let image = writer.finish().unwrap();
    frozen.release().unwrap();
    assert_eq!(watched(), 1, "the original has lost it");
    let ends = [(); 3].map(|()| fs::File::open("/dev/null").unwrap().into());
    let descriptors =
        crate::restore::Descriptors::Opened(files::Stdio::Given(ends), Overrides::none());
    let restore =
        crate::restore::Restore { descriptors, keeps_numbers: false, ..Default::default() };
    let mut reader = Reader::new(&image[..]).unwrap().unwrap();
    let copy = restore.build(&mut reader).unwrap();
    assert!(!maps::detailed(copy.pid()).unwrap().iter().any(is_watched));
    let names = fs::read_dir(format!("/proc/{}/fd", copy.pid())).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| fs::read_link(entry.path()).unwrap()).collect();
    assert_eq!(names, vec![PathBuf::from("/dev/null"); 6]);
}
