//! Messages of the worker socket protocol v1, from either side.
//!
//! A message's front says what it is and where its blob lies; more of it never says otherwise, and
//! the blob fills the payload. An answer that is read is written alike.

use bytes::BytesMut;
use wire::frame::{HEADER, Header};
use wire::worker_v1::{self, FRONT_MAX, RESULT_FRONT, Request};

pub fn read(bytes: &[u8]) {
    let Some(header) = Header::peek(bytes) else { return };
    let payload = &bytes[HEADER..];
    request(&header, &payload[..payload.len().min(header.length.min(1 << 30) as usize)]);
    let _ = worker_v1::answer(&header);
    let _ = worker_v1::accepted(payload);
    let _ = worker_v1::loaded(payload);
    if let Ok(code) = worker_v1::result(payload) {
        let output = &payload[RESULT_FRONT..];
        let mut again = BytesMut::new();
        worker_v1::put_result(&mut again, header.channel, code, output.len() as u64);
        assert_eq!(again[HEADER..], payload[..RESULT_FRONT]);
    }
}

fn request(header: &Header, front: &[u8]) {
    let whole = worker_v1::open(header, front);
    if front.len() >= FRONT_MAX || front.len() as u64 == header.length {
        assert_ne!(whole, Ok(None), "the front is not enough");
    }
    for cut in [0, 1, 7, 8, 15, 16, 17, front.len() / 2, front.len().saturating_sub(1)] {
        let part = worker_v1::open(header, &front[..cut.min(front.len())]);
        assert!(part == Ok(None) || part == whole, "{part:?} became {whole:?}");
    }
    let Ok(Some(request)) = whole else { return };
    let mut again = BytesMut::new();
    let id = header.channel;
    match request {
        Request::Version(version) => worker_v1::put_version(&mut again, id, version),
        Request::Core { name, library } => {
            assert_eq!(library.start + library.length, header.length);
            worker_v1::put_core(&mut again, id, &name, library.length);
        }
        Request::Job { job, input } => {
            assert_eq!(input.start + input.length, header.length);
            worker_v1::put_job(&mut again, id, job, input.length);
        }
    }
    assert_eq!(Header::peek(&again).as_ref(), Some(header));
    assert!(front.starts_with(&again[HEADER..]), "another front");
}
