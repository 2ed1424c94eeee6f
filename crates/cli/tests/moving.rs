//! Processes that move, by the command: what is found of them, and what is in an image.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Machine, Ran, skipped};

/// The vectors of this paper, one behind another, are an image.
const PAPER: &str = include_str!("../../../docs/image.md");

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// A shell that waits, in a group of its own, with nothing open but what these words open.
    fn start(opening: &str) -> Self {
        // Whatever whoever started the tests had open is none of its own.
        let close = "for f in 3 4 5 6 7 8 9; do eval \"exec $f>&-\"; done";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{close}; {opening}; exec sleep 1000")]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let this = Self(command.spawn().unwrap());
        let path = format!("/proc/{}/comm", this.0.id());
        let started = std::time::Instant::now();
        while std::fs::read_to_string(&path).unwrap() != "sleep\n" {
            assert!(started.elapsed() < support::PATIENCE, "it never became sleep");
            std::thread::yield_now();
        }
        this
    }

    /// Descriptors above 9, which a shell cannot close, are left out.
    fn preflight(&self, machine: &Machine, more: &str) -> Ran {
        let pid = self.0.id();
        let inherited = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let numbers = inherited.map(|one| one.unwrap().file_name().into_string().unwrap());
        let numbers = numbers.filter(|number| number.parse::<u32>().unwrap() > 9);
        let wishes: String = numbers.map(|number| format!(" --fd {number}=drop")).collect();
        machine.run(&format!("preflight {pid}{wishes} {more}"))
    }
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

fn image() -> Vec<u8> {
    let mut bytes = Vec::new();
    for vector in PAPER.split("```vector-image\n").skip(1) {
        let hex = vector.split_once("hex:").unwrap().1.split_once("says:").unwrap().0;
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        for pair in digits.chunks(2) {
            let pair = std::str::from_utf8(pair).unwrap();
            bytes.push(u8::from_str_radix(pair, 16).unwrap());
        }
    }
    bytes
}

#[test]
fn a_process_that_can_move_is_told_with_what_travels() {
    let machine = Machine::new();
    let process = Process::start("exec 5< /etc/passwd");
    let ran = process.preflight(&machine, "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in ["What travels", "descriptor 5", "/etc/passwd: its", "can move"] {
        assert!(ran.stdout.contains(words), "no {words} in {ran:?}");
    }
    assert!(!ran.stdout.contains("fail"), "{ran:?}");
    let told = json(&process.preflight(&machine, "--json"));
    assert_eq!((&told["movable"], &told["findings"]), (&true.into(), &Value::Array(Vec::new())));
}

#[test]
fn a_process_that_cannot_move_is_told_with_remedies_that_help() {
    let machine = Machine::new();
    let fifo = machine.path("fifo");
    let process = Process::start(&format!("mkfifo {0}; exec 5<> {0}", fifo.display()));
    let ran = process.preflight(&machine, "");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in ["fail", "descriptor 5: a pipe", "--fd 5=drop", "cannot move: one thing"] {
        assert!(ran.stdout.contains(words), "no {words} in {ran:?}");
    }
    let told = json(&process.preflight(&machine, "--json"));
    assert_eq!(told["findings"][0]["object"], "descriptor 5");
    assert_eq!(told["findings"][0]["blocks"], true);
    assert_eq!(process.preflight(&machine, "--fd 5=drop").code, Some(0));
    let ran = process.preflight(&machine, "--fd 6=drop");
    assert!(ran.stderr.contains("error[E0701]") && ran.stderr.contains("descriptor 6"), "{ran:?}");
    assert_eq!(machine.run("preflight 0").code, Some(2));
    assert_eq!(machine.run("preflight 1 --fd 5=keep").code, Some(2));
}

#[test]
fn a_plain_user_is_told_that_a_process_is_anothers() {
    let machine = Machine::new();
    let process = Process::start("true");
    let mut command = machine.command(["preflight", &process.0.id().to_string()]);
    if !sys::limits::is_root() {
        return skipped("only root starts commands as another user");
    }
    command.uid(65534).gid(65534).current_dir("/");
    let ran = match command.output() {
        Ok(output) => output,
        Err(error) => return skipped(&format!("another user may not start this binary: {error}")),
    };
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(text.contains("it belongs to user 0") && text.contains("or as root"), "{text}");
}

#[test]
fn an_image_is_described_and_a_damaged_one_refused_by_name() {
    let machine = Machine::new();
    let whole = image();
    machine.write("whole", &whole);
    let ran = machine.run("image whole --verify");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in ["/usr/bin/count", "count to\\xff\\u{1b}", "4242", "every byte"] {
        assert!(ran.stdout.contains(words), "no {words} in {ran:?}");
    }
    let told = json(&machine.run("image whole --json"));
    let told = &told["images"][0];
    assert_eq!(told["bytes"], whole.len());
    assert_eq!((&told["process"]["pid"], &told["threads"]), (&4242.into(), &1.into()));
    assert_eq!((&told["file_bytes"], &told["verified"]), (&7.into(), &false.into()));

    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    // A byte of a file that is taken along: only reading all of it finds that.
    let content = whole.windows(7).rposition(|seven| seven == b"content").unwrap();
    for (bytes, words, code) in [
        (flipped(0), "image bad", "E0702"),
        (flipped(8), "image bad", "E0704"),
        (flipped(100), "image bad", "E0704"),
        (whole[..whole.len() - 1].to_vec(), "image bad", "E0704"),
        (flipped(content), "image bad --verify", "E0704"),
        (Vec::new(), "image bad", "E0702"),
    ] {
        machine.write("bad", &bytes);
        let ran = machine.run(words);
        assert!(ran.code == Some(1) && ran.stderr.contains(code), "{code}: {ran:?}");
        assert!(ran.stdout.is_empty() && ran.stderr.contains("help: "), "{ran:?}");
    }
    machine.write("bad", flipped(content));
    assert_eq!(machine.run("image bad").code, Some(0), "bytes of files are not read unless asked");
    assert!(machine.run("image none").stderr.contains("E0401"));
}

#[test]
fn the_doctor_says_what_moving_needs() {
    let machine = Machine::new();
    let told = json(&machine.run("doctor --json"));
    let sections = told["sections"].as_array().unwrap();
    let moving = sections.iter().find(|one| one["title"] == "Processes that move").unwrap();
    let findings = moving["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 5, "{findings:?}");
    for finding in findings.iter().filter(|one| one["mark"] != "ok") {
        assert!(finding["remedy"].is_string(), "{finding}");
    }
    assert!(told["works"]["processes that move"].is_boolean());
}
