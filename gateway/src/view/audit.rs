//! An entry of the audit trail.

use chrono::{DateTime, Utc};
use engine::audit::AuditOutcome;
use kernel::ActorKind;
use projections::AuditRow;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use uuid::Uuid;

use super::audience::{AUDITOR, Audience, EVERYONE, MANAGERS, PLATFORM};
use super::fields::fields;

/// Who did what, when, and how it ended (REQUIREMENTS §13).
#[derive(Clone, Debug, ToSchema)]
#[schema(as = AuditEntry, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b15", "time": "2027-01-01T09:00:00Z", "actor": "local:0",
    "actor_type": "operator", "role": "operator", "scopes": [], "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11",
    "action": "tenants:suspend", "resource_type": "tenant",
    "resource_id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "outcome": "success", "status": null, "code": null,
    "detail": null, "count": 1, "event_id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b16",
    "event_type": "tenant.suspended", "correlation_id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
    "address": "127.0.0.1", "user_agent": "curl/8.5.0"
}))]
pub struct AuditView {
    pub id: Uuid,
    pub time: DateTime<Utc>,
    pub actor: String,
    #[schema(schema_with = actor_type)]
    pub actor_type: ActorKind,
    pub role: String,
    pub scopes: Vec<String>,
    pub tenant: Option<Uuid>,
    pub action: String,
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    #[schema(schema_with = outcome)]
    pub outcome: AuditOutcome,
    /// The HTTP status, of what made no event.
    pub status: Option<u16>,
    pub code: Option<String>,
    /// The refusal's word; of an unusual login why it was, such as `new_device,odd_hour`.
    pub detail: Option<String>,
    /// How many like it this entry stands for.
    pub count: u64,
    /// The first event of the command, of what changed something.
    pub event_id: Option<Uuid>,
    pub event_type: Option<String>,
    pub correlation_id: Uuid,
    pub address: Option<String>,
    pub user_agent: Option<String>,
}

fields! { AuditView {
    id: EVERYONE,
    time: EVERYONE,
    actor: EVERYONE,
    actor_type: EVERYONE,
    role: EVERYONE,
    scopes: EVERYONE,
    tenant: EVERYONE,
    action: EVERYONE,
    resource_type: EVERYONE,
    resource_id: EVERYONE,
    outcome: EVERYONE,
    status: EVERYONE,
    code: EVERYONE,
    detail: EVERYONE,
    count: EVERYONE,
    event_id: EVERYONE,
    event_type: EVERYONE,
    correlation_id: EVERYONE,
    // Personal (CON-SEC-002): for those who look into incidents, not for whoever was given a look at the trail.
    address if told: AUDITOR.or(MANAGERS),
    user_agent if told: AUDITOR.or(MANAGERS),
} }

/// Where operators and our own machines came from is not a tenant's business.
fn told(entry: &AuditView, _: &Option<String>, to: Audience) -> bool {
    to.meets(PLATFORM) || matches!(entry.actor_type, ActorKind::User | ActorKind::Application)
}

fn actor_type() -> Schema {
    let words = ["user", "operator", "system", "application", "anonymous"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

fn outcome() -> Schema {
    let words = ["success", "failure", "denied"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            time: row.recorded_at,
            actor: row.actor,
            actor_type: row.actor_kind,
            role: row.role,
            scopes: row.scopes,
            tenant: row.tenant.map(|tenant| tenant.0),
            action: row.action,
            resource_type: row.resource_type,
            resource_id: row.resource_id,
            outcome: row.outcome,
            status: row.status,
            code: row.code,
            detail: row.detail,
            count: row.count,
            event_id: row.event_id.map(|event| event.0),
            event_type: row.event_type,
            correlation_id: row.correlation_id.0,
            address: row.address,
            user_agent: row.user_agent,
        }
    }
}
