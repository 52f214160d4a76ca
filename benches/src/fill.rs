//! Journals that were not written command by command: filled by the server itself, in the shape the engine writes.

use std::sync::Arc;

use anyhow::{Context, Result};
use cluster::ConnectInfo;
use uuid::Uuid;

use crate::bench::Bench;
use crate::server::{MIGRATED, connect};

/// Our columns beside those of postgres-es, and their values.
const COLUMNS: &str =
    ", shard, position, tenant, event_id, index_in_command, actor, role, correlation_id, recorded_at";
const VALUES: &str = ", 0, e.n, e.id, md5('event ' || e.n)::uuid, 0, '00000000-0000-7000-8000-00000000beef', 'operator', \
                      md5('event ' || e.n)::uuid, now()";
/// Without indexes rows are stored several times as fast, and an index built at once is a compact one.
const BEFORE_OURS: &str = "ALTER TABLE events DROP CONSTRAINT events_pkey; DROP INDEX events_position";
const AFTER_OURS: &str = "ALTER TABLE events ADD PRIMARY KEY (aggregate_type, aggregate_id, sequence); \
                          CREATE UNIQUE INDEX events_position ON events (shard, position); \
                          UPDATE journal_shard SET last_position = (SELECT max(position) FROM events), last_recorded_at = now() WHERE shard = 0";
const BEFORE_STOCK: &str = "ALTER TABLE events DROP CONSTRAINT events_pkey";
const AFTER_STOCK: &str = "ALTER TABLE events ADD PRIMARY KEY (aggregate_type, aggregate_id, sequence)";
/// As many as there are usually cores to spare.
const CONNECTIONS: u64 = 2;

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    pub streams: u64,
    pub events_per_stream: u64,
}

impl Fill {
    pub fn events(self) -> u64 {
        self.streams * self.events_per_stream
    }

    /// A new database with our journal, filled.
    pub async fn ours(self, bench: &Bench, database: &str) -> Result<()> {
        bench.progress.now(&format!("filling {database} with {} events", self.events()));
        bench.server.fresh_database(database, Some(MIGRATED)).await?;
        let owner = bench.server.as_owner(database);
        self.fill(&owner, [BEFORE_OURS, COLUMNS, VALUES, AFTER_OURS]).await
    }

    /// A new database with the peer's tables, filled with the same events.
    pub async fn stock(self, bench: &Bench, database: &str) -> Result<()> {
        bench.progress.now(&format!("filling {database} with {} events", self.events()));
        bench.server.fresh_database(database, None).await?;
        let owner = bench.server.as_owner(database);
        connect(&owner).await?.batch_execute(include_str!("sql/stock_tables.sql")).await?;
        self.fill(&owner, [BEFORE_STOCK, "", "", AFTER_STOCK]).await
    }

    async fn fill(self, owner: &ConnectInfo, [before, columns, values, after]: [&str; 4]) -> Result<()> {
        let client = connect(owner).await?;
        client.batch_execute(before).await.context("the indexes can't be dropped")?;
        let sql = include_str!("sql/fill.sql").replace("{columns}", columns).replace("{values}", values);
        let (events, streams) = (self.events(), i64::try_from(self.streams)?);
        let mut parts = Vec::new();
        for part in 0..CONNECTIONS {
            let (from, to) = (events * part / CONNECTIONS + 1, events * (part + 1) / CONNECTIONS);
            let (from, to) = (i64::try_from(from)?, i64::try_from(to)?);
            let (sql, client) = (sql.clone(), connect(owner).await?);
            parts.push(async move { client.execute(&sql, &[&from, &to, &streams]).await });
        }
        futures::future::try_join_all(parts).await.context("the events can't be inserted")?;
        client
            .batch_execute("SET maintenance_work_mem = '512MB'")
            .await
            .and(client.batch_execute(after).await)
            .context("the indexes can't be built")?;
        // What the autovacuum would otherwise do at some moment of the rounds.
        client.batch_execute("VACUUM (FREEZE, ANALYZE) events").await?;
        Ok(())
    }

    /// The filled streams' ids.
    pub async fn tenants(self, to: &ConnectInfo) -> Result<Arc<[Uuid]>> {
        let sql = "SELECT md5('bench ' || n)::uuid FROM generate_series(0::bigint, $1::bigint - 1) AS n";
        let rows = connect(to).await?.query(sql, &[&i64::try_from(self.streams)?]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
