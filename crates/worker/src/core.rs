//! Loads a compute core into this process and calls it: the host's side of `farcall_core.h`.
//!
//! A file is judged in three steps, from the harmless to the dangerous: `elf` reads what it is,
//! `dlopen` runs its constructors, `worker_init` says whether it is willing. From then on each
//! job is `worker_run_job`, a look at the output where the core left it, `worker_free_outdata`.
//! Nothing else happens on that path: no allocation, no copy, no lock.
//!
//! The code is the user's: it may crash, exit, hang or overwrite this process. That is why this
//! runs in a worker, which the node watches (elsewhere), and why nothing here tries to survive.

mod load;
mod elf;

use std::ffi::c_void;
use std::fs::File;
use std::marker::PhantomData;
use std::ptr;
use std::slice;

use libloading::os::unix::Library;

use crate::Error;

/// What `worker_init` is given.
const API_VERSION: i32 = 1;

/// Alignment of a job's input, promised by `farcall_core.h`.
pub const INPUT_ALIGNMENT: usize = 16;

/// A copy of an unaligned input up to this size keeps its memory for the next one.
const KEPT_BLOCKS_MAX: usize = (1 << 20) / INPUT_ALIGNMENT;

/// C++ exceptions may come out of all three, although they should not: see `fence`.
type Init = unsafe extern "C-unwind" fn(i32) -> i32;
type RunJob = unsafe extern "C-unwind" fn(u64, *mut c_void, *mut u64, *mut *mut c_void) -> i32;
type FreeOutdata = unsafe extern "C-unwind" fn(u64, *mut c_void);

/// A loaded compute core that is ready for jobs. Dropping it unloads the library.
///
/// It stays on the thread that loaded it, for all calls must come from one and the same.
pub struct Core {
    name: String,
    run_job: RunJob,
    free_outdata: FreeOutdata,
    /// Where an input goes that is empty or not aligned. Never empty itself, so it always has
    /// an address.
    blocks: Vec<Block>,
    /// Keeps the two functions in memory. After them, as fields are dropped in order.
    _library: Library,
    _one_thread: PhantomData<*mut ()>,
}

#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Block([u8; INPUT_ALIGNMENT]);

const _: () = assert!(align_of::<Block>() == INPUT_ALIGNMENT);
const _: () = assert!(size_of::<Block>() == INPUT_ALIGNMENT);

impl Core {
    /// Checks, loads and initialises the library in `file`. `name` is for messages only.
    ///
    /// The same file loaded twice at the same time is one library to the loader, with one set of
    /// static variables: give each core a process of its own.
    pub fn load(file: &File, name: &str) -> Result<Self, Error> {
        let file = load::reopen(file, name)?;
        elf::check(&file, name)?;
        let library = load::open(&file, name)?;
        let init: Init = load::function(&library, elf::INIT, name)?;
        let run_job: RunJob = load::function(&library, elf::RUN_JOB, name)?;
        let free_outdata: FreeOutdata = load::function(&library, elf::FREE_OUTDATA, name)?;

        // SAFETY: a function of the library, which is loaded until the end of this function
        // at least. It takes no memory of ours.
        let code = unsafe { fence::init(init, API_VERSION) };
        if code != 0 {
            return Err(Error::Init { core: name.to_owned(), code });
        }
        Ok(Self {
            name: name.to_owned(),
            run_job,
            free_outdata,
            blocks: vec![Block([0; INPUT_ALIGNMENT])],
            _library: library,
            _one_thread: PhantomData,
        })
    }

    /// What the core is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs one job: returns its exit code, and what `take` made of its output.
    ///
    /// The core may overwrite `input`. `take` sees the output in the core's own memory, empty
    /// if there is none, and is called for every exit code; afterwards the core is told to free
    /// it. An input that does not start at a multiple of [`INPUT_ALIGNMENT`] costs a copy.
    pub fn run<R>(
        &mut self,
        input: &mut [u8],
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<(i32, R), Error> {
        let size = input.len() as u64;
        let data = match input.as_mut_ptr() {
            start if size > 0 && start.addr().is_multiple_of(INPUT_ALIGNMENT) => start,
            _ => self.align(input),
        };
        let mut output = Output { size: 0, address: ptr::null_mut(), free: self.free_outdata };

        // SAFETY: `data` is `size` bytes that we own, either `input`, borrowed mutably for
        // longer than the call, or `blocks`; nobody else looks at them meanwhile. The core
        // may read and write them until it returns and, by its contract, not keep the address.
        // It stores its output's size and address in two variables of this frame.
        let code = unsafe {
            fence::run_job(
                self.run_job,
                size,
                data.cast(),
                &raw mut output.size,
                &raw mut output.address,
            )
        };

        let bytes = output.bytes().ok_or_else(|| Error::Output {
            core: self.name.clone(),
            size: output.size,
            place: if output.address.is_null() { "NULL" } else { "an address" },
        });
        let result = bytes.map(|bytes| (code, take(bytes)));
        drop(output);
        if self.blocks.len() > KEPT_BLOCKS_MAX {
            self.blocks = vec![Block([0; INPUT_ALIGNMENT])];
        }
        result
    }

    /// Copies an input to an aligned place and returns its start, which is never NULL.
    #[cold]
    fn align(&mut self, input: &[u8]) -> *mut u8 {
        let count = input.len().div_ceil(INPUT_ALIGNMENT).max(1);
        if self.blocks.len() < count {
            self.blocks.resize(count, Block([0; INPUT_ALIGNMENT]));
        }
        for (block, bytes) in self.blocks.iter_mut().zip(input.chunks(INPUT_ALIGNMENT)) {
            block.0[..bytes.len()].copy_from_slice(bytes);
        }
        self.blocks.as_mut_ptr().cast()
    }
}

/// What a job left behind. Dropping it tells the core to free it, also if `take` panics, so
/// that happens exactly once per job.
struct Output {
    size: u64,
    address: *mut c_void,
    free: FreeOutdata,
}

impl Output {
    /// None if no memory can look like that.
    fn bytes(&self) -> Option<&[u8]> {
        if self.size == 0 {
            return Some(&[]);
        }
        let size = isize::try_from(self.size).ok()?.cast_unsigned();
        if self.address.is_null() {
            return None;
        }
        // SAFETY: the core says that its output is there, and by its contract leaves it alone
        // until `drop` gives it back; the slice borrows `self` and ends before. A core that
        // lies can crash this process, as it can anyway.
        Some(unsafe { slice::from_raw_parts(self.address.cast::<u8>(), size) })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: a function of the library, which `Core` keeps loaded while its `run`, the
        // only maker of outputs, is on the stack. It gets the size and address that the core
        // itself stored, and nobody of ours looks at that memory again.
        unsafe { fence::free_outdata(self.free, self.size, self.address) };
    }
}

/// Calls into the core. A C++ exception, or a panic, that comes out of it ends this process with
/// SIGABRT here, because an `extern "C"` function does not let it through; so it cannot skip
/// half of ours.
mod fence {
    use super::*;

    /// # Safety
    /// `function` is in memory.
    pub(super) unsafe extern "C" fn init(function: Init, version: i32) -> i32 {
        // SAFETY: it is in memory, says the caller, and takes no pointer.
        unsafe { function(version) }
    }

    /// # Safety
    /// `function` is in memory; it may use what the pointers point to until it returns.
    pub(super) unsafe extern "C" fn run_job(
        function: RunJob,
        size: u64,
        data: *mut c_void,
        outsize: *mut u64,
        outdata: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: what the caller vouches for is what the core needs; passed on as it came.
        unsafe { function(size, data, outsize, outdata) }
    }

    /// # Safety
    /// `function` is in memory; size and address are what the core stored at the last job.
    pub(super) unsafe extern "C" fn free_outdata(
        function: FreeOutdata,
        size: u64,
        address: *mut c_void,
    ) {
        // SAFETY: the core gets back what is its own; passed on as it came.
        unsafe { function(size, address) }
    }
}

#[cfg(test)]
mod tests;
