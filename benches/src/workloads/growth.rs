//! What it costs that a journal has grown.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Journal, JournalOptions};
use crate::fill::Fill;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::load::closed;
use crate::plot::{Axis, Line, Plot};
use crate::round::{Entrant, Ground, Side};
use crate::summary::{Entry, Spread};
use crate::work;

pub const WORKLOAD: Workload = Workload {
    name: "growth",
    what: "256 commands in flight over 1,000 new aggregates on a journal of 0, 1 million and 10 million events (a quick \
           run stops at 1 million).",
    peer: "itself on an empty journal, before and after each",
    wanted: "flat within 15 %; void where the control spreads more than 10 %",
    expected_s: (60, 350),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 4.0;
const EVENTS_PER_STREAM: u64 = 100;
const FLAT_WITHIN: f64 = 0.15;
const CONTROL_WITHIN: f64 = 0.10;
/// How many times a journal must have stood between two alike controls.
const HELD: u32 = 3;
/// How often that is tried, for each that is wanted.
const TRIES: u32 = 4;
const MILLION: u64 = 1_000_000;
const SIDE: Side =
    Side::Journal(JournalOptions { with_ids: false, actors_live_max: None, snapshot_events_min: None });

/// Databases by how many events they begin with.
const FILLED: [(&str, u64); 2] = [("bench_growth_1m", MILLION), ("bench_growth_10m", 10 * MILLION)];

/// A journal that has grown, and how it stood beside empty ones.
struct Grown {
    events: u64,
    entrant: Entrant,
    entry: Entry,
    turns: Vec<Turn>,
}

/// A grown journal between two empty ones.
#[derive(Clone, Copy, Debug, Serialize)]
struct Turn {
    before: f64,
    grown: f64,
    after: f64,
}

impl Turn {
    fn control(&self) -> f64 {
        f64::midpoint(self.before, self.after)
    }

    /// Whether the machine stayed the same meanwhile, by what the empty ones say.
    fn holds(&self) -> bool {
        (self.before - self.after).abs() <= CONTROL_WITHIN * self.control()
    }

    /// Of the commands that an empty journal takes.
    fn share(&self) -> f64 {
        self.grown / self.control()
    }
}

impl Grown {
    fn held(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.holds())
    }
}

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    for (database, _) in FILLED {
        bench.server.drop_database(database).await?;
    }
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let mut filled = Vec::new();
    for &(database, events) in &FILLED[..bench.by_size(1, 2)] {
        filled.push(grown(bench, database, events).await?);
    }
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    let wanted = bench.rounds(HELD) as usize;
    let empty = Entrant::fresh("an empty journal", SIDE, TENANTS);
    let mut control = empty.entry();
    control.rounds.push(empty.round(bench, effort, 1).await?);
    for number in 0..u64::from(bench.rounds(HELD) * TRIES) {
        for grown in filled.iter_mut().filter(|grown| grown.held().count() < wanted) {
            let before = control.rounds.last().map_or(0.0, |round| round.commands_per_second);
            let round = grown.entrant.round(bench, effort, number + 1).await?;
            let after = empty.round(bench, effort, number + 1).await?;
            let turn = Turn { before, grown: round.commands_per_second, after: after.commands_per_second };
            grown.entry.rounds.push(round);
            control.rounds.push(after);
            grown.turns.push(turn);
            let told = if turn.holds() { "" } else { "; void, for the controls are not alike" };
            bench.progress.say(&format!(
                "  {}: {:.0} commands/s, empty {:.0} before and {:.0} after{told}",
                grown.entry.name, turn.grown, turn.before, turn.after
            ));
        }
    }
    Ok(finding(control, filled, wanted))
}

/// A filled journal with new tenants on top of it.
async fn grown(bench: &Bench, database: &'static str, events: u64) -> Result<Grown> {
    let fill = Fill { streams: events / EVENTS_PER_STREAM, events_per_stream: EVENTS_PER_STREAM };
    fill.ours(bench, database).await?;
    let tenants = work::tenants(TENANTS);
    let journal = Journal::open(&bench.server.as_server(database), JournalOptions::default()).await?;
    let provisioned = closed::provision(&journal, &tenants).await;
    journal.close().await;
    provisioned.context("the tenants can't be provisioned")?;
    let ground = Ground::Kept { database, tenants: tenants.into() };
    let entrant = Entrant { name: format!("{} million events", events / MILLION), side: SIDE, ground };
    let entry = entrant.entry();
    Ok(Grown { events, entrant, entry, turns: Vec::new() })
}

fn finding(control: Entry, filled: Vec<Grown>, wanted: usize) -> Finding {
    let mut verdicts = Vec::new();
    // An empty journal stands at one event, as nothing has no logarithm.
    let mut points = vec![(1.0, Spread::of(control.per_second()))];
    let mut table = Table::new(
        "Between two empty journals that are alike",
        ["", "of an empty one", "lowest – highest", "turns", "void"],
    );
    for grown in &filled {
        let share = Spread::of(grown.held().map(Turn::share));
        let (held, all) = (grown.held().count(), grown.turns.len());
        let reached = match held >= wanted {
            true => Reached::if_so(share.median >= 1.0 - FLAT_WITHIN),
            false => Reached::Void,
        };
        verdicts.push(Verdict::new(
            &format!("{}: within 15 % of empty", grown.entry.name),
            format!("{:+.1} % ({held} of {all} turns hold)", (share.median - 1.0) * 100.0),
            reached,
        ));
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        table.row([
            grown.entry.name.clone(),
            percent(share.median),
            format!("{} – {}", percent(share.lowest), percent(share.highest)),
            all.to_string(),
            (all - held).to_string(),
        ]);
        points.push((grown.events as f64, Spread::of(grown.entry.per_second())));
    }
    let turns: Vec<_> = filled.iter().map(|grown| (grown.entry.name.clone(), grown.turns.clone())).collect();
    let mut entries = vec![control];
    entries.extend(filled.into_iter().map(|grown| grown.entry));
    Finding {
        verdicts,
        tables: vec![Table::of_rounds("", &entries), table],
        notes: vec![
            "The write path alone, so that no read model of a grown journal is rebuilt meanwhile. A turn is a round of the \
             grown journal between two of empty ones; it is void if those are more than 10 % apart, for then the machine \
             changed meanwhile, and another turn is had."
                .to_owned(),
        ],
        plots: vec![Plot::lines(
            "growth",
            "Commands per second by events in the journal",
            Axis::logarithmic("events in the journal (1 stands for none)"),
            Axis::linear("commands/s"),
            vec![Line { name: "journal alone".to_owned(), points }],
        )],
        data: json!({ "entries": entries, "turns": turns }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_holds_if_its_controls_are_alike_whatever_came_of_it() {
        let turn = |before, grown, after| Turn { before, grown, after };
        assert!(turn(100.0, 1.0, 110.0).holds() && turn(110.0, 300.0, 100.0).holds());
        assert!(!turn(100.0, 100.0, 112.0).holds() && !turn(112.0, 100.0, 100.0).holds());
        assert_eq!(turn(90.0, 50.0, 110.0).share(), 0.5);
    }
}
