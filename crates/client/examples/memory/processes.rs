//! A node and some processes for an example: the program starts itself again.

use std::error::Error;
use std::process::Command;

use farcall::{Cluster, Region, RegionOptions};

/// What the program was started with.
pub(crate) struct Stage {
    pub(crate) numbers: Vec<usize>,
    /// It is one of the processes.
    pub(crate) child: Option<Child>,
}

pub(crate) struct Child {
    pub(crate) region: Region,
    pub(crate) number: usize,
    pub(crate) parties: usize,
    _cluster: Cluster,
}

/// Numbers of the command line, with these where there are none; or a process' part.
pub(crate) fn stage(usual: &[usize]) -> Stage {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let at = words.iter().position(|word| word == "--part").unwrap_or(words.len());
    let number = |text: &String| text.parse().unwrap_or_else(|_| panic!("{text} is no number"));
    let mut numbers: Vec<usize> = words[..at].iter().map(number).collect();
    numbers.extend(usual.iter().skip(numbers.len()));
    let child = (at < words.len()).then(|| {
        let [address, name, me, parties] = &words[at + 1..] else { panic!("no part: {words:?}") };
        let cluster = Cluster::connect([address]).unwrap_or_else(|error| panic!("{error}"));
        let region = cluster.memory(name).unwrap_or_else(|error| panic!("{error}"));
        Child { region, number: number(me), parties: number(parties), _cluster: cluster }
    });
    Stage { numbers, child }
}

/// A coherent region of a node on this machine, or of the cluster that FARCALL_NODES names.
pub(crate) fn region(
    name: &str,
    options: &RegionOptions,
) -> Result<(Cluster, Region), Box<dyn Error>> {
    let cluster = Cluster::from_env()?;
    let region = cluster.create_memory(name, options)?;
    Ok((cluster, region))
}

/// Starts so many processes, each with its part, and waits for all.
pub(crate) fn run(
    region: &Region,
    parties: usize,
    numbers: &[usize],
) -> Result<(), Box<dyn Error>> {
    let address = region.target().to_string();
    let mut children = Vec::new();
    for me in 0..parties {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(numbers.iter().map(usize::to_string)).args(["--part", &address]);
        command.args([region.name(), &me.to_string(), &parties.to_string()]);
        children.push(command.spawn()?);
    }
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("a process ended with {status}").into());
        }
    }
    Ok(())
}
