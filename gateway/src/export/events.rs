//! What a person hears of the events of their stream. Each field is taken in by its name; those that are left out are
//! named too, so that a new one is asked about.

use kernel::{ActorKind, Envelope, Origin, PersonId, Personal};
use schemas::events::UserEvent;
use serde_json::{Value, json};

/// An event: what it was, when, whether by themself, and what it says of them.
pub(super) fn told(person: PersonId, event: &UserEvent, envelope: &Envelope) -> Value {
    let actor = &envelope.metadata.actor;
    let by = match actor.kind {
        _ if actor.id == person.to_string() => "self",
        ActorKind::System => "system",
        // Who it was is another person's to be told of.
        ActorKind::User | ActorKind::Operator | ActorKind::Application | ActorKind::Anonymous => "other",
    };
    let from = Some(&envelope.metadata.origin).filter(|_| by == "self");
    let meaning = UserEvent::NAMES.iter().find(|name| name.event_type == envelope.event_type);
    json!({
        "type": envelope.event_type, "meaning": meaning.map(|name| name.meaning), "at": envelope.recorded_at,
        "by": by, "from": from.and_then(place), "about": about(event),
    })
}

/// What it says of the person. Hashes, secrets, keys and codes are left out.
fn about(event: &UserEvent) -> Value {
    match event {
        UserEvent::Registered { person: _, email, first_name, last_name, status } => json!({
            "email": email.reveal(), "first_name": open(first_name.as_ref()),
            "last_name": open(last_name.as_ref()), "status": status,
        }),
        UserEvent::ProfileUpdated { first_name, last_name } => json!({
            "first_name": open(first_name.as_ref()), "last_name": open(last_name.as_ref()),
        }),
        UserEvent::EmailChanged { email } => json!({"email": email.reveal()}),
        UserEvent::Disabled { reason } => json!({"reason": open(reason.as_ref())}),
        UserEvent::PasswordChanged { hash: _, because } => json!({"because": because}),
        UserEvent::PasswordResetRequested { token_hash: _, expires_at } => json!({"expires_at": expires_at}),
        UserEvent::LoginSucceeded {
            session,
            tenant,
            method,
            device,
            new_device,
            origin,
            token_hash: _,
            at: _,
            expires_at,
            risk,
            challenge: _,
        } => json!({
            "session": session, "tenant": tenant, "method": method, "device": device,
            "new_device": new_device, "from": open(origin.as_ref()).and_then(place), "risk": risk,
            "expires_at": expires_at,
        }),
        UserEvent::LoginChallenged {
            challenge: _,
            risk,
            device,
            origin,
            code_hash: _,
            at: _,
            expires_at,
        } => json!({
            "risk": risk, "device": device, "from": open(origin.as_ref()).and_then(place),
            "expires_at": expires_at,
        }),
        UserEvent::TokenRefreshed { session, token_hash: _, at: _, expires_at } => {
            json!({"session": session, "expires_at": expires_at})
        }
        UserEvent::RefreshReuseDetected { session } => json!({"session": session}),
        UserEvent::SessionRevoked { session, because } => json!({"session": session, "because": because}),
        UserEvent::SessionsRevoked { because } => json!({"because": because}),
        UserEvent::MfaEnrolled { secret: _, step: _, recovery_codes }
        | UserEvent::RecoveryCodesReplaced { recovery_codes } => {
            json!({"recovery_codes": recovery_codes.len()})
        }
        UserEvent::MfaVerified { step: _, recovery_code } => {
            json!({"by_recovery_code": recovery_code.is_some()})
        }
        UserEvent::TokenIssued {
            token,
            tenant,
            name,
            permissions,
            hash: _,
            second_factor,
            at: _,
            expires_at,
        } => {
            json!({
                "token": token, "tenant": tenant, "name": name.reveal(), "permissions": permissions,
                "second_factor": second_factor, "expires_at": expires_at,
            })
        }
        UserEvent::TokenRevoked { token } => json!({"token": token}),
        UserEvent::PasskeyAdded { passkey, name, credential: _, record: _, counter: _, at: _ } => {
            json!({"passkey": passkey, "name": name.reveal()})
        }
        UserEvent::PasskeyUsed { passkey, counter: _, challenge: _, challenge_expires_at: _, at: _ }
        | UserEvent::PasskeyRemoved { passkey } => json!({"passkey": passkey}),
        UserEvent::PasswordRehashed { hash: _ }
        | UserEvent::Activated {}
        | UserEvent::Enabled {}
        | UserEvent::MfaRemoved {}
        | UserEvent::SubjectForgotten {} => json!({}),
    }
}

fn open<T>(field: Option<&Personal<T>>) -> Option<&T> {
    field.and_then(Personal::reveal)
}

/// Where something came from, if anything is known of it.
fn place(origin: &Origin) -> Option<Value> {
    let Origin { address, user_agent } = origin;
    (address.is_some() || user_agent.is_some()).then(|| json!({"address": address, "user_agent": user_agent}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kernel::PERSONAL_MARK;
    use schemas::catalogue::catalogue;

    use super::*;

    /// Fields of events that nobody is ever told, whoever asks.
    const SECRET: [&str; 11] = [
        "hash",
        "token_hash",
        "code_hash",
        "secret",
        "step",
        "recovery_codes",
        "recovery_code",
        "credential",
        "record",
        "challenge",
        "counter",
    ];

    /// Every text and number below a value.
    fn leaves(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.values().for_each(|value| leaves(value, into)),
            Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
            Value::String(text) => _ = into.insert(text.clone()),
            Value::Number(number) => _ = into.insert(number.to_string()),
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn fixture(name: &schemas::events::EventName) -> Value {
        serde_json::from_str(name.fixture).unwrap()
    }

    /// Whoever has an event say more of a person decides here whether the person hears it. The fixtures have every field.
    #[test]
    fn what_is_told_of_each_event_is_what_was_decided() {
        let mut lines = Vec::new();
        for name in UserEvent::NAMES {
            let event: UserEvent = serde_json::from_value(fixture(name)).unwrap();
            let about = about(&event);
            let fields: Vec<&str> = about.as_object().unwrap().keys().map(String::as_str).collect();
            lines.push(format!("{} {}", name.event_type, fields.join(" ")).trim_end().to_owned());
        }
        assert_eq!(lines, EXPECTED.lines().collect::<Vec<_>>());
    }

    const EXPECTED: &str = "\
user.registered email first_name last_name status
user.profile_updated first_name last_name
user.email_changed email
user.activated
user.disabled reason
user.enabled
user.password_changed because
user.password_rehashed
user.password_reset_requested expires_at
user.login_succeeded session tenant method device new_device from risk expires_at
user.login_challenged risk device from expires_at
user.token_refreshed session expires_at
user.refresh_reuse_detected session
user.session_revoked session because
user.sessions_revoked because
user.mfa_enrolled recovery_codes
user.mfa_verified by_recovery_code
user.recovery_codes_replaced recovery_codes
user.mfa_removed
user.token_issued token tenant name permissions second_factor expires_at
user.token_revoked token
user.passkey_added passkey name
user.passkey_used passkey
user.passkey_removed passkey
user.subject_forgotten";

    /// CON-SEC-002: no hash, key, code or secret, and nothing that is marked as it is stored.
    #[test]
    fn no_secret_of_any_event_is_told() {
        let mut secrets = 0;
        for entry in catalogue().into_iter().filter(|entry| entry.aggregate == "user") {
            let fixture = fixture(&entry.name);
            let event: UserEvent = serde_json::from_value(fixture.clone()).unwrap();
            let about = about(&event);
            let mut told = BTreeSet::new();
            leaves(&about, &mut told);
            assert!(!about.to_string().contains(PERSONAL_MARK));
            for field in SECRET {
                let kept = &fixture[entry.name.variant][field];
                let kept = kept.get(PERSONAL_MARK).map_or(kept, |mark| &mark["value"]);
                let mut texts = BTreeSet::new();
                leaves(kept, &mut texts);
                // How many there are is no secret.
                let found: Vec<_> = texts.intersection(&told).filter(|text| text.len() > 2).collect();
                assert!(found.is_empty(), "{} tells {field}: {found:?}", entry.name.event_type);
                secrets += texts.len();
            }
        }
        assert!(secrets >= 15, "the fixtures hold only {secrets}");
    }
}
