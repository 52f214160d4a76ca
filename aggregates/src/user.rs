//! A person: one identity in a deployment, whatever tenants they belong to. The e-mail address is a claim: it names one
//! person (REQUIREMENTS §12, ruling 10).

mod passkeys;
mod registration;
mod sign_in;
mod tokens;

use chrono::{DateTime, Utc};
use kernel::{Claim, ClaimChange, Decider, PersonId, Personal, RejectionKind, SessionId, TenantId, TokenId};
use schemas::events::UserEvent;
use schemas::values::{
    EmailAddress, PasswordHash, PersonName, Reason, SecretHash, SessionEnd, TotpSecret, UserStatus,
};
use serde::{Deserialize, Serialize};

pub use passkeys::{
    Assertion, CREDENTIAL_CLAIM, NewPasskey, PASSKEYS_MAX, Passkey, PasskeyCommand, Passkeys,
};
pub use registration::Asked;
pub use sign_in::{
    ChallengeLogin, Checked, DEVICES_MAX, LogIn, MailedCode, REFRESH_GRACE, SESSIONS_MAX, SSO_SESSIONS_MAX,
    SecondFactor, Session, SignIn, TOTP_DIGITS, TOTP_STEP_S, Totp, is_unusual,
};
pub use tokens::{IssueToken, TOKEN_DAYS, TOKENS_MAX, Token, TokenRejection, Tokens};

/// The claim on a person's e-mail address, in lower case.
pub const EMAIL_CLAIM: &str = "user.email";

/// A person, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    existing: Option<Existing>,
}

/// A person who was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Existing {
    pub person: PersonId,
    /// The registration, so that the same wish is known when it comes again.
    pub asked: Asked,
    pub email: Personal<EmailAddress>,
    pub first_name: Option<Personal<PersonName>>,
    pub last_name: Option<Personal<PersonName>>,
    /// Has proved to hold the address.
    pub active: bool,
    pub disabled: bool,
    /// Nothing personal is known any more, and nothing may be wished.
    pub forgotten: bool,
    /// How many events there were that [`UserEvent::alters_profile`].
    pub revision: u64,
    pub sign_in: SignIn,
    pub tokens: Tokens,
}

impl User {
    /// The person, if there is one.
    pub fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }
}

impl Existing {
    pub fn status(&self) -> UserStatus {
        match (self.disabled || self.forgotten, self.active) {
            (true, _) => UserStatus::Disabled,
            (false, true) => UserStatus::Active,
            (false, false) => UserStatus::Invited,
        }
    }

    fn mark<T>(&self, value: T) -> Personal<T> {
        Personal::new(self.person, value)
    }

    fn if_new<T: PartialEq>(&self, wished: Option<T>, current: Option<&Personal<T>>) -> Option<Personal<T>> {
        let current = current.and_then(Personal::reveal);
        wished.filter(|value| current != Some(value)).map(|value| self.mark(value))
    }
}

/// What may be wished of a person.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Whoever is known by this address already is registered, and names that are left out say nothing:
    /// so a person can be invited to a second tenant by address alone.
    Register {
        person: PersonId,
        email: EmailAddress,
        first_name: Option<PersonName>,
        last_name: Option<PersonName>,
        /// An identity provider vouches for the address (FR-SYS-004); else the person is only invited.
        verified: bool,
    },
    /// What is `None` stays.
    UpdateProfile {
        first_name: Option<PersonName>,
        last_name: Option<PersonName>,
    },
    ChangeEmail {
        email: EmailAddress,
    },
    Activate,
    /// FR-TENANT-006, for the whole deployment. Already disabled: so it is, for the first reason.
    Disable {
        reason: Option<Reason>,
    },
    Enable,
    /// The address is proved by the link that was sent there. A first password comes with it; whoever has one keeps it.
    AcceptInvitation {
        hash: Option<PasswordHash>,
        first_name: Option<PersonName>,
        last_name: Option<PersonName>,
    },
    /// FR-AUTH-004. Ends all sessions.
    ChangePassword {
        /// The one that the caller was checked against.
        former: PasswordHash,
        hash: PasswordHash,
    },
    /// FR-AUTH-004. The hash of the link's token has to be one of the last requests'. Ends all sessions.
    ResetPassword {
        token_hash: SecretHash,
        hash: PasswordHash,
        now: DateTime<Utc>,
    },
    /// FR-AUTH-004
    RequestPasswordReset {
        token_hash: SecretHash,
        expires_at: DateTime<Utc>,
    },
    /// The same password under a stronger hash.
    Rehash {
        former: PasswordHash,
        hash: PasswordHash,
    },
    /// FR-AUTH-001. The password or passkey was verified before, against what comes with it.
    LogIn(Box<LogIn>),
    /// NFR-SEC-006. A code is mailed, unless one was a moment ago.
    ChallengeLogin(Box<ChallengeLogin>),
    /// FR-AUTH-005. Within the grace the former token gets the same successor.
    Refresh {
        session: SessionId,
        presented: SecretHash,
        successor: SecretHash,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    },
    /// A token of the session was used again: the family ends.
    ReportReuse {
        session: SessionId,
    },
    /// UC-LOGOUT, UC-TENANT-SESSION-REVOKE
    EndSession {
        session: SessionId,
        because: SessionEnd,
    },
    EndSessions {
        because: SessionEnd,
    },
    /// Those that reach a tenant, and the tokens for it.
    EndSessionsIn {
        tenant: TenantId,
        because: SessionEnd,
    },
    /// NFR-SEC-003. The code shows that the device has the secret.
    EnrolTotp {
        secret: TotpSecret,
        code: String,
        recovery_codes: Vec<SecretHash>,
        /// All sessions but this one end.
        by: SessionId,
        now: DateTime<Utc>,
    },
    ReplaceRecoveryCodes {
        recovery_codes: Vec<SecretHash>,
    },
    RemoveMfa,
    /// What somebody lost, or somebody else added: every second factor, and whatever rests on one. They sign in by password.
    ResetSecondFactors,
    IssueToken(Box<IssueToken>),
    /// One that ended, or never was, is void already.
    RevokeToken {
        token: TokenId,
    },
    /// NFR-SEC-003
    Passkey(PasskeyCommand),
    /// CON-COMP-001: erasure. Whatever is personal reads as forgotten, everywhere and for ever.
    Forget,
}

/// Why a person's record refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRejection {
    #[error("there is no such person")]
    NotFound,
    #[error("there is a person with this id, registered differently")]
    AlreadyExists,
    #[error("the person is disabled")]
    Disabled,
    #[error("the password is not the one it was checked against, or there is none")]
    InvalidCredentials,
    #[error("the person has a password")]
    PasswordAlreadySet,
    #[error("this is none of the last links that were asked for, or it was used")]
    LinkInvalid,
    #[error("the link expired at {expired_at}")]
    LinkExpired { expired_at: DateTime<Utc> },
    #[error("a second factor is needed")]
    SecondFactorRequired,
    #[error("the login is unusual: a code that is mailed is needed")]
    MailedCodeRequired,
    #[error("the code is wrong, or was used")]
    SecondFactorWrong,
    #[error("the person has a second factor already")]
    SecondFactorAlreadySet,
    #[error("the person has no second factor")]
    NoSecondFactor,
    #[error("the person has as many passkeys as there may be")]
    TooManyPasskeys,
    #[error("the session has ended")]
    SessionEnded,
    #[error("the token has a successor that is in use")]
    TokenReused,
    #[error(transparent)]
    Token(#[from] TokenRejection),
}

impl kernel::Rejection for UserRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists => RejectionKind::Conflict,
            Self::PasswordAlreadySet | Self::SecondFactorAlreadySet => RejectionKind::Conflict,
            Self::Disabled
            | Self::InvalidCredentials
            | Self::LinkInvalid
            | Self::LinkExpired { .. }
            | Self::SecondFactorRequired
            | Self::MailedCodeRequired
            | Self::SecondFactorWrong
            | Self::NoSecondFactor
            | Self::TooManyPasskeys
            | Self::SessionEnded
            | Self::TokenReused => RejectionKind::Rule,
            Self::Token(rejection) => rejection.kind(),
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Disabled => "user_disabled",
            Self::InvalidCredentials => "invalid_credentials",
            Self::PasswordAlreadySet => "password_already_set",
            Self::LinkInvalid => "link_invalid",
            Self::LinkExpired { .. } => "link_expired",
            Self::SecondFactorRequired | Self::MailedCodeRequired => "mfa_required",
            Self::SecondFactorWrong => "mfa_wrong",
            Self::SecondFactorAlreadySet => "mfa_already_set",
            Self::NoSecondFactor => "mfa_not_set",
            Self::TooManyPasskeys => "too_many_passkeys",
            Self::SessionEnded => "session_expired",
            Self::TokenReused => "token_reused",
            Self::Token(rejection) => rejection.detail(),
        }
    }
}

impl Decider for User {
    const TYPE: &'static str = "user";
    const SNAPSHOT_VERSION: u32 = 5;

    type Command = UserCommand;
    type Event = UserEvent;
    type Rejection = UserRejection;

    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserRejection> {
        // Who was forgotten is not there any more, for whatever may be wished.
        let known = || self.existing().filter(|user| !user.forgotten).ok_or(UserRejection::NotFound);
        // Whoever is disabled neither signs in nor changes how.
        let enabled =
            || known().and_then(|user| if user.disabled { Err(UserRejection::Disabled) } else { Ok(user) });
        match command {
            UserCommand::Register { person, email, first_name, last_name, verified } => {
                let asked = Asked {
                    email: Personal::new(person, email),
                    first_name: first_name.map(|name| Personal::new(person, name)),
                    last_name: last_name.map(|name| Personal::new(person, name)),
                };
                self.register(person, asked, verified)
            }
            UserCommand::UpdateProfile { first_name, last_name } => {
                let user = known()?;
                let first_name = user.if_new(first_name, user.first_name.as_ref());
                let last_name = user.if_new(last_name, user.last_name.as_ref());
                let same = first_name.is_none() && last_name.is_none();
                Ok(unless(same, || UserEvent::ProfileUpdated { first_name, last_name }))
            }
            UserCommand::ChangeEmail { email } => {
                let user = known()?;
                let new = user.if_new(Some(email), Some(&user.email));
                Ok(new.map(|email| UserEvent::EmailChanged { email }).into_iter().collect())
            }
            UserCommand::Activate => {
                let user = enabled()?;
                Ok(unless(user.active, || UserEvent::Activated {}))
            }
            UserCommand::Disable { reason } => {
                let user = known()?;
                let reason = reason.map(|reason| user.mark(reason));
                Ok(unless(user.disabled, || UserEvent::Disabled { reason }))
            }
            UserCommand::Enable => {
                let user = known()?;
                Ok(unless(!user.disabled, || UserEvent::Enabled {}))
            }
            UserCommand::Forget => {
                let user = self.existing().ok_or(UserRejection::NotFound)?;
                Ok(unless(user.forgotten, || UserEvent::SubjectForgotten {}))
            }
            UserCommand::AcceptInvitation { hash, first_name, last_name } => {
                enabled()?.accept(hash, first_name, last_name)
            }
            UserCommand::ChangePassword { former, hash } => {
                let user = enabled()?;
                user.sign_in.change_password(user.person, &former, hash)
            }
            UserCommand::ResetPassword { token_hash, hash, now } => {
                let user = enabled()?;
                let mut events = user.sign_in.reset_password(user.person, &token_hash, hash, now)?;
                // The link was sent to the address.
                if !events.is_empty() && !user.active {
                    events.push(UserEvent::Activated {});
                }
                Ok(events)
            }
            UserCommand::RequestPasswordReset { token_hash, expires_at } => {
                Ok(enabled()?.sign_in.request_reset(token_hash, expires_at))
            }
            UserCommand::Rehash { former, hash } => {
                let user = enabled()?;
                user.sign_in.rehash(user.person, &former, hash)
            }
            UserCommand::LogIn(wish) => {
                let user = enabled()?;
                user.sign_in.log_in(user.person, *wish)
            }
            UserCommand::ChallengeLogin(wish) => {
                let user = enabled()?;
                user.sign_in.challenge(user.person, *wish)
            }
            UserCommand::Refresh { session, presented, successor, now, expires_at } => {
                enabled()?.sign_in.refresh(session, &presented, successor, now, expires_at)
            }
            UserCommand::ReportReuse { session } => {
                let known = known()?.sign_in.sessions.contains_key(&session);
                Ok(unless(!known, || UserEvent::RefreshReuseDetected { session }))
            }
            UserCommand::EndSession { session, because } => {
                let known = known()?.sign_in.sessions.contains_key(&session);
                Ok(unless(!known, || UserEvent::SessionRevoked { session, because }))
            }
            UserCommand::EndSessions { because } => {
                let user = known()?;
                let none = user.sign_in.sessions.is_empty() && user.tokens.is_empty();
                Ok(unless(none, || UserEvent::SessionsRevoked { because }))
            }
            UserCommand::EndSessionsIn { tenant, because } => Ok(known()?.end_in(tenant, because)),
            UserCommand::EnrolTotp { secret, code, recovery_codes, by, now } => {
                let user = enabled()?;
                let enrolled = user.sign_in.enrol(user.person, secret, &code, recovery_codes, by, now)?;
                Ok(user.and_no_tokens(enrolled))
            }
            UserCommand::ReplaceRecoveryCodes { recovery_codes } => {
                enabled()?.sign_in.replace_recovery_codes(recovery_codes)
            }
            UserCommand::RemoveMfa => {
                let none = known()?.sign_in.totp.is_none();
                Ok(unless(none, || UserEvent::MfaRemoved {}))
            }
            UserCommand::ResetSecondFactors => Ok(known()?.sign_in.reset_second_factors()),
            UserCommand::IssueToken(wish) => enabled()?.issue_token(*wish),
            UserCommand::RevokeToken { token } => Ok(known()?.tokens.revoke(token)),
            UserCommand::Passkey(wish) => {
                let user = enabled()?;
                let first = !user.sign_in.has_second_factor();
                let events = user.sign_in.passkey(user.person, wish)?;
                Ok(if first { user.and_no_tokens(events) } else { events })
            }
        }
    }

    fn evolve(&mut self, event: &UserEvent) {
        if let UserEvent::Registered { person, email, first_name, last_name, status } = event {
            let asked =
                Asked { email: email.clone(), first_name: first_name.clone(), last_name: last_name.clone() };
            self.existing = Some(Existing {
                person: *person,
                email: asked.email.clone(),
                first_name: asked.first_name.clone(),
                last_name: asked.last_name.clone(),
                asked,
                active: *status == UserStatus::Active,
                disabled: *status == UserStatus::Disabled,
                forgotten: false,
                revision: 0,
                sign_in: SignIn::default(),
                tokens: Tokens::default(),
            });
        }
        // A stream begins with the registration, so there is nothing that could happen before.
        let Some(user) = self.existing.as_mut() else { return };
        user.revision += u64::from(event.alters_profile());
        user.tokens.evolve(event);
        match event {
            UserEvent::Registered { .. } | UserEvent::TokenIssued { .. } | UserEvent::TokenRevoked { .. } => {
            }
            UserEvent::ProfileUpdated { first_name, last_name } => {
                if first_name.is_some() {
                    user.first_name.clone_from(first_name);
                }
                if last_name.is_some() {
                    user.last_name.clone_from(last_name);
                }
            }
            UserEvent::EmailChanged { email } => {
                user.email.clone_from(email);
                user.sign_in.evolve(event);
            }
            UserEvent::Activated {} => user.active = true,
            UserEvent::Disabled { reason: _ } => {
                user.disabled = true;
                user.sign_in.sessions.clear();
            }
            UserEvent::Enabled {} => user.disabled = false,
            UserEvent::SubjectForgotten {} => {
                let email = Personal::forgotten(user.person);
                user.asked = Asked { email: email.clone(), first_name: None, last_name: None };
                (user.email, user.first_name, user.last_name) = (email, None, None);
                user.forgotten = true;
                user.sign_in = SignIn::default();
            }
            event @ (UserEvent::PasswordChanged { .. }
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::PasswordResetRequested { .. }
            | UserEvent::LoginSucceeded { .. }
            | UserEvent::LoginChallenged { .. }
            | UserEvent::TokenRefreshed { .. }
            | UserEvent::RefreshReuseDetected { .. }
            | UserEvent::SessionRevoked { .. }
            | UserEvent::SessionsRevoked { .. }
            | UserEvent::MfaEnrolled { .. }
            | UserEvent::MfaVerified { .. }
            | UserEvent::RecoveryCodesReplaced { .. }
            | UserEvent::MfaRemoved {}
            | UserEvent::PasskeyAdded { .. }
            | UserEvent::PasskeyUsed { .. }
            | UserEvent::PasskeyRemoved { .. }) => user.sign_in.evolve(event),
        }
    }

    fn revision(&self, _: Option<&str>) -> Option<u64> {
        Some(self.existing().map_or(0, |user| user.revision))
    }

    fn claims(&self, event: &UserEvent) -> Vec<ClaimChange> {
        let claim =
            |mark: &Personal<EmailAddress>| mark.reveal().map(|it| Claim::new(EMAIL_CLAIM, it.as_str()));
        match event {
            UserEvent::Registered { email, .. } => claim(email).map(ClaimChange::Take).into_iter().collect(),
            UserEvent::EmailChanged { email } => {
                let freed = self.existing().and_then(|user| claim(&user.email)).map(ClaimChange::Free);
                freed.into_iter().chain(claim(email).map(ClaimChange::Take)).collect()
            }
            // The address is free for another person, or for the same one as somebody new.
            UserEvent::SubjectForgotten {} => {
                let Some(user) = self.existing() else { return Vec::new() };
                let freed = claim(&user.email).into_iter().chain(user.sign_in.passkeys.claims());
                freed.map(ClaimChange::Free).collect()
            }
            UserEvent::PasskeyAdded { .. } | UserEvent::PasskeyRemoved { .. } => {
                self.existing().and_then(|user| user.sign_in.passkeys.claim(event)).into_iter().collect()
            }
            UserEvent::ProfileUpdated { .. }
            | UserEvent::Activated {}
            | UserEvent::Disabled { .. }
            | UserEvent::Enabled {}
            | UserEvent::PasswordChanged { .. }
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::PasswordResetRequested { .. }
            | UserEvent::LoginSucceeded { .. }
            | UserEvent::LoginChallenged { .. }
            | UserEvent::TokenRefreshed { .. }
            | UserEvent::RefreshReuseDetected { .. }
            | UserEvent::SessionRevoked { .. }
            | UserEvent::SessionsRevoked { .. }
            | UserEvent::MfaEnrolled { .. }
            | UserEvent::MfaVerified { .. }
            | UserEvent::RecoveryCodesReplaced { .. }
            | UserEvent::MfaRemoved {}
            | UserEvent::TokenIssued { .. }
            | UserEvent::TokenRevoked { .. }
            | UserEvent::PasskeyUsed { .. } => Vec::new(),
        }
    }
}

/// Nothing if it is so already, else the one event.
fn unless(already: bool, event: impl FnOnce() -> UserEvent) -> Vec<UserEvent> {
    if already { Vec::new() } else { vec![event()] }
}

#[cfg(test)]
mod tests;
