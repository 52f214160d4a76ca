//! Commands beside what PostgreSQL does for clients that insert one row each.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use super::Workload;
use crate::bench::Bench;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::Entrant;
use crate::server::connect;
use crate::summary::Spread;

pub const WORKLOAD: Workload = Workload {
    name: "pgbench",
    what: "256 commands in flight over 1,000 aggregates, as shipped and the journal alone, beside PostgreSQL's own benchmark tool.",
    peer: "pgbench, a prepared single-row INSERT of the same payload, 64 clients on 2 threads, each insert a commit",
    wanted: "≥ 2.5 × pgbench, like for like and as shipped",
    expected_s: (20, 80),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_pgbench";
const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    let ours = Entrant::both(TENANTS);
    let mut entries = ours.each_ref().map(Entrant::entry);
    let mut inserts = Vec::new();
    for number in 0..bench.rounds(3) {
        // Who begins changes from round to round; the last of the three is pgbench.
        for turn in 0..=ours.len() {
            let index = (number as usize + turn) % (ours.len() + 1);
            if let Some(entrant) = ours.get(index) {
                entries[index].rounds.push(entrant.round(bench, effort, u64::from(number) + 1).await?);
                continue;
            }
            let per_second = pgbench(bench, effort.measured).await;
            bench.server.drop_database(DATABASE).await?;
            inserts.push(per_second?);
        }
        let last = |rates: &[f64]| rates.last().copied().unwrap_or_default();
        bench.progress.say(&format!(
            "  round {}: {:.0} commands/s as shipped and {:.0} of the journal alone beside {:.0} inserts/s",
            number + 1,
            last(&entries[0].per_second()),
            last(&entries[1].per_second()),
            last(&inserts)
        ));
    }
    let [shipped, alone] = entries.each_ref().map(|entry| Spread::ratio(&entry.per_second(), &inserts));
    let verdict = |wanted: &str, ratio: &Spread| {
        Verdict::new(wanted, format!("{} ×", ratio.text(1)), Reached::if_so(ratio.median >= 2.5))
    };
    let mut table = Table::new("", ["", "per second", "lowest – highest"]);
    for (name, rates) in [
        ("Tenantry as shipped, commands", entries[0].per_second()),
        ("Tenantry, journal alone, commands", entries[1].per_second()),
        ("pgbench, inserts", inserts.clone()),
    ] {
        let Spread { median, lowest, highest } = Spread::of(rates);
        table.row([name.to_owned(), format!("{median:.0}"), format!("{lowest:.0} – {highest:.0}")]);
    }
    Ok(Finding {
        verdicts: vec![
            verdict("like for like, nothing following: ≥ 2.5 × pgbench", &alone),
            verdict("as shipped: ≥ 2.5 × pgbench", &shipped),
        ],
        tables: vec![table],
        notes: vec![
            "What pgbench inserts nothing follows, as nothing follows the *journal alone*.".to_owned(),
        ],
        data: json!({ "entries": entries, "inserts_per_second": inserts }),
        ..Finding::default()
    })
}

/// Inserts a second.
async fn pgbench(bench: &Bench, time: Duration) -> Result<f64> {
    bench.server.fresh_database(DATABASE, None).await?;
    let to = bench.server.as_owner(DATABASE);
    connect(&to).await?.batch_execute(include_str!("../sql/pgbench_tables.sql")).await?;
    bench.server.checkpoint().await?;
    bench.progress.now("pgbench inserts");
    let program = cluster::find_binaries(None)?.dir.join("pgbench");
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), include_str!("../sql/pgbench_insert.sql"))?;
    let output = Command::new(&program)
        .args(["--no-vacuum", "--protocol=prepared", "--client=64", "--jobs=2"])
        .arg(format!("--time={}", time.as_secs().max(1)))
        .arg(format!("--file={}", script.path().display()))
        .arg(format!("--host={}", to.socket_dir.display()))
        .arg(format!("--port={}", to.port))
        .arg(format!("--username={}", to.user))
        .arg(&to.database)
        .env("PGPASSWORD", &to.password)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| {
            format!("{} can't be run; it comes with PostgreSQL's server package", program.display())
        })?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Each of the clients tells the same.
    ensure!(output.status.success(), "pgbench failed: {}", errors.lines().next().unwrap_or_default());
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.with_context(|| format!("pgbench told no rate: {text}"))
}
