//! Real processes, which check themselves (`specimen.c`), are captured; their images are read back and compared
//! with what they say of themselves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use sys::process_memory;
use sys::ptrace::Registers;
use wire::image::memory::{MappingKind, Place, Run, Sharing, Trust};
use wire::image::process::{SignalAction, Timer};
use wire::image::thread::Thread;
use wire::image::{ImageId, Reader, Section};

use super::*;

/// Nothing here waits that long where nothing is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times that something is tried that depends on when it is done.
const TRIES: u32 = 20_000;

const PAGE: u64 = 4096;

struct Specimen {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it said at the start, as numbers.
    told: Vec<u64>,
}

impl Specimen {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ours may be a file that others write: such a one is refused.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let told = line.trim().strip_prefix("ready").unwrap_or_else(|| panic!("{line:?}"));
        let told = told.split_ascii_whitespace();
        let told = told.map(|number| u64::from_str_radix(number, 16).unwrap()).collect();
        Self { child, output, told }
    }

    fn pid(&self) -> Pid {
        Pid(self.child.id() as i32)
    }

    fn freeze(&self) -> Frozen {
        Frozen::freeze(self.pid(), PATIENCE).unwrap()
    }

    /// Captures it while it stands still, and lets it go on.
    fn captured(&self) -> Image {
        let mut frozen = self.freeze();
        let description = frozen.describe().unwrap();
        let image = Image::of(&description, |to| frozen.send(&description, to).unwrap());
        frozen.release().unwrap();
        image
    }

    /// What it says at its end.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text.trim().to_owned()
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The compiled specimen, which all tests of this process share.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // Beside the tests themselves: the image names it by its path.
        let own = std::env::current_exe().unwrap();
        let program = own.with_extension(format!("specimen-{}", Pid::own()));
        let mut compiler = Command::new("cc")
            .args(["-O1", "-pthread", "-w", "-x", "c", "-o"])
            .args([program.as_os_str(), "-".as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a C compiler");
        let source = include_bytes!("specimen.c");
        compiler.stdin.take().unwrap().write_all(source).unwrap();
        assert!(compiler.wait().unwrap().success());
        let kept = own.with_extension("specimen");
        std::fs::rename(&program, &kept).unwrap();
        kept
    })
}

/// An image that was read back.
struct Image {
    description: Description,
    /// By their addresses.
    pages: BTreeMap<u64, Vec<u8>>,
    zeros: Vec<u64>,
    guards: Vec<u64>,
    sent: Sent,
}

impl Image {
    fn of(description: &Description, send: impl FnOnce(&mut Writer<Vec<u8>>) -> Sent) -> Self {
        let mut writer = Writer::new(Vec::new(), ImageId(7));
        description.put(&mut writer).unwrap();
        let sent = send(&mut writer);
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]).unwrap().unwrap();
        let (found, mut next) = Description::take(&mut reader).unwrap();
        assert_eq!(&found, description, "it is read as it was written");
        let (mut pages, mut zeros, mut guards) = (BTreeMap::new(), Vec::new(), Vec::new());
        while let Some(section) = next {
            match section {
                Section::Pages(told) => {
                    for at in addresses(&told.runs) {
                        let mut page = vec![0; PAGE as usize];
                        reader.read(&mut page).unwrap();
                        assert!(pages.insert(at, page).is_none(), "{at:#x} is told of twice");
                    }
                }
                Section::Placed(told) => match told.place {
                    Place::Zero => zeros.extend(addresses(&told.runs)),
                    Place::Guard => guards.extend(addresses(&told.runs)),
                    place => panic!("{place:?} was not asked for"),
                },
                Section::File(_) => {}
                other => panic!("{other:?} comes too late"),
            }
            next = reader.next_section().unwrap();
        }
        Self { description: found, pages, zeros, guards, sent }
    }

    fn mapping(&self, at: u64) -> &wire::image::memory::Mapping {
        let all = &self.description.mappings;
        let found = all.iter().find(|mapping| (mapping.start..mapping.end).contains(&at));
        found.unwrap_or_else(|| panic!("{at:#x} is not mapped"))
    }

    /// The pages of so many from an address that have bytes, by their numbers.
    fn told(&self, at: u64, pages: u64) -> Vec<u64> {
        self.pages.range(at..at + pages * PAGE).map(|(found, _)| (found - at) / PAGE).collect()
    }

    #[track_caller]
    fn is_marked(&self, at: u64, mark: u64) {
        assert_eq!(self.pages[&at][..8], mark.to_ne_bytes(), "the page at {at:#x}");
    }

    fn main(&self) -> &Thread {
        &self.description.threads[0]
    }
}

fn addresses(runs: &[Run]) -> Vec<u64> {
    let pages = runs.iter().flat_map(|run| run.page..run.page + u64::from(run.count));
    pages.map(|page| page * PAGE).collect()
}

fn registers(thread: &Thread) -> Registers {
    Registers::from_bytes(&thread.registers.general).unwrap()
}

#[test]
fn what_the_kernel_keeps_is_told_as_the_program_knows_it() {
    let child = Specimen::start(&["kernel"]);
    let image = child.captured();
    let &[handler, alternate, size, value, robust, clear_tid, break_now] = &child.told[..] else {
        panic!("{:?}", child.told)
    };
    let process = &image.description.process;
    let main = image.main();
    assert_eq!((main.tid, process.pid), (child.pid().0, child.pid().0));
    assert_eq!(main.name.0, b"a (name) 1");
    let stack = main.alternate_stack;
    assert_eq!((stack.pointer, stack.flags, stack.size), (alternate, 0, size));
    assert_eq!(main.robust_list.unwrap().head, robust);
    assert_eq!(main.clear_tid, clear_tid);
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let realtime = libc::SIGRTMIN();
    assert_eq!(main.signal_mask, bit(libc::SIGUSR2) | bit(realtime + 1));
    let signal = |info: &wire::image::process::SignalInfo| {
        i32::from_ne_bytes(info.0[..4].try_into().unwrap())
    };
    assert_eq!(main.pending.iter().map(signal).collect::<Vec<_>>(), [libc::SIGUSR2]);
    assert_eq!(process.pending.iter().map(signal).collect::<Vec<_>>(), [realtime + 1]);
    assert_eq!(process.pending[0].0[24..28], 4711_i32.to_ne_bytes());

    let action = |signal: i32| {
        process.actions.iter().find(|action| i32::from(action.signal) == signal).copied()
    };
    let SignalAction { handler: found, flags, mask, .. } = action(libc::SIGUSR1).unwrap();
    let want = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64;
    assert_eq!((found, flags & want, mask), (handler, want, bit(libc::SIGHUP)));
    assert_eq!(action(libc::SIGPIPE).unwrap().handler, libc::SIG_IGN as u64);
    assert_eq!(action(libc::SIGTERM), None);

    assert_eq!(process.umask, 0o027);
    assert_eq!(process.attributes.parent_death_signal, libc::SIGUSR2 as u32);
    assert!(process.attributes.no_new_privileges);
    assert_eq!(process.attributes.dumpable, 1);
    let files = process.limits.iter().find(|limit| limit.resource == libc::RLIMIT_NOFILE).unwrap();
    assert_eq!((files.soft, files.hard), (123, 456));
    assert_eq!(process.marks.break_now, break_now);
    assert!((process.marks.break_start..break_now).contains(&(break_now - 3 * PAGE)));

    let [real, virtual_, profiling] = process.interval_timers;
    assert_eq!(real.interval, 7_000_500_000);
    assert!((1..=1_000_000_000_000).contains(&real.left), "{real:?}");
    assert_eq!((virtual_, profiling), (Timer::default(), Timer::default()));
    let [first, second] = &process.timers[..] else { panic!("{:?}", process.timers) };
    assert_eq!((first.clock, first.notify), (libc::CLOCK_MONOTONIC, libc::SIGEV_SIGNAL));
    assert_eq!((first.signal, first.value), ((realtime + 2) as u32, value));
    assert_eq!(first.timer, Timer::default());
    assert_eq!((second.clock, second.notify), (libc::CLOCK_REALTIME, libc::SIGEV_THREAD_ID));
    assert_eq!(second.thread, child.pid().0);
    assert_eq!(second.timer.interval, 3_000_000_004);
    assert!((4_000_000_000_000..=5_000_000_000_000).contains(&second.timer.left));

    assert_eq!(process.executable.path.0, program().as_os_str().as_encoded_bytes());
    assert_eq!(process.arguments[1].0, b"kernel");
    let here = std::env::current_dir().unwrap();
    assert_eq!(process.directory.0, here.as_os_str().as_encoded_bytes());
    let page_size = process.auxiliary.iter().find(|entry| entry.key == libc::AT_PAGESZ).unwrap();
    assert_eq!(page_size.value, PAGE);
    assert!(process.clocks.monotonic > 0 && process.clocks.boot >= process.clocks.monotonic);
    assert!(image.description.host.c_library.is_some(), "glibc has a build id");
    assert_eq!(child.end(), "good");
}

/// The memory of one specimen as its image should tell it.
#[track_caller]
fn has_all_memory(told: &[u64], image: &Image) {
    let &[
        plain,
        sparse,
        private,
        shared,
        once,
        again,
        unforked,
        wiped,
        guarded,
        guards,
        large,
        grows,
    ] = told
    else {
        panic!("{told:?}")
    };
    let letters = |at: u64| image.mapping(at).flags.clone();
    assert_eq!(image.told(plain, 8), [0, 5]);
    image.is_marked(plain, plain);
    image.is_marked(plain + 5 * PAGE, plain + 5 * PAGE);
    assert!(!image.mapping(plain).permissions.write);
    assert!(!image.mapping(plain + 5 * PAGE).permissions.read);

    let far = (100 << 30) / PAGE;
    assert_eq!(image.told(sparse, far), [0, far / 2, far / 100 * 99]);
    assert!(letters(sparse).contains(b"nr") && letters(sparse).contains(b"nh"));

    // Four pages and four bytes of a file that no other host has; behind its end there is nothing to read.
    let MappingKind::File(file) = &image.mapping(private).kind else { panic!("it is of a file") };
    assert_eq!((&file.trust, file.deleted, file.identity.size), (&Trust::No, false, 4 * PAGE + 4));
    assert_eq!(image.told(private, 6), [0, 1, 3, 4]);
    image.is_marked(private, 0);
    image.is_marked(private + PAGE, private + PAGE);
    image.is_marked(private + 3 * PAGE, 3 * PAGE / 8);
    assert_eq!(&image.pages[&(private + 4 * PAGE)][..5], b"tail\0");

    assert_eq!(image.mapping(shared).sharing, Sharing::Shared);
    assert_eq!(image.mapping(shared).kind, MappingKind::Anonymous { name: None });
    assert_eq!(image.told(shared, 4), [1]);
    let object = |at: u64| match &image.mapping(at).kind {
        MappingKind::File(file) => (file.path.to_string(), file.deleted, file.identity.inode),
        other => panic!("{other:?}"),
    };
    assert_eq!(object(once), object(again));
    assert_eq!((&object(once).0[..], object(once).1), ("/memfd:twice", true));
    for at in [once, again] {
        assert_eq!(image.told(at, 3), [2]);
        image.is_marked(at + 2 * PAGE, once + 2 * PAGE);
    }

    assert!(letters(unforked).contains(b"dc") && letters(wiped).contains(b"wf"));
    image.is_marked(unforked, unforked);
    image.is_marked(wiped + PAGE, wiped + PAGE);

    assert_eq!(image.told(guarded, 8), [1]);
    let want: &[u64] = if guards == 1 { &[guarded + 3 * PAGE, guarded + 4 * PAGE] } else { &[] };
    assert_eq!(image.guards, want);
    assert!(letters(large).contains(b"hg") && letters(grows).contains(b"gd"));
    assert_eq!(image.told(large, 512).len(), 512);
    image.is_marked(large + 511 * PAGE, large + 511 * PAGE);
    image.is_marked(grows, grows);

    let special = |name: &str| {
        let is_it = |kind: &MappingKind| matches!(kind, MappingKind::Special { name: found } if found.to_string() == name);
        image.description.mappings.iter().find(|mapping| is_it(&mapping.kind))
    };
    let vdso = special("[vdso]").unwrap();
    assert_eq!(image.told(vdso.start, 1), [0]);
    assert!(special("[vvar]").is_none_or(|vvar| image.told(vvar.start, 4).is_empty()));
    let is_library = |kind: &MappingKind| matches!(kind, MappingKind::File(file) if file.path.to_string().ends_with("libc.so.6"));
    let library = image.description.mappings.iter().filter(|mapping| is_library(&mapping.kind));
    for mapping in library.filter(|mapping| mapping.permissions.execute) {
        let MappingKind::File(file) = &mapping.kind else { unreachable!() };
        assert_eq!(file.trust, Trust::Build(image.description.host.c_library.clone().unwrap()));
        let pages = (mapping.end - mapping.start) / PAGE;
        assert_eq!(image.told(mapping.start, pages), [0; 0], "its code is the file's");
    }
    assert_eq!(image.sent.pages, image.pages.len() as u64);
    assert!(image.zeros.iter().all(|at| !image.pages.contains_key(at)));
}

#[test]
fn memory_of_every_kind_is_told_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let child = Specimen::start(&["memory", folder.path().join("file").to_str().unwrap()]);
    has_all_memory(&child.told, &child.captured());
    // Looked at before, it is told the same.
    let look = Look::at(child.pid()).unwrap();
    let mut frozen = Frozen::freeze_known(child.pid(), Some(look), PATIENCE).unwrap();
    let description = frozen.describe().unwrap();
    let image = Image::of(&description, |to| frozen.send(&description, to).unwrap());
    has_all_memory(&child.told, &image);
    frozen.release().unwrap();
    assert_eq!(child.end(), "good");
}

#[test]
fn a_twin_has_all_memory_though_a_fork_copies_less() {
    let folder = tempfile::tempdir().unwrap();
    let child = Specimen::start(&["memory", folder.path().join("file").to_str().unwrap()]);
    let mut frozen = child.freeze();
    let description = frozen.describe().unwrap();
    let mut twin = frozen.twin(&description).unwrap();
    // What the original does from now on is not seen: not in shared memory either.
    for at in [child.told[3] + PAGE, child.told[4], child.told[6], child.told[10]] {
        process_memory::write(child.pid(), at, &[0xff; 8]).unwrap();
    }
    let image = Image::of(&description, |to| twin.send(&description, to).unwrap());
    has_all_memory(&child.told, &image);
    let pid = twin.pid();
    twin.end().unwrap();
    assert!(
        !std::fs::exists(format!("/proc/{pid}")).unwrap()
            || sys::proc::kinship(pid).unwrap().is_dead
    );
}

#[test]
fn a_secret_is_found_where_nobody_may_read_and_refused_where_others_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret: Vec<u8> = (1..=32).collect();
    let child = Specimen::start(&["count", "1", "10"]);
    let mut frozen = child.freeze();
    let hidden = child.told[0];
    process_memory::write(child.pid(), hidden + 100, &secret).unwrap();
    let mut remote = Remote::enter(&mut frozen.tracee.threads_mut()[0], PATIENCE).unwrap();
    let args = [hidden, PAGE, libc::PROT_NONE as u64, 0, 0, 0];
    remote.run(&[Call { number: libc::SYS_mprotect, args }]).unwrap()[0].as_ref().unwrap();
    remote.finish().unwrap();
    let description = frozen.describe().unwrap();
    assert_eq!(wipe(child.pid(), &description, &[&secret], None).unwrap(), 1);
    let mut found = [1; 32];
    process_memory::read(child.pid(), hidden + 100, &mut found).unwrap();
    assert_eq!(found, [0; 32]);
    frozen.end().unwrap();

    let child = Specimen::start(&["memory", folder.path().join("file").to_str().unwrap()]);
    let mut frozen = child.freeze();
    let is_shared = |mapping: &maps::Mapping| {
        mapping.sharing == maps::Sharing::Shared
            && mapping.permissions.write
            && mappings::shared_memory(mapping).is_some()
    };
    let mapped = maps::mappings(child.pid()).unwrap();
    let at = mapped.into_iter().find(is_shared).unwrap().range.start + 200;
    process_memory::write(child.pid(), at, &secret).unwrap();
    let description = frozen.describe().unwrap();
    let refused = wipe(child.pid(), &description, &[&secret], None).unwrap_err();
    assert!(matches!(refused, Error::SharedSecret { address } if address == at), "{refused}");
    process_memory::read(child.pid(), at, &mut found).unwrap();
    assert_eq!(found[..], secret, "the others have lost it");
    frozen.end().unwrap();
}

/// Has a frozen process map something.
fn map(frozen: &mut Frozen, calls: &[Call]) -> Vec<u64> {
    let mut remote = Remote::enter(&mut frozen.tracee.threads_mut()[0], PATIENCE).unwrap();
    let results = remote.run(calls).unwrap();
    remote.finish().unwrap();
    results.into_iter().map(|result| result.unwrap()).collect()
}

fn mapping(at: u64, pages: u64, protection: i32, flags: i32, fd: u64) -> Call {
    let args = [at, pages * PAGE, protection as u64, flags as u64, fd, 0];
    Call { number: libc::SYS_mmap, args }
}

#[test]
fn a_secret_in_a_file_that_is_only_read_does_not_leave_and_the_file_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let secret: Vec<u8> = (1..=32).map(|number: u8| number ^ 0x35).collect();
    let bytes = [&vec![b'-'; 5000], &secret[..], &vec![b'-'; 9000]].concat();
    std::fs::write(&path, &bytes).unwrap();
    for flags in [libc::MAP_PRIVATE, libc::MAP_SHARED] {
        let child = Specimen::start(&["count", "1", "10"]);
        let mut frozen = child.freeze();
        let name = child.told[0] + 8;
        process_memory::write(
            child.pid(),
            name,
            &[path.as_os_str().as_encoded_bytes(), &[0]].concat(),
        )
        .unwrap();
        let open = Call { number: libc::SYS_open, args: [name, libc::O_RDONLY as u64, 0, 0, 0, 0] };
        let file = map(&mut frozen, &[open])[0];
        map(&mut frozen, &[mapping(0, 4, libc::PROT_READ, flags, file)]);
        let description = frozen.describe().unwrap();
        let has_it = |frozen: &Frozen| {
            let mut image = Vec::new();
            let mut writer = Writer::new(&mut image, ImageId(1));
            description.put(&mut writer).unwrap();
            frozen.send_pages(&description, &mut writer).unwrap();
            writer.finish().unwrap();
            memchr::memmem::find(&image, &secret).is_some()
        };
        assert!(has_it(&frozen), "it is looked for in vain");
        let wiped = wipe(child.pid(), &description, &[&secret], None);
        match flags {
            libc::MAP_PRIVATE => {
                assert_eq!(wiped.unwrap(), 1);
                assert!(!has_it(&frozen));
            }
            _ => assert!(matches!(wiped, Err(Error::SharedSecret { .. })), "{wiped:?}"),
        }
        frozen.end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_secret_across_two_mappings_is_found_by_whoever_looks_near_either_of_them() {
    let secret: Vec<u8> = (1..=32).collect();
    for near in [None, Some(0), Some(1)] {
        let child = Specimen::start(&["count", "1", "10"]);
        let mut frozen = child.freeze();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let open = libc::PROT_READ | libc::PROT_WRITE;
        let at = map(&mut frozen, &[mapping(0, 2, open, flags, u64::MAX)])[0];
        let border = at + PAGE;
        process_memory::write(child.pid(), border - 7, &secret).unwrap();
        let args = [border, PAGE, libc::PROT_READ as u64, 0, 0, 0];
        map(&mut frozen, &[Call { number: libc::SYS_mprotect, args }]);
        let description = frozen.describe().unwrap();
        assert!(description.mappings.iter().any(|it| it.start == border), "they are one");
        let near = near.map(|page| Vec::from_iter(Some(at + page * PAGE..at + (page + 1) * PAGE)));
        assert_eq!(wipe(child.pid(), &description, &[&secret, &[]], near.as_deref()).unwrap(), 1);
        let mut found = [1; 32];
        process_memory::read(child.pid(), border - 7, &mut found).unwrap();
        assert_eq!(found, [0; 32]);
        frozen.end().unwrap();
    }
}

#[test]
fn a_secret_in_what_a_fork_does_not_copy_is_wiped_where_no_chunk_has_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let secret: Vec<u8> = (1..=32).map(|number: u8| number ^ 0x35).collect();
    let chunk = pages::CHUNK;
    let mut bytes = vec![b'-'; 2 * chunk];
    bytes[chunk - 5..chunk + 27].copy_from_slice(&secret);
    std::fs::write(&path, &bytes).unwrap();
    let child = Specimen::start(&["count", "1", "10"]);
    let mut frozen = child.freeze();
    let name = child.told[0] + 8;
    process_memory::write(child.pid(), name, &[path.as_os_str().as_encoded_bytes(), &[0]].concat())
        .unwrap();
    let open = Call { number: libc::SYS_open, args: [name, libc::O_RDONLY as u64, 0, 0, 0, 0] };
    let file = map(&mut frozen, &[open])[0];
    let pages = bytes.len() as u64 / PAGE;
    map(&mut frozen, &[mapping(0, pages, libc::PROT_READ, libc::MAP_SHARED, file)]);
    let description = frozen.describe().unwrap();
    let mut kept = Kept::read(child.pid(), &description).unwrap();
    assert_eq!((kept.wipe(&[&secret]), kept.wipe(&[&secret])), (1, 0));
    frozen.end().unwrap();
}

#[test]
fn what_a_fork_does_not_copy_is_kept_within_a_bound_and_without_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let child = Specimen::start(&["memory", folder.path().join("file").to_str().unwrap()]);
    let mut frozen = child.freeze();
    let description = frozen.describe().unwrap();
    Kept::read(child.pid(), &description).unwrap();
    let refused = Kept::read_at_most(child.pid(), &description, PAGE - 1).unwrap_err().to_string();
    assert!(refused.contains("without leaving it running"), "{refused}");
    frozen.release().unwrap();
    assert_eq!(child.end(), "good");
}

#[test]
fn a_twin_that_lacks_what_was_advised_since_the_look_is_refused_by_name() {
    for advice in [libc::MADV_DONTFORK, libc::MADV_WIPEONFORK] {
        let child = Specimen::start(&["count", "1", "10"]);
        let look = Look::at(child.pid()).unwrap();
        let mut frozen = child.freeze();
        let mut remote = Remote::enter(&mut frozen.tracee.threads_mut()[0], PATIENCE).unwrap();
        let args = [child.told[0], 10 * PAGE, advice as u64, 0, 0, 0];
        remote.run(&[Call { number: libc::SYS_madvise, args }]).unwrap()[0].as_ref().unwrap();
        remote.finish().unwrap();
        frozen.release().unwrap();
        let mut frozen = Frozen::freeze_known(child.pid(), Some(look), PATIENCE).unwrap();
        let description = frozen.describe().unwrap();
        let refused = frozen.twin(&description).unwrap_err().to_string();
        assert!(refused.contains("MADV_DONTFORK"), "{refused}");
        // It goes on, and the next look sees it.
        let look = Look::at(child.pid()).unwrap();
        let mut frozen = Frozen::freeze_known(child.pid(), Some(look), PATIENCE).unwrap();
        let description = frozen.describe().unwrap();
        let mut twin = frozen.twin(&description).unwrap();
        let image = Image::of(&description, |to| twin.send(&description, to).unwrap());
        image.is_marked(child.told[0] + 9 * PAGE, child.told[0] + 9 * PAGE);
        twin.end().unwrap();
        assert_eq!(child.end(), "good");
    }
}

#[test]
fn a_process_under_load_is_captured_fifty_times_and_goes_on_unharmed() {
    let child = Specimen::start(&["count", "6", "300"]);
    for round in 0..50 {
        let mut frozen = child.freeze();
        let description = frozen.describe().unwrap();
        let mut tids: Vec<u64> =
            description.threads.iter().map(|thread| thread.tid as u64).collect();
        assert_eq!(tids.remove(0), child.pid().0 as u64);
        let mut want = child.told[2..].to_vec();
        want.sort_unstable();
        assert_eq!(tids, want);
        let check = |image: &Image| {
            assert_eq!(image.told(child.told[0], 300).len(), 300);
            image.is_marked(child.told[0] + 299 * PAGE, child.told[0] + 299 * PAGE);
        };
        if round % 2 == 0 {
            check(&Image::of(&description, |to| frozen.send(&description, to).unwrap()));
            frozen.release().unwrap();
        } else {
            let mut twin = frozen.twin(&description).unwrap();
            check(&Image::of(&description, |to| twin.send(&description, to).unwrap()));
            twin.end().unwrap();
        }
    }
    assert_eq!(sys::proc::children(child.pid()).unwrap(), []);
    // It has counted on, has no child, and heard of none: it says so.
    assert_eq!(child.end(), "good");
}

#[test]
fn a_twin_that_is_forgotten_ends() {
    let child = Specimen::start(&["count", "1", "10"]);
    let mut frozen = child.freeze();
    let description = frozen.describe().unwrap();
    let mut twin = frozen.twin(&description).unwrap();
    let pid = twin.pid();
    assert!(
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().next().is_none(),
        "it has descriptors"
    );
    drop(twin);
    assert!(
        !std::fs::exists(format!("/proc/{pid}")).unwrap()
            || sys::proc::kinship(pid).unwrap().is_dead
    );
    assert_eq!(child.end(), "good");
}

#[test]
fn a_process_that_adopts_orphans_does_not_adopt_its_twin() {
    let child = Specimen::start(&["adopt", "1", "10"]);
    for _ in 0..3 {
        let mut frozen = child.freeze();
        let description = frozen.describe().unwrap();
        assert!(description.process.attributes.child_subreaper);
        let mut twin = frozen.twin(&description).unwrap();
        assert_ne!(sys::proc::kinship(twin.pid()).unwrap().parent, child.pid());
        twin.end().unwrap();
    }
    // It adopts still, has no child, and heard of none: it says so.
    assert_eq!(child.end(), "good");
}

#[test]
fn a_reader_sees_the_end_of_a_pipe_whose_writer_has_a_twin() {
    let mut child = Specimen::start(&["count", "1", "10"]);
    let mut frozen = child.freeze();
    let description = frozen.describe().unwrap();
    let twin = frozen.twin(&description).unwrap();
    drop(child.child.stdin.take());
    let mut text = String::new();
    child.output.read_to_string(&mut text).unwrap();
    assert_eq!(text.trim(), "good", "the twin stands still, and has not the pipe");
    twin.end().unwrap();
}

/// A child is captured in a call, and again once the kernel goes on with that; `numbers` are what the registers
/// of the images make: a call, or an error.
#[track_caller]
fn makes_again(how: &str, numbers: [i64; 2]) {
    let child = Specimen::start(&["wait", how]);
    for (round, want) in numbers.into_iter().enumerate() {
        let mut tries = 0;
        let (image, frozen) = loop {
            let mut frozen = child.freeze();
            let now = frozen.tracee.threads()[0].registers().unwrap();
            let is_restarted = now.orig_rax == libc::SYS_restart_syscall as u64;
            if now.interrupted_call().is_some()
                && (round == 0 || is_restarted || want == numbers[0])
            {
                let description = frozen.describe().unwrap();
                break (
                    Image::of(&description, |to| frozen.send(&description, to).unwrap()),
                    frozen,
                );
            }
            frozen.release().unwrap();
            tries += 1;
            assert!(tries < TRIES, "it is in no call: {now:x?}");
            std::thread::yield_now();
        };
        let found = registers(image.main());
        assert_eq!(found.rax as i64, want, "{how}, capture {round}");
        assert_eq!(found.interrupted_call(), None, "no kernel makes it again");
        if want >= 0 {
            let mut code = [0; 2];
            process_memory::read(child.pid(), found.rip, &mut code).unwrap();
            assert_eq!(code, [0x0f, 0x05], "{how} stands before its call");
        }
        frozen.release().unwrap();
    }
}

#[test]
fn calls_that_were_interrupted_are_made_again() {
    makes_again("moment", [libc::SYS_clock_nanosleep; 2]);
    makes_again("read", [libc::SYS_read; 2]);
}

#[test]
fn waits_that_were_interrupted_before_are_recognised() {
    makes_again("clock", [libc::SYS_clock_nanosleep; 2]);
    makes_again("poll", [libc::SYS_poll; 2]);
    makes_again("futex", [libc::SYS_futex; 2]);
}

#[test]
fn waits_that_cannot_be_recognised_end_as_by_a_signal() {
    makes_again("hidden", [libc::SYS_nanosleep, -i64::from(libc::EINTR)]);
}
