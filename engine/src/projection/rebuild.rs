//! Rebuild: from position zero into a new generation, while the old one serves and writes go on; then compare, then swap.

use std::time::Duration;

use deadpool_postgres::{Pool, Transaction};
use serde::Serialize;

use super::compare::{Comparison, compare_at_same_position, drop_now, level};
use super::fill::{FillError, Filler, OnProgress, Phase};
use super::generation::{
    Generation, GenerationState, create, drop_generation, generations, lock_checkpoints, lock_registry,
    point_views, set_state,
};
use super::model::{Feeds, Projection};

/// How long a swap waits for readers of the views before it gives up and tries again: others queue behind it.
const SWAP_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const SWAP_ATTEMPTS_MAX: u32 = 5;

/// How a rebuild or verification is done.
#[derive(Clone, Copy, Debug)]
pub struct RebuildSettings {
    /// How many stored events go into one transaction.
    pub batch_events: usize,
    /// Throw away a rebuild that was interrupted, instead of continuing it.
    pub fresh: bool,
    /// Swap although the new generation holds other rows: when what serves is known to be wrong.
    pub accept_differences: bool,
}

impl Default for RebuildSettings {
    fn default() -> Self {
        Self { batch_events: 5_000, fresh: false, accept_differences: false }
    }
}

/// What a rebuild came to.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuilt {
    pub projection: &'static str,
    pub version: i32,
    /// The generation that serves now.
    pub generation: i32,
    /// The one that served before, fed until it is dropped.
    pub former: i32,
    /// True if an interrupted rebuild was continued.
    pub continued: bool,
    pub comparison: Comparison,
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("no generation of it serves: run the migrations first")]
    NothingServes,
    #[error("there is no former generation to go back to")]
    NoFormer,
    #[error("the new generation holds other rows than the one that serves; nothing was swapped")]
    Different(Box<Comparison>),
    #[error(
        "the two generations do not stand at the same positions; try again when the server has caught up"
    )]
    NotLevel,
    #[error(
        "events come faster than they are folded ({behind} in the last round); nothing was swapped. Run it again, at a \
         quieter time or with a larger --batch: it goes on where it stopped"
    )]
    Outrun { behind: u64 },
    #[error("somebody else swapped or dropped it meanwhile")]
    Overtaken,
    #[error(transparent)]
    Fill(#[from] FillError),
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
}

/// Rebuilds one projection and swaps. An interrupted rebuild is continued where it was.
///
/// `owner`: a pool of the schema's owner, with at least three connections.
pub async fn rebuild(
    owner: &Pool,
    feeds: &Feeds,
    projection: &dyn Projection,
    settings: RebuildSettings,
    on_progress: OnProgress<'_>,
) -> Result<Rebuilt, RebuildError> {
    let (building, continued) = open_building(owner, projection, settings.fresh).await?;
    let mut filler = Filler::new(owner, feeds, projection, building, settings.batch_events, on_progress);
    let comparison = compare_at_same_position(&mut filler).await?;
    if !comparison.is_equal() && !settings.accept_differences {
        return Err(RebuildError::Different(Box::new(comparison)));
    }
    let total = comparison.positions.iter().map(|checkpoint| checkpoint.position.0).sum();
    filler.tell(Phase::Swapping, total, total);
    let former = swap(&mut filler).await?;
    // Going back is promised to the last one only, so that what must be fed stays bounded.
    drop_formers(owner, projection, Some(former.number)).await?;
    Ok(Rebuilt {
        projection: projection.name(),
        version: projection.version(),
        generation: building.number,
        former: former.number,
        continued,
        comparison,
    })
}

/// Makes the former generation serve again. Nothing is lost: it was fed all the time. Returns which one serves.
pub async fn rollback(owner: &Pool, feeds: &Feeds, projection: &dyn Projection) -> Result<i32, RebuildError> {
    let former = generations(&**owner.get().await?, projection)
        .await?
        .into_iter()
        .rfind(|generation| generation.state == GenerationState::Former)
        .ok_or(RebuildError::NoFormer)?;
    let batch_events = RebuildSettings::default().batch_events;
    let mut filler = Filler::new(owner, feeds, projection, former, batch_events, &|_| {});
    swap(&mut filler).await?;
    Ok(former.number)
}

/// Drops the former generation. Afterwards there is nothing to go back to. Returns how many were dropped.
pub async fn drop_former(owner: &Pool, projection: &dyn Projection) -> Result<usize, RebuildError> {
    drop_formers(owner, projection, None).await
}

async fn drop_formers(
    owner: &Pool,
    projection: &dyn Projection,
    keep: Option<i32>,
) -> Result<usize, RebuildError> {
    let all = generations(&**owner.get().await?, projection).await?;
    let formers: Vec<Generation> =
        all.into_iter().filter(|g| g.state == GenerationState::Former && Some(g.number) != keep).collect();
    for former in &formers {
        drop_now(owner, projection, former.number).await?;
    }
    Ok(formers.len())
}

async fn open_building(
    owner: &Pool,
    projection: &dyn Projection,
    fresh: bool,
) -> Result<(Generation, bool), RebuildError> {
    let mut client = owner.get().await?;
    let tx = client.transaction().await?;
    lock_registry(&tx).await?;
    let found =
        generations(&*tx, projection).await?.into_iter().find(|g| g.state == GenerationState::Building);
    let opened = match found {
        Some(building) if !fresh => (building, true),
        found => {
            if let Some(stale) = found {
                drop_generation(&tx, projection, stale.number).await?;
            }
            (create(&tx, projection, GenerationState::Building).await?, false)
        }
    };
    tx.commit().await?;
    Ok(opened)
}

/// Makes the filler's generation serve and the one that served the former one. Tries again while readers hold the views.
async fn swap(filler: &mut Filler<'_>) -> Result<Generation, RebuildError> {
    let mut attempt = 1;
    loop {
        let mut client = filler.owner.get().await?;
        let tx = client.transaction().await?;
        match try_swap(filler, tx).await {
            Err(RebuildError::Database(error))
                if error.code() == Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE)
                    && attempt < SWAP_ATTEMPTS_MAX =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn try_swap(filler: &mut Filler<'_>, tx: Transaction<'_>) -> Result<Generation, RebuildError> {
    let projection = filler.projection;
    let next = filler.generation;
    tx.batch_execute(&format!("SET LOCAL lock_timeout = {}", SWAP_LOCK_TIMEOUT.as_millis())).await?;
    lock_registry(&tx).await?;
    let all = generations(&*tx, projection).await?;
    let serving = *all
        .iter()
        .find(|generation| generation.state == GenerationState::Serving)
        .ok_or(RebuildError::NothingServes)?;
    if !all.contains(&next) {
        return Err(RebuildError::Overtaken);
    }
    // From here on nobody feeds the one that serves; the other one gets the few events it lacks.
    let positions = lock_checkpoints(&tx, projection, serving.number).await?;
    filler.fill_to(&positions).await?;
    if !level(&positions, &lock_checkpoints(&tx, projection, next.number).await?) {
        return Err(RebuildError::NotLevel);
    }
    set_state(&tx, projection, serving.number, GenerationState::Former).await?;
    set_state(&tx, projection, next.number, GenerationState::Serving).await?;
    point_views(&tx, projection, next.number).await?;
    tx.commit().await?;
    Ok(serving)
}
