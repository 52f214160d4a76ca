//! The closed sets of words, as schemas: the OpenAPI document lists the words that are accepted, by construction.

use schemas::values::{
    AccessMode, ApplicationStatus, Environment, MembershipKind, MembershipStatus, Plan, ProvisioningStatus,
    ProvisioningStep, Region, Role, Scope, TenantStatus, UserStatus,
};
use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

fn of(words: impl IntoIterator<Item = &'static str>) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

fn nullable(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let values = words.into_iter().map(Value::from).chain([Value::Null]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(values)).into()
}

macro_rules! words {
    ($($name:ident, $nullable:ident => $set:ty;)+) => {$(
        pub fn $name() -> Schema {
            of(<$set>::ALL.iter().map(|word| word.as_str()))
        }

        pub fn $nullable() -> Schema {
            nullable(<$set>::ALL.iter().map(|word| word.as_str()))
        }
    )+};
}

words! {
    access_mode, access_mode_or_null => AccessMode;
    application_status, application_status_or_null => ApplicationStatus;
    environment, environment_or_null => Environment;
    membership_kind, membership_kind_or_null => MembershipKind;
    membership_status, membership_status_or_null => MembershipStatus;
    plan, plan_or_null => Plan;
    provisioning_status, provisioning_status_or_null => ProvisioningStatus;
    provisioning_step, provisioning_step_or_null => ProvisioningStep;
    region, region_or_null => Region;
    scope, scope_or_null => Scope;
    tenant_status, tenant_status_or_null => TenantStatus;
    user_status, user_status_or_null => UserStatus;
}

/// The roles that a membership can have.
pub fn tenant_role() -> Schema {
    of(Role::ALL.iter().filter(|role| role.is_tenant()).map(|role| role.as_str()))
}

/// The same, or null.
pub fn tenant_role_or_null() -> Schema {
    nullable(Role::ALL.iter().filter(|role| role.is_tenant()).map(|role| role.as_str()))
}

/// A set of scopes.
pub fn scopes() -> Schema {
    ArrayBuilder::new().items(utoipa::openapi::RefOr::T(scope())).into()
}
