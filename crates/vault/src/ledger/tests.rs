//! That the books of a region find whatever a store may have lost.

use super::*;
use wire::region::{Answer, Audience, Durability, Style};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn ledger() -> Ledger {
    let create = Create {
        name: name("genes"),
        page_size: 64,
        pages: 8,
        durability: Durability::Sync,
        style: Style::Transactional,
        audience: Audience::Cluster,
    };
    Ledger::new(RegionId(7), name("ada"), create, 1)
}

fn page(page: u64, version: u64) -> Written {
    let bytes = Bytes::from(vec![u8::try_from(version).expect("a small version"); 64]);
    Written { page: PageNo(page), version: Version(version), bytes }
}

fn batch(sequence: u64, written: Vec<Written>) -> Batch {
    let outcome = Outcome {
        session: SessionId(3),
        owner: name("ada"),
        request: sequence,
        answer: Answer::Committed { version: Version(sequence) },
    };
    let (region, grown, forgotten, dropped) = (RegionId(7), None, Vec::new(), Vec::new());
    Batch { region, sequence, grown, written, outcome: Some(outcome), forgotten, dropped }
}

/// What a store has after some commits.
struct Shelf(BTreeMap<Key, Item>);

impl Shelf {
    fn of(ledger: &Ledger) -> Self {
        let items = [Item::Region(ledger.region.clone()), ledger.head_item()];
        Self(items.into_iter().map(|item| (item.key(), item)).collect())
    }

    fn commit(&mut self, ledger: &mut Ledger, batch: Batch) {
        let mut changes = Changes::new();
        ledger.commit(batch, &mut changes).expect("in order");
        for (key, item) in changes {
            match item {
                Some(item) => self.0.insert(key, item),
                None => self.0.remove(&key),
            };
        }
        self.0.insert(Key::Head, ledger.head_item());
    }

    fn items(&self) -> Vec<(Vec<u8>, Bytes)> {
        let encode = |item: &Item| (item.key().to_bytes(), item.encode(RegionId(7)).into());
        self.0.values().map(encode).collect()
    }
}

#[test]
fn what_was_committed_is_loaded() {
    let mut ledger = ledger();
    let mut shelf = Shelf::of(&ledger);
    shelf.commit(&mut ledger, batch(1, vec![page(0, 2), page(5, 2)]));
    shelf.commit(&mut ledger, Batch { grown: Some(20), ..batch(2, vec![page(0, 3), page(19, 2)]) });
    let forgotten = vec![(SessionId(3), 1)];
    shelf.commit(&mut ledger, Batch { forgotten, ..batch(3, Vec::new()) });

    let (again, opened) = Ledger::load(shelf.items()).expect("it is whole");
    assert_eq!(again.head, ledger.head);
    assert_eq!((opened.sequence, opened.pages, opened.create.pages), (3, 20, 8));
    assert_eq!(opened.written, vec![page(0, 3), page(5, 2), page(19, 2)]);
    let requests: Vec<_> = opened.outcomes.iter().map(|outcome| outcome.request).collect();
    assert_eq!(requests, vec![2, 3]);
    assert_eq!(again.outcomes, ledger.outcomes);
    assert_eq!(again.versions, ledger.versions);
}

#[test]
fn a_session_that_comes_back_is_forgotten_before_its_commit_and_what_is_dropped_alone_is_gone() {
    let mut ledger = ledger();
    let mut shelf = Shelf::of(&ledger);
    for sequence in 1..=3 {
        shelf.commit(&mut ledger, batch(sequence, vec![page(0, sequence + 1)]));
    }
    let dropped = vec![(SessionId(3), 2), (SessionId(3), 99)];
    shelf.commit(&mut ledger, Batch { dropped, ..batch(4, vec![page(0, 5)]) });
    let requests = |shelf: &Shelf| {
        let (_, opened) = Ledger::load(shelf.items()).expect("it is whole");
        opened.outcomes.iter().map(|outcome| outcome.request).collect::<Vec<_>>()
    };
    assert_eq!(requests(&shelf), vec![1, 3, 4]);
    let forgotten = vec![(SessionId(3), u64::MAX)];
    shelf.commit(&mut ledger, Batch { forgotten, ..batch(5, vec![page(0, 6)]) });
    assert_eq!(requests(&shelf), vec![5]);
}

#[test]
fn an_item_that_is_gone_or_of_an_earlier_commit_is_found() {
    let mut ledger = ledger();
    let mut shelf = Shelf::of(&ledger);
    shelf.commit(&mut ledger, batch(1, vec![page(0, 2), page(5, 2)]));
    let before = shelf.items();
    shelf.commit(&mut ledger, batch(2, vec![page(0, 3), page(6, 2)]));
    let now = shelf.items();
    assert!(Ledger::load(now.clone()).is_ok());
    for place in 0..now.len() {
        let mut fewer = now.clone();
        fewer.remove(place);
        assert!(Ledger::load(fewer).is_err(), "without {:?}", now[place].0);
    }
    for old in &before {
        let mut mixed = now.clone();
        for item in mixed.iter_mut().filter(|(key, _)| *key == old.0) {
            item.1 = old.1.clone();
        }
        assert!(mixed == now || Ledger::load(mixed).is_err(), "with an old {:?}", old.0);
    }
}

#[test]
fn a_commit_out_of_order_is_refused() {
    let mut ledger = ledger();
    let mut changes = Changes::new();
    let result = ledger.commit(batch(2, Vec::new()), &mut changes);
    assert_eq!(result, Err(OutOfOrder { found: 2, wanted: 1 }));
    assert!(changes.is_empty());
}
