//! How much there is of what grows with each sign-in.

use schemas::events::UserEvent;
use schemas::values::{LoginMethod, SessionEnd};
use uuid::Uuid;

use super::{DEVICES_MAX, LogIn, SESSIONS_MAX, Session, SignIn};

/// How many sessions that one tenant's providers began a person may have at once, beside all others.
pub const SSO_SESSIONS_MAX: usize = 10;

impl SignIn {
    /// The end of the session that was used longest ago, if another one would be too many. Those that a tenant's providers
    /// begin make room among themselves: a tenant ends none of the person's elsewhere by letting them in.
    pub(super) fn makes_room(&self, wish: &LogIn) -> Option<UserEvent> {
        let by_sso = wish.checked.method() == LoginMethod::Sso;
        let beside = |session: &Session| match (by_sso, session.method == LoginMethod::Sso) {
            (true, true) => session.tenant == wish.tenant,
            (one, other) => one == other,
        };
        // Expired sessions leave when the next begins.
        let live = self.sessions.iter().filter(|(_, session)| session.is_live(wish.now) && beside(session));
        let live: Vec<_> = live.collect();
        let most = if by_sso { SSO_SESSIONS_MAX } else { SESSIONS_MAX };
        let (oldest, _) = live.iter().min_by_key(|(_, session)| session.refreshed_at)?;
        let because = SessionEnd::Replaced;
        (live.len() >= most).then_some(UserEvent::SessionRevoked { session: **oldest, because })
    }

    pub(super) fn knows_device(&mut self, device: Uuid) {
        self.devices.retain(|known| *known != device);
        self.devices.push(device);
        let too_many = self.devices.len().saturating_sub(DEVICES_MAX);
        self.devices.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use kernel::RejectionKind::Rule;
    use kernel::{Origin, TenantId};
    use schemas::values::LoginMethod;

    use super::super::tests::{and_then, ann, log_in, p, secret_hash, session, wish};
    use super::super::{Checked, SecondFactor};
    use super::*;
    use crate::testing::{DAY, at, id};

    fn tenant(number: u128) -> TenantId {
        id(0x100 + number).into()
    }

    fn by_sso(number: u128, of: u128, second_factor: bool, now: i64) -> LogIn {
        let origin = Origin { address: Some("192.0.2.1".to_owned()), user_agent: None };
        LogIn {
            tenant: Some(tenant(of)),
            checked: Checked::Sso { second_factor },
            origin: Some(origin),
            ..log_in(number, now)
        }
    }

    fn begun(number: u128, of: u128, now: i64) -> UserEvent {
        let login = by_sso(number, of, false, now);
        UserEvent::LoginSucceeded {
            session: login.session,
            tenant: login.tenant,
            method: LoginMethod::Sso,
            device: login.device,
            new_device: true,
            origin: login.origin.map(p),
            token_hash: login.token_hash,
            at: at(now),
            expires_at: at(now + 7 * DAY),
            risk: vec![],
            challenge: None,
        }
    }

    fn enrolled() -> UserEvent {
        let secret = "3132333435363738393031323334353637383930".parse().unwrap();
        UserEvent::MfaEnrolled { secret: p(secret), step: 1, recovery_codes: vec![secret_hash('c')] }
    }

    /// FR-AUTH-001
    #[test]
    fn whom_a_provider_vouches_for_has_a_session_once_and_is_asked_for_nothing_unusual() {
        and_then([]).when(wish(by_sso(1, 1, false, 10))).then([begun(1, 1, 10)]).and_again_nothing();
        let disabled = UserEvent::Disabled { reason: None };
        and_then([disabled]).when(wish(by_sso(1, 1, false, 10))).then_rejected(Rule, "user_disabled");
    }

    /// NFR-SEC-003
    #[test]
    fn a_second_factor_of_ours_is_wanted_unless_the_provider_is_trusted_with_one() {
        let known = || and_then([enrolled()]);
        known().when(wish(by_sso(1, 1, false, 10))).then_rejected(Rule, "mfa_required");
        let its = UserEvent::MfaVerified { step: None, recovery_code: None };
        known().when(wish(by_sso(1, 1, true, 10))).then([its, begun(1, 1, 10)]).and_again_nothing();
        let code = Some(SecondFactor::RecoveryCode(secret_hash('c')));
        let used = UserEvent::MfaVerified { step: None, recovery_code: Some(secret_hash('c')) };
        let shown = LogIn { second_factor: code, ..by_sso(1, 1, false, 10) };
        known().when(wish(shown)).then([used, begun(1, 1, 10)]);
    }

    /// NFR-SEC-006
    #[test]
    fn what_a_provider_vouches_for_makes_neither_device_nor_network_known() {
        let before = and_then([]).state();
        let after = and_then([begun(1, 1, 10)]).state();
        let (before, after) = (before.existing().unwrap(), after.existing().unwrap());
        assert_eq!(after.person, ann());
        assert_eq!(
            (&after.sign_in.devices, &after.sign_in.history),
            (&before.sign_in.devices, &before.sign_in.history)
        );
        assert_eq!(after.sign_in.sessions.len(), 1);
    }

    #[test]
    fn a_tenants_provider_makes_room_among_what_it_began_and_ends_nothing_else() {
        let full = || (1..=10).map(|number| begun(number, 1, number as i64));
        let of_another = || full().chain([begun(20, 2, 0)]);
        let replaced = UserEvent::SessionRevoked { session: session(1), because: SessionEnd::Replaced };
        and_then(of_another()).when(wish(by_sso(30, 1, false, 50))).then([replaced, begun(30, 1, 50)]);
        and_then(of_another()).when(wish(by_sso(30, 2, false, 50))).then([begun(30, 2, 50)]);
    }
}
