//! What the `Cargo.toml` files say: reasons, one place for versions, one crate with the codec.

use toml::Value;

use crate::exceptions::CODECS;
use crate::manifest::{dependencies, line_of, table, workspace_dependencies};
use crate::repo::{Finding, Repo};

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Each foreign entry of `[workspace.dependencies]` ends with `# reason`.
pub fn foreign_dependencies_state_their_reason(repo: &Repo) -> Vec<Finding> {
    let Some(file) = repo.files.get("Cargo.toml") else { return Vec::new() };
    let foreign = workspace_dependencies(&table(&file.text))
        .into_iter()
        .filter(|(_, value)| value.get("path").is_none());
    let mut found = Vec::new();
    for (name, _) in foreign {
        let line = line_of(&file.text, &name);
        // An entry of several lines says its reason on the line that ends it.
        let last = file
            .text
            .lines()
            .skip(line - 1)
            .find(|text| !text.trim_end().ends_with([',', '[', '{']));
        let reason = last.and_then(|text| text.rsplit_once("# ")).map_or("", |(_, reason)| reason);
        if reason.trim().is_empty() {
            let what = format!("`{name}` states no reason");
            found.push(file.finding(
                line,
                what,
                "each dependency is a stranger in the house",
                "say behind it, after `#`, what it is here for",
            ));
        }
    }
    found
}

/// Members name no versions, paths or sources of their own, and take the workspace's lints.
pub fn members_inherit_from_the_workspace(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in repo.crates() {
        let Some(file) = repo.files.get(&format!("crates/{name}/Cargo.toml")) else { continue };
        let manifest = table(&file.text);
        for (used, value) in dependencies(&manifest, &SECTIONS) {
            let inherits = value.get("workspace").and_then(Value::as_bool) == Some(true);
            if !inherits {
                let what = format!("`{used}` does not say `workspace = true`");
                let remedy = format!(
                    "enter it in the root's [workspace.dependencies] with its reason, and write `{used}.workspace = true` here"
                );
                found.push(file.finding(
                    line_of(&file.text, &used),
                    what,
                    "versions and reasons have one place",
                    remedy,
                ));
            }
        }
        let lints = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(Value::as_bool);
        if lints != Some(true) {
            found.push(file.finding(
                1,
                "the workspace's lints are not taken",
                "lints are set once, for all crates",
                "add [lints] `workspace = true`",
            ));
        }
    }
    found
}

/// Bytes from outside are decoded in `wire` only (invariant 4), so only `wire` has the codec.
pub fn only_wire_has_the_codec(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in repo.crates().into_iter().filter(|name| *name != "wire") {
        let Some(file) = repo.files.get(&format!("crates/{name}/Cargo.toml")) else { continue };
        for (used, _) in dependencies(&table(&file.text), &SECTIONS) {
            if CODECS.contains(&used.as_str()) {
                let what = format!("`{name}` uses `{used}`");
                found.push(file.finding(
                    line_of(&file.text, &used),
                    what,
                    "bytes from outside are decoded only in `wire`",
                    "give the message a type and a decoder in `wire`",
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
