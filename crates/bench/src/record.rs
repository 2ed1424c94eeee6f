//! What a run measured, and how it stands against the floors.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figure::{FIGURES, Figure, Floor, find};

/// Values by figure, one a round, and the fate of the figures without.
#[derive(Debug, Default)]
pub struct Record {
    values: BTreeMap<&'static str, Vec<f64>>,
    fates: BTreeMap<&'static str, Fate>,
}

/// Why a figure has no values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "fate", content = "why")]
pub enum Fate {
    /// Its subject is not here.
    Skipped(String),
    /// Its subject is, and did not do what was asked.
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Holds,
    Missed,
    /// It has a floor, but it or its reference has no values.
    Unknown,
    NoFloor,
}

/// The middle and the ends of some rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, min, max })
    }
}

impl Record {
    /// One round's values, in the order of `figures`.
    pub fn add(&mut self, figures: &[&'static str], values: &[f64]) {
        assert_eq!(figures.len(), values.len(), "one value for each of {figures:?}");
        for (&name, &value) in figures.iter().zip(values) {
            self.values.entry(find(name).name).or_default().push(value);
        }
    }

    /// The figures have no values, or no longer: half a series is none.
    pub fn leave_out(&mut self, figures: &[&'static str], fate: Fate) {
        for &name in figures {
            self.values.remove(find(name).name);
            self.fates.insert(name, fate.clone());
        }
    }

    pub fn is_measured(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub fn values(&self, name: &str) -> &[f64] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn fate(&self, name: &str) -> Option<&Fate> {
        self.fates.get(name)
    }

    /// The figures this run was about, in the order of the table.
    pub fn figures(&self) -> impl Iterator<Item = &'static Figure> {
        FIGURES.iter().filter(|figure| {
            self.values.contains_key(figure.name) || self.fates.contains_key(figure.name)
        })
    }

    pub fn summary(&self, name: &str) -> Option<Summary> {
        Summary::of(self.values(name).to_vec())
    }

    /// The figure divided by its reference of the same round, of every round.
    pub fn ratio(&self, figure: &Figure) -> Option<Summary> {
        let references = self.values(figure.reference?);
        let rounds = self.values(figure.name).iter().zip(references);
        Summary::of(rounds.map(|(value, reference)| value / reference).collect())
    }

    /// The figure less so many times its reference of the same round, of every round.
    pub fn more(&self, figure: &Figure, times: f64) -> Option<Summary> {
        let references = self.values(figure.reference?);
        let rounds = self.values(figure.name).iter().zip(references);
        Summary::of(rounds.map(|(value, reference)| value - times * reference).collect())
    }

    pub fn verdict(&self, figure: &Figure) -> Verdict {
        let median = self.summary(figure.name).map(|summary| summary.median);
        let ratio = self.ratio(figure).map(|summary| summary.median);
        let holds = match figure.floor {
            None => return Verdict::NoFloor,
            Some(Floor::RatioAtMost(most)) => ratio.map(|ratio| ratio <= most),
            Some(Floor::RatioAtLeast(least)) => ratio.map(|ratio| ratio >= least),
            Some(Floor::AtMost(most)) => median.map(|median| median <= most),
            Some(Floor::AtLeast(least)) => median.map(|median| median >= least),
            Some(Floor::MoreAtMost(most)) => self.more(figure, 1.0).map(|more| more.median <= most),
            Some(Floor::MoreThanRatioAtMost(times, most)) => {
                self.more(figure, times).map(|more| more.median <= most)
            }
        };
        match holds {
            Some(true) => Verdict::Holds,
            Some(false) => Verdict::Missed,
            None => Verdict::Unknown,
        }
    }

    /// A measurement was tried and did not end well.
    pub fn has_failures(&self) -> bool {
        self.fates.values().any(|fate| matches!(fate, Fate::Failed(_)))
    }

    /// Every floor of this run's figures was measured and holds.
    pub fn floors_hold(&self) -> bool {
        self.figures()
            .all(|figure| matches!(self.verdict(figure), Verdict::Holds | Verdict::NoFloor))
    }
}

#[cfg(test)]
mod tests;
