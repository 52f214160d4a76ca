//! From rounds to figures that may be told: medians and their spread, ratios of rounds side by side.

use serde::Serialize;

use crate::round::Round;

/// A median with the lowest and the highest it is the median of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    /// Of nothing: zero.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
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

    /// One series over another: the ratio of the medians, and the spread over the rounds side by side. No number (NaN)
    /// beside a median of zero: what did nothing at all can't be compared with.
    pub fn ratio(ours: &[f64], theirs: &[f64]) -> Self {
        let (us, them) = (Self::of(ours.iter().copied()), Self::of(theirs.iter().copied()));
        let sides = Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs));
        let median = if them.median > 0.0 { us.median / them.median } else { f64::NAN };
        Self { median, ..sides }
    }

    /// `12.3 (11.0 to 14.2)`, with so many digits after the point.
    pub fn text(&self, digits: usize) -> String {
        let Self { median, lowest, highest } = self;
        format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})")
    }
}

/// All rounds of one entrant. Round `n` of one stands beside round `n` of the others.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub name: String,
    pub rounds: Vec<Round>,
}

impl Entry {
    pub fn per_second(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.commands_per_second).collect()
    }

    pub fn of(&self, figure: fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(figure))
    }

    pub fn ratio_to(&self, other: &Self) -> Spread {
        Spread::ratio(&self.per_second(), &other.per_second())
    }
}

/// One pool of the peer, tried before the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    pub pool: String,
    pub commands_per_second: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 100.0]);
        assert_eq!(spread, Spread { median: 3.5, lowest: 1.0, highest: 100.0 });
        assert_eq!(Spread::of([7.0]).median, 7.0);
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() {
        let ratio = Spread::ratio(&[100.0, 300.0, 200.0], &[10.0, 10.0, 40.0]);
        assert_eq!(ratio, Spread { median: 20.0, lowest: 5.0, highest: 30.0 });
        assert!(Spread::ratio(&[100.0], &[0.0]).median.is_nan());
    }
}
