//! What is said of pages that follow an image, as a peer may say it.

use wire::image::paging::{HEAD, Piece, REQUEST, Request, pack, unpack};
use wire::limits::IMAGE_CHUNK_MAX;

/// As the head of a piece with what follows it, and as a request: what is read would be written so, and never
/// fills more memory than was told of.
pub fn decode(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk::<HEAD>()
        && let Some(piece) = Piece::decode(head)
    {
        assert_eq!(piece.encode(), *head);
        if let Piece::Packed { len, packed, .. } = piece {
            assert!(packed < len && len as usize <= IMAGE_CHUNK_MAX);
            let mut memory = vec![0; len as usize];
            let told = &bytes[HEAD..];
            if unpack(&told[..told.len().min(packed as usize)], &mut memory) {
                let mut again = Vec::new();
                if let Some(count) = pack(&memory, &mut again) {
                    let mut found = vec![1; memory.len()];
                    assert!(unpack(&again[..count], &mut found) && found == memory);
                }
            }
        }
    }
    if let Some(said) = bytes.first_chunk::<REQUEST>()
        && let Some(request) = Request::decode(said)
    {
        assert_eq!(request.encode(), *said);
    }
}
