use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn policy(told: serde_json::Value) -> PasswordPolicy {
    serde_json::from_value(told).unwrap()
}

fn about() -> About {
    About {
        email: Some("ann.sato+work@acme.example".parse().unwrap()),
        names: vec!["Ann".parse().unwrap(), "García Márquez".parse().unwrap()],
        tenant: Some("The Blue Co".parse().unwrap()),
    }
}

fn words_of(policy: &PasswordPolicy, text: &str, about: &About) -> Vec<&'static str> {
    let password = Password::new(text.to_owned()).unwrap();
    judge(policy, &password, about).iter().map(Broken::word).collect()
}

fn judged(text: &str) -> Vec<&'static str> {
    words_of(&PasswordPolicy::default(), text, &about())
}

/// Ruling 9
#[test]
fn by_default_length_and_strength_are_asked_for_and_no_kind_of_character() {
    for good in [
        "violet canyon drumbeat",
        "violetcanyondrumbeat",
        "k3Qz-9vTw_Lp2",
        "8402751936618",
        "пурпурный каньон барабан",
        "紫色の峡谷で太鼓を叩く人",
        "🦀🛰️🎻🪁🦑🧊🥁🪐🧲🪵🫖🧶",
    ] {
        assert_eq!(judged(good), [""; 0], "{good}");
    }
    assert_eq!(judged("k3Qz-9vTw"), ["too_short"]);
    assert_eq!(judged("紫色の峡谷で太鼓を叩く"), ["too_short"], "counted in characters, not bytes");
    assert_eq!(words_of(&policy(json!({"length_min": 8})), "k3Qz-9vTw", &about()), [""; 0]);
}

/// CON-SEC-001, ruling 9
#[test]
fn what_everybody_tries_first_is_refused_whatever_the_policy_asks_for() {
    let lenient = policy(json!({"length_min": 8, "strength_min": 0}));
    for common in [
        "password",
        "Password1",
        "p@ssw0rd",
        "drowssap",
        "qwertyuiop",
        "1234567890",
        "iloveyou1",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabc",
        "football2024",
        "Tenantry1",
        "Tenantry2026",
        "changeme1",
        "Welcome1!",
        "administrator",
    ] {
        assert_eq!(words_of(&lenient, common, &About::default()), ["too_common"], "{common}");
    }
    assert_eq!(words_of(&lenient, "k3Qz-9vTw", &About::default()), [""; 0]);
}

#[test]
fn a_weak_password_is_told_its_strength_and_the_one_asked_for() {
    // One of zxcvbn's own examples: 372,010,000 guesses.
    let password = Password::new("TestMeNow!".to_owned()).unwrap();
    let asked = |strength_min| policy(json!({"length_min": 8, "strength_min": strength_min}));
    assert_eq!(judge(&asked(4), &password, &About::default()), [Broken::TooWeak { score: 3, score_min: 4 }]);
    assert_eq!(judge(&asked(3), &password, &About::default()), []);
}

/// CON-SEC-001
#[test]
fn each_kind_of_character_can_be_asked_for() {
    let text = "k3Qz-9vTwLp2x";
    for (rule, without, word) in [
        ("require_upper", "k3qz-9vtwlp2x", "needs_upper"),
        ("require_lower", "K3QZ-9VTWLP2X", "needs_lower"),
        ("require_digit", "kcQz-nvTwLpbx", "needs_digit"),
        ("require_symbol", "k3Qz59vTwLp2x", "needs_symbol"),
    ] {
        let policy = policy(json!({rule: true}));
        assert_eq!(words_of(&policy, text, &About::default()), [""; 0], "{rule}");
        assert_eq!(words_of(&policy, without, &About::default()), [word], "{rule}");
    }
    let all = policy(json!({
        "require_upper": true, "require_lower": true, "require_digit": true, "require_symbol": true, "length_min": 20,
    }));
    assert_eq!(words_of(&all, "Ñandú ٣ k3qz9vtwlp2x", &About::default()), [""; 0], "not only in ASCII");
    assert_eq!(
        words_of(&all, "...", &About::default()),
        ["too_short", "needs_upper", "needs_lower", "needs_digit", "too_common"]
    );
}

#[test]
fn the_name_the_address_and_the_tenant_are_not_inside_in_any_case_or_spelling() {
    for personal in [
        "x9-ANN.SATO+WORK-kq7vw",
        "k3Qz-9vTw-sato-Lp2",
        "k3Qz-9vTw-MÁRQUEZ-Lp2",
        "k3Qz-9vTw-garcíamárquez-Lp2",
        "k3Qz-THE-BLUE-CO-9vTw",
        "k3Qz9thebluecoTwLp2",
    ] {
        assert_eq!(judged(personal), ["contains_personal"], "{personal}");
    }
    // `ann` is too short to tell, and `blue` is anybody's.
    for impersonal in ["k3Qz-9vTw-ann-Lp2", "k3Qz-9vTw-blue-Lp2"] {
        assert_eq!(judged(impersonal), [""; 0], "{impersonal}");
    }
    assert_eq!(words_of(&PasswordPolicy::default(), "x9-ANN.SATO-kq7vwPz", &About::default()), [""; 0]);
}

#[test]
fn what_is_known_of_a_person_counts_for_nothing() {
    let lenient = policy(json!({"length_min": 8, "strength_min": 0}));
    let named = About {
        names: vec!["Xq".parse().unwrap()],
        tenant: Some("Zyxomma Krill".parse().unwrap()),
        email: None,
    };
    assert_eq!(words_of(&lenient, "zyxomma1", &About::default()), [""; 0]);
    assert_eq!(words_of(&lenient, "zyxomma1", &named), ["too_common"]);
}

#[test]
fn what_is_no_password_at_all_breaks_a_rule_too() {
    let policy = PasswordPolicy::default();
    assert_eq!(Broken::of(InvalidPassword::Empty, &policy), Broken::TooShort { chars_min: 12 });
    assert_eq!(Broken::of(InvalidPassword::TooLong, &policy).word(), "too_long");
}

#[test]
fn every_rule_is_a_sentence_with_the_number_that_is_asked_for() {
    for (broken, sentence) in [
        (Broken::TooShort { chars_min: 12 }, "must be at least 12 characters long"),
        (Broken::TooLong { bytes_max: 1024 }, "must be at most 1024 bytes long"),
        (Broken::NeedsUpper, "must hold at least 1 upper-case letter"),
        (Broken::NeedsLower, "must hold at least 1 lower-case letter"),
        (Broken::NeedsDigit, "must hold at least 1 digit"),
        (Broken::NeedsSymbol, "must hold at least 1 character that is neither a letter nor a digit"),
        (
            Broken::TooWeak { score: 2, score_min: 3 },
            "must be harder to guess: its strength is 2 of 4, and at least 3 is asked for",
        ),
    ] {
        assert_eq!(broken.to_string(), sentence);
    }
}

/// A stranger may send any 1024 bytes: judging them must not take a thread for long.
#[test]
fn no_password_takes_long_to_judge() {
    let known = About {
        email: Some(format!("{}@acme.example", "a.b.c.d.".repeat(7) + "e").parse().unwrap()),
        names: vec!["aA bB ".repeat(16).trim().parse().unwrap(); 2],
        tenant: Some("x1 ".repeat(66).trim().parse().unwrap()),
    };
    for text in [
        "4@8({[<369&#!1|0$5+7%2".repeat(46),
        "a".repeat(1024),
        "password".repeat(128),
        "p4ssw0rd!".repeat(113),
        "1/1/1991".repeat(128),
        "qwertyuiop".repeat(102),
        "@4ae3!1ilo0s5$t7+z2g69b8".repeat(42),
        "éß紫🦀".repeat(93),
    ] {
        let password = Password::new(text.clone()).unwrap();
        let begun_at = Instant::now();
        judge(&PasswordPolicy::default(), &password, &known);
        // The bound is for a machine that is busy with other tests.
        assert!(begun_at.elapsed() < Duration::from_secs(2), "{}…: {:?}", &text[..8], begun_at.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A panic's message would hold what was being sliced.
    #[test]
    fn no_text_makes_judging_panic(text in "(\\PC|[a-z0-9@$!]|[\u{0}-\u{ff}]|İ|ß|ﬁ){1,60}") {
        if let Ok(password) = Password::new(text) {
            let broken = judge(&PasswordPolicy::default(), &password, &about());
            let short = password.as_str().chars().count() < 12;
            prop_assert_eq!(short, broken.contains(&Broken::TooShort { chars_min: 12 }));
        }
    }
}

fn a_policy() -> impl Strategy<Value = PasswordPolicy> {
    (8_u32..24, 0_u32..=4, any::<[bool; 4]>()).prop_map(|(length_min, strength_min, asked)| {
        policy(json!({
            "length_min": length_min, "strength_min": strength_min, "require_upper": asked[0],
            "require_lower": asked[1], "require_digit": asked[2], "require_symbol": asked[3],
        }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// FR-AUTH-006: a person of several tenants has one password.
    #[test]
    fn a_password_satisfies_the_strictest_of_policies_exactly_if_it_satisfies_each(
        policies in prop::collection::vec(a_policy(), 1..4),
        text in "[a-zA-Z0-9 !]{6,30}",
    ) {
        let strictest = PasswordPolicy::strictest_of(policies.iter().copied());
        let mut by_each: Vec<_> =
            policies.iter().flat_map(|policy| words_of(policy, &text, &about())).collect();
        let mut by_all = words_of(&strictest, &text, &about());
        by_each.sort_unstable();
        by_each.dedup();
        by_all.sort_unstable();
        prop_assert_eq!(by_all, by_each);
    }
}
