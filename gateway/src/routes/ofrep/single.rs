//! `POST /ofrep/v1/evaluate/flags/{key}` (FR-FLAG-002)

use axum::response::Response;
use schemas::values::FlagKey;

use super::{ErrorCode, Evaluation, Request, checked, told};
use crate::delivery::Delivery;
use crate::extract::{Json, Path, Read};
use crate::problem::{Code, Problem};

/// Evaluate one flag (OFREP)
///
/// The tenant is named by `?tenant=` or `x-org`. A flag that is not set for the tenant is `FLAG_NOT_FOUND`.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags/{key}",
    tag = "flags",
    params(
        ("key" = String, Path, description = "The flag's key"),
        ("tenant" = Option<uuid::Uuid>, Query, description = "The tenant, unless `x-org` names it"),
    ),
    request_body = Request,
    responses((status = OK, description = "The flag.", body = Evaluation)),
)]
pub async fn single(
    Path(key): Path<String>,
    read: Read,
    request: Result<Json<Request>, Problem>,
) -> Result<Response, Problem> {
    checked(request, Some(&key))?;
    let delivery = Delivery::of(&read).await?;
    let known = key.parse::<FlagKey>().ok().and_then(|key| delivery.flags().flags.get(&key));
    match known {
        Some(flag) => Ok(read.show(&Evaluation::of(&key, &flag.value))),
        None => {
            Err(told(Problem::new(Code::NotFound, "flag_not_found"), Some(&key), ErrorCode::FlagNotFound))
        }
    }
}
