//! `rebuild`, `rollback` and `verify`.

use std::sync::Arc;

use anyhow::{Context, Result};
use engine::projection::{self, Comparison, Projection, RebuildError, RebuildSettings};
use futures::stream::{self, StreamExt};

use crate::Outcome;
use crate::connect::{AT_ONCE, House};
use crate::progress::Board;

/// Rebuilds several in parallel. One that fails keeps none of the others from going on.
pub async fn rebuild(
    house: &House,
    chosen: &[Arc<dyn Projection>],
    settings: RebuildSettings,
    drop_former: bool,
) -> Result<Outcome> {
    let board = Board::new();
    let one = async |projection: &Arc<dyn Projection>| {
        let line = board.line(projection.name());
        let done =
            projection::rebuild(&house.owner, &house.feeds, &**projection, settings, &|p| line.tell(p)).await;
        line.done();
        match done {
            Ok(rebuilt) => {
                let how = if rebuilt.comparison.is_equal() {
                    "the same rows as before"
                } else {
                    "other rows than before"
                };
                let continued = if rebuilt.continued { ", continued" } else { "" };
                board.print(&format!(
                    "{}: rebuilt{continued}, generation {} serves with {how} ({})",
                    rebuilt.projection,
                    rebuilt.generation,
                    summary(&rebuilt.comparison)
                ));
                for line in details(&rebuilt.comparison) {
                    board.print(&line);
                }
                if drop_former {
                    let dropped = projection::drop_former(&house.owner, &**projection).await;
                    return told(&board, projection.name(), dropped.map(|_| Outcome::Fine));
                }
                Outcome::Fine
            }
            Err(RebuildError::Different(comparison)) => {
                board.print(&format!(
                    "{}: DIFFERENT from what serves ({}); nothing was swapped. If what serves is wrong, swap with --accept-differences.",
                    projection.name(),
                    summary(&comparison)
                ));
                for line in details(&comparison) {
                    board.print(&line);
                }
                Outcome::Differs
            }
            Err(error) => told(&board, projection.name(), Err(error)),
        }
    };
    Ok(worst(stream::iter(chosen).map(one).buffer_unordered(AT_ONCE).collect().await))
}

pub async fn rollback(house: &House, projection: &dyn Projection) -> Result<Outcome> {
    let generation = projection::rollback(&house.owner, &house.feeds, projection)
        .await
        .with_context(|| format!("{} was not rolled back", projection.name()))?;
    println!("{}: rolled back, generation {generation} serves", projection.name());
    Ok(Outcome::Fine)
}

/// Verifies several in parallel.
pub async fn verify(
    house: &House,
    chosen: &[Arc<dyn Projection>],
    settings: RebuildSettings,
) -> Result<Outcome> {
    let board = Board::new();
    let one = async |projection: &Arc<dyn Projection>| {
        let line = board.line(projection.name());
        let done =
            projection::verify(&house.owner, &house.feeds, &**projection, settings, &|p| line.tell(p)).await;
        line.done();
        let comparison = match done {
            Ok(verified) => verified.comparison,
            Err(error) => return told(&board, projection.name(), Err(error)),
        };
        let verdict = if comparison.is_equal() { "no difference" } else { "DIFFERENT" };
        board.print(&format!("{}: {verdict} ({})", projection.name(), summary(&comparison)));
        for line in details(&comparison) {
            board.print(&line);
        }
        if comparison.is_equal() { Outcome::Fine } else { Outcome::Differs }
    };
    Ok(worst(stream::iter(chosen).map(one).buffer_unordered(AT_ONCE).collect().await))
}

fn told(board: &Board, name: &str, result: Result<Outcome, RebuildError>) -> Outcome {
    result.unwrap_or_else(|error| {
        board.print(&format!("{name}: FAILED: {:#}", anyhow::Error::from(error)));
        Outcome::Differs
    })
}

fn worst(outcomes: Vec<Outcome>) -> Outcome {
    if outcomes.contains(&Outcome::Differs) { Outcome::Differs } else { Outcome::Fine }
}

/// Where and how much was compared.
fn summary(comparison: &Comparison) -> String {
    let rows: u64 = comparison.tables.iter().map(|table| table.rows_other).sum();
    let positions: Vec<String> = comparison
        .positions
        .iter()
        .map(|checkpoint| format!("{} {}:{}", checkpoint.feed, checkpoint.shard.0, checkpoint.position))
        .collect();
    let parked = match (comparison.dead_letters_serving, comparison.dead_letters_other) {
        (0, 0) => String::new(),
        (serving, other) => format!(", {serving} events parked in what serves and {other} in the new fold"),
    };
    format!("{rows} rows at {}{parked}", positions.join(", "))
}

/// One line per table that differs. Rows are named by their keys only: the rest can be personal.
fn details(comparison: &Comparison) -> Vec<String> {
    comparison
        .tables
        .iter()
        .filter(|table| table.only_serving + table.only_other > 0)
        .map(|table| {
            format!(
                "  {}: {} rows serve and {} were folded; {} only serve, {} were only folded, such as {}",
                table.table,
                table.rows_serving,
                table.rows_other,
                table.only_serving,
                table.only_other,
                table.examples.join(" ")
            )
        })
        .collect()
}
