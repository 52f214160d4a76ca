//! Wishes of people: who they are, and how they sign in.

use aggregates::user::{
    Assertion, ChallengeLogin, Checked, IssueToken, LogIn, NewPasskey, PasskeyCommand, SecondFactor,
};

use super::*;

pub fn user_command() -> impl Strategy<Value = UserCommand> {
    const MAILS: &[&str] = &["ann@acme.example", "ANN@acme.example", "ben@acme.example"];
    const NAMES: &[&str] = &["Ann", "Ben"];
    prop_oneof![
        2 => (one(MAILS), option::of(one(NAMES)), option::of(one(NAMES)), any::<bool>()).prop_map(
            |(email, first_name, last_name, verified)| UserCommand::Register {
                person: Uuid::from_u128(1).into(),
                email,
                first_name,
                last_name,
                verified,
            }
        ),
        1 => (option::of(one(NAMES)), option::of(one(NAMES)))
            .prop_map(|(first_name, last_name)| UserCommand::UpdateProfile { first_name, last_name }),
        1 => one(MAILS).prop_map(|email| UserCommand::ChangeEmail { email }),
        1 => Just(UserCommand::Activate),
        1 => option::of(one(&["x"])).prop_map(|reason| UserCommand::Disable { reason }),
        1 => Just(UserCommand::Enable),
        6 => sign_in_command(),
    ]
}

/// One of a few networks, or none.
fn origin(of: u8) -> Option<Origin> {
    let address = format!("192.0.{}.1", of % 3);
    (!of.is_multiple_of(4)).then_some(Origin { address: Some(address), user_agent: None })
}

fn sign_in_command() -> impl Strategy<Value = UserCommand> {
    fn session() -> impl Strategy<Value = SessionId> {
        (0..4_u128).prop_map(|number| Uuid::from_u128(number).into())
    }
    fn hash() -> impl Strategy<Value = PasswordHash> {
        one(&["$argon2id$a", "$argon2id$b", "$2b$10$c"])
    }
    const SECRET: &str = "3132333435363738393031323334353637383930";
    let code = |now: DateTime<Utc>| {
        let secret = SECRET.parse::<TotpSecret>().unwrap().bytes();
        let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
        totp.generate(u64::try_from(now.timestamp()).unwrap_or(0)).to_string()
    };
    let factor = move |now, right: Option<bool>, device: u8| match right {
        Some(true) if device.is_multiple_of(5) => Some(SecondFactor::MailedCode {
            challenge: Uuid::from_u128(u128::from(device % 4)),
            hash: "0".repeat(64).parse().unwrap(),
        }),
        Some(true) => Some(SecondFactor::Totp(code(now))),
        Some(false) => Some(SecondFactor::Totp("123456".to_owned())),
        None => None,
    };
    let log_in = (session(), hash(), a_time(), option::of(any::<bool>()), any::<u8>()).prop_map(
        move |(session, checked, now, right, device)| {
            UserCommand::LogIn(Box::new(LogIn {
                session,
                tenant: None,
                checked: Checked::Password(checked),
                second_factor: factor(now, right, device),
                asks_if_unusual: device.is_multiple_of(2),
                device: Uuid::from_u128(device.into()),
                origin: origin(device),
                token_hash: "0".repeat(64).parse().unwrap(),
                now,
                expires_at: now + chrono::TimeDelta::days(7),
            }))
        },
    );
    let by_sso =
        (session(), 0..2_u128, any::<bool>(), a_time()).prop_map(|(session, tenant, second_factor, now)| {
            UserCommand::LogIn(Box::new(LogIn {
                session,
                tenant: Some(Uuid::from_u128(tenant).into()),
                checked: Checked::Sso { second_factor },
                second_factor: None,
                asks_if_unusual: true,
                device: Uuid::nil(),
                origin: None,
                token_hash: "0".repeat(64).parse().unwrap(),
                now,
                expires_at: now + chrono::TimeDelta::days(7),
            }))
        });
    let challenge = (0..4_u128, hash(), a_time(), a_time(), any::<u8>()).prop_map(
        |(challenge, checked, now, end, device)| {
            UserCommand::ChallengeLogin(Box::new(ChallengeLogin {
                challenge: Uuid::from_u128(challenge),
                checked,
                device: Uuid::from_u128(device.into()),
                origin: origin(device),
                code_hash: "0".repeat(64).parse().unwrap(),
                now,
                expires_at: end,
            }))
        },
    );
    let refresh = (session(), 0..3_u8, a_time()).prop_map(|(session, token, now)| {
        let hash = |number: u8| number.to_string().repeat(64).parse().unwrap();
        UserCommand::Refresh {
            session,
            presented: hash(token),
            successor: hash(token + 1),
            now,
            expires_at: now + chrono::TimeDelta::days(7),
        }
    });
    prop_oneof![
        4 => option::of(hash()).prop_map(|hash| UserCommand::AcceptInvitation {
            hash,
            first_name: None,
            last_name: None,
        }),
        2 => (hash(), hash()).prop_map(|(former, hash)| UserCommand::ChangePassword { former, hash }),
        2 => (hash(), hash()).prop_map(|(former, hash)| UserCommand::Rehash { former, hash }),
        2 => (a_hash(), a_time())
            .prop_map(|(token_hash, expires_at)| UserCommand::RequestPasswordReset { token_hash, expires_at }),
        2 => (a_hash(), hash(), a_time())
            .prop_map(|(token_hash, hash, now)| UserCommand::ResetPassword { token_hash, hash, now }),
        6 => log_in,
        2 => by_sso,
        2 => challenge,
        4 => refresh,
        1 => session().prop_map(|session| UserCommand::ReportReuse { session }),
        1 => (session(), word(SessionEnd::ALL))
            .prop_map(|(session, because)| UserCommand::EndSession { session, because }),
        1 => word(SessionEnd::ALL).prop_map(|because| UserCommand::EndSessions { because }),
        2 => (a_time(), any::<bool>()).prop_map(move |(now, right)| UserCommand::EnrolTotp {
            secret: SECRET.parse().unwrap(),
            code: if right { code(now) } else { "123456".to_owned() },
            recovery_codes: vec![],
            by: SessionId(Uuid::from_u128(1)),
            now,
        }),
        1 => a_hash().prop_map(|hash| UserCommand::ReplaceRecoveryCodes { recovery_codes: vec![hash] }),
        1 => Just(UserCommand::RemoveMfa),
        1 => Just(UserCommand::ResetSecondFactors),
        3 => (0..6_u128, a_hash(), a_time(), 0..400_i64).prop_map(|(number, hash, now, days)| {
            UserCommand::IssueToken(Box::new(IssueToken {
                token: Uuid::from_u128(number).into(),
                tenant: Uuid::from_u128(number % 2).into(),
                name: "x".parse().unwrap(),
                permissions: ["users:*".parse().unwrap()].into(),
                hash,
                second_factor: false,
                by: SessionId(Uuid::from_u128(1)),
                now,
                expires_at: now + chrono::TimeDelta::days(days),
            }))
        }),
        2 => (0..6_u128)
            .prop_map(|number| UserCommand::RevokeToken { token: Uuid::from_u128(number).into() }),
        1 => (0..2_u128, word(SessionEnd::ALL)).prop_map(|(tenant, because)| {
            UserCommand::EndSessionsIn { tenant: Uuid::from_u128(tenant).into(), because }
        }),
        4 => passkey_command(),
    ]
}

fn passkey_command() -> impl Strategy<Value = UserCommand> {
    let id = |number: u8| Uuid::from_u128(number.into());
    let record = || "{}".parse::<CredentialRecord>().unwrap();
    let add = (0..3_u8, 0..3_u8, 0..3_u32, a_time()).prop_map(move |(passkey, credential, counter, now)| {
        PasskeyCommand::Add(Box::new(NewPasskey {
            passkey: id(passkey).into(),
            name: "a phone".parse().unwrap(),
            credential: format!("c{credential}").parse().unwrap(),
            record: record(),
            counter,
            recovery_codes: vec![],
            by: SessionId(Uuid::from_u128(1)),
            now,
        }))
    });
    let remove = (0..3_u8).prop_map(move |passkey| PasskeyCommand::Remove { passkey: id(passkey).into() });
    let log_in = (0..4_u8, 0..3_u8, 0..5_u32, a_hash(), a_time()).prop_map(
        move |(session, passkey, counter, challenge, now)| {
            let challenge_expires_at = now + chrono::TimeDelta::minutes(5);
            let passkey = id(passkey).into();
            let checked = Assertion { passkey, checked: record(), counter, challenge, challenge_expires_at };
            UserCommand::LogIn(Box::new(LogIn {
                session: id(session).into(),
                tenant: None,
                checked: Checked::Passkey(checked),
                second_factor: None,
                asks_if_unusual: true,
                device: Uuid::nil(),
                origin: None,
                token_hash: "0".repeat(64).parse().unwrap(),
                now,
                expires_at: now + chrono::TimeDelta::days(7),
            }))
        },
    );
    prop_oneof![
        2 => add.prop_map(UserCommand::Passkey),
        1 => remove.prop_map(UserCommand::Passkey),
        2 => log_in,
    ]
}
