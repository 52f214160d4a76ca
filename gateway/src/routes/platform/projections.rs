//! `GET /api/operator/projections` (FR-SYS-005)

use axum::response::Response;
use engine::follow::FollowerHealth;
use utoipa::ToSchema;

use crate::extract::Read;
use crate::list::PageBody;
use crate::problem::Problem;
use crate::view::audience::{EVERYONE, OPERATOR};
use crate::view::fields::fields;

/// How far a read model got in one feed.
#[derive(Debug, ToSchema)]
#[schema(as = ProjectionHealth, example = json!({
    "name": "tenant_directory", "feed": "journal", "shard": 0, "healthy": true, "state": "live", "position": 42,
    "lag_events": 0, "dead_letters": 0, "last_error": null, "advice": null, "age_ms": 3
}))]
pub struct ProjectionView {
    pub name: String,
    /// `journal` or `audit`.
    pub feed: String,
    pub shard: i16,
    /// False if somebody should look.
    pub healthy: bool,
    /// `starting`, `catching_up`, `live`, `retrying`, `stuck` or `stopped`.
    pub state: String,
    pub position: u64,
    pub lag_events: u64,
    /// Events parked because they, or an earlier one of their stream, can't be folded.
    pub dead_letters: u64,
    pub last_error: Option<String>,
    /// What can be done about it.
    pub advice: Option<String>,
    /// How long ago it last knew itself complete; `null` before the first time.
    pub age_ms: Option<u64>,
}

fields! { ProjectionView {
    name: EVERYONE,
    feed: EVERYONE,
    shard: EVERYONE,
    healthy: EVERYONE,
    state: EVERYONE,
    position: EVERYONE,
    lag_events: EVERYONE,
    dead_letters: EVERYONE,
    // They name insides.
    last_error: OPERATOR,
    advice: OPERATOR,
    age_ms: EVERYONE,
} }

impl From<FollowerHealth> for ProjectionView {
    fn from(health: FollowerHealth) -> Self {
        let state = serde_json::to_value(health.state).ok();
        Self {
            healthy: health.is_healthy(),
            name: health.name.to_owned(),
            feed: health.feed.to_owned(),
            shard: health.shard.0,
            state: state.and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default(),
            position: health.position.0,
            lag_events: health.lag_events,
            dead_letters: health.dead_letters,
            last_error: health.last_error,
            advice: health.advice,
            age_ms: health.age_ms,
        }
    }
}

/// Show how far the read models got
///
/// Those in tables, those in memory and the process managers, on this node.
#[utoipa::path(
    get,
    path = "/api/operator/projections",
    tag = "operations",
    responses((status = OK, description = "All of them.", body = PageBody<ProjectionView>)),
)]
pub async fn projections(read: Read) -> Result<Response, Problem> {
    let items: Vec<_> = read.app.readiness.followers().into_iter().map(ProjectionView::from).collect();
    Ok(read.show(&PageBody { items, next_cursor: None }))
}
