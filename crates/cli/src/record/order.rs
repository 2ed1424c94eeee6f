//! What a job was told to do: enough to do it again.

mod any_path;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// A job as it was asked for. Paths are absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    #[serde(with = "any_path")]
    pub(crate) library: PathBuf,
    /// BLAKE3, in hexadecimal digits.
    pub(crate) library_hash: String,
    pub(crate) inputs: Source,
    #[serde(with = "any_path::or_none")]
    pub(crate) out: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) memory: Option<u64>,
    pub(crate) retries: Option<u32>,
    /// As they were named; none for nodes of its own.
    pub(crate) nodes: Vec<String>,
    /// The job that this one is to make good.
    pub(crate) again: Option<String>,
}

/// Where inputs come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A task for each file.
    Files(Vec<Known>),
    /// A task for each line, or for the lines of these numbers, from 1.
    Lines { file: Known, chosen: Option<Vec<u64>> },
    /// A task for each line of standard input, which cannot be read again.
    Stdin,
    /// Inputs that were kept since they could not be had again: files in a folder, named by the
    /// numbers of their lines.
    Kept {
        #[serde(with = "any_path")]
        folder: PathBuf,
        lines: Vec<u64>,
    },
}

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    #[serde(with = "any_path")]
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Nanoseconds since 1970, as far as the file system tells.
    pub(crate) modified: u64,
}

/// What has become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    Same,
    Changed,
    Gone,
}

impl Known {
    pub(crate) fn see(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let seen = fs::metadata(&path).ok();
        let bytes = seen.as_ref().map_or(0, fs::Metadata::len);
        let modified = seen.and_then(|seen| seen.modified().ok());
        let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |since| since.as_nanos() as u64);
        Self { path, bytes, modified }
    }

    pub(crate) fn now(&self) -> Now {
        if fs::metadata(&self.path).is_err() {
            return Now::Gone;
        }
        if Self::see(&self.path) == *self { Now::Same } else { Now::Changed }
    }
}

impl Source {
    pub(crate) fn of_files(files: &[PathBuf]) -> Self {
        Self::Files(files.iter().map(|path| Known::see(path)).collect())
    }

    pub(crate) fn of_lines(file: &Path) -> Self {
        let is_file = file != Path::new("-") && fs::metadata(file).is_ok_and(|seen| seen.is_file());
        if is_file { Self::Lines { file: Known::see(file), chosen: None } } else { Self::Stdin }
    }

    /// Whether inputs can be had again. Others are kept, of the tasks that fail.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Files(_) | Self::Lines { .. })
    }

    /// What the input of a task is called. Tasks are numbered from 1.
    pub(crate) fn name(&self, task: u64) -> Option<String> {
        let index = usize::try_from(task.checked_sub(1)?).ok()?;
        Some(match self {
            Self::Files(files) => files.get(index)?.path.display().to_string(),
            Self::Lines { file, chosen } => {
                let line = chosen.as_ref().map_or(Some(task), |lines| lines.get(index).copied())?;
                format!("line {line} of {}", file.path.display())
            }
            Self::Stdin => format!("line {task} of standard input"),
            Self::Kept { lines, .. } => format!("line {} of standard input", lines.get(index)?),
        })
    }
}
