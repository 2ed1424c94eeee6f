//! Turns a [`ComputeCore`] into the three C functions.
//!
//! [`export_core!`](crate::export_core) makes one static [`Exports`] and three functions that
//! hand their arguments to it. All that is unsafe happens in [`Exports::run_job`]: it looks at
//! the host's input and stores where the output is. The output itself stays a `Vec` that
//! `Exports` owns until `free_outdata`, so no memory is ever rebuilt from a raw pointer.
//!
//! A panic must not unwind into the host, which is no Rust program or another one. It ends
//! here and becomes the exit code [`PANICKED`].

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::{ComputeCore, Failure};
use crate::{API_VERSION, PANICKED, WRONG_VERSION};

/// Exports a [`ComputeCore`] as the three functions of the compute core API. Use it once in a
/// library of type `cdylib`.
#[macro_export]
macro_rules! export_core {
    ($core:ty) => {
        const _: () = {
            static EXPORTS: $crate::Exports<$core> = $crate::Exports::new();

            #[unsafe(no_mangle)]
            extern "C" fn worker_init(version: i32) -> i32 {
                EXPORTS.init(version)
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn worker_run_job(
                size: u64,
                data: *mut ::std::ffi::c_void,
                outsize: *mut u64,
                outdata: *mut *mut ::std::ffi::c_void,
            ) -> i32 {
                // SAFETY: whoever calls this C function keeps the contract of
                // `farcall_core.h`, which is the one `run_job` asks for. The arguments are
                // passed on as they came.
                unsafe { EXPORTS.run_job(size, data, outsize, outdata) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn worker_free_outdata(_size: u64, _outdata: *mut ::std::ffi::c_void) {
                EXPORTS.free_outdata();
            }

            extern "C" fn unload() {
                EXPORTS.unload();
            }

            // The API has no call for the end. The loader runs this when the library is
            // unloaded, as it runs the destructors of static objects in C++.
            #[used]
            #[unsafe(link_section = ".fini_array")]
            static UNLOAD: extern "C" fn() = unload;
        };
    };
}

/// What `export_core!` puts behind the C functions. Not for use by hand.
#[doc(hidden)]
pub struct Exports<C> {
    /// A lock, though all calls come from one thread: `exit` may run `unload` on another one,
    /// or in the middle of a job.
    state: Mutex<State<C>>,
}

struct State<C> {
    /// None before `init` and after a panic.
    core: Option<C>,
    /// What the last job answered, until `free_outdata`.
    output: Vec<u8>,
}

impl<C: ComputeCore> Exports<C> {
    #[expect(clippy::new_without_default, reason = "only made by the macro, in a const context")]
    pub const fn new() -> Self {
        Self { state: Mutex::new(State { core: None, output: Vec::new() }) }
    }

    pub fn init(&self, version: i32) -> i32 {
        if version != API_VERSION {
            eprintln!(
                "this compute core is built for version {API_VERSION} of the API, \
                 the host asked for {version}"
            );
            return WRONG_VERSION;
        }
        match guarded(C::new) {
            Ok(core) => {
                self.lock().core = Some(core);
                0
            }
            Err(failure) => report(&failure),
        }
    }

    /// # Safety
    /// `data` points to `size` bytes that the caller owns, that are initialised, and that
    /// nobody else reads or writes until this returns. `outsize` and `outdata` point to
    /// variables of the caller that may be written until then.
    pub unsafe fn run_job(
        &self,
        size: u64,
        data: *mut c_void,
        outsize: *mut u64,
        outdata: *mut *mut c_void,
    ) -> i32 {
        let input: &mut [u8] = match size {
            0 => &mut [],
            // SAFETY: the caller owns these bytes and leaves them to us until we return (the
            // contract above); the slice goes to `run` only, whose signature cannot keep it.
            // `size` fits, since the bytes are there.
            _ => unsafe { slice::from_raw_parts_mut(data.cast::<u8>(), size as usize) },
        };

        let mut state = self.lock();
        let (code, output) = match state.run(input) {
            Ok(output) => (0, output),
            Err(failure) => (report(&failure), failure.output),
        };
        state.output = output;
        let (size, address) = match state.output.len() {
            0 => (0, ptr::null_mut()),
            size => (size as u64, state.output.as_mut_ptr().cast::<c_void>()),
        };

        // SAFETY: the caller's own variable, ours to write until we return.
        unsafe { outsize.write(size) };
        // SAFETY: likewise. The address stays good until `free_outdata`: nothing else touches
        // `state.output`.
        unsafe { outdata.write(address) };
        code
    }

    pub fn free_outdata(&self) {
        self.lock().output = Vec::new();
    }

    pub fn unload(&self) {
        // A job that calls `exit` still holds the lock. Its core is then not dropped, since it
        // is still in use further up on the stack.
        let Ok(mut state) = self.state.try_lock() else { return };
        let core = state.core.take();
        drop(state);
        discard(core);
    }

    /// No code of the user's runs between a lock and its release without a guard, so a
    /// poisoned lock says nothing about the state.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: ComputeCore> State<C> {
    fn run(&mut self, input: &mut [u8]) -> Result<Vec<u8>, Failure> {
        let mut core = match self.core.take() {
            Some(core) => core,
            None => guarded(C::new)?,
        };
        match catch_unwind(AssertUnwindSafe(|| core.run(input))) {
            Ok(result) => {
                self.core = Some(core);
                result
            }
            // What it broke in the middle of must not reach the next job.
            Err(payload) => {
                discard(payload);
                discard(core);
                Err(Failure::code(PANICKED))
            }
        }
    }
}

/// Runs code of the user's; the panic hook has printed the message of a panic by then.
fn guarded<T>(code: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|payload| {
        discard(payload);
        Err(Failure::code(PANICKED))
    })
}

/// Drops a value of the user's, whose `drop` may panic as well.
fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // A payload may panic in its own `drop`, without end.
        std::mem::forget(payload);
    }
}

fn report(failure: &Failure) -> i32 {
    if !failure.message.is_empty() {
        eprintln!("{}", failure.message);
    }
    failure.code.get()
}

#[cfg(test)]
mod tests;
