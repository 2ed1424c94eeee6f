//! What several vaults say of one region is one answer.

use super::*;

fn vaults() -> Vaults {
    let (sender, events) = channel();
    Vaults {
        events,
        outbox: Outbox::new(sender, Arc::new(|| ())),
        folder: PathBuf::new(),
        cluster: String::new(),
        embedded: None,
        etcd: None,
        regions: HashMap::new(),
        opening: HashMap::new(),
        tell: |_| (),
        warned: HashSet::new(),
    }
}

fn unkept() -> Refusal {
    Refusal::Unkept { reason: "damaged".to_owned() }
}

/// What is told of a region that so many vaults were asked for, and that refused in this order.
#[track_caller]
fn check(asked: usize, said: &[Refusal], want: &[Refusal]) {
    let mut vaults = vaults();
    let name: Name = "genes".parse().expect("a name");
    if asked > 0 {
        vaults.opening.insert(name.clone(), Opening { waiting: asked, refusal: None });
    }
    let news =
        said.iter().map(|said| Event::Opened { name: name.clone(), result: Err(said.clone()) });
    vaults.outbox.tell(news);
    let mut told = Vec::new();
    while let Some(Event::Opened { result: Err(refusal), .. }) = vaults.news() {
        told.push(refusal);
    }
    assert_eq!(told, want);
    assert!(vaults.opening.is_empty());
}

#[test]
fn a_region_that_one_vault_cannot_open_is_not_unknown_since_another_has_none() {
    let none = || Refusal::NoSuchRegion;
    check(1, &[none()], &[none()]);
    check(2, &[none(), none()], &[none()]);
    check(2, &[unkept(), none()], &[unkept()]);
    check(2, &[none(), unkept()], &[unkept()]);
    // Told unasked, before the other one that was asked has answered.
    check(0, &[unkept(), none()], &[unkept()]);
}

#[test]
fn a_name_that_no_vault_was_asked_for_is_unknown() {
    let mut vaults = vaults();
    vaults.open("genes".parse().expect("a name"));
    let told = vaults.news();
    assert!(matches!(told, Some(Event::Opened { result: Err(Refusal::NoSuchRegion), .. })));
}
