//! `dead-letters`: what could not be folded.

use std::sync::Arc;

use anyhow::{Context, Result};
use engine::projection::{self, Projection};

use crate::Outcome;
use crate::connect::House;

pub async fn list(house: &House, chosen: &[Arc<dyn Projection>]) -> Result<Outcome> {
    let mut count = 0;
    for projection in chosen {
        for letter in projection::dead_letters(&house.owner, &**projection).await? {
            count += 1;
            println!(
                "{} (generation {}): {} at {} {}:{}, since {}: {}",
                letter.projection,
                letter.generation,
                letter.stream,
                letter.feed,
                letter.shard.0,
                letter.position,
                letter.parked_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                letter.reason
            );
        }
    }
    if count == 0 {
        println!("nothing is parked");
    }
    Ok(Outcome::Fine)
}

pub async fn retry(house: &House, projection: &dyn Projection) -> Result<Outcome> {
    let replay = projection::replay_dead_letters(&house.owner, &house.feeds, projection)
        .await
        .with_context(|| format!("the dead letters of {} can't be replayed", projection.name()))?;
    println!("{}: {} events folded, {} still parked", projection.name(), replay.folded, replay.parked);
    Ok(if replay.parked == 0 { Outcome::Fine } else { Outcome::Differs })
}
