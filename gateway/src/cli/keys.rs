//! `tenantry keys`

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use engine::clock::{SystemClock, SystemIds};
use engine::keyring::{Keyring, rotate_master};
use kernel::TenantId;

use crate::database::Database;
use crate::settings::Store;

#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,

    #[command(flatten)]
    store: Store,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Replaces a key; no event is rewritten, and a server may run meanwhile
    ///
    /// Interrupted, it goes on when it is asked again.
    Rotate(Rotate),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Rotate {
    /// The master key: its file is replaced, and every key in the database is wrapped anew. Other copies of the file are
    /// yours to replace
    #[arg(long)]
    master: bool,

    /// The key that people's and tenants' keys are wrapped under
    #[arg(long)]
    data: bool,

    /// Wrap anew what an interrupted rotation of that key left
    #[arg(long)]
    data_continue: bool,

    /// A tenant's own key: what is written from now on is sealed under another one
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
}

pub async fn run(args: KeysArgs) -> anyhow::Result<()> {
    let database = Database::open(&args.store).await?;
    let done = carry_out(&args, &database).await;
    database.leave_as_found().await?;
    println!("{}", done?);
    Ok(())
}

async fn carry_out(
    KeysArgs { verb: Verb::Rotate(what), store }: &KeysArgs,
    database: &Database,
) -> anyhow::Result<String> {
    if what.master {
        let mut owner = database.owner(store.database_wait).await?;
        let file = store.master_key_path().context(
            "the master key is in a variable, which can't be replaced from here: put it into a file of mode 0600, name \
             that by --master-key-file, and rotate then",
        )?;
        let count =
            rotate_master(&mut owner, &file).await.context("the master key is not rotated yet; ask again")?;
        return Ok(format!("{count} keys are wrapped under the new master key in {}", file.display()));
    }
    drop(database.owner(store.database_wait).await?);
    database.check().await?;
    let pool = database.pool(2)?;
    let keyring =
        Keyring::open(pool, store.master_source(), Arc::new(SystemClock), Arc::new(SystemIds), false).await?;
    if let Some(tenant) = what.tenant {
        let version = keyring.rotate_tenant(tenant).await?;
        return Ok(format!(
            "version {version} of the tenant's key seals from now on, on running servers within seconds"
        ));
    }
    let count = if what.data { keyring.rotate_wrapping().await? } else { keyring.rewrap().await? };
    Ok(format!("{count} keys were wrapped anew"))
}
