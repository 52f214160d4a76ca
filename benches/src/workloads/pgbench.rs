//! Commands beside what PostgreSQL does for clients that insert one row each.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use super::Workload;
use crate::bench::Bench;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::{Entrant, Side};
use crate::server::connect;
use crate::summary::{Entry, Spread};

pub const WORKLOAD: Workload = Workload {
    name: "pgbench",
    what: "256 commands in flight over 1,000 aggregates, as shipped, beside PostgreSQL's own benchmark tool.",
    peer: "pgbench, a prepared single-row INSERT of the same payload, 64 clients on 2 threads, each insert a commit",
    wanted: "≥ 2.5 × pgbench",
    expected_s: (15, 50),
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_pgbench";
const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    let entrant = Entrant::fresh("Tenantry as shipped", Side::Shipped, TENANTS);
    let mut ours = Entry { name: entrant.name.clone(), rounds: Vec::new() };
    let mut inserts = Vec::new();
    for number in 0..bench.rounds(3) {
        let mut both = async |first: bool| -> Result<()> {
            if first {
                ours.rounds.push(entrant.round(bench, effort, u64::from(number) + 1).await?);
            } else {
                let per_second = pgbench(bench, effort.measured).await;
                bench.server.drop_database(DATABASE).await?;
                inserts.push(per_second?);
            }
            Ok(())
        };
        let first = number % 2 == 0;
        both(first).await?;
        both(!first).await?;
        bench.progress.say(&format!(
            "  round {}: {:.0} commands/s beside {:.0} inserts/s",
            number + 1,
            ours.per_second().last().copied().unwrap_or_default(),
            inserts.last().copied().unwrap_or_default()
        ));
    }
    let ratio = Spread::ratio(&ours.per_second(), &inserts);
    let mut table = Table::new("", ["", "per second", "lowest – highest"]);
    for (name, spread) in [
        ("Tenantry as shipped, commands", Spread::of(ours.per_second())),
        ("pgbench, inserts", Spread::of(inserts.iter().copied())),
    ] {
        let range = format!("{:.0} – {:.0}", spread.lowest, spread.highest);
        table.row([name.to_owned(), format!("{:.0}", spread.median), range]);
    }
    Ok(Finding {
        verdicts: vec![Verdict::new(
            "≥ 2.5 × pgbench",
            format!("{} ×", ratio.text(1)),
            Reached::if_so(ratio.median >= 2.5),
        )],
        tables: vec![table],
        data: json!({ "ours": ours, "inserts_per_second": inserts }),
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
