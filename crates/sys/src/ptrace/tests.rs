//! Real children, which check themselves (`specimen.c`), are stopped, made to call and let go.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;

use super::*;
use crate::Untraceable;
use crate::maps;
use crate::process_memory;

/// Nothing here waits that long where nothing is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times that something is tried that depends on when it is done.
const TRIES: u32 = 20_000;

struct Specimen {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it said at the start, as numbers.
    told: Vec<u64>,
}

impl Specimen {
    fn start(args: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("farcall-specimen-{}-{}", Pid::own(), COUNT.fetch_add(1, Relaxed));
        let program = std::env::temp_dir().join(name);
        let mut compiler = Command::new("cc")
            .args(["-O1", "-pthread", "-w", "-x", "c", "-o"])
            .args([program.as_os_str(), "-".as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a C compiler");
        let source = include_bytes!("specimen.c");
        compiler.stdin.take().unwrap().write_all(source).unwrap();
        assert!(compiler.wait().unwrap().success());
        let mut child = Command::new(&program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        std::fs::remove_file(&program).unwrap();
        let told = line.trim().strip_prefix("ready").unwrap_or_else(|| panic!("{line:?}"));
        let told = told.split_ascii_whitespace();
        let told = told.map(|number| u64::from_str_radix(number, 16).unwrap()).collect();
        Self { child, output, told }
    }

    fn pid(&self) -> Pid {
        Pid(self.child.id() as i32)
    }

    fn seize(&self) -> Tracee {
        Tracee::seize(self.pid(), PATIENCE).unwrap()
    }

    /// Stops it in the call of this number.
    fn seize_in(&self, call: i64) -> Tracee {
        for _ in 0..TRIES {
            let tracee = self.seize();
            let registers = tracee.threads()[0].registers().unwrap();
            // One with a timeout that was interrupted before is called so from then on.
            let calls = [call as u64, libc::SYS_restart_syscall as u64];
            if registers.interrupted_call().is_some_and(|found| calls.contains(&found)) {
                return tracee;
            }
            tracee.detach().unwrap();
            std::thread::yield_now();
        }
        panic!("it never made call {call}");
    }

    fn send(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Tells the one that counts, or spins, to end.
    fn end_loop(&self) {
        process_memory::write(self.pid(), self.told[1], &1_u32.to_ne_bytes()).unwrap();
    }

    /// What it says at its end.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text.trim().to_owned()
    }

    fn state(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1[..1].to_owned()
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn call(number: i64, args: &[u64]) -> Call {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Call { number, args: all }
}

/// All that can be seen of a stopped process from outside, but for what its own memory holds.
fn looks(tracee: &Tracee) -> Vec<String> {
    let threads = tracee.threads().iter().map(|thread| {
        let registers = thread.registers().unwrap();
        let state = thread.extended_state().unwrap();
        let mask = thread.signal_mask().unwrap();
        let locks = (thread.robust_list().unwrap(), thread.rseq().unwrap());
        format!("{registers:x?} {state:?} {mask:?} {locks:?} {:?}", thread.pending().unwrap())
    });
    let maps = format!("{:?}", maps::mappings(tracee.pid()).unwrap());
    threads.chain([maps]).collect()
}

/// 65 reads of signal actions and the break, as the child is asked in one run.
fn actions_and_break(thread: &mut Stopped) -> Vec<u64> {
    let mut remote = Remote::enter(thread, PATIENCE).unwrap();
    let scratch = remote.scratch();
    let read = |signal| call(libc::SYS_rt_sigaction, &[signal, 0, scratch.start + signal * 32, 8]);
    let mut calls: Vec<Call> = (1..=65).map(read).collect();
    calls.push(call(libc::SYS_brk, &[0]));
    let results = remote.run(&calls).unwrap();
    assert_eq!(results.len(), 66);
    let mut found = vec![*results[65].as_ref().unwrap()];
    for (signal, result) in (1..).zip(&results[..65]) {
        let mut action = [0; 16];
        process_memory::read(remote.pid(), scratch.start + signal * 32, &mut action).unwrap();
        let words: Vec<u64> =
            action.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        found.push(match result {
            Ok(_) => words[0].wrapping_add(words[1]),
            Err(error) => error.raw_os_error().unwrap() as u64,
        });
    }
    remote.finish().unwrap();
    found
}

#[test]
fn a_process_of_many_threads_answers_for_itself_and_counts_on() {
    let child = Specimen::start(&["count", "5"]);
    let mut tracee = child.seize();
    assert_eq!(tracee.threads().len(), 5);
    assert_eq!(tracee.threads()[0].tid(), tracee.pid());
    let counts = || {
        let mut bytes = vec![0; 64 * 5];
        process_memory::read(child.pid(), child.told[0], &mut bytes).unwrap();
        bytes
    };
    let (before, counted) = (looks(&tracee), counts());
    for at in 0..5 {
        assert_eq!(actions_and_break(&mut tracee.threads_mut()[at]), child.told[2..]);
    }
    assert_eq!(looks(&tracee), before);
    assert_eq!(counts(), counted, "a thread ran");
    tracee.detach().unwrap();
    child.end_loop();
    assert_eq!(child.end(), "good");
}

#[test]
fn calls_past_one_list_are_made_and_each_fails_alone() {
    let child = Specimen::start(&["count", "1"]);
    let mut tracee = child.seize();
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    let one = |at: u64| match at % 3 {
        0 => call(libc::SYS_getpid, &[]),
        1 => call(libc::SYS_close, &[9999]),
        _ => call(100_000, &[]),
    };
    let calls: Vec<Call> = (0..1300).map(one).collect();
    let results = remote.run(&calls).unwrap();
    assert_eq!(results.len(), 1300);
    for (at, result) in results.iter().enumerate() {
        let code = result.as_ref().map_err(|error| error.raw_os_error().unwrap());
        let want = match at % 3 {
            0 => Ok(&(child.pid().0 as u64)),
            1 => Err(libc::EBADF),
            _ => Err(libc::ENOSYS),
        };
        assert_eq!(code, want);
    }
    assert!(remote.run(&[]).unwrap().is_empty());
    remote.finish().unwrap();
    tracee.detach().unwrap();
    child.end_loop();
    assert_eq!(child.end(), "good");
}

/// A child that waits in a call is stopped there, made to call, and goes on; `wake` ends its wait.
#[track_caller]
fn goes_on_waiting(how: &str, number: i64, wake: &str) {
    let mut child = Specimen::start(&["wait", how]);
    for _ in 0..3 {
        let mut tracee = child.seize_in(number);
        let before = looks(&tracee);
        actions_and_break(&mut tracee.threads_mut()[0]);
        assert_eq!(looks(&tracee), before);
        tracee.detach().unwrap();
    }
    child.send(wake);
    assert_eq!(child.end(), "good", "{how}");
}

#[test]
fn a_sleep_that_is_interrupted_takes_its_time() {
    goes_on_waiting("sleep", libc::SYS_nanosleep, "");
}

#[test]
fn a_read_that_is_interrupted_reads() {
    goes_on_waiting("read", libc::SYS_read, "hello");
}

#[test]
fn a_poll_that_is_interrupted_sees_what_comes() {
    goes_on_waiting("poll", libc::SYS_poll, "x");
    goes_on_waiting("ppoll", libc::SYS_ppoll, "x");
}

#[test]
fn a_futex_that_is_interrupted_is_woken() {
    goes_on_waiting("futex", libc::SYS_futex, "x");
    goes_on_waiting("futex-timed", libc::SYS_futex, "x");
}

#[test]
fn vector_registers_survive_and_can_be_set() {
    if !std::arch::is_x86_feature_detected!("avx") {
        eprintln!("skipped: this processor has no AVX");
        return;
    }
    let child = Specimen::start(&["vectors"]);
    let mut tracee = child.seize();
    let thread = &mut tracee.threads_mut()[0];
    let state = thread.extended_state().unwrap();
    assert!(state.len() >= 832, "{} bytes", state.len());
    actions_and_break(thread);
    assert_eq!(thread.extended_state().unwrap(), state);
    // The register xmm0, which the child does not use: another value, and back.
    let mut changed = state.clone();
    changed[160..176].fill(0x5a);
    thread.set_extended_state(&changed).unwrap();
    assert_eq!(thread.extended_state().unwrap()[160..176], [0x5a; 16]);
    thread.set_extended_state(&state).unwrap();
    assert!(thread.set_extended_state(&[1; 7]).is_err());
    tracee.detach().unwrap();
    child.end_loop();
    assert_eq!(child.end(), "good");
}

fn queue(pid: Pid, signal: i32, value: usize) {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value) };
    // SAFETY: the value is a number that nobody follows.
    assert_eq!(unsafe { libc::sigqueue(pid.0, signal, value) }, 0);
}

#[test]
fn signals_that_come_meanwhile_arrive_afterwards_and_in_order() {
    let child = Specimen::start(&["signals", "plain"]);
    let mut tracee = child.seize_in(libc::SYS_read);
    queue(child.pid(), 40, 1);
    let before = looks(&tracee);
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    calls::signal_process(child.pid(), libc::SIGUSR1).unwrap();
    queue(child.pid(), 40, 2);
    remote.run(&[call(libc::SYS_getpid, &[]); 20]).unwrap();
    queue(child.pid(), 40, 3);
    remote.finish().unwrap();
    let pending = tracee.threads()[0].pending().unwrap();
    let waiting: Vec<i32> = pending.process.iter().map(SignalInfo::signal).collect();
    assert_eq!(waiting.len(), 4, "{waiting:?}");
    // What waits is more; registers and maps are the same.
    assert_eq!(looks(&tracee).last(), before.last());
    tracee.detach().unwrap();
    assert_eq!(child.end(), "10*1 40*3 =1 =2 =3 good");
}

#[test]
fn a_trap_that_is_sent_is_not_taken_for_ours() {
    for how in ["plain", "block-trap"] {
        let child = Specimen::start(&["signals", how]);
        let mut tracee = child.seize_in(libc::SYS_read);
        let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
        remote.run(&[call(libc::SYS_getpid, &[]); 3]).unwrap();
        calls::signal_process(child.pid(), libc::SIGTRAP).unwrap();
        let results = remote.run(&[call(libc::SYS_getpid, &[]); 3]).unwrap();
        assert_eq!(results.len(), 3);
        remote.finish().unwrap();
        tracee.detach().unwrap();
        assert_eq!(child.end(), "5*1 good", "{how}");
    }
}

#[test]
fn traps_that_come_at_any_time_are_kept() {
    let child = Specimen::start(&["signals", "plain"]);
    let mut tracee = child.seize_in(libc::SYS_read);
    let pid = child.pid();
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    let (start, started) = mpsc::channel();
    let (over, is_over) = mpsc::channel();
    let sender = std::thread::spawn(move || {
        started.recv().unwrap();
        let mut sent = 0_u32;
        while is_over.try_recv().is_err() {
            calls::signal_process(pid, libc::SIGTRAP).unwrap();
            sent += 1;
            std::thread::yield_now();
        }
        sent
    });
    start.send(()).unwrap();
    for _ in 0..200 {
        let results = remote.run(&[call(libc::SYS_getpid, &[]); 40]).unwrap();
        assert!(results.iter().all(|result| *result.as_ref().unwrap() == pid.0 as u64));
    }
    over.send(()).unwrap();
    assert!(sender.join().unwrap() > 0);
    remote.finish().unwrap();
    tracee.detach().unwrap();
    let text = child.end();
    assert!(text.starts_with("5*") && text.ends_with(" good"), "{text}");
}

#[test]
fn a_program_that_ignores_traps_goes_on_ignoring_them() {
    let child = Specimen::start(&["signals", "ignore-trap"]);
    let mut tracee = child.seize_in(libc::SYS_read);
    actions_and_break(&mut tracee.threads_mut()[0]);
    tracee.detach().unwrap();
    assert_eq!(child.end(), "trap is ignored");
}

#[test]
fn a_process_that_is_told_to_stop_meanwhile_stops_when_it_is_let_go() {
    let child = Specimen::start(&["signals", "plain"]);
    let mut tracee = child.seize_in(libc::SYS_read);
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    calls::signal_process(child.pid(), libc::SIGSTOP).unwrap();
    remote.run(&[call(libc::SYS_getpid, &[]); 3]).unwrap();
    remote.finish().unwrap();
    tracee.detach().unwrap();
    until(|| child.state() == "T");
    // And one that is stopped already stays so.
    let mut tracee = child.seize();
    let before = looks(&tracee);
    actions_and_break(&mut tracee.threads_mut()[0]);
    assert_eq!(looks(&tracee), before);
    tracee.detach().unwrap();
    until(|| child.state() == "T");
    calls::signal_process(child.pid(), libc::SIGCONT).unwrap();
    assert_eq!(child.end(), "good");
}

#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..TRIES {
        if is_so() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it never was so");
}

#[test]
fn a_hundred_rounds_leave_nothing_stopped() {
    let child = Specimen::start(&["count", "4"]);
    for round in 0..100 {
        let tracee = child.seize();
        assert_eq!(tracee.threads().len(), 4);
        if round % 2 == 0 { tracee.detach().unwrap() } else { drop(tracee) }
    }
    assert!(!["t", "T"].contains(&child.state().as_str()), "{}", child.state());
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    assert!(status.contains("TracerPid:\t0\n"));
    child.end_loop();
    assert_eq!(child.end(), "good");
}

#[test]
fn threads_that_come_and_go_are_all_stopped() {
    let child = Specimen::start(&["breed"]);
    for _ in 0..50 {
        let mut tracee = child.seize();
        let listed = crate::proc::threads(child.pid()).unwrap();
        assert!(listed >= tracee.threads().len());
        for thread in tracee.threads() {
            thread.registers().unwrap();
        }
        Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap().finish().unwrap();
        tracee.detach().unwrap();
    }
    assert_eq!(child.end(), "good");
}

#[test]
fn a_process_that_is_watched_runs_and_hears_its_signals() {
    let child = Specimen::start(&["signals", "plain"]);
    let mut running = child.seize().resume().unwrap();
    calls::signal_process(child.pid(), libc::SIGUSR1).unwrap();
    let heard = |running: &mut Running| {
        running.watch().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
        status.contains("ShdPnd:\t0000000000000000")
    };
    while !heard(&mut running) {
        std::thread::yield_now();
    }
    let tracee = running.interrupt(PATIENCE).unwrap();
    assert_eq!(tracee.threads().len(), 1);
    tracee.resume().unwrap().detach().unwrap();
    assert_eq!(child.end(), "10*1 good");
}

#[test]
fn a_process_that_is_traced_already_is_refused_by_name() {
    let child = Specimen::start(&["count", "2"]);
    let tracee = child.seize();
    let own = calls::own_thread();
    let pid = child.pid();
    let refused = std::thread::spawn(move || Tracee::seize(pid, PATIENCE).unwrap_err());
    let error = refused.join().unwrap();
    let is_named = |why| matches!(why, Untraceable::Traced(tracer) if tracer == own);
    assert!(matches!(error, Error::Untraceable { why, .. } if is_named(why)), "{error}");
    assert!(error.to_string().contains(&format!("process {pid} ")), "{error}");
    tracee.detach().unwrap();
    child.end_loop();
    assert_eq!(child.end(), "good");
}

#[test]
fn what_cannot_be_traced_is_told_with_its_reason() {
    let why = |pid| match Tracee::seize(pid, PATIENCE).unwrap_err() {
        Error::Untraceable { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(Pid(i32::MAX)), Untraceable::Gone);
    assert_eq!(why(Pid::own()), Untraceable::Own);
    let mut child = Specimen::start(&["count", "1"]);
    child.child.kill().unwrap();
    // It has ended, and nobody has waited for it.
    until(|| child.state() == "Z");
    assert_eq!(why(child.pid()), Untraceable::Gone);
    assert!(!child.child.wait().unwrap().success());
}

#[test]
fn a_process_that_is_killed_while_it_is_stopped_is_gone_and_its_parent_learns_how() {
    let mut child = Specimen::start(&["count", "3"]);
    let mut tracee = child.seize();
    child.child.kill().unwrap();
    until(|| tracee.threads()[0].registers().is_err());
    assert!(Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap_err().is_gone());
    let _ = tracee.detach();
    let exit = child.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&exit), Some(libc::SIGKILL));
}

#[test]
fn a_call_that_takes_too_long_is_interrupted_and_the_thread_is_its_own_again() {
    let child = Specimen::start(&["wait", "read"]);
    let mut child = child;
    let mut tracee = child.seize_in(libc::SYS_read);
    let before = looks(&tracee);
    let patience = Duration::from_millis(50);
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    remote.patience = patience;
    let error = remote.run(&[call(libc::SYS_pause, &[])]).unwrap_err();
    assert!(matches!(error, Error::Uncallable { why: crate::Uncallable::Slow, .. }), "{error}");
    remote.patience = PATIENCE;
    assert_eq!(remote.run(&[call(libc::SYS_getpid, &[])]).unwrap().len(), 1);
    remote.finish().unwrap();
    assert_eq!(looks(&tracee), before);
    tracee.detach().unwrap();
    child.send("hello");
    assert_eq!(child.end(), "good");
}

#[test]
fn a_twin_that_is_started_by_a_call_is_handed_over_stopped() {
    let child = Specimen::start(&["count", "1"]);
    let mut tracee = child.seize();
    let registers = tracee.threads()[0].registers().unwrap();
    let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
    let made = remote.run(&[call(libc::SYS_clone, &[0, 0, 0, 0, 0])]).unwrap();
    let twin = *made[0].as_ref().unwrap() as i32;
    let mut born = remote.born().unwrap();
    assert_eq!(born.len(), 1);
    let mut born = born.pop().unwrap();
    assert_eq!((born.pid(), born.tid()), (Pid(twin), Pid(twin)));
    born.set_registers(&registers).unwrap();
    assert_eq!(born.registers().unwrap(), registers);
    let twin = Tracee::born(born);
    calls::signal_process(twin.pid(), libc::SIGKILL).unwrap();
    let _ = twin.detach();
    remote.finish().unwrap();
    tracee.detach().unwrap();
    child.end_loop();
    assert_eq!(child.end(), "good");
}

/// The process of `an_ordinary_user_may_do_all_that_to_own_processes`, which is this program.
const ORDINARY: &str = "FARCALL_TEST_ORDINARY";

#[test]
fn an_ordinary_user_may_do_all_that_to_own_processes() {
    if std::env::var_os(ORDINARY).is_some() {
        a_process_of_many_threads_answers_for_itself_and_counts_on();
        a_futex_that_is_interrupted_is_woken();
        let why = Tracee::seize(Pid(1), PATIENCE).unwrap_err();
        let is_other = |why| matches!(why, Untraceable::OtherUser(0));
        assert!(matches!(why, Error::Untraceable { why, .. } if is_other(why)), "{why}");
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become another user; the other tests run as this one");
        return;
    }
    let name = "ptrace::tests::an_ordinary_user_may_do_all_that_to_own_processes";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(ORDINARY, "1").uid(65534).gid(65534);
    match child.current_dir("/").status() {
        Ok(status) => assert!(status.success()),
        Err(error) => eprintln!("skipped: another user cannot run this program: {error}"),
    }
}

/// What the threads of one that counts have counted.
fn counted(pid: Pid, at: u64) -> Vec<u8> {
    let mut counters = vec![0; 8 * 64];
    process_memory::read(pid, at, &mut counters).unwrap();
    counters
}

fn until_stopped(specimen: &Specimen) {
    while specimen.state() != "T" {
        std::thread::yield_now();
    }
}

#[test]
fn who_was_held_and_goes_on_after_all_has_never_been_stopped() {
    let specimen = Specimen::start(&["count", "4"]);
    for _ in 0..50 {
        let mut tracee = specimen.seize();
        let mask = tracee.threads()[0].signal_mask().unwrap();
        let hold = tracee.hold().unwrap();
        tracee.let_loose(hold).unwrap();
        assert_eq!(tracee.threads()[0].signal_mask().unwrap(), mask);
        tracee.detach().unwrap();
        assert_ne!(specimen.state(), "T");
    }
    let pid = nix::unistd::Pid::from_raw(specimen.pid().0);
    let flags = nix::sys::wait::WaitPidFlag::WNOHANG
        | nix::sys::wait::WaitPidFlag::WUNTRACED
        | nix::sys::wait::WaitPidFlag::WCONTINUED;
    let seen = nix::sys::wait::waitpid(pid, Some(flags)).unwrap();
    assert_eq!(seen, nix::sys::wait::WaitStatus::StillAlive);
    specimen.end_loop();
    assert_eq!(specimen.end(), "good");
}

#[test]
fn who_is_held_makes_not_one_step_when_its_tracer_is_gone() {
    let specimen = Specimen::start(&["count", "8"]);
    let (pid, at) = (specimen.pid(), specimen.told[0]);
    for _ in 0..50 {
        // As when the tracing process is killed: nobody lets go of anything.
        let tracing = std::thread::spawn(move || {
            let mut tracee = Tracee::seize(pid, PATIENCE).unwrap();
            let _hold = tracee.hold().unwrap();
            let before = counted(pid, at);
            std::mem::forget(tracee);
            before
        });
        let before = tracing.join().unwrap();
        until_stopped(&specimen);
        assert_eq!(counted(pid, at), before);
        // Somebody else's stop is not taken away.
        let mut tracee = specimen.seize();
        let hold = tracee.hold().unwrap();
        tracee.let_loose(hold).unwrap();
        tracee.detach().unwrap();
        until_stopped(&specimen);
        calls::signal_process(pid, libc::SIGCONT).unwrap();
        while counted(pid, at) == before {
            std::thread::yield_now();
        }
    }
    specimen.end_loop();
    assert_eq!(specimen.end(), "good");
}

fn replacement(program: &str, script: &str) -> Replacement {
    let text = |text: &str| std::ffi::CString::new(text).unwrap();
    Replacement {
        program: text(program),
        arguments: ["shell", "-c", script].map(text).to_vec(),
        environment: vec![text("WORD=said")],
        forgotten: vec![libc::SIGUSR2],
    }
}

#[test]
fn a_process_goes_on_as_another_program_and_keeps_number_and_streams() {
    let mut specimen = Specimen::start(&["count", "8"]);
    let mut tracee = specimen.seize();
    let _hold = tracee.hold().unwrap();
    // One has moved with it, and one came too late for that.
    calls::signal_process(specimen.pid(), libc::SIGUSR2).unwrap();
    calls::signal_process(specimen.pid(), libc::SIGUSR1).unwrap();
    // A shell that waits for a child hears of all signals: it has none.
    let script = "echo $$ $WORD; while read key value; do case $key in ShdPnd:|SigBlk:) echo $key $value;; \
                  esac; done < /proc/$$/status; read line; exit $line";
    tracee.replace(&replacement("/bin/sh", script), PATIENCE).unwrap();
    let mut said = || {
        let mut line = String::new();
        specimen.output.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(said(), format!("{} said\n", specimen.child.id()));
    assert_eq!(said(), format!("ShdPnd: {:016x}\n", 1 << (libc::SIGUSR1 - 1)));
    // All but SIGKILL and SIGSTOP.
    assert_eq!(said(), "SigBlk: fffffffffffbfeff\n");
    assert_eq!(crate::proc::threads(specimen.pid()).unwrap(), 1);
    specimen.send("5\n");
    assert_eq!(specimen.child.wait().unwrap().code(), Some(5));
}

#[test]
fn who_cannot_go_on_as_another_program_is_ended() {
    let mut specimen = Specimen::start(&["count", "4"]);
    let tracee = specimen.seize();
    let error = tracee.replace(&replacement("/no/such/program", ""), PATIENCE).unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("another program"), "{error}");
    let status = specimen.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
}
