//! 300 simulated regions keep their promises, and each planted bug is found among them.

use farcall_sim::regions::{Bug, run};

const SEEDS: u64 = 300;

#[test]
fn regions_of_every_seed_keep_their_promises() {
    let (mut commits, mut transactions, mut grants, mut unknown, mut proven) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let (report, figures) = run(seed, None, false);
        if let Some(violation) = report.violation {
            let log = report.log.join("\n");
            panic!("{log}\nseed {seed}: {violation}\nsee it all: farcall-sim --regions --trace {seed}");
        }
        commits += figures.commits;
        transactions += figures.transactions;
        grants += figures.grants;
        unknown += figures.unknown;
        proven += figures.proven;
    }
    // They were put to the test.
    let all = [commits, transactions, grants, unknown, proven];
    eprintln!("commits, transactions, grants, unknown, proven: {all:?}");
    assert!(commits > 20_000 && transactions > 4000 && grants > 2000, "{all:?}");
    assert!(unknown > 200 && proven > 50, "{all:?}");
}
