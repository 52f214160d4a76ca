//! `tenantry token`

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::feed::Live;
use engine::ledger::AuditLedger;
use kernel::{Clock, Ids, PersonId, Position, TenantId};
use schemas::values::Role;

use crate::audit::Audit;
use crate::data_dir::{DataDir, DataDirError};
use crate::database::Database;
use crate::keys::KeyStore;
use crate::local::{self, AskError, Issued, Issuer, TokenWish};
use crate::settings::{Store, duration};

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What the token's holder may act as: operator, supervisor, auditor, developer; or owner, administrator, user
    #[arg(long)]
    role: Role,

    /// The tenant the token is limited to; needed for owner, administrator and user
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,

    /// The person whose token it is; else it is that of this machine's user
    #[arg(long, value_name = "ID")]
    person: Option<PersonId>,

    /// How long it lives, at most 15m
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    ttl: Duration,

    #[command(flatten)]
    store: Store,
}

pub async fn run(args: TokenArgs) -> anyhow::Result<()> {
    let wish =
        TokenWish { role: args.role, tenant: args.tenant, person: args.person, ttl_s: args.ttl.as_secs() };
    wish.check()?;
    let issued = obtain(&args.store, &wish).await?;
    println!("{}", issued.token);
    Ok(())
}

/// A token from the running server, or, if none runs, signed here.
pub async fn obtain(store: &Store, wish: &TokenWish) -> anyhow::Result<Issued> {
    let data_dir = store.data_dir();
    match local::ask(&data_dir, wish).await {
        Ok(issued) => Ok(issued),
        Err(AskError::NoServer) => sign_here(store, wish).await,
        Err(error) => Err(error)
            .with_context(|| format!("no token from the server with data in {}", data_dir.display())),
    }
}

/// Signs with the keys in the database. Nobody serves meanwhile: the data directory is ours.
async fn sign_here(store: &Store, wish: &TokenWish) -> anyhow::Result<Issued> {
    let path = store.data_dir();
    if !path.exists() {
        anyhow::bail!(
            "no server runs, and there is no data directory {}: start `tenantry serve`, or name the right one with \
             --data-dir",
            path.display()
        );
    }
    let ours = match DataDir::take(&path) {
        Ok(ours) => ours,
        Err(error @ DataDirError::InUse { .. }) => {
            return Err(error).context("a server is starting or stopping; try again in a moment");
        }
        Err(error) => return Err(error.into()),
    };
    let database = Database::open(store).await?;
    let issued = sign(store, &ours, &database, wish).await;
    database.leave_as_found().await?;
    issued
}

async fn sign(
    store: &Store,
    ours: &DataDir,
    database: &Database,
    wish: &TokenWish,
) -> anyhow::Result<Issued> {
    {
        let owner = database.owner(store.database_wait).await?;
        // As a server's start does: never with the keys of another or an older journal.
        let witness = ours.witness()?;
        DataDir::recognise(&witness, witness.look(&owner).await?.as_ref(), None)?;
    }
    database.check().await?;
    let (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let pool = database.pool(4)?;
    let keys = KeyStore::new(pool.clone(), store.master_source(), clock.clone(), ids.clone());
    let (keys, claim_key) = keys.open(&store.known_issuer()).await?;
    if let Some(tenant) = wish.tenant {
        let client = pool.get().await?;
        let known =
            "SELECT EXISTS (SELECT FROM events WHERE aggregate_type = 'tenant' AND aggregate_id = $1)";
        if !client.query_one(known, &[&tenant.to_string()]).await?.get::<_, bool>(0) {
            return Err(local::IssueError::NoTenant(tenant).into());
        }
    }
    let head = {
        let head = "SELECT coalesce(max(last_position), 0) FROM journal_shard WHERE shard = 0";
        Position(pool.get().await?.query_one(head, &[]).await?.get::<_, i64>(0).unsigned_abs())
    };
    let keyring = crate::keys::keyring(store, &pool, &clock, &ids).await?;
    let codec = Codec::sealing(keyring, schemas::upcasters(), &claim_key);
    let ledger = AuditLedger::start(pool, codec, Live::default(), clock.clone());
    let audit = Audit::new(Arc::new(ledger.clone()), clock.clone(), ids.clone());
    let issuer = Issuer { tokens: &keys.tokens, audit: &audit, clock: &*clock, ids: &*ids, head };
    let uid = rustix::process::getuid().as_raw();
    let issued = issuer.issue(wish, uid).await;
    ledger.drain().await;
    Ok(issued?)
}
