//! The application directory: managed applications and their API keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use kernel::{ApplicationId, Envelope, KeyId};
use schemas::events::ApplicationEvent;
use schemas::values::{ApplicationStatus, Environment, Scope as KeyScope};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::entity::{self, Entity, Stamp, missing};
use crate::list::{self, Field, From, ListQuery, ListSpec, Page, QueryError, Scope, SortValue, words};
use crate::tenant_applications;

const VERSION: i32 = 1;

/// Folds applications and keys.
pub struct ApplicationDirectory;

/// An application, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApplicationRow {
    pub id: ApplicationId,
    pub name: String,
    pub owner: String,
    pub environment: Environment,
    pub redirect_uris: Vec<String>,
    pub status: ApplicationStatus,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    /// The stream's sequence: its `ETag`.
    pub sequence: i64,
}

/// An API key, as the API shows it: never its secret or hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyRow {
    pub id: KeyId,
    pub application: ApplicationId,
    /// The first characters of the secret, by which people tell keys apart.
    pub prefix: String,
    pub scopes: BTreeSet<KeyScope>,
    pub status: KeyStatus,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

/// What became of a key. Whether it has expired is for whoever looks at `expires_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    Active,
    Revoked,
}

impl Entity for ApplicationRow {
    type Event = ApplicationEvent;

    fn event(envelope: &Envelope) -> Result<Option<(Uuid, ApplicationEvent)>, FoldError> {
        if envelope.stream.aggregate_type != "application" {
            return Ok(None);
        }
        Ok(Some((envelope.stream.id, envelope.decode()?)))
    }

    fn fold(row: Option<Self>, event: ApplicationEvent, envelope: &Envelope) -> Result<Self, FoldError> {
        let stamp = Stamp::of(envelope);
        let mut row = match event {
            ApplicationEvent::Registered { application, name, owner, environment, redirect_uris } => {
                return Ok(Self {
                    id: application,
                    name: name.into(),
                    owner: owner.into(),
                    environment,
                    redirect_uris: redirect_uris.into_iter().map(String::from).collect(),
                    status: ApplicationStatus::Active,
                    created_at: stamp.at,
                    created_by: stamp.by.clone(),
                    updated_at: stamp.at,
                    updated_by: stamp.by,
                    sequence: stamp.sequence,
                });
            }
            event => {
                let mut row = missing(row, envelope)?;
                row.change(event);
                row
            }
        };
        row.updated_at = stamp.at;
        row.updated_by = stamp.by;
        row.sequence = stamp.sequence;
        Ok(row)
    }
}

impl ApplicationRow {
    fn change(&mut self, event: ApplicationEvent) {
        match event {
            // The first event of the stream, folded by the caller.
            ApplicationEvent::Registered { .. } => {}
            ApplicationEvent::Updated { name, owner, redirect_uris } => {
                if let Some(name) = name {
                    self.name = name.into();
                }
                if let Some(owner) = owner {
                    self.owner = owner.into();
                }
                if let Some(uris) = redirect_uris {
                    self.redirect_uris = uris.into_iter().map(String::from).collect();
                }
            }
            ApplicationEvent::Disabled {} => self.status = ApplicationStatus::Disabled,
            ApplicationEvent::Enabled {} => self.status = ApplicationStatus::Active,
            // Keys have rows of their own; the application's sequence moves with them.
            ApplicationEvent::KeyIssued { .. }
            | ApplicationEvent::KeyRevoked { .. }
            | ApplicationEvent::KeyRotated { .. } => {}
        }
    }
}

/// What concerns a key's row.
pub(crate) enum KeyEvent {
    Issued {
        prefix: String,
        scopes: BTreeSet<KeyScope>,
        expires_at: Option<DateTime<Utc>>,
    },
    Revoked,
    /// It has a successor, and ends then.
    Rotated {
        expires_at: DateTime<Utc>,
    },
}

impl Entity for KeyRow {
    type Event = (KeyId, KeyEvent);

    fn event(envelope: &Envelope) -> Result<Option<(Uuid, Self::Event)>, FoldError> {
        if !envelope.event_type.starts_with("application.key_") {
            return Ok(None);
        }
        Ok(match envelope.decode()? {
            ApplicationEvent::KeyIssued { key, prefix, scopes, expires_at, .. } => {
                Some((key.0, (key, KeyEvent::Issued { prefix: prefix.into(), scopes, expires_at })))
            }
            ApplicationEvent::KeyRevoked { key } => Some((key.0, (key, KeyEvent::Revoked))),
            ApplicationEvent::KeyRotated { key, expires_at, .. } => {
                Some((key.0, (key, KeyEvent::Rotated { expires_at })))
            }
            ApplicationEvent::Registered { .. }
            | ApplicationEvent::Updated { .. }
            | ApplicationEvent::Disabled {}
            | ApplicationEvent::Enabled {} => None,
        })
    }

    fn fold(row: Option<Self>, (key, event): Self::Event, envelope: &Envelope) -> Result<Self, FoldError> {
        let stamp = Stamp::of(envelope);
        Ok(match event {
            KeyEvent::Issued { prefix, scopes, expires_at } => Self {
                id: key,
                application: ApplicationId(envelope.stream.id),
                prefix,
                scopes,
                status: KeyStatus::Active,
                expires_at,
                revoked_at: None,
                created_at: stamp.at,
                created_by: stamp.by.clone(),
                updated_at: stamp.at,
                updated_by: stamp.by,
            },
            KeyEvent::Revoked => Self {
                status: KeyStatus::Revoked,
                revoked_at: Some(stamp.at),
                updated_at: stamp.at,
                updated_by: stamp.by,
                ..missing(row, envelope)?
            },
            KeyEvent::Rotated { expires_at } => Self {
                expires_at: Some(expires_at),
                updated_at: stamp.at,
                updated_by: stamp.by,
                ..missing(row, envelope)?
            },
        })
    }
}

#[async_trait]
impl Projection for ApplicationDirectory {
    fn name(&self) -> &'static str {
        "application_directory"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["application"])
    }

    fn tables(&self) -> &'static [&'static str] {
        &["application_directory", "application_keys"]
    }

    fn sql(&self) -> &'static str {
        include_str!("application_directory.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        entity::fold::<ApplicationRow>(tx, &tables.name("application_directory"), events).await?;
        entity::fold::<KeyRow>(tx, &tables.name("application_keys"), events).await
    }
}

fn connections() -> String {
    view("tenant_applications", tenant_applications::VERSION)
}

impl ApplicationDirectory {
    /// What may be listed of applications, and how.
    pub const LIST: &'static ListSpec = &ListSpec {
        fields: &[
            Field::text("name", "t.name").sortable(),
            Field::text("owner", "t.owner"),
            Field::word("environment", "t.environment", &words!(Environment)),
            Field::word("status", "t.status", &words!(ApplicationStatus)),
            Field::time("created_at", "t.created_at").sortable(),
            Field::time("updated_at", "t.updated_at"),
        ],
        default_sort: "-created_at",
    };

    /// What may be listed of an application's keys, and how.
    pub const KEYS: &'static ListSpec = &ListSpec {
        fields: &[
            Field::text("prefix", "t.prefix"),
            Field::word("status", "t.status", &["active", "revoked"]),
            Field::time("expires_at", "t.expires_at"),
            Field::time("created_at", "t.created_at").sortable(),
        ],
        default_sort: "-created_at",
    };

    fn from(scope: Scope) -> From {
        let all = From::all("row_to_json(t)", format!("{} AS t", view("application_directory", VERSION)));
        match scope {
            Scope::Platform => all,
            // A tenant sees the applications it is connected to.
            Scope::Tenant(tenant) => all.only(
                format!(
                    "EXISTS (SELECT FROM {} AS c WHERE c.application = t.id AND c.tenant = $?)",
                    connections()
                ),
                tenant,
            ),
        }
    }

    /// A tenant's applications, found through its connections: a look-up for each, however many others there are.
    fn list_from(scope: Scope) -> From {
        let Scope::Tenant(tenant) = scope else { return Self::from(scope) };
        let applications = view("application_directory", VERSION);
        let tables = format!(
            "{} AS c CROSS JOIN LATERAL (SELECT * FROM {applications} AS a WHERE a.id = c.application LIMIT 1) AS t",
            connections()
        );
        From::all("row_to_json(t)", tables).only("c.tenant = $?".to_owned(), tenant)
    }

    fn keys_from(application: ApplicationId) -> From {
        From {
            row: "row_to_json(t)",
            tables: format!("{} AS t", view("application_keys", VERSION)),
            values: Vec::new(),
            id: "t.id",
            conditions: vec![("t.application = $?".to_owned(), SortValue::Uuid(application.0))],
        }
    }

    pub async fn list(
        client: &Client,
        scope: Scope,
        query: &ListQuery,
    ) -> Result<Page<ApplicationRow>, QueryError> {
        list::list(client, Self::list_from(scope), query).await
    }

    /// One application, if the scope may see it.
    pub async fn get(
        client: &Client,
        scope: Scope,
        id: ApplicationId,
    ) -> Result<Option<ApplicationRow>, QueryError> {
        list::get(client, Self::from(scope), id.0).await
    }

    /// An application's keys. They belong to the platform: only its roles may ask.
    pub async fn keys(
        client: &Client,
        application: ApplicationId,
        query: &ListQuery,
    ) -> Result<Page<KeyRow>, QueryError> {
        list::list(client, Self::keys_from(application), query).await
    }

    /// One key of an application.
    pub async fn key(
        client: &Client,
        application: ApplicationId,
        key: KeyId,
    ) -> Result<Option<KeyRow>, QueryError> {
        list::get(client, Self::keys_from(application), key.0).await
    }

    /// The plan of a list, for tests.
    pub async fn explain(client: &Client, scope: Scope, query: &ListQuery) -> Result<String, QueryError> {
        list::explain(client, Self::list_from(scope), query).await
    }

    /// The plan of a list of keys, for tests.
    pub async fn explain_keys(
        client: &Client,
        application: ApplicationId,
        query: &ListQuery,
    ) -> Result<String, QueryError> {
        list::explain(client, Self::keys_from(application), query).await
    }
}
