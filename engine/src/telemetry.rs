//! The names of all metrics of the engine, declared in one place. None has a tenant as a label.

/// Gauge: the last position this process appended.
pub const JOURNAL_POSITION: &str = "tenantry_journal_position";
/// Histogram: items gathered for one round of the writer.
pub const JOURNAL_BATCH_ITEMS: &str = "tenantry_journal_batch_items";
/// Histogram, seconds: one transaction of the writer.
pub const JOURNAL_COMMIT_SECONDS: &str = "tenantry_journal_commit_seconds";
/// Gauge: aggregate actors alive.
pub const ACTORS_LIVE: &str = "tenantry_actors_live";
/// Counter: actors passivated.
pub const ACTORS_PASSIVATED: &str = "tenantry_actors_passivated_total";
/// Counter: commands, by `aggregate` and `outcome`.
pub const COMMANDS: &str = "tenantry_commands_total";
/// Counter: aggregates quarantined.
pub const QUARANTINED: &str = "tenantry_aggregates_quarantined_total";
