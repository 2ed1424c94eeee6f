//! The `mod` list is a table of contents: a module uses only modules declared below it.
//!
//! ```text
//!  root file ──mod lines──> scopes: for each module, its children in order, its re-exports
//!  each path `crate::…`, `self::…`, `super::…` ──> absolute ──> the two siblings where user and
//!  used part ──> the used one must stand below
//! ```
//!
//! A parent may use its children, and a child its parent's own items: only siblings have an
//! order. Tests may use everything. A name that the root re-exports counts as the module it
//! comes from.

use std::collections::BTreeMap;

use crate::outline::{after_attribute, closing, text};
use crate::repo::{File, Finding, Repo};

/// One module: its children in the order of their `mod` lines, and where re-exports come from.
#[derive(Default)]
struct Scope {
    children: Vec<String>,
    published: BTreeMap<String, Vec<String>>,
}

/// One crate, program or library: its scopes by path and the files of its modules.
#[derive(Default)]
struct Tree<'a> {
    scopes: BTreeMap<Vec<String>, Scope>,
    files: Vec<(Vec<String>, &'a File)>,
}

/// Siblings use only what stands below them in the list.
pub fn modules_use_only_those_below(repo: &Repo) -> Vec<Finding> {
    let roots = repo.rust().filter(|file| file.crate_name().is_some() && file.is_root());
    let mut found = Vec::new();
    for root in roots {
        let mut tree = Tree::default();
        tree.add(repo, root, &[]);
        for (module, file) in &tree.files {
            found.extend(tree.findings(module, file));
        }
    }
    found
}

/// `lib.rs` holds attributes, `mod` lines and re-exports.
pub fn lib_rs_is_a_table_of_contents(repo: &Repo) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in repo
        .rust()
        .filter(|file| file.crate_name().is_some() && file.path_in_crate() == "src/lib.rs")
    {
        let tokens = &file.tokens;
        let mut at = 0;
        while at < tokens.len() {
            if text(tokens, at) == "#" {
                at = after_attribute(tokens, at);
                continue;
            }
            let start = at;
            let public = text(tokens, at) == "pub";
            if public {
                at = if text(tokens, at + 1) == "(" { closing(tokens, at + 1) + 1 } else { at + 1 };
            }
            let item = text(tokens, at).to_string();
            let listed = item == "mod" && text(tokens, at + 2) == ";" || item == "use" && public;
            // An item ends with its semicolon or with the braces of its body.
            loop {
                match text(tokens, at) {
                    "" | ";" => break,
                    "{" if item != "use" => {
                        at = closing(tokens, at);
                        break;
                    }
                    "(" | "[" | "{" => at = closing(tokens, at) + 1,
                    _ => at += 1,
                }
            }
            at += 1;
            if !listed {
                let what = format!("`{item}` in lib.rs");
                found.push(file.finding(
                    tokens[start].line,
                    what,
                    "lib.rs holds the story, `mod` lines and re-exports, nothing else",
                    "move it to a module of its own",
                ));
            }
        }
    }
    found
}

impl<'a> Tree<'a> {
    /// Enters a file and everything it declares, tests left out.
    fn add(&mut self, repo: &'a Repo, file: &'a File, module: &[String]) {
        self.files.push((module.to_vec(), file));
        for declared in file.outline.mods.iter().filter(|m| !m.test) {
            let scope = [module, &declared.inside].concat();
            self.scopes.entry(scope.clone()).or_default().children.push(declared.name.clone());
            let child = [scope, vec![declared.name.clone()]].concat();
            let paths = file.child_paths(&declared.inside, &declared.name);
            if let (false, Some(next)) =
                (declared.inline, paths.iter().find_map(|p| repo.files.get(p)))
            {
                self.add(repo, next, &child);
            }
        }
        for path in &file.outline.paths {
            let Some(name) = &path.published else { continue };
            let scope = [module, &path.inside].concat();
            let target = absolute(&path.segments, &scope)
                .unwrap_or([scope.clone(), path.segments.clone()].concat());
            self.scopes.entry(scope).or_default().published.insert(name.clone(), target);
        }
    }

    fn findings(&self, module: &[String], file: &File) -> Vec<Finding> {
        let why = "a module uses only modules declared below it, so that no cycle can grow";
        let mut found = Vec::new();
        for path in file.outline.paths.iter().filter(|path| !path.test) {
            let user = [module, &path.inside].concat();
            let Some(used) = absolute(&path.segments, &user) else { continue };
            let around = used.len().checked_sub(1).filter(|base| *base < module.len());
            let glob = used.last().is_some_and(|name| name == "*");
            if glob && around.is_some_and(|base| user.starts_with(&used[..base])) {
                let what = format!(
                    "`{}` takes everything from around this file",
                    path.segments.join("::")
                );
                found.push(file.finding(path.line, what, why, "name what is used"));
                continue;
            }
            if let Some((above, below)) = self.upward(&user, &used) {
                let what = format!("`{below}` uses `{above}`, which is declared above it");
                found.push(file.finding(path.line, what, why, format!("move `mod {below};` above `mod {above};`, or what both need to a module below them")));
            }
        }
        found
    }

    /// The siblings (used, user) where the two paths part, if the used one stands above.
    fn upward(&self, user: &[String], used: &[String]) -> Option<(String, String)> {
        let shared = user.iter().zip(used).take_while(|(a, b)| a == b).count();
        let (own, name) = (user.get(shared)?, used.get(shared)?);
        let scope = self.scopes.get(&user[..shared])?;
        let place = |child: &String| scope.children.iter().position(|c| c == child);
        let origin = match place(name) {
            Some(_) => name,
            // A re-export: the sibling that it comes from.
            None => {
                scope.published.get(name).filter(|t| t.starts_with(&user[..shared]))?.get(shared)?
            }
        };
        (place(origin)? < place(own)?).then(|| (origin.clone(), own.clone()))
    }
}

/// The path from the crate's root; nothing for a path that does not start here.
fn absolute(segments: &[String], scope: &[String]) -> Option<Vec<String>> {
    let mut base = match segments.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => scope.to_vec(),
        _ => return None,
    };
    for segment in segments {
        match segment.as_str() {
            "crate" | "self" => (),
            "super" => drop(base.pop()),
            name => base.push(name.to_string()),
        }
    }
    Some(base)
}

#[cfg(test)]
mod tests;
