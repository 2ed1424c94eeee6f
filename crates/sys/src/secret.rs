//! Memory for keys: not in core dumps, not in forked children, zeroed at its end.
//!
//! A region of its own, so that the kernel's page-wise advice covers the secret and nothing else.

use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::Error;

/// Bytes of a fixed length that leave this process only by an explicit copy.
pub struct SecretBytes {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and is reached only through its `&self` and
// `&mut self`, as a boxed slice would be; nothing in it is bound to a thread.
unsafe impl Send for SecretBytes {}
// SAFETY: as above; `&self` only reads.
unsafe impl Sync for SecretBytes {}

impl SecretBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Result<Self, Error> {
        // An empty mapping does not exist: one byte stands for it.
        let mapped = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice replaces no memory that
        // exists, and nothing refers to it but the value made here.
        let start = unsafe { mmap_anonymous(None, mapped, access, MapFlags::MAP_PRIVATE) }
            .map_err(Error::kernel("map memory for a secret"))?
            .cast::<u8>();
        // From here on `Drop` unmaps.
        let secret = Self { start, len };
        secret.advise(MmapAdvise::MADV_DONTDUMP)?;
        secret.advise(MmapAdvise::MADV_WIPEONFORK)?;
        Ok(secret)
    }

    /// Copies `source`, which the caller should wipe or drop.
    pub fn copy_of(source: &[u8]) -> Result<Self, Error> {
        let mut secret = Self::zeroed(source.len())?;
        secret.as_mut_slice().copy_from_slice(source);
        Ok(secret)
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` begins `len` initialised bytes (the kernel gave zeros) that live as long
        // as `self`; `&mut self` is needed to write them, so none do while this borrow lasts.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes this the only borrow.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    fn advise(&self, advice: MmapAdvise) -> Result<(), Error> {
        // SAFETY: both pieces of advice in use leave the bytes of this process as they are; the
        // range is our own whole mapping (the kernel rounds the length up to its pages).
        unsafe { madvise(self.start.cast(), self.len.max(1), advice) }
            .map_err(Error::kernel("keep a secret out of dumps and children"))
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // SAFETY: the range is our own mapping. `explicit_bzero` is used because the compiler may
        // not leave it out, as it may a plain fill of memory that nobody reads again.
        unsafe { libc::explicit_bzero(self.start.as_ptr().cast(), self.len) };
        // SAFETY: nothing borrows the mapping any more, since `self` is being dropped; it was made
        // with this address and length.
        let _ = unsafe { munmap(self.start.cast(), self.len.max(1)) };
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_kept_out_of_dumps_and_forks() {
        let secret = SecretBytes::copy_of(b"swordfish").unwrap();
        assert_eq!(secret.as_slice(), b"swordfish");
        assert_eq!(format!("{secret:?}"), "SecretBytes(9 bytes)");
        let start = format!("{:x}-", secret.start.as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" dd") && flags.contains(" wf"), "{flags}");
    }

    #[test]
    fn an_empty_secret_is_empty() {
        assert_eq!(SecretBytes::zeroed(0).unwrap().as_slice(), b"");
    }
}
