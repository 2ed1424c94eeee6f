//! What is written is read again; what is cut, longer or nonsense is not.

use super::*;

fn given() -> Delegation {
    Delegation::Given { certificate: vec![1; 500], authority: vec![2; 400], key: vec![3; 138] }
}

#[test]
fn what_is_handed_on_arrives_and_says_nothing_in_a_log() {
    for one in [given(), Delegation::Withheld { reason: "no key; join".to_owned() }] {
        let bytes = one.encode().unwrap();
        let (front, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(Delegation::length(*front), Ok(body.len()));
        assert_eq!(Delegation::decode(body), Ok(one));
    }
    assert_eq!(format!("{:?}", given()), "Given");
}

#[test]
fn nonsense_is_refused_and_nothing_long_is_taken() {
    let bytes = given().encode().unwrap();
    for end in LENGTH..bytes.len() {
        assert!(Delegation::decode(&bytes[LENGTH..end]).is_err(), "{end}");
    }
    let longer = [&bytes[LENGTH..], &[0]].concat();
    assert!(matches!(Delegation::decode(&longer), Err(Unreadable::Garbled { .. })));
    let too_long = Unreadable::TooLong { length: DELEGATION_MAX + 1 };
    assert_eq!(Delegation::length((DELEGATION_MAX as u32 + 1).to_le_bytes()), Err(too_long));
    let large = Delegation::Withheld { reason: "x".repeat(DELEGATION_MAX) };
    assert!(matches!(large.encode(), Err(Unreadable::TooLong { .. })));
    // A length within that is longer than the rest takes no memory.
    assert!(Delegation::decode(&[1, 255, 255, 255, 255, 15]).is_err());
}
