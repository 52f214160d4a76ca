//! A role that a tenant makes for its people: a name for a set of permissions. The name is a claim: unique in its tenant
//! without regard to case.
//!
//! A role doesn't know whose it is. Who has it says the membership, and what it gives is asked whenever it matters, so a
//! role that is deleted gives nobody anything, without a change of any membership.

use std::collections::BTreeSet;

use kernel::{Claim, ClaimChange, Confidential, Decider, RejectionKind, RoleId, TenantId};
use schemas::events::RoleEvent;
use schemas::values::{Permission, RoleDescription, RoleName};
use serde::{Deserialize, Serialize};

/// The claim on a role's name: the tenant's id, and the name in lower case.
pub const NAME_CLAIM: &str = "role.name";
/// The most permissions of a role, wildcards counted as one.
pub const PERMISSIONS_MAX: usize = 200;

/// A role, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    existing: Option<Existing>,
}

/// A role that there is or was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Existing {
    pub role: RoleId,
    pub tenant: TenantId,
    /// As it was asked for, so that the same wish is known when it comes again.
    pub asked: Content,
    pub content: Content,
    pub deleted: bool,
}

/// What can change about a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub name: Confidential<RoleName>,
    pub description: Option<Confidential<RoleDescription>>,
    pub permissions: BTreeSet<Permission>,
}

impl Role {
    /// The role, also one that was deleted.
    pub fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }

    fn present(&self) -> Result<&Existing, RoleRejection> {
        self.existing().filter(|role| !role.deleted).ok_or(RoleRejection::NotFound)
    }
}

/// What may be wished of a role.
#[derive(Clone, Debug)]
pub enum RoleCommand {
    Create {
        role: RoleId,
        tenant: TenantId,
        name: RoleName,
        description: Option<RoleDescription>,
        permissions: BTreeSet<Permission>,
    },
    /// What is `None` stays.
    Update { name: Option<RoleName>, description: Option<RoleDescription> },
    /// In place of those before.
    SetPermissions { permissions: BTreeSet<Permission> },
    /// Members who have it have none from then on. Its name is free again.
    Delete,
}

/// Why a role refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleRejection {
    #[error("there is no such role")]
    NotFound,
    #[error("there is a role with this id, created differently")]
    AlreadyExists,
    #[error("a role has at most {limit} permissions")]
    TooManyPermissions { limit: usize },
}

impl kernel::Rejection for RoleRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists => RejectionKind::Conflict,
            Self::TooManyPermissions { .. } => RejectionKind::Rule,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::TooManyPermissions { .. } => "too_many_permissions",
        }
    }
}

impl Decider for Role {
    const TYPE: &'static str = "role";
    const SNAPSHOT_VERSION: u32 = 1;

    type Command = RoleCommand;
    type Event = RoleEvent;
    type Rejection = RoleRejection;

    fn decide(&self, command: RoleCommand) -> Result<Vec<RoleEvent>, RoleRejection> {
        match command {
            RoleCommand::Create { role, tenant, name, description, permissions } => {
                let wished = Content {
                    name: Confidential::new(tenant, name),
                    description: description.map(|text| Confidential::new(tenant, text)),
                    permissions,
                };
                self.create(role, tenant, wished)
            }
            RoleCommand::Update { name, description } => Ok(self.present()?.update(name, description)),
            RoleCommand::SetPermissions { permissions } => {
                let role = self.present()?;
                few_enough(&permissions)?;
                let same = role.content.permissions == permissions;
                Ok(unless(same, || RoleEvent::PermissionsSet { permissions }))
            }
            RoleCommand::Delete => {
                let role = self.existing().ok_or(RoleRejection::NotFound)?;
                Ok(unless(role.deleted, || RoleEvent::Deleted {}))
            }
        }
    }

    fn evolve(&mut self, event: &RoleEvent) {
        if let RoleEvent::Created { role, tenant, name, description, permissions } = event {
            let content = Content {
                name: name.clone(),
                description: description.clone(),
                permissions: permissions.clone(),
            };
            self.existing = Some(Existing {
                role: *role,
                tenant: *tenant,
                asked: content.clone(),
                content,
                deleted: false,
            });
        }
        // A stream begins with its creation, so there is nothing that could happen before.
        let Some(existing) = self.existing.as_mut() else { return };
        match event {
            RoleEvent::Created { .. } => {}
            RoleEvent::Updated { name, description } => {
                if let Some(name) = name {
                    existing.content.name.clone_from(name);
                }
                if description.is_some() {
                    existing.content.description.clone_from(description);
                }
            }
            RoleEvent::PermissionsSet { permissions } => {
                existing.content.permissions.clone_from(permissions);
            }
            RoleEvent::Deleted {} => existing.deleted = true,
        }
    }

    fn claims(&self, event: &RoleEvent) -> Vec<ClaimChange> {
        // What was forgotten names nothing.
        let claim = |name: &Confidential<RoleName>| {
            name.reveal().map(|it| Claim::new(NAME_CLAIM, format!("{}/{}", name.of(), it.folded())))
        };
        let held = || self.existing().and_then(|role| claim(&role.content.name));
        let (freed, taken) = match event {
            RoleEvent::Created { name, .. } => (None, claim(name)),
            RoleEvent::Updated { name: Some(name), .. } => (held(), claim(name)),
            RoleEvent::Deleted {} => (held(), None),
            RoleEvent::Updated { name: None, .. } | RoleEvent::PermissionsSet { .. } => (None, None),
        };
        // Another spelling of the same name frees and takes nothing.
        if freed == taken {
            return Vec::new();
        }
        freed.map(ClaimChange::Free).into_iter().chain(taken.map(ClaimChange::Take)).collect()
    }
}

impl Role {
    fn create(
        &self,
        role: RoleId,
        tenant: TenantId,
        wished: Content,
    ) -> Result<Vec<RoleEvent>, RoleRejection> {
        if let Some(before) = self.existing() {
            let same = before.tenant == tenant && before.asked == wished;
            return if same { Ok(Vec::new()) } else { Err(RoleRejection::AlreadyExists) };
        }
        few_enough(&wished.permissions)?;
        let Content { name, description, permissions } = wished;
        Ok(vec![RoleEvent::Created { role, tenant, name, description, permissions }])
    }
}

impl Existing {
    fn update(&self, name: Option<RoleName>, description: Option<RoleDescription>) -> Vec<RoleEvent> {
        let name = name.map(|name| Confidential::new(self.tenant, name));
        let name = name.filter(|name| *name != self.content.name);
        let description = description.map(|text| Confidential::new(self.tenant, text));
        let description = description.filter(|text| Some(text) != self.content.description.as_ref());
        unless(name.is_none() && description.is_none(), || RoleEvent::Updated { name, description })
    }
}

fn few_enough(permissions: &BTreeSet<Permission>) -> Result<(), RoleRejection> {
    if permissions.len() > PERMISSIONS_MAX {
        return Err(RoleRejection::TooManyPermissions { limit: PERMISSIONS_MAX });
    }
    Ok(())
}

/// Nothing if it is so already, else the one event.
fn unless(already: bool, event: impl FnOnce() -> RoleEvent) -> Vec<RoleEvent> {
    if already { Vec::new() } else { vec![event()] }
}

#[cfg(test)]
mod tests;
