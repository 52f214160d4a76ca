//! The two ways to make load: closed (whoever has an answer asks again) and open (whoever's time has come asks).

pub mod closed;
pub mod open;

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// For latencies in microseconds, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are in order")
}

/// A quantile in milliseconds.
pub fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
