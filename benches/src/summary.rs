//! From rounds to figures that may be told: medians, their spread, the ratio, and whether it is enough.

use serde::Serialize;

use crate::round::Round;
use crate::stock::StockPool;

/// How many times stock we promise to be at [`PROMISED_IN_FLIGHT`] on a quiet machine.
pub const RATIO_MIN: f64 = 10.0;
/// Where the promise holds; with less in flight there is less to gather in one commit.
pub const PROMISED_IN_FLIGHT: usize = 256;

/// A median with the lowest and the highest it is the median of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    /// Of nothing: zero.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Self {
            median,
            lowest: values.first().copied().unwrap_or_default(),
            highest: values.last().copied().unwrap_or_default(),
        }
    }
}

/// One pool of the peer, tried before the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Trial {
    pub pool: StockPool,
    pub commands_per_second: f64,
}

/// All that was measured with so many commands in flight. Round `n` of the one stands beside round `n` of the other.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    pub in_flight: usize,
    pub trials: Vec<Trial>,
    /// The pool of the peer that won.
    pub pool: Option<StockPool>,
    pub ours: Vec<Round>,
    pub stock: Vec<Round>,
}

impl Level {
    /// Ours over stock: the median of each over the other, and the spread of the rounds side by side.
    pub fn ratio(&self) -> Option<Spread> {
        let per_second = |rounds: &[Round]| Spread::of(rounds.iter().map(|round| round.commands_per_second));
        let (ours, stock) = (per_second(&self.ours), per_second(&self.stock));
        if self.ours.is_empty() || stock.median <= 0.0 {
            return None;
        }
        let rounds = self.ours.iter().zip(&self.stock);
        let spread =
            Spread::of(rounds.map(|(ours, stock)| ours.commands_per_second / stock.commands_per_second));
        Some(Spread { median: ours.median / stock.median, ..spread })
    }

    /// In words, for those who read one line only.
    pub fn verdict(&self) -> String {
        let Some(Spread { median, lowest, highest }) = self.ratio() else {
            return "One side only: no ratio.".to_owned();
        };
        let ratio = format!(
            "{median:.1} times stock at {} in flight ({lowest:.1} to {highest:.1} over the rounds)",
            self.in_flight
        );
        if self.in_flight != PROMISED_IN_FLIGHT {
            let under = if median < RATIO_MIN { format!(", under {RATIO_MIN}") } else { String::new() };
            format!("{ratio}{under}; the promise is made for {PROMISED_IN_FLIGHT}.")
        } else if median < RATIO_MIN {
            format!("UNDER {RATIO_MIN}: {ratio}. At least {RATIO_MIN} times is wanted.")
        } else {
            format!("{ratio}; at least {RATIO_MIN} is wanted.")
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn round(commands_per_second: f64) -> Round {
        Round {
            commands: 1,
            commands_per_second,
            p50_ms: 1.0,
            p90_ms: 1.0,
            p99_ms: 2.0,
            p99_9_ms: 2.0,
            max_ms: 3.0,
            p99_corrected_ms: 2.5,
            repeats_per_command: 0.25,
            commands_per_commit: 1.0,
            wal_bytes_per_command: 1000.0,
            client_cpu_us_per_command: 1.0,
            server_cpu_us_per_command: 1.0,
        }
    }

    pub fn level(ours: &[f64], stock: &[f64]) -> Level {
        Level {
            in_flight: 256,
            trials: vec![],
            pool: Some(StockPool::STOCK),
            ours: ours.iter().copied().map(round).collect(),
            stock: stock.iter().copied().map(round).collect(),
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 100.0].into_iter());
        assert_eq!(spread, Spread { median: 3.5, lowest: 1.0, highest: 100.0 });
        assert_eq!(Spread::of([7.0].into_iter()).median, 7.0);
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() {
        let ratio = level(&[100.0, 300.0, 200.0], &[10.0, 10.0, 40.0]).ratio().unwrap();
        assert_eq!(ratio, Spread { median: 20.0, lowest: 5.0, highest: 30.0 });
    }

    #[test]
    fn a_ratio_under_ten_is_said() {
        assert!(level(&[99.0], &[10.0]).verdict().starts_with("UNDER 10: 9.9 times stock"));
        assert!(!level(&[100.0], &[10.0]).verdict().contains("UNDER"));
        assert_eq!(level(&[100.0], &[]).ratio(), None);
        let alone = Level { in_flight: 1, ..level(&[20.0], &[10.0]) };
        assert!(alone.verdict().contains(", under 10; the promise is made for 256"));
    }
}
