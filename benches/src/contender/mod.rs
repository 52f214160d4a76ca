//! Those who are measured: Tenantry in the shapes it has, and its peer.

mod http;
mod journal;
mod shipped;
mod stock;

pub use http::Http;
pub use journal::{Journal, JournalOptions, plain, pool, sealing};
pub use shipped::Shipped;
pub use stock::{Stock, StockPool};

use std::time::Duration;

use aggregates::{Tenant, TenantRejection};
use anyhow::{Context, Result, bail};
use engine::Engine;
use engine::command::{CommandContext, DispatchError};
use uuid::Uuid;

/// How long whoever is told that there is no room stays away.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(10);

/// Dispatches until there is room. Returns how often there was none.
async fn dispatch(
    engine: &Engine,
    tenant: Uuid,
    command: aggregates::TenantCommand,
    mut context: impl FnMut() -> CommandContext,
) -> Result<u64> {
    let mut repeats = 0;
    loop {
        match engine.dispatch::<Tenant>(tenant, command.clone(), context()).await {
            Ok(receipt) if receipt.changed() => return Ok(repeats),
            Ok(_) => bail!("a command that should have made an event made none"),
            Err(DispatchError::<TenantRejection>::Busy { .. }) => {
                repeats += 1;
                tokio::time::sleep(NO_ROOM_PAUSE).await;
            }
            Err(error) => return Err(error).context("Tenantry did not carry out a command"),
        }
    }
}
