//! What it costs that marked fields are sealed (AES-256-GCM, under the keys of persons and tenants): commands, and replay.

mod replay;

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::JournalOptions;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::{Entrant, Side};
use crate::summary::Spread;

pub const WORKLOAD: Workload = Workload {
    name: "sealing",
    what: "Setting a flag, whose value is confidential, of one of 1,000 tenants drawn at random, 256 commands in flight: the \
           write path alone, sealing as a server does. Then: what was written, read from position zero, decoded and folded.",
    peer: "the same with marked fields stored as they are",
    wanted: "under 10 % of commands/s",
    expected_s: (20, 80),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let options = JournalOptions::default();
    let entrants = vec![
        Entrant::fresh("sealed", Side::Sealing(options), TENANTS),
        Entrant::fresh("as it is", Side::Journal(options), TENANTS),
    ];
    let entries = bench.compete(entrants, bench.effort(IN_FLIGHT, SECONDS), bench.rounds(5)).await?;
    let share = entries[0].ratio_to(&entries[1]);
    let cost = 1.0 - share.median;
    let replayed = replay::measure(bench).await?;
    let of_replay = Spread::ratio(&replayed.sealed, &replayed.plain);
    let mut replay_table = Table::new("Replay", ["", "events/s", "lowest – highest"]);
    for (name, rates) in [("sealed", &replayed.sealed), ("as it is", &replayed.plain)] {
        let Spread { median, lowest, highest } = Spread::of(rates.iter().copied());
        replay_table.row([name.to_owned(), format!("{median:.0}"), format!("{lowest:.0} – {highest:.0}")]);
    }
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "sealing costs under 10 % of commands/s",
                percent(&share),
                Reached::if_so(cost < 0.1),
            ),
            Verdict::new("what it costs a replay", percent(&of_replay), Reached::Stated),
        ],
        tables: vec![Table::of_rounds("", &entries), replay_table],
        notes: vec![
            "Each command seals one value; nothing is read back but what an actor starts from.".to_owned(),
            format!(
                "Replay: {} events, of which each holds one value or more that is sealed, and each read as a rebuild reads.",
                replayed.events
            ),
        ],
        data: json!({ "share": share, "entries": entries, "replay_sealed_per_second": replayed.sealed,
                      "replay_plain_per_second": replayed.plain }),
        ..Finding::default()
    })
}

/// What is missing to the whole, of a share.
fn percent(share: &Spread) -> String {
    let missing = |part: f64| (1.0 - part) * 100.0;
    format!("{:.1} % ({:.1} to {:.1})", missing(share.median), missing(share.highest), missing(share.lowest))
}
