//! Marked fields: text that can be forgotten.
//!
//! An event type says of each field whether it is personal (a person's, under the person's key), confidential
//! (a tenant's, under the tenant's key) or plain. The mark travels in the JSON itself, as
//! `{"$personal": {"of": "<person>", "value": …}}`, so that the codec finds it without knowing any event type.
//! A field whose key is gone has no `value` and reads as forgotten.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::{PersonId, TenantId};

/// The JSON key that marks a personal field.
pub const PERSONAL_MARK: &str = "$personal";
/// The JSON key that marks a confidential field.
pub const CONFIDENTIAL_MARK: &str = "$confidential";

/// True if the value is a marked field: an object whose only key is one of the marks.
pub fn is_mark(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        object.len() == 1 && object.keys().all(|key| key == PERSONAL_MARK || key == CONFIDENTIAL_MARK)
    })
}

/// Whose a marked field is, and so under whose key it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Person(PersonId),
    Tenant(TenantId),
}

impl Subject {
    /// The subject of a field with this mark; `None` if it is no mark.
    pub fn marked(mark: &str, of: Uuid) -> Option<Self> {
        match mark {
            PERSONAL_MARK => Some(Self::Person(PersonId(of))),
            CONFIDENTIAL_MARK => Some(Self::Tenant(TenantId(of))),
            _ => None,
        }
    }

    /// What marks a field of theirs.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Person(_) => PERSONAL_MARK,
            Self::Tenant(_) => CONFIDENTIAL_MARK,
        }
    }

    /// Part of the storage format.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::Tenant(_) => "tenant",
        }
    }

    pub const fn id(self) -> Uuid {
        match self {
            Self::Person(person) => person.0,
            Self::Tenant(tenant) => tenant.0,
        }
    }

    /// From what [`Subject::kind`] said.
    pub fn from_kind(kind: &str, id: Uuid) -> Option<Self> {
        match kind {
            "person" => Some(Self::Person(PersonId(id))),
            "tenant" => Some(Self::Tenant(TenantId(id))),
            _ => None,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind(), self.id())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<S, T> {
    of: S,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    value: Option<T>,
}

macro_rules! marked {
    ($(#[$doc:meta])* $name:ident, $subject:ty, $mark:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name<T> {
            of: $subject,
            value: Option<T>,
        }

        impl<T> $name<T> {
            /// Marks a value as belonging to `of`.
            pub fn new(of: $subject, value: T) -> Self {
                Self { of, value: Some(value) }
            }

            /// The tombstone: what is left when the key is destroyed.
            pub fn forgotten(of: $subject) -> Self {
                Self { of, value: None }
            }

            /// Whose field it is.
            pub fn of(&self) -> $subject {
                self.of
            }

            /// The value, or `None` if it was forgotten.
            pub fn reveal(&self) -> Option<&T> {
                self.value.as_ref()
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            // Never the value: what is marked does not reach a log.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let kept = if self.value.is_some() { "…" } else { "forgotten" };
                write!(f, concat!(stringify!($name), "({})"), kept)
            }
        }

        impl<T: Serialize> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry($mark, &Body { of: self.of, value: self.value.as_ref() })?;
                map.end()
            }
        }

        impl<'de, T: DeserializeOwned> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields, bound = "T: DeserializeOwned")]
                struct Marked<T> {
                    #[serde(rename = $mark)]
                    body: Body<$subject, T>,
                }
                let Marked { body } = Marked::<T>::deserialize(deserializer)?;
                Ok(Self { of: body.of, value: body.value })
            }
        }
    };
}

marked! {
    /// A field about a person, kept under that person's key.
    Personal, PersonId, "$personal"
}
marked! {
    /// Text that a tenant supplied, kept under that tenant's key.
    Confidential, TenantId, "$confidential"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_storage_and_shows_itself() {
        let mail = Personal::new(PersonId(Uuid::nil()), "ann@example.org".to_owned());
        let json = serde_json::to_value(&mail).unwrap();
        assert!(is_mark(&json));
        assert_eq!(json["$personal"]["value"], "ann@example.org");
        assert_eq!(serde_json::from_value::<Personal<String>>(json).unwrap(), mail);
    }

    #[test]
    fn what_is_forgotten_reads_as_forgotten() {
        let json = serde_json::json!({"$confidential": {"of": Uuid::nil()}});
        let name: Confidential<String> = serde_json::from_value(json).unwrap();
        assert_eq!(name.reveal(), None);
    }

    /// CC-LOG-002
    #[test]
    fn a_marked_value_does_not_reach_a_log() {
        let mail = Personal::new(PersonId(Uuid::nil()), "ann@example.org".to_owned());
        assert!(!format!("{mail:?}").contains("ann"));
    }
}
