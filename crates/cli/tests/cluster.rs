//! Nodes that join, credentials, and what `farcall status` says.

#![forbid(unsafe_code)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{Machine, until};

#[test]
fn a_node_joins_by_token_and_runs_tasks() {
    let (first, second) = (Machine::new(), Machine::new());
    let sum = first.core("sum.c");
    let (_a, a) = first.start_node("--name a --slots 1");
    let token = first.run("auth token --role node").stdout;
    let (mut b_node, b) =
        second.start_node(&format!("--name b --slots 1 --join {a} --token {}", token.trim()));

    // The client knows of b only what a tells it.
    until("a knows b", || first.run(&format!("status --nodes {a}")).stdout.contains(&b));
    first.write("in", "1 2\n3 4\n");
    let ran = first.run(&format!("core run {sum} --lines in --nodes {b} --json"));
    assert_eq!(ran.code, Some(0), "{ran:?}");

    // A later start needs no token, and a client there has credentials of its own.
    b_node.signal("TERM");
    assert_eq!(b_node.child.wait().unwrap().code(), Some(0));
    let (_b, b) = second.start_node(&format!("--slots 1 --join {a}"));
    until("a knows the new b", || first.run(&format!("status --nodes {a}")).stdout.contains(&b));
    let token = first.run("auth token").stdout;
    second
        .run(&format!("auth join {a} --token {} --name laptop", token.trim()))
        .says("This machine is now the client laptop.");
    second.write("in", "1 2\n3 4\n");
    let ran = second.run(&format!("core run {sum} --lines in --nodes {a}"));
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "3\n7\n"), "{}", ran.stderr);
}

#[test]
fn a_token_is_good_once() {
    let (first, second, third) = (Machine::new(), Machine::new(), Machine::new());
    let (_a, a) = first.start_node("--name a");
    let token = first.run("auth token").stdout;
    second.run(&format!("auth join {a} --token {}", token.trim())).says("the client");
    third.run(&format!("auth join {a} --token {}", token.trim())).complains(&[
        "error[E0301]",
        "this token is unknown or was used already",
        "help: print a new one with `farcall auth token`",
    ]);
}

#[test]
fn a_token_past_its_time_is_refused() {
    let (first, second) = (Machine::new(), Machine::new());
    let (_a, a) = first.start_node("--name a");
    let token = first.run("auth token --for 0s").stdout;
    second
        .run(&format!("auth join {a} --token {}", token.trim()))
        .complains(&["error[E0301]", "this token has expired"]);
}

#[test]
fn a_token_of_another_cluster_or_a_mistyped_one_is_refused() {
    let (first, other, second) = (Machine::new(), Machine::new(), Machine::new());
    let (_a, a) = first.start_node("--name a");
    let token = other.run("auth token").stdout;
    let token = token.trim();
    second
        .run(&format!("auth join {a} --token {token}"))
        .complains(&["error[E0304]", "showed a certificate that this side does not accept"]);
    let cut = &token[..token.len() - 1];
    second
        .run(&format!("auth join {a} --token {cut}"))
        .complains(&["error[E0102]: this is no join token (it is too short or too long"]);
    let token = first.run("auth token --role client").stdout;
    second
        .run(&format!("node --listen 127.0.0.1:0 --join {a} --token {}", token.trim()))
        .complains(&["error[E0107]: this token makes a client, not a node"]);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let machine = Machine::new();
    machine.run("auth init").says("authority");
    let key = machine.home().join("client.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    machine.run("status --nodes 127.0.0.1:1").complains(&[
        "error[E0305]",
        "mode 0644",
        "chmod 600",
    ]);
}

#[test]
fn without_credentials_the_way_to_some_is_told() {
    let machine = Machine::new();
    machine
        .run("status --nodes 127.0.0.1:1")
        .complains(&["error[E0302]: this user has no credentials", "help: "]);
    machine.run("auth status").says("no credentials");
}

#[test]
fn status_shows_the_running_task() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    let (_a, a) = machine.start_node("--name alpha --slots 1");
    machine.write("in", "hang\nhang\n");
    let _job = machine.start(&format!("core run {specimen} --lines in --nodes {a}"));
    until("the task runs", || {
        let text = machine.run(&format!("status --nodes {a}")).stdout;
        let of = |title: &str| {
            let mut lines = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
            lines.next().unwrap_or("").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let (node, client, program) = (of("NODE"), of("CLIENT"), of("PROGRAM"));
        node.starts_with(&["alpha".into(), "1".into(), "0".into(), "1".into()])
            && client.starts_with(&["client".into(), "alpha".into(), "1".into()])
            && program.starts_with(&["libspecimen.so".into(), "alpha".into(), "client".into()])
    });
    // The same over the node's Unix socket, which needs no name and no certificate.
    machine.run("status").says("alpha");
}

#[test]
fn a_node_that_is_away_is_told_on_one_line() {
    let machine = Machine::new();
    machine.run("auth init").says("");
    let ran = machine.run("status --nodes 127.0.0.1:1");
    let ran = ran.complains(&["error[E0201]: no node can be reached\n  note: 127.0.0.1:1 ("]);
    assert_eq!(ran.stdout, "");
    machine.run("status").complains(&["no node of this user runs on this machine"]);
}

#[test]
fn a_name_that_no_setting_has_is_refused_with_its_line() {
    let machine = Machine::new();
    machine.write("node.toml", "slots = 2\nslotz = 3\n");
    machine
        .run("node --config node.toml")
        .complains(&["error[E0403]: node.toml:2: unknown field `slotz`"]);
    std::fs::create_dir(machine.home()).unwrap();
    machine.write("home/config.toml", "node = \"a\"\n");
    machine.run("status").complains(&["config.toml:1: unknown field `node`"]);
}

#[test]
fn settings_come_from_the_file_and_flags_win() {
    let machine = Machine::new();
    machine.write(
        "node.toml",
        "listen = [\"127.0.0.1:0\"]\nname = \"filed\"\nslots = 3\njail = \"none\"\ngrace = \"1s\"\n",
    );
    let mut node = machine.start("node --config node.toml --slots 2");
    node.line_with("node filed is up with 2 slots");
}

#[test]
fn one_data_folder_has_one_node() {
    let machine = Machine::new();
    let (_a, _) = machine.start_node("--name a");
    machine
        .run("node --listen 127.0.0.1:0 --name a")
        .complains(&["error[E0214]: another node uses the folder", "--name"]);
}

#[test]
fn a_node_stops_at_sigterm_and_at_sigint() {
    for signal in ["TERM", "INT"] {
        let machine = Machine::new();
        let (node, _) = machine.start_node("--name a");
        node.signal(signal);
        assert_eq!(node.end(), Some(0), "{signal}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        machine.run(&format!("completions {shell}")).says("completions");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let machine = Machine::new();
    let commands = [
        "demo",
        "core run",
        "node",
        "auth",
        "auth init",
        "auth token",
        "auth join",
        "auth status",
        "status",
        "completions",
    ];
    for command in commands {
        machine.run(&format!("{command} -h")).says("Example");
        machine.run(&format!("{command} --help")).says("  farcall ");
    }
}

#[test]
fn a_client_with_few_descriptors_uses_the_nodes_it_can_and_names_the_others() {
    let machine = Machine::new();
    let sum = machine.core("sum.c");
    let nodes: Vec<_> =
        (1..=5).map(|n| machine.start_node(&format!("--name n{n} --slots 1"))).collect();
    let addresses: Vec<&str> = nodes.iter().map(|(_, address)| address.as_str()).collect();
    let addresses = addresses.join(",");
    // Descriptors for four links.
    let limited = |words: &str| {
        let inner = machine.command(words.split(' '));
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 40; exec \"$@\"", "sh"]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.output().expect("a shell")
    };
    let status = limited(&format!("status --nodes {addresses}"));
    let (said, told) =
        (String::from_utf8_lossy(&status.stdout), String::from_utf8_lossy(&status.stderr));
    let up = (1..=5).filter(|n| said.contains(&format!("\nn{n} "))).count();
    assert_eq!(up, 4, "{said}{told}");
    let reason = "this process may have 40 descriptors open, enough for 4 nodes";
    assert!(format!("{said}{told}").contains(reason), "{said}{told}");

    let lines: String = (1..=50).map(|n| format!("{n} 1\n")).collect();
    let lines = machine.write("lines", lines);
    let ran = limited(&format!("core run {sum} --lines {} --nodes {addresses}", lines.display()));
    let sums: String = (1..=50).map(|n| format!("{}\n", n + 1)).collect();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), sums);
}
