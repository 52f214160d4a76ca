//! The figures as a table for people and as JSON for machines.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::machine::Machine;
use crate::round::Round;
use crate::summary::{Level, Spread};

/// Everything about a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub at: DateTime<Utc>,
    /// Too short to be quoted.
    pub quick: bool,
    pub tenants: usize,
    pub rounds: usize,
    pub seconds: f64,
    pub apart: bool,
    pub with_ids: bool,
    pub machine: Machine,
    pub levels: Vec<Level>,
}

const HEADINGS: [&str; 11] = [
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
];

impl Report {
    /// Writes `latest.json` and `latest.md` into a directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let cannot = || format!("the results can't be written to {}", directory.display());
        fs::create_dir_all(directory).with_context(cannot)?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(directory.join("latest.json"), json).with_context(cannot)?;
        fs::write(directory.join("latest.md"), self.markdown()).with_context(cannot)
    }

    /// The whole report. Its tables read well on a terminal too.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Commands per second\n\n");
        // Writing to a string can't fail.
        let _ = self.write_to(&mut text);
        text
    }

    fn write_to(&self, text: &mut String) -> std::fmt::Result {
        if self.quick {
            writeln!(text, "**A quick run: good for finding a mistake, too short to be quoted.**\n")?;
        }
        writeln!(
            text,
            "Setting a flag of one of {} tenants, drawn {}: one command, one event. A closed loop; rounds: {} of {} s \
             each, the contenders in turn on one durable PostgreSQL, a fresh database each round. Figures are medians \
             over the rounds; after each round every acknowledged command was found in its journal, streams and \
             positions without a gap.{}\n",
            self.tenants,
            if self.apart { "so that no two commands meet" } else { "at random" },
            self.rounds,
            self.seconds,
            if self.with_ids { " Ours carry a command id each, with a stored outcome." } else { "" },
        )?;
        for level in &self.levels {
            writeln!(text, "## {} in flight\n", level.in_flight)?;
            text.push_str(&table(level));
            writeln!(text, "\n**{}**\n", level.verdict())?;
            if !level.trials.is_empty() {
                writeln!(text, "The peer's pools tried:\n")?;
                for trial in &level.trials {
                    let mark = if Some(trial.pool) == level.pool { " (measured)" } else { "" };
                    writeln!(text, "- {}: {:.0} commands/s{mark}", trial.pool, trial.commands_per_second)?;
                }
                text.push('\n');
            }
        }
        writeln!(
            text,
            "Latencies are from the first attempt to the durable answer, repeats included; *corrected* fills in what \
             the closed loop did not send during stalls. *Repeats* are per command, after a lost race. Bytes of \
             write-ahead log and processor time are per command; *here* is contender and load generator, which share \
             the machine with PostgreSQL.\n"
        )?;
        let Machine {
            cpu,
            cores,
            memory_gib,
            kernel,
            file_system,
            load_before,
            postgresql,
            settings,
            commit,
        } = &self.machine;
        writeln!(text, "## Measured on\n")?;
        writeln!(text, "- {} at commit {commit}", self.at.format("%Y-%m-%d %H:%M UTC"))?;
        writeln!(text, "- {cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel}, {file_system}")?;
        writeln!(text, "- load average in the minute before: {load_before}")?;
        let settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        writeln!(text, "- PostgreSQL {postgresql}: {}", settings.join(", "))
    }
}

/// The table of a level, its columns aligned.
pub fn table(level: &Level) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    if !level.ours.is_empty() {
        rows.push(row("Tenantry", &level.ours));
    }
    if !level.stock.is_empty() {
        rows.push(row("cqrs-es + postgres-es", &level.stock));
    }
    if let Some(Spread { median, lowest, highest }) = level.ratio() {
        let mut last = HEADINGS.map(|_| String::new());
        last[0] = "ratio".to_owned();
        last[1] = format!("{median:.1}");
        last[2] = format!("{lowest:.1} – {highest:.1}");
        rows.push(last);
    }
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut text = String::new();
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

fn row(name: &str, rounds: &[Round]) -> [String; HEADINGS.len()] {
    let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    let per_second = of(|round| round.commands_per_second);
    [
        name.to_owned(),
        format!("{:.0}", per_second.median),
        format!("{:.0} – {:.0}", per_second.lowest, per_second.highest),
        format!("{:.2}", of(|round| round.p50_ms).median),
        format!("{:.2}", of(|round| round.p99_ms).median),
        format!("{:.2}", of(|round| round.p99_corrected_ms).median),
        format!("{:.2}", of(|round| round.repeats_per_command).median),
        format!("{:.1}", of(|round| round.commands_per_commit).median),
        format!("{:.0}", of(|round| round.wal_bytes_per_command).median),
        format!("{:.1}", of(|round| round.client_cpu_us_per_command).median),
        format!("{:.1}", of(|round| round.server_cpu_us_per_command).median),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::level;

    #[test]
    fn the_table_lines_up_and_ends_with_the_ratio() {
        let text = table(&level(&[1000.0, 3000.0, 2000.0], &[100.0, 100.0, 100.0]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
        assert!(
            lines[2].starts_with("| Tenantry")
                && lines[2].contains(" 2000 |")
                && lines[2].contains("1000 – 3000")
        );
        let ratio = lines.last().unwrap();
        assert!(ratio.starts_with("| ratio") && ratio.contains(" 20.0 |"), "{text}");
    }

    #[test]
    fn one_side_alone_has_no_ratio() {
        assert!(!table(&level(&[1000.0], &[])).contains("ratio"));
    }
}
