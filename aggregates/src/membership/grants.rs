//! What a member holds beside the role: a role that the tenant made, permissions, modules, and what of it they may pass on.

use std::collections::BTreeSet;

use kernel::RoleId;
use schemas::events::MembershipEvent;
use schemas::values::{Module, Permission};
use serde::{Deserialize, Serialize};

use super::MembershipRejection;

/// The most permissions, modules and delegated permissions of a member, of each.
pub const GRANTS_MAX: usize = 200;

/// What a member was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// It may have been deleted since: then it gives nothing.
    pub custom_role: Option<RoleId>,
    pub permissions: BTreeSet<Permission>,
    pub modules: BTreeSet<Module>,
    /// What the member may give to others, as far as they hold it.
    pub may_grant: BTreeSet<Permission>,
}

/// One thing that a member is given, or that is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    CustomRole {
        role: Option<RoleId>,
    },
    /// `held`: given; else taken away.
    Permission {
        permission: Permission,
        held: bool,
    },
    Module {
        module: Module,
        held: bool,
    },
    /// In place of what was delegated before.
    Delegation {
        may_grant: BTreeSet<Permission>,
    },
}

impl Grants {
    pub(super) fn decide(&self, grant: Grant) -> Result<Vec<MembershipEvent>, MembershipRejection> {
        let event = match grant {
            Grant::CustomRole { role } if role == self.custom_role => None,
            Grant::CustomRole { role } => Some(MembershipEvent::CustomRoleSet { role }),
            Grant::Permission { permission, held } if held == self.permissions.contains(&permission) => None,
            Grant::Permission { permission, held: true } => {
                room(self.permissions.len() + 1)?;
                Some(MembershipEvent::PermissionGranted { permission })
            }
            Grant::Permission { permission, held: false } => {
                Some(MembershipEvent::PermissionRevoked { permission })
            }
            Grant::Module { module, held } if held == self.modules.contains(&module) => None,
            Grant::Module { module, held: true } => {
                room(self.modules.len() + 1)?;
                Some(MembershipEvent::ModuleGranted { module })
            }
            Grant::Module { module, held: false } => Some(MembershipEvent::ModuleRevoked { module }),
            Grant::Delegation { may_grant } if may_grant == self.may_grant => None,
            Grant::Delegation { may_grant } => {
                room(may_grant.len())?;
                Some(MembershipEvent::DelegationChanged { may_grant })
            }
        };
        Ok(event.into_iter().collect())
    }

    pub(super) fn evolve(&mut self, event: &MembershipEvent) {
        match event {
            MembershipEvent::CustomRoleSet { role } => self.custom_role = *role,
            MembershipEvent::PermissionGranted { permission } => {
                self.permissions.insert(permission.clone());
            }
            MembershipEvent::PermissionRevoked { permission } => {
                self.permissions.remove(permission);
            }
            MembershipEvent::ModuleGranted { module } => {
                self.modules.insert(module.clone());
            }
            MembershipEvent::ModuleRevoked { module } => {
                self.modules.remove(module);
            }
            MembershipEvent::DelegationChanged { may_grant } => self.may_grant.clone_from(may_grant),
            // What a membership is otherwise: folded by the membership.
            MembershipEvent::Invited { .. }
            | MembershipEvent::Resent { .. }
            | MembershipEvent::Accepted {}
            | MembershipEvent::RoleChanged { .. }
            | MembershipEvent::KindChanged { .. }
            | MembershipEvent::SecurityChanged { .. }
            | MembershipEvent::SsoLinked { .. }
            | MembershipEvent::Disabled {}
            | MembershipEvent::Enabled {}
            | MembershipEvent::Removed {} => {}
        }
    }
}

fn room(count: usize) -> Result<(), MembershipRejection> {
    if count > GRANTS_MAX {
        return Err(MembershipRejection::TooManyGrants { limit: GRANTS_MAX });
    }
    Ok(())
}
