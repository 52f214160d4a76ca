//! How it is getting on: a bar for each read model on a terminal, plain lines elsewhere. All of it on stderr.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::projection::{Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The bars of one run.
pub struct Board {
    bars: Option<MultiProgress>,
}

/// One read model's place on the board.
pub struct Line {
    name: &'static str,
    bar: Option<ProgressBar>,
    told: Mutex<Option<(Instant, Phase)>>,
}

impl Board {
    pub fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    pub fn line(&self, name: &'static str) -> Line {
        let style = ProgressStyle::with_template("{prefix:>22} {bar:30} {percent:>3} % {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.as_ref().map(|bars| {
            bars.add(ProgressBar::new(0)).with_style(style).with_prefix(name).with_message("waiting")
        });
        Line { name, bar, told: Mutex::new(None) }
    }

    /// Prints a result to stdout without tearing the bars.
    pub fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }
}

impl Line {
    pub fn tell(&self, progress: Progress) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.done.min(progress.total));
                bar.set_message(message(progress));
            }
            None => self.print(progress),
        }
    }

    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn print(&self, progress: Progress) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_news =
            told.is_none_or(|(when, phase)| phase != progress.phase || when.elapsed() >= LINE_EVERY);
        if is_news {
            *told = Some((Instant::now(), progress.phase));
            eprintln!("{}: {:.0} %, {}", self.name, progress.percent(), message(progress));
        }
    }
}

fn message(progress: Progress) -> String {
    match progress.phase {
        Phase::Folding => {
            let left =
                progress.time_left.map_or_else(String::new, |left| format!(", {} s left", left.as_secs()));
            format!(
                "{} of {} events, {:.0} events/s{left}",
                progress.done, progress.total, progress.events_per_second
            )
        }
        Phase::Comparing => format!("comparing at {} events", progress.total),
        Phase::Swapping => "swapping".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_pace_and_time_left() {
        let progress = Progress {
            phase: Phase::Folding,
            done: 500,
            total: 2_000,
            events_per_second: 250.4,
            time_left: Some(Duration::from_secs(6)),
        };
        assert_eq!(message(progress), "500 of 2000 events, 250 events/s, 6 s left");
        assert!((progress.percent() - 25.0).abs() < f64::EPSILON);
    }
}
