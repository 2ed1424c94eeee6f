//! A story as people read it.

use super::*;

fn times(queued: u64, transfer: u64, waited: u64, ran: u64, travel: u64) -> Times {
    let ms = Duration::from_millis;
    Times {
        queued: Some(ms(queued)),
        transfer: ms(transfer),
        waited: ms(waited),
        ran: ms(ran),
        travel: Some(ms(travel)),
    }
}

#[test]
fn the_largest_part_of_the_time_is_the_reason() {
    assert_eq!(times(50, 1, 45, 4, 0).slow_because(), ("queue", 95));
    assert_eq!(times(1, 50, 1, 40, 8).slow_because(), ("transfer", 58));
    assert_eq!(times(1, 1, 1, 97, 0).slow_because(), ("compute", 97));
    assert_eq!(times(0, 0, 0, 0, 0).slow_because().1, 0);
}

#[test]
fn a_story_says_what_where_the_time_went_and_what_to_do() {
    let task = "k3f9qx2.4".parse().unwrap();
    let mut story = Story::new(task, "failed", "it failed\u{1b}[2J".to_owned());
    story.cause = Some(Cause::Signal { signal: 11, stderr: "oh\u{1b}[31m\nno\n".to_owned() });
    story.times = Some(times(0, 0, 10, 90, 0));
    story.median = Some(Duration::from_millis(9));
    story.next = Some("mend it".to_owned());
    assert_eq!(
        story.in_words(),
        "k3f9qx2.4: it failed·[2J\n  | oh·[31m\n  | no\n\nits time went by:\n  \
         in its client's queue                  0 µs    0 %\n  \
         its input travelled                    0 µs    0 %\n  \
         at the node, for a worker           10.0 ms   10 %\n  \
         in its program                      90.0 ms   90 %\n  \
         itself and its result travelled        0 µs    0 %\n  \
         together                           100.0 ms\n\
         slow because of: compute (90 %)\n\
         half of the tasks of its job ran 9.0 ms or less; this one ran 10.0 times as long\n\n\
         next: mend it\nmore: farcall explain T0102\n"
    );
    let json = story.in_json();
    assert_eq!(
        (&json["slow_because"], &json["times"]["ran_ms"]),
        (&"compute".into(), &90.0.into())
    );
}
