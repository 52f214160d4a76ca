//! What happens to the roles that tenants make for their people.

use std::collections::BTreeSet;

use kernel::{Confidential, RoleId, TenantId};
use serde::{Deserialize, Serialize};

use crate::values::{Permission, RoleDescription, RoleName};

/// The events of a tenant's role. These names are the storage format: add, never rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RoleEvent {
    Created {
        role: RoleId,
        tenant: TenantId,
        name: Confidential<RoleName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<Confidential<RoleDescription>>,
        permissions: BTreeSet<Permission>,
    },
    Updated {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Confidential<RoleName>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<Confidential<RoleDescription>>,
    },
    PermissionsSet {
        permissions: BTreeSet<Permission>,
    },
    Deleted {},
}

event_names! { RoleEvent {
    Created = "role.created" v "1": "A tenant has a role of its own, for its members.";
    Updated = "role.updated" v "1": "Name or description changed; only what changed is there.";
    PermissionsSet = "role.permissions_set" v "1": "The role gives these permissions, in place of those before.";
    Deleted = "role.deleted" v "1": "The role is gone; members who had it have none.";
} }

impl kernel::Event for RoleEvent {
    fn event_type(&self) -> &'static str {
        self.type_and_version().0
    }

    fn event_version(&self) -> &'static str {
        self.type_and_version().1
    }
}
