//! The answer of a call is found wherever its bytes are cut.

use proptest::prelude::*;

use super::{Answer, Finder, Unreadable, value, value_of};

const MARK: [u8; 16] = *b"aaaaaaab-aaaaaab";

proptest! {
    #[test]
    fn an_answer_is_found_behind_anything_however_it_is_cut(
        before in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'-')], 0..60),
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        cut in 1_usize..20,
    ) {
        prop_assume!(!before.windows(16).any(|window| window == MARK));
        let answer = Answer::Value(bytes);
        let whole = [&before[..], &answer.encode(&MARK).unwrap()].concat();
        let mut finder = Finder::new(MARK);
        let mut own = Vec::new();
        for piece in whole.chunks(cut) {
            own.extend(finder.push(piece).unwrap());
        }
        let (rest, found) = finder.finish();
        own.extend(rest);
        prop_assert_eq!(own, before);
        prop_assert_eq!(found, Some(Ok(answer)));
    }

    #[test]
    fn garbage_behind_a_mark_is_no_answer_and_holds_no_memory(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut finder = Finder::new(MARK);
        let _ = finder.push(&MARK);
        let _ = finder.push(&bytes);
        let (_, found) = finder.finish();
        prop_assert!(found.is_some());
    }
}

#[test]
fn an_answer_that_is_cut_or_too_long_is_refused_by_name() {
    let whole = Answer::Panicked("no".into()).encode(&MARK).unwrap();
    let mut finder = Finder::new(MARK);
    finder.push(&whole[..whole.len() - 1]).unwrap();
    assert_eq!(finder.finish().1, Some(Err(Unreadable::Incomplete)));
    let mut finder = Finder::new(MARK);
    finder.push(&MARK).unwrap();
    let refused = finder.push(&u64::MAX.to_le_bytes());
    assert_eq!(refused, Err(Unreadable::TooLong { length: u64::MAX }));
    assert!(value_of::<u32>(&value(&(1_u32, 2_u32)).unwrap()).is_err());
}
