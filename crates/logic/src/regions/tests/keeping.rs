//! What waits for a vault.

use super::*;

fn kept(durability: Durability) -> Home {
    let options = Options { keeps: vec![durability], ..Options::default() };
    Home::with(options, create(8, durability))
}

impl Home {
    /// Another node cannot be home for so long.
    fn renew(&mut self, span: Span) {
        let until = self.now + span;
        self.event(Event::Renewed { until });
    }
}

#[test]
fn a_home_that_may_have_been_deposed_answers_nobody() {
    let lease = Span::from_secs(4);
    let mut home = kept(Durability::Replicated);
    // Nobody has said yet that it is ours.
    assert!(matches!(home.attach(ANN, 1)[..], [Effect::Close { link: ANN }]));
    home.renew(lease);
    home.attach(ANN, 1);
    home.attach(BOB, 2);
    home.check(ANN, read(0, 1), &[], Answer::Unchanged { version: Version(1) });
    let token = home.locks(ANN, 3);
    let wait = Span::from_secs(1);
    let waiting = home.waits(BOB, lock_for(3, wait), &[]);

    // As after a stop of the whole process: its clock has gone on.
    home.now = home.now + lease;
    assert_eq!(home.pass(Span(0), &[]), []);
    let ask = Ask { answered: 0, request: read(0, 0) };
    for request in [read(0, 0), unlock(3, token)] {
        let (link, ask) = (ANN, Ask { request, ..ask.clone() });
        let effects = home.event(Event::Request { link, channel: 9, ask, bytes: Bytes::new() });
        assert!(matches!(effects[..], [Effect::Close { link: ANN }]), "{effects:?}");
    }
    assert!(matches!(home.attach(CAT, 3)[..], [Effect::Close { link: CAT }]));

    // It was ours all the time.
    home.renew(lease);
    let sent = home.pass(Span::from_millis(100), &[]);
    assert_eq!(sent, [(BOB, waiting, answered(Answer::Busy))]);
    home.check(ANN, read(0, 1), &[], Answer::Unchanged { version: Version(1) });
}

#[test]
fn an_async_region_answers_at_once_until_its_vault_is_far_behind() {
    let mut home = kept(Durability::Async);
    for commit in 1..=ASYNC_BEHIND_MAX {
        home.check(ANN, update(0, 0), &[1; PAGE], committed(commit + 1));
    }
    let (link, bytes) = (ANN, Bytes::from(vec![2; PAGE]));
    let (number, sent) = home.ask(link, update(0, 0), &bytes);
    assert_eq!(sent, []);
    let kept = home.event(Event::Kept { id: RegionId(7), sequence: 1 });
    assert_eq!(super::sent(kept), [(ANN, number, answered(committed(ASYNC_BEHIND_MAX + 2)))]);
}

#[test]
fn a_region_that_cannot_be_opened_is_dropped_by_admins_alone() {
    let mut home = kept(Durability::Sync);
    let damaged = || Refusal::Unkept { reason: "damaged".to_owned() };
    home.event(Event::Opened { name: name("notes"), result: Err(damaged()) });
    let mut drop = |is_admin| {
        let (link, channel, drop) = (CONTROL, 1, Drop { name: name("notes") });
        let owner = Owner { is_admin, ..owner("ann") };
        home.event(Event::Drop { link, channel, owner, drop })
    };
    let dropped = |effect: &Effect| match effect {
        Effect::Send { message: Message::RegionDropped(dropped), .. } => dropped.result.clone(),
        other => panic!("{other:?}"),
    };
    let effects = drop(false);
    assert_eq!(effects.iter().map(dropped).collect::<Vec<_>>(), [Err(damaged())]);
    let effects = drop(true);
    assert!(matches!(&effects[0], Effect::Discard { name: gone } if *gone == name("notes")));
    assert_eq!(dropped(&effects[1]), Ok(()));
    assert_eq!(dropped(&drop(true)[0]), Err(Refusal::NoSuchRegion));
}
