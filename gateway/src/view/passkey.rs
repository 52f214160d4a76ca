//! A passkey, as its person sees it.

use aggregates::user::Passkey;
use chrono::{DateTime, Utc};
use kernel::PasskeyId;
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, THEMSELF};
use super::fields::fields;
use crate::sign_in::Known;

/// A key pair that an authenticator of the person's holds.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Passkey, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b19", "name": "Ann's phone", "created_at": "2027-01-01T09:00:00Z"
}))]
pub struct PasskeyView {
    pub id: Uuid,
    /// What the person calls it.
    pub name: Option<String>,
    pub created_at: DateTime<Utc>,
}

fields! { PasskeyView {
    id: THEMSELF,
    name: THEMSELF,
    created_at: THEMSELF,
} }

/// All of a person's passkeys.
#[derive(Clone, Debug, ToSchema)]
pub struct PasskeyList {
    pub items: Vec<PasskeyView>,
}

fields! { PasskeyList {
    items: EVERYONE,
} }

impl PasskeyView {
    pub fn of(id: PasskeyId, key: &Passkey) -> Self {
        let name = key.name.reveal().map(|name| name.as_str().to_owned());
        Self { id: id.0, name, created_at: key.added_at }
    }

    /// The oldest first.
    pub fn list(of: &Known) -> PasskeyList {
        let mut items: Vec<Self> =
            of.state.sign_in.passkeys.iter().map(|(id, key)| Self::of(id, key)).collect();
        items.sort_by_key(|view| (view.created_at, view.id));
        PasskeyList { items }
    }
}
