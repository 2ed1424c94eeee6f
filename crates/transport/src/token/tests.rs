//! Tokens that work once, for a while, for the right role.

use super::*;
use crate::credentials::Authority;
use std::path::PathBuf;
use tempfile::TempDir;

#[test]
fn token_survives_being_copied_as_text() {
    let store = Store::new();
    let token = store.issue(Role::Node);
    let text = token.to_string();
    assert!(text.starts_with("farcall1-") && text.len() == 89, "{text}");
    assert_eq!(format!(" {text}\n").parse::<Token>().unwrap(), token);
}

#[test]
fn any_wrong_character_is_noticed() {
    let text = Store::new().issue(Role::Client).to_string();
    for index in 0..text.len() {
        for replacement in ["A", "-", "\u{e4}", ""] {
            let mut bad = text.clone();
            bad.replace_range(index..=index, replacement);
            if bad != text {
                assert!(matches!(bad.parse::<Token>(), Err(Error::BadToken { .. })), "{bad}");
            }
        }
        assert!(text[..index].parse::<Token>().is_err());
    }
}

#[test]
fn secret_works_once() {
    let store = Store::new();
    let (first, second) = (store.issue(Role::Node), store.issue(Role::Admin));
    assert_eq!(store.tokens.redeem(&first.secret, store.now).unwrap(), Role::Node);
    let again = store.tokens.redeem(&first.secret, store.now);
    assert!(matches!(again, Err(Error::TokenUnknown)), "{again:?}");
    assert_eq!(store.tokens.redeem(&second.secret, store.now).unwrap(), Role::Admin);
}

#[test]
fn late_secret_is_refused_and_used_up() {
    let store = Store::new();
    let token = store.issue(Role::Node);
    let late = store.now + VALIDITY_DEFAULT;
    let first = store.tokens.redeem(&token.secret, late);
    assert!(matches!(first, Err(Error::TokenExpired)), "{first:?}");
    let second = store.tokens.redeem(&token.secret, store.now);
    assert!(matches!(second, Err(Error::TokenUnknown)), "{second:?}");
}

#[test]
fn guess_is_refused_and_disturbs_nobody() {
    let store = Store::new();
    let token = store.issue(Role::Node);
    assert!(matches!(store.tokens.redeem(&Secret([7; 16]), store.now), Err(Error::TokenUnknown)));
    store.tokens.redeem(&token.secret, store.now).unwrap();
}

#[test]
fn only_one_of_many_at_once_redeems() {
    let store = Store::new();
    let token = store.issue(Role::Node);
    let wins = std::thread::scope(|scope| {
        let redeem = || {
            // Each opens the folder itself, as another process would.
            let tokens = Tokens::open(&store.path).unwrap();
            let (secret, now) = (token.secret.clone(), store.now);
            scope.spawn(move || tokens.redeem(&secret, now).is_ok())
        };
        let threads: Vec<_> = (0..8).map(|_| redeem()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|&won| won).count()
    });
    assert_eq!(wins, 1);
}

#[test]
fn store_is_bounded_and_forgets_what_expired() {
    let store = Store::new();
    for _ in 0..OUTSTANDING_MAX {
        store.issue(Role::Client);
    }
    let issue = |now| store.tokens.issue(store.authority, Role::Client, VALIDITY_DEFAULT, now);
    assert!(matches!(issue(store.now), Err(Error::TooManyTokens { .. })));
    issue(store.now + VALIDITY_DEFAULT).unwrap();
}

#[test]
fn secret_is_neither_on_disk_nor_in_debug_output() {
    let store = Store::new();
    let token = store.issue(Role::Node);
    let file = std::fs::read_to_string(store.path.join(FILE)).unwrap();
    let hex: String = token.secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!file.contains(&hex));
    assert!(format!("{token:?}").contains("Secret(..)"));
}

// Helpers

struct Store {
    tokens: Tokens,
    authority: Fingerprint,
    path: PathBuf,
    now: SystemTime,
    _parent: TempDir,
}

impl Store {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("farcall");
        let now = time(seconds(SystemTime::now())).unwrap();
        let authority = Authority::load_or_create(&path, now).unwrap().fingerprint();
        Self { tokens: Tokens::open(&path).unwrap(), authority, path, now, _parent: parent }
    }

    fn issue(&self, role: Role) -> Token {
        self.tokens.issue(self.authority, role, VALIDITY_DEFAULT, self.now).unwrap()
    }
}
