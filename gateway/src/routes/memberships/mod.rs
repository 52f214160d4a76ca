//! The memberships of a tenant. The same as its people, by the membership's id.

pub mod delegate;
pub mod grant_module;
pub mod grant_permission;
pub mod invite;
pub mod list;
pub mod remove;
pub mod revoke_module;
pub mod revoke_permission;
pub mod update;

use schemas::values::{Module, Permission};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::problem::Problem;

/// Which permission of which member.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PermissionPath {
    /// The membership
    id: Uuid,
    /// `resource:action`, such as `users:read`; `*` and `finance.*` are wildcards
    permission: String,
}

impl PermissionPath {
    fn read(self) -> Result<(Uuid, Permission), Problem> {
        let permission = self.permission.parse::<Permission>();
        let permission = permission.map_err(|error| Problem::parameter("permission", error.problem))?;
        Ok((self.id, permission))
    }
}

/// Which module of which member.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ModulePath {
    /// The membership
    id: Uuid,
    /// The module's name, such as `webhooks`
    module: String,
}

impl ModulePath {
    fn read(self) -> Result<(Uuid, Module), Problem> {
        let module = self.module.parse::<Module>();
        let module = module.map_err(|error| Problem::parameter("module", error.problem))?;
        Ok((self.id, module))
    }
}
