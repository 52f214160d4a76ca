//! The endpoints: `routes/<resource>/<verb>.rs`, one endpoint per file.
//!
//! To add one:
//!
//! 1. Write `routes/<resource>/<verb>.rs`: the body's type (`Deserialize`, `ToSchema`, `deny_unknown_fields`, an
//!    example that validates), and the handler with `#[utoipa::path(…)]` saying method, path, summary, body and the
//!    successful answers. Do not say security, problems or common headers: [`crate::openapi`] adds them from the URL map.
//!    * A handler that changes something takes `Path<…>` and [`Write<Body>`](crate::extract::Write) (last; `Write`
//!      alone if there is no body), builds a command, calls `write.dispatch::<Aggregate>(id, command).await?` once and answers with
//!      `write.done(…)`, `write.created(…)` or `write.answer(…)`. New ids come from `write.new_id("…")`, new secrets from `write.new_secret(id)`.
//!    * A handler that reads takes [`Read`](crate::extract::Read), gets `read.connection("projection").await?`, queries
//!      with `read.sight()?` and, for lists, [`Listing::of`](crate::list::Listing::of) and `listing.page(…)`.
//!    * It returns `Result<Response, Problem>`. What it answers is shown by `read.show(…)`, `write.show(…)` or one of the
//!      above: a type with a [`fields!`](crate::view::fields) beside it. It checks no permission: the gate did.
//! 2. Add one entry to [`crate::url_map`]: who may call it, on which tenant, and what it does.
//! 3. Add its action to a group of `policy/schema.cedarschema`, so that policies let the same callers in.
//!
//! That is all: the gate, the audit trail, OpenAPI, metrics and the walk over every route follow from the entry.

pub mod access;
pub mod applications;
pub mod audit;
pub mod auth;
pub mod docs;
pub mod flags;
pub mod health;
pub mod invitations;
pub mod jobs;
pub mod keys;
pub mod me;
pub mod memberships;
pub mod ofrep;
pub mod own_tenant;
pub mod permissions;
pub mod platform;
pub mod policies;
pub mod roles;
pub mod tenant_flags;
pub mod tenants;
pub mod users;
pub mod well_known;
