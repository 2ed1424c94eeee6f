//! `ls crates` is the map and ARCHITECTURE.md the legend: names, layers, papers.

use toml::Value;

use crate::exceptions::NESTED_PACKAGES;
use crate::manifest::{dependencies, line_of, table, workspace_dependencies};
use crate::repo::{Finding, Repo};

/// Names that say nothing about the subject of a crate or a module.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "utils", "helper", "helpers", "misc"];
/// The public library is published under the project's own name.
const PUBLIC_LIBRARY: &str = "client";

/// Folder `crates/<noun>`, package `farcall-<noun>`, `<noun>` in code, and nothing deeper.
pub fn crates_are_flat_and_named_as_their_folder(repo: &Repo) -> Vec<Finding> {
    let why = "`ls crates` is the map";
    let mut found = Vec::new();
    for name in repo.crates() {
        let path = format!("crates/{name}/Cargo.toml");
        let Some(file) = repo.files.get(&path) else {
            found.push(missing(&path, why, "add a manifest, or move the folder out of `crates`"));
            continue;
        };
        if EMPTY_NAMES.contains(&name) {
            found.push(file.finding(
                1,
                format!("`{name}` names no subject"),
                why,
                "name what it is about",
            ));
        }
        let want =
            if name == PUBLIC_LIBRARY { "farcall".to_string() } else { format!("farcall-{name}") };
        let package = table(&file.text).get("package").cloned().unwrap_or(Value::Boolean(false));
        if package.get("name").and_then(Value::as_str) != Some(&want) {
            let what = format!("the package in folder `{name}` is not named `{want}`");
            found.push(file.finding(
                line_of(&file.text, "name"),
                what,
                why,
                format!("write `name = \"{want}\"`"),
            ));
        }
    }
    for file in repo.files.values().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let excused = NESTED_PACKAGES.iter().any(|(folder, _)| file.path.starts_with(folder));
        if file.crate_name().is_some() && file.path_in_crate() != "Cargo.toml" && !excused {
            found.push(file.finding(
                1,
                "a crate inside a crate",
                why,
                "move it to `crates/<noun>`",
            ));
        }
    }
    for file in repo.rust().filter(|file| file.path_in_crate().starts_with("src/")) {
        let names = file.path.trim_end_matches(".rs").split('/');
        if let Some(name) = names.into_iter().find(|name| EMPTY_NAMES.contains(name)) {
            let what = format!("module `{name}` names no subject");
            found.push(file.finding(
                1,
                what,
                "a drawer without a subject fills up",
                "name what it is about",
            ));
        }
    }
    let root = repo.text("Cargo.toml").map(table).unwrap_or_default();
    for (key, value) in workspace_dependencies(&root) {
        if let Some(path) = value.get("path").and_then(Value::as_str)
            && path != format!("crates/{key}")
        {
            let what = format!("`{key}` stands for `{path}`");
            found.push(root_finding(repo, &key, what, why, "call a crate in code as its folder"));
        }
    }
    found
}

/// Normal and build dependencies on our own crates lead to a lower layer, or to a neighbour that
/// `[workspace.metadata.layers.beside]` lists (`user = ["used"]`). Dev-dependencies may lead
/// anywhere: they ship nothing, and a library's test may well need the program above it.
pub fn dependencies_point_down(repo: &Repo) -> Vec<Finding> {
    let why = "dependencies only point down, so that no crate knows who uses it";
    let root = repo.text("Cargo.toml").map(table).unwrap_or_default();
    let layers =
        root.get("workspace").and_then(|w| w.get("metadata")).and_then(|m| m.get("layers"));
    let Some(order) = layers.and_then(|l| l.get("order")).and_then(Value::as_array) else {
        return vec![missing(
            "Cargo.toml",
            why,
            "write [workspace.metadata.layers] `order = [[…], …]`, lowest last",
        )];
    };
    let beside =
        layers.and_then(|l| l.get("beside")).and_then(Value::as_table).cloned().unwrap_or_default();
    let layer_of = |name: &str| {
        order.iter().position(|layer| {
            layer.as_array().is_some_and(|names| names.iter().any(|n| n.as_str() == Some(name)))
        })
    };
    let crates = repo.crates();
    let mut found = Vec::new();
    for name in order.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
        if !crates.contains(name) {
            let what = format!("layer of `{name}`, which is not in `crates`");
            found.push(root_finding(repo, "order", what, why, "take it out of the layers"));
        }
    }
    for name in &crates {
        let Some(file) = repo.files.get(&format!("crates/{name}/Cargo.toml")) else { continue };
        let Some(own) = layer_of(name) else {
            let what = format!("`{name}` has no layer");
            found.push(file.finding(
                1,
                what,
                why,
                "give it one in the root's [workspace.metadata.layers]",
            ));
            continue;
        };
        let listed = |used: &str| {
            let neighbours = beside.get(*name).and_then(Value::as_array);
            neighbours.is_some_and(|all| all.iter().any(|n| n.as_str() == Some(used)))
        };
        for (used, _) in dependencies(&table(&file.text), &["dependencies", "build-dependencies"]) {
            let Some(layer) = layer_of(&used) else { continue };
            let (what, remedy) = if layer < own {
                (format!("`{name}` uses `{used}` of a layer above"), "move what it needs down")
            } else if layer == own && !listed(&used) {
                let remedy = "join them one layer up, or list the pair in [workspace.metadata.layers.beside]";
                (format!("`{name}` uses its neighbour `{used}`"), remedy)
            } else {
                continue;
            };
            found.push(file.finding(line_of(&file.text, &used), what, why, remedy));
        }
    }
    found
}

/// ARCHITECTURE.md names every crate, as `noun`, `noun::…` or crates/noun.
pub fn architecture_names_every_crate(repo: &Repo) -> Vec<Finding> {
    let why = "`ls crates` is the map, ARCHITECTURE.md the legend";
    let Some(file) = repo.files.get("ARCHITECTURE.md") else {
        let remedy = "write it: one line for each folder in `crates`, and the invariants";
        return vec![missing("ARCHITECTURE.md", why, remedy)];
    };
    let named = |name: &str| {
        let text = &file.text;
        [format!("`{name}`"), format!("`{name}::")].iter().any(|spelled| text.contains(spelled))
            || crate_paths(text).any(|(_, path)| path.split('/').nth(1) == Some(name))
    };
    let crates = repo.crates();
    let absent = crates.iter().filter(|name| !named(name));
    absent
        .map(|name| {
            file.finding(
                1,
                format!("crate `{name}` is not named"),
                why,
                "say in a line what it is for",
            )
        })
        .collect()
}

/// Each path crates/… in README, ARCHITECTURE, CONTRIBUTING, docs and comments exists. The
/// CHANGELOG is left out: it may speak of what is gone.
pub fn papers_name_only_what_exists(repo: &Repo) -> Vec<Finding> {
    let papers = repo.files.values().filter(|file| {
        file.path.ends_with(".md") && file.crate_name().is_none() && file.path != "CHANGELOG.md"
    });
    let mut found = Vec::new();
    for file in papers {
        for (line, path) in crate_paths(&file.text) {
            if !repo.has(&path) {
                let what = format!("`{path}` does not exist");
                found.push(file.finding(
                    line,
                    what,
                    "a map with a street that is gone misleads",
                    "name what stands there today",
                ));
            }
        }
    }
    found
}

/// Every `crates/…` in a text, with its line. `crates/<noun>` and `crates/*` name no crate.
fn crate_paths(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().flat_map(|(number, line)| {
        line.match_indices("crates/").filter_map(move |(at, prefix)| {
            let free = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '/');
            let rest = line[at + prefix.len()..]
                .split(|c: char| !(c.is_alphanumeric() || "-_./".contains(c)))
                .next()
                .unwrap_or("");
            let path = format!("{prefix}{rest}");
            let path = path.trim_end_matches(['.', '/']);
            (free && !rest.is_empty()).then(|| (number + 1, path.to_string()))
        })
    })
}

fn root_finding(repo: &Repo, key: &str, what: String, why: &'static str, remedy: &str) -> Finding {
    let line = repo.text("Cargo.toml").map_or(1, |text| line_of(text, key));
    Finding { file: "Cargo.toml".into(), line, what, why, remedy: remedy.into() }
}

fn missing(path: &str, why: &'static str, remedy: &str) -> Finding {
    Finding { file: path.into(), line: 1, what: "missing".into(), why, remedy: remedy.into() }
}

#[cfg(test)]
mod tests;
