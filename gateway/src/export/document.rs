//! The document: what it holds is said here, field by field, and nothing else gets in (`docs/export.md`).

use chrono::{DateTime, Utc};
use engine::jobs::{Draft, JobError};
use futures::{StreamExt, TryStreamExt};
use kernel::PersonId;
use projections::{AuditRange, AuditRow, AuditTrail, MembershipDirectory, MembershipRow, Scope};
use serde::Serialize;
use serde_json::{Value, json};

use super::{ExportHandler, Then, events, readable, stream, unread, unwritten};
use crate::view::audience::THEMSELF;
use crate::view::fields::For;
use crate::view::{PasskeyView, ProfileView, SessionView, TokenView};

/// What the document is, and in which shape. The version is raised when a field goes or means something else.
const FORMAT: &str = "tenantry.personal_data";
const VERSION: u32 = 1;
/// The most events and the most audit entries of a document, each; the newest.
const EVENTS_MAX: usize = 20_000;
const ENTRIES_MAX: usize = 20_000;
/// Of what kind a thing is that a person may hear the id of: others' ids are others' data.
const NAMED: [&str; 6] = ["tenant", "session", "token", "passkey", "job", "application"];

impl ExportHandler {
    /// Writes the document; returns until when it is kept.
    pub(super) async fn write(&self, draft: Draft, then: &Then) -> Result<DateTime<Utc>, JobError> {
        let Then { known, as_of, .. } = then;
        let (person, sign_in) = (known.person, &known.state.sign_in);
        let mut sheet = Sheet { draft, follows: false };
        sheet.put("{").await?;
        sheet.field("format", &FORMAT).await?;
        sheet.field("version", &VERSION).await?;
        sheet.field("as_of", as_of).await?;
        sheet.field("profile", &For(&ProfileView::of(person, &known.state), THEMSELF)).await?;
        let factors = json!({
            "one_time_codes_since": then.codes_since, "recovery_codes_left": sign_in.recovery_codes.len(),
        });
        sheet.field("second_factors", &factors).await?;
        sheet.field("passkeys", &For(&PasskeyView::list(known).items, THEMSELF)).await?;
        sheet.field("memberships", &self.memberships(person).await?).await?;
        let sessions = SessionView::list(&self.access, known, None, None, *as_of);
        sheet.field("sessions", &For(&sessions.items, THEMSELF)).await?;
        sheet.field("devices", &sign_in.devices).await?;
        let ended = |token| self.access.token_has_ended(token);
        let tokens = TokenView::list(&known.state.tokens, ended, *as_of);
        sheet.field("tokens", &For(&tokens.items, THEMSELF)).await?;
        self.write_events(&mut sheet, then).await?;
        self.write_entries(&mut sheet, person, *as_of).await?;
        sheet.put("}").await?;
        sheet.draft.finish().await.map_err(unwritten)
    }

    /// In every tenant, also where they belong no more.
    async fn memberships(&self, person: PersonId) -> Result<Vec<Value>, JobError> {
        let of_person = person.to_string();
        let query = |after| {
            MembershipDirectory::LIST.query([("person", "eq", &*of_person)], Some("created_at"), None, after)
        };
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let client = self.pool.get().await.map_err(unread)?;
            let query = query(after).map_err(unread)?;
            let page = MembershipDirectory::list(&client, Scope::Platform, &query).await.map_err(unread)?;
            all.extend(page.rows.iter().map(membership));
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    async fn write_events(&self, sheet: &mut Sheet, then: &Then) -> Result<(), JobError> {
        let (person, left_out) = (then.known.person, then.events.saturating_sub(EVENTS_MAX));
        sheet.field("events_left_out", &left_out).await?;
        sheet.begin("events").await?;
        let mut history = self.engine.history(vec![stream(person)], then.until);
        let mut number = 0;
        while let Some(told) = history.next().await.map_err(unread)? {
            number += 1;
            if number > left_out {
                let (event, envelope) = readable(told)?;
                sheet.item(&events::told(person, &event, &envelope)).await?;
            }
        }
        sheet.end().await
    }

    async fn write_entries(
        &self,
        sheet: &mut Sheet,
        person: PersonId,
        until: DateTime<Utc>,
    ) -> Result<(), JobError> {
        let of_person = person.to_string();
        let query = AuditTrail::LIST.query([("actor", "eq", &*of_person)], None, None, None);
        let range = AuditRange { from: None, until: Some(until) };
        let rows = AuditTrail::stream(self.pool.clone(), Scope::Platform, range, query.map_err(unread)?);
        // One more, to tell whether there are more.
        let mut rows = std::pin::pin!(rows.take(ENTRIES_MAX + 1));
        let mut number = 0;
        sheet.begin("actions").await?;
        while let Some(row) = rows.try_next().await.map_err(unread)? {
            number += 1;
            if number <= ENTRIES_MAX {
                sheet.item(&action(&of_person, &row)).await?;
            }
        }
        sheet.end().await?;
        sheet.field("actions_cut", &(number > ENTRIES_MAX)).await
    }
}

/// What they are in a tenant: of the tenant itself no more than its id.
fn membership(row: &MembershipRow) -> Value {
    json!({
        "tenant": row.tenant, "role": row.role, "kind": row.kind, "status": row.status,
        "invitation_expires_at": row.invitation_expires_at, "created_at": row.created_at,
        "updated_at": row.updated_at,
    })
}

/// What they did, and how it ended.
fn action(person: &str, row: &AuditRow) -> Value {
    let named = |kind: &str| NAMED.contains(&kind) || row.resource_id.as_deref() == Some(person);
    let resource_id = row.resource_type.as_deref().filter(|kind| named(kind)).and(row.resource_id.as_deref());
    json!({
        "at": row.recorded_at, "action": row.action, "role": row.role, "tenant": row.tenant,
        "resource_type": row.resource_type, "resource_id": resource_id, "outcome": row.outcome,
        "code": row.code, "detail": row.detail, "event_type": row.event_type, "address": row.address,
        "user_agent": row.user_agent,
    })
}

/// A JSON object being written, as much of it in memory as a part of the result.
struct Sheet {
    draft: Draft,
    /// Something stands before what comes next.
    follows: bool,
}

impl Sheet {
    async fn put(&mut self, text: &str) -> Result<(), JobError> {
        self.draft.write(text).await.map_err(unwritten)
    }

    async fn next(&mut self) -> Result<(), JobError> {
        let follows = std::mem::replace(&mut self.follows, true);
        self.put(if follows { ",\n" } else { "\n" }).await
    }

    async fn field(&mut self, name: &str, value: &impl Serialize) -> Result<(), JobError> {
        let value = written(value)?;
        self.next().await?;
        self.put(&format!("\"{name}\": {value}")).await
    }

    async fn begin(&mut self, name: &str) -> Result<(), JobError> {
        self.next().await?;
        self.follows = false;
        self.put(&format!("\"{name}\": [")).await
    }

    async fn item(&mut self, value: &Value) -> Result<(), JobError> {
        let value = written(value)?;
        self.next().await?;
        self.put(&value).await
    }

    async fn end(&mut self) -> Result<(), JobError> {
        self.follows = true;
        self.put("]").await
    }
}

fn written(value: &impl Serialize) -> Result<String, JobError> {
    serde_json::to_string(value).map_err(|_| JobError::never("unwritable"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::audit::AuditOutcome;
    use kernel::{ActorKind, CorrelationId};
    use uuid::Uuid;

    /// Whom somebody invited or removed is that person's to know, not theirs.
    #[test]
    fn an_action_names_what_is_ones_own_and_nobody_else() {
        let (ann, ben) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
        let named = |kind: &str, id: &str| {
            let row = AuditRow {
                id: Uuid::nil(),
                recorded_at: DateTime::UNIX_EPOCH,
                actor: ann.clone(),
                actor_kind: ActorKind::User,
                role: "owner".to_owned(),
                scopes: Vec::new(),
                tenant: None,
                action: "users:remove".to_owned(),
                resource_type: Some(kind.to_owned()),
                resource_id: Some(id.to_owned()),
                outcome: AuditOutcome::Success,
                status: None,
                code: None,
                detail: None,
                count: 1,
                event_id: None,
                event_type: None,
                correlation_id: CorrelationId(Uuid::nil()),
                address: None,
                user_agent: None,
            };
            action(&ann, &row)["resource_id"].clone()
        };
        assert_eq!(named("user", &ann), json!(ann));
        assert_eq!(named("session", &ben), json!(ben));
        for kind in ["user", "membership", "of_a_later_release"] {
            assert_eq!(named(kind, &ben), Value::Null, "{kind}");
        }
    }
}
