//! Which fields of an answer whom it is for (REQUIREMENTS §1 rule 6, CON-SEC-007): said beside each type by [`fields!`], and
//! carried out in one place, [`body`], which makes the body of every answer.
//!
//! ```text
//! fields! { UserMembership {
//!     id: EVERYONE,
//!     // When an invitation lapses is the business of who sends it.
//!     invitation_expires_at: MANAGERS,
//!     kind as "type": EVERYONE,        // its name on the wire
//!     key if given: DEVELOPER,         // left out where it is `None`
//! } }
//! ```
//!
//! What is declared is all that is shown. A field that the declaration forgets is an error of the compiler, and so is an
//! answer made of a type that has none: such types don't implement `Serialize`, so that nothing else can write them.
//! A field whose type has a declaration is filtered by that, in lists and maps too. What a caller doesn't see is absent;
//! `null` is a value like others.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};

use super::audience::Audience;
use crate::problem::Problem;

/// What an answer can be made of.
#[diagnostic::on_unimplemented(
    message = "it is not declared who sees which fields of `{Self}`",
    label = "`{Self}` can't be in an answer",
    note = "a struct: write `fields! {{ {Self} {{ field: EVERYONE, … }} }}` beside it, without `derive(Serialize)`, and its name \
            into `gateway/src/view/declared.rs`",
    note = "a word, a number or a text: add it to `whole!` in `gateway/src/view/fields.rs`"
)]
pub trait Shown {
    /// Its fields, in the order of the answer. None: it is shown as a whole.
    const FIELDS: &'static [Field] = &[];

    /// Writes as much of it as a caller sees.
    ///
    /// # Errors
    /// The serializer's.
    fn show<S: Serializer>(&self, to: Audience, serializer: S) -> Result<S::Ok, S::Error>;
}

/// A field as it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// On the wire.
    pub name: &'static str,
    pub audience: Audience,
    /// False if it depends on the value whether it is there for those who may see it.
    pub always: bool,
}

impl Field {
    /// Whether this caller may see a field of this name. Of what is not declared it knows nothing.
    pub fn is_hidden(fields: &[Self], name: &str, to: Audience) -> bool {
        fields.iter().any(|field| field.name == name && !field.audience.meets(to))
    }
}

/// A value beside the caller it is for: what serde writes.
pub struct For<'a, T: ?Sized>(pub &'a T, pub Audience);

impl<T: Shown + ?Sized> Serialize for For<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.show(self.1, serializer)
    }
}

/// The body of an answer: 200, and as much of the value as the caller sees. No handler makes one in another way.
pub fn body(to: Audience, value: &(impl Shown + ?Sized)) -> Response {
    match serde_json::to_vec(&For(value, to)) {
        Ok(bytes) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], bytes).into_response()
        }
        Err(error) => {
            tracing::error!(kind = ?error.classify(), "an answer can't be written as JSON");
            Problem::unexpected().into_response()
        }
    }
}

/// For `field if given`: it is left out where there is none.
pub fn given<V, T>(_: &V, field: &Option<T>, _: Audience) -> bool {
    field.is_some()
}

/// Declares who sees which fields of a type. `field if told: …` asks a function too: `fn told(&Type, &FieldType, Audience) -> bool`.
macro_rules! fields {
    ($type:ident $(<$of:ident>)? {
        $($field:ident $(as $wire:literal)? $(if $told:ident)?: $audience:expr),+ $(,)?
    }) => {
        impl $(<$of: $crate::view::fields::Shown>)? $crate::view::fields::Shown for $type $(<$of>)? {
            const FIELDS: &'static [$crate::view::fields::Field] = &[$($crate::view::fields::Field {
                name: $crate::view::fields::fields!(@name $field $($wire)?),
                audience: $audience,
                always: $crate::view::fields::fields!(@always $($told)?),
            }),+];

            fn show<S: serde::Serializer>(
                &self,
                to: $crate::view::audience::Audience,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                // Without `..`: a field that is not declared is not compiled.
                let Self { $($field),+ } = self;
                let mut shown = serializer.serialize_struct(stringify!($type), Self::FIELDS.len())?;
                $(if $audience.meets(to) $(&& $told(self, $field, to))? {
                    let name = $crate::view::fields::fields!(@name $field $($wire)?);
                    shown.serialize_field(name, &$crate::view::fields::For($field, to))?;
                })+
                shown.end()
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $wire:literal) => { $wire };
    (@always) => { true };
    (@always $told:ident) => { false };
}
pub(crate) use fields;

/// What has no fields of its own to hide: it is shown, or its field is not.
macro_rules! whole {
    ($($type:ty),+ $(,)?) => {$(
        impl Shown for $type {
            fn show<S: Serializer>(&self, _: Audience, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }
        }
    )+};
}

whole! {
    bool, i16, i32, i64, u16, u32, u64, usize, str, String,
    uuid::Uuid, chrono::DateTime<chrono::Utc>, serde_json::Value,
    jsonwebtoken::jwk::JwkSet, kernel::ActorKind, engine::audit::AuditOutcome, projections::KeyStatus,
    crate::readiness::Status, super::invitation::InvitationStatus,
    schemas::values::AccessMode, schemas::values::ApplicationStatus, schemas::values::Environment,
    schemas::values::MembershipKind, schemas::values::MembershipStatus, schemas::values::Module,
    schemas::values::PasswordLength, schemas::values::PasswordStrength, schemas::values::Permission,
    schemas::values::Plan, schemas::values::ProvisioningStatus, schemas::values::ProvisioningStep,
    schemas::values::Region, schemas::values::Role, schemas::values::Scope, schemas::values::Settings,
    schemas::values::TenantStatus, schemas::values::UserStatus,
}

impl<T: Shown + ?Sized> Shown for &T {
    const FIELDS: &'static [Field] = T::FIELDS;

    fn show<S: Serializer>(&self, to: Audience, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).show(to, serializer)
    }
}

impl<T: Shown> Shown for Option<T> {
    fn show<S: Serializer>(&self, to: Audience, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => serializer.serialize_some(&For(value, to)),
            None => serializer.serialize_none(),
        }
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn show<S: Serializer>(&self, to: Audience, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|item| For(item, to)))
    }
}

impl<T: Shown> Shown for BTreeSet<T> {
    fn show<S: Serializer>(&self, to: Audience, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|item| For(item, to)))
    }
}

impl<T: Shown> Shown for BTreeMap<String, T> {
    fn show<S: Serializer>(&self, to: Audience, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(key, value)| (key, For(value, to))))
    }
}

#[cfg(test)]
mod tests;
