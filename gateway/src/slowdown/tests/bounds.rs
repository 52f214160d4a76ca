//! However many come, memory stays what it is, and what slows somebody stays in it.

use super::*;

const ENTRIES_MAX: usize = 4_000;

fn small() -> Scene {
    Scene::with(LadderSettings { entries_max: ENTRIES_MAX, ..LadderSettings::default() })
}

fn lengths(scene: &Scene) -> [usize; 4] {
    let shelves = scene.ladder.lock();
    [shelves.addresses.len(), shelves.devices.len(), shelves.accounts.len(), shelves.networks.len()]
}

#[test]
fn a_million_attempts_of_as_many_strangers_keep_every_map_within_its_bound() {
    let mut scene = small();
    for n in 0..1_000_000_u32 {
        let of = u64::from(n);
        let attempt = if n % 4 == 0 { owner(of, n) } else { stranger(of, n) };
        // Nothing is ever told of it: it has failed.
        let _ = scene.ladder.ask(&attempt, scene.now).unwrap();
        if n % 1000 == 0 {
            scene.after(seconds(1));
            assert!(lengths(&scene).into_iter().all(|length| length <= ENTRIES_MAX), "{:?}", lengths(&scene));
        }
    }
    assert_eq!(lengths(&scene), [ENTRIES_MAX; 4]);
}

#[test]
fn who_is_slowed_stays_slowed_whoever_else_comes() {
    let mut scene = small();
    let mallory = stranger(u64::MAX, u32::MAX);
    (0..12).for_each(|n| {
        scene.after(seconds(1 << n)).fail(&mallory).unwrap();
    });
    let before = scene.wait(&mallory).unwrap();
    for n in 0..100_000 {
        let _ = scene.fail(&stranger(n.into(), n));
    }
    assert_eq!(scene.wait(&mallory), Some(before));
}

#[test]
fn an_attacker_who_begins_is_noticed_also_while_others_fill_the_map() {
    let scene = small();
    // Each gets as far as to be slowed.
    for n in 0..2 * ENTRIES_MAX as u32 {
        (0..6).for_each(|_| drop(scene.fail(&stranger(n.into(), n))));
    }
    // Newcomers between the failures of one more: a quarter of the room is for them.
    let mallory = stranger(u64::MAX, u32::MAX);
    for round in 0..5 {
        scene.fail(&mallory).unwrap();
        (0..ENTRIES_MAX as u32 / 8).for_each(|n| {
            drop(
                scene.fail(&stranger(
                    1 << 40 | u64::from(round) << 32 | u64::from(n),
                    1 << 30 | round << 20 | n,
                )),
            );
        });
    }
    assert!(matches!(scene.wait(&mallory), Some((_, Ground::Address))));
    assert!(lengths(&scene).into_iter().all(|length| length <= ENTRIES_MAX));
}

#[test]
fn when_an_attack_is_over_its_memory_goes() {
    let mut scene = small();
    for n in 0..ENTRIES_MAX as u32 {
        scene.fail(&stranger(n.into(), n)).unwrap();
    }
    scene.after(TimeDelta::hours(1));
    for _ in 0..ENTRIES_MAX {
        scene.succeed(&stranger(1, 1)).unwrap();
    }
    assert_eq!(lengths(&scene), [0; 4]);
}

#[test]
fn settings_that_make_no_sense_are_mended() {
    let zero = TimeDelta::zero();
    let scene = Scene::with(LadderSettings {
        failures_free: 0,
        strangers_free: 0,
        strangers_window: zero,
        accounts_free: 0,
        accounts_window: zero,
        wait_max: zero,
        forgotten_after: zero,
        entries_max: 0,
    });
    let ann = stranger(1, 1);
    scene.fail(&ann).unwrap();
    assert_eq!(scene.wait(&ann).map(|(wait, _)| wait), Some(1));
    (0..100).for_each(|n| drop(scene.fail(&stranger(n, n as u32 + 10))));
    assert!(lengths(&scene).into_iter().all(|length| length <= 16));
}
