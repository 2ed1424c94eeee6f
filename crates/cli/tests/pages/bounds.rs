//! What peers can take of a server, and how a node is told to serve.

use std::net::TcpStream;
use std::time::Instant;

use super::{Place, Random, Raw, both, command, header, hex, port_of};
use crate::support::{Machine, PATIENCE, process, skipped};

#[test]
fn garbage_concerns_nobody_else() {
    both(2, 8, |place| {
        let mut witness = place.raw();
        let mut random = Random(20);
        for _ in 0..300 {
            let mut raw = place.raw();
            let length = random.below(200);
            let noise: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            raw.put(&noise);
            // Some go without a word, some wait for what is said.
            if random.below(2) == 0 {
                raw.half_close();
                let mut rest = Vec::new();
                let _ = std::io::Read::read_to_end(&mut raw.stream, &mut rest);
            }
        }
        // Noise may be an update, but then it is a whole one.
        let (kind, _, version, _) = witness.ask((2, 0, 0), b"");
        assert_eq!(kind, 2);
        assert!(version > 0);
        let mut raw = place.raw();
        assert_eq!(raw.ask((3, 1, 0), b"").0, 3, "no lock stayed behind");
    });
}

#[test]
fn a_slow_command_is_waited_for_and_holds_up_nobody() {
    both(1, 8, |place| {
        let (mut slow, mut other) = (place.raw(), place.raw());
        for byte in command(5, 0, 7, b"so slow!") {
            assert_eq!(other.ask((2, 0, 1), b""), (2, 0, 1, Vec::new()));
            slow.put(&[byte]);
        }
        assert_eq!(slow.answer(), (5, 0, 7, Vec::new()));
    });
}

#[test]
fn a_thousand_silent_connections_leave_room() {
    let _ = sys::limits::raise_open_files();
    both(1, 8, |place| {
        let mut busy = place.raw();
        busy.ask((3, 0, 1), b"");
        let mut silent: Vec<Raw> = (0..1000).map(|_| place.raw()).collect();
        // One that has asked something stays; of the others the oldest go.
        let mut late = place.raw();
        assert_eq!(late.ask((2, 0, 1), b""), (2, 0, 1, Vec::new()));
        assert_eq!(busy.ask((4, 0, 0), b"still me"), (4, 0, 2, Vec::new()));
        silent[0].ends();
        let last = silent.last_mut().unwrap();
        assert_eq!(last.ask((2, 0, 2), b""), (2, 0, 2, Vec::new()));
    });
}

#[test]
fn more_connections_than_there_are_places_are_turned_away() {
    let _ = sys::limits::raise_open_files();
    both(1, 8, |place| {
        let mut busy: Vec<Raw> = (0..512).map(|_| place.raw()).collect();
        for raw in &mut busy {
            assert_eq!(raw.ask((2, 0, 1), b"").0, 2);
        }
        place.raw().ends();
        drop(busy.pop());
        // Its end is noticed before long.
        let until = Instant::now() + PATIENCE;
        loop {
            let mut raw = place.raw();
            raw.put(&command(2, 0, 1, b""));
            let mut answer = [0; 13];
            if std::io::Read::read_exact(&mut raw.stream, &mut answer).is_ok() {
                break;
            }
            assert!(Instant::now() < until, "no place became free");
        }
        assert_eq!(busy[0].ask((2, 0, 1), b"").0, 2);
    });
}

#[test]
fn who_ends_its_side_gets_what_it_has_asked() {
    both(2, 8, |place| {
        let mut raw = place.raw();
        let mut all = command(3, 0, 0, b"");
        all.extend(command(4, 0, 0, b"unlocked"));
        for _ in 0..100 {
            all.extend(command(2, 0, 2, b""));
        }
        raw.put(&all);
        raw.half_close();
        assert_eq!(raw.answer(), (3, 0, 1, vec![0; 8]));
        assert_eq!(raw.answer(), (4, 0, 2, Vec::new()));
        for _ in 0..100 {
            assert_eq!(raw.answer(), (2, 0, 2, Vec::new()));
        }
        raw.ends_cleanly();
        // In the middle of a command there is nothing to answer.
        let mut raw = place.raw();
        raw.put(&command(5, 0, -1, b"whatever")[..20]);
        raw.half_close();
        raw.ends_cleanly();
        assert_eq!(place.raw().ask((2, 0, 2), b""), (2, 0, 2, Vec::new()));
    });
}

#[test]
fn who_ends_while_it_waits_waits_no_more() {
    both(1, 8, |place| {
        let (mut holder, mut gone, mut next) = (place.raw(), place.raw(), place.raw());
        holder.ask((3, 0, 1), b"");
        gone.put(&command(3, 0, 1, b""));
        gone.is_silent();
        next.put(&command(3, 0, 1, b""));
        next.is_silent();
        gone.half_close();
        gone.ends_cleanly();
        holder.ask((4, 0, 0), b"released");
        assert_eq!(next.answer(), (3, 0, 2, b"released".to_vec()));
    });
}

#[test]
fn who_does_not_read_is_not_served_any_more() {
    const LENGTH: u32 = 1 << 20;
    both(2, LENGTH, |place| {
        let mut other = place.raw();
        other.ask((5, 0, -1), &vec![7; LENGTH as usize]);
        let memory = || place.node.as_ref().map_or(0, |node| process::memory(node.child.id()));
        let before = memory();
        // 10,000 pages of a megabyte each.
        let mut greedy = place.raw();
        greedy.put(&command(2, 0, 0, b"").repeat(10_000));
        for _ in 0..100 {
            assert_eq!(other.ask((2, 0, 2), b""), (2, 0, 2, Vec::new()));
        }
        let more = memory().saturating_sub(before);
        assert!(more < 64 << 10, "{more} KiB more");
        // It may begin to read at any time.
        for _ in 0..20 {
            assert_eq!(greedy.answer().3.len(), LENGTH as usize);
        }
        drop(greedy);
        assert_eq!(other.ask((2, 0, 2), b""), (2, 0, 2, Vec::new()));
    });
}

#[test]
fn many_that_come_and_go_leave_nothing_behind() {
    let place = Place::node(4, 64);
    let pid = place.node.as_ref().unwrap().child.id();
    let round = || {
        for turn in 0..200 {
            let mut raw = place.raw();
            raw.put(&command(3, turn % 4, 0, b""));
            if turn % 2 == 0 {
                raw.answer();
            }
            // With its lock, or while it waits.
        }
        let mut last = place.raw();
        assert_eq!(last.ask((3, 0, 1), b"").0, 3);
    };
    round();
    let (memory, descriptors) = (process::memory(pid), process::descriptors(pid));
    for _ in 0..5 {
        round();
    }
    let until = Instant::now() + PATIENCE;
    while process::descriptors(pid) > descriptors {
        assert!(Instant::now() < until, "{} descriptors", process::descriptors(pid));
        std::thread::yield_now();
    }
    let more = process::memory(pid).saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
}

#[test]
fn one_node_serves_several_regions_and_one_region_at_several_ports() {
    let machine = Machine::new();
    let words = "--netmem 127.0.0.1:0=genes --netmem 127.0.0.1:0=genes --netmem 127.0.0.1:0 \
                 --netmem-pages 2 --netmem-page-size 5";
    let (mut node, _) = machine.start_node(words);
    let mut ports = Vec::new();
    for region in ["genes", "genes", "netmem"] {
        let line = node.line_with("netmem at ");
        assert!(line.ends_with(&format!("serves region {region}")), "{line}");
        ports.push(port_of(&line));
    }
    let dial = |port: u16| Raw::over(TcpStream::connect(("127.0.0.1", port)).unwrap());
    assert_eq!(dial(ports[0]).ask((5, 1, -1), b"genes"), (5, 1, 2, Vec::new()));
    assert_eq!(dial(ports[1]).ask((2, 1, 0), b""), (2, 1, 2, b"genes".to_vec()));
    assert_eq!(dial(ports[2]).ask((2, 1, 0), b""), (2, 1, 1, vec![0; 5]));
    let params = "01 00000000 00000000 00000000";
    dial(ports[2]).asks(params, "01 00000002 00000000 00000005");
}

#[test]
fn settings_come_from_a_file_and_flags_win() {
    let machine = Machine::new();
    let file = "netmem = [\"127.0.0.1:0=pool\"]\nnetmem_pages = 9\nnetmem_page_size = 40\n";
    let path = machine.write("node.toml", file);
    let serve = |words: &str| {
        let words = format!("--config {} {words}", path.display());
        let (mut node, _) = machine.start_node(&words);
        let port = port_of(&node.line_with("serves region pool"));
        let mut raw = Raw::over(TcpStream::connect(("127.0.0.1", port)).unwrap());
        raw.put(&hex("01 00000000 00000000 00000000"));
        let (_, pages, length, _) = raw.answer();
        node.signal("TERM");
        node.finish();
        (pages, length)
    };
    assert_eq!(serve(""), (9, 40));
    assert_eq!(serve("--netmem-pages 3"), (3, 40));
    for (file, words) in
        [("netmem_pages = 0", "netmem_pages"), ("netmem_page_size = 2000000", "netmem_page_size")]
    {
        let path = machine.write("wrong.toml", file);
        machine.run(&format!("node --config {}", path.display())).complains(&["E0403", words]);
    }
}

#[test]
fn a_port_for_others_has_to_be_insisted_on() {
    let machine = Machine::new();
    let open = machine.run("node --listen 127.0.0.1:0 --netmem 0.0.0.0:0");
    open.complains(&["E0108", "reads and writes the pages", "--netmem-anyone"]);
    machine.run("node --netmem nowhere").complains(&["E0101", "HOST:PORT"]);
    machine.run("node --netmem 127.0.0.1:0=a/b").complains(&["E0102", "ADDR=REGION"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    machine
        .run(&format!("node --listen 127.0.0.1:0 --netmem {at}"))
        .complains(&["E0211", "--netmem"]);
    let (mut node, _) = machine.start_node("--netmem 0.0.0.0:0 --netmem-anyone");
    node.line_with("netmem at 0.0.0.0:");
}

#[test]
fn the_doctor_finds_the_port() {
    let machine = Machine::new();
    let (mut node, own) = machine.start_node("--netmem 127.0.0.1:0");
    let port = port_of(&node.line_with("netmem at "));
    let ran = machine.run(&format!("doctor --security --nodes {own}"));
    let line = ran.stdout.lines().find(|line| line.contains(&format!("127.0.0.1:{port} ")));
    let Some(line) = line else {
        // What a node listens at, it asks the kernel.
        return skipped(&format!("the doctor does not see the node's port: {}", ran.stdout));
    };
    assert!(line.contains("a protocol without authentication"), "{line}");
}

#[test]
fn a_header_of_any_kind_is_answered_or_ends_the_connection() {
    both(2, 8, |place| {
        for kind in 0..=255_u8 {
            let mut raw = place.raw();
            raw.put(&header(kind, 1, 8, 1, b""));
            if matches!(kind, 4 | 5) {
                raw.put(b"whatever");
            }
            let (answered, ..) = raw.answer();
            let want = if kind == 4 { 101 } else { kind };
            assert_eq!(answered, want);
            raw.has_no_more();
        }
    });
}
