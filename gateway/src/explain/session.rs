//! One session of a person's, folded: memory holds only what ends sessions.

use chrono::{DateTime, Utc};
use kernel::{Envelope, SessionId, TenantId};
use schemas::events::UserEvent;
use schemas::values::LoginMethod;

use crate::caller::Login;

/// The session that is asked about.
#[derive(Debug)]
pub(super) struct Session {
    wanted: SessionId,
    pub begun: Option<Begun>,
    /// It ended by itself; what else ended it, memory knows.
    pub ended: bool,
    /// The first sequence of the command that a second factor was shown to.
    shown_to: Option<u64>,
}

/// How it began, and until when it lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub login: Login,
    /// `None`: it is good for all tenants of the person's.
    pub tenant: Option<TenantId>,
    pub expires_at: DateTime<Utc>,
}

impl Session {
    pub fn new(wanted: SessionId) -> Self {
        Self { wanted, begun: None, ended: false, shown_to: None }
    }

    pub fn fold(&mut self, envelope: &Envelope, event: &UserEvent) {
        let command = envelope.sequence - u64::from(envelope.index_in_command);
        match event {
            UserEvent::MfaVerified { .. } | UserEvent::PasskeyUsed { .. } => self.shown_to = Some(command),
            UserEvent::LoginSucceeded { session, tenant, method, at, expires_at, .. }
                if *session == self.wanted =>
            {
                let login = Login {
                    id: *session,
                    began_at: envelope.position,
                    authenticated_at: *at,
                    second_factor: self.shown_to == Some(command),
                    sso: *method == LoginMethod::Sso,
                };
                self.begun = Some(Begun { login, tenant: *tenant, expires_at: *expires_at });
            }
            UserEvent::TokenRefreshed { session, expires_at, .. } if *session == self.wanted => {
                if let Some(begun) = &mut self.begun {
                    begun.expires_at = *expires_at;
                }
            }
            UserEvent::SessionRevoked { session, .. } | UserEvent::RefreshReuseDetected { session }
                if *session == self.wanted =>
            {
                self.ended = true;
            }
            // Another session's, or nothing about sessions; what ends all of them, memory knows.
            UserEvent::LoginSucceeded { .. }
            | UserEvent::TokenRefreshed { .. }
            | UserEvent::SessionRevoked { .. }
            | UserEvent::RefreshReuseDetected { .. }
            | UserEvent::SessionsRevoked { .. }
            | UserEvent::Registered { .. }
            | UserEvent::ProfileUpdated { .. }
            | UserEvent::EmailChanged { .. }
            | UserEvent::Activated {}
            | UserEvent::Disabled { .. }
            | UserEvent::Enabled {}
            | UserEvent::PasswordChanged { .. }
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::PasswordResetRequested { .. }
            | UserEvent::MfaEnrolled { .. }
            | UserEvent::RecoveryCodesReplaced { .. }
            | UserEvent::MfaRemoved {}
            | UserEvent::LoginChallenged { .. }
            | UserEvent::TokenIssued { .. }
            | UserEvent::TokenRevoked { .. }
            | UserEvent::PasskeyAdded { .. }
            | UserEvent::PasskeyRemoved { .. }
            | UserEvent::SubjectForgotten {} => {}
        }
    }
}
