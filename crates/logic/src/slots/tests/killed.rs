//! Workers that were killed and whose end nobody tells.

use super::*;

#[test]
fn a_killed_worker_that_does_not_end_is_killed_again_each_second() {
    check(
        1,
        &[
            (0, Up(0, "you", "a"), "credit 0=2"),
            (1, Run(0, 1), "start 0"),
            (2, Unusable(0), "kill 0, done 0:1 Refused, credit 0=3"),
            (10, Tick, ""),
            (900_000, Tick, ""),
            (1_000_010, Tick, "kill 0"),
            (1_900_000, Tick, ""),
            (2_000_010, Tick, "kill 0"),
            (2_000_020, Died(0, 9, 0), ""),
            (9_000_000, Tick, ""),
        ],
    );
}
