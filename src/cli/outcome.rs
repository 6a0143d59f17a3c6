//! Shows results to people: how often each outcome was measured.

use std::collections::BTreeMap;

use qspool_driver::Outcome;
use serde::Deserialize;

use super::chart::{Bar, chart};
use super::output::{NAME, styled};

/// As much of a result document as is shown.
#[derive(Debug, Deserialize)]
pub(super) struct ShownResult {
    pub(super) results: Vec<ShownExperiment>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ShownExperiment {
    header: ShownHeader,
    pub(super) data: ShownData,
}

#[derive(Debug, Deserialize)]
struct ShownHeader {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ShownData {
    pub(super) memory: Vec<String>,
}

impl ShownResult {
    /// The result of one experiment that did not become a document.
    pub(super) fn of_outcome(name: &str, outcome: &Outcome) -> Self {
        let shown = |row: &[i64]| row.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
        let rows: Vec<String> = outcome.rows().map(shown).collect();
        let memory = outcome.shots().iter().map(|&shot| rows[shot as usize].clone()).collect();
        let header = ShownHeader { name: name.to_owned() };
        Self { results: vec![ShownExperiment { header, data: ShownData { memory } }] }
    }
}

/// More different outcomes than this are summed up in the last line.
const MOST_BARS: usize = 16;

/// A chart per experiment.
pub(super) fn show(result: &ShownResult) -> String {
    result.results.iter().map(show_experiment).collect::<Vec<_>>().join("\n\n")
}

fn show_experiment(experiment: &ShownExperiment) -> String {
    let memory = &experiment.data.memory;
    let title = styled(NAME, &experiment.header.name);
    if memory.is_empty() {
        return format!("{title}: nothing was measured");
    }
    let mut counts = BTreeMap::<&str, usize>::new();
    for shot in memory {
        *counts.entry(shot).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    let different = counts.len();
    if different > MOST_BARS {
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(MOST_BARS);
    }
    let shots = memory.len();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let bars: Vec<Bar> = counts.iter().map(|(label, count)| bar(label, *count, shots)).collect();
    let rest = match shots - counts.iter().map(|(_, count)| count).sum::<usize>() {
        0 => String::new(),
        rest => format!("\n  and {} more outcomes, {rest} shots", different - MOST_BARS),
    };
    format!("{title}: {shots} shots\n{}{rest}", chart(&bars, real(most)))
}

fn bar(label: &str, count: usize, shots: usize) -> Bar {
    let percent = 100.0 * real(count) / real(shots);
    Bar { label: label.to_owned(), value: real(count), note: format!("{count} ({percent:.1} %)") }
}

#[expect(clippy::cast_precision_loss, reason = "for bars and percentages only")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}
