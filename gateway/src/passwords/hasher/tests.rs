use futures::FutureExt;

use super::*;

const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 2, lanes: 1 };

fn hasher() -> Hasher {
    Hasher::start(&HasherSettings { parameters: CHEAP, threads: 2, waiting_max: 8 }).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

/// FR-AUTH-001
#[tokio::test]
async fn a_password_opens_what_was_made_of_it_and_nothing_else() {
    let hasher = hasher();
    let hash = hasher.hash(&password("correct horse")).await.unwrap();
    let verdict = async |text: &str| hasher.verify(&password(text), &hash).await.unwrap();
    assert_eq!(verdict("correct horse").await, Verdict::Right { rehash: false });
    assert_eq!(verdict("Correct horse").await, Verdict::Wrong);
    assert_eq!(hasher.verify_nothing(&password("correct horse")).await, Ok(()));
}

#[tokio::test]
async fn a_hash_of_former_parameters_is_right_and_to_be_made_anew() {
    let hash = hasher().hash(&password("correct horse")).await.unwrap();
    let parameters = HashParameters { passes: 3, ..CHEAP };
    let now = Hasher::start(&HasherSettings { parameters, threads: 1, waiting_max: 8 }).unwrap();
    assert_eq!(now.verify(&password("correct horse"), &hash).await, Ok(Verdict::Right { rehash: true }));
    let anew = now.hash(&password("correct horse")).await.unwrap();
    assert_eq!(now.verify(&password("correct horse"), &anew).await, Ok(Verdict::Right { rehash: false }));
}

#[tokio::test]
async fn what_cant_be_verified_is_neither_right_nor_wrong() {
    let hash =
        "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let verdict = hasher().verify(&password("password"), &hash.parse().unwrap()).await;
    assert_eq!(verdict, Err(HashError::Unverifiable));
}

/// CON-SEC-009. Told by the memory that was worked in: a clock tells nothing on a busy machine.
#[test]
fn nobody_somebody_and_the_unverifiable_are_the_same_work() {
    let text = password("correct horse");
    let nobodys = stored::nobodys(&CHEAP).unwrap();
    let somebodys = stored::make(&password("another"), &CHEAP, &mut Memory::default()).unwrap();
    let unverifiable: PasswordHash =
        "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQM".parse().unwrap();
    let worked_in = |hash: &PasswordHash| {
        let mut memory = Memory::default();
        let verdict = compare(&text, hash, &nobodys, &CHEAP, &mut memory);
        (verdict.ok(), memory.blocks_held())
    };
    assert_eq!(worked_in(&somebodys), (Some(Verdict::Wrong), 64));
    assert_eq!(worked_in(&nobodys), (Some(Verdict::Wrong), 64));
    assert_eq!(worked_in(&unverifiable), (None, 64));
}

#[tokio::test]
async fn too_many_at_once_are_told_when_to_come_back() {
    let settings = HasherSettings { parameters: HashParameters::default(), threads: 1, waiting_max: 2 };
    let hasher = Hasher::start(&settings).unwrap();
    let password = password("correct horse");
    // A hash of real costs takes far longer than asking, so the thread is at the first or has not begun.
    let mut asked: Vec<_> = (0..8).map(|_| Box::pin(hasher.hash(&password))).collect();
    let at_once: Vec<_> = asked.iter_mut().map(|asked| asked.as_mut().now_or_never()).collect();
    let busy = Err(HashError::Busy { retry_after: Duration::from_secs(1) });
    assert!(at_once.iter().filter(|answer| **answer == Some(busy.clone())).count() >= 5, "{at_once:?}");
    for (asked, at_once) in asked.into_iter().zip(at_once) {
        if at_once.is_none() {
            asked.await.expect("whoever found a place is served");
        }
    }
}

#[tokio::test]
async fn passwords_are_judged_in_the_same_threads() {
    let hasher = hasher();
    let judge = async |text: &str| {
        hasher.judge(PasswordPolicy::default(), &password(text), &About::default()).await.unwrap()
    };
    assert_eq!(judge("violet-canyon-drumbeat-94").await, []);
    assert_eq!(
        judge("password").await.iter().map(Broken::word).collect::<Vec<_>>(),
        ["too_short", "too_common"]
    );
}

#[test]
fn settings_out_of_bounds_start_nothing() {
    let parameters = HashParameters { memory_kib: 1, ..CHEAP };
    let error = Hasher::start(&HasherSettings { parameters, ..HasherSettings::default() }).unwrap_err();
    assert_eq!(error.to_string(), "a password's hash must use 8 to 1048576 KiB of memory, not 1");
    assert_eq!(HasherSettings::with_threads(3).waiting_max, 192);
    assert!(HasherSettings::default().threads >= 1);
}

/// CC-LOG-002
#[tokio::test]
async fn nothing_that_can_be_logged_holds_a_hash() {
    let hasher = hasher();
    let hash = hasher.hash(&password("correct horse")).await.unwrap();
    let shown = format!("{hasher:?} {hash:?}");
    assert!(!shown.contains("argon2id"), "{shown}");
}
