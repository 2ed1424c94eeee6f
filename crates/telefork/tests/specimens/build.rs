//! Makes programs of sources, once for each content: what was made is kept in the build folder.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use crate::table::Specimen;

/// How a specimen is started: a program and its first arguments.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub command: Vec<OsString>,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specimens").canonicalize().unwrap()
}

/// `None`, and a word about it, where this machine lacks what the specimen is made or run with.
pub(crate) fn built(specimen: &Specimen) -> Option<Built> {
    type Slot = Arc<OnceLock<Option<Built>>>;
    static ALL: LazyLock<Mutex<HashMap<&'static str, Slot>>> = LazyLock::new(Mutex::default);
    let slot = ALL.lock().unwrap().entry(specimen.source).or_default().clone();
    slot.get_or_init(|| build(specimen)).clone()
}

fn build(specimen: &Specimen) -> Option<Built> {
    let source = folder().join(specimen.source);
    let kind = source.extension().unwrap().to_str().unwrap();
    let words: &[&str] = match kind {
        "c" => {
            &["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"]
        }
        "cpp" => &["c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"],
        "rs" => &["rustc", "--edition=2024", "-O", "-Dwarnings"],
        "go" => &["go", "build"],
        "java" => &["javac", "-Xlint:all", "-Werror"],
        "py" => return interpreted("python3", &source),
        "sh" => return interpreted("bash", &source),
        _ => panic!("{}: nobody knows how to build it", source.display()),
    };
    if !is_there(words[0]) || kind == "java" && !is_there("java") {
        eprintln!("skipped: {}: this machine has no {}", specimen.source, words[0]);
        return None;
    }
    let made = make(words, &source, kind == "java");
    Some(if kind == "java" {
        let class = source.file_stem().unwrap().to_owned();
        // Its counters for other tools lie in a file that it maps shared, which does not travel; and now and then
        // it has files of the kernel open, of its control group.
        let options = ["java", "-Xmx64m", "-XX:-UsePerfData", "-XX:-UseContainerSupport", "-cp"]
            .map(OsString::from);
        Built { command: [&options[..], &[made.into(), class]].concat() }
    } else {
        Built { command: vec![made.into()] }
    })
}

fn interpreted(interpreter: &str, source: &Path) -> Option<Built> {
    if !is_there(interpreter) {
        eprintln!("skipped: {}: this machine has no {interpreter}", source.display());
        return None;
    }
    Some(Built { command: vec![interpreter.into(), source.into()] })
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A program, or a folder of what was made, named for the content of all that it was made of.
fn make(words: &[&str], source: &Path, into_folder: bool) -> PathBuf {
    let mut content = DefaultHasher::new();
    words.hash(&mut content);
    fs::read(source).unwrap().hash(&mut content);
    fs::read(folder().join("specimen.h")).unwrap().hash(&mut content);
    let stem = source.file_stem().unwrap().to_str().unwrap();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("specimens");
    let made = kept.join(format!("{stem}-{:016x}", content.finish()));
    if made.exists() {
        return made;
    }
    fs::create_dir_all(&kept).unwrap();
    let place = tempfile::tempdir_in(&kept).unwrap();
    let new = place.path().join("new");
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    if into_folder {
        command.arg("-d").arg(&new);
    } else {
        command.arg("-o").arg(&new);
    }
    command.arg(source).env("GOCACHE", kept.join("go")).env("GO111MODULE", "off");
    if words.contains(&"-std=gnu11") {
        // A library that only some need, and whose absence is a subject of another.
        command.args(["-Wl,--as-needed", "-lm"]);
    }
    let said = command.output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{}: {words}", source.display());
    // Whoever is first has made it; what another has made meanwhile is the same.
    if fs::rename(&new, &made).is_err() {
        assert!(made.exists(), "{} was not kept", made.display());
    }
    made
}
