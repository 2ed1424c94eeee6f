//! Records on disk come back as they went.

use super::*;

#[test]
fn attempts_are_read_as_they_are_written() {
    let attempt = Attempt {
        task: u64::MAX,
        ended: Span(1),
        queued: Span(2),
        transfer: Span(3),
        waited: Span(u64::MAX),
        ran: Span(5),
        away: Span(6),
        worker: u32::MAX,
        attempt: 1000,
        failed: true,
        node: NO_NODE,
    };
    assert_eq!(Attempt::from_bytes(&attempt.to_bytes()), attempt);
    let other = Attempt { attempt: 1, failed: false, node: 0, worker: 0, ..attempt };
    assert_eq!(Attempt::from_bytes(&other.to_bytes()), other);
    let garbage: [u8; ATTEMPT] = std::array::from_fn(|at| at as u8 ^ 0xa5);
    assert_eq!(Attempt::from_bytes(&garbage).to_bytes(), garbage);
}
