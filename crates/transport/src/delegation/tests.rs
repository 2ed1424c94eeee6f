//! What copies are handed on: whose it is, how long it is good, and what is refused.

use std::time::UNIX_EPOCH;

use wire::delegation::LENGTH;

use super::*;
use crate::Secrets;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn a_copy_has_a_key_of_its_own_its_originals_name_and_a_day() {
    let authority = Authority::create(now()).unwrap();
    let name = "laptop".parse::<Name>().unwrap();
    let [first, second] = [(); 2].map(|()| {
        let words = authority.delegate(&name, now()).unwrap();
        Credentials::of_delegation(&words[LENGTH..]).unwrap().unwrap()
    });
    for one in [&first, &second] {
        assert_eq!((one.name(), one.role()), (&name, Role::Client));
        assert_eq!(one.authority(), authority.fingerprint());
        assert_eq!(one.valid_until(), now() + DELEGATION_VALIDITY);
    }
    assert_ne!(first.key().cert[0], second.key().cert[0]);
}

#[test]
fn its_key_is_among_the_secrets_before_anybody_has_it() {
    let authority = Authority::create(now()).unwrap();
    let before = Secrets::hold().forms().len();
    let words = authority.delegate(&"me".parse::<Name>().unwrap(), now()).unwrap();
    let forms = Secrets::hold().forms();
    assert!(forms.len() > before);
    let known = |form: &Zeroizing<Vec<u8>>| words.windows(form.len()).any(|part| part == &form[..]);
    assert!(forms.iter().any(known));
}

#[test]
fn another_authoritys_certificate_or_another_key_is_refused() {
    let [ours, theirs] = [(); 2].map(|()| Authority::create(now()).unwrap());
    let name = "me".parse::<Name>().unwrap();
    let read = |of: &Authority| {
        let words = of.delegate(&name, now()).unwrap();
        match Delegation::decode(&words[LENGTH..]).unwrap() {
            Delegation::Given { certificate, authority, key } => (certificate, authority, key),
            Delegation::Withheld { reason } => panic!("{reason}"),
        }
    };
    let (certificate, authority, key) = read(&ours);
    let (foreign, _, _) = read(&theirs);
    let (_, _, other_key) = read(&ours);
    let check = |certificate: &[u8], key: &[u8]| {
        let (certificate, authority, key) = (certificate.to_vec(), authority.clone(), key.to_vec());
        let given = Delegation::Given { certificate, authority, key }.encode().unwrap();
        Credentials::of_delegation(&given[LENGTH..])
    };
    assert!(check(&certificate, &key).is_ok());
    assert!(check(&foreign, &key).is_err());
    assert!(check(&certificate, &other_key).is_err());
    assert!(check(&certificate, b"no key").is_err());
    let withheld = Delegation::Withheld { reason: "none; join".to_owned() }.encode().unwrap();
    assert_eq!(Credentials::of_delegation(&withheld[LENGTH..]).unwrap().unwrap_err(), "none; join");
}
