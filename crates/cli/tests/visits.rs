//! Processes that come to a node: who is let in, what a pad does with bytes that are no image, and what
//! is left of it all.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "../../../fuzz/src/seeds.rs"]
pub mod seeds;
mod support;

use std::io::{Read, Write, pipe};
use std::process::Stdio;

use support::middle::Middle;
use support::process::{children, descriptors, is_alive};
use support::raw::Raw;
use support::target::{Target, check_forbidden};
use support::{PATIENCE, Running, until};
use sys::process::{Spawn, Stderr};
use transport::{Credentials, Role};
use wire::Message;
use wire::hello::{Goodbye, Purpose, Welcome};
use wire::image::{ImageId, Writer};
use wire::limits::VISIT_TEXT_MAX;
use wire::visit::{Begin, Entry, Wake};

fn begin(command: &str) -> Begin {
    Begin { from: "here".into(), pid: 0, command: command.into(), memory: 0, terminal: false }
}

fn purpose(command: &str) -> Purpose {
    Purpose::Visit { entry: Entry::Begin(begin(command)) }
}

fn visit(target: &Target, owner: &str, command: &str) -> (Raw, Welcome) {
    let mut raw = target.peer(Role::Client, owner);
    let welcome = raw.greet(purpose(command));
    (raw, welcome)
}

fn refusal(raw: &mut Raw) -> String {
    raw.find(|message| match message {
        Message::Refused(refused) => Some(refused.reason.clone()),
        _ => None,
    })
}

/// The image of the paper, whole.
fn image() -> Vec<u8> {
    let paper = include_str!("../../../docs/image.md");
    let parts = seeds::vectors_image(paper).expect("every vector is one");
    parts.into_iter().flat_map(|part| part.bytes).collect()
}

/// The name in the certificate that this machine's commands show.
fn own_name(target: &Target) -> String {
    let _ = target.machine.run(&format!("ps --nodes {}", target.address)).says("COMMAND");
    let own = Credentials::load(&target.machine.home(), Role::Client).unwrap();
    own.map_or_else(|| "no certificate".to_owned(), |own| own.name().to_string())
}

fn visitors(target: &Target) -> Vec<serde_json::Value> {
    let ran = target.machine.run(&format!("ps --json --nodes {}", target.address)).says("visitors");
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    told["visitors"].as_array().unwrap().clone()
}

#[test]
fn who_may_not_run_code_starts_no_pad() {
    let target = Target::start();
    let before = children(target.pid());
    let mut stranger = target.stranger();
    stranger.put_greeting(purpose("x"));
    check_forbidden("a stranger", &mut stranger);
    let mut node = target.peer(Role::Node, "other");
    node.put_greeting(purpose("x"));
    check_forbidden("a node", &mut node);
    let mut wordy = target.peer(Role::Client, "eve");
    wordy.put_greeting(purpose(&"x".repeat(VISIT_TEXT_MAX + 1)));
    support::target::check_breach("a name without end", &mut wordy);
    // What follows the greeting unasked is no image: the pad's bytes begin behind the welcome.
    let mut hasty = target.peer(Role::Client, "eve");
    hasty.put_greeting(purpose("x"));
    hasty.put(&image());
    hasty.last_words();
    let mut unknown = target.peer(Role::Client, "eve");
    unknown.put_greeting(Purpose::Visit { entry: Entry::Return { visit: 1 } });
    let last = unknown.last_words().pop();
    assert!(matches!(last, Some(Message::Goodbye(Goodbye::Absent { .. }))), "{last:?}");
    until("nothing was started", || children(target.pid()) == before);
    target.check_unharmed();
}

#[test]
fn a_hundred_connections_of_garbage_leave_nothing_behind() {
    let target = Target::start();
    target.check_serves();
    let me = own_name(&target);
    let before = descriptors(target.pid());
    for round in 0..100_u32 {
        let (mut raw, _) = visit(&target, &me, "garbage");
        let mut garbage: Vec<u8> = (0..5000_u32).map(|at| ((at * round) >> 3) as u8).collect();
        if round % 2 == 0 {
            // One that begins like an image.
            garbage.splice(..200, image()[..200].iter().copied());
        }
        raw.put(&garbage);
        match round % 3 {
            0 => drop(raw),
            _ => assert!(!refusal(&mut raw).is_empty()),
        }
    }
    until("all visitors are gone", || visitors(&target).is_empty());
    until("nothing is held", || descriptors(target.pid()) <= before + 2);
    target.check_serves();
}

#[test]
fn eight_visits_are_served_at_once_and_shown() {
    let target = Target::start();
    let me = own_name(&target);
    let mut visits: Vec<_> = (0..8).map(|at| visit(&target, &me, &format!("sum {at}"))).collect();
    // Each a bit, in turn; what is said comes when all of it has come.
    let image = image();
    for piece in image.chunks(image.len() / 5 + 1) {
        for (raw, _) in &mut visits {
            raw.put(piece);
            raw.turn();
        }
        assert_eq!(visitors(&target).len(), 8);
    }
    let shown = visitors(&target);
    assert_eq!(shown[3]["command"], "sum 3", "{shown:?}");
    assert_eq!(shown[3]["owner"], me.as_str());
    // Whoever has none sees none, and comes back to none.
    let (mut mallory, _) = target.client("mallory");
    mallory.put_message(1, &Message::VisitsAsk);
    let told = mallory.find(|message| match message {
        Message::Visits(told) => Some(told.visits.len()),
        _ => None,
    });
    assert_eq!(told, 0);
    let status = target.machine.run(&format!("status --json --nodes {}", target.address));
    let status = status.says("visitors");
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["nodes"][0]["visitors"], 8);
    for (raw, _) in &mut visits {
        let reason = refusal(raw);
        assert!(!reason.is_empty(), "a reason");
    }
    let token = visits[0].1.link;
    let mut mallory = target.peer(Role::Client, "mallory");
    mallory.put_greeting(Purpose::Visit { entry: Entry::Return { visit: token } });
    let last = mallory.last_words().pop();
    assert!(matches!(last, Some(Message::Goodbye(Goodbye::Forbidden { .. }))), "{last:?}");
    drop(visits);
    until("all visitors are gone", || visitors(&target).is_empty());
    target.check_unharmed();
}

#[test]
fn who_asks_before_a_process_was_woken_is_told_that_it_never_will_be() {
    let target = Target::start();
    let (mut raw, welcome) = visit(&target, "eve", "x");
    raw.put(&image());
    let _ = refusal(&mut raw);
    let mut asker = target.peer(Role::Client, "eve");
    asker.greet(Purpose::Visit { entry: Entry::Return { visit: welcome.link } });
    let _ = refusal(&mut asker);
    let wake = Wake { alone: wire::visit::Alone::Ends, terminal: None };
    asker.put_message(0, &Message::Wake(wake));
    asker.turn();
    drop((raw, asker));
    until("the visit is over", || {
        let mut asker = target.peer(Role::Client, "eve");
        asker.put_greeting(Purpose::Visit { entry: Entry::Return { visit: welcome.link } });
        matches!(asker.last_words().pop(), Some(Message::Goodbye(Goodbye::Absent { .. })))
    });
    target.check_unharmed();
}

#[test]
fn pads_end_with_their_node() {
    let target = Target::start();
    let before = children(target.pid());
    let visits: Vec<_> = (0..3).map(|_| visit(&target, "eve", "x")).collect();
    until("the pads are there", || children(target.pid()).len() == before.len() + 3);
    let pads = children(target.pid());
    target.node.signal("KILL");
    until("the pads are gone", || !pads.iter().any(|pad| is_alive(*pad)));
    drop(visits);
}

#[test]
fn a_damaged_image_is_refused_by_name() {
    let target = Target::start();
    let good = image();
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let cases = [
        ("empty", Vec::new(), "E0702"),
        ("short", good[..20].to_vec(), "E0704"),
        ("text", b"no image at all".to_vec(), "E0702"),
    ];
    for (name, bytes, code) in cases {
        target.machine.write(name, bytes);
        let words = format!("restore {name} --on target --nodes {}", target.address);
        target.machine.run(&words).complains(&[&format!("error[{code}]"), name, "help:"]);
    }
    for (name, bytes) in [("altered", altered), ("cut", good[..good.len() - 30].to_vec())] {
        target.machine.write(name, bytes);
        let words = format!("restore {name} --on target --nodes {}", target.address);
        let ran = target.machine.run(&words);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("error[E070"), "{ran:?}");
    }
    target.machine.write("good", &good);
    let words = format!("restore good --on elsewhere --nodes {}", target.address);
    target.machine.run(&words).complains(&["error[E", "elsewhere", "help:"]);
    until("all visitors are gone", || visitors(&target).is_empty());
    target.check_unharmed();
}

/// A shell that has read one line, captured.
fn captured(target: &Target) -> std::path::PathBuf {
    captured_with(
        target,
        "read a; echo got $a; read b; echo and $b; trap 'echo bye; exit 9' TERM; read c; exit 7",
    )
}

/// The same with another script, which begins so.
fn captured_with(target: &Target, script: &str) -> std::path::PathBuf {
    let ((input, mut typed), (mut output, said)) = (pipe().unwrap(), pipe().unwrap());
    let mut shell = Spawn::new("/bin/sh");
    shell.args = vec!["-c".into(), script.into()];
    shell.stderr = Stderr::Null;
    shell.descriptors = vec![(input.into(), 0), (said.into(), 1)];
    let mut shell = shell.start().unwrap();
    typed.write_all(b"one\n").unwrap();
    let mut said = [0; 8];
    output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"got one\n");
    let mut frozen = telefork::capture::Frozen::freeze(shell.pid(), PATIENCE).unwrap();
    let description = frozen.describe().unwrap();
    let path = target.machine.path("shell.image");
    let mut writer = Writer::new(std::fs::File::create(&path).unwrap(), ImageId(7));
    description.put(&mut writer).unwrap();
    frozen.send(&description, &mut writer).unwrap();
    writer.finish().unwrap();
    drop(frozen);
    shell.kill().unwrap();
    shell.wait().unwrap();
    path
}

#[test]
fn an_image_goes_on_over_there_with_the_streams_and_the_status_of_here() {
    let target = Target::start();
    let image = captured(&target);
    let words = format!("restore {} --on target --nodes {}", image.display(), target.address);
    let ran = target.machine.run_with_input(&words, "two\nthree\n");
    assert_eq!((ran.code, &ran.stdout[..]), (Some(7), "and two\n"), "{ran:?}");
    until("the visitor is gone", || visitors(&target).is_empty());

    // The same image again, from a user's own socket or not; this one is ended by a signal of here.
    let mut command = target.machine.command(words.split_whitespace());
    command.stdin(Stdio::piped());
    let mut restored = Running::of(&mut command);
    restored.child.stdin.as_mut().unwrap().write_all(b"two\n").unwrap();
    restored.line_with("and two");
    let shown = visitors(&target);
    assert_eq!(shown[0]["state"], "runs", "{shown:?}");
    let pid = shown[0]["pid"].as_u64().unwrap() as u32;
    assert!(is_alive(pid));
    restored.signal("TERM");
    restored.line_with("bye");
    assert_eq!(restored.end(), Some(9));
    until("the visitor is gone", || visitors(&target).is_empty() && !is_alive(pid));

    // A node that dies takes its visitors along, and the command says so.
    let mut command = target.machine.command(words.split_whitespace());
    command.stdin(Stdio::piped());
    let mut restored = Running::of(&mut command);
    restored.child.stdin.as_mut().unwrap().write_all(b"two\n").unwrap();
    restored.line_with("and two");
    let pid = visitors(&target)[0]["pid"].as_u64().unwrap() as u32;
    target.node.signal("KILL");
    until("the visitor is gone with its node", || !is_alive(pid));
    restored.finish().complains(&["error[E0708]", "target", "help:"]);
}

#[test]
fn an_image_wakes_on_a_node_with_the_descriptors_that_are_wished() {
    let target = Target::start();
    let text = target.machine.write("text", "old\n");
    let script = format!(
        "exec 5< {}; read a; echo got $a; read b; if read x <&5; then echo saw $x; else echo none; fi",
        text.display()
    );
    let image = captured_with(&target, &script);
    target.machine.write("text", "new and longer\n");
    let words = format!("restore {} --on target --nodes {}", image.display(), target.address);
    for (wish, said) in
        [("", "saw old"), ("--fd 5=drop", "none"), ("--fd 5=reopen", "saw new and longer")]
    {
        let ran = target.machine.run_with_input(&format!("{words} {wish}"), "two\n");
        assert_eq!((ran.code, ran.stdout.trim()), (Some(0), said), "{wish}: {ran:?}");
    }
    let ran = target.machine.run_with_input(&format!("{words} --fd 0=reopen"), "");
    ran.complains(&["error[E", "0"]);
}

#[test]
fn a_visitor_s_streams_survive_connections_that_are_lost() {
    let target = Target::start();
    let image = captured_with(&target, "read a; echo got $a; exec cat");
    // The connection that brings the image lasts until it has come, and all after it a moment.
    let whole = std::fs::metadata(&image).unwrap().len() as usize / (16 << 10) + 30;
    let records = move |at: usize| [usize::MAX, whole].get(at).copied().unwrap_or(14);
    let middle = Middle::start(&target.address, records);
    let words = format!("restore {} --on target --nodes {}", image.display(), middle.address);
    let mut text = String::new();
    (0..300_000).for_each(|number| text += &format!("{number}\n"));
    let (input, output) = (target.machine.write("input", &text), target.machine.path("output"));
    let mut command = target.machine.command(words.split_whitespace());
    command.stdin(std::fs::File::open(input).unwrap());
    command.stdout(std::fs::File::create(&output).unwrap());
    let status = command.status().unwrap();
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(std::fs::read_to_string(output).unwrap() == text, "nothing is missing, or there twice");
    let connections = middle.heard.lock().unwrap().len();
    assert!(connections > 5, "it was cut {connections} times");
    until("the visitor is gone", || visitors(&target).is_empty());
}
