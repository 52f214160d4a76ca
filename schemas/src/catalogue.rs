//! The event catalogue: every event with its fields, and which of them can be forgotten.
//!
//! Derived from the enums' names and fixtures, so that it can't tell another story than they do.
//! `docs/events.md` is written by `cargo run -p schemas --example events_md > docs/events.md`.

use std::fmt::Write as _;

use kernel::{CONFIDENTIAL_MARK, Event, PERSONAL_MARK, is_mark};
use serde_json::Value;

use crate::events::{
    ApplicationEvent, EventName, MembershipEvent, PolicyEvent, RoleEvent, TenantEvent, UserEvent,
};

/// One event in its newest shape.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose event it is: `tenant`.
    pub aggregate: &'static str,
    pub name: EventName,
    /// Fields inside fields are named by a path, such as `application.new.name`.
    pub fields: Vec<Field>,
}

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub path: String,
    pub sensitivity: Sensitivity,
    /// What kind of JSON stands there: `id`, `time`, `hash`, `word`, `text`, `number`, `boolean`, `object`, `array of …`.
    pub shape: String,
    /// False if an event without it can be read.
    pub required: bool,
}

/// What becomes of a field when a key is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// It stays readable.
    Plain,
    /// A person's: it goes with the person's key.
    Personal,
    /// A tenant's: it goes with the tenant's key.
    Confidential,
}

impl Sensitivity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Personal => "personal",
            Self::Confidential => "confidential",
        }
    }
}

/// All events, by aggregate and in the order of their lifecycle.
pub fn catalogue() -> Vec<Entry> {
    [
        entries::<TenantEvent>("tenant", TenantEvent::NAMES),
        entries::<UserEvent>("user", UserEvent::NAMES),
        entries::<MembershipEvent>("membership", MembershipEvent::NAMES),
        entries::<ApplicationEvent>("application", ApplicationEvent::NAMES),
        entries::<PolicyEvent>("policy", PolicyEvent::NAMES),
        entries::<RoleEvent>("role", RoleEvent::NAMES),
    ]
    .concat()
}

/// The catalogue as Markdown, for `docs/events.md`.
pub fn events_md() -> String {
    let mut page = String::from(
        "# Events\n\n\
         Generated from the event types and their fixtures; a test keeps it current. Write it anew with\n\
         `cargo run -p schemas --example events_md > docs/events.md`.\n\n\
         These names are the storage format: events are added, never renamed. A personal field is kept under the\n\
         person's key, a confidential one under the tenant's; when the key is destroyed the field reads as\n\
         forgotten. Plain fields stay.\n",
    );
    let mut aggregate = "";
    for entry in catalogue() {
        if entry.aggregate != aggregate {
            aggregate = entry.aggregate;
            write!(page, "\n## {aggregate}\n").expect("writing to a string can't fail");
        }
        page.push_str(&entry.to_markdown());
    }
    page
}

impl Entry {
    fn to_markdown(&self) -> String {
        let EventName { event_type, version, variant, meaning, .. } = self.name;
        let mut section =
            format!("\n### `{event_type}`, version {version}\n\n{meaning} In payloads: `{variant}`.\n");
        if !self.fields.is_empty() {
            section.push_str("\n| Field | Holds | Kept | |\n|---|---|---|---|\n");
        }
        for Field { path, sensitivity, shape, required } in &self.fields {
            let optional = if *required { "" } else { "optional" };
            writeln!(section, "| `{path}` | {shape} | {} | {optional} |", sensitivity.as_str())
                .expect("writing to a string can't fail");
        }
        section
    }
}

fn entries<E: Event>(aggregate: &'static str, names: &[EventName]) -> Vec<Entry> {
    let entry = |name: &EventName| {
        let payload: Value =
            serde_json::from_str(name.fixture).expect("a fixture is JSON, a test reads them all");
        let body = &payload[name.variant];
        let mut fields = Vec::new();
        collect(body, &mut Vec::new(), &mut fields);
        for field in &mut fields {
            let mut without = payload.clone();
            remove(&mut without[name.variant], &field.path);
            field.required = E::deserialize(without).is_err();
        }
        Entry { aggregate, name: *name, fields }
    };
    names.iter().map(entry).collect()
}

fn collect(value: &Value, path: &mut Vec<String>, fields: &mut Vec<Field>) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        path.push(key.clone());
        if matches!(value, Value::Object(inner) if !is_mark(value) && !inner.is_empty()) {
            collect(value, path, fields);
        } else {
            let (sensitivity, bare) = unmarked(value);
            fields.push(Field { path: path.join("."), sensitivity, shape: shape(bare), required: true });
        }
        path.pop();
    }
}

fn unmarked(value: &Value) -> (Sensitivity, &Value) {
    match (value.get(PERSONAL_MARK), value.get(CONFIDENTIAL_MARK)) {
        (Some(body), _) => (Sensitivity::Personal, &body["value"]),
        (_, Some(body)) => (Sensitivity::Confidential, &body["value"]),
        _ => (Sensitivity::Plain, value),
    }
}

fn shape(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Object(_) => "object".to_owned(),
        Value::Array(items) => {
            format!("array of {}", items.first().map_or_else(|| "anything".to_owned(), shape))
        }
        Value::String(text) if is_id(text) => "id".to_owned(),
        Value::String(text) if is_time(text) => "time".to_owned(),
        Value::String(text) if is_hash(text) => "hash".to_owned(),
        Value::String(text) if is_word(text) => "word".to_owned(),
        Value::String(_) => "text".to_owned(),
    }
}

/// True for a UUID as we write it.
pub fn is_id(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

/// True for a time in RFC 3339.
pub fn is_time(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// True for a SHA-256 in hex.
pub fn is_hash(text: &str) -> bool {
    text.parse::<crate::values::SecretHash>().is_ok()
}

/// True for a word of one of the enumerations in [`crate::values`].
pub fn is_word(text: &str) -> bool {
    use crate::values::*;
    fn one_of<T: std::str::FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }
    one_of::<AccessMode>(text)
        || one_of::<ApplicationStatus>(text)
        || one_of::<Environment>(text)
        || one_of::<LoginMethod>(text)
        || one_of::<MembershipKind>(text)
        || one_of::<MembershipStatus>(text)
        || one_of::<PasswordChange>(text)
        || one_of::<Plan>(text)
        || one_of::<ProvisioningStatus>(text)
        || one_of::<ProvisioningStep>(text)
        || one_of::<Region>(text)
        || one_of::<RiskReason>(text)
        || one_of::<Role>(text)
        || one_of::<Scope>(text)
        || one_of::<SessionEnd>(text)
        || one_of::<TenantStatus>(text)
        || one_of::<UserStatus>(text)
}

fn remove(body: &mut Value, path: &str) {
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let parent =
        parents.split('.').filter(|part| !part.is_empty()).fold(body, |value, part| &mut value[part]);
    if let Value::Object(object) = parent {
        object.shift_remove(last);
    }
}
