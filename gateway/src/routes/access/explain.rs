//! `POST /api/v1/explain`

use axum::response::Response;
use chrono::{DateTime, Timelike, Utc};
use kernel::{ApplicationId, KeyId, PersonId, PositionToken, SessionId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::explain::{self, About, AsOf, Moment, Subject};
use crate::extract::{Json, Read};
use crate::problem::Problem;
use crate::view::ExplanationView;

/// What is to be explained.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Explain, example = json!({
    "subject": {"type": "user", "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12"}, "action": "users:invite"
}))]
pub struct Explain {
    subject: AskedSubject,
    /// An endpoint's action, such as `users:invite`, as in the audit trail.
    action: String,
    /// A person's session. Without one, as if they had signed in at that moment.
    session: Option<Uuid>,
    /// An application's key. Without one, with the scopes of all that are usable.
    key: Option<Uuid>,
    /// Whether a second factor is part of the sign-in. Without it: as the session says, or if the person has one.
    second_factor: Option<bool>,
    /// A time (RFC 3339) or a position, such as an `X-Position` that was answered. Without it: now.
    as_of: Option<String>,
}

/// Whom it is about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExplainSubject)]
pub struct AskedSubject {
    #[serde(rename = "type")]
    kind: SubjectKind,
    id: Uuid,
}

/// What it is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExplainSubjectType)]
pub enum SubjectKind {
    User,
    Application,
}

/// Explain a decision
///
/// Whether a person or an application may do something in a tenant, the policies that say so, and the events that made it so:
/// now, or as of any time. What decides here is what decides about requests. The tenant is named by `?tenant=` or
/// `x-org`. Applications hear of the tenant's own people, and of themselves.
#[utoipa::path(
    post,
    path = "/api/v1/explain",
    tag = "access",
    params(("tenant" = Option<Uuid>, Query, description = "The tenant, unless `x-org` names it")),
    request_body = Explain,
    responses((status = OK, description = "Why.", body = ExplanationView)),
)]
pub async fn explain(read: Read, Json(request): Json<Explain>) -> Result<Response, Problem> {
    let asks = read.caller.application();
    let Explain { subject: AskedSubject { kind, id }, action, session, key, second_factor, as_of } = request;
    read.concerns(kind.as_str(), id);
    let endpoint = explain::endpoint(&action);
    let endpoint = endpoint.ok_or_else(|| Problem::field("/action", "is no action of this server"))?;
    let subject = match kind {
        SubjectKind::User if key.is_some() => return Err(Problem::field("/key", "is for applications")),
        SubjectKind::User => Subject::User { id: PersonId(id), session: session.map(SessionId) },
        SubjectKind::Application if session.is_some() => {
            return Err(Problem::field("/session", "is for people"));
        }
        SubjectKind::Application => Subject::Application { id: ApplicationId(id), key: key.map(KeyId) },
    };
    let as_of = as_of.as_deref().map_or(Ok(AsOf::Now), moment_of)?;
    // Applications are nobody's but their developers' to look into.
    if let (Some(own), Subject::Application { id, .. }) = (asks, subject)
        && own != id
    {
        return Err(Problem::hidden());
    }
    read.access_caught_up().await?;
    read.policies_caught_up().await?;
    let about = About { subject, endpoint, tenant: read.tenant()?, second_factor };
    let moment = Moment::of(&read.app, as_of).await?;
    let within = asks.map(|_| about.tenant);
    Ok(read.show(&explain::explain(&read.app, &about, moment, within).await?))
}

impl SubjectKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Application => "application",
        }
    }
}

/// A position or a time.
fn moment_of(text: &str) -> Result<AsOf, Problem> {
    if let Ok(position) = text.parse::<PositionToken>() {
        return Ok(AsOf::Position(position));
    }
    let time = DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|_| Problem::field("/as_of", "is neither a time (RFC 3339) nor a position"))?;
    // Policies know no leap seconds.
    if time.nanosecond() >= 1_000_000_000 {
        return Err(Problem::field("/as_of", "is in a leap second: name the second before or after it"));
    }
    Ok(AsOf::Time(time.with_timezone(&Utc)))
}
