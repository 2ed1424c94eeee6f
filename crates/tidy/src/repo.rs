//! The repository as the rules see it: text files by path, and what is found in them.
//!
//! Loaded once from the disk, or made of snippets in a rule's own tests. Generated files,
//! binaries and build output are left out.
//! Elsewhere: what is wrong with it (`rules`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::outline::{Outline, outline};
use crate::tokens::{Token, split, tokens};

/// Every text file of the repository, by its path from the root.
#[derive(Debug)]
pub struct Repo {
    pub files: BTreeMap<String, File>,
    test_files: BTreeSet<String>,
}

#[derive(Debug)]
pub struct File {
    pub path: String,
    pub text: String,
    /// The comments of a Rust file, with everything else blanked.
    pub(crate) comments: String,
    /// The code of a Rust file, without comments, strings and characters.
    pub(crate) tokens: Vec<Token>,
    pub(crate) outline: Outline,
}

/// One break of a rule.
#[derive(Debug)]
pub struct Finding {
    pub file: String,
    pub line: usize,
    pub what: String,
    pub why: &'static str,
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what, why, remedy } = self;
        write!(f, "{file}:{line}: {what}; {why}; {remedy}")
    }
}

/// Folders that hold no source of ours.
const FOLDERS_SKIPPED: [&str; 6] =
    ["target", ".git", "corpus", "artifacts", "node_modules", "vendor"];
/// A larger file is data.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Repo {
    /// Reads the repository whose root is `root`.
    pub fn load(root: &Path) -> io::Result<Self> {
        let mut texts = Vec::new();
        read_folder(root, "", &mut texts)?;
        Ok(Self::of(texts))
    }

    /// A repository of these paths and texts.
    pub fn of(texts: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let files: BTreeMap<String, File> = texts
            .into_iter()
            .map(|(path, text)| File::new(path.into(), text.into()))
            .map(|file| (file.path.clone(), file))
            .collect();
        let test_files = files
            .values()
            .flat_map(|file| file.outline.mods.iter().filter(|m| m.test).map(move |m| (file, m)))
            .flat_map(|(file, m)| file.child_paths(&m.inside, &m.name))
            .collect();
        Self { files, test_files }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.values().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|file| file.text.as_str())
    }

    /// A file or a folder of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|key| key.starts_with(&folder))
    }

    /// The folders in `crates/`.
    pub(crate) fn crates(&self) -> BTreeSet<&str> {
        self.files.values().filter_map(File::crate_name).collect()
    }

    /// The file or module serves tests only.
    pub(crate) fn is_test(&self, file: &File) -> bool {
        let by_name = file.path.split('/').any(|part| part == "tests" || part == "tests.rs");
        let listed = self.test_files.iter().any(|test| {
            let folder = test.strip_suffix("mod.rs").or(test.strip_suffix(".rs")).unwrap_or(test);
            file.path == *test
                || file.path.starts_with(&format!("{}/", folder.trim_end_matches('/')))
        });
        by_name || listed
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let (mut comments, mut found) = (String::new(), Vec::new());
        if path.ends_with(".rs") {
            let (code, remarks) = split(&text);
            (comments, found) = (remarks, tokens(&code));
        }
        let outline = outline(&found);
        Self { path, text, comments, tokens: found, outline }
    }

    /// The folder in `crates/` that this file is in.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split_once('/').map(|(name, _)| name)
    }

    /// The path inside its crate.
    pub(crate) fn path_in_crate(&self) -> &str {
        self.path.splitn(3, '/').nth(2).unwrap_or(&self.path)
    }

    /// The file is the root of a library or a program.
    pub(crate) fn is_root(&self) -> bool {
        let path = self.path_in_crate();
        matches!(path, "src/lib.rs" | "src/main.rs") || path.starts_with("src/bin/")
    }

    /// Where the module `name`, declared in this file in the modules `inside`, may be.
    pub(crate) fn child_paths(&self, inside: &[String], name: &str) -> [String; 2] {
        let (folder, own) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let mut base = folder.to_string();
        if !(self.is_root() || own == "mod.rs") {
            base = format!("{base}/{}", own.trim_end_matches(".rs"));
        }
        for module in inside {
            base = format!("{base}/{module}");
        }
        [format!("{base}/{name}.rs"), format!("{base}/{name}/mod.rs")]
    }

    pub(crate) fn finding(
        &self,
        line: usize,
        what: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Finding {
        let (what, remedy) = (what.into(), remedy.into());
        Finding { file: self.path.clone(), line, what, why, remedy }
    }
}

fn read_folder(root: &Path, folder: &str, texts: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !FOLDERS_SKIPPED.contains(&name.as_str()) {
            read_folder(root, &path, texts)?;
        }
        if kind.is_file() && name != "Cargo.lock" && entry.metadata()?.len() <= FILE_BYTES_MAX {
            // What is not UTF-8 is a picture or a binary.
            texts.extend(String::from_utf8(fs::read(entry.path())?).ok().map(|text| (path, text)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
