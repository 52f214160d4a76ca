//! What a workload found: figures in tables, what was wanted and whether it was reached, plots, and all raw data.

use serde::Serialize;
use serde_json::Value;

use crate::plot::Plot;
use crate::round::Round;
use crate::summary::{Entry, Trial};

/// Was a target reached?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    Yes,
    No,
    /// The run can't tell, such as when its control moved.
    Void,
    /// Nothing is wanted of it; it is only stated.
    Stated,
}

impl Reached {
    pub fn if_so(reached: bool) -> Self {
        if reached { Self::Yes } else { Self::No }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "reached",
            Self::No => "**NOT REACHED**",
            Self::Void => "void",
            Self::Stated => "stated",
        }
    }
}

/// One target beside what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub wanted: String,
    pub measured: String,
    pub reached: Reached,
}

impl Verdict {
    pub fn new(wanted: &str, measured: String, reached: Reached) -> Self {
        Self { wanted: wanted.to_owned(), measured, reached }
    }
}

/// A table for people.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    pub title: String,
    pub headings: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<'a>(title: &str, headings: impl IntoIterator<Item = &'a str>) -> Self {
        let headings = headings.into_iter().map(str::to_owned).collect();
        Self { title: title.to_owned(), headings, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The usual figures of entrants, each as the median over its rounds.
    pub fn of_rounds(title: &str, entries: &[Entry]) -> Self {
        let mut table = Self::new(
            title,
            [
                "",
                "commands/s",
                "lowest – highest",
                "p50 ms",
                "p99 ms",
                "p99 ms, corrected",
                "repeats",
                "commands/commit",
                "WAL bytes",
                "CPU µs here",
                "CPU µs PostgreSQL",
                "read models behind",
            ],
        );
        for entry in entries {
            let median = |figure: fn(&Round) -> f64| entry.of(figure).median;
            let per_second = entry.of(|round| round.commands_per_second);
            let follows = entry.rounds.iter().any(|round| round.behind_events.is_some());
            let behind = median(|round| round.behind_events.unwrap_or_default() as f64);
            table.row([
                entry.name.clone(),
                format!("{:.0}", per_second.median),
                format!("{:.0} – {:.0}", per_second.lowest, per_second.highest),
                format!("{:.2}", median(|round| round.p50_ms)),
                format!("{:.2}", median(|round| round.p99_ms)),
                format!("{:.2}", median(|round| round.p99_corrected_ms)),
                format!("{:.2}", median(|round| round.repeats_per_command)),
                format!("{:.1}", median(|round| round.commands_per_commit)),
                format!("{:.0}", median(|round| round.wal_bytes_per_command)),
                format!("{:.1}", median(|round| round.client_cpu_us_per_command)),
                format!("{:.1}", median(|round| round.server_cpu_us_per_command)),
                if follows { format!("{behind:.0}") } else { "–".to_owned() },
            ]);
        }
        table
    }

    /// The peer's pools, and which was measured.
    pub fn of_trials(title: &str, trials: &[Trial], measured: &str) -> Self {
        let mut table = Self::new(title, ["the peer's pool, tried", "commands/s", ""]);
        for trial in trials {
            let mark = if trial.pool == measured { "measured" } else { "" };
            let per_second = format!("{:.0}", trial.commands_per_second);
            table.row([trial.pool.clone(), per_second, mark.to_owned()]);
        }
        table
    }

    /// In Markdown, its columns aligned so that it reads well on a terminal too.
    pub fn markdown(&self) -> String {
        let rows: Vec<&Vec<String>> = std::iter::once(&self.headings).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
            .collect();
        let mut text = String::new();
        if !self.title.is_empty() {
            text.push_str(&format!("{}\n\n", self.title));
        }
        for (number, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
            });
            text.push_str(&format!("|{}|\n", cells.collect::<Vec<_>>().join("|")));
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(column, &width)| {
                    if column == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
                });
                text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
            }
        }
        text
    }
}

/// Everything a workload has to tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Finding {
    pub verdicts: Vec<Verdict>,
    pub tables: Vec<Table>,
    /// Sentences that belong to the figures.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub plots: Vec<Plot>,
    /// Every round, for machines.
    pub data: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rounds = [1000.0, 3000.0, 2000.0]
            .map(|commands_per_second| Round { commands_per_second, ..Round::default() });
        let text =
            Table::of_rounds("", &[Entry { name: "Tenantry".into(), rounds: rounds.into() }]).markdown();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
        assert!(lines[2].contains(" 2000 |") && lines[2].contains("1000 – 3000"), "{text}");
    }
}
