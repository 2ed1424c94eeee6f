//! What rules ask of a `Cargo.toml`: its tables, its dependencies, where a key stands.

use toml::{Table, Value};

/// The dependencies in these sections, those of `[target.…]` included.
pub(crate) fn dependencies(manifest: &Table, sections: &[&str]) -> Vec<(String, Value)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(|all| all.values().filter_map(Value::as_table)));
    tables
        .flat_map(|part| sections.iter().filter_map(|section| part.get(*section)?.as_table()))
        .flat_map(|section| section.iter().map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

pub(crate) fn workspace_dependencies(root: &Table) -> Vec<(String, Value)> {
    let section =
        root.get("workspace").and_then(|w| w.get("dependencies")).and_then(Value::as_table);
    section.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A manifest that does not parse is cargo's to report.
pub(crate) fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

/// The line that opens with `key`, as far as a line does.
pub(crate) fn line_of(text: &str, key: &str) -> usize {
    let opens = |line: &str| {
        line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '=', '.']))
    };
    text.lines().position(opens).map_or(1, |at| at + 1)
}
