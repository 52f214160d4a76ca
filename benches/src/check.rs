//! After each round: is everything that was acknowledged in the journal, once, and in order?

use anyhow::{Result, ensure};
use cluster::ConnectInfo;

use crate::server::connect;

/// What the journal told beside being right.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Measured commands per transaction that holds any.
    pub commands_per_commit: f64,
}

/// `tenants` first events and `acknowledged` commands are all there is; no stream has a gap. In our journal
/// (`positions`) the positions are dense too, and the shard's counter stands at the last.
pub async fn check(to: &ConnectInfo, tenants: usize, acknowledged: u64, positions: bool) -> Result<Checked> {
    let client = connect(to).await?;
    let row = client.query_one(include_str!("sql/check_streams.sql"), &[]).await?;
    let number = |name| row.get::<_, i64>(name).unsigned_abs();
    let (events, expected) = (number("events"), tenants as u64 + acknowledged);
    ensure!(
        events == expected,
        "{acknowledged} commands on {tenants} tenants were acknowledged; found {events} events, expected {expected}"
    );
    let gaps = number("streams_with_gaps");
    ensure!(gaps == 0, "{gaps} streams have gaps");
    if positions {
        let row = client.query_one(include_str!("sql/check_positions.sql"), &[]).await?;
        let number = |name| row.get::<_, i64>(name).unsigned_abs();
        let found = [number("first"), number("last"), number("distinct_positions"), number("counter")];
        ensure!(
            found == [1, events, events, events],
            "positions of {events} events are not dense: first, last, distinct, counter are {found:?}"
        );
    }
    let commands_per_commit = number("flags_set") as f64 / number("transactions").max(1) as f64;
    Ok(Checked { commands_per_commit })
}
