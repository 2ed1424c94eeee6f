//! What is different on every architecture: registers, the stub that runs system calls, numbers.

use std::arch::asm;
use std::ffi::c_void;
use std::mem::size_of;

/// The general registers of a stopped thread, in the kernel's order (`user_regs_struct`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The number of the system call that the thread is in, or `NO_CALL`.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

const _: () = assert!(size_of::<Registers>() == size_of::<libc::user_regs_struct>());

const WORDS: usize = size_of::<Registers>() / size_of::<u64>();

/// `orig_rax` of a thread that is in no system call.
pub const NO_CALL: u64 = u64::MAX;

/// Of the note that holds the extended state (x87, SSE, AVX and what comes after), `NT_X86_XSTATE`.
pub(super) const EXTENDED_STATE_NOTE: usize = 0x202;

/// The code segment of 64-bit programs.
const WIDE_CODE: u64 = 0x33;

/// The instruction `syscall`.
pub(super) const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Makes the calls of a list (`rbx`: its address, `r12`: their number), and then traps. It uses no stack
/// and stands wherever it is put.
///
/// ```text
///   next: test r12,r12;  jz done
///         mov rax,[rbx]; mov rdi,[rbx+8];   mov rsi,[rbx+16]; mov rdx,[rbx+24]
///                        mov r10,[rbx+32];  mov r8,[rbx+40];  mov r9,[rbx+48]
///         syscall
///         mov [rbx+56],rax;  add rbx,64;  dec r12;  jmp next
///   done: int3
/// ```
pub(super) const STUB: [u8; 48] = [
    0x4d, 0x85, 0xe4, 0x74, 0x2a, 0x48, 0x8b, 0x03, 0x48, 0x8b, 0x7b, 0x08, 0x48, 0x8b, 0x73, 0x10,
    0x48, 0x8b, 0x53, 0x18, 0x4c, 0x8b, 0x53, 0x20, 0x4c, 0x8b, 0x43, 0x28, 0x4c, 0x8b, 0x4b, 0x30,
    0x0f, 0x05, 0x48, 0x89, 0x43, 0x38, 0x48, 0x83, 0xc3, 0x40, 0x49, 0xff, 0xcc, 0xeb, 0xd1, 0xcc,
];

/// What the rest of the stub's page is filled with: whoever runs on after the end traps again.
pub(super) const TRAP: u8 = 0xcc;

/// Results that the kernel means for itself: the call was interrupted and is to be made again.
const RESTARTS: [i64; 4] = [-512, -513, -514, -516];

impl Registers {
    /// Whether the thread runs 64-bit code.
    pub fn is_wide(&self) -> bool {
        self.cs == WIDE_CODE
    }

    /// The number of the system call that was interrupted, and that the kernel makes again (or goes on
    /// with) once the thread runs with these registers. A wait with a timeout that was interrupted before
    /// is `restart_syscall` here: only the kernel that it waits in still knows which it was.
    pub fn interrupted_call(&self) -> Option<u64> {
        let is_restart = RESTARTS.contains(&(self.rax as i64));
        (self.orig_rax as i64 >= 0 && is_restart).then_some(self.orig_rax)
    }

    /// The number of the system call that the stop has ended, and that the kernel does not make again: the thread
    /// is about to return from it with EINTR. So end waits such as `epoll_wait`.
    pub fn ended_call(&self) -> Option<u64> {
        let is_ended = self.rax as i64 == -i64::from(libc::EINTR);
        (self.orig_rax as i64 >= 0 && is_ended).then_some(self.orig_rax)
    }

    /// The same thread, about to make the interrupted call from its beginning: no kernel but the one that
    /// it waits in can go on with it. `number` is the call's, which is not always the one in the registers.
    #[must_use]
    pub fn with_call_again(mut self, number: u64) -> Self {
        self.rip = self.rip.wrapping_sub(SYSCALL.len() as u64);
        self.rax = number;
        self.orig_rax = NO_CALL;
        self
    }

    /// The same thread, after a call that has returned this.
    #[must_use]
    pub fn with_result(mut self, result: u64) -> Self {
        self.rax = result;
        self.orig_rax = NO_CALL;
        self
    }

    /// As the kernel writes them for debuggers (`NT_PRSTATUS`).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words().into_iter().flat_map(u64::to_ne_bytes).collect()
    }

    /// The other direction; `None` if there are more or fewer bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut words = [0; WORDS];
        let chunks = bytes.as_chunks();
        if chunks.0.len() != WORDS || !chunks.1.is_empty() {
            return None;
        }
        for (word, chunk) in words.iter_mut().zip(chunks.0) {
            *word = u64::from_ne_bytes(*chunk);
        }
        let [r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, rest @ ..] =
            words;
        let [orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs] = rest;
        Some(Self {
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            orig_rax,
            rip,
            cs,
            eflags,
            rsp,
            ss,
            fs_base,
            gs_base,
            ds,
            es,
            fs,
            gs,
        })
    }

    fn words(&self) -> [u64; WORDS] {
        [
            self.r15,
            self.r14,
            self.r13,
            self.r12,
            self.rbp,
            self.rbx,
            self.r11,
            self.r10,
            self.r9,
            self.r8,
            self.rax,
            self.rcx,
            self.rdx,
            self.rsi,
            self.rdi,
            self.orig_rax,
            self.rip,
            self.cs,
            self.eflags,
            self.rsp,
            self.ss,
            self.fs_base,
            self.gs_base,
            self.ds,
            self.es,
            self.fs,
            self.gs,
        ]
    }

    /// The addresses of the next instruction, of the stack's end, and of the thread's own memory.
    pub fn touched_first(&self) -> [u64; 3] {
        [self.rip, self.rsp, self.fs_base]
    }

    /// Makes one call with the `syscall` instruction at this address.
    pub(super) fn set_call(&mut self, instruction: u64, number: u64, args: [u64; 6]) {
        self.leave_call(instruction);
        self.rax = number;
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9] = args;
    }

    /// Makes the calls of a list with the stub.
    pub(super) fn set_list(&mut self, stub: u64, list: u64, count: u64) {
        self.leave_call(stub);
        self.rbx = list;
        self.r12 = count;
    }

    /// Goes on at an address. Were the thread still in its call, the kernel would make that again with
    /// these registers.
    fn leave_call(&mut self, at: u64) {
        self.rip = at;
        self.rax = 0;
        self.orig_rax = NO_CALL;
    }

    pub(super) fn result(&self) -> u64 {
        self.rax
    }
}

/// What `clone3` is asked for.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CloneArguments {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

const _: () = assert!(size_of::<CloneArguments>() == 88);

/// A system call without libc around it: its result, or minus its error number.
///
/// # Safety
///
/// As the call itself.
pub(super) unsafe fn raw_call(number: i64, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the instruction changes rax, rcx and r11, which are named, and whatever memory the call
    // writes, for which the caller answers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// `clone3`, whose child runs `main` on the stack that it is given, and never comes back here.
///
/// # Safety
///
/// The stack is nobody else's, and with what `main` uses it lives until the child has left this memory.
pub(super) unsafe fn clone_onto(
    arguments: &CloneArguments,
    main: extern "C" fn(*const c_void) -> !,
    with: *const c_void,
) -> isize {
    let result: isize;
    // SAFETY: the parent goes on with the same stack and registers, but for those that are named. The
    // child has a stack of its own, aligned as calls need it, and all that it needs in r12 and r13.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") arguments, in("rsi") size_of::<CloneArguments>(),
            in("r12") main, in("r13") with,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// The least program: one page that can be executed, which holds its own head and traps. Its addresses are
/// those at which nothing of other programs lies that are loaded anywhere.
pub(super) const PROGRAM: [u8; 128] = {
    let mut bytes = [TRAP; 128];
    let head: [u8; 64] = [
        0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0,
        0, // ELF, 64 bits, little-endian
        2, 0, 62, 0, 1, 0, 0, 0, // an executable, of x86-64
        120, 0, 1, 0, 0, 0, 0, 0, // begins behind both heads
        64, 0, 0, 0, 0, 0, 0, 0, // the program head follows
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];
    let segment: [u8; 56] = [
        1, 0, 0, 0, 5, 0, 0, 0, // to be loaded, to be read and executed
        0, 0, 0, 0, 0, 0, 0, 0, // from the beginning of the file
        0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, // to 64 KiB
        128, 0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0,
    ];
    let mut at = 0;
    while at < 64 {
        bytes[at] = head[at];
        if at < 56 {
            bytes[64 + at] = segment[at];
        }
        at += 1;
    }
    bytes
};
