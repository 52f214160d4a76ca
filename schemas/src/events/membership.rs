//! What happens to memberships: a person in a tenant.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::{PersonId, RoleId, SsoProviderId, TenantId};
use serde::{Deserialize, Serialize};

use crate::values::{MembershipKind, Module, Permission, Role, SecretHash};

/// The events of a membership. These names are the storage format: add, never rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MembershipEvent {
    Invited {
        tenant: TenantId,
        person: PersonId,
        role: Role,
        kind: MembershipKind,
        expires_at: DateTime<Utc>,
        /// `None`: no link was made; who accepts has proved otherwise to be the person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_hash: Option<SecretHash>,
    },
    Resent {
        expires_at: DateTime<Utc>,
        /// The former link is void.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_hash: Option<SecretHash>,
    },
    Accepted {},
    RoleChanged {
        from: Role,
        to: Role,
    },
    KindChanged {
        from: MembershipKind,
        to: MembershipKind,
    },
    Disabled {},
    Enabled {},
    Removed {},
    CustomRoleSet {
        /// `None`: none any more.
        #[serde(default)]
        role: Option<RoleId>,
    },
    PermissionGranted {
        permission: Permission,
    },
    PermissionRevoked {
        permission: Permission,
    },
    ModuleGranted {
        module: Module,
    },
    ModuleRevoked {
        module: Module,
    },
    DelegationChanged {
        may_grant: BTreeSet<Permission>,
    },
    /// Whether a second factor is asked of the member, whatever the tenant asks of all (NFR-SEC-003).
    SecurityChanged {
        mfa_required: bool,
    },
    /// FR-AUTH-003
    SsoLinked {
        provider: SsoProviderId,
        /// The keyed hash of what the provider calls the person.
        identity: SecretHash,
    },
}

event_names! { MembershipEvent {
    Invited = "membership.invited" v "1": "A person is invited to a tenant, for the first time or after a removal or expiry.";
    Resent = "membership.resent" v "1": "The invitation was sent anew; the former link is void.";
    Accepted = "membership.accepted" v "1": "The person is a member.";
    RoleChanged = "membership.role_changed" v "1": "The member has another role.";
    KindChanged = "membership.kind_changed" v "1": "The member is staff instead of client, or the reverse.";
    Disabled = "membership.disabled" v "1": "The member may not act in the tenant for the time being.";
    Enabled = "membership.enabled" v "1": "The member may act in the tenant again.";
    Removed = "membership.removed" v "1": "The person no longer belongs to the tenant.";
    CustomRoleSet = "membership.custom_role_set" v "1": "The member has a role that the tenant made, beside the platform's, or none.";
    PermissionGranted = "membership.permission_granted" v "1": "The member holds a permission of their own.";
    PermissionRevoked = "membership.permission_revoked" v "1": "The member no longer holds the permission of their own.";
    ModuleGranted = "membership.module_granted" v "1": "The member may use a module, if the tenant is entitled to it.";
    ModuleRevoked = "membership.module_revoked" v "1": "The member may no longer use the module.";
    DelegationChanged = "membership.delegation_changed" v "1": "The member may pass on these permissions, as far as they hold them.";
    SecurityChanged = "membership.security_changed" v "1": "A second factor is asked of the member, or no longer.";
    SsoLinked = "membership.sso_linked" v "1": "The member is known by an OpenID provider of the tenant's.";
} }

impl kernel::Event for MembershipEvent {
    fn event_type(&self) -> &'static str {
        self.type_and_version().0
    }

    fn event_version(&self) -> &'static str {
        self.type_and_version().1
    }
}
