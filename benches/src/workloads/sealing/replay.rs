//! What sealing costs whoever reads the journal from position zero.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::super::replay::fold;
use super::TENANTS;
use crate::bench::Bench;
use crate::contender::{Journal, JournalOptions, plain, sealing};
use crate::load::closed;
use crate::server::MIGRATED;
use crate::work::{Wish, tenants};

const SEALED: &str = "bench_sealed";
const PLAIN: &str = "bench_plain";

/// Events per second, of each round.
#[derive(Default)]
pub struct Rates {
    pub sealed: Vec<f64>,
    pub plain: Vec<f64>,
    pub events: u64,
}

/// Writes the same events twice, sealed and as they are, by the engine; then reads, decodes and folds both in turns.
pub async fn measure(bench: &Bench) -> Result<Rates> {
    let measured = with(bench).await;
    for database in [SEALED, PLAIN] {
        bench.server.drop_database(database).await?;
    }
    measured
}

async fn with(bench: &Bench) -> Result<Rates> {
    let flags = bench.by_size(10, 100);
    let mut rates = Rates { events: (flags + 1) * TENANTS as u64, ..Rates::default() };
    for database in [SEALED, PLAIN] {
        write(bench, database, flags).await?;
    }
    for round in 0..bench.rounds(5) {
        let order = if round % 2 == 0 { [SEALED, PLAIN] } else { [PLAIN, SEALED] };
        for database in order {
            bench.progress.now(&format!("decode and fold of {database}"));
            let from = bench.server.as_server(database);
            let (codec, of) = if database == SEALED {
                (sealing(&from, &bench.server.master_key).await?, &mut rates.sealed)
            } else {
                (plain(), &mut rates.plain)
            };
            let began = Instant::now();
            let events = fold(&from, codec, TENANTS as u64).await?;
            ensure!(events == rates.events, "{events} of {} events were read", rates.events);
            of.push(events as f64 / began.elapsed().as_secs_f64());
        }
    }
    Ok(rates)
}

async fn write(bench: &Bench, database: &str, flags: u64) -> Result<()> {
    bench.progress.now(&format!("writing {database}"));
    bench.server.fresh_database(database, Some(MIGRATED)).await?;
    let to = bench.server.as_server(database);
    let options = JournalOptions::default();
    let journal = match database {
        SEALED => Journal::open_sealing(&to, options, &bench.server.master_key).await?,
        _ => Journal::open(&to, options).await?,
    };
    let tenants = tenants(TENANTS);
    let written = async {
        closed::provision(&journal, &tenants).await?;
        for flag in 0..flags {
            closed::each(&journal, &tenants, |index| Wish::SetFlag((flag + 1) << 32 | index as u64)).await?;
        }
        anyhow::Ok(())
    };
    let written = written.await;
    journal.close().await;
    written
}
