//! The peer: stock `CqrsFramework` over stock `PostgresEventRepository`, on its own table.
//!
//! Its event store without snapshots is used, which is what its documentation starts with, unless history is what is
//! measured. No queries are attached: nothing follows it, while projections and process managers follow ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aggregates::Tenant;
use anyhow::{Context, Result};
use cluster::ConnectInfo;
use cqrs_es::AggregateError;
use engine::adapter::Folded;
use kernel::Metadata;
use postgres_es::{PostgresCqrs, postgres_cqrs, postgres_snapshot_cqrs};
use serde::Serialize;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::work::{Contender, GaveUp, Wish};

/// How the peer's connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StockPool {
    pub connections: u32,
    /// sqlx asks a connection for a sign of life each time it is taken, unless told otherwise: one round trip.
    pub tested: bool,
}

impl StockPool {
    /// What `default_postgress_pool` of postgres-es makes.
    pub const STOCK: Self = Self { connections: 10, tested: true };

    /// Tried one after the other; the fastest is measured.
    pub const TRIED: &[Self] = &[
        Self::STOCK,
        Self { connections: 10, tested: false },
        Self { connections: 32, tested: false },
        Self { connections: 64, tested: false },
        Self { connections: 128, tested: false },
        Self { connections: 256, tested: false },
    ];

    /// Where many levels are tried.
    pub const TRIED_FEW: &[Self] = &[
        Self { connections: 10, tested: false },
        Self { connections: 32, tested: false },
        Self { connections: 128, tested: false },
    ];

    pub const TRIED_QUICK: &[Self] = &[Self::STOCK, Self { connections: 32, tested: false }];
}

impl std::fmt::Display for StockPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connections{}", self.connections, if self.tested { ", tested when taken" } else { "" })
    }
}

pub struct Stock {
    framework: PostgresCqrs<Folded<Tenant>>,
    pool: PgPool,
    time_is_over: AtomicBool,
}

impl Stock {
    /// `to`: the owner of an empty database, or one filled before. `snapshot_size`: with its snapshots, one for so many
    /// events.
    pub async fn open(to: &ConnectInfo, pool: StockPool, snapshot_size: Option<usize>) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(pool.connections)
            .min_connections(pool.connections)
            .test_before_acquire(pool.tested)
            .connect(&to.url())
            .await
            .context("the peer's pool can't connect")?;
        sqlx::raw_sql(include_str!("../sql/stock_tables.sql")).execute(&pool).await?;
        let framework = match snapshot_size {
            None => postgres_cqrs(pool.clone(), Vec::new(), ()),
            Some(size) => postgres_snapshot_cqrs(pool.clone(), Vec::new(), size, ()),
        };
        Ok(Self { framework, pool, time_is_over: AtomicBool::new(false) })
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Contender for Stock {
    async fn carry_out(&self, _: usize, tenant: Uuid, wish: Wish) -> Result<u64> {
        let id = tenant.to_string();
        let (command, metadata) = (wish.command(tenant)?, flat(&wish.metadata(tenant)));
        let mut repeats = 0;
        loop {
            match self.framework.execute_with_metadata(&id, command.clone(), metadata.clone()).await {
                Ok(()) => return Ok(repeats),
                Err(AggregateError::AggregateConflict) if self.time_is_over.load(Ordering::Relaxed) => {
                    return Err(GaveUp.into());
                }
                // A lost race: load and decide again, at once.
                Err(AggregateError::AggregateConflict) => repeats += 1,
                Err(error) => return Err(error).context("cqrs-es did not carry out a command"),
            }
        }
    }

    fn wind_up(&self) {
        self.time_is_over.store(true, Ordering::Relaxed);
    }
}

/// The same facts as ours, in the one place the peer has for them.
fn flat(metadata: &Metadata) -> HashMap<String, String> {
    let mut map = HashMap::from([
        ("action".to_owned(), metadata.action.clone()),
        ("actor".to_owned(), metadata.actor.id.clone()),
        ("actor_kind".to_owned(), metadata.actor.kind.as_str().to_owned()),
        ("role".to_owned(), metadata.role.clone()),
        ("correlation_id".to_owned(), metadata.correlation_id.to_string()),
    ]);
    if let Some(tenant) = metadata.tenant {
        map.insert("tenant".to_owned(), tenant.to_string());
    }
    map
}
