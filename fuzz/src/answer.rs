//! What a copy writes to its standard output, with or without the answer to its call.

use wire::answer::{Answer, Finder, Mark, Unreadable, value_of};

/// What seeds have it as, too.
const MARK: Mark = *b"a mark of a call";

/// However it comes cut, it is read alike; and an answer that is read is written as it came.
pub fn find(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = read([bytes]);
    let (one, other) = bytes.split_at(bytes.len().min(usize::from(*cut)));
    assert_eq!(read([one, other]), whole);
    if let Ok((own, Some(Ok(answer)))) = whole {
        let again = answer.encode(&MARK).expect("it was no longer than it may be");
        let again = read([&own[..], &again]);
        assert_eq!(again, Ok((own, Some(Ok(answer)))));
    }
    let _ = value_of::<Vec<(u32, Option<String>)>>(bytes);
}

type Read = Result<(Vec<u8>, Option<Result<Answer, Unreadable>>), Unreadable>;

fn read<const N: usize>(pieces: [&[u8]; N]) -> Read {
    let mut finder = Finder::new(MARK);
    let mut own = Vec::new();
    for piece in pieces {
        own.extend(finder.push(piece)?);
    }
    let (rest, answer) = finder.finish();
    own.extend(rest);
    Ok((own, answer))
}
