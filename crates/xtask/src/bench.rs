//! `cargo xtask bench`: the benchmark and the `farcall` it measures, both optimised; or, for `scale`,
//! the machines alone in a large cluster.

use crate::shell::{self, cargo};

/// Builds, then becomes the benchmark. Returns only if that cannot start.
pub(crate) fn hand_over(name_and_options: &[String]) -> anyhow::Result<()> {
    if let [name, options @ ..] = name_and_options
        && name == "scale"
    {
        let example = ["run", "--quiet", "--release", "-p", "farcall-sim", "--example", "scale"];
        let mut scale = cargo(&example);
        return shell::hand_over(scale.arg("--").args(options)).map(|never| match never {});
    }
    let programs = ["build", "--release", "-p", "farcall-cli", "-p", "farcall-bench"];
    shell::run(&mut cargo(&programs))?;
    let mut bench = cargo(&["run", "--quiet", "--release", "-p", "farcall-bench", "--"]);
    shell::hand_over(bench.args(name_and_options)).map(|never| match never {})
}
