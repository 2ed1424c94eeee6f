//! Names that were chosen to do harm: of programs, nodes, owners and files; words that steer a
//! terminal or a shell; links that stand where a file is expected.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use support::target::{Target, check_forbidden};
use support::{Machine, Ran, Running, skipped, under, until};
use transport::Role;
use wire::Message;
use wire::blob::{Permit, Put};
use wire::hello::{Hello, Purpose, VERSION};
use wire::limits::PROGRAM_NAME_MAX;
use wire::name::{Hash, Name, TaskName};
use wire::task::{Define, Input, Program, Run, RunHead};
use wire::units::Span;

/// What nobody may be called who has a place in paths, terminals and certificates.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "~root/x",
        "-rf",
        "--help",
        "a b",
        "a\nb",
        "a\tb",
        "a\u{1b}[31m",
        "a\u{7f}",
        "a\u{9b}2J",
        "a\u{202e}b",
        "nod\u{0435}",
        "caf\u{e9}",
        "a\u{200b}b",
        "a;b",
        "$(id)",
        "`id`",
        "a|b",
        "a&b",
        "a*",
        "a'b",
        "a\"b",
        "a\\b",
        "%s%n",
        ".hidden",
        "a:b",
    ]
    .map(str::to_owned)
    .into();
    names.extend(["a".repeat(65), "a".repeat(4096), format!("{}x", "../".repeat(1300))]);
    names
}

/// Nothing in it that a terminal may do something else with than show it.
#[track_caller]
fn check_tame(text: &str) {
    let steers = |c: char| {
        let is_end = c == '\n';
        (c.is_control() && !is_end) || ('\u{202a}'..='\u{202e}').contains(&c)
    };
    assert!(!text.contains(steers), "{text:?}");
}

// Names of nodes, owners and programs.

#[test]
fn no_node_and_no_client_gets_a_name_that_is_more_than_a_name() {
    let machine = Machine::new();
    let (_a, a) = machine.start_node("--name a");
    let token = machine.run("auth token").stdout;
    let before = files(machine.path("").as_path());
    for name in hostile_names() {
        let node = machine
            .command(["node", "--listen", "127.0.0.1:0"])
            .arg(format!("--name={name}"))
            .output();
        let auth = machine.command(["auth", "join", &a, "--token", token.trim()]);
        for ran in [node, { auth }.arg(format!("--name={name}")).output()] {
            let ran = ran.unwrap();
            let stderr = String::from_utf8_lossy(&ran.stderr);
            assert!(!ran.status.success(), "{name:?} was taken");
            check_tame(&stderr);
            assert!(
                stderr.len() < 2048 + 2 * name.len(),
                "{} bytes to say that {name:?} is no name",
                stderr.len()
            );
        }
    }
    let after = files(machine.path("").as_path());
    assert_eq!(after, before, "nothing was made under such a name");
    // The token was not used up by any of them.
    machine.run(&format!("auth join {a} --token {} --name ok", token.trim()));
}

/// All files and folders in a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(files(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

#[test]
fn no_peer_says_hello_under_such_a_name() {
    let target = Target::start();
    for name in hostile_names() {
        assert!(name.parse::<Name>().is_err(), "{name:?} is a name");
        // A frame that is right but for the name.
        let hello = Hello {
            agent: "raw".to_owned(),
            name: "NAME".parse().unwrap(),
            purpose: Purpose::Client,
        };
        let mut bytes = bytes::BytesMut::new();
        Message::Hello(hello).encode(0, &mut bytes);
        let at = bytes.windows(4).position(|window| window == b"NAME").unwrap();
        let mut body = bytes[wire::frame::HEADER..at - 1].to_vec();
        body.extend(varint(name.len()));
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&bytes[at + 4..]);
        let mut raw = target.peer(Role::Client, "evil");
        raw.put_message(0, &Message::Version(VERSION));
        raw.put_frame(bytes[0], 0, body.len() as u64, &body);
        let said = raw.last_words();
        assert!(!said.iter().any(|m| matches!(m, Message::Welcome(_))), "{name:?}: {said:?}");
    }
    target.check_unharmed();
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A program may be called anything: its name is for people, and no path.
#[test]
fn a_programs_name_is_shown_tamely_and_opens_nothing() {
    let target = Target::start();
    let library = fs::read(&target.specimen).unwrap();
    let hash = Hash::of(&library);
    let names = [
        "../../../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "a\nNODE evil",
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J",
        "\u{202e}os.erocbil",
        "-rf",
        "$(touch pwned);`touch pwned`|touch pwned",
        "",
    ];
    let before = files(&target.machine.path("state"));
    let (mut raw, _) = target.client("evil");
    let put = Put { hash, length: library.len() as u64 };
    raw.put_message(1, &Message::Put(put, Bytes::from(library)));
    let all = names.iter().map(|name| (*name).to_owned()).chain(["x".repeat(PROGRAM_NAME_MAX)]);
    for (number, name) in all.enumerate() {
        let program = Program::Core { library: hash, name };
        let number = number as u32;
        raw.put_message(0, &Message::Define(Define { number, program, memory: 0 }));
        let (name, input) = (TaskName::default(), Input::Inline);
        let head = RunHead { program: number, attempt: 1, deadline: Span(0), input, name };
        let inline = Bytes::from_static(b"noop");
        raw.put_message(100 + u64::from(number), &Message::Run(Run { head, inline }));
        raw.find(|message| matches!(message, Message::Done(_)).then_some(()));
        let ran = target.machine.run(&format!("status --nodes {}", target.address));
        check_tame(&ran.stdout);
        let lines = |ran: &Ran| ran.stdout.lines().filter(|line| line.starts_with("NODE")).count();
        assert_eq!(lines(&ran), 1, "a name has made a line of its own: {}", ran.stdout);
    }
    let after = files(&target.machine.path("state"));
    let new: Vec<&PathBuf> = after.iter().filter(|path| !before.contains(path)).collect();
    let hash = hash.to_string();
    for path in new {
        let name = path.file_name().unwrap().to_str().unwrap();
        let plain =
            |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        assert!(name.starts_with(&hash) || plain(name), "{}", path.display());
    }
    assert!(!target.machine.path("pwned").exists());
    target.check_unharmed();
}

#[test]
fn a_node_fetches_nothing_with_a_certificate_alone() {
    let target = Target::start();
    let hash = Hash::of(&fs::read(&target.specimen).unwrap());
    // The core is there; these are a node's, a client's and an admin's certificates without a permit.
    for role in [Role::Node, Role::Client, Role::Admin] {
        let mut raw = target.peer(role, "evil");
        raw.put_greeting(Purpose::Fetch { hash, permit: Permit([0; 16]) });
        check_forbidden(&format!("{role:?}"), &mut raw);
    }
    target.check_unharmed();
}

// Names of files.

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// What files may be called on Linux, and nobody expects.
fn hostile_files() -> Vec<OsString> {
    let mut all: Vec<OsString> = [
        &b"-rf"[..],
        b"--help",
        b"a\nb",
        b"a\x1b[2Jb",
        b"$(touch pwned)",
        b"; touch pwned",
        b"`touch pwned`",
        b"a b",
        b"*",
        b"~",
        b"'",
        b"\"",
        b"\\",
        b"%s",
        b"\xff\xfe",
        b"\xff\xfd",
        b"...",
        b"..a",
        b"CON",
        "\u{202e}txt".as_bytes(),
        "nod\u{0435}".as_bytes(),
        "node".as_bytes(),
    ]
    .map(os)
    .into();
    all.push(os(&[b'x'; 255]));
    all
}

#[test]
fn results_have_the_names_of_their_inputs_whatever_those_are() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    let (_a, a) = machine.start_node("--name a --slots 1");
    fs::create_dir(machine.path("in")).unwrap();
    let names = hostile_files();
    for (n, name) in names.iter().enumerate() {
        fs::write(machine.path("in").join(name), format!("echo {n}")).unwrap();
    }
    let there = || fs::read_dir(machine.path("")).unwrap().count();
    let before = there();
    let mut command = machine.command([
        "core",
        "run",
        &*specimen,
        "--nodes",
        &*a,
        "--out",
        "$(touch pwned) -rf\n;",
    ]);
    command.arg("--").args(names.iter().map(|name| Path::new("in").join(name)));
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let out = machine.path("$(touch pwned) -rf\n;");
    for (n, name) in names.iter().enumerate() {
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), n.to_string(), "{name:?}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), names.len());
    assert_eq!(there(), before + 1, "something else was made");
    // Failures are told by name.
    for name in &names {
        fs::write(machine.path("in").join(name), "rc 3").unwrap();
    }
    let mut command = machine.command(["core", "run", &*specimen, "--nodes", &*a, "--"]);
    command.args(names.iter().map(|name| Path::new("in").join(name)));
    let ran = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&ran.stderr);
    check_tame(&stderr);
    let first: Vec<&str> = stderr.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(first.len(), 1, "a name has made a line of its own: {stderr}");
}

#[test]
fn paths_that_lead_nowhere_are_told_tamely() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    let missing: Vec<OsString> = vec![
        os(b"../../a\x1b[2J\nb"),
        os(&b"x/".repeat(2048)),
        os(&[b'y'; 4000]),
        os(b".."),
        os(b"/"),
    ];
    for path in &missing {
        for words in [vec!["core", "run", &specimen, "--"], vec!["core", "run", "--lines"]] {
            let mut command = machine.command(words.iter().map(OsStr::new));
            let ran = command.arg(path).output().unwrap();
            assert!(!ran.status.success(), "{path:?}");
            check_tame(&String::from_utf8_lossy(&ran.stderr));
        }
        let mut command = machine.command(["core", "run"]);
        let ran = command.arg("--").arg(path).arg(&specimen).output().unwrap();
        assert!(!ran.status.success(), "{path:?} as a core");
        check_tame(&String::from_utf8_lossy(&ran.stderr));
    }
    // A NUL cannot be said to a program at all; a core that has it inside comes by the protocol only.
    assert!(machine.command(["core", "run", "a\0b"]).output().is_err());
}

#[test]
fn a_result_is_not_written_through_a_link() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    let (_a, a) = machine.start_node("--name a --slots 1");
    let treasure = machine.write("treasure", "mine");
    machine.write("one", "echo stolen");
    fs::create_dir(machine.path("out")).unwrap();
    let run = || machine.run(&format!("core run {specimen} one --out out --nodes {a}"));
    for to in [treasure.as_path(), Path::new("../treasure"), Path::new("../new")] {
        symlink(to, machine.path("out/one")).unwrap();
        run().complains(&["error[E0401]: cannot write out/one"]);
        fs::remove_file(machine.path("out/one")).unwrap();
    }
    assert_eq!(fs::read_to_string(&treasure).unwrap(), "mine");
    assert!(!machine.path("new").exists());
    // Nor does something that nobody reads hold it up.
    assert!(Command::new("mkfifo").arg(machine.path("out/one")).status().unwrap().success());
    run().complains(&["cannot write out/one"]);
    fs::remove_file(machine.path("out/one")).unwrap();
    run().says("");
    assert_eq!(fs::read_to_string(machine.path("out/one")).unwrap(), "stolen");
    let mode = fs::metadata(machine.path("out/one")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0, "a result is no program");
}

#[test]
fn links_in_a_nodes_data_folder_lead_nowhere() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    machine.write("in", "echo here");
    let aside = machine.path("aside");
    fs::create_dir(&aside).unwrap();
    let treasure = aside.join("treasure");
    let data = machine.path("state/farcall/a");
    for name in ["blobs", "scratch", "dead", "lock"] {
        fs::write(&treasure, "mine").unwrap();
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).unwrap();
        let to = if name == "lock" { aside.join("new") } else { aside.clone() };
        symlink(&to, data.join(name)).unwrap();
        let words = "node --listen 127.0.0.1:0 --name a --slots 1";
        if name == "lock" {
            machine.run(words).complains(&["error[E0401]", "lock"]);
        } else {
            let (node, a) = machine.start_node("--name a --slots 1");
            let ran = machine.run(&format!("core run {specimen} in --nodes {a}"));
            assert_eq!((ran.code, &*ran.stdout), (Some(0), "here"), "{name}: {}", ran.stderr);
            node.signal("TERM");
            assert_eq!(node.end(), Some(0));
        }
        assert_eq!(fs::read_to_string(&treasure).unwrap(), "mine", "{name}");
        assert_eq!(fs::read_dir(&aside).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn links_in_the_folder_of_keys_are_refused() {
    for name in ["authority-key.pem", "authority.pem", "node.pem", "client.pem"] {
        let machine = Machine::new();
        machine.run("auth init").says("");
        drop(machine.start_node("--name a"));
        let key = machine.home().join(name);
        let aside = machine.path("aside.pem");
        fs::rename(&key, &aside).unwrap();
        symlink(&aside, &key).unwrap();
        let words = match name {
            "client.pem" => "status --nodes 127.0.0.1:1",
            "node.pem" => "node --listen 127.0.0.1:0",
            _ => "auth token",
        };
        let ran = machine.run(words);
        ran.complains(&["symbolic link", name]);
    }
    // The folder itself, too.
    let machine = Machine::new();
    machine.run("auth init").says("");
    fs::rename(machine.home(), machine.path("elsewhere")).unwrap();
    symlink(machine.path("elsewhere"), machine.home()).unwrap();
    machine.run("status --nodes 127.0.0.1:1").complains(&["symbolic link"]);
}

// Terminals and shells.

#[test]
fn what_a_task_says_of_its_death_steers_no_terminal() {
    let machine = Machine::new();
    let core = "#include \"farcall_core.h\"\n#include <stdio.h>\n#include <stdlib.h>\n\
        int32_t worker_init(int32_t v) { return v == FARCALL_CORE_API_VERSION ? 0 : 1; }\n\
        int32_t worker_run_job(uint64_t n, void *in, uint64_t *m, void **out) {\n\
        fprintf(stderr, \"\\033]0;owned\\007\\033[2J\\rfake: all is well\\n\\302\\2332J\\342\\200\\256\\n\"); abort(); }\n\
        void worker_free_outdata(uint64_t n, void *out) {}\n";
    let source = machine.write("evil.c", core);
    let library = machine.path("lib\u{1b}[2J\nevil.so");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core-abi/include");
    let mut compile = Command::new("cc");
    compile
        .args(["-w", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-I")
        .arg(include);
    assert!(compile.status().unwrap().success());
    let (_a, a) = machine.start_node("--name a --slots 1");
    machine.write("in", "x");
    let mut command = machine.command(["core", "run"]);
    let ran =
        command.arg(&library).args(["in", "--retries", "0", "--nodes", &*a]).output().unwrap();
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(stderr.contains("signal 6") && stderr.contains("all is well"), "{stderr}");
    check_tame(&stderr);
    check_tame(&machine.run(&format!("status --nodes {a}")).stdout);
}

/// On a terminal a result is shown, not obeyed; elsewhere it is what it is.
#[test]
fn a_result_steers_no_terminal_and_is_exact_elsewhere() {
    let machine = Machine::new();
    let specimen = machine.core("misbehaving/specimen.c");
    let (_a, a) = machine.start_node("--name a --slots 1");
    machine.write("in", "echo \u{1b}]0;owned\u{7}\u{9b}2Jx");
    let words = format!("core run {specimen} in --nodes {a}");
    let exact = machine.command(words.split_whitespace()).output().unwrap();
    assert_eq!(exact.stdout, "\u{1b}]0;owned\u{7}\u{9b}2Jx".as_bytes());
    let run = format!("{} {words}", env!("CARGO_BIN_EXE_farcall"));
    let on_terminal = under(&["script", "-qec", &run, "/dev/null"], &machine.command([""; 0]));
    let mut on_terminal = with_program(&on_terminal);
    on_terminal.env("TERM", "dumb");
    let Ok(shown) = on_terminal.output() else {
        return skipped("a terminal needs `script` (package util-linux)");
    };
    let shown = String::from_utf8_lossy(&shown.stdout).replace("\r\n", "\n");
    assert!(shown.contains("owned") && shown.contains('x'), "{shown:?}");
    check_tame(&shown);
}

/// The command without the program that `under` put behind it.
fn with_program(command: &Command) -> Command {
    let mut own = Command::new(command.get_program());
    let count = command.get_args().len();
    own.args(command.get_args().take(count - 1));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => own.env(name, value),
            None => own.env_remove(name),
        };
    }
    own.current_dir(command.get_current_dir().unwrap());
    own
}

#[test]
fn names_of_hosts_are_told_tamely() {
    let machine = Machine::new();
    machine.run("auth init").says("");
    for host in [
        "evil\u{1b}[2J\nhost",
        "-oProxyCommand=touch pwned",
        "$(touch pwned)",
        "\u{202e}tsoh",
        "a b",
        "",
    ] {
        for words in [vec!["status"], vec!["core", "run", "/dev/null", "/dev/null"]] {
            let mut command = machine.command(&words);
            let ran = command.arg(format!("--nodes={host}")).output().unwrap();
            let all = [ran.stdout, ran.stderr].concat();
            check_tame(&String::from_utf8_lossy(&all));
            assert!(!ran.status.success(), "{host:?}");
        }
        let mut node = machine.command(["node", "--listen", "127.0.0.1:0"]);
        let ran = node.arg(format!("--join={host}")).args(["--token", "x"]).output().unwrap();
        check_tame(&String::from_utf8_lossy(&ran.stderr));
        assert!(!ran.status.success(), "{host:?}");
    }
    assert!(!machine.path("pwned").exists());
}

/// Every path of a node and a job is full of what means something to a shell.
#[test]
fn no_shell_reads_a_name() {
    let machine = Machine::new();
    let folder = machine.path("$(touch pwned);`touch pwned`&|<>*?[a] '\"\\~#!");
    fs::create_dir(&folder).unwrap();
    let library = folder.join("lib$(touch pwned); touch pwned #.so");
    fs::copy(machine.core("misbehaving/specimen.c"), &library).unwrap();
    let data = folder.join("data; touch pwned");
    let mut node = machine.command(["node", "--listen", "127.0.0.1:0", "--name", "a", "--data"]);
    node.arg(&data).current_dir(&folder);
    let mut node = Running::of(&mut node);
    let a = node.line_with("listening at 127.").trim_start_matches("listening at ").to_owned();
    let inputs = folder.join("$(touch pwned)");
    fs::write(&inputs, "echo $(touch pwned)\necho `touch pwned`; touch pwned\n").unwrap();
    let mut run = machine.command(["core", "run"]);
    run.arg(&library).arg("--lines").arg(&inputs).args(["--nodes", &*a]).current_dir(&folder);
    let ran = run.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "$(touch pwned)\n`touch pwned`; touch pwned\n",
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut local = machine.command(["core", "run"]);
    local.arg(&library).arg("--lines").arg(&inputs).current_dir(&folder);
    local.env("XDG_STATE_HOME", &folder);
    until("a node of this machine answers", || local.output().unwrap().status.success());
    let made = files(machine.path("").as_path());
    let made: Vec<&PathBuf> =
        made.iter().filter(|path| path.file_name().unwrap().as_bytes() == b"pwned").collect();
    assert!(made.is_empty(), "{made:?}");
}
