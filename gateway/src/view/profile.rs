//! A person, as they see themselves.

use aggregates::user::Existing;
use kernel::{PersonId, Personal};
use schemas::values::UserStatus;
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, THEMSELF};
use super::fields::fields;
use super::words;

/// A person's own profile.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Profile, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "email": "ann@acme.example", "first_name": "Ann",
    "last_name": "Sato", "status": "active", "mfa": true, "recovery_codes_left": 10
}))]
pub struct ProfileView {
    pub id: Uuid,
    /// `null` once it was forgotten.
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    #[schema(schema_with = words::user_status)]
    pub status: UserStatus,
    /// They have a second factor to sign in with.
    pub mfa: bool,
    pub recovery_codes_left: usize,
}

fields! { ProfileView {
    id: EVERYONE,
    // A person as they are everywhere, which no single tenant is told.
    email: THEMSELF,
    first_name: THEMSELF,
    last_name: THEMSELF,
    status: EVERYONE,
    mfa: THEMSELF,
    recovery_codes_left: THEMSELF,
} }

impl ProfileView {
    pub fn of(person: PersonId, known: &Existing) -> Self {
        let name = |name: &Option<Personal<_>>| {
            let name: Option<&schemas::values::PersonName> = name.as_ref().and_then(Personal::reveal);
            name.map(|name| name.as_str().to_owned())
        };
        Self {
            id: person.0,
            email: known.email.reveal().map(|email| email.as_str().to_owned()),
            first_name: name(&known.first_name),
            last_name: name(&known.last_name),
            status: known.status(),
            mfa: known.sign_in.has_second_factor(),
            recovery_codes_left: known.sign_in.recovery_codes.len(),
        }
    }
}
