//! Applies a rule to a repository of snippets. Used by the tests of the rules only.

use crate::repo::{Finding, Repo};

/// `want` are the heads of the findings, `file:line: what`, in order. None: the snippets are good.
#[track_caller]
pub(crate) fn check(rule: fn(&Repo) -> Vec<Finding>, files: &[(&str, &str)], want: &[&str]) {
    let found = rule(&Repo::of(files.iter().copied()));
    let heads: Vec<String> =
        found.iter().map(|f| format!("{}:{}: {}", f.file, f.line, f.what)).collect();
    assert_eq!(heads, want);
    for finding in found {
        assert!(!finding.why.is_empty() && !finding.remedy.is_empty(), "{finding} explains itself");
    }
}
