//! Delivery of flags to applications: from memory, with an `ETag` that is compared before anything is evaluated
//! (FR-FLAG-002).

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::projection::Freshness;
use projections::TenantFlags;

use crate::extract::{Read, is_current};
use crate::problem::Problem;
use crate::state::FRESH_FOR;

/// One tenant's flags at an instant, and what an answer made of them says about itself.
pub struct Delivery {
    pub flags: Arc<TenantFlags>,
    tag: HeaderValue,
    /// How long ago they were last known to be current, in seconds, if that is longer than usual.
    age_s: Option<u64>,
    current: bool,
}

impl Delivery {
    /// What the caller may have, once the memory has got to `X-Min-Position`.
    ///
    /// # Errors
    /// ERR-SYS-503 until this node has caught up for the first time; ERR-RES-404.
    pub async fn of(read: &Read) -> Result<Self, Problem> {
        read.flags_caught_up().await?;
        let age_s = match read.app.flags.handle.freshness(FRESH_FOR) {
            Freshness::Unavailable => return Err(Problem::unavailable("catching_up")),
            Freshness::Fresh => None,
            Freshness::Stale { age } => Some(age.as_secs()),
        };
        let flags = read.app.flags.memory.tenant(read.tenant()?).ok_or_else(Problem::not_found)?;
        let tag = format!("\"{}\"", flags.etag);
        let current = is_current(&read.headers, &tag);
        let tag = HeaderValue::try_from(tag).map_err(|_| Problem::unexpected())?;
        Ok(Self { flags, tag, age_s, current })
    }

    /// 304 if the caller has it already, else what `evaluate` makes of the flags.
    pub fn answer(&self, evaluate: impl FnOnce(&TenantFlags) -> Response) -> Response {
        let mut response =
            if self.current { StatusCode::NOT_MODIFIED.into_response() } else { evaluate(&self.flags) };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("authorization, x-org"));
        if let Some(age_s) = self.age_s {
            headers.insert(header::AGE, HeaderValue::from(age_s));
        }
        response
    }
}
