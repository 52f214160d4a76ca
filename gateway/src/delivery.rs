//! Flags out of memory: for operators, and for applications, with an `ETag` that is compared before anything is evaluated
//! (FR-FLAG-002).

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::projection::Freshness;
use kernel::TenantId;
use projections::TenantFlags;

use crate::extract::{Read, is_current};
use crate::problem::Problem;
use crate::state::FRESH_FOR;

/// One tenant's flags at an instant.
pub struct Known {
    pub flags: Arc<TenantFlags>,
    /// How long ago they were last known to be current, in seconds, if that is longer than usual.
    age_s: Option<u64>,
}

impl Known {
    /// A tenant's flags, once the memory has got to `X-Min-Position`.
    ///
    /// # Errors
    /// ERR-SYS-503 until this node has caught up for the first time; ERR-RES-404.
    pub async fn of(read: &Read, tenant: TenantId) -> Result<Self, Problem> {
        read.flags_caught_up().await?;
        let age_s = match read.app.flags.handle.freshness(FRESH_FOR) {
            Freshness::Unavailable => return Err(Problem::unavailable("catching_up")),
            Freshness::Fresh => None,
            Freshness::Stale { age } => Some(age.as_secs()),
        };
        let flags = read.app.flags.memory.tenant(tenant).ok_or_else(Problem::not_found)?;
        Ok(Self { flags, age_s })
    }

    /// The answer, with its `Age` if this node could not learn of changes for so long.
    pub fn aged(&self, mut response: Response) -> Response {
        if let Some(age_s) = self.age_s {
            response.headers_mut().insert(header::AGE, HeaderValue::from(age_s));
        }
        response
    }
}

/// One tenant's flags, as an application polls them.
pub struct Delivery {
    known: Known,
    tag: HeaderValue,
    current: bool,
}

impl Delivery {
    /// What the caller may have.
    ///
    /// # Errors
    /// As [`Known::of`].
    pub async fn of(read: &Read) -> Result<Self, Problem> {
        let known = Known::of(read, read.tenant()?).await?;
        let tag = format!("\"{}\"", known.flags.etag());
        let current = is_current(&read.headers, &tag);
        let tag = HeaderValue::try_from(tag).map_err(|_| Problem::unexpected())?;
        Ok(Self { known, tag, current })
    }

    pub fn flags(&self) -> &TenantFlags {
        &self.known.flags
    }

    /// 304 if the caller has it already, else what `evaluate` makes of the flags.
    pub fn answer(&self, evaluate: impl FnOnce(&TenantFlags) -> Response) -> Response {
        let mut response =
            if self.current { StatusCode::NOT_MODIFIED.into_response() } else { evaluate(self.flags()) };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("authorization, x-org"));
        self.known.aged(response)
    }
}
