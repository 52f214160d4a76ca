//! `POST /api/v1/users` (FR-TENANT-001, UC-TENANT-INVITE)

use axum::response::Response;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Write;
use crate::members::{self, Invite, Invited};
use crate::problem::Problem;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// Who was invited.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = InvitedUser, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "membership": "5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4", "sequence": 1
}))]
pub struct InvitedUser {
    /// The person.
    pub id: Uuid,
    pub membership: Uuid,
    /// The membership's sequence: what `ETag` says too.
    pub sequence: u64,
}

fields! { InvitedUser {
    id: EVERYONE,
    membership: EVERYONE,
    sequence: EVERYONE,
} }

impl InvitedUser {
    pub(crate) fn of(invited: &Invited) -> Self {
        Self { id: invited.person.0, membership: invited.membership.0, sequence: invited.receipt.sequence }
    }
}

/// Invite a person
///
/// By e-mail address: a person who is known already becomes a member of this tenant too. The link
/// to accept it is mailed.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    tag = "users",
    request_body = Invite,
    responses((status = CREATED, description = "They are invited.", body = InvitedUser)),
)]
pub async fn invite(write: Write<Invite>) -> Result<Response, Problem> {
    let invited = members::invite(&write).await?;
    let location = format!("/api/v1/users/{}", invited.person);
    Ok(write.created(&location, &invited.receipt, &InvitedUser::of(&invited)))
}
