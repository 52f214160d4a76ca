//! `GET /api/v1/users`

use std::collections::HashMap;

use axum::response::Response;
use kernel::PersonId;
use projections::{MembershipDirectory, MembershipRow, Page, Scope, UserDirectory, UserRow};
use tokio_postgres::Client;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::UserView;

/// How many people are looked up at a time: what one filter takes.
const LOOKED_UP_MAX: usize = 100;

/// List the tenant's people
///
/// The invited and the disabled included. Filters: `email`, `first_name`, `last_name` (eq, ne, in, like), `status` of the
/// person (eq, ne, in), `created_at`, `updated_at` (gt, lt). Sorts: `email`, `last_name`, `created_at`.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    tag = "users",
    responses((status = OK, description = "A page of people.", body = PageBody<UserView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, UserDirectory::LIST, &[])?;
    drop(read.connection("membership_directory").await?);
    let client = read.connection("user_directory").await?;
    let sight = read.sight()?;
    let page = UserDirectory::list(&client, sight, &listing.query).await?;
    let mut memberships = memberships(&client, sight, &page.rows).await?;
    let rows = page.rows.into_iter();
    // Whoever was removed between the two queries is left out.
    let rows = rows.filter_map(|person| {
        let membership = memberships.remove(&person.id)?;
        Some(UserView::of(person, membership))
    });
    Ok(listing.page(Page { rows: rows.collect(), next: page.next }, |user: UserView| user))
}

async fn memberships(
    client: &Client,
    sight: Scope,
    people: &[UserRow],
) -> Result<HashMap<PersonId, MembershipRow>, Problem> {
    let mut found = HashMap::new();
    for some in people.chunks(LOOKED_UP_MAX) {
        let ids: Vec<String> = some.iter().map(|person| person.id.to_string()).collect();
        let ids = ids.join(",");
        let query = MembershipDirectory::LIST.query(
            [("person", "in", ids.as_str()), ("status", "ne", "removed")],
            None,
            Some(200),
            None,
        )?;
        let page = MembershipDirectory::list(client, sight, &query).await?;
        found.extend(page.rows.into_iter().map(|row| (row.person, row)));
    }
    Ok(found)
}
