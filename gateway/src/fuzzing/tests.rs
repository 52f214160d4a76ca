use std::path::{Path, PathBuf};

use kernel::{KeyId, Position, SessionId, SsoProviderId};
use serde_json::json;
use zeroize::Zeroizing;

use super::*;
use crate::shown::Shown;
use crate::tickets::{Challenge, REFRESH_PREFIX, SsoProof};

fn fuzz(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(below)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What is signed or sealed, so that only we can make it.
fn ours() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": KID}).to_string();
    let at = now().timestamp();
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": PERSON.to_string(), "exp": at + 900, "iat": at, "nbf": at,
        "sid": Uuid::from_u128(1), "tid": Uuid::from_u128(2), "ver": 7, "role": "owner", "scopes": ["a"],
        "auth_time": at, "amr": ["pwd", "mfa"], "jti": Uuid::from_u128(3),
    });
    let claims = claims.to_string();
    let endless = claims
        .replace(&format!("\"exp\":{}", at + 900), &format!("\"exp\":{}", i64::MAX))
        .replace(&format!("\"iat\":{at}"), &format!("\"iat\":{}", i64::MIN));
    let lines = |claims: &str| format!("{header}\n{claims}").into_bytes();

    let tickets = Tickets::new(&KEY);
    let session = (PERSON, SessionId(Uuid::from_u128(1)), None);
    let token = |authenticated_at| {
        let secret = Zeroizing::new([9; 32]);
        let token = tickets.first_refresh_token(
            session,
            Position(7),
            authenticated_at,
            Shown::PasswordAndCode,
            secret,
        );
        tickets.refresh_text(&token).to_string()
    };
    let hash = "$argon2id$x".parse().unwrap();
    let challenge = Challenge::new(PERSON, None, (Uuid::from_u128(8), true), &hash, now());
    let challenge = tickets.challenge_text(&challenge).to_string();
    let provider = SsoProviderId(Uuid::from_u128(3));
    let tenant = TenantId(Uuid::from_u128(2));
    let proof = SsoProof { provider, tenant, authenticated_at: now() };
    let of_sso = Challenge::of_sso(PERSON, proof, Uuid::from_u128(8), now());
    let of_sso = tickets.challenge_text(&of_sso).to_string();
    let cookie = tickets.sso_sign_in(provider, [9; 16], now()).1.to_string();
    let enrolment = tickets.enrolment(PERSON, now()).1.to_string();
    let device = tickets.device_text(&ACCOUNT, Uuid::from_u128(8)).to_string();
    // What was said, without the tag, behind the place of its purpose.
    let said = |purpose: u8, text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_start_matches(REFRESH_PREFIX)).unwrap();
        [&[purpose][..], &bytes[..bytes.len() - 32]].concat()
    };

    let list = parse(LISTS[0], Scope::Platform, "sort=name").unwrap_or_else(|_| panic!("it is a list"));
    let cursor = list.cursor(vec![SortValue::Text("acme".into()), SortValue::Uuid(Uuid::from_u128(1))]);
    let page = format!("0{}", with_cursor("sort=name", &cursor));
    // In all but the signature, they are ours.
    let good = signed(&header, &claims);
    let other_token = format!("{}.{}", good.rsplit_once('.').unwrap().0, sign("something else"));
    let other_tag = hmac::sign(&cursor_key(), b"something else");
    let other_cursor = format!("{}.{}", cursor.split_once('.').unwrap().0, URL_SAFE_NO_PAD.encode(other_tag));
    let refresh = tickets.read_refresh(&token(now())).unwrap();
    let other_refresh = Tickets::new(&[8; 32]).refresh_text(&refresh).to_string();
    vec![
        ("access_token", "another-signature", other_token.into_bytes()),
        ("cursor", "another-tag", other_cursor.into_bytes()),
        ("tickets", "another-tag", other_refresh.into_bytes()),
        ("access_token", "signed", good.into_bytes()),
        ("access_token", "claims", lines(&claims)),
        ("access_token", "endless", lines(&endless)),
        ("api_key", "key", ApiKey::new(KeyId(Uuid::from_u128(1)), &[9; 32]).reveal().as_bytes().to_vec()),
        ("tickets", "refresh", token(now()).into_bytes()),
        ("tickets", "refresh-said", said(0, &token(now()))),
        ("tickets", "refresh-at-the-end-of-time", said(0, &token(DateTime::<Utc>::MAX_UTC))),
        ("tickets", "challenge-said", said(1, &challenge)),
        ("tickets", "challenge", challenge.into_bytes()),
        ("tickets", "enrolment-said", said(2, &enrolment)),
        ("tickets", "enrolment", enrolment.into_bytes()),
        ("tickets", "device", device.into_bytes()),
        ("tickets", "challenge-of-sso-said", said(3, &of_sso)),
        ("tickets", "challenge-of-sso", of_sso.into_bytes()),
        ("tickets", "sso-said", said(4, &cookie)),
        ("tickets", "sso", cookie.into_bytes()),
        ("cursor", "cursor", cursor.into_bytes()),
        ("filter", "page", page.into_bytes()),
    ]
}

/// With `UPDATE_CORPUS=1` it is written instead.
#[test]
fn the_fuzz_corpus_holds_tokens_tickets_and_cursors_as_they_are_made_today() {
    for (target, name, made) in ours() {
        let path = fuzz("corpus").join(target).join(name);
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let found = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(found == made, "{} is out of date: UPDATE_CORPUS=1 writes it anew", path.display());
    }
}

/// Of each, some is accepted and some refused, so that neither side of an entry stands unused.
#[test]
fn the_whole_fuzz_corpus_goes_through_the_entries_of_its_targets() {
    for (target, entry) in TARGETS {
        let (mut accepted, mut refused) = (0, 0);
        for path in files(&fuzz("corpus").join(target)) {
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| entry(&data));
            let outcome = outcome.unwrap_or_else(|_| panic!("{} breaks {target}", path.display()));
            *(if outcome { &mut accepted } else { &mut refused }) += 1;
        }
        assert!(accepted > 0 && refused > 0, "{target}: {accepted} accepted, {refused} refused");
    }
}

#[test]
fn every_fuzz_entry_has_a_target_and_a_corpus_and_there_are_no_others() {
    let entries: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |below| -> BTreeSet<String> {
        let stems = files(&fuzz(below));
        stems.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("fuzz_targets"), entries);
    assert_eq!(names("corpus"), entries);
    let manifest = std::fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let target = std::fs::read_to_string(fuzz("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(target.contains(&format!("gateway::fuzzing::{name}(")), "{name} calls another entry");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
    }
}
