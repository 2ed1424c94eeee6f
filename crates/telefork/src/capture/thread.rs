//! What belongs to one thread: its registers, and what the kernel keeps for it.

use sys::process_memory;
use sys::ptrace::{Remote, Stopped};
use wire::image::host::Architecture;
use wire::image::process::SignalInfo;
use wire::image::text::Text;
use wire::image::thread::{AlternateStack, Registers, RobustList, Rseq, Thread};

use super::calls::{Argument, Questions};
use super::interrupted;
use crate::Error;

/// Of `prctl`.
const PR_GET_TID_ADDRESS: u64 = 40;

/// `stack_t`: pointer, flags (and what fills the word), size.
const STACK_LEN: usize = 24;

/// What is seen of a stopped thread from outside.
#[derive(Debug)]
pub(super) struct Seen(Thread);

impl Seen {
    pub(super) fn read(thread: &Stopped) -> Result<Self, Error> {
        let pid = thread.pid();
        let read = |at: u64, into: &mut [u8]| process_memory::read(pid, at, into).is_ok();
        let general = interrupted::registers(thread.registers()?, read).to_bytes();
        let robust = thread.robust_list()?;
        let rseq = thread.rseq()?;
        Ok(Self(Thread {
            tid: thread.tid().0,
            name: Text(thread.name()?),
            registers: Registers {
                architecture: Architecture::X86_64,
                general,
                extended: thread.extended_state()?,
            },
            signal_mask: thread.signal_mask()?.0,
            pending: thread.pending()?.thread.iter().map(info).collect(),
            alternate_stack: AlternateStack::default(),
            rseq: rseq.map(|it| Rseq { pointer: it.at, size: it.len, signature: it.signature }),
            robust_list: (robust.head != 0)
                .then_some(RobustList { head: robust.head, length: robust.len }),
            clear_tid: 0,
            timer_slack: 0,
            nice: 0,
            caller: None,
        }))
    }

    /// Asks the thread for the rest.
    pub(super) fn ask(self, remote: &mut Remote<'_>) -> Result<Thread, Error> {
        let mut questions = Questions::for_process(remote);
        let stack = questions.put(libc::SYS_sigaltstack, &[0.into(), Argument::Answer], STACK_LEN);
        let clear_tid =
            questions.put(libc::SYS_prctl, &[PR_GET_TID_ADDRESS.into(), Argument::Answer], 8);
        let slack = questions.put(libc::SYS_prctl, &[(libc::PR_GET_TIMERSLACK as u64).into()], 0);
        let own = [u64::from(libc::PRIO_PROCESS).into(), 0.into()];
        let priority = questions.put(libc::SYS_getpriority, &own, 0);
        let answers = questions.ask(remote)?;
        let [pointer, flags, size] = answers.words(stack);
        if answers.result(clear_tid).is_none() {
            return Err(Error::NoTidAddress);
        }
        let [clear_tid] = answers.words(clear_tid);
        let alternate_stack = AlternateStack { pointer, flags: flags as u32, size };
        let timer_slack = answers.result(slack).unwrap_or(0);
        // The kernel counts from 40 down to 1, as an answer that is negative would be an error.
        let nice =
            answers.result(priority).map_or(0, |told| 20_i64.saturating_sub(told as i64) as i8);
        Ok(Thread { alternate_stack, clear_tid, timer_slack, nice, ..self.0 })
    }
}

/// Signals that wait for any thread of a process.
pub(super) fn shared_pending(thread: &Stopped) -> Result<Vec<SignalInfo>, Error> {
    Ok(thread.pending()?.process.iter().map(info).collect())
}

fn info(found: &sys::ptrace::SignalInfo) -> SignalInfo {
    SignalInfo(found.0.to_vec())
}
