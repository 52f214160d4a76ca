use super::*;
use proptest::prelude::*;

fn tickets() -> Tickets {
    Tickets::new(&[3; 32])
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn person() -> PersonId {
    PersonId(Uuid::from_u128(2))
}

fn token(tenant: Option<TenantId>) -> RefreshToken {
    let session = (person(), SessionId(Uuid::from_u128(5)), tenant);
    tickets().first_refresh_token(
        session,
        Position(7),
        now(),
        Shown::PasswordAndCode,
        Zeroizing::new([9; 32]),
    )
}

fn said(token: &RefreshToken) -> (PersonId, SessionId, Option<TenantId>, Position, Shown, SecretHash) {
    let RefreshToken { person, session, tenant, began_at, shown, .. } = token;
    (*person, *session, *tenant, *began_at, *shown, token.hash())
}

/// FR-AUTH-005
#[test]
fn a_refresh_token_survives_the_wire_and_has_one_successor() {
    for tenant in [None, Some(TenantId(Uuid::from_u128(1)))] {
        let token = token(tenant);
        let read = tickets().read_refresh(&tickets().refresh_text(&token)).unwrap();
        assert_eq!(said(&read), said(&token));
        let (next, again) = (tickets().successor(&token), tickets().successor(&read));
        assert_eq!(said(&next), said(&again));
        assert_ne!(next.hash(), token.hash());
        assert_ne!(tickets().successor(&next).hash(), next.hash());
        assert_ne!(Tickets::new(&[4; 32]).successor(&token).hash(), next.hash(), "the key makes it");
    }
}

#[test]
fn a_session_ends_seven_days_after_its_last_refresh_and_thirty_after_its_login() {
    let token = token(None);
    assert_eq!(token.expires_at(now()), now() + TimeDelta::days(7));
    assert_eq!(token.expires_at(now() + TimeDelta::days(25)), now() + TimeDelta::days(30));
}

#[test]
fn a_ticket_of_another_kind_person_or_key_or_too_old_is_none() {
    let tickets = tickets();
    let hash: PasswordHash = "$argon2id$x".parse().unwrap();
    let challenge = Challenge::new(person(), None, (Uuid::from_u128(8), true), &hash, now());
    let text = tickets.challenge_text(&challenge);
    assert_eq!(tickets.read_challenge(&text, now()), Some(challenge));
    assert!(challenge.is_about(&hash) && !challenge.is_about(&"$argon2id$y".parse().unwrap()));
    assert_eq!(tickets.read_challenge(&text, now() + CHALLENGE_TTL), None);
    assert_eq!(Tickets::new(&[4; 32]).read_challenge(&text, now()), None);
    assert!(tickets.read_refresh(&format!("{REFRESH_PREFIX}{}", *text)).is_none());
    let mailed = challenge.by_mail(Uuid::from_u128(9), now() + TimeDelta::minutes(10));
    assert_eq!(tickets.read_challenge(&tickets.challenge_text(&mailed), now()), Some(mailed));

    let (secret, enrolment) = tickets.enrolment(person(), now());
    assert_eq!(tickets.read_enrolment(person(), &enrolment, now()), Some(secret));
    let stranger = PersonId(Uuid::from_u128(3));
    assert_eq!(tickets.read_enrolment(stranger, &enrolment, now()), None);
    assert_eq!(tickets.read_enrolment(person(), &enrolment, now() + ENROLMENT_TTL), None);
}

#[test]
fn a_device_is_known_to_the_account_that_signed_in_on_it() {
    let tickets = tickets();
    let account = |email: &str| tickets.account(&email.parse().unwrap());
    let ann = account("ann@acme.example");
    let text = tickets.device_text(&ann, Uuid::from_u128(8));
    assert_eq!(tickets.read_device(&ann, &text), Some(Uuid::from_u128(8)));
    assert_eq!(tickets.read_device(&account("ben@acme.example"), &text), None);
}

#[test]
fn a_recovery_code_is_the_same_however_it_is_written() {
    let hash = |code| tickets().recovery_hash(person(), code);
    assert_eq!(hash("abcde-fghij"), hash(" ABCDE FGHIJ "));
    assert_ne!(hash("abcde-fghij"), hash("abcde-fghik"));
    assert_ne!(hash("abcde-fghij"), tickets().recovery_hash(PersonId(Uuid::from_u128(3)), "abcde-fghij"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_readers(text in ".{0,300}", bytes: [u8; 40]) {
        let tickets = tickets();
        for text in [text.clone(), format!("{REFRESH_PREFIX}{text}"), URL_SAFE_NO_PAD.encode(bytes)] {
            prop_assert!(tickets.read_refresh(&text).is_none());
            prop_assert!(tickets.read_challenge(&text, now()).is_none());
            prop_assert!(tickets.read_device(&[0; 32], &text).is_none());
            prop_assert!(tickets.read_enrolment(person(), &text, now()).is_none());
        }
    }

    #[test]
    fn a_refresh_token_changed_anywhere_is_none(at in 0_usize..200, to in "[A-Za-z0-9_-]") {
        let text = tickets().refresh_text(&token(None));
        let mut changed = text.as_bytes().to_vec();
        let at = at % changed.len();
        prop_assume!(changed[at] != to.as_bytes()[0]);
        changed[at] = to.as_bytes()[0];
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(tickets().read_refresh(&changed).is_none());
    }
}
