//! Values are parsed at the edge and true ever after.

use std::fmt::Debug;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use schemas::values::*;
use serde_json::{Value, json};

fn accepts<T: FromStr<Err = InvalidValue> + AsRef<str>>(texts: &[&str]) {
    for text in texts {
        if let Err(error) = text.parse::<T>() {
            panic!("{text:?} is refused: {error}");
        }
    }
}

fn refuses<T: FromStr<Err = InvalidValue> + serde::de::DeserializeOwned + Debug>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "{text:?} is accepted");
        assert!(serde_json::from_value::<T>(json!(text)).is_err(), "{text:?} is accepted as JSON");
    }
}

#[test]
fn an_email_address_is_one_whatever_its_case() {
    let one: EmailAddress = "Ann.Sato+News@Acme.EXAMPLE".parse().unwrap();
    assert_eq!(one.as_str(), "ann.sato+news@acme.example");
    assert_eq!(one.domain(), "acme.example");
    accepts::<EmailAddress>(&["a@b.co", "o'neil@mail.example.org", "a@xn--bcher-kva.example"]);
    let long_local = format!("{}@acme.example", "a".repeat(65));
    let long = format!("a@{}.example", ["a".repeat(60).as_str(); 5].join("."));
    refuses::<EmailAddress>(&[
        "",
        "ann",
        "@acme.example",
        "ann@",
        "ann@acme",
        "ann@@acme.example",
        "a b@acme.example",
        ".a@acme.example",
        "a..b@acme.example",
        "a.@acme.example",
        "ann@acme..example",
        "ann@-acme.example",
        "ann@127.0.0.1",
        "ann@[127.0.0.1]",
        "\"ann\"@acme.example",
        "ann@acme.example\0",
        "ann\n@acme.example",
        "änn@acme.example",
        &long_local,
        &long,
    ]);
}

#[test]
fn a_domain_is_a_host_name_in_lower_case() {
    assert_eq!("ACME.Example".parse::<Domain>().unwrap().as_str(), "acme.example");
    accepts::<Domain>(&["a.b", "a-b.example", "1.example", "xn--bcher-kva.example"]);
    let long_label = format!("{}.example", "a".repeat(64));
    let long = ["a".repeat(63).as_str(); 5].join(".");
    refuses::<Domain>(&[
        "",
        ".",
        "acme",
        "acme.",
        ".example",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.example",
        "a b.example",
        "10.0.0.1",
        "acme.example\0",
        "acme.example/",
        "ácme.example",
        "*.acme.example",
        &long_label,
        &long,
    ]);
}

#[test]
fn names_are_one_printable_line() {
    assert_eq!("  Acme GmbH ".parse::<TenantName>().unwrap().as_str(), "Acme GmbH");
    accepts::<TenantName>(&[
        "株式会社アクメ",
        "O'Neil & Söhne",
        "<b>Acme</b>",
        "Robert'); DROP TABLE events;--",
        "👩‍👩‍👧",
    ]);
    accepts::<PersonName>(&["Ann", "García Márquez"]);
    let long = "é".repeat(201);
    let bad = [
        "",
        "   ",
        "a\0b",
        "a\nb",
        "a\u{7f}b",
        "a\u{202e}b",
        "a\u{2028}b",
        "a\u{feff}b",
        "a\u{ffff}b",
        &long,
    ];
    refuses::<TenantName>(&bad);
    refuses::<PersonName>(&bad);
    refuses::<ApplicationName>(&bad);
    refuses::<Reason>(&bad[..9]);
    assert!("é".repeat(200).parse::<TenantName>().is_ok(), "bounds are in characters, not bytes");
    assert_eq!("Acme PORTAL".parse::<ApplicationName>().unwrap().folded(), "acme portal");
}

#[test]
fn slugs_are_dns_labels_and_can_be_made_of_names_and_domains() {
    accepts::<Slug>(&["a", "acme", "acme-2"]);
    refuses::<Slug>(&["", "-a", "a-", "a--b", "Acme", "a_b", "a.b", "a\0", &"a".repeat(64)]);
    let of = |domain: &str| Slug::of_domain(&domain.parse().unwrap());
    assert_eq!(of("shop.acme.example").as_str(), "shop-acme-example");
    let long = format!("{}.example", "a".repeat(63));
    assert_eq!(of(&long).as_str(), "a".repeat(63));
    assert_eq!(Slug::of_name(&" Acme  & Söhne! ".parse().unwrap()).unwrap().as_str(), "acme-s-hne");
    assert_eq!(Slug::of_name(&"株式会社".parse().unwrap()), None);
}

/// API-FLAG
#[test]
fn a_flags_key_is_an_identifier() {
    accepts::<FlagKey>(&["new-editor", "A.b_C-9", "."]);
    refuses::<FlagKey>(&["", "a b", "a/b", "ä", "a\0", &"a".repeat(101)]);
}

/// FR-FLAG-001
#[test]
fn a_flags_value_keeps_its_type_on_disk_and_is_bare_for_applications() {
    let cases = [
        (json!(true), json!({"type": "boolean", "value": true})),
        (json!("blue"), json!({"type": "string", "value": "blue"})),
        (json!(0.1), json!({"type": "number", "value": 0.1})),
        (json!({"a": [1, null]}), json!({"type": "json", "value": {"a": [1, null]}})),
        (json!(null), json!({"type": "json", "value": null})),
    ];
    for (bare, stored) in cases {
        let value = FlagValue::from_json(bare.clone()).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap(), stored);
        assert_eq!(serde_json::from_value::<FlagValue>(stored).unwrap(), value);
        assert_eq!(value.to_json(), bare);
    }
    for bad in [
        json!({"type": "boolean", "value": "true"}),
        json!({"type": "colour", "value": 1}),
        json!({"type": "boolean", "value": true, "extra": 1}),
        json!({"type": "string", "value": "a\u{0}b"}),
        json!({"type": "string", "value": "a".repeat(4097)}),
        json!({"type": "json", "value": "a".repeat(16 * 1024)}),
        json!({"type": "json", "value": {"$personal": {"of": "x"}}}),
        json!(true),
    ] {
        assert!(serde_json::from_value::<FlagValue>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn settings_are_a_bounded_harmless_object() {
    let fine = json!({"theme": "dark", "lines": "a\n\tb", "deep": [[[[[[[1]]]]]]]});
    assert!(Settings::try_from(fine).is_ok());
    for bad in [
        json!([]),
        json!("text"),
        json!(null),
        json!({"a": "\u{0}"}),
        json!({"a\u{0}": 1}),
        json!({"deep": [[[[[[[[1]]]]]]]]}),
        json!({"a": {"$confidential": 1}}),
        json!({"big": "a".repeat(16 * 1024)}),
    ] {
        let error = Settings::try_from(bad.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("settings must"), "{bad}: {error}");
    }
}

#[test]
fn a_redirect_uri_is_https_or_this_machine() {
    accepts::<RedirectUri>(&[
        "https://app.example/cb",
        "https://app.example:8443/cb?x=%20y",
        "https://app.example",
        "http://localhost:3000/cb",
        "http://127.0.0.1/cb",
        "http://[::1]:9/cb",
        "https://10.0.0.1/cb",
    ]);
    refuses::<RedirectUri>(&[
        "",
        "app.example/cb",
        "ftp://app.example",
        "javascript:alert(1)",
        "http://app.example/cb",
        "https://",
        "https:///cb",
        "https://app.example/cb#x",
        "https://ann:pw@app.example/cb",
        "https://*.example/cb",
        "https://app.example:99999/",
        "https://app.example:/",
        "https://app.example:+1/",
        "https://a b.example/",
        "https://app.example/\0",
        "https://app.example/ä",
        "https://[::zz]/",
        "https://[::1]x/",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
    ]);
}

#[test]
fn identifiers_of_applications_are_bounded() {
    accepts::<OwnerId>(&["0192f0c1-6a00-7000-8000-000000000001", "auth0|42", "team:desk"]);
    refuses::<OwnerId>(&["", "ann@acme.example", "a b", "a\0", &"a".repeat(129)]);
    accepts::<SecretHash>(&[&"0a".repeat(32)]);
    refuses::<SecretHash>(&["", "0a", &"0A".repeat(32), &"0g".repeat(32), &"0a".repeat(33)]);
    accepts::<KeyPrefix>(&["tk_4f9a1c"]);
    refuses::<KeyPrefix>(&["", "tk 1", &"a".repeat(17)]);
    accepts::<ReasonCode>(&["last_owner"]);
    refuses::<ReasonCode>(&["", "Last owner", "a-b"]);
}

/// Ruling 13
#[test]
fn a_passwords_hash_is_of_a_kind_that_can_be_verified() {
    accepts::<PasswordHash>(&[
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
        "$2b$12$x",
        "$2y$12$x",
        &format!("$2b${}", "a".repeat(508)),
    ]);
    refuses::<PasswordHash>(&[
        "",
        "hunter2",
        "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        "$argon2id",
        "$2x$10$x",
        "$1$x",
        "$2b$10$a b",
        "$2b$10$a\0",
        "$2b$10$ä",
        " $2b$10$x",
        "$2b$10$x\n",
        &format!("$2b${}", "a".repeat(509)),
    ]);
    let shown = format!("{:?}", "$2b$12$secret".parse::<PasswordHash>().unwrap());
    assert_eq!(shown, "PasswordHash(…)");
}

/// CON-SEC-001, ruling 9
#[test]
fn a_password_policy_asks_for_length_and_strength_unless_told_more_and_is_bounded() {
    let told_nothing: PasswordPolicy = serde_json::from_value(json!({})).unwrap();
    assert_eq!(told_nothing, PasswordPolicy::default());
    assert_eq!(
        serde_json::to_value(told_nothing).unwrap(),
        json!({
            "length_min": 12, "require_upper": false, "require_lower": false, "require_digit": false,
            "require_symbol": false, "strength_min": 3,
        })
    );
    for fine in [
        json!({"length_min": 8, "strength_min": 0}),
        json!({"length_min": 128, "strength_min": 4, "require_upper": true, "require_symbol": true}),
    ] {
        let policy: PasswordPolicy = serde_json::from_value(fine).unwrap();
        let stored = serde_json::to_value(policy).unwrap();
        assert_eq!(serde_json::from_value::<PasswordPolicy>(stored).unwrap(), policy);
    }
    for bad in [
        json!({"length_min": 7}),
        json!({"length_min": 129}),
        json!({"length_min": 268}),
        json!({"length_min": -8}),
        json!({"length_min": "12"}),
        json!({"strength_min": 5}),
        json!({"require_emoji": true}),
        json!(null),
    ] {
        assert!(serde_json::from_value::<PasswordPolicy>(bad.clone()).is_err(), "{bad}");
    }
    let error = serde_json::from_value::<PasswordPolicy>(json!({"length_min": 7})).unwrap_err().to_string();
    assert_eq!(error, "a password's least length must be 8 to 128");
}

fn a_password_policy() -> impl Strategy<Value = PasswordPolicy> {
    (8_u32..=128, 0_u32..=4, any::<[bool; 4]>()).prop_map(|(length, strength, asked)| PasswordPolicy {
        length_min: length.try_into().unwrap(),
        require_upper: asked[0],
        require_lower: asked[1],
        require_digit: asked[2],
        require_symbol: asked[3],
        strength_min: strength.try_into().unwrap(),
    })
}

/// What is asked for, each as a number that grows with strictness.
fn asked(policy: &PasswordPolicy) -> [u8; 6] {
    [
        policy.length_min.chars(),
        policy.require_upper.into(),
        policy.require_lower.into(),
        policy.require_digit.into(),
        policy.require_symbol.into(),
        policy.strength_min.score(),
    ]
}

proptest! {
    /// FR-AUTH-006
    #[test]
    fn the_strictest_of_policies_asks_what_each_of_them_asks_and_nothing_that_none_does(
        policies in prop::collection::vec(a_password_policy(), 1..6),
    ) {
        let strictest = asked(&PasswordPolicy::strictest_of(policies.iter().copied()));
        for (rule, strictest) in strictest.iter().enumerate() {
            let most = policies.iter().map(|policy| asked(policy)[rule]).max();
            prop_assert_eq!(Some(*strictest), most);
        }
    }

    #[test]
    fn the_strictest_of_policies_is_the_same_in_whichever_order_and_however_often_they_are_named(
        policies in prop::collection::vec(a_password_policy(), 1..6),
        at in any::<prop::sample::Index>(),
    ) {
        let strictest = PasswordPolicy::strictest_of(policies.iter().copied());
        let mut others = policies.clone();
        others.reverse();
        others.push(*at.get(&policies));
        prop_assert_eq!(PasswordPolicy::strictest_of(others), strictest);
        let (first, rest) = policies.split_at(at.index(policies.len()));
        let in_parts = [first, rest].into_iter().filter(|part| !part.is_empty());
        let in_parts = in_parts.map(|part| PasswordPolicy::strictest_of(part.iter().copied()));
        prop_assert_eq!(PasswordPolicy::strictest_of(in_parts), strictest, "taken in parts");
    }
}

#[test]
fn whoever_belongs_nowhere_is_asked_what_is_asked_by_default_and_a_tenant_may_ask_less() {
    assert_eq!(PasswordPolicy::strictest_of([]), PasswordPolicy::default());
    let less: PasswordPolicy = serde_json::from_value(json!({"length_min": 8, "strength_min": 0})).unwrap();
    assert_eq!(PasswordPolicy::strictest_of([less]), less);
    assert_eq!(PasswordPolicy::strictest_of([less, PasswordPolicy::DEFAULT]), PasswordPolicy::DEFAULT);
}

#[test]
fn words_are_the_same_everywhere() {
    fn check<T>(all: &[T], as_str: fn(T) -> &'static str)
    where
        T: Copy
            + PartialEq
            + Debug
            + FromStr<Err = InvalidValue>
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        for &word in all {
            assert_eq!(serde_json::to_value(word).unwrap(), json!(as_str(word)));
            assert_eq!(serde_json::from_value::<T>(json!(as_str(word))).unwrap(), word);
            assert_eq!(as_str(word).parse::<T>().unwrap(), word);
        }
        assert!("Nonsense".parse::<T>().is_err());
    }
    check(Role::ALL, Role::as_str);
    check(Scope::ALL, Scope::as_str);
    check(Plan::ALL, Plan::as_str);
    check(AccessMode::ALL, AccessMode::as_str);
    check(MembershipKind::ALL, MembershipKind::as_str);
    check(ProvisioningStep::ALL, ProvisioningStep::as_str);
    let error = "chief".parse::<Role>().unwrap_err().to_string();
    assert!(error.starts_with("a role must be one of operator supervisor"), "{error}");
}

#[test]
fn every_role_is_of_one_kind() {
    for role in Role::ALL {
        let kinds = [role.is_platform(), role.is_tenant(), role.is_machine()];
        assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{role}");
    }
}

/// CC-LOG-002
#[test]
fn what_people_and_tenants_supply_does_not_show_in_debug() {
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        "ann@acme.example".parse::<EmailAddress>(),
        "acme.example".parse::<Domain>(),
        "Acme".parse::<TenantName>(),
        "Ann".parse::<PersonName>(),
        "acme".parse::<Slug>(),
        FlagValue::string("Acme"),
        Settings::try_from(json!({"Acme": 1})),
    );
    assert!(!shown.to_lowercase().contains("acme") && !shown.contains("Ann"), "{shown}");
}

#[test]
fn a_plans_own_flags_fit_it_and_every_plan_has_the_same() {
    let keys = |plan: Plan| plan.default_flags().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    for &plan in Plan::ALL {
        assert_eq!(keys(plan), keys(Plan::Free));
        assert!(keys(plan).len() < plan.limits().flags as usize);
    }
}

#[test]
fn access_is_the_strictest_of_what_was_set_and_what_the_lifecycle_leaves() {
    use AccessMode::{Active, Blocked, ReadOnly};
    use MembershipKind::{Client, Staff};
    let now: DateTime<Utc> = "2026-11-21T09:00:00Z".parse().unwrap();
    let later = Some(now + TimeDelta::seconds(1));
    for (set, suspended, trial_ends_at, kind, expected) in [
        (Active, false, None, Staff, Active),
        (ReadOnly, false, None, Staff, ReadOnly),
        (Active, true, None, Staff, Blocked),
        (Active, false, later, Client, Active),
        (Active, false, Some(now), Staff, ReadOnly),
        (Active, false, Some(now), Client, Blocked),
        (Blocked, false, Some(now), Staff, Blocked),
    ] {
        assert_eq!(effective_access(set, suspended, trial_ends_at, kind, now), expected);
    }
}

fn holds<T>(text: &str) -> Result<(), TestCaseError>
where
    T: FromStr<Err = InvalidValue>
        + AsRef<str>
        + PartialEq
        + Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    if let Ok(value) = text.parse::<T>() {
        // Canonical: parsed again it is the same, and it is on disk as it is in memory.
        prop_assert_eq!(&value.as_ref().parse::<T>().unwrap(), &value);
        prop_assert_eq!(&serde_json::from_value::<T>(serde_json::to_value(&value).unwrap()).unwrap(), &value);
        prop_assert!(!value.as_ref().contains(char::is_control));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_makes_parsing_panic_and_what_is_parsed_is_canonical(text in ".{0,40}") {
        holds::<EmailAddress>(&text)?;
        holds::<Domain>(&text)?;
        holds::<TenantName>(&text)?;
        holds::<Reason>(&text)?;
        holds::<Slug>(&text)?;
        holds::<RedirectUri>(&text)?;
        holds::<RedirectUri>(&format!("https://{text}"))?;
    }

    /// Rule 4: a number read back is the number written, or replay would fold another state.
    #[test]
    fn a_number_survives_storage_to_the_last_bit(number in proptest::num::f64::NORMAL) {
        let value = FlagValue::from_json(json!(number)).unwrap();
        let stored = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(&serde_json::from_str::<FlagValue>(&stored).unwrap(), &value);
        prop_assert_eq!(serde_json::from_str::<Value>(&stored).unwrap()["value"].as_f64(), Some(number));
    }
}
