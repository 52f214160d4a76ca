//! `POST /ofrep/v1/evaluate/flags` (FR-FLAG-002)

use axum::response::Response;
use utoipa::ToSchema;

use super::{Evaluation, Request, checked};
use crate::delivery::Delivery;
use crate::extract::{Json, Read};
use crate::problem::Problem;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// All flags of the tenant.
#[derive(Debug, ToSchema)]
#[schema(as = OfrepBulkEvaluation, example = json!({
    "flags": [{"key": "checkout.v2", "value": true, "reason": "STATIC"}]
}))]
pub struct Evaluations {
    pub flags: Vec<Evaluation>,
}

fields! { Evaluations {
    flags: EVERYONE,
} }

/// Evaluate all flags (OFREP)
///
/// The tenant is named by `?tenant=` or `x-org`. With `If-None-Match` the answer is 304 while nothing has changed.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags",
    tag = "flags",
    params(("tenant" = Option<uuid::Uuid>, Query, description = "The tenant, unless `x-org` names it")),
    request_body = Request,
    responses(
        (status = OK, description = "The flags.", body = Evaluations),
        (status = NOT_MODIFIED, description = "They are what `If-None-Match` names."),
    ),
)]
pub async fn bulk(read: Read, request: Result<Json<Request>, Problem>) -> Result<Response, Problem> {
    checked(request, None)?;
    let delivery = Delivery::of(&read).await?;
    Ok(delivery.answer(|tenant| {
        let flags = tenant.flags.iter().map(|(key, flag)| Evaluation::of(key.as_str(), &flag.value));
        read.show(&Evaluations { flags: flags.collect() })
    }))
}
