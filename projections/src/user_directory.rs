//! The user directory: one row per person.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use kernel::{Envelope, PersonId, Personal};
use schemas::events::UserEvent;
use schemas::values::{PersonName, UserStatus};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::entity::{self, Entity, Stamp, missing};
use crate::list::{self, Field, From, ListQuery, ListSpec, Page, QueryError, Scope, words};
use crate::membership_directory;

pub(crate) const VERSION: i32 = 2;

/// Folds people.
pub struct UserDirectory;

/// A person, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRow {
    pub id: PersonId,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub status: UserStatus,
    /// The person has proved to hold an e-mail address of theirs.
    pub verified: bool,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    /// The events that it shows, counted: its `ETag`.
    pub revision: i64,
}

fn shown(name: &Personal<PersonName>) -> Option<String> {
    name.reveal().map(|name| name.as_str().to_owned())
}

impl Entity for UserRow {
    type Event = Arc<UserEvent>;

    fn event(envelope: &Envelope) -> Result<Option<(Uuid, Arc<UserEvent>)>, FoldError> {
        if envelope.stream.aggregate_type != "user" {
            return Ok(None);
        }
        let event: Arc<UserEvent> = envelope.event()?;
        Ok(event.alters_profile().then_some((envelope.stream.id, event)))
    }

    fn fold(row: Option<Self>, event: Arc<UserEvent>, envelope: &Envelope) -> Result<Self, FoldError> {
        let stamp = Stamp::of(envelope);
        if let UserEvent::Registered { person, email, first_name, last_name, status } = &*event {
            return Ok(Self {
                id: *person,
                email: email.reveal().map(|email| email.as_str().to_owned()),
                first_name: first_name.as_ref().and_then(shown),
                last_name: last_name.as_ref().and_then(shown),
                status: *status,
                verified: *status == UserStatus::Active,
                created_at: stamp.at,
                created_by: stamp.by.clone(),
                updated_at: stamp.at,
                updated_by: stamp.by,
                revision: 1,
            });
        }
        let mut row = missing(row, envelope)?;
        row.revision += 1;
        if row.change(&event) {
            (row.updated_at, row.updated_by) = (stamp.at, stamp.by);
        }
        Ok(row)
    }
}

impl UserRow {
    /// True if it is others' business, too: who did it, and when.
    fn change(&mut self, event: &UserEvent) -> bool {
        match event {
            // The first event of the stream, folded by the caller.
            UserEvent::Registered { .. } => {}
            UserEvent::ProfileUpdated { first_name, last_name } => {
                if let Some(name) = first_name {
                    self.first_name = shown(name);
                }
                if let Some(name) = last_name {
                    self.last_name = shown(name);
                }
            }
            UserEvent::EmailChanged { email } => {
                self.email = email.reveal().map(|email| email.as_str().to_owned());
            }
            UserEvent::Activated {} => {
                self.verified = true;
                if self.status != UserStatus::Disabled {
                    self.status = UserStatus::Active;
                }
            }
            // Enabled again, a person is what they were before.
            UserEvent::Enabled {} => {
                self.status = if self.verified { UserStatus::Active } else { UserStatus::Invited };
            }
            UserEvent::Disabled { .. } => self.status = UserStatus::Disabled,
            UserEvent::SubjectForgotten {} => {
                (self.email, self.first_name, self.last_name) = (None, None, None);
                self.status = UserStatus::Disabled;
            }
            // How and when somebody signs in is not in the row, and no business of the tenants they belong to.
            UserEvent::PasswordChanged { .. }
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::PasswordResetRequested { .. }
            | UserEvent::LoginSucceeded { .. }
            | UserEvent::LoginChallenged { .. }
            | UserEvent::TokenRefreshed { .. }
            | UserEvent::RefreshReuseDetected { .. }
            | UserEvent::SessionRevoked { .. }
            | UserEvent::SessionsRevoked { .. }
            | UserEvent::MfaEnrolled { .. }
            | UserEvent::MfaVerified { .. }
            | UserEvent::RecoveryCodesReplaced { .. }
            | UserEvent::PasskeyAdded { .. }
            | UserEvent::PasskeyUsed { .. }
            | UserEvent::PasskeyRemoved { .. }
            | UserEvent::MfaRemoved {}
            | UserEvent::TokenIssued { .. }
            | UserEvent::TokenRevoked { .. } => return false,
        }
        true
    }
}

#[async_trait]
impl Projection for UserDirectory {
    fn name(&self) -> &'static str {
        "user_directory"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["user"])
    }

    /// A login alone changes nobody's row.
    fn concerns(&self, event: &Envelope) -> bool {
        UserRow::event(event).map_or(true, |concerned| concerned.is_some())
    }

    fn tables(&self) -> &'static [&'static str] {
        &["user_directory"]
    }

    fn sql(&self) -> &'static str {
        include_str!("user_directory.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        entity::fold::<UserRow>(tx, &tables.name("user_directory"), events).await
    }
}

/// A tenant sees the people who belong to it, and no others.
const BELONGS: &str =
    "EXISTS (SELECT FROM $members AS m WHERE m.person = t.id AND m.tenant = $? AND m.status <> 'removed')";

fn members() -> String {
    view("membership_directory", membership_directory::VERSION)
}

impl UserDirectory {
    /// What may be listed, and how.
    pub const LIST: &'static ListSpec = &ListSpec {
        fields: &[
            Field::text("email", "coalesce(t.email, '')").sortable(),
            Field::text("first_name", "t.first_name"),
            Field::text("last_name", "coalesce(t.last_name, '')").sortable(),
            Field::word("status", "t.status", &words!(UserStatus)),
            Field::time("created_at", "t.created_at").sortable(),
            Field::time("updated_at", "t.updated_at"),
        ],
        default_sort: "-created_at",
    };

    fn from(scope: Scope) -> From {
        let people = view("user_directory", VERSION);
        match scope {
            Scope::Platform => From::all("row_to_json(t)", format!("{people} AS t")),
            Scope::Tenant(tenant) => From::all("row_to_json(t)", format!("{people} AS t"))
                .only(BELONGS.replace("$members", &members()), tenant),
        }
    }

    /// A tenant's people, found through its memberships: a look-up for each, however many other people there are.
    fn list_from(scope: Scope) -> From {
        let Scope::Tenant(tenant) = scope else { return Self::from(scope) };
        let people = view("user_directory", VERSION);
        let tables = format!(
            "{} AS m CROSS JOIN LATERAL (SELECT * FROM {people} AS p WHERE p.id = m.person LIMIT 1) AS t",
            members()
        );
        From::all("row_to_json(t)", tables).only("m.tenant = $? AND m.status <> 'removed'".to_owned(), tenant)
    }

    pub async fn list(client: &Client, scope: Scope, query: &ListQuery) -> Result<Page<UserRow>, QueryError> {
        list::list(client, Self::list_from(scope), query).await
    }

    /// One person, if the scope may see it.
    pub async fn get(client: &Client, scope: Scope, id: PersonId) -> Result<Option<UserRow>, QueryError> {
        list::get(client, Self::from(scope), id.0).await
    }

    /// The plan of a list, for tests.
    pub async fn explain(client: &Client, scope: Scope, query: &ListQuery) -> Result<String, QueryError> {
        list::explain(client, Self::list_from(scope), query).await
    }
}
