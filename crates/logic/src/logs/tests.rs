//! How much passes, and that nothing is lost uncounted.

use super::*;

const WORKER: WorkerId = WorkerId(1);

#[test]
fn a_flood_passes_at_a_bounded_rate_and_the_rest_is_counted() {
    let mut logs = Logs::default();
    let mut passed = 0;
    let mut told = 0;
    // Ten seconds of a megabyte in each millisecond.
    for millisecond in 0..10_000_u64 {
        let (now, skipped) = logs.wrote(Time(millisecond * 1_000_000), WORKER, 1 << 20);
        passed += now;
        told += skipped;
    }
    assert!(passed <= LOG_BURST + 10 * LOG_RATE, "{passed}");
    assert!(passed >= 10 * LOG_RATE, "{passed}");
    let (last, rest) = logs.wrote(Time(60_000_000_000), WORKER, 1);
    assert_eq!(last, 1);
    assert_eq!(passed + told + rest, 10_000 << 20, "every byte was passed on or counted");
}

#[test]
fn a_few_lines_pass_whole_after_any_pause() {
    let mut logs = Logs::default();
    assert_eq!(logs.wrote(Time(0), WORKER, 100), (100, 0));
    assert_eq!(logs.wrote(Time(u64::MAX), WORKER, 100), (100, 0));
    logs.lost(WORKER, 5);
    assert_eq!(logs.wrote(Time(u64::MAX), WORKER, 1), (1, 5));
}
