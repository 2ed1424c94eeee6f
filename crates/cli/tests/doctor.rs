//! What `farcall doctor` finds, and that its remedies are remedies.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{Machine, Ran};
use transport::{Authority, ListenTls, Role, make_csr};
use wire::Message;
use wire::hello::Welcome;

/// The findings with this mark, as text.
fn marked(ran: &Ran, mark: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let sections = json["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let marked = findings.filter(|finding| finding["mark"] == mark);
    marked
        .map(|f| format!("{}\n{}", f["what"].as_str().unwrap(), f["remedy"].as_str().unwrap_or("")))
        .collect()
}

fn works(ran: &Ran, good: &str) -> bool {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    json["works"][good].as_bool().unwrap_or_else(|| panic!("{good} in {json}"))
}

#[track_caller]
fn fails(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let failures = marked(ran, "fail");
    assert!(failures.iter().all(|what| !what.ends_with('\n')), "without remedies: {failures:?}");
    let found = failures.iter().any(|what| words.iter().all(|word| what.contains(word)));
    assert!(found, "no {words:?} among {failures:?}");
}

#[test]
fn a_node_that_runs_here_is_found_and_refuses_strangers() {
    let machine = Machine::new();
    let (mut node, address) = machine.start_node("--name well --http 127.0.0.1:0");
    let http = node.line_with("metrics at ");
    let http = http.trim_start_matches("metrics at http://").trim_end_matches("/metrics");
    let ran = machine.run("doctor --security --json");
    assert_eq!((ran.code, marked(&ran, "fail")), (Some(0), Vec::new()), "{ran:?}");
    let fine = marked(&ran, "ok");
    let says = |words: &[&str]| {
        let all = |what: &&String| words.iter().all(|word| what.contains(word));
        assert!(fine.iter().any(|what| all(&what)), "no {words:?} among {fine:?}");
    };
    // Its ports are those that it really has, whatever the defaults are.
    says(&[&address, "open to strangers: no"]);
    says(&[http, "serves metrics, read-only"]);
    assert!(works(&ran, "closed to strangers") && works(&ran, "keys kept secret"));

    let whole = machine.run("doctor");
    whole.says("the node well runs here").says("What works\n  tasks: yes\n");
}

#[test]
fn named_nodes_are_asked_and_probed() {
    let machine = Machine::new();
    machine.run("auth init");
    let (_node, address) = machine.start_node("--name well --socket elsewhere.sock");
    let ran = machine.run(&format!("doctor --security --json --nodes {address}"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fine = marked(&ran, "ok");
    assert!(fine.iter().any(|what| what.starts_with(&format!("{address}: open to strangers: no"))));
    machine.run(&format!("doctor --nodes {address}")).says(&format!("{address} answers: farcall"));
    // A node of another cluster at that address is told, too.
    let other = Machine::new();
    other.run("auth init");
    let ran = other.run(&format!("doctor --json --nodes {address}"));
    fails(&ran, &[&address, "does not answer"]);
    assert!(marked(&ran, "warn").iter().any(|what| what.contains("belongs to another cluster")));
}

#[test]
fn it_changes_nothing() {
    let machine = Machine::new();
    let (_node, address) = machine.start_node("--name well");
    let listing = |machine: &Machine| {
        let mut all: Vec<_> =
            std::fs::read_dir(machine.home()).unwrap().map(|e| e.unwrap().file_name()).collect();
        all.sort();
        all
    };
    let before = listing(&machine);
    machine.run(&format!("doctor --nodes {address}"));
    assert_eq!(listing(&machine), before);
    let fresh = Machine::new();
    fresh.run("doctor").says("there are no credentials yet");
    assert!(!fresh.home().exists() && !fresh.path("state").exists());
}

#[test]
fn what_it_says_fits_into_80_columns() {
    let machine = Machine::new();
    let ran = machine.run("doctor");
    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn keys_that_others_can_read_are_failures_with_their_remedy() {
    let machine = Machine::new();
    machine.run("auth init");
    let key = machine.home().join("client.pem");
    for (path, mode) in [(key.clone(), 0o644), (key, 0o660), (machine.home(), 0o755)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = machine.run("doctor --security --json");
        let shown = path.display().to_string();
        fails(&ran, &[&shown, "has mode", "chmod"]);
        assert!(!works(&ran, "keys kept secret"));
        let remedy = marked(&ran, "fail")
            .into_iter()
            .find_map(|what| what.split_once('\n').map(|(_, remedy)| remedy.to_owned()));
        let mended = Command::new("sh").args(["-c", &remedy.unwrap()]).status().unwrap();
        assert!(mended.success());
        let ran = machine.run("doctor --security --json");
        assert_eq!((ran.code, marked(&ran, "fail")), (Some(0), Vec::new()));
    }
    let link = machine.home().join("node.pem");
    std::os::unix::fs::symlink(machine.home().join("client.pem"), &link).unwrap();
    fails(&machine.run("doctor --security --json"), &["node.pem is a symbolic link"]);
}

#[test]
fn a_certificate_that_has_ended_is_a_failure() {
    let machine = Machine::new();
    let long_ago = SystemTime::now() - Duration::from_secs(400 * 86_400);
    let authority = Authority::load_or_create(&machine.home(), long_ago).unwrap();
    let name = "old".parse().unwrap();
    let request = make_csr(&name).unwrap();
    let certificate = authority.sign(request.csr(), Role::Client, &name, long_ago).unwrap();
    request.finish_in(&machine.home(), certificate, authority.certificate().clone()).unwrap();
    let ran = machine.run("doctor --security --json");
    fails(&ran, &["the certificate of the client old has expired", "farcall auth join"]);
}

#[test]
fn a_socket_that_was_left_behind_is_told_with_its_remedy() {
    let machine = Machine::new();
    let socket = machine.path("run/farcall.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let ran = machine.run("doctor --json");
    let warnings = marked(&ran, "warn");
    let remedy = format!("rm {}", socket.display());
    assert!(warnings.iter().any(|what| what.ends_with(&remedy)), "{warnings:?}");
    // A node that is ended the hard way leaves one, too.
    drop(machine.start_node("--name gone"));
    let ran = machine.run("doctor --json");
    assert!(marked(&ran, "warn").iter().any(|what| what.ends_with(&remedy)), "{ran:?}");
}

#[test]
fn nodes_that_do_not_answer_and_files_that_cannot_be_read_are_failures() {
    let machine = Machine::new();
    machine.run("auth init");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = machine.run(&format!("doctor --json --nodes {nobody}"));
    fails(&ran, &[&nobody.to_string(), "does not answer"]);
    assert!(!works(&ran, "other hosts"));
    let config = machine.write("node.toml", "slots = 3\nlisten = [\"127.0.0.1:0\"]\n");
    let ran = machine.run(&format!("doctor --json --config {}", config.display()));
    let fine = marked(&ran, "ok");
    let told = format!("has 3 slots ({}), and its keys are in", config.display());
    assert!(fine.iter().any(|what| what.contains(&told)), "{fine:?}");
    let config = machine.write("node.toml", "slots = 2\nsluts = 3\n");
    let ran = machine.run(&format!("doctor --json --config {}", config.display()));
    fails(&ran, &["node.toml:2"]);
}

/// A node's own TLS, and behind it someone who lets everybody in.
#[test]
fn a_node_that_lets_strangers_in_over_tls_is_found_out() {
    let machine = Machine::new();
    let now = SystemTime::now();
    let authority = Authority::load_or_create(&machine.home(), now).unwrap();
    let own = authority.issue(Role::Node, &"open".parse().unwrap(), now).unwrap();
    let tls = ListenTls::new(&own).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        loop {
            let mut raw = support::raw::Raw::accept(&listener, &tls);
            std::thread::spawn(move || {
                while let Some((_, message)) = raw.next() {
                    if matches!(message, Message::Hello(_)) {
                        let node = "open".parse().unwrap();
                        let agent = String::new();
                        let welcome = Welcome { agent, node, link: 1, slots: 1 };
                        raw.put_message(0, &Message::Welcome(welcome));
                        while !raw.turn() {}
                        return;
                    }
                }
            });
        }
    });
    let config = machine.write("node.toml", format!("listen = [\"{address}\"]\n"));
    let ran = machine.run(&format!("doctor --security --json --config {}", config.display()));
    let who = "a stranger who greets over TLS without a certificate is let in";
    fails(&ran, &[&address.to_string(), "open to strangers", who]);
    assert!(!works(&ran, "closed to strangers"));
}

#[test]
fn metrics_that_other_hosts_can_read_are_a_warning() {
    let machine = Machine::new();
    let words = "node --listen 127.0.0.1:0 --http 0.0.0.0:0 --http-anyone";
    let mut node = machine.start(words);
    node.line_with("metrics at ");
    let ran = machine.run("doctor --security --json");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let warnings = marked(&ran, "warn");
    let told = warnings.iter().any(|what| what.contains("whoever reaches this host can read them"));
    assert!(told, "{warnings:?}");
}

/// Runs a shell script in a mount namespace of its own; `None` where that is not allowed.
fn apart(machine: &Machine, script: &str) -> Option<Ran> {
    let probe =
        Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        support::skipped("no file system can be mounted here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-e", "-c", script]).current_dir(machine.path(""));
    command.env("FARCALL", env!("CARGO_BIN_EXE_farcall")).env("FARCALL_HOME", machine.home());
    command.env("XDG_STATE_HOME", machine.path("state")).env_remove("FARCALL_NODES");
    command.env("XDG_RUNTIME_DIR", machine.path("run")).env("NODE_DATA", machine.path("data"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some(Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}

/// What doctor finds of a data folder that is mounted so.
fn with_data(options: &str, then: &str) -> Option<Ran> {
    let machine = Machine::new();
    let data = machine.path("data");
    std::fs::create_dir(&data).unwrap();
    machine
        .write("node.toml", format!("listen = [\"127.0.0.1:0\"]\ndata = \"{}\"\n", data.display()));
    let doctor = "\"$FARCALL\" doctor --json --config node.toml";
    let mount = format!("mount -t tmpfs -o {options} none \"$NODE_DATA\"; {then}; {doctor}");
    apart(&machine, &mount)
}

#[test]
fn a_data_folder_without_execution_is_a_failure() {
    let Some(ran) = with_data("noexec,size=2g", "true") else { return };
    fails(&ran, &["the data folder", "noexec", "mount -o remount,exec"]);
    assert!(!works(&ran, "tasks"));
}

#[test]
fn a_full_data_folder_is_a_failure() {
    let fill = "head -c 200000000 /dev/zero > \"$NODE_DATA/fill\" 2>/dev/null || true";
    let Some(ran) = with_data("size=32m", fill) else { return };
    fails(&ran, &["the data folder", "is full"]);
}

#[test]
fn a_read_only_data_folder_is_a_failure() {
    let Some(ran) = with_data("ro,size=2g", "true") else { return };
    fails(&ran, &["the data folder", "read-only"]);
}

#[test]
fn a_host_without_namespaces_has_no_strict_jail_and_says_why() {
    let machine = Machine::new();
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces; \
                  echo 0 > /proc/sys/user/max_pid_namespaces";
    let forbidden = Command::new("unshare").args(["-Ur", "sh", "-e", "-c", forbid]).output();
    if !forbidden.is_ok_and(|forbidden| forbidden.status.success()) {
        support::skipped("namespaces cannot be forbidden here");
        return;
    }
    let mut command = Command::new("unshare");
    let script = format!("{forbid}; \"$0\" doctor --json");
    command.args(["-Ur", "sh", "-e", "-c", &script, env!("CARGO_BIN_EXE_farcall")]);
    command.env("FARCALL_HOME", machine.home()).env("XDG_STATE_HOME", machine.path("state"));
    command.env("XDG_RUNTIME_DIR", machine.path("run")).env_remove("FARCALL_NODES");
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let ran = Ran { code: output.status.code(), stdout, stderr: String::new() };
    assert!(!works(&ran, "jail strict") && works(&ran, "tasks"), "{ran:?}");
    let warnings = marked(&ran, "warn");
    let told = |what: &String| {
        what.contains("level strict") && what.ends_with("sysctl -w user.max_user_namespaces=10000")
    };
    assert!(warnings.iter().any(told), "{warnings:?}");
}

#[test]
fn few_descriptors_are_a_failure() {
    let machine = Machine::new();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 100 && exec \"$0\" doctor --json",
        env!("CARGO_BIN_EXE_farcall"),
    ]);
    command.env("FARCALL_HOME", machine.home()).env("XDG_STATE_HOME", machine.path("state"));
    command.env("XDG_RUNTIME_DIR", machine.path("run")).env_remove("FARCALL_NODES");
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let ran = Ran { code: output.status.code(), stdout, stderr: String::new() };
    fails(&ran, &["open files: 100", "ulimit -Hn"]);
}
