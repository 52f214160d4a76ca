//! Attacks as scripts: how far does each get?

use super::*;
use std::collections::HashMap;

use proptest::prelude::*;

/// Attackers who try again at each second whatever they are told, for so long. Gives how many were let in, and what
/// was found.
fn attack(
    scene: &mut Scene,
    lasts: TimeDelta,
    at_each_second: impl Fn(i64) -> Vec<Attempt>,
) -> (usize, Vec<Finding>) {
    let (mut let_in, mut findings) = (0, Vec::new());
    for second in 0..lasts.num_seconds() {
        for attempt in at_each_second(second) {
            if let Ok(found) = scene.fail(&attempt) {
                let_in += 1;
                findings.extend(found);
            }
        }
        scene.after(seconds(1));
    }
    (let_in, findings)
}

#[test]
fn brute_force_of_one_account_from_one_address_gets_a_hundred_guesses_a_day() {
    let mut scene = Scene::new();
    let (let_in, findings) = attack(&mut scene, TimeDelta::days(1), |_| vec![stranger(1, 1); 3]);
    assert!((90..=115).contains(&let_in), "{let_in}");
    // The address first; after the twentieth failure within an hour, never: it is slowed before that.
    assert_eq!(findings, [Finding::BruteForce { ground: Ground::Address }]);
}

#[test]
fn brute_force_from_a_thousand_addresses_gets_hardly_further_than_from_one() {
    let mut scene = Scene::new();
    let all = |second: i64| (0..1000).map(|n| stranger(1, n + second as u32 % 7)).step_by(10).collect();
    let (let_in, findings) = attack(&mut scene, TimeDelta::hours(2), all);
    assert!((30..=40).contains(&let_in), "{let_in}");
    assert_eq!(findings, [Finding::BruteForce { ground: Ground::Account }], "told once");
}

#[test]
fn stuffing_a_thousand_accounts_from_one_address_is_slowed_after_twenty() {
    let mut scene = Scene::new();
    let all = |second: i64| (0..1000).map(|n| stranger((n + second as u64) % 1000, 1)).step_by(9).collect();
    let (let_in, findings) = attack(&mut scene, TimeDelta::hours(1), all);
    assert!((28..=35).contains(&let_in), "{let_in}");
    assert_eq!(findings, [Finding::Stuffing]);
    assert!(scene.fail(&stranger(1, 2)).is_ok(), "other addresses are not slowed");
}

#[test]
fn several_guesses_at_each_of_many_accounts_are_spraying() {
    let mut scene = Scene::new();
    let (_, findings) = attack(&mut scene, seconds(40), |second| vec![stranger(second as u64, 1); 3]);
    assert_eq!(findings, [Finding::Spraying]);
}

#[test]
fn a_slow_walk_over_many_accounts_stays_free() {
    // An office behind one address, where somebody mistypes every minute.
    let mut scene = Scene::new();
    let (let_in, findings) = attack(&mut scene, TimeDelta::hours(8), |second| match second % 60 {
        0 => vec![stranger(second as u64, 1)],
        _ => vec![],
    });
    assert_eq!((let_in, findings), (480, vec![]));
}

/// REQUIREMENTS §3: without letting a stranger lock a user out.
#[test]
fn the_owner_on_a_known_device_gets_in_in_the_middle_of_every_attack() {
    let mut scene = Scene::new();
    for second in 0..3600 {
        for n in 0..50 {
            let _ = scene.fail(&stranger(1, n));
            let _ = scene.fail(&stranger(u64::from(n), 1));
        }
        if second % 60 == 0 {
            assert_eq!(scene.succeed(&owner(1, 1)), Ok(vec![]), "after {second} s, from the very address");
        }
        scene.after(seconds(1));
    }
    assert!(matches!(scene.wait(&stranger(1, 1000)), Some((_, Ground::Account))), "a stranger doesn't");
}

#[test]
fn a_stolen_device_is_slowed_like_an_address_and_slows_nobody_else() {
    let mut scene = Scene::new();
    let (let_in, findings) = attack(&mut scene, TimeDelta::hours(1), |second| vec![owner(1, second as u32)]);
    assert!((15..=19).contains(&let_in), "{let_in}");
    assert_eq!(findings, [Finding::BruteForce { ground: Ground::Device }]);
    assert!(scene.fail(&stranger(1, 1)).is_ok());
    assert!(scene.fail(&owner(2, 1)).is_ok());
    let another = Attempt { known_device: Some(Uuid::from_u128(99)), ..owner(1, 1) };
    assert!(scene.fail(&another).is_ok());
}

#[test]
fn an_attack_that_comes_again_after_it_was_forgotten_is_told_again() {
    let mut scene = Scene::new();
    for _ in 0..2 {
        let (_, findings) = attack(&mut scene, seconds(60), |_| vec![stranger(1, 1)]);
        assert_eq!(findings, [Finding::BruteForce { ground: Ground::Address }]);
        scene.after(TimeDelta::hours(1));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask { of: u64, from: u32, known: bool },
    Tell { which: usize, outcome: Outcome },
    Wait { seconds: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Failed), 1 => Just(Outcome::Succeeded), 1 => Just(Outcome::NotTried)
    ];
    let step = prop_oneof![
        8 => (0..30_u64, 0..4_u32, prop::bool::weighted(0.1))
            .prop_map(|(of, from, known)| Step::Ask { of: of.saturating_sub(27), from, known }),
        2 => (0..30_u64, 0..4_u32).prop_map(|(of, from)| Step::Ask { of, from, known: false }),
        6 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Tell { which, outcome }),
        2 => prop_oneof![4 => 0..3_i64, 2 => 0..120_i64, 1 => 0..4000_i64].prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..400)
}

/// More than so many of `times` within `window`, somewhere?
fn crowded(times: &[DateTime<Utc>], window: TimeDelta, most: usize) -> bool {
    times.windows(most + 1).any(|run| run[most] - run[0] < window)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the order of asking and telling, nobody gets further than the ladder lets them, and a device that has
    /// not failed is always let in.
    #[test]
    fn no_order_of_events_gets_further_than_the_ladder(steps in steps()) {
        let mut scene = Scene::new();
        let mut under_way: Vec<Pass> = Vec::new();
        // When each was let in, without those that were forgiven or not tried.
        let mut at_address: HashMap<(Account, Option<IpAddr>), Vec<DateTime<Utc>>> = HashMap::new();
        let mut at_account: HashMap<Account, Vec<DateTime<Utc>>> = HashMap::new();
        let mut of_device: HashMap<Account, usize> = HashMap::new();
        let devices_under_way = |under_way: &[Pass], account| {
            under_way.iter().filter(|pass| pass.attempt.account == account && pass.attempt.known_device.is_some()).count()
        };
        for step in steps {
            match step {
                Step::Ask { of, from, known } => {
                    let attempt = if known { owner(of, from) } else { stranger(of, from) };
                    let asked = scene.ladder.ask(&attempt, scene.now);
                    if known {
                        let failures = of_device.entry(attempt.account).or_default();
                        prop_assert!(asked.is_ok() || *failures >= 5, "a device with {} failures: {:?}", failures, asked);
                        *failures += usize::from(asked.is_ok());
                    } else if asked.is_ok() {
                        at_address.entry((attempt.account, attempt.address)).or_default().push(scene.now);
                        at_account.entry(attempt.account).or_default().push(scene.now);
                    }
                    if let Err(slow) = &asked {
                        prop_assert!(slow.retry_after > Duration::ZERO && slow.retry_after <= Duration::from_secs(900));
                        let later = scene.now + TimeDelta::from_std(slow.retry_after).unwrap();
                        prop_assert!(scene.ladder.ask(&attempt, later - TimeDelta::milliseconds(1)).is_err());
                    }
                    under_way.extend(asked);
                }
                Step::Tell { which, outcome } if !under_way.is_empty() => {
                    let pass = under_way.swap_remove(which % under_way.len());
                    let attempt = pass.attempt;
                    let _ = scene.ladder.told(pass, outcome, scene.now);
                    if attempt.known_device.is_some() {
                        let failures = of_device.get_mut(&attempt.account).unwrap();
                        match outcome {
                            Outcome::Failed => {}
                            Outcome::NotTried => *failures = failures.saturating_sub(1),
                            Outcome::Succeeded => *failures = devices_under_way(&under_way, attempt.account),
                        }
                    } else if outcome != Outcome::Failed {
                        // The bounds below are of failures: begin to count anew.
                        at_address.remove(&(attempt.account, attempt.address));
                        at_account.remove(&attempt.account);
                    }
                }
                Step::Tell { .. } => {}
                Step::Wait { seconds: wait } => { scene.after(seconds(wait)); }
            }
            for times in at_address.values() {
                prop_assert!(!crowded(times, seconds(1), 6), "one address: {times:?}");
                prop_assert!(!crowded(times, TimeDelta::hours(1), 19), "one address: {times:?}");
            }
            for times in at_account.values() {
                prop_assert!(!crowded(times, TimeDelta::hours(1), 34), "one account: {times:?}");
            }
        }
        for pass in under_way.drain(..) {
            let _ = scene.ladder.told(pass, Outcome::Failed, scene.now);
        }
        scene.after(TimeDelta::hours(1));
        for (of, from) in (0..30).flat_map(|of| (0..4).map(move |from| (of, from))) {
            prop_assert_eq!(scene.wait(&stranger(of, from)), None, "all is forgotten");
        }
    }
}
