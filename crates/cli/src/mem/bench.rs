//! `farcall mem bench`: how fast shared memory is here, measured as a program would use it.
//!
//! One operation after the other, each from the call to its return; then as many at once as a batch
//! has. What floors there are, `cargo xtask bench memory` checks: this says what a user gets.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use client::Cluster;
use client::memory::{Read, Region, RegionOptions};
use serde_json::{Value, json};

use super::place;
use super::regions::Kept;
use crate::cluster::{self, Nodes};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::status::{row, table, trimmed};
use crate::terminal;

/// Operations that are under way at once in a batch.
const BATCH: u64 = 64;
/// Pages of a transaction.
const TRANSACTION: u64 = 3;

/// Measure how fast shared memory is here
///
/// Without a name, in a region that is made for it and dropped afterwards: on the nodes that are named,
/// or the node of this user, or else one that is started here for as long as it takes. With the name of
/// a region, only by reading it: nothing in it is changed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem bench                        on a node started here, over a Unix socket
  farcall mem bench --tls                  the same over TCP and TLS
  farcall mem bench --nodes host-a         across the network
  farcall mem bench --durability sync      with each commit on the disk
  farcall mem bench genes                  reads of your own region
  farcall mem bench --json | jq '.measures[] | {what, p50_us}'")]
pub(crate) struct Bench {
    /// A region to be read; without it, one is made and dropped
    #[arg(value_name = "NAME", value_parser = place::region)]
    name: Option<String>,
    #[command(flatten)]
    nodes: Nodes,
    /// Start a node here, whatever nodes there are
    #[arg(long, conflicts_with_all = ["nodes", "name"])]
    local: bool,
    /// Start a node here, and reach it over TCP and TLS
    #[arg(long, conflicts_with_all = ["nodes", "name"])]
    tls: bool,
    /// How often each operation is done
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    rounds: u64,
    /// Bytes of a page of the region that is made
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "4096",
        value_parser = place::page_size,
        conflicts_with = "name"
    )]
    page_size: u32,
    /// What outlives the node of the region that is made
    #[arg(long, value_enum, default_value_t = Kept::None, conflicts_with = "name")]
    durability: Kept,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One row: what was done, and how long each time took.
struct Measure {
    what: String,
    took: Vec<Duration>,
    /// From the first to the last, where several were under way at once.
    whole: Option<(u64, Duration)>,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (cluster, reached) = self.cluster()?;
        // Before there is a region: Ctrl-C leaves none behind either.
        let interrupt = Interrupt::watch(&cluster).context("cannot watch for Ctrl-C")?;
        let (region, is_ours) = match &self.name {
            Some(name) => (cluster.memory(name)?, false),
            None => (self.scratch(&cluster)?, true),
        };
        let measured = self.measure(&region, is_ours, &interrupt);
        if is_ours {
            let name = format!("{}@{}", region.name(), region.node());
            let dropped = cluster.drop_memory(&name);
            // What was wrong first is what is told.
            if measured.is_ok() {
                dropped?;
            }
        }
        if interrupt.is_set() {
            return Ok(Interrupt::status());
        }
        let measures = measured?;
        let text = if self.json {
            terminal::json_line(&in_json(&region, &reached, &measures))
        } else {
            in_table(&region, &reached, &measures)
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Who is measured, and how it is reached, in words.
    fn cluster(&self) -> anyhow::Result<(Cluster, String)> {
        let here = "a node started here for this";
        if self.tls {
            let cluster = cluster::local()?.tls().start()?;
            return Ok((cluster, format!("{here}, over TCP and TLS")));
        }
        let mut named = self.nodes.named()?;
        if let (true, Ok(own)) = (named.is_empty(), crate::status::own_node()) {
            named.push(own);
        }
        if self.local || (named.is_empty() && self.name.is_none()) {
            let cluster = cluster::local()?.start()?;
            return Ok((cluster, format!("{here}, over a Unix socket")));
        }
        let cluster = place::cluster(&self.nodes)?;
        Ok((cluster, named.join(", ")))
    }

    fn scratch(&self, cluster: &Cluster) -> anyhow::Result<Region> {
        let name = format!("bench-{:016x}", transport::random_u64());
        let pages = self.rounds.max(BATCH);
        let options = RegionOptions::new(pages)
            .page_size(self.page_size)
            .durability(self.durability.durability())
            .private();
        Ok(cluster.create_memory(&name, &options)?)
    }

    fn measure(
        &self,
        region: &Region,
        may_write: bool,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Measure>> {
        let kinds = if may_write { 9 } else { 4 };
        let progress = Progress::new("bench", Some(kinds * self.rounds));
        let mut bench = Rounds { rounds: self.rounds, progress, interrupt, measures: Vec::new() };
        let size = region.page_size();
        let bytes = vec![0x5a; size];
        let pages = region.pages();

        // Each page is new to this client, so its bytes travel; then none of them is.
        bench.each(format!("read, {size} bytes"), |round| {
            region.page(round % pages).read()?;
            Ok(())
        })?;
        bench.each("read, unchanged".to_owned(), |_| {
            region.page(0).read()?;
            Ok(())
        })?;
        let max_age = Duration::from_secs(1);
        bench.each("read, cached for 1 s".to_owned(), |_| {
            region.page(0).read_as(Read::Cached { max_age })?;
            Ok(())
        })?;
        bench.batches("read, unchanged", |first| {
            let begin = |page: u64| region.page(page % pages).begin_read();
            let begun: Vec<_> = (first..first + BATCH).map(begin).collect();
            for read in begun {
                read.wait()?;
            }
            Ok(())
        })?;
        if !may_write {
            bench.progress.finish();
            return Ok(bench.measures);
        }
        bench.each(format!("update, {size} bytes"), |round| {
            region.page(round % pages).update(0, &bytes)?;
            Ok(())
        })?;
        bench.each("update, 8 bytes".to_owned(), |round| {
            region.page(round % pages).update(0, &bytes[..8])?;
            Ok(())
        })?;
        bench.each("lock, unlock".to_owned(), |_| Ok(region.page(0).lock()?.rollback()?))?;
        bench.each(format!("transaction, {TRANSACTION} pages"), |round| {
            region.transact(|tx| {
                for page in round..round + TRANSACTION {
                    let byte = tx.read(page % pages)?.first().copied().unwrap_or_default();
                    tx.write(page % pages, 0, &[byte.wrapping_add(1)])?;
                }
                Ok(())
            })
        })?;
        bench.batches("update, 8 bytes", |first| {
            let begin = |page: u64| region.page(page % pages).begin_update(0, &bytes[..8]);
            let begun: Vec<_> = (first..first + BATCH).map(begin).collect();
            for update in begun {
                update.wait()?;
            }
            Ok(())
        })?;
        bench.progress.finish();
        Ok(bench.measures)
    }
}

struct Rounds<'a> {
    rounds: u64,
    progress: Progress,
    interrupt: &'a Interrupt,
    measures: Vec<Measure>,
}

impl Rounds<'_> {
    fn go_on(&self) -> anyhow::Result<()> {
        if self.interrupt.is_set() { bail!("interrupted") } else { Ok(()) }
    }

    /// One after the other.
    fn each(
        &mut self,
        what: String,
        mut act: impl FnMut(u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut took = Vec::with_capacity(usize::try_from(self.rounds).context("so many rounds")?);
        for round in 0..self.rounds {
            self.go_on()?;
            let began = Instant::now();
            act(round)?;
            took.push(began.elapsed());
            self.progress.one_more();
        }
        took.sort_unstable();
        self.measures.push(Measure { what, took, whole: None });
        Ok(())
    }

    /// So many at once, again and again.
    fn batches(
        &mut self,
        what: &str,
        mut act: impl FnMut(u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let batches = self.rounds.div_ceil(BATCH);
        let began = Instant::now();
        let mut took = Vec::new();
        for batch in 0..batches {
            self.go_on()?;
            let began = Instant::now();
            act(batch * BATCH)?;
            took.push(began.elapsed());
            for _ in 0..BATCH.min(self.rounds - batch * BATCH) {
                self.progress.one_more();
            }
        }
        let whole = Some((batches * BATCH, began.elapsed()));
        took.sort_unstable();
        self.measures.push(Measure { what: format!("{what}, {BATCH} at once"), took, whole });
        Ok(())
    }
}

impl Measure {
    /// The time that this share of the operations did not exceed.
    fn at(&self, share: f64) -> Duration {
        let last = self.took.len().saturating_sub(1);
        let at = (self.took.len() as f64 * share).ceil() as usize;
        self.took.get(at.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        let (count, time) = self.whole.unwrap_or((self.took.len() as u64, self.took.iter().sum()));
        count as f64 / time.as_secs_f64().max(1e-9)
    }
}

fn in_table(region: &Region, reached: &str, measures: &[Measure]) -> String {
    let mut all = table(&["WHAT", "P50", "P99", "A SECOND"], 1..4);
    for measure in measures {
        // A batch's time is not an operation's.
        let time = |share| match measure.whole {
            None => spell(measure.at(share)),
            Some(_) => "-".to_owned(),
        };
        row(&mut all, [&measure.what, &time(0.5), &time(0.99), &thousands(measure.rate())]);
    }
    let head = format!("{} on {} ({reached})", region.name(), region.node());
    let rounds = measures.first().map_or(0, |measure| measure.took.len());
    format!(
        "{}\n\n{}\neach {rounds} times, one after the other unless it says otherwise\n",
        terminal::tame_line(&head),
        trimmed(&all.to_string())
    )
}

/// `85 ns`, `17.3 µs`, `4.20 ms`.
fn spell(span: Duration) -> String {
    match span.as_nanos() {
        nanos if nanos < 1000 => format!("{nanos} ns"),
        nanos if nanos < 1_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        nanos => format!("{:.2} ms", nanos as f64 / 1e6),
    }
}

/// `1,234,567`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn in_json(region: &Region, reached: &str, measures: &[Measure]) -> Value {
    let micros = |span: Duration| span.as_nanos() as f64 / 1e3;
    let measure = |measure: &Measure| {
        let is_single = measure.whole.is_none();
        json!({
            "what": measure.what,
            "p50_us": is_single.then(|| micros(measure.at(0.5))),
            "p99_us": is_single.then(|| micros(measure.at(0.99))),
            "per_second": measure.rate(),
        })
    };
    json!({
        "name": region.name(),
        "node": region.node(),
        "reached": reached,
        "page_size": region.page_size(),
        "measures": measures.iter().map(measure).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
