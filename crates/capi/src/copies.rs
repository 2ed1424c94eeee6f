//! Copies of this process on nodes: `fork` whose child wakes there, calls, and out and back again.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::{Mutex, OnceLock, PoisonError};

use client::{Call, Copy, Telefork, TeleforkAll, TravelError};

use crate::border::{give, handle, place, put, room, text, texts};
use crate::cluster::farcall_cluster;
use crate::status::farcall_status::{self, FARCALL_OK, FARCALL_WRONG_LENGTH};
use crate::status::{Failure, free, guard};
use crate::telefork::farcall_location;

/// A copy of this process on a node. It ends when this process does; freeing the handle does not end it.
pub struct farcall_copy(End<Copy, i32>);

/// A call that runs on a node. It ends when this process does; freeing the handle does not end it.
pub struct farcall_call(End<Call<Returned>, Vec<u8>>);

/// What a call's function has written; or how many bytes it says, of more than it was given.
type Returned = Result<Vec<u8>, u64>;

/// What runs elsewhere, and what it came to, for whoever asks and however often.
struct End<R, T> {
    running: Mutex<Option<R>>,
    end: OnceLock<Result<T, Failure>>,
}

impl<R, T> End<R, T> {
    fn of(running: R) -> Self {
        Self { running: Mutex::new(Some(running)), end: OnceLock::new() }
    }

    fn wait(&self, wait: impl FnOnce(R) -> Result<T, Failure>) -> Result<&T, Failure> {
        let end = self.end.get_or_init(|| {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Nobody takes it but who comes first.
            wait(running.ok_or_else(|| Failure::from(TravelError::Copied))?)
        });
        end.as_ref().map_err(Failure::clone)
    }
}

/// Makes a copy of this process that goes on from here on the node of this name. It returns once here, with a
/// handle, and once over there, as fork() does: `location` tells which, and the copy's number, 0. In the copy the
/// handle is null.
///
/// The parent goes on as soon as the copy is made; where the node's kernel allows it, the copy wakes at once and its
/// memory follows it. Of several threads only the calling one is in it; locks that others hold stay
/// locked there. It has this process's memory, all of it but the private keys that this library has read. Its
/// standard output and error come here, its input is empty, all other descriptors are closed. What the copy finds in
/// the buffers of stdio it writes, too: call fflush(NULL) before. It ends with exit(), and when this process does.
///
/// In the copy, clusters can be used, as far as this host may sign for it; regions, locks, watches and handles of
/// before fail there, or wait for ever. A node that is lost later, or does not take the copy, is told by
/// farcall_copy_wait. FARCALL_IMMOVABLE: this process cannot be copied as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_telefork(
    cluster: Option<&farcall_cluster>,
    node: *const c_char,
    location: Option<&mut MaybeUninit<farcall_location>>,
    copy: Option<&mut MaybeUninit<*mut farcall_copy>>,
) -> farcall_status {
    guard(|| {
        let copy = place(copy)?;
        let location = room(location, "location")?;
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let node = unsafe { text(node, "name of the node") }?;
        location.write(match handle(cluster, "cluster")?.0.telefork(node)? {
            Telefork::Child(number) => awake(number),
            Telefork::Parent(of) => {
                give(copy, farcall_copy(End::of(of)));
                farcall_location { is_copy: 0, value: 0 }
            }
        });
        Ok(FARCALL_OK)
    })
}

/// The same onto `count` nodes, each of them named by a text; a node may be named several times. The copies are of one
/// moment, and each has a number of its own: the place of its node in the list, from 0. This process sends its memory
/// once, and nodes pass it on. `copies` has room for `count` handles, each to be freed; they are null in a
/// copy, and if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_telefork_all(
    cluster: Option<&farcall_cluster>,
    nodes: *const *const c_char,
    count: usize,
    location: Option<&mut MaybeUninit<farcall_location>>,
    copies: *mut *mut farcall_copy,
) -> farcall_status {
    guard(|| {
        // SAFETY: the header asks for room for so many handles; nobody else uses it during the call.
        let places = unsafe { crate::border::places(copies, count) }?;
        let location = room(location, "location")?;
        // SAFETY: the header asks for so many texts that end with a zero; they are the caller's for the whole call.
        let nodes = unsafe { texts(nodes, count, "name of a node") }?;
        location.write(match handle(cluster, "cluster")?.0.telefork_all(nodes)? {
            TeleforkAll::Child(number) => awake(number),
            TeleforkAll::Parent(copies) => {
                for (place, copy) in places.iter_mut().zip(copies) {
                    give(place, farcall_copy(End::of(copy)));
                }
                farcall_location { is_copy: 0, value: 0 }
            }
        });
        Ok(FARCALL_OK)
    })
}

fn awake(number: u32) -> farcall_location {
    farcall_location { is_copy: 1, value: number.cast_signed() }
}

/// Waits until a copy ends, and brings its exit status, unless `status` is null; as often as it is asked. FARCALL_KILLED
/// if a signal has ended it. FARCALL_LOST: its node was lost, and the copy with it. FARCALL_UNREACHABLE,
/// FARCALL_IMMOVABLE: it never ran, its node cannot be reached or does not take it. FARCALL_UNKNOWN: nobody can be
/// asked whether it runs.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_copy_wait(
    copy: Option<&farcall_copy>,
    status: Option<&mut MaybeUninit<i32>>,
) -> farcall_status {
    guard(|| {
        let end = handle(copy, "copy")?.0.wait(|copy| Ok(copy.wait()?))?;
        put(status, *end);
        Ok(FARCALL_OK)
    })
}

/// Frees the handle of a copy, which runs on; null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_copy_free(copy: Option<Box<farcall_copy>>) {
    free(copy);
}

/// What an answer may have (1 GiB), less what is said of it.
const ROOM_MAX: usize = (1 << 30) - 64;

/// Calls `function` in a copy of this process, on the node of this name, or if that is null on one that is up: they
/// take turns. It does not wait for it: see farcall_call_wait.
///
/// The function is given `context`, which points there to what it points to here, and `room` bytes for its result, at
/// most 1 GiB less 64 bytes, which are zero and aligned as malloc() aligns. It returns how many of them it has written, and
/// those bytes come back; whatever else it changes is changed in its copy alone. It does not leave by longjmp or an exception. What
/// it prints is printed here, if it calls fflush() for that; what is in the buffers of stdio at its end is lost.
///
/// For the copy holds what farcall_telefork says of one. A node keeps what it got of this process until the
/// cluster is freed, so that later calls send only what has changed. Whatever goes wrong is told by farcall_call_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_fork_call(
    cluster: Option<&farcall_cluster>,
    node: *const c_char,
    function: Option<
        extern "C" fn(context: *mut c_void, result: *mut c_void, room: usize) -> usize,
    >,
    context: *mut c_void,
    room: usize,
    call: Option<&mut MaybeUninit<*mut farcall_call>>,
) -> farcall_status {
    guard(|| {
        let call = place(call)?;
        let cluster = &handle(cluster, "cluster")?.0;
        let function = function.ok_or_else(|| Failure::argument("the call's function is null"))?;
        if room > ROOM_MAX {
            let words = format!("a call's result has at most {ROOM_MAX} bytes, not {room}");
            return Err(Failure::argument(words));
        }
        let run = move || -> Returned {
            // Never nothing: what is nowhere is not aligned as malloc() does.
            let mut result = vec![0_u8; room.max(1)];
            let written = function(context, result.as_mut_ptr().cast(), room);
            if written > room {
                return Err(written as u64);
            }
            result.truncate(written);
            Ok(result)
        };
        let running = if node.is_null() {
            cluster.fork_call(run)
        } else {
            // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
            cluster.fork_call_on(unsafe { text(node, "name of the node") }?, run)
        };
        give(call, farcall_call(End::of(running)));
        Ok(FARCALL_OK)
    })
}

/// 1 once the result of a call is there, or it is known why there is none; 0 before, and for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_call_is_done(call: Option<&farcall_call>) -> c_int {
    let is_done = |call: &farcall_call| {
        let running = call.0.running.try_lock();
        call.0.end.get().is_some()
            || running.is_ok_and(|call| call.as_ref().is_some_and(Call::is_done))
    };
    c_int::from(call.is_some_and(is_done))
}

/// Waits for the result of a call, as often as it is asked: where its bytes are, until the handle is freed, and how many,
/// unless `length` is null. FARCALL_WRONG_LENGTH: the function says that it has written more than it was given.
/// FARCALL_UNANSWERED: it has ended its process instead of returning. Else as farcall_copy_wait.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_call_wait(
    call: Option<&farcall_call>,
    result: Option<&mut MaybeUninit<*const c_void>>,
    length: Option<&mut MaybeUninit<usize>>,
) -> farcall_status {
    guard(|| {
        let bytes = handle(call, "call")?.0.wait(|call| {
            call.join()?.map_err(|written| Failure {
                status: FARCALL_WRONG_LENGTH,
                words: format!(
                    "the call's function says it has written {written} bytes, which are more than it was given; its \
                     memory over there was damaged"
                ),
            })
        })?;
        put(result, bytes.as_ptr().cast());
        put(length, bytes.len());
        Ok(FARCALL_OK)
    })
}

/// Frees the handle of a call and its result; the call runs on. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_call_free(call: Option<Box<farcall_call>>) {
    free(call);
}

/// Calls `function` with `context` on the node of this name, with all of this process's memory, and comes back with
/// what it has changed: as if it had been called here. This process stands still meanwhile.
///
/// Memory comes back and nothing else: descriptors that the function opens are closed, and so ends what it sets in the
/// kernel. It has standard streams over there and no other descriptor, and clusters fail by name. What it prints is
/// printed here. It does not leave by longjmp or an exception.
///
/// It is to be called from the main thread, with no other thread of one's own: FARCALL_IMMOVABLE names one that is.
/// FARCALL_STAYED: the node was lost, the function ended its process, or what came back is damaged; here nothing has
/// changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_yoyo(
    cluster: Option<&farcall_cluster>,
    node: *const c_char,
    function: Option<extern "C" fn(context: *mut c_void)>,
    context: *mut c_void,
) -> farcall_status {
    guard(|| {
        let function = function.ok_or_else(|| Failure::argument("the function is null"))?;
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let node = unsafe { text(node, "name of the node") }?;
        handle(cluster, "cluster")?.0.yoyo(node, || function(context))?;
        Ok(FARCALL_OK)
    })
}
