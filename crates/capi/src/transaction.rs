//! Transactions: what C reads and writes is noted here, and carried out as a whole at the commit.
//!
//! ```text
//!   read ──> the bytes that C saw         write ──> what C wants
//!   commit: Region::transact reads the same pages again. Are the bytes what C saw?
//!     yes: writes, and the library commits if that still holds     no: CONFLICT, with the new bytes here
//! ```

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::memory::{Bytes, Error, Region};

use crate::border::{bytes, copy, give, handle, place};
use crate::region::farcall_region;
use crate::status::farcall_status::{self, FARCALL_CONFLICT, FARCALL_OK};
use crate::status::farcall_status::{FARCALL_ROLLED_BACK, FARCALL_WRONG_LENGTH};
use crate::status::{Failure, free, guard};

/// How often farcall_transact tries.
const ATTEMPTS_MAX: u32 = 1000;
/// Conflicts after which others are given time; before, trying again at once is quicker.
const AT_ONCE: u32 = 4;

/// Reads and writes that are carried out together, or not at all.
pub struct farcall_transaction {
    region: Region,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Pages as C has seen them.
    read: BTreeMap<u64, Bytes>,
    /// Pages as the latest conflict brought them, which C has not seen yet.
    fresh: BTreeMap<u64, Bytes>,
    writes: Vec<Write>,
}

struct Write {
    page: u64,
    offset: u32,
    bytes: Vec<u8>,
}

/// Why a commit came to nothing.
enum Stop {
    Changed,
    Failed(Failure),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Begins a transaction. The caller reads, writes and commits, and does all of it again after
/// FARCALL_CONFLICT, with the same handle.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_transaction_begin(
    region: Option<&farcall_region>,
    transaction: Option<&mut MaybeUninit<*mut farcall_transaction>>,
) -> farcall_status {
    guard(|| {
        let place = place(transaction)?;
        let region = handle(region, "region")?.0.clone();
        give(place, farcall_transaction { region, noted: Mutex::default() });
        Ok(FARCALL_OK)
    })
}

/// Copies `length` bytes of a page, from `offset` on, to `buffer`, with what this transaction has written
/// into it. What is read must still be so when it commits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_transaction_read(
    transaction: Option<&farcall_transaction>,
    page: u64,
    offset: u32,
    buffer: *mut c_void,
    length: usize,
) -> farcall_status {
    guard(|| {
        let seen = handle(transaction, "transaction")?.read(page)?;
        // SAFETY: the header asks for a buffer with room for so many bytes, the caller's for the whole call.
        unsafe { copy(&seen, offset, buffer, length) }?;
        Ok(FARCALL_OK)
    })
}

/// Writes `length` bytes into a page, from `offset` on, when the transaction commits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_transaction_write(
    transaction: Option<&farcall_transaction>,
    page: u64,
    offset: u32,
    data: *const c_void,
    length: usize,
) -> farcall_status {
    guard(|| {
        // SAFETY: the header asks for so many bytes, which nobody changes during the call.
        let data = unsafe { bytes(data, length) }?;
        let transaction = handle(transaction, "transaction")?;
        let max = transaction.region.page_size();
        if (offset as usize).checked_add(length).is_none_or(|end| end > max) {
            let words = format!("{length} bytes from offset {offset} on go beyond a page of {max}");
            return Err(Failure { status: FARCALL_WRONG_LENGTH, words });
        }
        let write = Write { page, offset, bytes: data.to_vec() };
        transaction.noted().writes.push(write);
        Ok(FARCALL_OK)
    })
}

/// Carries out what was written, if all that was read is still so. FARCALL_CONFLICT: nothing was changed, and
/// the transaction is as at its beginning, but for the new bytes, which reading again brings without asking
/// for them once more. After any other answer it can be used for another transaction, too.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_transaction_commit(
    transaction: Option<&farcall_transaction>,
) -> farcall_status {
    guard(|| handle(transaction, "transaction")?.commit())
}

/// Frees a transaction; what was not committed is not written. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_transaction_free(transaction: Option<Box<farcall_transaction>>) {
    free(transaction);
}

/// Calls `body` with a transaction and `context`, and commits; after a conflict, again, so `body` must do
/// nothing that cannot be done twice. If it returns anything but 0, nothing is written, and the answer is
/// FARCALL_ROLLED_BACK, once it is sure that what it read was so at one moment: if not, it is called again.
/// It does not free or commit the transaction, nor leave by longjmp or an exception.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_transact(
    region: Option<&farcall_region>,
    body: Option<extern "C" fn(transaction: &farcall_transaction, context: *mut c_void) -> c_int>,
    context: *mut c_void,
) -> farcall_status {
    guard(|| {
        let region = handle(region, "region")?.0.clone();
        let body = body.ok_or_else(|| Failure::argument("the transaction's function is null"))?;
        let transaction = farcall_transaction { region, noted: Mutex::default() };
        let mut random = 0;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt >= AT_ONCE {
                transaction.region.give_way(attempt - AT_ONCE, &mut random);
            }
            let is_wanted = body(&transaction, context) == 0;
            if !is_wanted {
                // Nothing is written; but was it decided on what is true?
                transaction.noted().writes.clear();
            }
            if transaction.commit()? != FARCALL_CONFLICT {
                return Ok(if is_wanted { FARCALL_OK } else { FARCALL_ROLLED_BACK });
            }
        }
        let words =
            format!("others were quicker {ATTEMPTS_MAX} times; lock the page that all want");
        Err(Failure { status: FARCALL_CONFLICT, words })
    })
}

impl farcall_transaction {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, page: u64) -> Result<Bytes, Failure> {
        let mut noted = self.noted();
        let known = noted.read.get(&page).cloned().or_else(|| noted.fresh.remove(&page));
        let seen = match known {
            Some(seen) => seen,
            None => self.region.page(page).read()?.bytes,
        };
        noted.read.insert(page, seen.clone());
        let mut writes = noted.writes.iter().filter(|write| write.page == page).peekable();
        if writes.peek().is_none() {
            return Ok(seen);
        }
        let mut own = seen.to_vec();
        for write in writes {
            let start = write.offset as usize;
            if let Some(place) = own.get_mut(start..start + write.bytes.len()) {
                place.copy_from_slice(&write.bytes);
            }
        }
        Ok(own.into())
    }

    fn commit(&self) -> Result<farcall_status, Failure> {
        let Noted { read, writes, .. } = std::mem::take(&mut *self.noted());
        let pages: Vec<u64> = read.keys().copied().collect();
        let mut fresh = Vec::new();
        let committed = self.region.transact(|tx| {
            fresh = tx.read_many(&pages)?;
            if !fresh.iter().eq(read.values()) {
                return Err(Stop::Changed);
            }
            for Write { page, offset, bytes } in &writes {
                tx.write(*page, *offset, bytes)?;
            }
            Ok(())
        });
        match committed {
            Ok(()) => Ok(FARCALL_OK),
            Err(Stop::Changed) => {
                self.noted().fresh = pages.into_iter().zip(fresh).collect();
                Ok(FARCALL_CONFLICT)
            }
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }
}
