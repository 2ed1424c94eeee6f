//! Which files count as tests, and where modules live.

use super::Repo;

#[test]
fn files_of_test_modules_are_tests() {
    let repo = Repo::of([
        ("crates/a/src/lib.rs", "mod b; #[cfg(test)] mod fixture;"),
        ("crates/a/src/b.rs", "#[cfg(test)] mod tests;"),
        ("crates/a/src/b/tests.rs", ""),
        ("crates/a/src/fixture.rs", "mod deep;"),
        ("crates/a/src/fixture/deep.rs", ""),
        ("crates/a/tests/whole.rs", ""),
    ]);
    let tests: Vec<&str> =
        repo.rust().filter(|file| repo.is_test(file)).map(|file| file.path_in_crate()).collect();
    assert_eq!(
        tests,
        ["src/b/tests.rs", "src/fixture.rs", "src/fixture/deep.rs", "tests/whole.rs"]
    );
}
