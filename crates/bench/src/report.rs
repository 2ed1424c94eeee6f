//! A run's record for people (a table) and for programs (JSON). It decides nothing.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::figure::{Figure, Floor, Unit, find};
use crate::record::{Fate, Record, Summary, Verdict};
use crate::setting::Effort;

pub use machine::Machine;

mod machine;

/// The table, what is missing from it and why, and how to read it.
pub fn table(record: &Record, effort: Effort, machine: &Machine) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["what", "measured", "min – max", "reference", "ratio", "floor", "holds"]);
    for figure in record.figures() {
        table.add_row(row(record, figure));
    }
    for index in 1..6 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n{}{}", missing(record), notes(record, effort, machine))
}

/// A line for each reason, with the figures it took.
fn missing(record: &Record) -> String {
    let mut reasons: Vec<(&Fate, Vec<&str>)> = Vec::new();
    for figure in record.figures() {
        let Some(fate) = record.fate(figure.name) else { continue };
        match reasons.iter_mut().find(|(other, _)| *other == fate) {
            Some((_, names)) => names.push(figure.name),
            None => reasons.push((fate, vec![figure.name])),
        }
    }
    let line = |(fate, names): &(&Fate, Vec<&str>)| match fate {
        Fate::Skipped(why) => format!("SKIPPED: {why}: {}\n", names.join(", ")),
        Fate::Failed(why) => format!("FAILED: {why}: {}\n", names.join(", ")),
    };
    reasons.iter().map(line).collect()
}

/// How the table is to be read.
fn notes(record: &Record, effort: Effort, machine: &Machine) -> String {
    let mut text = format!(
        "Medians of {} rounds (latency: {} short ones) in which the subjects take turns; a ratio \
         is the median of the rounds' ratios.\n",
        effort.rounds, effort.latency_rounds
    );
    if record.summary("raw.tcp.p50").is_some_and(|raw| raw.max > 2.0 * raw.min) {
        text += "raw TCP was more than twice as slow in some rounds as in others: its two ends \
                 shared a core in some and woke each other across cores in the rest.\n";
    }
    if effort.rounds < Effort::FULL.rounds {
        text += "A quick run: counts and rounds are too small to judge the floors by.\n";
    }
    format!("{text}{machine}\n")
}

fn row(record: &Record, figure: &Figure) -> [String; 7] {
    let unit = figure.unit;
    let (measured, spread) = match (record.summary(figure.name), record.fate(figure.name)) {
        (Some(Summary { median, min, max }), _) => {
            (amount(median, unit), format!("{} – {}", number(min, unit), number(max, unit)))
        }
        (None, Some(Fate::Failed(_))) => ("failed".to_owned(), String::new()),
        (None, _) => ("skipped".to_owned(), String::new()),
    };
    let reference = figure.reference.and_then(|name| {
        Some(format!("{} {}", name, number(record.summary(name)?.median, find(name).unit)))
    });
    let ratio = record.ratio(figure).map(|ratio| format!("{:.2}×", ratio.median));
    let verdict = match record.verdict(figure) {
        Verdict::Holds => "yes",
        Verdict::Missed => "NO",
        Verdict::Unknown => "?",
        Verdict::NoFloor => "",
    };
    [
        figure.what.to_owned(),
        measured,
        spread,
        reference.unwrap_or_default(),
        ratio.unwrap_or_default(),
        figure.floor.map(|floor| bound(floor, unit)).unwrap_or_default(),
        verdict.to_owned(),
    ]
}

fn bound(floor: Floor, unit: Unit) -> String {
    match floor {
        Floor::RatioAtMost(ratio) => format!("≤ {ratio}×"),
        Floor::RatioAtLeast(ratio) => format!("≥ {ratio}×"),
        Floor::AtMost(most) => format!("≤ {}", amount(most, unit)),
        Floor::AtLeast(least) => format!("≥ {}", amount(least, unit)),
        Floor::MoreAtMost(most) => format!("≤ + {}", amount(most, unit)),
        Floor::MoreThanRatioAtMost(ratio, most) => format!("≤ {ratio}× + {}", amount(most, unit)),
    }
}

fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds => format!("{} µs", number(value, unit)),
        Unit::PerSecond => format!("{} /s", number(value, unit)),
        Unit::Nanoseconds => format!("{} ns", number(value, unit)),
        Unit::Bytes => format!("{} B", number(value, unit)),
        Unit::Count => number(value, unit),
    }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds | Unit::Count => format!("{value:.2}"),
        Unit::Nanoseconds => format!("{value:.1}"),
        Unit::PerSecond | Unit::Bytes => grouped(value.round() as u64),
    }
}

/// Digits in groups of three: `1,000,000`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Everything of the table, with the value of every round.
pub fn json(record: &Record, effort: Effort, machine: &Machine) -> String {
    let figures = record
        .figures()
        .map(|figure| Entry {
            figure,
            values: record.values(figure.name),
            summary: record.summary(figure.name),
            ratio: record.ratio(figure),
            verdict: record.verdict(figure),
            missing: record.fate(figure.name),
        })
        .collect();
    let document = Document { machine, effort, figures };
    serde_json::to_string_pretty(&document).expect("strings and finite numbers")
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Machine,
    effort: Effort,
    figures: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    values: &'a [f64],
    #[serde(flatten)]
    summary: Option<Summary>,
    ratio: Option<Summary>,
    verdict: Verdict,
    missing: Option<&'a Fate>,
}

#[cfg(test)]
mod tests;
