//! Regions that may be another node's by now, and those that their vault cannot open.

use super::*;

/// Without word of how long it is ours, and without sessions.
fn durable(durability: Durability) -> Home {
    let options = Options { keeps: vec![durability], ..Options::default() };
    let regions = Regions::new(options);
    let mut home = Home { regions, now: Time(1), numbers: BTreeMap::new() };
    home.create(create(8, durability));
    home.event(Event::Made { id: RegionId(7), result: Ok(Epoch { number: 1 }) });
    home
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
    let mut home = durable(Durability::Replicated);
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
fn a_region_that_cannot_be_opened_is_dropped_by_admins_alone() {
    let mut home = durable(Durability::Sync);
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
