//! Deterministic simulation of the engine in memory: hundreds of small worlds, each from a seed, each with clients,
//! crashes, outages, lapsed leases and unclear commits; each judged by [`checker`].
//!
//! `TENANTRY_SIMULATION_SEED=n` runs one world and prints all that happened in it; `TENANTRY_SIMULATION_SEEDS=n` runs
//! so many (`make simulate`), from `TENANTRY_SIMULATION_FIRST` on.

pub mod account;
mod checker;
mod clients;
mod followed;
mod journal;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::command::DispatchError;
use journal::Lie;
use world::{Ran, run};

/// Worlds of an ordinary test run.
const SEEDS: u64 = 300;

/// The panics that the simulation asks for need not be read.
pub fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some("a rule that panics") {
                usual(panic);
            }
        }));
    });
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

fn report(seed: u64, ran: &Ran) -> String {
    format!(
        "seed {seed} fails:\n{}\nTENANTRY_SIMULATION_SEED={seed} runs it again and tells all that happens",
        ran.faults.join("\n")
    )
}

/// The first seed that fails, if one does. Two threads, each with worlds of its own.
fn first_failure(first: u64, count: u64, lie: Option<Lie>) -> Option<(u64, Ran)> {
    let (next, last) = (AtomicU64::new(first), first + count);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= last {
                return None;
            }
            let ran = run(seed, lie);
            if !ran.faults.is_empty() {
                next.store(last, Ordering::SeqCst);
                return Some((seed, ran));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let found = threads.map(|thread| thread.join().expect("a world never panics"));
        found.into_iter().flatten().min_by_key(|(seed, _)| *seed)
    })
}

/// REQUIREMENTS §1: every answer is true, nothing acknowledged is lost, nothing happens twice.
#[test]
fn whatever_goes_wrong_every_answer_is_true_and_the_journal_is_sound() {
    hush();
    if let Some(seed) = number("TENANTRY_SIMULATION_SEED") {
        let ran = run(seed, None);
        println!("{}", ran.trace);
        assert!(ran.faults.is_empty(), "{}", report(seed, &ran));
        return;
    }
    let first = number("TENANTRY_SIMULATION_FIRST").unwrap_or(0);
    let count = number("TENANTRY_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let failure = first_failure(first, count, None);
    assert!(failure.is_none(), "{}", failure.map(|(seed, ran)| report(seed, &ran)).unwrap_or_default());
    println!("{count} worlds from seed {first} on: every answer true, every journal sound");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    hush();
    for seed in 0..10 {
        let (first, second) = (run(seed, None), run(seed, None));
        let parting = first.trace.lines().zip(second.trace.lines()).enumerate().find(|(_, (a, b))| a != b);
        assert!(first.trace == second.trace, "seed {seed}: two traces part at {parting:#?}");
        assert!(first.trace.lines().count() > 100, "something happens in it:\n{}", first.trace);
    }
}

/// What the worlds of a run come to see, so that none of it is left out by chance.
#[test]
fn the_simulated_worlds_are_rich() {
    hush();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..120 {
        let ran = run(seed, None);
        for (what, mark) in [
            ("killed", ": killed"),
            ("drained", ": drains"),
            ("outage", "the database is away"),
            ("lapsed lease", "the lease lapses"),
            ("fenced", "Err(Fenced"),
            ("unclear and written", "committed: [Appended"),
            ("unclear and not written", "committed: []"),
            ("unclear and lost", ": Lost"),
            ("late commit", "a late commit"),
            ("ahead and written", " ahead: Ok("),
            ("ahead of what failed", "Err(OutOfOrder)"),
            ("two unclear and both written", "}, Appended {"),
            ("gone away", "goes away"),
        ] {
            *seen.entry(what).or_default() += u32::from(ran.trace.contains(mark));
        }
        for sending in &ran.history {
            let what = match sending.answered.as_ref().map(|(_, answer)| answer) {
                Some(Ok(receipt)) if receipt.replayed => "replayed",
                Some(Ok(receipt)) if receipt.changed() => "changed",
                Some(Ok(_)) => "unchanged",
                Some(Err(DispatchError::Rejected { .. })) => "rejected",
                Some(Err(DispatchError::ClaimTaken { .. })) => "taken",
                Some(Err(DispatchError::PreconditionFailed { .. })) => "precondition",
                Some(Err(DispatchError::KeyReused)) => "key reused",
                Some(Err(DispatchError::InFlight)) => "in flight",
                Some(Err(DispatchError::Unstorable)) => "unstorable",
                Some(Err(DispatchError::Busy { .. })) => "busy",
                Some(Err(DispatchError::Unavailable { .. })) => "unavailable",
                Some(Err(DispatchError::OutcomeUnknown)) => "unknown",
                Some(Err(DispatchError::Quarantined)) => "quarantined",
                None => "unanswered",
            };
            *seen.entry(what).or_default() += 1;
        }
    }
    let wanted = [
        "killed",
        "drained",
        "outage",
        "lapsed lease",
        "fenced",
        "unclear and written",
        "unclear and not written",
        "unclear and lost",
        "late commit",
        "ahead and written",
        "ahead of what failed",
        "two unclear and both written",
        "gone away",
        "replayed",
        "changed",
        "unchanged",
        "rejected",
        "taken",
        "precondition",
        "key reused",
        "in flight",
        "unstorable",
        "busy",
        "unavailable",
        "unknown",
        "quarantined",
        "unanswered",
    ];
    let never: Vec<_> =
        wanted.iter().filter(|what| seen.get(**what).is_none_or(|count| *count == 0)).collect();
    assert!(never.is_empty(), "never seen: {never:?} of {seen:?}");
}

/// A checker that finds nothing proves nothing: each promise of the journal, once broken, must be missed.
#[test]
fn a_journal_that_breaks_a_promise_is_found_out() {
    hush();
    for lie in [
        Lie::AcknowledgesWhatItDidNotWrite,
        Lie::DeniesWhatItWrote,
        Lie::ForgetsACommit,
        Lie::IgnoresTheEpoch,
        Lie::LoadsTooLittle,
        Lie::ForgetsAnswers,
        Lie::IgnoresTheOrder,
    ] {
        assert!(first_failure(0, 1_000, Some(lie)).is_some(), "{lie:?} goes unnoticed");
    }
}
