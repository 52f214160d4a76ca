//! `GET /api/operator/health` (FR-SYS-005)

use axum::response::Response;
use utoipa::ToSchema;

use crate::extract::Read;
use crate::problem::Problem;
use crate::readiness::{Component, Status};
use crate::view::audience::{EVERYONE, OPERATOR};
use crate::view::fields::fields;

/// How the platform is, as this node knows it.
#[derive(Debug, ToSchema)]
#[schema(as = PlatformHealth, example = json!({
    "healthy": true,
    "components": [{"name": "journal", "ready": true, "status": "ok", "detail": "owned", "hint": null}],
    "journal": {"writes": true, "shard": "owned", "actors_live": 12, "commands_under_way": 0, "writer_queue": 0,
        "trouble": null, "quarantined": []}
}))]
pub struct PlatformHealth {
    /// True if every component's status is `ok`.
    pub healthy: bool,
    pub components: Vec<Component>,
    pub journal: JournalHealth,
}

fields! { PlatformHealth {
    healthy: EVERYONE,
    components: EVERYONE,
    journal: EVERYONE,
} }

/// How the journal's writer and the actors are.
#[derive(Debug, ToSchema)]
pub struct JournalHealth {
    /// True if commands are carried out now.
    pub writes: bool,
    /// `owned`, `waiting`, `recovering` or `stopped`.
    pub shard: String,
    pub actors_live: usize,
    pub commands_under_way: usize,
    pub writer_queue: usize,
    /// Why the journal could not be written the last time, if it could not.
    pub trouble: Option<String>,
    /// Aggregates that can't be loaded or folded, such as `tenant/018f6b1e-…`; their neighbours work on.
    pub quarantined: Vec<String>,
}

fields! { JournalHealth {
    writes: EVERYONE,
    shard: EVERYONE,
    actors_live: EVERYONE,
    commands_under_way: EVERYONE,
    writer_queue: EVERYONE,
    // Insides, and ids of tenants' things.
    trouble: OPERATOR,
    quarantined: OPERATOR,
} }

/// Show how the platform is
#[utoipa::path(
    get,
    path = "/api/operator/health",
    tag = "operations",
    responses((status = OK, description = "How it is.", body = PlatformHealth)),
)]
pub async fn health(read: Read) -> Result<Response, Problem> {
    let components = read.app.readiness.components();
    let engine = read.app.engine.health();
    let quarantined: Vec<_> = engine.quarantined.iter().map(|it| it.stream.to_string()).collect();
    Ok(read.show(&PlatformHealth {
        healthy: components.iter().all(|component| component.status == Status::Ok),
        components,
        journal: JournalHealth {
            writes: engine.writes,
            shard: engine.shard.to_owned(),
            actors_live: engine.actors_live,
            commands_under_way: engine.commands_under_way,
            writer_queue: engine.writer_queue,
            trouble: engine.trouble,
            quarantined,
        },
    }))
}
