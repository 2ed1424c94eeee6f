//! Bound workers and everybody else's slots.

use super::*;

#[test]
fn bound_workers_that_load_keep_nobody_from_a_slot() {
    check(
        1,
        &[
            (0, Bind(0, 7), "start 0, credit 0=2"),
            (1, Bind(1, 8), "start 1, credit 1=2"),
            (2, Up(2, "you", "b"), "credit 2=2"),
            (3, Run(2, 1), "start 2"),
            (4, Ready(2), "run 2.0"),
            // Now one is loaded, and waits for the slot like anybody.
            (5, Ready(0), "bound 0:7"),
            (6, Run(0, 1), ""),
            (9000, Done(2, 1, us(9000)), "done 2:1 Finished, kill 2, run 0.0, credit 2=3"),
            // It dies, and loads anew while another has the slot.
            (9001, Burst(2, 2..3), ""),
            (9002, Run(0, 2), ""),
            (9003, Died(0, 11, 1), "done 0:1 Crashed, start 0, start 3, credit 0=3"),
        ],
    );
}
