//! Tenantry's write path: engine, actors, writer and the journal in PostgreSQL, as the server puts them together.

use std::sync::Arc;

use aggregates::{Tenant, TenantCommand};
use anyhow::{Context, Result, bail};
use cluster::ConnectInfo;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use engine::clock::{SystemClock, SystemIds};
use engine::codec::{Codec, Plain};
use engine::command::{CommandContext, Idempotency};
use engine::feed::Live;
use engine::journal::PgJournal;
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{CommandId, Ids, Metadata, ShardId};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::workload::Contender;

/// Connections for reads; a tenant is read once, when its actor starts.
const READ_CONNECTIONS: usize = 8;

pub struct Ours {
    engine: Engine,
    /// Each command carries an id of its own: looked up before deciding, its outcome stored.
    with_ids: bool,
}

impl Ours {
    /// `to`: the server's role on a migrated database.
    pub async fn open(to: &ConnectInfo, with_ids: bool) -> Result<Self> {
        let config: tokio_postgres::Config = to.key_values().parse()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.clone(), NoTls, recycling);
        let pool = Pool::builder(manager).max_size(READ_CONNECTIONS).build()?;
        // Nothing secret is claimed here; a deployment's key is random.
        let codec = Codec::new(Arc::new(Plain), schemas::upcasters(), &[0; 32]);
        let journal = Arc::new(PgJournal::new(config, pool, codec)?);
        let config = EngineConfig::new(WriterConfig::new(ShardId(0), SystemIds.fresh()));
        let engine =
            Engine::start(config, journal, Live::default(), Arc::new(SystemClock), Arc::new(SystemIds))
                .await?;
        engine.owned().await;
        Ok(Self { engine, with_ids })
    }

    /// Ends the engine in order and gives its lease back.
    pub async fn close(&self) {
        self.engine.drain().await;
    }
}

impl Contender for Ours {
    async fn execute(&self, tenant: Uuid, command: TenantCommand, metadata: Metadata) -> Result<u64> {
        let mut context = CommandContext::new(metadata);
        if self.with_ids {
            let id = SystemIds.fresh();
            let mut fingerprint = [0; 32];
            fingerprint[..16].copy_from_slice(id.as_bytes());
            context.idempotency = Some(Idempotency { id: CommandId(id), fingerprint });
        }
        let receipt = self.engine.dispatch::<Tenant>(tenant, command, context).await;
        if !receipt.context("Tenantry did not carry out a command")?.changed() {
            bail!("a command that should have made an event made none");
        }
        Ok(0)
    }
}
