//! `POST /auth/register` (REQUIREMENTS §3)

use axum::http::StatusCode;
use schemas::values::{Domain, EmailAddress, Region, Slug, TenantName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::problem::Problem;
use crate::registration::{Registration, Wish, begin};
use crate::sign_in::room_beside;
use crate::view::words;

/// A tenant that a stranger registers.
///
/// No password and no names: the address is not proved yet. A password that is chosen before it is would open an account
/// to whoever registered somebody else's address first. Both are told with the link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterTenant, example = json!({
    "name": "Acme", "domain": "acme.example", "email": "ann@acme.example"
}))]
pub struct Register {
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    name: TenantName,
    /// A host name; it names one tenant.
    #[schema(value_type = String, max_length = 253)]
    domain: Domain,
    /// The tenant's name in URLs. Left out: the domain with hyphens for dots. One that is taken gets an ending.
    #[schema(value_type = Option<String>, max_length = 63)]
    slug: Option<Slug>,
    /// Where its data live. Left out: `eu`.
    #[schema(schema_with = words::region_or_null, required = false)]
    region: Option<Region>,
    /// Whoever owns it, once they have used the link that is sent there.
    #[schema(value_type = String, format = Email, max_length = 254)]
    email: EmailAddress,
}

/// Register a tenant
///
/// It is on the plan `free`, in a trial of 14 days, and blocked until the address is verified by the link that is mailed,
/// within a day. The answer is the same whether address or domain are known here or not, and nothing is done before it.
/// Registered again by the same address, its letter is sent once more. ERR-AUTH-403 `registration_off` where it is not offered.
#[utoipa::path(
    post,
    path = "/auth/register",
    tag = "authentication",
    request_body = Register,
    responses((status = ACCEPTED, description = "If the domain is free, a mail is on its way.")),
)]
pub async fn register(write: Write<Register>) -> Result<StatusCode, Problem> {
    if write.app.registration == Registration::Off {
        return Err(Problem::forbidden("registration_off"));
    }
    // As with a forgotten password: whoever asks too often hears the same, and nothing is done.
    let account = write.app.sign_in.tickets.account(&write.body.email);
    let Some(room) = room_beside(&write, account) else { return Ok(StatusCode::ACCEPTED) };
    let (app, metadata, now) = (write.app.clone(), write.metadata(), write.now());
    let Register { name, domain, slug, region, email } = write.body;
    let wish = Wish { name, domain, slug, region: region.unwrap_or(Region::Eu), email };
    tokio::spawn(async move {
        let _room = room;
        begin(&app, wish, metadata, now).await;
    });
    Ok(StatusCode::ACCEPTED)
}
