//! What is said of pages that follow an image, as a peer may say it.

use wire::image::paging::{HEAD, Piece, REQUEST, Request};

/// As the head of a piece, and as a request: what is read would be written so.
pub fn decode(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk::<HEAD>()
        && let Some(piece) = Piece::decode(head)
    {
        assert_eq!(piece.encode(), *head);
    }
    if let Some(said) = bytes.first_chunk::<REQUEST>()
        && let Some(request) = Request::decode(said)
    {
        assert_eq!(request.encode(), *said);
    }
}
