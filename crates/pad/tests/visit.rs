//! A pad's whole life, as a process, with a shell for its visitor: everything but how one is built.
//!
//! The "image" is a length and a command; the process that is built of it is a shell that has stopped itself.

#![expect(clippy::print_stdout, reason = "a test that is a program of its own says what it did")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use farcall_pad::arrival::{Behind, Built};
use farcall_pad::{Rules, serve};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use sys::process::{Child, Spawn, Stderr};
use sys::socket::{pair, send_with_fds};
use sys::uffd::Right;
use wire::Message;
use wire::hello::Goodbye;
use wire::limits::{CONTROL_BODY_MAX, STDIO_WINDOW};
use wire::visit::{
    Alone, Closed, Exited, Resize, SIGNALS, Stage, Stdio as Bytes0, TERMINAL, Taken, Wake,
};
use worker::jail::Level;

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("pad") {
        let control = sys::process::inherited(3).expect("a socket of the test");
        let rules = Rules {
            level: Level::None,
            scratch: "/tmp".into(),
            account: None,
            follow: false,
            notice: |_| {},
        };
        return match serve(control.into(), &rules, build) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let tests: [(&str, fn()); 14] = [
        ("a visitor reads, writes and ends as if it were here", reads_writes_and_ends),
        ("a visitor that was not woken is gone with its connection", gone_with_its_connection),
        ("nothing is lost or doubled over two connections", nothing_is_lost),
        ("an end waits for its client with what was written last", its_end_waits),
        ("signals go there, and stops come back", signals_and_stops),
        ("a visitor with a terminal has it for its own", terminal),
        ("a terminal that is hung up tells whoever has it", hung_up),
        ("a terminal is hung up once", hung_up_once),
        ("a visitor ends with its node", ends_with_its_node),
        ("an image that is none is refused in words", refused_in_words),
        ("who asks before it was woken rules it out", asked_before),
        ("a visitor runs while its memory follows", runs_while_it_follows),
        ("a visitor whose memory cannot follow ends, and it is said why", ends_without_its_memory),
        ("a visitor whose memory has no way to come is refused", refused_without_lanes),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

struct Shell {
    shell: std::process::Child,
    behind: Option<Memory>,
}

impl Built for Shell {
    fn pid(&self) -> sys::Pid {
        sys::Pid(self.shell.id() as i32)
    }

    fn leaves_behind(&self) -> bool {
        self.behind.is_some()
    }

    fn wake(mut self: Box<Self>) -> Result<Option<Box<dyn Behind>>, String> {
        let pid = nix::unistd::Pid::from_raw(self.shell.id() as i32);
        let behind = self.behind.take();
        std::mem::forget(self);
        kill(pid, Signal::SIGCONT).map_err(|error| error.to_string())?;
        Ok(behind.map(|behind| Box::new(behind) as Box<dyn Behind>))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// What stands for memory that follows: a byte on the stream, which is the last one, or has it fail.
struct Memory;

impl Behind for Memory {
    fn follow(
        self: Box<Self>,
        stream: &UnixStream,
        faults: &UnixStream,
        lose: &mut dyn FnMut(),
    ) -> Result<(), String> {
        let mut byte = [0; 1];
        let mut stream = stream;
        match stream.read_exact(&mut byte).map(|()| byte[0]) {
            Ok(b'.') => {
                let mut faults = faults;
                faults.write_all(b"!").map_err(|error| error.to_string())
            }
            Ok(b'p') => panic!("it was told to"),
            Ok(_) | Err(_) => {
                lose();
                Err("its pages stopped".to_owned())
            }
        }
    }
}

fn build(
    from: &mut dyn Read,
    _: u32,
    _: Option<Right>,
    terminal: Option<OwnedFd>,
) -> Result<Box<dyn Built>, String> {
    let mut length = [0; 1];
    from.read_exact(&mut length).map_err(|error| error.to_string())?;
    let mut command = vec![0; usize::from(length[0])];
    from.read_exact(&mut command).map_err(|error| error.to_string())?;
    let command = String::from_utf8(command).map_err(|_| "no image; bring one".to_owned())?;
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("kill -STOP $$; {command}")]);
    shell.process_group(0);
    shell.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    if let Some(terminal) = terminal {
        let again = || terminal.try_clone().map_err(|error| error.to_string());
        shell.stdin(again()?).stdout(again()?).stderr(again()?);
    }
    let shell = shell.spawn().map_err(|error| error.to_string())?;
    // One that says so in its first words.
    let behind = command.starts_with("#lazy\n").then_some(Memory);
    let shell = Shell { shell, behind };
    let pid = nix::unistd::Pid::from_raw(shell.shell.id() as i32);
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).map_err(|error| error.to_string())?;
    Ok(Box::new(shell))
}

/// A pad and the client's end of its connection.
struct Visit {
    pad: Child,
    control: Option<UnixStream>,
    line: UnixStream,
    input: BytesMut,
    output: Vec<u8>,
    errors: Vec<u8>,
    pid: u32,
    /// What is typed is not shown.
    hides: bool,
}

impl Visit {
    fn begin(command: &str) -> Self {
        let length = u8::try_from(command.len()).expect("a short command");
        Self::send_image(&[&[length], command.as_bytes()].concat())
    }

    fn send_image(image: &[u8]) -> Self {
        Self::send_image_with(image, 0)
    }

    fn send_image_with(image: &[u8], what: u8) -> Self {
        let mut this = Self::connected_for(what);
        this.line.write_all(image).expect("the image goes out");
        this
    }

    /// Woken ahead of its memory, for which there are these two connections.
    fn ahead(command: &str) -> (Self, UnixStream, UnixStream) {
        let command = format!("#lazy\n{command}");
        let mut this = Self::connected();
        let control = this.control.as_ref().expect("a node");
        let lanes = (connect_for(control, 1), connect_for(control, 2));
        let length = u8::try_from(command.len()).expect("a short command");
        this.line.write_all(&[&[length], command.as_bytes()].concat()).expect("the image goes out");
        let Message::Built(built) = this.next() else { panic!("it is built") };
        this.pid = built.pid;
        this.send(&Message::Wake(Wake { alone: Alone::Ends, terminal: None }));
        assert!(matches!(this.next(), Message::Woken(_)));
        (this, lanes.0, lanes.1)
    }

    fn connected() -> Self {
        Self::connected_for(0)
    }

    fn connected_for(what: u8) -> Self {
        let (control, far) = pair().expect("a socket");
        let own = std::env::current_exe().expect("this file");
        let mut spawn = Spawn::new(own);
        spawn.args = vec!["pad".into()];
        spawn.env = std::env::vars_os().collect();
        spawn.descriptors = vec![(far.into(), 3)];
        spawn.stderr = Stderr::Inherit;
        let pad = spawn.start().expect("a pad");
        let line = connect_for(&control, what);
        Self {
            pad,
            control: Some(control),
            line,
            input: BytesMut::new(),
            output: Vec::new(),
            errors: Vec::new(),
            pid: 0,
            hides: false,
        }
    }

    fn built(command: &str) -> Self {
        let mut this = Self::begin(command);
        let Message::Built(built) = this.next() else { panic!("it is built") };
        this.pid = built.pid;
        this
    }

    fn woken(command: &str, alone: Alone) -> Self {
        let mut this = Self::built(command);
        this.send(&Message::Wake(Wake { alone, terminal: None }));
        let Message::Woken(woken) = this.next() else { panic!("it is woken") };
        assert_eq!(woken.pid, this.pid);
        this
    }

    fn send(&mut self, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(0, &mut bytes);
        self.line.write_all(&bytes).expect("the pad takes it");
    }

    fn next(&mut self) -> Message {
        loop {
            let frame =
                wire::frame::take(&mut self.input, CONTROL_BODY_MAX).expect("a short frame");
            if let Some(frame) = frame {
                return wire::decode(frame).expect("a message").1;
            }
            let mut piece = [0; 4096];
            let count = self.line.read(&mut piece).expect("the pad speaks");
            assert!(count > 0, "the pad hung up");
            self.input.extend_from_slice(&piece[..count]);
        }
    }

    fn signal(&mut self, at: u64, signal: Signal) {
        let number = Bytes::copy_from_slice(&[signal as i32 as u8]);
        self.send(&Message::Stdio(Bytes0 { stream: SIGNALS, at }, number));
    }

    fn type_in(&mut self, at: u64, text: &str) {
        self.send(&Message::Stdio(
            Bytes0 { stream: 0, at },
            Bytes::copy_from_slice(text.as_bytes()),
        ));
        self.send(&Message::Closed(Closed { stream: 0, at: at + text.len() as u64 }));
    }

    /// Everything until the end, taking what comes.
    fn rest(&mut self) -> Exited {
        loop {
            match self.next() {
                Message::Exited(exited) => {
                    self.send(&Message::Goodbye(Goodbye::Leaving));
                    return exited;
                }
                message => self.take(message),
            }
        }
    }

    fn take(&mut self, message: Message) {
        if let Message::Modes(modes) = &message {
            self.hides = modes.flags[3] & 8 == 0;
        }
        if let Message::Stdio(Bytes0 { stream: 2, .. }, bytes) = &message {
            self.errors.extend_from_slice(bytes);
        }
        // A test looks at one of both.
        if let Message::Stdio(Bytes0 { stream: stream @ (1 | TERMINAL), at }, bytes) = message {
            let known = (self.output.len() as u64 - at).min(bytes.len() as u64) as usize;
            self.output.extend_from_slice(&bytes[known..]);
            let bytes = self.output.len() as u64;
            self.send(&Message::Taken(Taken { stream, bytes }));
        }
    }

    /// The pad leaves by itself, and its visitor is no more.
    fn is_over(&mut self) {
        self.pad.wait().expect("the pad ends");
        self.is_gone();
    }

    fn is_gone(&self) {
        let until = Instant::now() + PATIENCE;
        while kill(nix::unistd::Pid::from_raw(self.pid as i32), None).is_ok() {
            assert!(Instant::now() < until, "the visitor is still there");
            std::thread::yield_now();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = self.pad.kill_tree();
        let _ = self.pad.wait();
    }
}

fn connect(control: &UnixStream) -> UnixStream {
    connect_for(control, 0)
}

fn connect_for(control: &UnixStream, what: u8) -> UnixStream {
    let (near, far) = pair().expect("a socket");
    near.set_read_timeout(Some(PATIENCE)).expect("a socket");
    send_with_fds(control, &[what], &[far.as_fd()]).expect("the pad takes it");
    near
}

fn reads_writes_and_ends() {
    let mut visit = Visit::woken("read a; echo \"$a $a\"; cat; exit 42", Alone::Ends);
    visit.type_in(0, "here\nthere\n");
    assert_eq!(visit.rest(), Exited::Code(42));
    assert_eq!(String::from_utf8_lossy(&visit.output), "here here\nthere\n");
    visit.is_over();
}

fn gone_with_its_connection() {
    let mut visit = Visit::built("sleep 1000");
    visit.line.shutdown(std::net::Shutdown::Both).expect("a socket");
    visit.is_over();
}

fn nothing_is_lost() {
    // More than a window, over connections that are cut here and there.
    let mut visit = Visit::woken("seq 1 60000; exit 7", Alone::GoesOn);
    for cut in 1..6_u64 {
        while (visit.output.len() as u64) < cut * STDIO_WINDOW / 2 {
            let message = visit.next();
            visit.take(message);
        }
        visit.line = connect(visit.control.as_ref().expect("a node"));
        visit.input.clear();
        assert!(matches!(visit.next(), Message::Woken(_)));
    }
    assert_eq!(visit.rest(), Exited::Code(7));
    let wanted: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
    assert!(visit.output == wanted.as_bytes(), "{} bytes", visit.output.len());
    visit.is_over();
}

fn its_end_waits() {
    // More than a window, so that not all of it can be taken off its pipe.
    let mut visit = Visit::woken("seq 1 60000; exit 3", Alone::GoesOn);
    // Whatever else is under way is lost.
    while visit.output.is_empty() {
        let message = visit.next();
        visit.take(message);
    }
    visit.line.shutdown(std::net::Shutdown::Both).expect("a socket");
    // It stands still, since nobody takes what it writes.
    let seen = Instant::now();
    kill(nix::unistd::Pid::from_raw(visit.pid as i32), Signal::SIGTERM).expect("a visitor");
    let again = visit.control.as_ref().expect("a node").try_clone().expect("a socket");
    let mut control = &again;
    control.set_nonblocking(true).expect("a socket");
    let mut stages = Vec::new();
    while stages.last() != Some(&Stage::Ended.byte()) {
        assert!(seen.elapsed() < PATIENCE, "the node is told of no end: {stages:?}");
        let _ = control.read_to_end(&mut stages);
        std::thread::yield_now();
    }
    control.set_nonblocking(false).expect("a socket");
    visit.line = connect(&again);
    visit.input.clear();
    assert_eq!(visit.rest(), Exited::Signal(15));
    let wanted: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
    assert!(wanted.as_bytes().starts_with(&visit.output), "{} bytes", visit.output.len());
    visit.is_over();
}

fn signals_and_stops() {
    let mut visit =
        Visit::woken("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done", Alone::Ends);
    while visit.output.is_empty() {
        let message = visit.next();
        visit.take(message);
    }
    visit.signal(0, Signal::SIGTSTP);
    // A second time, as on a new connection: it is known, and counts once.
    visit.signal(0, Signal::SIGTSTP);
    loop {
        match visit.next() {
            Message::Stopped(stopped) => {
                assert_eq!(i32::from(stopped.number), Signal::SIGTSTP as i32);
                break;
            }
            message => visit.take(message),
        }
    }
    // Who comes back hears that it stands still.
    visit.line = connect(visit.control.as_ref().expect("a node"));
    visit.input.clear();
    loop {
        match visit.next() {
            Message::Stopped(_) => break,
            Message::Woken(_) | Message::Taken(_) => {}
            message => visit.take(message),
        }
    }
    visit.signal(1, Signal::SIGCONT);
    visit.signal(2, Signal::SIGUSR1);
    assert_eq!(visit.rest(), Exited::Code(9));
    let mut visit = Visit::woken("kill -SEGV $$", Alone::Ends);
    assert_eq!(visit.rest(), Exited::Signal(11));
}

impl Visit {
    /// One whose standard streams are a terminal of 7 rows.
    fn on_terminal(command: &str) -> Self {
        let length = u8::try_from(command.len()).expect("a short command");
        let mut this = Self::send_image_with(&[&[length], command.as_bytes()].concat(), 3);
        let Message::Built(built) = this.next() else { panic!("it is built") };
        this.pid = built.pid;
        let terminal = Some(Resize { rows: 7, columns: 99 });
        this.send(&Message::Wake(Wake { alone: Alone::GoesOn, terminal }));
        let Message::Woken(_) = this.next() else { panic!("it is woken") };
        this
    }

    fn types(&mut self, at: u64, text: &'static str) {
        self.send(&Message::Stdio(
            Bytes0 { stream: TERMINAL, at },
            Bytes::from_static(text.as_bytes()),
        ));
    }

    fn says(&mut self, words: &str) {
        while !String::from_utf8_lossy(&self.output).contains(words) {
            let message = self.next();
            self.take(message);
        }
    }
}

fn terminal() {
    let mut visit = Visit::on_terminal(
        "test -t 0 && test -t 2 && stty size; trap 'stty size' WINCH; trap 'echo int' INT
        trap 'exit 5' USR1; read a; stty -echo; echo got $a; while :; do sleep 0.01; done",
    );
    visit.says("7 99\r\n");
    visit.types(0, "line\n");
    visit.says("got line\r\n");
    visit.send(&Message::Resize(Resize { rows: 8, columns: 100 }));
    visit.says("8 100\r\n");
    // The terminal makes one signal of it, for the job that has it.
    visit.types(5, "\x03");
    visit.says("int\r\n");
    // It stops as a job does, and goes on.
    visit.types(6, "\x1a");
    loop {
        match visit.next() {
            Message::Stopped(stopped) => break assert_eq!(stopped.number, 20),
            message => visit.take(message),
        }
    }
    visit.signal(0, Signal::SIGCONT);
    visit.types(7, "\x03");
    visit.says("int\r\nint\r\n");
    visit.signal(1, Signal::SIGUSR1);
    let mut hides = visit.hides;
    let exited = loop {
        match visit.next() {
            // The last of them before its end is as it left its terminal.
            Message::Modes(modes) => hides = modes.flags[3] & 8 == 0,
            Message::Exited(exited) => break exited,
            message => visit.take(message),
        }
    };
    assert_eq!((exited, hides), (Exited::Code(5), true));
    let said = String::from_utf8_lossy(&visit.output).into_owned();
    assert_eq!(said.matches("int\r\n").count(), 2, "{said:?}");
}

fn hung_up() {
    let mut visit =
        Visit::on_terminal("trap 'exit 3' HUP; echo ready; while :; do sleep 0.01; done");
    visit.says("ready");
    visit.send(&Message::Closed(Closed { stream: TERMINAL, at: 0 }));
    assert_eq!(visit.rest(), Exited::Code(3));
}

fn hung_up_once() {
    let mut visit = Visit::on_terminal(
        "trap 'echo hup' HUP; trap 'exit 4' USR1; echo ready; while :; do sleep 0.01; done",
    );
    visit.says("ready");
    visit.send(&Message::Closed(Closed { stream: TERMINAL, at: 0 }));
    visit.says("hup");
    visit.line = connect(visit.control.as_ref().expect("a node"));
    visit.input.clear();
    // Whoever comes back says it again; then the rest is in order.
    visit.send(&Message::Closed(Closed { stream: TERMINAL, at: 0 }));
    visit.signal(0, Signal::SIGUSR1);
    assert_eq!(visit.rest(), Exited::Code(4));
    let said = String::from_utf8_lossy(&visit.output).into_owned();
    assert_eq!(said.matches("hup").count(), 1, "{said:?}");
}

fn ends_with_its_node() {
    let mut visit = Visit::woken("sleep 1000", Alone::GoesOn);
    visit.control = None;
    visit.is_over();
}

fn refused_in_words() {
    let mut visit = Visit::send_image(&[2, 0xff, 0xff]);
    let Message::Refused(refused) = visit.next() else { panic!("it is refused") };
    assert_eq!(refused.reason, "no image; bring one");
    visit.line.shutdown(std::net::Shutdown::Both).expect("a socket");
    visit.pad.wait().expect("the pad ends");
}

fn asked_before() {
    let mut visit = Visit::built("sleep 1000");
    visit.line = connect(visit.control.as_ref().expect("a node"));
    let Message::Refused(refused) = visit.next() else { panic!("it will never run") };
    assert!(refused.reason.contains("before it was woken"), "{}", refused.reason);
    visit.is_gone();
    // Whatever comes after that is too late.
    visit.send(&Message::Wake(Wake { alone: Alone::Ends, terminal: None }));
    visit.is_gone();
    visit.line.shutdown(std::net::Shutdown::Both).expect("a socket");
    visit.is_over();
}

fn runs_while_it_follows() {
    let (mut visit, mut stream, mut faults) = Visit::ahead("read a; echo \"$a $a\"; cat; exit 42");
    // It answers while its memory is on its way, and goes on when all is there.
    visit.send(&Message::Stdio(Bytes0 { stream: 0, at: 0 }, Bytes::from_static(b"here\n")));
    while visit.output != b"here here\n" {
        let message = visit.next();
        visit.take(message);
    }
    stream.write_all(b".").expect("the pad takes it");
    let mut said = Vec::new();
    faults.read_to_end(&mut said).expect("the pad speaks");
    assert_eq!(said, b"!");
    visit.send(&Message::Closed(Closed { stream: 0, at: 5 }));
    assert_eq!(visit.rest(), Exited::Code(42));
    visit.is_over();
}

fn ends_without_its_memory() {
    // Cut off, or by a mistake in whoever puts it in place.
    for (last, why) in
        [(&b"x"[..], "its pages stopped"), (b"", "its pages stopped"), (b"p", "failed")]
    {
        let (mut visit, mut stream, _faults) = Visit::ahead("sleep 1000 & sleep 1000");
        stream.write_all(last).expect("the pad takes it");
        drop(stream);
        assert_eq!(visit.rest(), Exited::Signal(9));
        let errors = String::from_utf8_lossy(&visit.errors).into_owned();
        assert!(errors.starts_with("farcall: its memory did not follow it"), "{errors:?}");
        assert!(errors.contains(why), "{errors:?}");
        visit.is_over();
    }
}

fn refused_without_lanes() {
    let mut visit = Visit::begin("#lazy\nsleep 1000");
    let control = visit.control.as_ref().expect("a node");
    let _lane = connect_for(control, 1);
    // Whoever comes back has lost the connection before, and with it its turn.
    let _other = connect(control);
    let Message::Refused(refused) = visit.next() else { panic!("it is refused") };
    assert!(refused.reason.contains("did not come"), "{}", refused.reason);
}
