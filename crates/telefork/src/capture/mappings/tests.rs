//! Mappings as the kernel tells them, one of each kind.

use super::*;

/// A mapping of this content, as `smaps` would tell it.
fn mapping(content: Content, sharing: maps::Sharing, flags: Flags) -> maps::Mapping {
    let has_file = matches!(content, Content::File(_));
    maps::Mapping {
        range: 0x10_0000..0x20_0000,
        permissions: maps::Permissions { read: true, write: true, execute: false },
        sharing,
        offset: 0,
        device: maps::Device::default(),
        inode: u64::from(has_file),
        content,
        flags: Some(flags),
    }
}

#[track_caller]
fn check(path: &str, sharing: maps::Sharing, want: Option<Objection>) {
    let content = Content::File(path.as_bytes().to_vec());
    assert_eq!(objection(&mapping(content, sharing, Flags::default())), want, "{path}");
}

#[test]
fn mappings_that_cannot_travel_are_named() {
    use maps::Sharing::{Private, Shared};
    let text = |name: &str| Text::from(name);
    check("/srv/data", Shared, Some(Objection::SharedFile(text("/srv/data"))));
    check("/dev/shm/x", Shared, Some(Objection::SharedFile(text("/dev/shm/x"))));
    check("/dev/nvidia0", Shared, Some(Objection::Device(text("/dev/nvidia0"))));
    check("anon_inode:[io_uring]", Shared, Some(Objection::Ring));
    check("/SYSV00000000 (deleted)", Shared, Some(Objection::SystemV));
    check("/anon_hugepage (deleted)", Private, Some(Objection::HugeFile));
    let unknown = mapping(Content::Special(b"[new]".to_vec()), Private, Flags::default());
    assert_eq!(objection(&unknown), Some(Objection::Unknown(text("[new]"))));
    for (flag, want) in [
        (Flags::SHADOW_STACK, Objection::ShadowStack),
        (Flags::FAULTS_ABSENT, Objection::Watched),
        (Flags::FAULTS_WRITES, Objection::Watched),
        (Flags::HUGE_FILE, Objection::HugeFile),
    ] {
        assert_eq!(objection(&mapping(Content::Anonymous, Private, flag)), Some(want));
    }
}

#[test]
fn mappings_that_travel_are_not_objected_to() {
    use maps::Sharing::{Private, Shared};
    check("/srv/data", Private, None);
    check("/dev/zero", Private, None);
    check("/dev/zero (deleted)", Shared, None);
    check("/memfd:ring (deleted)", Shared, None);
    // A file of this name on a disk, and not the kernel's.
    check("/SYSV00000000", Private, None);
    for content in [Content::Vdso, Content::Vvar(b"[vvar]".to_vec()), Content::Stack] {
        let special = Flags::DEVICE.with(Flags::PLAIN_FRAMES);
        assert_eq!(objection(&mapping(content, Private, special)), None);
    }
    let mut read_only = mapping(Content::File(b"/srv/data".to_vec()), Shared, Flags::default());
    read_only.permissions.write = false;
    assert_eq!(objection(&read_only), None);
}

#[test]
fn an_earlier_look_tells_the_flags_of_what_has_grown_or_was_split() {
    let known = mapping(Content::Anonymous, maps::Sharing::Private, Flags::NOT_FORKED);
    let look = Look { mappings: vec![known.clone()] };
    let with = |range: Range<u64>, content: Content| {
        let mapping = maps::Mapping { range, flags: None, content, ..known.clone() };
        look.complete(vec![mapping])[0].flags
    };
    let same = Content::Anonymous;
    assert_eq!(with(0x10_0000..0x30_0000, same.clone()), Some(Flags::NOT_FORKED));
    assert_eq!(with(0x8_0000..0x20_0000, same.clone()), Some(Flags::NOT_FORKED));
    assert_eq!(with(0x18_0000..0x19_0000, same.clone()), Some(Flags::NOT_FORKED));
    assert_eq!(with(0x20_0000..0x30_0000, same), Some(Flags::default()));
    assert_eq!(with(0x10_0000..0x20_0000, Content::Heap), Some(Flags::default()));
}

#[test]
fn a_line_break_in_a_path_is_one() {
    assert_eq!(unescaped(b"/a\\012b\\013"), b"/a\nb\\013");
}
