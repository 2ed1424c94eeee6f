//! Bulk threads: payloads between sockets and shared buffers, away from the loop.

use std::borrow::Cow;

use sys::shared::SharedBuffer;
use wire::limits::BULK_CHUNK_MAX;

/// The first `length` bytes of a buffer, copied out piece by piece.
pub(crate) fn pieces(
    shared: &SharedBuffer,
    length: u64,
) -> impl Iterator<Item = Cow<'static, [u8]>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(shared.len());
    (0..length).step_by(BULK_CHUNK_MAX).map(move |start| {
        let mut piece = vec![0; BULK_CHUNK_MAX.min(length - start)];
        // Both ends were checked against the buffer's length.
        let _ = shared.copy_out(start, &mut piece);
        Cow::Owned(piece)
    })
}
