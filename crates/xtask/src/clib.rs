//! `cargo xtask install-c PREFIX`: the C library where C compilers look for it.
//!
//! | below PREFIX | what |
//! |---|---|
//! | `include/farcall.h` | the header |
//! | `lib/libfarcall.so.0`, `lib/libfarcall.so` | the library, and the name that linkers look for |
//! | `lib/libfarcall.a` | the same, to be linked in |
//! | `lib/pkgconfig/farcall.pc` | what `pkg-config farcall` says |

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::shell::{self, cargo};

/// Programs look for the library under this name: the number changes when they must be compiled anew.
const SONAME: &str = "libfarcall.so.0";

pub(crate) fn install(prefix: &Path, debug: bool) -> anyhow::Result<()> {
    let mut build = cargo(&["build", "-p", "farcall-capi"]);
    if !debug {
        build.arg("--release");
    }
    shell::run(&mut build)?;
    let built = shell::target().join(if debug { "debug" } else { "release" });
    let source = shell::root().join("crates/capi");
    let prefix = std::path::absolute(prefix).context("cannot find this folder")?;
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let package = lib.join("pkgconfig");
    for folder in [&include, &package] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    copy(source.join("include/farcall.h"), include.join("farcall.h"))?;
    copy(built.join("libfarcall.so"), lib.join(SONAME))?;
    copy(built.join("libfarcall.a"), lib.join("libfarcall.a"))?;
    let link = lib.join("libfarcall.so");
    let _ = fs::remove_file(&link);
    symlink(SONAME, &link).with_context(|| format!("cannot link {}", link.display()))?;
    let template = source.join("farcall.pc.in");
    let text = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    let text = text.replace("@PREFIX@", &prefix.display().to_string());
    let text = text.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    let told = package.join("farcall.pc");
    fs::write(&told, text).with_context(|| format!("cannot write {}", told.display()))?;
    eprintln!("xtask: export PKG_CONFIG_PATH={}", package.display());
    Ok(())
}

fn copy(from: PathBuf, to: PathBuf) -> anyhow::Result<()> {
    // A library that running programs have mapped must not change under them.
    let _ = fs::remove_file(&to);
    fs::copy(&from, &to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
