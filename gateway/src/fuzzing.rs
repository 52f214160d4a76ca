//! What strangers can send to a parser, byte by byte: an entry for each fuzz target (`fuzz/`), with what must hold whatever
//! is sent. The checked-in corpus goes through the same entries in an ordinary test.
//!
//! Each entry panics where something does not hold, and says whether anything was accepted. A signature can't be hit upon by
//! changing bytes: so that what is behind it is reached too, each target that checks one has inputs that are signed on the way.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use form_urlencoded::Serializer;
use jsonwebtoken::{Algorithm, EncodingKey};
use kernel::{PersonId, TenantId};
use projections::{
    ApplicationDirectory, AuditTrail, ListSpec, MembershipDirectory, RoleDirectory, Scope, SortValue,
    TenantDirectory, UserDirectory,
};
use schemas::values::PasswordPolicy;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::authenticate::holder;
use crate::extract::{StrictJson, canonical};
use crate::list::{Listing, Place};
use crate::passwords::{About, Broken, Password, judge};
use crate::problem::Problem;
use crate::routes::audit::range;
use crate::tickets::{CHALLENGE_TTL, ENROLMENT_TTL, SESSION_MAX, SSO_TTL, Tickets};
use crate::token::{AUDIENCE, TTL_MAX, TokenKey, Tokens};
use crate::view::PasswordPolicyView;

/// What a target is called, and its entry.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets. Each has a binary in `fuzz/fuzz_targets` and a corpus in `fuzz/corpus`.
pub const TARGETS: &[Target] = &[
    ("access_token", access_token),
    ("api_key", api_key),
    ("tickets", tickets),
    ("cursor", cursor),
    ("filter", filter),
    ("password_policy", password_policy),
];

const ISSUER: &str = "http://127.0.0.1:8080";
const KID: &str = "k";
/// The same for every run, and so of no deployment.
const KEY: [u8; 32] = [7; 32];
/// The head of an Ed25519 key in PKCS #8 (RFC 8410 §7); the seed follows.
const ED25519_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PERSON: PersonId = PersonId(Uuid::from_u128(0xb1));
const ACCOUNT: [u8; 32] = [5; 32];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

fn signing_key() -> Vec<u8> {
    [&ED25519_HEAD[..], &KEY].concat()
}

fn sign(message: &str) -> String {
    let key = EncodingKey::from_ed_der(&signing_key());
    jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).expect("the key signs")
}

/// A token that we signed, whatever it says.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(&message);
    format!("{message}.{signature}")
}

/// A token as it is sent; or its header and claims, on a line each, to be signed.
pub fn access_token(data: &[u8]) -> bool {
    static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
        let tokens = Tokens::new(ISSUER);
        let key = TokenKey { kid: KID.to_owned(), private_pkcs8: signing_key().into(), verifies_until: None };
        tokens.replace(&[key]).expect("it is a key");
        tokens
    });
    let text = String::from_utf8_lossy(data);
    let token = match text.split_once('\n') {
        Some((header, claims)) => signed(header, claims),
        None => text.into_owned(),
    };
    let Ok(claims) = TOKENS.verify(&token, now()) else { return false };
    let (message, signature) = token.rsplit_once('.').expect("it has a signature");
    assert_eq!(signature, sign(message), "nothing is accepted that we did not sign");
    let header = jsonwebtoken::decode_header(&token).expect("it was read");
    assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::EdDSA, Some(KID)));
    assert_eq!((claims.iss.as_str(), claims.aud.as_str()), (ISSUER, AUDIENCE));
    let at = now().timestamp();
    assert!(claims.exp > at && claims.nbf <= at + 60, "it is within its time: {claims:?}");
    let life = i128::from(claims.exp) - i128::from(claims.iat);
    assert!(life <= i128::from(TTL_MAX.as_secs()), "it lives for {life} s");
    let again = serde_json::to_value(&claims).and_then(serde_json::from_value).expect("claims are JSON");
    assert_eq!(claims, again);
    if let Some(end) = DateTime::from_timestamp(claims.exp, 0) {
        assert!(TOKENS.verify(&token, end).is_err(), "it has ended");
    }
    let Ok(caller) = holder(claims) else { return false };
    let role = caller.role;
    assert!(role.is_none_or(|role| !role.is_machine()), "machines have keys");
    assert!(role.is_some() || (caller.person().is_some() && caller.tenant.is_none()));
    assert!(!role.is_some_and(|role| role.is_tenant()) || caller.tenant.is_some());
    true
}

/// An API key as it is sent.
pub fn api_key(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let Some(key) = ApiKey::parse(&text) else { return false };
    assert_eq!(*key.reveal(), text, "what is accepted can be told again, to the letter");
    assert!(key.matches(Some(&key.hash())) && text.contains(key.prefix().as_str()));
    let other = ApiKey::new(key.id, &KEY);
    assert_eq!(other.matches(Some(&key.hash())), *other.reveal() == text, "only its own secret opens it");
    true
}

/// What a ticket is for, by the first byte of inputs that are to be sealed.
const PURPOSES: [&[u8]; 5] = [b"refresh", b"challenge", b"enrolment", b"challenge/sso", b"sso/sign-in"];

/// A refresh token, a challenge, a device, an enrolment or the cookie of a sign-in by a provider as it is sent; or, behind a byte that is an index of [`PURPOSES`],
/// what is to be said in one.
pub fn tickets(data: &[u8]) -> bool {
    static TICKETS: LazyLock<Tickets> = LazyLock::new(|| Tickets::new(&KEY));
    let tickets = &*TICKETS;
    let said = data.split_first().and_then(|(first, said)| Some((*PURPOSES.get(usize::from(*first))?, said)));
    let text = match said {
        Some((b"refresh", said)) => {
            format!("{}{}", crate::tickets::REFRESH_PREFIX, *tickets.seal(b"refresh", said))
        }
        Some((purpose, said)) => tickets.seal(purpose, said).to_string(),
        None => String::from_utf8_lossy(data).into_owned(),
    };
    let is_as_sent = said.is_none();
    let mut read = 0;
    if let Some(token) = tickets.read_refresh(&text) {
        let told = tickets.refresh_text(&token);
        assert!(!is_as_sent || *told == text, "nothing is accepted that we did not make");
        let again = tickets.read_refresh(&told).expect("what is told is read");
        assert_eq!((again.hash(), again.session, again.tenant), (token.hash(), token.session, token.tenant));
        assert!(token.expires_at(now()) <= now() + SESSION_MAX);
        assert!(tickets.read_refresh(&tickets.refresh_text(&tickets.successor(&token))).is_some());
        read += 1;
    }
    if let Some(challenge) = tickets.read_challenge(&text, now()) {
        let told = tickets.challenge_text(&challenge);
        assert!(!is_as_sent || *told == text, "nothing is accepted that we did not make");
        assert_eq!(tickets.read_challenge(&told, now()), Some(challenge));
        assert_eq!(tickets.read_challenge(&told, challenge.expires_at), None, "it has ended");
        assert!(!is_as_sent || challenge.expires_at <= now() + CHALLENGE_TTL);
        read += 1;
    }
    if let Some(device) = tickets.read_device(&ACCOUNT, &text) {
        assert_eq!(*tickets.device_text(&ACCOUNT, device), text, "nothing is accepted that we did not make");
        assert_eq!(tickets.read_device(&[6; 32], &text), None, "it is another account's");
        read += 1;
    }
    if let Some(secret) = tickets.read_enrolment(PERSON, &text, now()) {
        let other = PersonId(Uuid::from_u128(0xb2));
        assert!(tickets.read_enrolment(other, &text, now()).is_none(), "it is another person's");
        assert!(!is_as_sent || tickets.read_enrolment(PERSON, &text, now() + ENROLMENT_TTL).is_none());
        assert_eq!(tickets.read_enrolment(PERSON, &text, now()), Some(secret));
        read += 1;
    }
    if let Some(asked) = tickets.read_sso_sign_in(&text, now()) {
        assert!(!is_as_sent || tickets.read_sso_sign_in(&text, now() + SSO_TTL).is_none());
        assert!(asked.is_answered_by(&asked.state) && !asked.is_answered_by(&text));
        read += 1;
    }
    let _ = tickets.recovery_hash(PERSON, &text);
    assert!(read <= 1, "what is made for one use is good for no other");
    read == 1
}

fn cursor_key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &KEY)
}

/// A list's route, what may be asked of it, and its own parameters.
type List = (&'static str, &'static ListSpec, &'static [&'static str]);

const LISTS: [List; 8] = [
    ("/api/operator/tenants", TenantDirectory::LIST, &[]),
    ("/api/v1/users", UserDirectory::LIST, &[]),
    ("/api/v1/memberships", MembershipDirectory::LIST, &[]),
    ("/api/v1/invitations", MembershipDirectory::INVITATIONS, &[]),
    ("/api/v1/roles", RoleDirectory::LIST, &[]),
    ("/api/developer/applications", ApplicationDirectory::LIST, &[]),
    ("/api/developer/applications/{id}/keys", ApplicationDirectory::KEYS, &[]),
    ("/api/auditor/audit-logs", AuditTrail::LIST, range::PARAMETERS),
];

fn parse(list: List, scope: Scope, query: &str) -> Result<Listing, Problem> {
    let (path, spec, own) = list;
    Listing::parse(query, &Place { route: path, path, scope }, spec, own, &cursor_key())
}

/// A query, with a cursor behind it.
fn with_cursor(query: &str, cursor: &str) -> String {
    let cursor = Serializer::new(String::new()).append_pair("cursor", cursor).finish();
    if query.is_empty() { cursor } else { format!("{query}&{cursor}") }
}

/// A cursor as it is sent; or, beginning with `[`, the place that is to be said in one that we sign. It is taken to the list of
/// tenants by name.
pub fn cursor(data: &[u8]) -> bool {
    const SORT: &str = "sort=name";
    let tenants = LISTS[0];
    let mut text = String::from_utf8_lossy(data).into_owned();
    let list = parse(tenants, Scope::Platform, SORT).unwrap_or_else(|_| unreachable!("it can be sorted so"));
    if text.starts_with('[') {
        let (body, _) = opened(&list.cursor(Vec::new()));
        let body = body.replace("[]", &text);
        let tag = hmac::sign(&cursor_key(), body.as_bytes());
        text = format!("{}.{}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(tag));
    }
    if let Err(problem) = parse(tenants, Scope::Platform, &with_cursor(SORT, &text)) {
        assert_eq!(problem.code.as_str(), "ERR-VAL-400");
        assert_eq!(problem.errors[0].parameter.as_deref(), Some("cursor"));
        return false;
    }
    let (body, tag) = opened(&text);
    let signed = hmac::sign(&cursor_key(), body.as_bytes());
    assert_eq!(signed.as_ref(), tag, "nothing is accepted that we did not sign");
    let said: serde_json::Value = serde_json::from_str(&body).expect("it was read");
    let after: Vec<SortValue> = serde_json::from_value(said["a"].clone()).expect("it was read");
    assert!(matches!(&after[..], [SortValue::Text(_), SortValue::Uuid(_)]), "{after:?}");
    assert!(parse(tenants, Scope::Platform, &with_cursor(SORT, &list.cursor(after))).is_ok());
    for (list, scope, query) in [
        (tenants, Scope::Platform, "sort=-name"),
        (tenants, Scope::Platform, "sort=domain"),
        (tenants, Scope::Platform, "sort=name&filter[plan][eq]=pro"),
        (tenants, Scope::Tenant(TenantId(Uuid::from_u128(1))), SORT),
        (LISTS[4], Scope::Platform, SORT),
    ] {
        assert!(parse(list, scope, &with_cursor(query, &text)).is_err(), "it leads to another list: {query}");
    }
    true
}

/// What a cursor of ours says, and its tag.
fn opened(text: &str) -> (String, Vec<u8>) {
    let (body, tag) = text.split_once('.').expect("a cursor has two parts");
    let decode = |part| URL_SAFE_NO_PAD.decode(part).expect("each in base64");
    (String::from_utf8(decode(body)).expect("the first is text"), decode(tag))
}

/// Behind a byte that picks one of [`LISTS`], the query of a list.
pub fn filter(data: &[u8]) -> bool {
    let Some((first, query)) = data.split_first() else { return false };
    let list = LISTS[usize::from(*first) % LISTS.len()];
    let query = String::from_utf8_lossy(query);
    let read = match parse(list, Scope::Platform, &query) {
        Ok(read) => read,
        Err(problem) => {
            assert_eq!(problem.code.as_str(), "ERR-VAL-400");
            assert!(problem.errors.iter().all(|error| error.parameter.is_some()), "{problem:?}");
            return false;
        }
    };
    assert!((1..=200).contains(&read.query.limit()));
    let told = Serializer::new(String::new()).extend_pairs(&read.pairs).finish();
    let again =
        parse(list, Scope::Platform, &told).unwrap_or_else(|_| panic!("refused when told again: {told}"));
    assert_eq!(again.pairs, read.pairs);
    // The query may have come with a cursor of ours: beside that, it is the same.
    let spec = list.1;
    let sort = read.query.sort_text();
    assert_eq!(again.query.sort_text(), sort);
    assert_eq!(again.query.limit(), read.query.limit());
    let place = |name: &str| {
        let field = spec.fields.iter().find(|field| field.name == name).expect("it is sorted by a field");
        assert!(field.sortable, "{name}");
        if name.ends_with("_at") { SortValue::Time(now()) } else { SortValue::Text(name.to_owned()) }
    };
    let mut after: Vec<_> = sort.split(',').map(|part| place(part.trim_start_matches('-'))).collect();
    after.push(SortValue::Uuid(Uuid::from_u128(1)));
    let next = with_cursor(&told, &again.cursor(after));
    assert!(parse(list, Scope::Platform, &next).is_ok(), "the next page is refused: {next}");
    let elsewhere = Scope::Tenant(TenantId(Uuid::from_u128(1)));
    assert!(parse(list, elsewhere, &next).is_err(), "it leads to a tenant's list too: {next}");
    // Only the audit trail has parameters of its own.
    range::of(&read.own).is_ok()
}

/// A password policy as its tenant's owner sends it, and behind the first line a password that it judges.
pub fn password_policy(data: &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (body, password) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
    let Ok((view, read)) = PasswordPolicyView::read(&headers, body) else { return false };
    let told = canonical(&read);
    let policy = PasswordPolicy::from(view);
    let (again, _) = PasswordPolicyView::read(&headers, told.as_bytes()).unwrap_or_else(|_| panic!("{told}"));
    assert_eq!(PasswordPolicy::from(again), policy, "{told}");
    let stored = serde_json::to_string(&policy).expect("it is JSON");
    assert_eq!(serde_json::from_str::<PasswordPolicy>(&stored).ok(), Some(policy), "{stored}");
    assert!((8..=128).contains(&policy.length_min.chars()) && policy.strength_min.score() <= 4, "{policy:?}");
    assert_eq!(PasswordPolicy::strictest_of([policy, policy]), policy);
    let Ok(password) = Password::new(String::from_utf8_lossy(password).into_owned()) else { return true };
    let broken = judge(&policy, &password, &about());
    let words: BTreeSet<_> = broken.iter().map(Broken::word).collect();
    assert_eq!(words.len(), broken.len(), "no rule is told of twice: {broken:?}");
    let text = password.as_str();
    let lacks = |asked: bool, is: fn(char) -> bool| asked && !text.chars().any(is);
    for (word, is_broken) in [
        ("too_short", text.chars().count() < policy.length_min.chars().into()),
        ("needs_upper", lacks(policy.require_upper, char::is_uppercase)),
        ("needs_lower", lacks(policy.require_lower, char::is_lowercase)),
        ("needs_digit", lacks(policy.require_digit, char::is_numeric)),
        ("needs_symbol", lacks(policy.require_symbol, |it| !it.is_alphanumeric())),
    ] {
        assert_eq!(words.contains(word), is_broken, "{word} by {policy:?}");
    }
    // Whoever asks for more refuses no less.
    let stricter = PasswordPolicy::strictest_of([policy, PasswordPolicy::DEFAULT]);
    let by_stricter = judge(&stricter, &password, &about());
    assert!(broken.is_empty() || !by_stricter.is_empty(), "{policy:?} refuses what {stricter:?} takes");
    true
}

fn about() -> About {
    About {
        email: "ann.smith@acme.example".parse().ok(),
        names: ["Ann", "Smith"].iter().filter_map(|name| name.parse().ok()).collect(),
        tenant: "Acme Corp".parse().ok(),
    }
}

#[cfg(test)]
mod tests;
