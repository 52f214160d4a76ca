//! The library's schema, made by the library, also on a server that its SQL is too new for.

use anyhow::{Context, Result};
use disintegrate::serde::json::Json;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::tenants::Store;

/// PostgreSQL 16 is the first that reads hexadecimal numbers.
const HEXADECIMAL: (&str, i32) = ("0xFFFFFFFF", 160_000);
const DECIMAL: &str = "4294967295";

/// Makes the schema and gives a store on the pool.
pub async fn make(to: &PgConnectOptions, pool: PgPool) -> Result<Store> {
    let version: i32 =
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(&pool).await?;
    if version < HEXADECIMAL.1 {
        make_in_decimal(to).await.context("the library's schema could not be made")?;
        return Ok(Store::new_uninitialized(pool, Json::default()));
    }
    Ok(Store::try_new(pool, Json::default()).await?)
}

/// Lets the library make its functions unread, and writes the number in the one that has it as an older server reads it.
async fn make_in_decimal(to: &PgConnectOptions) -> Result<()> {
    let unread = to.clone().options([("check_function_bodies", "off")]);
    let pool = PgPoolOptions::new().max_connections(1).connect_with(unread).await?;
    Store::try_new(pool.clone(), Json::default()).await?;
    let function: String =
        sqlx::query_scalar("SELECT pg_get_functiondef('event_store_begin_epoch'::regproc)")
            .fetch_one(&pool)
            .await?;
    sqlx::raw_sql(&function.replace(HEXADECIMAL.0, DECIMAL)).execute(&pool).await?;
    pool.close().await;
    Ok(())
}

/// What autovacuum does sooner or later. Before, the planner reads the index of the types too, and there a serialisable
/// transaction meets every other.
pub async fn analyse(pool: &PgPool) -> Result<()> {
    sqlx::query("ANALYZE event").execute(pool).await?;
    Ok(())
}
