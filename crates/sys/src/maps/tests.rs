//! Maps of this process, and text that nobody should believe.

use super::*;

#[track_caller]
fn one(text: &str) -> Mapping {
    let mut found = parse(text.as_bytes()).expect("it parses");
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_line_says_where_how_and_what() {
    let line =
        "7f0e4c000000-7f0e4c021000 r-xs 0001f000 103:0a 4711                 /a b/c:d (deleted)\n";
    let found = one(line);
    assert_eq!(found.range, 0x7f0e_4c00_0000..0x7f0e_4c02_1000);
    assert_eq!(found.permissions, Permissions { read: true, write: false, execute: true });
    assert_eq!(found.sharing, Sharing::Shared);
    assert_eq!((found.offset, found.inode), (0x1f000, 4711));
    assert_eq!(found.device, Device { major: 0x103, minor: 10 });
    assert_eq!(found.path(), Some((&b"/a b/c:d"[..], Presence::SaidDeleted)));
    assert_eq!(found.flags, None);
}

#[test]
fn kernels_own_mappings_are_known_by_name() {
    let content = |name: &str| one(&format!("1000-2000 r--p 00000000 00:00 0      {name}")).content;
    assert_eq!(content(""), Content::Anonymous);
    assert_eq!(content("[heap]"), Content::Heap);
    assert_eq!(content("[stack]"), Content::Stack);
    assert_eq!(content("[vdso]"), Content::Vdso);
    assert_eq!(content("[vvar]"), Content::Vvar(b"[vvar]".to_vec()));
    assert_eq!(content("[vvar_vclock]"), Content::Vvar(b"[vvar_vclock]".to_vec()));
    assert_eq!(content("[vsyscall]"), Content::Vsyscall);
    assert_eq!(content("[uprobes]"), Content::Uprobes);
    assert_eq!(content("[anon:a pool]"), Content::Named(b"a pool".to_vec()));
    assert_eq!(content("[new]"), Content::Special(b"[new]".to_vec()));
}

#[test]
fn a_file_cannot_pass_for_the_kernels_memory() {
    let content = |device, inode, name: &str| {
        one(&format!("1000-2000 r--p 00000000 {device} {inode}      {name}")).content
    };
    for (device, inode) in [("08:01", 7), ("08:01", 0), ("00:00", 7)] {
        assert_eq!(content(device, inode, "[vdso]"), Content::File(b"[vdso]".to_vec()));
    }
    assert_eq!(content("00:00", 0, "/[vdso]"), Content::File(b"/[vdso]".to_vec()));
    let fake = "/x\\0121000-2000 rwxp 00000000 00:00 0 [vdso]";
    assert_eq!(content("08:01", 7, fake), Content::File(fake.as_bytes().to_vec()));
}

#[test]
fn flags_that_matter_are_told_apart() {
    let smaps = "1000-2000 rw-p 00000000 00:00 0 \nSize:                  4 kB\nTHPeligible:           0\n\
                 VmFlags: rd wr mr mw me dc wf gd lo um uw hg nh dd xx \n\
                 2000-3000 ---p 00000000 00:00 0 \nVmFlags: mr mw me \n";
    let found = parse(smaps.as_bytes()).expect("it parses");
    assert_eq!(found.len(), 2);
    let flags = found[0].flags.expect("flags");
    let all = [
        Flags::NOT_DUMPED,
        Flags::NOT_FORKED,
        Flags::WIPED_ON_FORK,
        Flags::GROWS_DOWN,
        Flags::LOCKED,
        Flags::FAULTS_ABSENT,
        Flags::FAULTS_WRITES,
        Flags::LARGE_PAGES,
        Flags::NO_LARGE_PAGES,
    ];
    assert_eq!(all.into_iter().fold(Flags::default(), Flags::with), flags);
    assert!(all.into_iter().all(|flag| flags.contains(flag)));
    assert!(!flags.contains(Flags::DEVICE));
    assert_eq!(found[1].flags, Some(Flags::default()));
}

#[test]
fn garbage_is_refused_and_does_not_panic() {
    let good = b"7f0e4c000000-7f0e4c021000 rw-p 0001f000 08:01 4711      /a\nVmFlags: rd wr\n";
    let hostile: [&[u8]; 14] = [
        b"VmFlags: rd",
        b"\xff\xfe\n",
        b"1000-2000",
        b"1000 rw-p 0 00:00 0",
        b"1000-1000 rw-p 0 00:00 0",
        b"2000-1000 rw-p 0 00:00 0",
        b"1000-2000 rw- 0 00:00 0",
        b"1000-2000 rwzp 0 00:00 0",
        b"1000-2000 rw-q 0 00:00 0",
        b"+1000-2000 rw-p 0 00:00 0",
        b"1000-2000 rw-p -1 00:00 0",
        b"1000-2000 rw-p 0 0000 0",
        b"1000-2000 rw-p 0 00:100000000 0",
        b"10000000000000000-20000000000000000 rw-p 0 00:00 0",
    ];
    for text in hostile {
        assert_eq!(parse(text), None, "{}", String::from_utf8_lossy(text));
    }
    // Whatever is cut off or changed, it ends, and a mapping is never empty.
    for at in 0..good.len() {
        for byte in [0, b' ', b'\n', b'-', b':', b'z', 0xff] {
            let mut changed = good.to_vec();
            changed[at] = byte;
            for text in [&changed[..], &good[..at]] {
                for mapping in parse(text).into_iter().flatten() {
                    assert!(mapping.range.start < mapping.range.end);
                }
            }
        }
    }
}

#[test]
fn this_process_has_what_every_process_has() {
    let on_stack = 7_u8;
    let at = std::ptr::from_ref(&on_stack).addr() as u64;
    let code = this_process_has_what_every_process_has as fn() as usize as u64;
    for found in [mappings(Pid::own()).unwrap(), detailed(Pid::own()).unwrap()] {
        let holds = |at: u64| found.iter().find(|mapping| mapping.range.contains(&at)).unwrap();
        assert!(holds(at).permissions.write);
        assert!(holds(code).permissions.execute);
        let own = std::env::current_exe().unwrap();
        let (path, presence) = holds(code).path().expect("a file");
        assert_eq!((path, presence), (own.as_os_str().as_encoded_bytes(), Presence::Named));
        assert!(found.iter().any(|mapping| mapping.content == Content::Vdso));
        assert!(found.iter().any(|mapping| mapping.content == Content::Stack));
        assert!(found.is_sorted_by_key(|mapping| mapping.range.start));
    }
    let detailed = detailed(Pid::own()).unwrap();
    let stack = detailed.iter().find(|mapping| mapping.content == Content::Stack).unwrap();
    assert!(stack.flags.unwrap().contains(Flags::GROWS_DOWN));
    assert!(mappings(Pid(i32::MAX)).unwrap_err().is_gone());
}
