//! After each round: is everything that was acknowledged in the journal, once, and in order?

use anyhow::{Result, ensure};
use cluster::ConnectInfo;

use crate::server::connect;

/// Where a journal stood before a round.
#[derive(Clone, Copy, Debug)]
pub enum Before {
    /// Ours: its last position.
    Position(i64),
    /// The peer's: how many flags were set.
    FlagsSet(u64),
}

/// What the journal told beside being right.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Measured commands per transaction that holds any.
    pub commands_per_commit: f64,
}

impl Before {
    /// `ours`: it has positions.
    pub async fn note(to: &ConnectInfo, ours: bool) -> Result<Self> {
        let client = connect(to).await?;
        Ok(if ours {
            let sql = "SELECT last_position FROM journal_shard WHERE shard = 0";
            Self::Position(client.query_one(sql, &[]).await?.get(0))
        } else {
            let sql = "SELECT count(*) FROM events WHERE event_type = 'tenant.flag_set'";
            Self::FlagsSet(client.query_one(sql, &[]).await?.get::<_, i64>(0).unsigned_abs())
        })
    }

    /// `acknowledged` flags were set since, and none besides; no stream has a gap. In our journal the positions are
    /// dense too, and the shard's counter stands at the last.
    pub async fn check(self, to: &ConnectInfo, acknowledged: u64) -> Result<Checked> {
        let client = connect(to).await?;
        let row = match self {
            Self::Position(before) => {
                client.query_one(include_str!("sql/check_positions.sql"), &[&before]).await?
            }
            Self::FlagsSet(_) => client.query_one(include_str!("sql/check_streams.sql"), &[]).await?,
        };
        let number = |name| row.get::<_, i64>(name).unsigned_abs();
        let found = match self {
            Self::Position(_) => number("flags_set"),
            Self::FlagsSet(before) => number("flags_set") - before,
        };
        ensure!(
            found == acknowledged,
            "{acknowledged} commands were acknowledged; the journal holds {found}"
        );
        let gaps = number("streams_with_gaps");
        ensure!(gaps == 0, "{gaps} streams have gaps");
        if let Self::Position(_) = self {
            let events = number("events");
            let found = [number("first"), number("last"), number("distinct_positions"), number("counter")];
            ensure!(
                found == [1, events, events, events],
                "positions of {events} events are not dense: first, last, distinct, counter are {found:?}"
            );
        }
        let commands_per_commit = found as f64 / number("transactions").max(1) as f64;
        Ok(Checked { commands_per_commit })
    }
}
