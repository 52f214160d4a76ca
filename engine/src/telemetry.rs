//! The names of all metrics of the engine, declared in one place. None has a tenant as a label.
//!
//! Counters and histograms are recorded where something happens. Gauges are recorded by whoever is asked how things are
//! ([`record`]), so that they are true also of what is stuck.

use crate::dispatch::EngineHealth;
use crate::follow::FollowerHealth;
use crate::jobs::JobsHealth;

/// Gauge: the last position this process appended.
pub const JOURNAL_POSITION: &str = "tenantry_journal_position";
/// Histogram: items gathered for one round of the writer.
pub const JOURNAL_BATCH_ITEMS: &str = "tenantry_journal_batch_items";
/// Histogram, seconds: one transaction of the writer, from when it was sent, which may be behind another one.
pub const JOURNAL_COMMIT_SECONDS: &str = "tenantry_journal_commit_seconds";
/// Gauge: 1 while this node carries out commands, else 0.
pub const JOURNAL_WRITES: &str = "tenantry_journal_writes";
/// Gauge: items that wait for the writer.
pub const WRITER_QUEUE: &str = "tenantry_writer_queue";
/// Gauge: aggregate actors alive.
pub const ACTORS_LIVE: &str = "tenantry_actors_live";
/// Counter: actors passivated.
pub const ACTORS_PASSIVATED: &str = "tenantry_actors_passivated_total";
/// Counter: snapshots, by `outcome`: `kept`, `failed`, or `left_out` for want of room.
pub const SNAPSHOTS: &str = "tenantry_snapshots_total";
/// Counter: commands, by `aggregate` and `outcome`.
pub const COMMANDS: &str = "tenantry_commands_total";
/// Counter: commands for which there was no room, by `intake`: `node`, `tenant` or `aggregate`.
pub const COMMANDS_REFUSED: &str = "tenantry_commands_refused_total";
/// Gauge: commands under way.
pub const COMMANDS_UNDER_WAY: &str = "tenantry_commands_under_way";
/// Counter: aggregates quarantined.
pub const QUARANTINED: &str = "tenantry_aggregates_quarantined_total";
/// Gauge: aggregates in quarantine now.
pub const IN_QUARANTINE: &str = "tenantry_aggregates_in_quarantine";

/// Gauge: committed events not folded yet, by `projection`, `feed`, `shard`. So are the other ones of followers: read
/// models, memories and process managers.
pub const LAG_EVENTS: &str = "tenantry_projection_lag_events";
/// Gauge: the position reached.
pub const POSITION: &str = "tenantry_projection_position";
/// Gauge: events parked.
pub const DEAD_LETTERS: &str = "tenantry_projection_dead_letters";
/// Gauge: 1 if nobody need look, else 0.
pub const HEALTHY: &str = "tenantry_projection_healthy";
/// Counter: events folded, by `projection`.
pub const EVENTS: &str = "tenantry_projection_events_total";
/// Counter: steps that failed and are tried again, by `projection`.
pub const ERRORS: &str = "tenantry_projection_errors_total";
/// Histogram, seconds: how long a batch took, by `projection`.
pub const BATCH_DURATION_SECONDS: &str = "tenantry_projection_batch_duration_seconds";

/// Gauge: jobs that are not done, by `state`: `waiting`, `running` or `dead`.
pub const JOBS: &str = "tenantry_jobs";
/// Gauge, seconds: how long the first of the jobs that are due has waited.
pub const JOBS_OVERDUE_SECONDS: &str = "tenantry_jobs_overdue_seconds";
/// Counter: attempts that ended, by `kind` and `outcome`: `done`, `later` or `dead`.
pub const JOB_ATTEMPTS: &str = "tenantry_job_attempts_total";
/// Histogram, seconds: one attempt, by `kind`.
pub const JOB_SECONDS: &str = "tenantry_job_seconds";

/// Records how things are now.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn record(engine: &EngineHealth, followers: &[FollowerHealth], jobs: &JobsHealth) {
    metrics::gauge!(JOURNAL_WRITES).set(if engine.writes { 1.0 } else { 0.0 });
    metrics::gauge!(WRITER_QUEUE).set(engine.writer_queue as f64);
    metrics::gauge!(ACTORS_LIVE).set(engine.actors_live as f64);
    metrics::gauge!(COMMANDS_UNDER_WAY).set(engine.commands_under_way as f64);
    metrics::gauge!(IN_QUARANTINE).set(engine.quarantined.len() as f64);
    for (state, count) in [("waiting", jobs.waiting), ("running", jobs.running), ("dead", jobs.dead)] {
        metrics::gauge!(JOBS, "state" => state).set(count as f64);
    }
    metrics::gauge!(JOBS_OVERDUE_SECONDS).set(jobs.overdue.as_secs_f64());
    for follower in followers {
        let labels = [
            ("projection", follower.name.to_owned()),
            ("feed", follower.feed.to_owned()),
            ("shard", follower.shard.0.to_string()),
        ];
        metrics::gauge!(LAG_EVENTS, &labels).set(follower.lag_events as f64);
        metrics::gauge!(POSITION, &labels).set(follower.position.0 as f64);
        metrics::gauge!(DEAD_LETTERS, &labels).set(follower.dead_letters as f64);
        metrics::gauge!(HEALTHY, &labels).set(if follower.is_healthy() { 1.0 } else { 0.0 });
    }
}
