//! Who gets the bytes from whom, as a script of what happens and of the steps that follow.

use super::*;

const MIB: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
enum What {
    Wants(u32),
    Has(u32),
    Refuses(u32),
    Gone(u32),
    Failed(u32),
    Nothing,
}
use What::*;

/// The only place that touches the API. What happens after so many seconds, and the steps: `up 1`,
/// `0>1`.
#[track_caller]
fn check(script: &[(u64, What, &str)]) {
    let mut spread = Spread::new(16 * MIB);
    for (number, &(seconds, what, want)) in script.iter().enumerate() {
        let now = Time(0) + Span::from_secs(seconds);
        let mut steps = Vec::new();
        match what {
            Wants(link) => spread.want(now, LinkId(link)),
            Has(link) => spread.has(LinkId(link)),
            Refuses(link) => spread.refuses(LinkId(link)),
            Gone(link) => spread.gone(now, LinkId(link)),
            Failed(link) if spread.failed(LinkId(link)) => steps.push(format!("up {link}")),
            Failed(_) | Nothing => {}
        }
        while let Some(step) = spread.next(now) {
            steps.push(match step {
                Step::Upload(link) => format!("up {}", link.0),
                Step::Lend { from, to } => format!("{}>{}", from.0, to.0),
            });
        }
        assert_eq!(steps.join(", "), want, "after step {number} of {script:#?}");
    }
}

#[test]
fn one_copy_leaves_the_client_and_becomes_two_four_eight() {
    check(&[
        (0, Wants(0), "up 0"),
        (0, Wants(1), ""),
        (0, Wants(2), ""),
        (0, Wants(3), ""),
        (0, Wants(4), ""),
        (0, Wants(5), ""),
        (1, Has(0), "0>1, 0>2"),
        (2, Has(1), "0>3, 1>4, 1>5"),
        (2, Has(2), ""),
    ]);
}

#[test]
fn the_second_node_does_not_wait_for_a_slow_first_one() {
    check(&[
        (0, Wants(0), "up 0"),
        (0, Wants(1), ""),
        (0, Wants(2), ""),
        // 5 s and one for 16 MiB, twice for the second, four times for the third.
        (11, Nothing, ""),
        (12, Nothing, "up 1"),
        (13, Has(1), "1>2"),
    ]);
}

#[test]
fn what_does_not_come_from_a_node_comes_from_the_client() {
    check(&[(0, Has(0), ""), (0, Wants(1), "0>1"), (1, Failed(1), "up 1"), (2, Failed(1), "")]);
    let late = 10 + 17;
    check(&[(0, Has(0), ""), (0, Wants(1), "0>1"), (late, Nothing, "up 1"), (late, Has(1), "")]);
}

#[test]
fn who_waits_for_a_node_that_is_gone_or_full_is_served_by_the_client() {
    check(&[(0, Wants(0), "up 0"), (0, Wants(1), ""), (1, Gone(0), "up 1")]);
    check(&[(0, Wants(0), "up 0"), (0, Wants(1), ""), (1, Refuses(0), "up 1")]);
    check(&[(0, Has(0), ""), (0, Wants(1), "0>1"), (1, Gone(0), ""), (6, Nothing, "up 1")]);
}

#[test]
fn a_node_that_is_gone_passes_nothing_on() {
    check(&[
        (0, Has(0), ""),
        (0, Wants(1), "0>1"),
        (0, Gone(0), ""),
        (1, Has(1), ""),
        (1, Wants(2), "1>2"),
        (1, Wants(3), "1>3"),
        (1, Wants(4), ""),
        (2, Gone(2), "1>4"),
    ]);
}
