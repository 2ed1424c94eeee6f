//! What is different on every architecture: which registers a thread may wake with, and code that leads
//! from one vDSO to another.

use wire::image::thread::{Caller, Thread};

use crate::Refusal;

/// The first address that is no program's.
pub(super) const ADDRESSES_END: u64 = 0x7fff_ffff_f000;

/// General registers as the image has them: 27 numbers.
const GENERAL: usize = 27 * 8;
const RAX: usize = 80;
const ORIG_RAX: usize = 120;
const RIP: usize = 128;
const CS: usize = 136;
const FLAGS: usize = 144;
const RSP: usize = 152;
const SS: usize = 160;
const FS_BASE: usize = 168;
const GS_BASE: usize = 176;
const SELECTORS: [usize; 4] = [184, 192, 200, 208];

/// What programs of 64 bits have in these.
const WIDE_CODE: u64 = 0x33;
const DATA: u64 = 0x2b;

/// Flags that a program can have set: carry to overflow, direction, alignment, identification; interrupts
/// are always on. The trap flag would stop it after one step.
const FLAGS_MAX: u64 = 0x0025_0ed7;

/// Results that mean that a call is to be made again, and the length of the instruction that makes it.
const RESTARTS: [i64; 4] = [-512, -513, -514, -516];
const SYSCALL_LEN: u64 = 2;

/// The head of the vector registers: which of them differ from their beginning, and how they are packed.
const STATES_AT: usize = 512;
const PACKING_AT: usize = 520;
const EXTENDED_MIN: usize = 576;
const MXCSR_AT: usize = 24;
const MXCSR_MAX: u32 = 0xffff;

/// A thread's registers, looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// As they are loaded.
    pub general: Vec<u8>,
    /// Where it goes on.
    pub next: u64,
    /// Which vector registers are in use.
    pub states: u64,
}

/// Says of a thread that waits in `sys::park` that it is the one that called: the result of that call is
/// what it learns. To be called on a thread as captured, whose call would be made again.
pub(crate) fn name_caller(thread: &mut Thread) {
    let general = &mut thread.registers.general;
    if general.len() != GENERAL {
        return;
    }
    if word(general, RAX) == PAUSE && word(general, ORIG_RAX) == u64::MAX {
        let rip = word(general, RIP).wrapping_add(SYSCALL_LEN);
        set(general, RIP, rip);
    }
    set(general, ORIG_RAX, u64::MAX);
    thread.caller = Some(Caller { register: RAX as u32 });
}

/// Answers the call of a thread that was named so: whoever wakes it need know nothing of it.
pub(crate) fn answer_caller(thread: &mut Thread, number: i32) {
    if thread.caller.take().is_some() {
        set(&mut thread.registers.general, RAX, i64::from(number).cast_unsigned());
    }
}

/// The call that such a thread waits in.
const PAUSE: u64 = 34;

/// Looks through the registers of a thread. `value` is what a caller of `telefork` learns.
pub(super) fn check(thread: &Thread, value: i32) -> Result<Checked, Refusal> {
    let refuse =
        |what, why| Err(Refusal::Forged { what, who: format!("thread {}", thread.tid), why });
    let mut general = thread.registers.general.clone();
    let extended = &thread.registers.extended;
    if general.len() != GENERAL {
        return refuse("the set of registers", "it is not as long as that of this architecture");
    }
    if word(&general, CS) != WIDE_CODE || word(&general, SS) != DATA {
        return refuse("the code or stack segment", "it is not that of a 64-bit program");
    }
    if SELECTORS.iter().any(|at| ![0, DATA].contains(&word(&general, *at))) {
        return refuse("a segment register", "programs of 64 bits have 0 there");
    }
    if [FS_BASE, GS_BASE].iter().any(|at| word(&general, *at) >= ADDRESSES_END) {
        return refuse("a segment's base", "it is no program's address");
    }
    if word(&general, RSP) >= ADDRESSES_END {
        return refuse("the stack pointer", "it is no program's address");
    }
    if word(&general, FLAGS) & !FLAGS_MAX & !0x202 != 0 {
        return refuse("the register of flags", "it has some that no program can set");
    }
    if extended.len() < EXTENDED_MIN {
        return refuse("the set of vector registers", "it is too short");
    }
    if word(extended, PACKING_AT) != 0 {
        return refuse("the set of vector registers", "it is packed");
    }
    if word(extended, MXCSR_AT) as u32 > MXCSR_MAX {
        return refuse("mxcsr", "it has bits that no processor has");
    }
    let call = word(&general, ORIG_RAX);
    match thread.caller {
        Some(caller) => {
            let Some(at) = general.get_mut(caller.register as usize..caller.register as usize + 8)
            else {
                return refuse("the register of its result", "there is none");
            };
            at.copy_from_slice(&i64::from(value).to_le_bytes());
        }
        // One that was interrupted is made again.
        None if (call as i64) >= 0 && RESTARTS.contains(&(word(&general, RAX) as i64)) => {
            set(&mut general, RAX, call);
            let rip = word(&general, RIP).wrapping_sub(SYSCALL_LEN);
            set(&mut general, RIP, rip);
        }
        None => {}
    }
    set(&mut general, ORIG_RAX, u64::MAX);
    let next = word(&general, RIP);
    Ok(Checked { next, states: word(extended, STATES_AT), general })
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn set(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The most bytes of what is put over a function of the vDSO.
pub(super) const DETOUR_MAX: u64 = 12;

/// Goes on at an address: `mov rax, ADDRESS; jmp rax`. No function of a vDSO takes anything in `rax`.
pub(super) fn jump(to: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8];
    code.extend(to.to_le_bytes());
    code.extend([0xff, 0xe0]);
    code
}

/// The plain system call: `mov eax, NUMBER; syscall; ret`. Functions and calls take up to three
/// arguments in the same registers.
pub(super) fn plain_call(number: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes());
    code.extend([0x0f, 0x05, 0xc3]);
    code
}

/// The system calls that functions of the vDSO stand for.
pub(super) const CALLS: [(&str, u32); 6] = [
    ("clock_gettime", 228),
    ("clock_getres", 229),
    ("gettimeofday", 96),
    ("time", 201),
    ("getcpu", 309),
    ("getrandom", 318),
];
