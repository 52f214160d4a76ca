use super::*;

/// Costs that a test can pay.
const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 2, lanes: 1 };

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn tried(text: &str, hash: &str, present: &HashParameters) -> Result<Verdict, WorkError> {
    compare(&password(text), &hash.parse().unwrap(), present, &mut Memory::default())
}

fn made(text: &str, parameters: HashParameters) -> String {
    make(&password(text), &parameters, &mut Memory::default()).unwrap().as_str().to_owned()
}

/// Ruling 13
#[test]
fn a_hash_is_argon2id_says_its_costs_and_is_salted() {
    let hash = made("correct horse", CHEAP);
    assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
    assert_ne!(hash, made("correct horse", CHEAP), "each has a salt of its own");
    assert_eq!(tried("correct horse", &hash, &CHEAP).unwrap(), Verdict::Right { rehash: false });
    assert_eq!(tried("correct horsf", &hash, &CHEAP).unwrap(), Verdict::Wrong);
    assert_eq!(tried("correct horse ", &hash, &CHEAP).unwrap(), Verdict::Wrong);
}

/// From the reference implementation's own tests.
#[test]
fn hashes_of_the_reference_implementation_are_verified() {
    for hash in [
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    ] {
        // Their salt has 8 bytes: it is to be made anew whatever it costs.
        assert_eq!(tried("password", hash, &CHEAP).unwrap(), Verdict::Right { rehash: true }, "{hash}");
        assert_eq!(tried("passwore", hash, &CHEAP).unwrap(), Verdict::Wrong, "{hash}");
    }
}

/// FR-AUTH-001
#[test]
fn a_hash_is_made_anew_as_soon_as_any_cost_has_risen() {
    let hash = made("correct horse", CHEAP);
    for (present, rehash) in [
        (CHEAP, false),
        (HashParameters { memory_kib: 65, ..CHEAP }, true),
        (HashParameters { passes: 3, ..CHEAP }, true),
        (HashParameters { lanes: 2, ..CHEAP }, true),
        (HashParameters { memory_kib: 32, passes: 3, lanes: 1 }, true),
        (HashParameters { memory_kib: 32, passes: 1, lanes: 1 }, false),
    ] {
        let verdict = tried("correct horse", &hash, &present).unwrap();
        assert_eq!(verdict, Verdict::Right { rehash }, "{present:?}");
        assert_eq!(tried("wrong", &hash, &present).unwrap(), Verdict::Wrong);
    }
}

/// Ruling 13
#[test]
fn imported_bcrypt_hashes_are_verified_and_made_anew() {
    for (text, hash) in [
        ("correctbatteryhorsestapler", "$2a$04$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi"),
        ("correctbatteryhorsestapler", "$2y$04$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi"),
        ("correctbatteryhorsestapler", "$2b$04$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi"),
        ("abc123xyz", "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"),
    ] {
        assert_eq!(tried(text, hash, &CHEAP).unwrap(), Verdict::Right { rehash: true }, "{hash}");
        assert_eq!(tried("wrong", hash, &CHEAP).unwrap(), Verdict::Wrong, "{hash}");
    }
}

/// A mistyped end that was never compared must not become what is asked for.
#[test]
fn bcrypt_of_a_password_longer_than_it_sees_is_kept() {
    // python -c 'import bcrypt; bcrypt.hashpw(b"x"*100, b"$2a$05$...............................")'
    let hash = "$2a$05$......................YgIDy4hFBdVlc/6LHnD9mX488r9cLd2";
    for text in ["x".repeat(100), "x".repeat(72), "x".repeat(72) + "mistyped"] {
        assert_eq!(tried(&text, hash, &CHEAP).unwrap(), Verdict::Right { rehash: false });
    }
    assert_eq!(tried(&"x".repeat(71), hash, &CHEAP).unwrap(), Verdict::Wrong);
}

#[test]
fn what_is_malformed_or_absurdly_costly_is_not_even_tried() {
    let end = "c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let too_costly = [
        format!("$argon2id$v=19$m=1048577,t=1,p=1${end}"),
        format!("$argon2id$v=19$m=4294967295,t=1,p=1${end}"),
        format!("$argon2id$v=19$m=64,t=65,p=1${end}"),
        format!("$argon2id$v=19$m=64,t=4294967295,p=1${end}"),
        format!("$argon2id$v=19$m=1048576,t=5,p=1${end}"),
        format!("$argon2id$v=19$m=1024,t=1,p=17${end}"),
        "$2b$17$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi".to_owned(),
        "$2b$31$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi".to_owned(),
    ];
    let malformed = [
        "$argon2id$".to_owned(),
        "$argon2id$v=19$m=64,t=2,p=1".to_owned(),
        "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(),
        format!("$argon2id$v=20$m=64,t=2,p=1${end}"),
        format!("$argon2id$v=19$m=0,t=2,p=1${end}"),
        format!("$argon2id$v=19$m=8,t=2,p=2${end}"),
        format!("$argon2id$v=19$m=64,t=0,p=1${end}"),
        format!("$argon2id$v=19$m=64,t=2,p=1${end}$more"),
        format!("$argon2id$v=19$m=64,t=2,p=1,x=1${end}"),
        "$2b$03$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi".to_owned(),
        "$2b$04$n4Uy0eSnMfvnESYL".to_owned(),
    ];
    let mut memory = Memory::default();
    for hash in too_costly.iter().chain(&malformed) {
        let result = compare(&password("password"), &hash.parse().unwrap(), &CHEAP, &mut memory);
        assert!(matches!(result, Err(WorkError::Unverifiable)), "{hash}: {result:?}");
    }
    assert!(memory.0.is_empty(), "no memory was taken for any of them");
}

/// CON-SEC-009
#[test]
fn nobodys_hash_costs_what_anybodys_does_and_is_no_passwords() {
    let hash = nobodys(&CHEAP).unwrap();
    assert_eq!(hash.as_str().len(), made("x", CHEAP).len());
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=2,p=1$"));
    assert_eq!(tried("password", hash.as_str(), &CHEAP).unwrap(), Verdict::Wrong);
}

#[test]
fn memory_used_again_changes_no_hash_and_an_exception_is_given_back() {
    let mut memory = Memory::default();
    let big = HashParameters { memory_kib: 512, ..CHEAP };
    let (small, large) = (made("a", CHEAP), made("a", big));
    for _ in 0..2 {
        for hash in [&small, &large, &small] {
            let verdict = compare(&password("a"), &hash.parse().unwrap(), &CHEAP, &mut memory).unwrap();
            assert_eq!(verdict, Verdict::Right { rehash: false });
            let verdict = compare(&password("b"), &hash.parse().unwrap(), &CHEAP, &mut memory).unwrap();
            assert_eq!(verdict, Verdict::Wrong);
        }
        assert_eq!(memory.0.len(), 64);
        assert!(memory.0.capacity() < 512);
    }
}

#[test]
fn parameters_out_of_bounds_are_refused_with_the_bound() {
    let given = |memory_kib, passes, lanes| HashParameters { memory_kib, passes, lanes }.check();
    assert_eq!(HashParameters::default().check(), Ok(()));
    for fine in [(8, 1, 1), (1_048_576, 4, 16), (65_536, 64, 1)] {
        assert_eq!(given(fine.0, fine.1, fine.2), Ok(()), "{fine:?}");
    }
    for (bad, sentence) in [
        ((7, 1, 1), "a password's hash must use 8 to 1048576 KiB of memory, not 7"),
        ((1_048_577, 1, 1), "a password's hash must use 8 to 1048576 KiB of memory, not 1048577"),
        ((64, 0, 1), "a password's hash must make 1 to 64 passes over its memory, not 0"),
        ((64, 65, 1), "a password's hash must make 1 to 64 passes over its memory, not 65"),
        ((64, 1, 0), "a password's hash must have 1 to 16 lanes, not 0"),
        ((1024, 1, 17), "a password's hash must have 1 to 16 lanes, not 17"),
        ((31, 1, 4), "a password's hash of 4 lanes needs 32 KiB of memory or more, not 31"),
        ((1_048_576, 5, 1), "a password's hash may write 4194304 KiB in all its passes, not 5 times 1048576"),
    ] {
        assert_eq!(given(bad.0, bad.1, bad.2).unwrap_err().to_string(), sentence);
    }
}
