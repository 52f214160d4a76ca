//! Tenantry as it is shipped: the server's own composition, with everything on that a deployment has on.
//!
//! Nothing is put together here: claims, the sealing of marked fields, projections, process managers and the ledger are
//! whatever `gateway::serve` makes of its default settings.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engine::command::CommandContext;
use engine::feed::FeedName;
use gateway::serve::Server;
use gateway::settings::Settings;
use gateway::token::{Grant, TTL_MAX};
use kernel::{Position, ShardId, TenantId};
use schemas::values::Role;
use tempfile::TempDir;
use uuid::Uuid;

use super::dispatch;
use crate::server::Private;
use crate::work::{Contender, Wish};

const SHARD: ShardId = ShardId(0);
/// How long what follows the journal may take until it is level.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub struct Shipped {
    pub server: Server,
    _data_dir: TempDir,
}

impl Shipped {
    /// A server of its own on a database, with the default settings but for rate limits, and `flags` of `tenantry
    /// serve`.
    pub async fn open(server: &Private, database: &str, flags: &[&str]) -> Result<Self> {
        let data_dir = tempfile::tempdir().context("a data directory can't be made")?;
        let directory = data_dir.path().join("data");
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let (url, owner_url) = (server.as_server(database).url(), server.as_owner(database).url());
        let (directory, master_key) = (text(&directory), text(&server.master_key));
        let mut all = vec!["--data-dir", &directory, "--master-key-file", &master_key];
        all.extend(["--database-url", &url, "--owner-database-url", &owner_url]);
        all.extend(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        // One caller asks for a thousand.
        all.extend(["--rate-sign-in", "0", "--rate-read", "0", "--rate-write", "0"]);
        all.extend(["--rate-poll", "0", "--rate-tenant", "0", "--rate-address", "0"]);
        all.extend(flags);
        let settings = Settings::from_flags(all).map_err(|problem| anyhow!(problem))?;
        let server = Server::start(settings).await.context("the server can't be started")?;
        server.state.engine.owned().await;
        Ok(Self { server, _data_dir: data_dir })
    }

    /// How far the slowest read model of the journal is.
    pub fn slowest(&self) -> Position {
        let projector = &self.server.state.projector;
        let of_journal =
            projector.projections().iter().filter(|each| each.feeds().contains(&FeedName::Journal));
        let positions = of_journal.map(|each| projector.position(each.name(), FeedName::Journal, SHARD));
        positions.map(Option::unwrap_or_default).min().unwrap_or_default()
    }

    /// The last committed position.
    pub async fn head(&self) -> Result<Position> {
        let client = self.server.state.pool.get().await?;
        let row = client.query_one("SELECT last_position FROM journal_shard WHERE shard = 0", &[]).await?;
        Ok(Position(row.get::<_, i64>(0).unsigned_abs()))
    }

    /// Waits until so many tenants are provisioned to the end and every read model is level.
    pub async fn settled(&self, tenants: usize) -> Result<()> {
        let sql = "SELECT count(*) FROM events WHERE event_type = 'tenant.provisioning_completed'";
        let level = async {
            loop {
                let client = self.server.state.pool.get().await?;
                let done: i64 = client.query_one(sql, &[]).await?.get(0);
                drop(client);
                if usize::try_from(done)? >= tenants && self.slowest() >= self.head().await? {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, level).await.context("what follows the journal doesn't get level")?
    }

    /// An operator's access token.
    pub fn token(&self) -> Result<String> {
        self.sign("local:1000".to_owned(), Role::Operator, None)
    }

    /// A member's access token.
    pub fn token_of(&self, person: Uuid, role: Role, tenant: Uuid) -> Result<String> {
        self.sign(person.to_string(), role, Some(TenantId(tenant)))
    }

    fn sign(&self, subject: String, role: Role, tenant: Option<TenantId>) -> Result<String> {
        let state = &self.server.state;
        let grant = Grant {
            subject,
            session: state.ids.fresh(),
            token_id: state.ids.fresh(),
            tenant,
            role: Some(role),
            scopes: Vec::new(),
            began_at: state.access.position(),
            authenticated_at: state.clock.now(),
            methods: Vec::new(),
            ttl: TTL_MAX,
        };
        Ok(state.keys.tokens.sign(grant, state.clock.now())?.0)
    }

    pub async fn close(self) -> Result<()> {
        self.server.stop().await;
        Ok(())
    }
}

impl Contender for Shipped {
    async fn carry_out(&self, _: usize, tenant: Uuid, wish: Wish) -> Result<u64> {
        let context = || CommandContext::new(wish.metadata(tenant));
        dispatch(&self.server.state.engine, tenant, wish.command(tenant)?, context).await
    }
}
