//! Compiles the demo's compute core into a shared library, which the program embeds and ships to
//! nodes as it ships any other.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::{env, io};

const SOURCE: &str = "src/demo/tracer.c";
const INCLUDE: &str = "../core-abi/include";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed={INCLUDE}/farcall_core.h");
    let library = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("libtracer.so");
    compile(&library).map_err(|error| {
        format!(
            "the demo's compute core, {SOURCE}, was not compiled: {error}; \
             install a C compiler, or name one in CC"
        )
    })?;
    Ok(())
}

/// One call of the compiler: the `cc` crate finds it, but makes static libraries only.
fn compile(library: &Path) -> io::Result<()> {
    let mut build = cc::Build::new();
    // The flags of the debug profile would make the demo crawl.
    build.opt_level(2).debug(false).warnings(false);
    let compiler = build.try_get_compiler().map_err(io::Error::other)?;
    let mut command = compiler.to_command();
    // `-ffp-contract=off`: the same picture to the last bit on every machine.
    command.args(["-std=c99", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]);
    command.args(["-I", INCLUDE, "-o"]).arg(library).args([SOURCE, "-lm"]);
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("the compiler ended with {status}"))),
    }
}
