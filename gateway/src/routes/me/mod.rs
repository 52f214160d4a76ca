//! The caller themself.

pub mod access;
pub mod add_passkey;
pub mod change_password;
pub mod confirm_totp;
pub mod end_session;
pub mod end_sessions;
pub mod export;
pub mod forget;
pub mod get;
pub mod issue_token;
pub mod list_tokens;
pub mod offer_passkey;
pub mod offer_totp;
pub mod passkeys;
pub mod profile;
pub mod recovery_codes;
pub mod remove_mfa;
pub mod remove_passkey;
pub mod revoke_token;
pub mod sessions;
pub mod update_profile;
