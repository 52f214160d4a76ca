//! The tenant directory: one row per tenant.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use kernel::{ApplicationId, Envelope, PersonId, TenantId};
use schemas::events::TenantEvent;
use schemas::values::{
    AccessMode, Plan, ProvisioningStatus, ProvisioningStep, Region, Settings, TenantStatus,
};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::entity::{self, Entity, Stamp, missing};
use crate::list::{self, Field, From, ListQuery, ListSpec, Page, QueryError, Scope, SortValue, words};

const VERSION: i32 = 3;

/// Folds tenants.
pub struct TenantDirectory;

/// A tenant, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantRow {
    pub id: TenantId,
    pub name: Option<String>,
    pub slug: Option<String>,
    pub domain: Option<String>,
    pub plan: Plan,
    pub status: TenantStatus,
    /// What an operator set; what a member may do depends on the status and the trial too.
    pub access_mode: AccessMode,
    pub region: Region,
    pub settings: Option<Settings>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub suspension_reason: Option<String>,
    pub provisioning_status: ProvisioningStatus,
    pub provisioning_failed_step: Option<ProvisioningStep>,
    pub provisioning_failed_reason: Option<String>,
    /// A stranger registered it, and its owner's address is not verified yet: nobody gets in.
    pub unverified: bool,
    pub owners: Vec<PersonId>,
    pub applications: Vec<ApplicationId>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    /// What happened to it but for its flags, counted: its `ETag`.
    pub revision: i64,
}

impl TenantRow {
    /// The status of a tenant that is not suspended.
    fn unsuspended(&self) -> TenantStatus {
        if self.trial_ends_at.is_some() { TenantStatus::Trial } else { TenantStatus::Active }
    }
}

impl Entity for TenantRow {
    type Event = Arc<TenantEvent>;

    fn event(envelope: &Envelope) -> Result<Option<(Uuid, Arc<TenantEvent>)>, FoldError> {
        if envelope.stream.aggregate_type != "tenant" {
            return Ok(None);
        }
        let event: Arc<TenantEvent> = envelope.event()?;
        Ok(event.flag().is_none().then_some((envelope.stream.id, event)))
    }

    fn fold(row: Option<Self>, event: Arc<TenantEvent>, envelope: &Envelope) -> Result<Self, FoldError> {
        let stamp = Stamp::of(envelope);
        let mut row = match Arc::unwrap_or_clone(event) {
            TenantEvent::Provisioned(provisioned) => {
                let mut row = Self {
                    id: TenantId(envelope.stream.id),
                    name: provisioned.name.reveal().map(|name| name.as_str().to_owned()),
                    slug: provisioned.slug.reveal().map(|slug| slug.as_str().to_owned()),
                    domain: provisioned.domain.reveal().map(|domain| domain.as_str().to_owned()),
                    plan: provisioned.plan,
                    status: TenantStatus::Active,
                    access_mode: AccessMode::Active,
                    region: provisioned.region,
                    settings: Some(Settings::default()),
                    trial_ends_at: provisioned.trial_ends_at,
                    suspension_reason: None,
                    provisioning_status: ProvisioningStatus::Pending,
                    provisioning_failed_step: None,
                    provisioning_failed_reason: None,
                    unverified: false,
                    owners: Vec::new(),
                    applications: Vec::new(),
                    created_at: stamp.at,
                    created_by: stamp.by.clone(),
                    updated_at: stamp.at,
                    updated_by: stamp.by.clone(),
                    revision: 0,
                };
                row.status = row.unsuspended();
                row
            }
            event => {
                let mut row = missing(row, envelope)?;
                row.change(event);
                row
            }
        };
        row.updated_at = stamp.at;
        row.updated_by = stamp.by;
        row.revision += 1;
        Ok(row)
    }
}

impl TenantRow {
    fn change(&mut self, event: TenantEvent) {
        match event {
            // The first event of the stream, folded by the caller.
            TenantEvent::Provisioned(_) => {}
            TenantEvent::Updated { name, slug, domain, settings } => {
                if let Some(name) = name {
                    self.name = name.reveal().map(|name| name.as_str().to_owned());
                }
                if let Some(slug) = slug {
                    self.slug = slug.reveal().map(|slug| slug.as_str().to_owned());
                }
                if let Some(domain) = domain {
                    self.domain = domain.reveal().map(|domain| domain.as_str().to_owned());
                }
                if let Some(settings) = settings {
                    self.settings = settings.reveal().cloned();
                }
            }
            TenantEvent::TrialSet { ends_at } => {
                self.trial_ends_at = ends_at;
                if self.status != TenantStatus::Suspended {
                    self.status = self.unsuspended();
                }
            }
            TenantEvent::Suspended { reason } => {
                self.status = TenantStatus::Suspended;
                self.suspension_reason = reason.reveal().map(|reason| reason.as_str().to_owned());
            }
            TenantEvent::Reactivated { .. } => {
                self.status = self.unsuspended();
                self.suspension_reason = None;
            }
            TenantEvent::PlanChanged { to, .. } => self.plan = to,
            TenantEvent::AccessModeSet { mode } => self.access_mode = mode,
            // Flags are read where they are polled: in memory.
            TenantEvent::FlagSet { .. } | TenantEvent::FlagCleared { .. } => {}
            // Read where they are decided on: in the stream, and in the memory of access.
            TenantEvent::PasswordPolicyChanged { .. }
            | TenantEvent::SecurityChanged { .. }
            | TenantEvent::SsoConfigured(_)
            | TenantEvent::SsoUpdated { .. }
            | TenantEvent::SsoRemoved { .. } => {}
            TenantEvent::OwnerAdded { person, .. } => {
                if !self.owners.contains(&person) {
                    self.owners.push(person);
                }
            }
            TenantEvent::OwnerRemoved { person, .. } => self.owners.retain(|owner| *owner != person),
            TenantEvent::ApplicationConnected { application } => {
                if !self.applications.contains(&application) {
                    self.applications.push(application);
                }
            }
            TenantEvent::ApplicationDisconnected { application } => {
                self.applications.retain(|connected| *connected != application);
            }
            TenantEvent::ProvisioningCompleted {} => {
                self.provisioning_status = ProvisioningStatus::Completed;
                self.provisioning_failed_step = None;
                self.provisioning_failed_reason = None;
            }
            TenantEvent::ProvisioningFailed { step, reason } => {
                self.provisioning_status = ProvisioningStatus::Failed;
                self.provisioning_failed_step = Some(step);
                self.provisioning_failed_reason = Some(reason.into());
            }
            TenantEvent::Purged {} => {
                (self.name, self.slug, self.domain) = (None, None, None);
                (self.settings, self.suspension_reason) = (None, None);
                self.unverified = false;
            }
            TenantEvent::Registered {} => self.unverified = true,
            TenantEvent::Verified {} => self.unverified = false,
        }
    }
}

#[async_trait]
impl Projection for TenantDirectory {
    fn name(&self) -> &'static str {
        "tenant_directory"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["tenant"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        TenantRow::event(event).map_or(true, |concerned| concerned.is_some())
    }

    fn tables(&self) -> &'static [&'static str] {
        &["tenant_directory"]
    }

    fn sql(&self) -> &'static str {
        include_str!("tenant_directory.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        entity::fold::<TenantRow>(tx, &tables.name("tenant_directory"), events).await
    }
}

impl TenantDirectory {
    /// What may be listed, and how.
    pub const LIST: &'static ListSpec = &ListSpec {
        fields: &[
            Field::text("name", "coalesce(t.name, '')").sortable(),
            Field::text("domain", "coalesce(t.domain, '')").sortable(),
            Field::text("slug", "t.slug"),
            Field::word("plan", "t.plan", &words!(Plan)),
            Field::word("status", "t.status", &words!(TenantStatus)),
            Field::word("access_mode", "t.access_mode", &words!(AccessMode)),
            Field::word("region", "t.region", &words!(Region)),
            Field::word("unverified", "t.unverified::text", &["true", "false"]),
            Field::time("trial_ends_at", "t.trial_ends_at"),
            Field::time("created_at", "t.created_at").sortable(),
            Field::time("updated_at", "t.updated_at"),
        ],
        default_sort: "-created_at",
    };

    fn from(scope: Scope) -> From {
        From {
            row: "row_to_json(t)",
            tables: format!("{} AS t", view("tenant_directory", VERSION)),
            values: Vec::new(),
            id: "t.id",
            conditions: match scope {
                Scope::Platform => Vec::new(),
                Scope::Tenant(tenant) => vec![("t.id = $?".to_owned(), SortValue::Uuid(tenant.0))],
            },
        }
    }

    pub async fn list(
        client: &Client,
        scope: Scope,
        query: &ListQuery,
    ) -> Result<Page<TenantRow>, QueryError> {
        list::list(client, Self::from(scope), query).await
    }

    /// One tenant, if the scope may see it.
    pub async fn get(client: &Client, scope: Scope, id: TenantId) -> Result<Option<TenantRow>, QueryError> {
        list::get(client, Self::from(scope), id.0).await
    }

    /// The plan of a list, for tests.
    pub async fn explain(client: &Client, scope: Scope, query: &ListQuery) -> Result<String, QueryError> {
        list::explain(client, Self::from(scope), query).await
    }
}
