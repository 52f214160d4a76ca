//! The database: the server's private cluster, or a given one.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cluster::{Cluster, Options};
use deadpool_postgres::Pool;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::feed::{Feed, Live};
use engine::journal::PgFeed;
use engine::keyring::{Keyring, KeyringError, MasterKey};
use engine::ledger::AuditFeed;
use engine::projection::Feeds;
use kernel::ShardId;
use tokio_postgres::Config;

use crate::args::Settings;

/// How many read models are worked on at once.
pub const AT_ONCE: usize = 4;
/// Each needs three for the folding, the comparing and the holding, and two for reading ahead.
const CONNECTIONS_MAX: usize = AT_ONCE * 5;

/// What every verb works with, as the role that owns the schema.
pub struct House {
    pub owner: Pool,
    pub config: Config,
    pub codec: Codec,
    pub feeds: Feeds,
}

impl House {
    pub async fn open(settings: &Settings) -> Result<Self> {
        let mut config = find(settings).await?;
        config.application_name("tenantry replay");
        let owner = engine::database::pool(&config, CONNECTIONS_MAX).context("the pool can't be made")?;
        let client = owner.get().await.context("can't connect to the database")?;
        let shards = client
            .query("SELECT shard FROM journal_shard ORDER BY shard", &[])
            .await
            .context("this database holds no journal that can be read: has `tenantry serve` migrated it?")?;
        let codec = codec(settings, &owner).await?;
        let mut feeds: Vec<Arc<dyn Feed>> = shards
            .iter()
            .map(|row| {
                let shard = ShardId(row.get(0));
                Arc::new(PgFeed::new(owner.clone(), codec.clone(), shard, Live::default())) as Arc<dyn Feed>
            })
            .collect();
        feeds.push(Arc::new(AuditFeed::new(owner.clone(), codec.clone(), Live::default())));
        drop(client);
        Ok(Self { owner, config, codec, feeds: Feeds::new(feeds) })
    }
}

/// Reads only: no claim is ever hashed here, so the key for that isn't needed.
async fn codec(settings: &Settings, owner: &Pool) -> Result<Codec> {
    let claim_key = &[0; 32];
    let data_dir = settings.data_dir.clone().unwrap_or_else(cluster::default_data_dir);
    let file = settings.master_key_file.clone().filter(|file| !file.as_os_str().is_empty());
    let master = Arc::new(move || MasterKey::find(file.as_deref(), &data_dir, false));
    match Keyring::open(owner.clone(), master, Arc::new(SystemClock), Arc::new(SystemIds), false).await {
        Ok(keyring) => Ok(Codec::sealing(Arc::new(keyring), schemas::upcasters(), claim_key)),
        // Nothing was ever sealed here.
        Err(KeyringError::NoWrapping) => Ok(Codec::plain(schemas::upcasters(), claim_key)),
        Err(error) => Err(error).context("the events are sealed, and their keys can't be opened"),
    }
}

async fn find(settings: &Settings) -> Result<Config> {
    let given = [
        ("TENANTRY_OWNER_DATABASE_URL", &settings.owner_database_url),
        ("DATABASE_URL", &settings.database_url),
    ];
    for (name, url) in given {
        if let Some(url) = url.as_deref().filter(|url| !url.is_empty()) {
            // The parser's error may quote the URL, which holds a password.
            return url.parse().map_err(|_| anyhow::anyhow!("{name} is no PostgreSQL URL"));
        }
    }
    let data_dir = settings.data_dir.clone().unwrap_or_else(cluster::default_data_dir);
    let Some(found) = Cluster::open(&data_dir)? else {
        bail!(
            "there is no PostgreSQL cluster in {}: start `tenantry serve` once, or give --data-dir or DATABASE_URL",
            data_dir.display()
        );
    };
    // It works without the server too.
    let running =
        if found.is_running() { found } else { Cluster::ensure(&data_dir, Options::default()).await? };
    running.owner().key_values().parse().context("the cluster's settings are malformed")
}
