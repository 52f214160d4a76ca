//! What a GET handler works with.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use engine::feed::FeedName;
use kernel::{PositionToken, TenantId};
use projections::{QueryError, Scope};

use super::{X_MIN_POSITION, single};
use crate::caller::Caller;
use crate::gate::Admitted;
use crate::problem::Problem;
use crate::report::Report;
use crate::state::AppState;
use crate::view::audience::Audience;
use crate::view::fields::{Shown, body};

/// A request that changes nothing.
#[derive(Clone)]
pub struct Read {
    pub app: AppState,
    pub caller: Caller,
    /// The tenant it concerns, as the URL map says.
    pub tenant: Option<TenantId>,
    pub headers: HeaderMap,
    /// The route's pattern, the path and the raw query, for [`crate::list`].
    pub route: &'static str,
    pub path: String,
    pub query: String,
    report: Report,
    min_position: Option<PositionToken>,
    audience: Audience,
}

impl FromRequestParts<AppState> for Read {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let admitted = parts.extensions.get::<Admitted>().ok_or_else(Problem::unexpected)?;
        let min_position = single(&parts.headers, X_MIN_POSITION)?
            .map(|text| {
                let malformed = |_| Problem::parameter(X_MIN_POSITION, "is not a position of ours");
                text.parse::<PositionToken>().map_err(malformed)
            })
            .transpose()?;
        Ok(Self {
            app: app.clone(),
            caller: admitted.caller.clone(),
            tenant: admitted.tenant,
            headers: parts.headers.clone(),
            route: admitted.endpoint.path,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            report: admitted.report.clone(),
            min_position,
            audience: Audience::of(&admitted.endpoint, &admitted.caller),
        })
    }
}

impl Read {
    pub fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    /// Whose rows may be seen: the tenant it concerns, else what the caller sees.
    ///
    /// # Errors
    /// ERR-AUTH-403: nobody's.
    pub fn sight(&self) -> Result<Scope, Problem> {
        match self.tenant {
            Some(tenant) => Ok(Scope::Tenant(tenant)),
            None => self.caller.sight().ok_or_else(|| Problem::forbidden("forbidden")),
        }
    }

    /// The tenant it concerns, where the URL map says that there is one.
    ///
    /// # Errors
    /// ERR-SYS-500: the URL map says otherwise.
    pub fn tenant(&self) -> Result<TenantId, Problem> {
        self.tenant.ok_or_else(Problem::unexpected)
    }

    /// What the caller is, for whom the answer's fields are filtered.
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// 200, with what the caller sees of it.
    pub fn show(&self, value: &impl Shown) -> Response {
        let mut response = body(self.audience, value);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        // The same URL is another tenant's, or another person's, for others.
        headers.insert(header::VARY, HeaderValue::from_static("authorization, x-org"));
        response
    }

    /// What was read, for the audit trail, where no path parameter says so.
    pub fn concerns(&self, kind: &'static str, id: impl ToString) {
        self.report.resource(kind, id);
    }

    /// A connection for queries of a projection, once that has got to `X-Min-Position`.
    ///
    /// # Errors
    /// ERR-SYS-503: it doesn't get there in time, or there is no connection.
    pub async fn connection(&self, projection: &str) -> Result<Object, Problem> {
        if let Some(wanted) = self.min_position {
            let wait = self.app.limits.position_wait;
            let reached = self.app.projector.wait_for_feed(projection, FeedName::Journal, wanted, wait).await;
            reached.map_err(not_there_yet)?;
        }
        self.app.connection().await
    }

    /// Waits until the memory of flags has got to `X-Min-Position`.
    ///
    /// # Errors
    /// ERR-SYS-503
    pub async fn flags_caught_up(&self) -> Result<(), Problem> {
        let Some(wanted) = self.min_position else { return Ok(()) };
        let reached = self.app.flags.handle.wait_for(wanted, self.app.limits.position_wait).await;
        reached.map_err(not_there_yet)
    }

    /// Waits until the memory of access has got to `X-Min-Position`.
    ///
    /// # Errors
    /// ERR-SYS-503
    pub async fn access_caught_up(&self) -> Result<(), Problem> {
        let Some(wanted) = self.min_position else { return Ok(()) };
        let reached = self.app.access.handle.wait_for(wanted, self.app.limits.position_wait).await;
        reached.map_err(not_there_yet)
    }

    /// Waits until the memory of policies has got to `X-Min-Position`.
    ///
    /// # Errors
    /// ERR-SYS-503
    pub async fn policies_caught_up(&self) -> Result<(), Problem> {
        let Some(wanted) = self.min_position else { return Ok(()) };
        let reached = self.app.policies.handle.wait_for(wanted, self.app.limits.position_wait).await;
        reached.map_err(not_there_yet)
    }
}

fn not_there_yet(error: engine::follow::WaitError) -> Problem {
    match error {
        engine::follow::WaitError::TimedOut { .. } => {
            Problem::unavailable("not_there_yet").with_retry_after(Duration::from_secs(1))
        }
        engine::follow::WaitError::UnknownShard => {
            Problem::parameter(X_MIN_POSITION, "is not a position of ours")
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Database(error) => {
                tracing::warn!(sqlstate = error.code().map(|code| code.code()), "a query failed");
                Self::unavailable("database")
            }
            QueryError::Row(error) => {
                tracing::error!(kind = ?error.classify(), "a row has another shape than its type");
                Self::unexpected()
            }
        }
    }
}
