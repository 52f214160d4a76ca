//! `tenantry migrate`

use anyhow::bail;
use clap::{Args, Subcommand};
use sqlx::Connection as _;
use sqlx::migrate::Migrate as _;

use crate::data_dir::DataDir;
use crate::database::{Database, forward, is_migrated};
use crate::settings::Store;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(subcommand)]
    verb: Verb,

    #[command(flatten)]
    store: Store,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the migrations, and which of them have run
    Status,
    /// Brings the schema up to date, as `serve` does at its start
    Up,
    /// Takes migrations back, with all data in what they made
    Down {
        /// The last migration that stays, such as 20261121000002; 0 takes all of them back
        #[arg(long, value_name = "VERSION")]
        to: i64,
        /// Says that the data may go
        #[arg(long)]
        destroy_data: bool,
    },
}

pub async fn run(args: MigrateArgs) -> anyhow::Result<()> {
    let _ours = DataDir::take(&args.store.data_dir())?;
    let database = Database::open(&args.store).await?;
    let done = carry_out(&args, &database).await;
    database.leave_as_found().await?;
    done
}

async fn carry_out(args: &MigrateArgs, database: &Database) -> anyhow::Result<()> {
    let mut owner = database.owner(args.store.database_wait).await?;
    match args.verb {
        Verb::Up => database.migrate(&mut owner).await?,
        Verb::Down { destroy_data: false, .. } => {
            bail!(
                "taking migrations back destroys what is in their tables; say --destroy-data if that is meant"
            )
        }
        Verb::Down { to, .. } => {
            let mut connection = database.sqlx().await?;
            forward().undo(&mut connection, to).await?;
            connection.close().await?;
        }
        Verb::Status => {}
    }
    let mut connection = database.sqlx().await?;
    let applied = if is_migrated(&mut connection).await? {
        connection.list_applied_migrations().await?
    } else {
        Vec::new()
    };
    for known in forward().iter().filter(|known| !known.migration_type.is_down_migration()) {
        let state = match applied.iter().find(|applied| applied.version == known.version) {
            None => "waits",
            Some(applied) if applied.checksum != known.checksum => "was changed after it ran",
            Some(_) => "has run",
        };
        println!("{} {:<24} {state}", known.version, known.description);
    }
    for newer in
        applied.iter().filter(|applied| forward().iter().all(|known| known.version != applied.version))
    {
        println!("{} {:<24} has run, by a newer version", newer.version, "");
    }
    Ok(())
}
