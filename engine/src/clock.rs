//! The clock and the ids of a running system; tests bring their own.

use chrono::{DateTime, SubsecRound, Utc};
use kernel::{Clock, Ids};
use uuid::Uuid;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time enters")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

/// Random ids, version 7: they grow with time, so that indexes over them stay dense.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "this is where ids enter")]
    fn fresh(&self) -> Uuid {
        Uuid::now_v7()
    }
}
