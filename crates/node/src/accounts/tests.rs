//! Blocks and their locks.

use super::*;

#[test]
fn a_block_is_one_nodes_until_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let locks = folder.path().join("locks");
    let first = lock(&locks, 7).unwrap();
    assert!(lock(&locks, 7).is_none());
    assert!(lock(&locks, 8).is_some());
    drop(first);
    assert!(lock(&locks, 7).is_some());
}

#[test]
fn two_nodes_of_one_host_have_no_account_in_common() {
    if !sys::limits::is_root() {
        return;
    }
    // Of the same name, so that both want the same block.
    let (one, two) = (Accounts::take(Path::new("/scratch")), Accounts::take(Path::new("/scratch")));
    assert!(one.first.abs_diff(two.first) >= BLOCK, "{} and {}", one.first, two.first);
    assert!(one.of(BLOCK - 1) < one.first + BLOCK);
}

#[test]
fn every_account_is_a_number_that_the_kernel_takes() {
    let last = u64::from(FIRST) + u64::from(BLOCKS) * u64::from(BLOCK);
    assert!(last < 1 << 31, "{last}");
}
