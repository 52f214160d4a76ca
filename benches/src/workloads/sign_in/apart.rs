//! What a core makes that has only the server, while client and database keep to the others.

use std::time::Duration;

use anyhow::Result;

use super::bare_hash;
use super::house::House;
use crate::bench::Bench;
use crate::cores::{self, Core};
use crate::server::Private;

/// Of one core, in a second.
pub struct Apart {
    /// The mean of right before the logins and right after them.
    pub bare: f64,
    pub logins: f64,
}

/// How often the bare hash and logins take turns: what else goes on in the machine changes within seconds.
const TURNS: usize = 6;

/// Bare hashes, logins, bare hashes, and so on. Empty: there is but one core.
pub fn measure(bench: &Bench, time: Duration) -> Result<Vec<Apart>> {
    let all = cores::all()?;
    let [own, others @ ..] = &all[..] else { return Ok(Vec::new()) };
    let Some(other) = others.first() else { return Ok(Vec::new()) };
    let (server, client) = (Core::of(*own)?, Core::of(*other)?);
    let kept = Kept::to(&bench.server, others, &all)?;
    let house = server.run(|| House::open(bench, "RS256"))?;
    let hash = || {
        bench.progress.now("the bare hash, one core");
        server.run(async || bare_hash(time / 2))
    };
    let mut before = hash()?;
    let turn = || {
        bench.progress.now("logins, one core");
        let logins = client.run(|| house.logins(time))?;
        let bare = f64::midpoint(before, hash()?);
        before = 2.0 * bare - before;
        Ok(Apart { bare, logins })
    };
    let found: Result<Vec<_>> = std::iter::repeat_with(turn).take(TURNS).collect();
    server.run(|| house.shipped.close())?;
    drop(kept);
    server.end();
    client.end();
    found
}

/// PostgreSQL keeps to some cores until this is dropped.
struct Kept<'a> {
    server: &'a Private,
    all: &'a [usize],
}

impl<'a> Kept<'a> {
    fn to(server: &'a Private, cores: &[usize], all: &'a [usize]) -> Result<Self> {
        let kept = Self { server, all };
        server.keep_to(cores)?;
        Ok(kept)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // What comes after would be measured on fewer cores, and says by its own figures that something is wrong.
        if let Err(error) = self.server.keep_to(self.all) {
            eprintln!("PostgreSQL still keeps to some cores: {error:#}");
        }
    }
}
