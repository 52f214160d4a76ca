//! What happened: one enum for each aggregate, in the shapes that were promised to disk.
//!
//! Every text a person supplied is `Personal`, every text a tenant supplied, or an operator on its behalf, is
//! `Confidential`; ids, enumerations, identifiers, numbers and times are plain and stay readable when a key is
//! destroyed. Reading ignores fields it doesn't know, so that a release can be rolled back (CC-OPS-001).

/// Names the variants of an event enum. The match has no `_` arm and every name brings its fixture along: a variant
/// without either doesn't compile.
macro_rules! event_names {
    ($events:ident { $($variant:ident = $event_type:literal v $version:literal: $meaning:literal;)+ }) => {
        impl $events {
            /// All the names, in the order of the lifecycle.
            pub const NAMES: &'static [$crate::events::EventName] =
                &[$($crate::events::EventName {
                    variant: stringify!($variant),
                    event_type: $event_type,
                    version: $version,
                    meaning: $meaning,
                    fixture: include_str!(
                        concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $event_type, ".v", $version, ".json")
                    ),
                }),+];

            const fn type_and_version(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant { .. } => ($event_type, $version),)+
                }
            }
        }
    };
}

mod application;
mod membership;
mod policy;
mod role;
mod tenant;
mod user;

pub use application::ApplicationEvent;
pub use membership::MembershipEvent;
pub use policy::PolicyEvent;
pub use role::RoleEvent;
pub use tenant::{
    OwnershipLoss, RequestedApplication, SsoConfigured, SsoRules, TenantEvent, TenantProvisioned,
};
pub use user::UserEvent;

/// The name of an event in its newest shape.
#[derive(Clone, Copy, Debug)]
pub struct EventName {
    /// The variant, which is the tag of the payload: `Suspended`.
    pub variant: &'static str,
    /// The name on the wire: `tenant.suspended`.
    pub event_type: &'static str,
    pub version: &'static str,
    /// One line for people.
    pub meaning: &'static str,
    /// A payload with every field, as JSON text.
    pub fixture: &'static str,
}

/// The upcasters of all events, oldest first within each type.
pub fn upcasters() -> Vec<kernel::Upcaster> {
    [
        <TenantEvent as kernel::Event>::UPCASTERS,
        <UserEvent as kernel::Event>::UPCASTERS,
        <MembershipEvent as kernel::Event>::UPCASTERS,
        <ApplicationEvent as kernel::Event>::UPCASTERS,
        <PolicyEvent as kernel::Event>::UPCASTERS,
        <RoleEvent as kernel::Event>::UPCASTERS,
    ]
    .concat()
}
