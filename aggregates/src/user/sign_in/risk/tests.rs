//! Which logins are unusual, by given, when, then; and what holds of all of them.

use kernel::RejectionKind::Rule;
use proptest::prelude::*;
use schemas::values::RiskReason::{ImpossiblePace, NewDevice, NewNetwork, OddHour};
use schemas::values::{LoginMethod, PasswordChange};

use super::super::tests::{and_then, ann, enrolled, hash, log_in, p, secret_hash, session, wish};
use super::*;
use crate::testing::{DAY, Given, at, id, value};
use crate::user::{LogIn, SecondFactor, User, UserCommand};

const HOME: &str = "192.0.2.7";
const WORK: &str = "198.51.100.7";
const AWAY: &str = "203.0.113.7";
const HOUR: i64 = 3600;
const MINUTE: i64 = 60;
/// The device that signed in before.
const KNOWN: u128 = 7;
const NEW: u128 = 8;

fn origin(address: &str) -> Option<Origin> {
    Some(Origin { address: Some(address.to_owned()), user_agent: None })
}

/// A login that succeeded.
fn was(device: u128, address: &str, then: i64) -> UserEvent {
    begun(0x900 + u128::try_from(then.abs()).unwrap(), device, address, then, &[], None)
}

fn begun(
    number: u128,
    device: u128,
    address: &str,
    now: i64,
    risk: &[RiskReason],
    challenge: Option<u128>,
) -> UserEvent {
    UserEvent::LoginSucceeded {
        session: session(number),
        tenant: None,
        method: LoginMethod::Password,
        device: id(device),
        new_device: device != KNOWN,
        origin: origin(address).map(p),
        token_hash: secret_hash('1'),
        at: at(now),
        expires_at: at(now + 7 * DAY),
        risk: risk.to_vec(),
        challenge: challenge.map(id),
    }
}

fn logs_in(device: u128, address: &str, now: i64) -> LogIn {
    LogIn { device: id(device), origin: origin(address), ..log_in(1, now) }
}

/// A password that was right, for a login from a new device far away.
fn challenge(number: u128, now: i64) -> UserCommand {
    UserCommand::ChallengeLogin(Box::new(ChallengeLogin {
        challenge: id(number),
        checked: hash("a"),
        device: id(NEW),
        origin: origin(AWAY),
        code_hash: secret_hash('c'),
        now: at(now),
        expires_at: at(now + 10 * MINUTE),
    }))
}

fn challenged(number: u128, now: i64) -> UserEvent {
    UserEvent::LoginChallenged {
        challenge: id(number),
        risk: vec![NewDevice, NewNetwork],
        device: id(NEW),
        origin: origin(AWAY).map(p),
        code_hash: secret_hash('c'),
        at: at(now),
        expires_at: at(now + 10 * MINUTE),
    }
}

fn with_code(number: u128, code: char, login: LogIn) -> UserCommand {
    let shown = SecondFactor::MailedCode { challenge: id(number), hash: secret_hash(code) };
    wish(LogIn { second_factor: Some(shown), ..login })
}

/// A day ago they signed in at home.
fn at_home() -> Given<User> {
    and_then([was(KNOWN, HOME, -DAY)])
}

/// NFR-SEC-006, CON-SEC-008
#[test]
fn a_new_device_in_a_new_network_is_asked_and_either_of_them_alone_is_not() {
    at_home().when(wish(logs_in(NEW, AWAY, 0))).then_rejected(Rule, "mfa_required");
    for (device, address, risk) in [
        (KNOWN, HOME, &[] as &[RiskReason]),
        (NEW, HOME, &[NewDevice]),
        (KNOWN, AWAY, &[NewNetwork]),
        // The next house of the same provider's.
        (NEW, "192.0.2.200", &[NewDevice]),
    ] {
        let begins = begun(1, device, address, 0, risk, None);
        at_home().when(wish(logs_in(device, address, 0))).then([begins]).and_again_nothing();
    }
}

#[test]
fn a_first_login_is_compared_with_nothing() {
    let first = begun(1, NEW, AWAY, 0, &[], None);
    and_then([]).when(wish(logs_in(NEW, AWAY, 0))).then([first]).and_again_nothing();
}

/// NFR-SEC-006
#[test]
fn where_nobody_is_to_be_asked_the_reasons_are_recorded_all_the_same() {
    let login = LogIn { asks_if_unusual: false, ..logs_in(NEW, AWAY, 0) };
    let begins = begun(1, NEW, AWAY, 0, &[NewDevice, NewNetwork], None);
    at_home().when(wish(login)).then([begins]).and_again_nothing();
}

/// NFR-SEC-006
#[test]
fn a_new_device_somewhere_else_than_another_one_within_ten_minutes_is_asked() {
    let lately = |ago: i64| and_then([was(KNOWN, HOME, -2 * DAY), was(9, WORK, -ago)]);
    // The network is known, and the device is new.
    lately(10 * MINUTE).when(wish(logs_in(NEW, HOME, 0))).then_rejected(Rule, "mfa_required");
    let begins = begun(1, NEW, HOME, 0, &[NewDevice], None);
    lately(10 * MINUTE + 1).when(wish(logs_in(NEW, HOME, 0))).then([begins]);
    // From one's phone to one's desk.
    let begins = begun(1, KNOWN, HOME, 0, &[], None);
    lately(1).when(wish(logs_in(KNOWN, HOME, 0))).then([begins]);
    let begins = begun(1, KNOWN, AWAY, 0, &[NewNetwork], None);
    lately(1).when(wish(logs_in(KNOWN, AWAY, 0))).then([begins]);
    // One device wanders as fast as it likes.
    let begins = begun(1, KNOWN, AWAY, 0, &[NewNetwork], None);
    and_then([was(KNOWN, HOME, -2), was(KNOWN, WORK, -1)]).when(wish(logs_in(KNOWN, AWAY, 0))).then([begins]);
}

/// NFR-SEC-006
#[test]
fn a_third_network_within_an_hour_is_asked_where_several_devices_were_in_them() {
    let both = |ago: i64| and_then([was(KNOWN, AWAY, -DAY), was(9, WORK, -ago), was(9, HOME, -11 * MINUTE)]);
    let of_third =
        |ago| both(ago).state().existing().unwrap().sign_in.risk(id(NEW), origin(AWAY).as_ref(), at(0));
    assert_eq!(of_third(HOUR), [NewDevice, ImpossiblePace]);
    assert_eq!(of_third(HOUR + 1), [NewDevice]);
}

/// NFR-SEC-006
#[test]
fn an_hour_is_odd_if_ten_logins_were_all_more_than_three_hours_away_from_it() {
    let risk = |logins: i64, hours: i64| {
        let days = (1..=logins).map(|day| was(KNOWN, HOME, -day * DAY));
        and_then(days).state().existing().unwrap().sign_in.risk(
            id(KNOWN),
            origin(HOME).as_ref(),
            at(hours * HOUR),
        )
    };
    assert_eq!(risk(10, 3), []);
    assert_eq!(risk(10, 4), [OddHour]);
    assert_eq!(risk(10, 20), [OddHour]);
    assert_eq!(risk(10, 21), [], "three hours before, across midnight");
    assert_eq!(risk(9, 12), [], "too few show no habit");
    // Nobody is asked for the hour alone; with a new device they are.
    let habit = || and_then((1..=10).map(|day| was(KNOWN, HOME, -day * DAY)));
    let begins = begun(1, KNOWN, HOME, 12 * HOUR, &[OddHour], None);
    habit().when(wish(logs_in(KNOWN, HOME, 12 * HOUR))).then([begins]);
    habit().when(wish(logs_in(NEW, HOME, 12 * HOUR))).then_rejected(Rule, "mfa_required");
}

#[test]
fn a_login_without_an_address_is_in_no_network() {
    let login = LogIn { origin: None, ..logs_in(NEW, HOME, 0) };
    let UserEvent::LoginSucceeded { risk, .. } = &decided(at_home(), wish(login))[0] else { unreachable!() };
    assert_eq!(*risk, [NewDevice]);
    // Nor is a network new where none is remembered.
    let socket = UserEvent::LoginSucceeded {
        session: session(0x901),
        tenant: None,
        method: LoginMethod::Password,
        device: id(KNOWN),
        new_device: true,
        origin: None,
        token_hash: secret_hash('1'),
        at: at(-DAY),
        expires_at: at(DAY),
        risk: vec![],
        challenge: None,
    };
    let begins = begun(1, NEW, AWAY, 0, &[NewDevice], None);
    and_then([socket]).when(wish(logs_in(NEW, AWAY, 0))).then([begins]);
}

fn decided(given: Given<User>, command: UserCommand) -> Vec<UserEvent> {
    kernel::Decider::decide(&given.state(), command).unwrap()
}

#[test]
fn networks_are_a_24_of_ipv4_and_a_48_of_ipv6() {
    let network = |address: &str| Network::of(address.parse().unwrap());
    assert_eq!(network("192.0.2.1"), network("192.0.2.255"));
    assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
    assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.9"));
    assert_eq!(network("2001:db8:1::1"), network("2001:db8:1:ffff::1"));
    assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    assert_eq!(format!("{:?}", network("192.0.2.1")), "Network(…)");
}

/// NFR-SEC-006
#[test]
fn a_mailed_code_signs_in_once_until_it_expires() {
    let asked = || and_then([was(KNOWN, HOME, -DAY), challenged(1, 0)]);
    at_home().when(challenge(1, 0)).then([challenged(1, 0)]).and_again_nothing();
    let begins = begun(1, NEW, AWAY, 60, &[NewDevice, NewNetwork], Some(1));
    let after =
        asked().when(with_code(1, 'c', logs_in(NEW, AWAY, 60))).then([begins]).and_again_nothing().and();
    let again = LogIn { session: session(2), ..logs_in(NEW, AWAY, 61) };
    after.when(with_code(1, 'c', again)).then_rejected(Rule, "mfa_wrong");
    for (number, code, now) in [(1, 'd', 60), (2, 'c', 60), (1, 'c', 10 * MINUTE)] {
        asked().when(with_code(number, code, logs_in(NEW, AWAY, now))).then_rejected(Rule, "mfa_wrong");
    }
    let last = begun(1, NEW, AWAY, 599, &[NewDevice, NewNetwork], Some(1));
    asked().when(with_code(1, 'c', logs_in(NEW, AWAY, 599))).then([last]);
}

#[test]
fn another_code_is_not_mailed_within_a_minute_and_each_is_good_for_its_own_challenge() {
    let asked = || and_then([was(KNOWN, HOME, -DAY), challenged(1, 0)]);
    asked().when(challenge(2, 59)).then_nothing();
    asked().when(challenge(2, 60)).then([challenged(2, 60)]).and_again_nothing();
    let both = and_then([was(KNOWN, HOME, -DAY), challenged(1, 0), challenged(2, 60)]);
    let begins = begun(1, NEW, AWAY, 61, &[NewDevice, NewNetwork], Some(1));
    both.when(with_code(1, 'c', logs_in(NEW, AWAY, 61))).then([begins]);
}

/// What a mailbox proves is less than what the person chose to show.
#[test]
fn a_mailed_code_is_worth_nothing_to_whoever_has_a_second_factor_or_another_password() {
    let has = || and_then([was(KNOWN, HOME, -DAY), challenged(1, 0), enrolled(0)]);
    has().when(with_code(1, 'c', logs_in(NEW, AWAY, 60))).then_rejected(Rule, "mfa_required");
    has().when(challenge(2, 120)).then_rejected(Rule, "mfa_required");
    let same = UserEvent::PasswordChanged { hash: p(hash("a")), because: PasswordChange::Changed };
    let moved = UserEvent::EmailChanged { email: p(value("anna@acme.example")) };
    for event in [same, moved] {
        let since = and_then([was(KNOWN, HOME, -DAY), challenged(1, 0), event]);
        since.when(with_code(1, 'c', logs_in(NEW, AWAY, 60))).then_rejected(Rule, "mfa_wrong");
    }
    let other = UserEvent::PasswordChanged { hash: p(hash("b")), because: PasswordChange::Changed };
    let since = and_then([was(KNOWN, HOME, -DAY), other]);
    since.when(challenge(1, 0)).then_rejected(Rule, "invalid_credentials");
}

/// Somebody else may have had the former password: where they were is no reason for trust.
#[test]
fn a_reset_forgets_where_the_person_signed_in() {
    let reset = UserEvent::PasswordChanged { hash: p(hash("a")), because: PasswordChange::Reset };
    let begins = begun(1, NEW, AWAY, 0, &[], None);
    and_then([was(KNOWN, HOME, -DAY), reset]).when(wish(logs_in(NEW, AWAY, 0))).then([begins]);
}

#[test]
fn the_last_twenty_logins_are_remembered_and_as_many_codes_as_can_be_good() {
    let many = (0..30).map(|n| was(KNOWN, &format!("10.0.{n}.1"), n));
    let codes = (0..30).map(|n| challenged(u128::try_from(n).unwrap(), n));
    let state = and_then(many.chain(codes)).state();
    let sign_in = &state.existing().unwrap().sign_in;
    assert_eq!((sign_in.history.0.len(), sign_in.mailed_codes.0.len()), (LOGINS_MAX, CODES_MAX));
    let risk = |n: u8| sign_in.risk(id(KNOWN), origin(&format!("10.0.{n}.9")).as_ref(), at(100));
    assert_eq!((risk(9), risk(10)), (vec![NewNetwork], vec![]));
}

/// What older releases wrote has neither field.
#[test]
fn a_login_of_before_reads_as_one_without_reasons() {
    let mut written = serde_json::to_value(begun(1, KNOWN, HOME, 0, &[NewDevice], Some(1))).unwrap();
    let fields = written["LoginSucceeded"].as_object_mut().unwrap();
    fields.retain(|name, _| name != "risk" && name != "challenge");
    let read: UserEvent = serde_json::from_value(written).unwrap();
    assert_eq!(read, begun(1, KNOWN, HOME, 0, &[], None));
}

fn network(number: u8) -> Network {
    Network::of(IpAddr::from([10, 0, number, 1]))
}

fn past() -> impl Strategy<Value = Past> {
    (0..4_u128, proptest::option::of(0..4_u8), 0..3 * DAY).prop_map(|(device, number, ago)| Past {
        device: id(device),
        network: number.map(|number| Personal::new(ann(), network(number))),
        at: at(-ago),
    })
}

proptest! {
    /// NFR-SEC-006
    #[test]
    fn what_holds_of_every_history(
        pasts in proptest::collection::vec(past(), 0..25),
        device in 0..6_u128,
        number in proptest::option::of(0..6_u8),
        now in 0..DAY,
    ) {
        let history = History(pasts.clone());
        let new_device = pasts.iter().all(|past| past.device != id(device));
        let here = number.map(network);
        let known = |network: Network| pasts.iter().any(|past| past.network() == Some(network));
        let reasons = history.reasons(&Attempt { device: id(device), new_device, network: here, at: at(now) });
        let has = |reason| reasons.contains(&reason);
        if pasts.is_empty() {
            prop_assert!(reasons.is_empty());
            return Ok(());
        }
        prop_assert_eq!(has(NewDevice), new_device);
        match here {
            Some(here) if known(here) => {
                prop_assert!(!has(NewNetwork));
                // With what they always have, where they always are.
                prop_assert!(new_device || !is_unusual(&reasons));
            }
            Some(_) => {
                let any = pasts.iter().any(|past| past.network().is_some());
                prop_assert_eq!(has(NewNetwork), any);
                prop_assert!(!(new_device && any) || is_unusual(&reasons));
            }
            None => prop_assert!(!has(NewNetwork) && !has(ImpossiblePace)),
        }
        prop_assert!(!has(ImpossiblePace) || is_unusual(&reasons));
        prop_assert!(!has(OddHour) || pasts.len() >= HABIT_LOGINS_MIN);
        // What is remembered of one more login like it makes the same login a usual one.
        let mut after = history;
        after.0.push(Past { device: id(device), network: here.map(|it| Personal::new(ann(), it)), at: at(now) });
        let again = Attempt { device: id(device), new_device: false, network: here, at: at(now) };
        prop_assert!(!is_unusual(&after.reasons(&again)));
    }
}
