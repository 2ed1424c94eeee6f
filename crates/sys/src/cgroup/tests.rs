//! Where groups are found, and what their files say, on hosts of any kind.

use super::*;

const HYBRID_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

fn place(version: Version, folder: &str) -> Option<Place> {
    Some(Place { version, folder: folder.into() })
}

#[test]
fn a_host_of_both_versions_has_a_place_in_each_tree() {
    let memberships = "8:pids:/\n4:memory:/nested/one\n1:cpu,cpuacct:/\n0::/\n";
    let group = Group::parse(memberships, HYBRID_MOUNTS);
    assert_eq!(group.memory, place(Version::One, "/sys/fs/cgroup/memory/nested/one"));
    assert_eq!(group.pids, place(Version::One, "/sys/fs/cgroup/pids/"));
    assert_eq!(group.cpu, place(Version::One, "/sys/fs/cgroup/cpu,cpuacct/"));
    assert_eq!(group.unified, Some("/sys/fs/cgroup/unified".into()));
}

#[test]
fn a_container_sees_a_part_of_the_tree() {
    let mounts =
        "9 8 0:1 /docker/abc /sys/fs/cgroup/pids ro,nosuid master:1 - cgroup cgroup rw,pids";
    let pids = |path: &str| Group::parse(&format!("8:pids:{path}"), mounts).pids;
    assert_eq!(pids("/docker/abc/x"), place(Version::One, "/sys/fs/cgroup/pids/x"));
    assert_eq!(pids("/docker/other"), None);
    assert_eq!(pids("/docker/abc/../other"), None);
}

#[test]
fn nonsense_has_no_place() {
    assert_eq!(Group::parse("", ""), Group::default());
    assert_eq!(Group::parse("x\n1:memory\n::", "a b - c\n - cgroup\n"), Group::default());
}

/// Plays the kernel of version 2, whose files are no more than files here.
#[test]
fn limits_of_version_2_go_to_its_files_and_its_counts_are_read() {
    let folder = std::env::temp_dir().join(format!("farcall-cgroup-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let names = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max"];
    for name in names {
        fs::write(folder.join(name), "").unwrap();
    }
    let here = place(Version::Two, folder.to_str().unwrap());
    let unified = Some(folder.clone());
    let group = Group { memory: here.clone(), pids: here.clone(), cpu: here, unified };
    group.limit_memory(1 << 20).unwrap();
    group.limit_pids(64).unwrap();
    group.limit_cpu(150).unwrap();
    let told = names.map(|name| fs::read_to_string(folder.join(name)).unwrap());
    assert_eq!(told, ["1048576", "0", "1", "64", "150000 100000"]);

    assert_eq!(group.out_of_memory(), None);
    fs::write(folder.join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 1\n")
        .unwrap();
    fs::write(folder.join("memory.peak"), "1048576\n").unwrap();
    assert_eq!(group.out_of_memory(), Some(OutOfMemory { kills: 2, peak: 1 << 20 }));
    // An older kernel keeps no peak.
    fs::remove_file(folder.join("memory.peak")).unwrap();
    assert_eq!(group.out_of_memory(), Some(OutOfMemory { kills: 2, peak: 1 << 20 }));
    fs::write(folder.join("memory.events"), "oom 0\noom_kill 1\n").unwrap();
    assert_eq!(group.out_of_memory(), Some(OutOfMemory { kills: 1, peak: 0 }));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_real_group_is_made_limited_and_removed() {
    let own = Group::own().unwrap();
    let (group, refused) = own.make_child(&format!("farcall-test-{}", std::process::id()));
    if let Some(why) = refused.first() {
        eprintln!("skipped: this host lets us make no group: {why}");
        group.remove();
        return;
    }
    if group.version(Controller::Pids) == Some(Version::One) {
        group.limit_pids(7).unwrap();
        let Place { folder, .. } = group.pids.clone().unwrap();
        assert_eq!(number(&folder, "pids.max"), Some(7));
    }
    if group.version(Controller::Memory) == Some(Version::One) {
        group.limit_memory(64 << 20).unwrap();
        assert_eq!(group.out_of_memory().unwrap().kills, 0);
        assert!(group.shortage().unwrap().is_some());
    }
    let late = usize::from(group.late_entrance().unwrap().is_some());
    assert_eq!(group.entrances().unwrap().len() + late, group.folders().len());
    assert!(group.remove());
    assert!(group.remove(), "what is gone counts as removed");
}
