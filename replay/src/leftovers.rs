//! `leftovers`: what other versions of the binary left in the database.

use anyhow::Result;
use engine::projection::{self, Leftover, Projection};

use crate::Outcome;
use crate::connect::House;

/// Lists it: exit code 1 if there is any.
pub async fn list(house: &House) -> Result<Outcome> {
    let ours = projections::all();
    let ours: Vec<&dyn Projection> = ours.iter().map(|projection| &**projection).collect();
    let found = projection::leftovers(&house.owner, &ours).await?;
    for leftover in &found {
        let newer = if leftover.is_newer { ", of a newer version than this binary" } else { "" };
        println!("{}{newer}", told(leftover));
    }
    Ok(if found.is_empty() {
        println!("nothing is left of other versions");
        Outcome::Fine
    } else {
        println!("once no binary of another version runs: replay leftovers --drop");
        Outcome::Differs
    })
}

pub async fn drop(house: &House) -> Result<Outcome> {
    let ours = projections::all();
    let ours: Vec<&dyn Projection> = ours.iter().map(|projection| &**projection).collect();
    let dropped = projection::drop_leftovers(&house.owner, &ours).await?;
    for leftover in &dropped {
        println!("{}: dropped", told(leftover));
    }
    if dropped.is_empty() {
        println!("nothing is left of other versions");
    }
    Ok(Outcome::Fine)
}

fn told(leftover: &Leftover) -> String {
    format!("{} version {} ({} KiB)", leftover.table, leftover.version, leftover.bytes.div_ceil(1024))
}
