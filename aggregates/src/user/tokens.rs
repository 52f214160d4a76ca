//! A person's access tokens, for scripts: in one tenant each, and within permissions (REQUIREMENTS §3).
//!
//! Part of the person's aggregate, as sessions are: whatever ends all sessions ends all tokens by the same event.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Personal, RejectionKind, SessionId, TenantId, TokenId};
use schemas::events::UserEvent;
use schemas::values::{Permission, SecretHash, SessionEnd, TokenName};
use serde::{Deserialize, Serialize};

use super::{Existing, UserRejection};

/// How many tokens a person may have that have neither ended nor expired.
pub const TOKENS_MAX: usize = 50;
/// How long a token is good unless something else is asked for, in days.
pub const TOKEN_DAYS: i64 = 90;
/// How long a token may be good, in days.
pub const TOKEN_DAYS_MAX: i64 = 366;
/// The most permissions of a token, wildcards counted as one.
pub const TOKEN_PERMISSIONS_MAX: usize = 50;
/// How many ended tokens are remembered, so that a late retry brings none back to life.
const ENDED_MAX: usize = 100;

/// The tokens of a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// Those that have not ended. They may have expired.
    live: BTreeMap<TokenId, Token>,
    /// The last ones that ended, the newest at the end.
    ended: Vec<TokenId>,
}

/// A token that has not ended. It may have expired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub tenant: TenantId,
    pub name: Personal<TokenName>,
    pub permissions: BTreeSet<Permission>,
    hash: SecretHash,
    /// The session that it was issued in had shown a second factor.
    pub second_factor: bool,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A token as it is asked for.
#[derive(Clone, Debug)]
pub struct IssueToken {
    pub token: TokenId,
    pub tenant: TenantId,
    pub name: TokenName,
    pub permissions: BTreeSet<Permission>,
    /// Of its secret.
    pub hash: SecretHash,
    pub second_factor: bool,
    /// The session that it is issued in.
    pub by: SessionId,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Why no token is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRejection {
    #[error("there is or was a token with this id")]
    AlreadyExists,
    #[error("a token needs at least one permission")]
    PermissionRequired,
    #[error("a token has at most {limit} permissions")]
    TooManyPermissions { limit: usize },
    #[error("the token would have expired at {expires_at}, before it is issued")]
    ExpiryInThePast { expires_at: DateTime<Utc> },
    #[error("a token is good for at most {limit_days} days")]
    ExpiryTooLate { limit_days: i64 },
    #[error("a person has at most {limit} tokens that are neither revoked nor expired")]
    TooMany { limit: usize },
}

impl kernel::Rejection for TokenRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::AlreadyExists => RejectionKind::Conflict,
            Self::PermissionRequired
            | Self::TooManyPermissions { .. }
            | Self::ExpiryInThePast { .. }
            | Self::ExpiryTooLate { .. }
            | Self::TooMany { .. } => RejectionKind::Rule,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "token_already_exists",
            Self::PermissionRequired => "permission_required",
            Self::TooManyPermissions { .. } => "too_many_permissions",
            Self::ExpiryInThePast { .. } => "expiry_in_the_past",
            Self::ExpiryTooLate { .. } => "expiry_too_late",
            Self::TooMany { .. } => "too_many_tokens",
        }
    }
}

impl Token {
    /// True if it has not expired at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.expires_at
    }
}

impl Tokens {
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// A token that has not ended.
    pub fn get(&self, token: TokenId) -> Option<&Token> {
        self.live.get(&token)
    }

    /// Those that have not ended, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, &Token)> {
        self.live.iter().map(|(id, token)| (*id, token))
    }

    /// Nothing if it has ended, or never was.
    pub(super) fn revoke(&self, token: TokenId) -> Vec<UserEvent> {
        self.get(token).map(|_| UserEvent::TokenRevoked { token }).into_iter().collect()
    }

    /// Of a tenant; `None`: of all.
    pub(super) fn revoke_all(&self, of: Option<TenantId>) -> impl Iterator<Item = UserEvent> {
        let concerned = self.iter().filter(move |(_, token)| of.is_none_or(|tenant| token.tenant == tenant));
        concerned.map(|(token, _)| UserEvent::TokenRevoked { token })
    }

    fn end(&mut self, ended: impl FnOnce(&mut BTreeMap<TokenId, Token>) -> Vec<TokenId>) {
        self.ended.extend(ended(&mut self.live));
        let too_many = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..too_many);
    }

    fn end_all(&mut self) {
        self.end(|live| std::mem::take(live).into_keys().collect());
    }

    /// Folds what concerns tokens.
    pub(super) fn evolve(&mut self, event: &UserEvent) {
        match event {
            UserEvent::TokenIssued {
                token,
                tenant,
                name,
                permissions,
                hash,
                second_factor,
                at,
                expires_at,
            } => {
                // Expired ones leave when the next is issued.
                self.end(|live| {
                    live.extract_if(.., |_, token| !token.is_live(*at)).map(|(id, _)| id).collect()
                });
                let issued = Token {
                    tenant: *tenant,
                    name: name.clone(),
                    permissions: permissions.clone(),
                    hash: hash.clone(),
                    second_factor: *second_factor,
                    issued_at: *at,
                    expires_at: *expires_at,
                };
                self.live.insert(*token, issued);
            }
            UserEvent::TokenRevoked { token } => {
                self.end(|live| live.remove(token).map(|_| *token).into_iter().collect());
            }
            UserEvent::PasswordChanged { .. }
            | UserEvent::SessionsRevoked { .. }
            | UserEvent::Disabled { .. }
            | UserEvent::SubjectForgotten {} => self.end_all(),
            // The end of one session ends no token.
            UserEvent::Registered { .. }
            | UserEvent::ProfileUpdated { .. }
            | UserEvent::EmailChanged { .. }
            | UserEvent::Activated {}
            | UserEvent::Enabled {}
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::PasswordResetRequested { .. }
            | UserEvent::PasskeyAdded { .. }
            | UserEvent::PasskeyUsed { .. }
            | UserEvent::LoginChallenged { .. }
            | UserEvent::PasskeyRemoved { .. }
            | UserEvent::LoginSucceeded { .. }
            | UserEvent::TokenRefreshed { .. }
            | UserEvent::RefreshReuseDetected { .. }
            | UserEvent::SessionRevoked { .. }
            | UserEvent::MfaEnrolled { .. }
            | UserEvent::MfaVerified { .. }
            | UserEvent::RecoveryCodesReplaced { .. }
            | UserEvent::MfaRemoved {} => {}
        }
    }
}

impl Existing {
    /// Ends what reaches a tenant: sessions, and the tokens for it.
    pub(super) fn end_in(&self, tenant: TenantId, because: SessionEnd) -> Vec<UserEvent> {
        let sessions = self.sign_in.end_in(tenant, because).into_iter();
        sessions.chain(self.tokens.revoke_all(Some(tenant))).collect()
    }

    /// Whoever else has the password may have issued tokens: with a second factor that is new, these end too.
    pub(super) fn and_no_tokens(&self, mut enrolled: Vec<UserEvent>) -> Vec<UserEvent> {
        if !enrolled.is_empty() {
            enrolled.extend(self.tokens.revoke_all(None));
        }
        enrolled
    }

    /// Nothing if it was issued already and has not ended.
    pub(super) fn issue_token(&self, wish: IssueToken) -> Result<Vec<UserEvent>, UserRejection> {
        let IssueToken { token, tenant, name, permissions, hash, second_factor, by, now, expires_at } = wish;
        // The secret is derived from all that was asked for, so whoever has it asked for the same.
        if self.tokens.get(token).is_some_and(|before| before.hash == hash) {
            return Ok(Vec::new());
        }
        if self.tokens.get(token).is_some() || self.tokens.ended.contains(&token) {
            return Err(TokenRejection::AlreadyExists.into());
        }
        self.sign_in.goes_on(by, now)?;
        if permissions.is_empty() {
            return Err(TokenRejection::PermissionRequired.into());
        }
        if permissions.len() > TOKEN_PERMISSIONS_MAX {
            return Err(TokenRejection::TooManyPermissions { limit: TOKEN_PERMISSIONS_MAX }.into());
        }
        if expires_at <= now {
            return Err(TokenRejection::ExpiryInThePast { expires_at }.into());
        }
        if expires_at - now > TimeDelta::days(TOKEN_DAYS_MAX) {
            return Err(TokenRejection::ExpiryTooLate { limit_days: TOKEN_DAYS_MAX }.into());
        }
        if self.tokens.iter().filter(|(_, token)| token.is_live(now)).count() >= TOKENS_MAX {
            return Err(TokenRejection::TooMany { limit: TOKENS_MAX }.into());
        }
        let name = self.mark(name);
        let at = now;
        Ok(vec![UserEvent::TokenIssued {
            token,
            tenant,
            name,
            permissions,
            hash,
            second_factor,
            at,
            expires_at,
        }])
    }
}

#[cfg(test)]
mod tests;
