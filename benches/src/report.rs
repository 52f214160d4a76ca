//! The figures of a run: Markdown for people, JSON for machines, SVG for the eye. Written after each workload.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::finding::{Finding, Table};
use crate::machine::Machine;

/// Everything about a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What its files are called.
    #[serde(skip)]
    pub stem: &'static str,
    pub at: DateTime<Utc>,
    /// Too short to be quoted.
    pub quick: bool,
    pub machine: Machine,
    pub workloads: Vec<Entry>,
}

/// What came of a workload.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub name: &'static str,
    pub what: &'static str,
    pub peer: &'static str,
    pub seconds: f64,
    /// How many processes wanted a core when it began, on average over a minute; one of them may be the bench itself.
    pub load_before: f64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Found(Box<Finding>),
    Failed(String),
}

impl Report {
    /// Writes it as JSON and Markdown, and the plots, into a directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let cannot = || format!("the results can't be written to {}", directory.display());
        fs::create_dir_all(directory).with_context(cannot)?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(directory.join(format!("{}.json", self.stem)), json).with_context(cannot)?;
        fs::write(directory.join(format!("{}.md", self.stem)), self.markdown()).with_context(cannot)?;
        for plot in self.workloads.iter().filter_map(Entry::found).flat_map(|finding| &finding.plots) {
            fs::write(directory.join(self.plot_file(&plot.name)), plot.svg()).with_context(cannot)?;
        }
        Ok(())
    }

    /// A workload that is run by itself leaves the plots of the run of all as they are, too.
    fn plot_file(&self, plot: &str) -> String {
        if self.stem == "latest" { format!("{plot}.svg") } else { format!("{plot}_alone.svg") }
    }

    /// True if every workload came to its end, whatever it found.
    pub fn is_whole(&self) -> bool {
        self.workloads.iter().all(|entry| entry.found().is_some())
    }

    /// Every target beside what was measured.
    pub fn overview(&self) -> String {
        let mut table = Table::new("", ["workload", "wanted", "measured", "reached"]);
        for entry in &self.workloads {
            match &entry.outcome {
                Outcome::Failed(_) => {
                    table.row([
                        entry.name.to_owned(),
                        "–".to_owned(),
                        "–".to_owned(),
                        "**FAILED**".to_owned(),
                    ]);
                }
                Outcome::Found(finding) => {
                    for verdict in &finding.verdicts {
                        let reached = verdict.reached.word().to_owned();
                        table.row([
                            entry.name.to_owned(),
                            verdict.wanted.clone(),
                            verdict.measured.clone(),
                            reached,
                        ]);
                    }
                }
            }
        }
        table.markdown()
    }

    /// The whole report. Its tables read well on a terminal too.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Measured\n\n");
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
            "Written by `make bench`; what each workload means and how to read its figures stands in \
             [the benches' README](../README.md). Figures are medians over alternating rounds, with the lowest and \
             the highest.\n"
        )?;
        text.push_str(&self.overview());
        for entry in &self.workloads {
            entry.write_to(text, |plot| self.plot_file(plot))?;
        }
        let Machine { cpu, cores, memory_gib, kernel, file_system, postgresql, settings, commit } =
            &self.machine;
        writeln!(text, "\n## Measured on\n")?;
        writeln!(text, "- {} at commit {commit}", self.at.format("%Y-%m-%d %H:%M UTC"))?;
        writeln!(text, "- {cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel}, {file_system}")?;
        let settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        writeln!(text, "- PostgreSQL {postgresql}: {}", settings.join(", "))
    }
}

impl Entry {
    fn found(&self) -> Option<&Finding> {
        match &self.outcome {
            Outcome::Found(finding) => Some(finding),
            Outcome::Failed(_) => None,
        }
    }

    fn write_to(&self, text: &mut String, plot_file: impl Fn(&str) -> String) -> std::fmt::Result {
        writeln!(text, "\n## {}\n\n{} Beside it: {}.\n", self.name, self.what, self.peer)?;
        match &self.outcome {
            Outcome::Failed(error) => writeln!(text, "**FAILED**: {error}\n")?,
            Outcome::Found(finding) => {
                for table in &finding.tables {
                    writeln!(text, "{}", table.markdown())?;
                }
                for plot in &finding.plots {
                    writeln!(text, "![{}]({})\n", plot.title, plot_file(&plot.name))?;
                }
                for note in &finding.notes {
                    writeln!(text, "- {note}")?;
                }
            }
        }
        writeln!(
            text,
            "- It took {:.0} s; load average when it began: {:.1}.",
            self.seconds, self.load_before
        )
    }
}
