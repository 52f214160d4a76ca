//! Tenantry's write path alone: engine, actors, writer and the journal in PostgreSQL; nothing follows it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use cluster::ConnectInfo;
use deadpool_postgres::Pool;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::command::{CommandContext, Idempotency};
use engine::feed::Live;
use engine::journal::PgJournal;
use engine::keyring::{Keyring, MasterKey};
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{CommandId, Ids, ShardId};
use uuid::Uuid;

use super::dispatch;
use crate::work::{Contender, Wish};

/// Connections for reads; a tenant is read once, when its actor starts.
const READ_CONNECTIONS: usize = 8;

/// How the write path is set up. What is left out is as the engine's default has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct JournalOptions {
    /// Each command carries an id of its own: looked up before deciding, its outcome stored.
    pub with_ids: bool,
    pub actors_live_max: Option<usize>,
    pub snapshot_events_min: Option<u64>,
}

pub struct Journal {
    pub engine: Engine,
    with_ids: bool,
}

impl Journal {
    /// `to`: the server's role on a migrated database.
    pub async fn open(to: &ConnectInfo, options: JournalOptions) -> Result<Self> {
        Self::with(to, options, plain()).await
    }

    /// The same, with marked fields sealed as a server seals them. `master_key`: the file of the deployment's key.
    pub async fn open_sealing(to: &ConnectInfo, options: JournalOptions, master_key: &Path) -> Result<Self> {
        Self::with(to, options, sealing(to, master_key).await?).await
    }

    async fn with(to: &ConnectInfo, options: JournalOptions, codec: Codec) -> Result<Self> {
        let config: tokio_postgres::Config = to.key_values().parse()?;
        let pool = engine::database::pool(&config, READ_CONNECTIONS)?;
        let journal = Arc::new(PgJournal::new(config, pool, codec)?);
        let mut config = EngineConfig::new(WriterConfig::new(ShardId(0), SystemIds.fresh()));
        config.actors_live_max = options.actors_live_max.unwrap_or(config.actors_live_max);
        config.snapshot_events_min = options.snapshot_events_min.unwrap_or(config.snapshot_events_min);
        let engine =
            Engine::start(config, journal, Live::default(), Arc::new(SystemClock), Arc::new(SystemIds))
                .await?;
        engine.owned().await;
        Ok(Self { engine, with_ids: options.with_ids })
    }

    /// Ends the engine in order and gives its lease back.
    pub async fn close(&self) {
        self.engine.drain().await;
    }
}

/// Marked fields as they are. Nothing secret is claimed here; a deployment's key is random.
pub fn plain() -> Codec {
    Codec::plain(schemas::upcasters(), &[0; 32])
}

/// Marked fields sealed, as a server seals and opens them.
pub async fn sealing(to: &ConnectInfo, master_key: &Path) -> Result<Codec> {
    let file = master_key.to_owned();
    let keyring = Keyring::open(
        pool(to, READ_CONNECTIONS)?,
        Arc::new(move || MasterKey::read(&file)),
        Arc::new(SystemClock),
        Arc::new(SystemIds),
        true,
    );
    Ok(Codec::sealing(Arc::new(keyring.await?), schemas::upcasters(), &[0; 32]))
}

/// A pool for whoever reads the journal beside the engine.
pub fn pool(to: &ConnectInfo, connections: usize) -> Result<Pool> {
    Ok(engine::database::pool(&to.key_values().parse()?, connections)?)
}

impl Contender for Journal {
    async fn carry_out(&self, _: usize, tenant: Uuid, wish: Wish) -> Result<u64> {
        dispatch(&self.engine, tenant, wish.command(tenant)?, || {
            let mut context = CommandContext::new(wish.metadata(tenant));
            if self.with_ids {
                let id = SystemIds.fresh();
                let mut fingerprint = [0; 32];
                fingerprint[..16].copy_from_slice(id.as_bytes());
                context.idempotency = Some(Idempotency { id: CommandId(id), fingerprint });
            }
            context
        })
        .await
    }
}
