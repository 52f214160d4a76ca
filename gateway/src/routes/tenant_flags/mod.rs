//! The flags of a tenant, as operators set them.

pub mod clear;
pub mod get;
pub mod list;
pub mod set;

use schemas::values::FlagKey;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::problem::Problem;

/// Which flag of which tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FlagPath {
    /// The tenant
    id: Uuid,
    /// The flag's key: `[A-Za-z0-9._-]+`
    key: String,
}

impl FlagPath {
    fn read(self) -> Result<(Uuid, FlagKey), Problem> {
        let key = self.key.parse::<FlagKey>();
        let key = key.map_err(|error| Problem::parameter("key", error.problem))?;
        Ok((self.id, key))
    }
}
