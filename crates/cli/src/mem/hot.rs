//! `farcall mem hot`: which pages have the traffic, who holds them, and who waits.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use client::memory::{HotPage, Region};
use serde_json::{Value, json};

use super::forms;
use super::place::Place;
use crate::status::{row, table, trimmed};
use crate::terminal;
use crate::values;

/// Letters of the longest bar.
const BAR: u64 = 24;
/// Holders that are named.
const NAMED: usize = 3;

/// Show the pages with most traffic, who holds them and who waits
///
/// For each page its commits, or in a coherent region how often it went from one session to another
/// (a page that bounces): since the region was opened, and with --every in a second. The bar compares
/// the pages with one another.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall mem hot genes
  farcall mem hot genes --every 1s              again and again, until Ctrl-C
  farcall mem hot genes --json | jq '.pages[0]'")]
pub(crate) struct Hot {
    #[command(flatten)]
    place: Place,
    /// How many pages
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    top: u32,
    /// Look again after each such time, like 1s
    #[arg(long, value_name = "TIME", value_parser = every)]
    every: Option<Duration>,
    /// With --every: end after so many looks
    #[arg(long, value_name = "N", requires = "every")]
    count: Option<u64>,
    /// Print a JSON object for each look
    #[arg(long)]
    json: bool,
}

/// Reads how often to look: not so often that looking is the traffic.
fn every(text: &str) -> Result<Duration, String> {
    let every = values::duration(text)?;
    let fits = (Duration::from_millis(10)..=Duration::from_hours(24)).contains(&every);
    if fits { Ok(every) } else { Err("look again after 10ms to 24h".to_owned()) }
}

/// What was seen the time before.
struct Before {
    at: Instant,
    traffic: HashMap<u64, u64>,
}

impl Hot {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (_cluster, region) = self.place.open()?;
        let redraws = self.every.is_some() && !self.json && terminal::stdout_is_alive();
        let looks = match self.every {
            None => 1,
            Some(_) => self.count.unwrap_or(u64::MAX),
        };
        let mut before = None;
        for look in 0..looks {
            if let (Some(every), true) = (self.every, look > 0) {
                std::thread::sleep(every);
            }
            let pages = region.hot(self.top)?;
            let now = Instant::now();
            let text = if self.json {
                terminal::json_line(&in_json(&region, &pages))
            } else {
                in_table(&region, &pages, before.as_ref(), now)
            };
            // Home, then clear to the end: nothing flickers, and what scrolled by stays.
            let steer = if redraws { "\u{1b}[H\u{1b}[J" } else { "" };
            let between = if look > 0 && !redraws && !self.json { "\n" } else { "" };
            if !forms::put(format!("{steer}{between}{text}").as_bytes())? {
                break;
            }
            let traffic = pages.iter().map(|page| (page.page.0, page.traffic)).collect();
            before = Some(Before { at: now, traffic });
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn in_table(region: &Region, pages: &[HotPage], before: Option<&Before>, now: Instant) -> String {
    let head = terminal::tame_line(&format!("{} on {}", region.name(), region.node()));
    if pages.is_empty() {
        return format!("{head}: no page has had any traffic yet\n");
    }
    let what = if region.is_coherent() { "MOVES" } else { "COMMITS" };
    // A rate once there is something to compare with: the bar is what happens now.
    let measures: Vec<f64> = pages.iter().map(|page| measure(page, before, now)).collect();
    let most = measures.iter().copied().fold(0.0, f64::max);
    let mut all = table(&["PAGE", what, "A SECOND", "WAITING", "HELD BY", ""], 0..4);
    for (page, &measure) in pages.iter().zip(&measures) {
        let rate = if before.is_some() { format!("{measure:.0}") } else { "-".to_owned() };
        let (number, traffic) = (page.page.0.to_string(), page.traffic.to_string());
        let (waiting, held) = (page.waiting.to_string(), holders(page));
        let bar = bar(measure, most);
        row(&mut all, [&number, &traffic, &rate, &waiting, &held, &bar]);
    }
    format!("{head}\n\n{}", trimmed(&all.to_string()))
}

fn measure(page: &HotPage, before: Option<&Before>, now: Instant) -> f64 {
    let Some(before) = before else { return page.traffic as f64 };
    // A page that was not among the hot ones had at most what it has now.
    let earlier = before.traffic.get(&page.page.0).copied().unwrap_or(page.traffic);
    let seconds = (now - before.at).as_secs_f64();
    page.traffic.saturating_sub(earlier) as f64 / seconds.max(1e-3)
}

/// As long as its share of the most; whatever is there at all can be seen.
fn bar(measure: f64, most: f64) -> String {
    if measure <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let letters = (measure / most * BAR as f64).round().max(1.0);
    "#".repeat(letters as usize)
}

/// Who has the page: names of certificates, and the sessions where one name has several.
fn holders(page: &HotPage) -> String {
    if page.holders.is_empty() {
        return "nobody".to_owned();
    }
    let named = page.holders.iter().take(NAMED);
    let mut text: Vec<String> =
        named.map(|(name, session)| format!("{name}/{:04x}", session.0 & 0xffff)).collect();
    let more = page.holders.len().saturating_sub(NAMED);
    if more > 0 {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}

fn in_json(region: &Region, pages: &[HotPage]) -> Value {
    let page = |page: &HotPage| {
        json!({
            "page": page.page.0,
            "traffic": page.traffic,
            "waiting": page.waiting,
            "holders": page.holders.iter().map(|(name, session)| json!({
                "name": name.as_str(),
                "session": format!("{:016x}", session.0),
            })).collect::<Vec<_>>(),
        })
    };
    json!({
        "name": region.name(),
        "node": region.node(),
        "pages": pages.iter().map(page).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
