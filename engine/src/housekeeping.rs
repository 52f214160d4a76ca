//! Forgetting stored outcomes after their time: a retry is expected within a day, not for ever.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use kernel::Clock;

use crate::journal::Journal;

/// How long the answer to a command that carried an id is kept, in hours.
pub const OUTCOME_HOURS: i64 = 24;
/// How often expired outcomes are looked for.
const ROUND: Duration = Duration::from_secs(60);
/// Outcomes deleted in one transaction, at most, so that nobody waits long for it.
const BATCH_MAX: u32 = 5_000;

/// Runs until the task is dropped.
pub(crate) async fn run(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(ROUND).await;
        if let Err(error) = expire_outcomes(&*journal, &*clock).await {
            tracing::warn!(error = %error, "expired outcomes could not be deleted; tried again in a minute");
        }
    }
}

/// Deletes all outcomes that are older than [`OUTCOME_HOURS`]; returns how many there were.
pub async fn expire_outcomes(
    journal: &dyn Journal,
    clock: &dyn Clock,
) -> Result<u64, crate::journal::ReadError> {
    let before = clock.now() - TimeDelta::hours(OUTCOME_HOURS);
    let mut expired = 0;
    loop {
        let deleted = journal.expire_outcomes(before, BATCH_MAX).await?;
        expired += deleted;
        if deleted < u64::from(BATCH_MAX) {
            return Ok(expired);
        }
    }
}
