//! What a command is about: a region, pages of it, and the nodes that are asked.

use std::time::Duration;

use clap::Args;
use client::Cluster;
use client::memory::Region;
use wire::limits::{PAGE_SIZE_MAX, PAGE_SIZE_MIN, PAGES_MAX};
use wire::name::Name;

use crate::cluster::Nodes;
use crate::values;

/// How long nodes may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// One region of the cluster.
#[derive(Args)]
pub(crate) struct Place {
    /// The region's name; NAME@NODE where several nodes have one of this name
    #[arg(value_name = "NAME", value_parser = region)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

impl Place {
    pub(crate) fn open(&self) -> anyhow::Result<(Cluster, Region)> {
        let cluster = cluster(&self.nodes)?;
        let region = cluster.memory(&self.name)?;
        Ok((cluster, region))
    }
}

/// The nodes that are named, or the node of this user on this machine: a region outlives the command,
/// so a node that is started for the command alone would be of no use.
pub(crate) fn cluster(nodes: &Nodes) -> anyhow::Result<Cluster> {
    let mut named = nodes.named()?;
    if named.is_empty() {
        named.push(crate::status::own_node()?);
    }
    Ok(Cluster::connect(&named)?)
}

/// Reads NAME or NAME@NODE.
pub(crate) fn region(text: &str) -> Result<String, String> {
    let (name, node) = match text.split_once('@') {
        Some((name, node)) => (name, Some(node)),
        None => (text, None),
    };
    name.parse::<Name>().map_err(|error| error.to_string())?;
    node.map_or(Ok(()), |node| node.parse::<Name>().map(drop)).map_err(|e| e.to_string())?;
    Ok(text.to_owned())
}

/// Reads the number of a page.
pub(crate) fn page(text: &str) -> Result<u64, String> {
    let wrong = || format!("pages have numbers from 0 to {}", PAGES_MAX - 1);
    text.parse().ok().filter(|&page| page < PAGES_MAX).ok_or_else(wrong)
}

/// Reads how many pages there are to be.
pub(crate) fn pages(text: &str) -> Result<u64, String> {
    let wrong = || format!("a region has from 1 to {PAGES_MAX} pages");
    text.parse().ok().filter(|&pages| (1..=PAGES_MAX).contains(&pages)).ok_or_else(wrong)
}

/// Reads the size of a page.
pub(crate) fn page_size(text: &str) -> Result<u32, String> {
    let size = values::size(text)?;
    let fits = u32::try_from(size)
        .ok()
        .filter(|size| size.is_power_of_two() && (PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(size));
    fits.ok_or_else(|| {
        format!("a page has a power of two of bytes, from {PAGE_SIZE_MIN} to {PAGE_SIZE_MAX}")
    })
}

/// Pages from `first` on, both ends included; no end: up to the region's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: Option<u64>,
}

impl Span {
    pub(crate) const ALL: Self = Self { first: 0, last: None };
}

/// Reads `7`, `0-99` or `100-`.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("write pages as 7, 0-99 or 100-, each below {PAGES_MAX}");
    let number = |text: &str| page(text).map_err(|_| wrong());
    let span = match text.split_once('-') {
        None => number(text).map(|page| Span { first: page, last: Some(page) })?,
        Some((first, "")) => Span { first: number(first)?, last: None },
        Some((first, last)) => Span { first: number(first)?, last: Some(number(last)?) },
    };
    if span.last.is_some_and(|last| last < span.first) { Err(wrong()) } else { Ok(span) }
}

#[cfg(test)]
mod tests;
