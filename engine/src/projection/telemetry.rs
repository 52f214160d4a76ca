//! The names under which followers are measured, in one place.

/// Gauge: committed events not folded yet, by `projection`, `feed`, `shard`.
pub const LAG_EVENTS: &str = "tenantry_projection_lag_events";
/// Gauge: the position reached, by `projection`, `feed`, `shard`.
pub const POSITION: &str = "tenantry_projection_position";
/// Gauge: events parked, by `projection`, `feed`, `shard`.
pub const DEAD_LETTERS: &str = "tenantry_projection_dead_letters";
/// Counter: events folded, by `projection`.
pub const EVENTS: &str = "tenantry_projection_events_total";
/// Counter: steps that failed and are tried again, by `projection`.
pub const ERRORS: &str = "tenantry_projection_errors_total";
/// Histogram: how long a batch took, by `projection`.
pub const BATCH_DURATION_SECONDS: &str = "tenantry_projection_batch_duration_seconds";

/// Tells the recorder what each of them is. Call once, after it is installed.
pub fn describe() {
    metrics::describe_gauge!(LAG_EVENTS, "Committed events that a follower has not folded yet");
    metrics::describe_gauge!(POSITION, "The position that a follower reached");
    metrics::describe_gauge!(DEAD_LETTERS, "Events parked because they can't be folded");
    metrics::describe_counter!(EVENTS, "Events folded");
    metrics::describe_counter!(ERRORS, "Steps of a follower that failed and are tried again");
    metrics::describe_histogram!(BATCH_DURATION_SECONDS, "How long a follower's batch took, in seconds");
}

/// Records where a follower is.
pub(crate) fn record(status: &crate::follow::Status) {
    let health = status.health();
    let labels = [
        ("projection", health.name.to_owned()),
        ("feed", health.feed.to_owned()),
        ("shard", health.shard.0.to_string()),
    ];
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    {
        metrics::gauge!(LAG_EVENTS, &labels).set(health.lag_events as f64);
        metrics::gauge!(POSITION, &labels).set(health.position.0 as f64);
        metrics::gauge!(DEAD_LETTERS, &labels).set(health.dead_letters as f64);
    }
}
