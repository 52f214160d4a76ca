//! How people sign in to a tenant, as its owners set it. Both are bodies of requests too.

use schemas::values::{PasswordLength, PasswordPolicy, PasswordStrength};
use serde::Deserialize;
use utoipa::ToSchema;

use super::audience::EVERYONE;
use super::fields::fields;

/// What a tenant asks of its people's new passwords. What is left out is as by default.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = PasswordPolicy, example = json!({
    "length_min": 12, "require_upper": false, "require_lower": false, "require_digit": false,
    "require_symbol": false, "strength_min": 3
}))]
pub struct PasswordPolicyView {
    /// The fewest characters.
    #[schema(value_type = u32, minimum = 8, maximum = 128)]
    length_min: PasswordLength,
    require_upper: bool,
    require_lower: bool,
    require_digit: bool,
    /// Something must be among them that is neither a letter nor a digit.
    require_symbol: bool,
    /// How hard it must be to guess: 1, 2, 3 and 4 stand for at least 10³, 10⁶, 10⁸ and 10¹⁰ guesses.
    #[schema(value_type = u32, minimum = 0, maximum = 4)]
    strength_min: PasswordStrength,
}

fields! { PasswordPolicyView {
    length_min: EVERYONE,
    require_upper: EVERYONE,
    require_lower: EVERYONE,
    require_digit: EVERYONE,
    require_symbol: EVERYONE,
    strength_min: EVERYONE,
} }

impl From<PasswordPolicy> for PasswordPolicyView {
    fn from(policy: PasswordPolicy) -> Self {
        let PasswordPolicy {
            length_min,
            require_upper,
            require_lower,
            require_digit,
            require_symbol,
            strength_min,
        } = policy;
        Self { length_min, require_upper, require_lower, require_digit, require_symbol, strength_min }
    }
}

impl From<PasswordPolicyView> for PasswordPolicy {
    fn from(view: PasswordPolicyView) -> Self {
        let PasswordPolicyView {
            length_min,
            require_upper,
            require_lower,
            require_digit,
            require_symbol,
            strength_min,
        } = view;
        Self { length_min, require_upper, require_lower, require_digit, require_symbol, strength_min }
    }
}

/// How people get in.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantSecurity, example = json!({"mfa_required": false}))]
pub struct SecurityView {
    /// Whoever signed in without a second factor is not let in (ERR-AUTH-461), owners neither.
    pub mfa_required: bool,
}

fields! { SecurityView {
    mfa_required: EVERYONE,
} }
