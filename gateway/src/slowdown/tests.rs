mod attacks;
mod bounds;

use super::*;

fn account(n: u64) -> Account {
    let mut account = [7; 32];
    account[..8].copy_from_slice(&n.to_be_bytes());
    account
}

fn address(n: u32) -> IpAddr {
    IpAddr::from(n.to_be_bytes())
}

fn stranger(of: u64, from: u32) -> Attempt {
    Attempt { account: account(of), address: Some(address(from)), known_device: None }
}

fn owner(of: u64, from: u32) -> Attempt {
    Attempt { known_device: Some(Uuid::from_u128(of.into())), ..stranger(of, from) }
}

fn start() -> DateTime<Utc> {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

/// A ladder and the time, which goes on only when it is told to.
struct Scene {
    ladder: Ladder,
    now: DateTime<Utc>,
}

impl Scene {
    fn new() -> Self {
        Self::with(LadderSettings::default())
    }

    fn with(settings: LadderSettings) -> Self {
        Self { ladder: Ladder::new(settings), now: start() }
    }

    fn after(&mut self, wait: TimeDelta) -> &mut Self {
        self.now += wait;
        self
    }

    fn try_with(&self, attempt: &Attempt, outcome: Outcome) -> Result<Vec<Finding>, SlowDown> {
        self.ladder.ask(attempt, self.now).map(|pass| self.ladder.told(pass, outcome, self.now))
    }

    fn fail(&self, attempt: &Attempt) -> Result<Vec<Finding>, SlowDown> {
        self.try_with(attempt, Outcome::Failed)
    }

    fn succeed(&self, attempt: &Attempt) -> Result<Vec<Finding>, SlowDown> {
        self.try_with(attempt, Outcome::Succeeded)
    }

    /// How long this attempt has to wait, and why; nothing is left behind.
    fn wait(&self, attempt: &Attempt) -> Option<(u64, Ground)> {
        match self.try_with(attempt, Outcome::NotTried) {
            Ok(_) => None,
            Err(slow) => Some((slow.retry_after.as_secs(), slow.because)),
        }
    }
}

#[test]
fn five_failures_are_free_and_each_further_doubles_the_wait_up_to_a_quarter_of_an_hour() {
    let mut scene = Scene::new();
    let ann = stranger(1, 1);
    for _ in 0..5 {
        assert!(scene.fail(&ann).is_ok());
    }
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900] {
        assert_eq!(scene.wait(&ann), Some((expected, Ground::Address)));
        let almost = seconds(expected as i64) - TimeDelta::milliseconds(1);
        assert!(scene.after(almost).wait(&ann).is_some(), "before {expected} s");
        assert!(scene.after(TimeDelta::milliseconds(1)).fail(&ann).is_ok(), "after {expected} s");
    }
}

#[test]
fn asking_in_vain_makes_no_wait_longer() {
    let mut scene = Scene::new();
    let ann = stranger(1, 1);
    (0..5).for_each(|_| drop(scene.fail(&ann).unwrap()));
    (0..1000).for_each(|_| assert!(scene.fail(&ann).is_err()));
    assert!(scene.after(seconds(1)).fail(&ann).is_ok());
}

#[test]
fn an_hour_without_a_failure_forgets() {
    let mut scene = Scene::new();
    let ann = stranger(1, 1);
    (0..5).for_each(|_| drop(scene.fail(&ann).unwrap()));
    scene.after(seconds(1)).fail(&ann).unwrap();
    assert_eq!(scene.after(seconds(3599)).succeed(&stranger(9, 9)), Ok(vec![]));
    assert!(scene.fail(&ann).is_ok(), "its wait is long over");
    assert!(scene.fail(&ann).is_err(), "but it is the next rung");
    scene.after(seconds(3600));
    (0..5).for_each(|_| drop(scene.fail(&ann).unwrap()));
    assert!(scene.fail(&ann).is_err());
}

#[test]
fn a_hundred_at_once_are_let_in_no_further_than_a_hundred_in_a_row() {
    let scene = Scene::new();
    let (ann, let_in) = (stranger(1, 1), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                if let Ok(pass) = scene.ladder.ask(&ann, scene.now) {
                    let_in.lock().unwrap().push(pass);
                }
            });
        }
    });
    let passes = let_in.into_inner().unwrap();
    assert_eq!(passes.len(), 5);
    let findings: Vec<_> =
        passes.into_iter().flat_map(|pass| scene.ladder.told(pass, Outcome::Failed, scene.now)).collect();
    assert_eq!(findings, [Finding::BruteForce { ground: Ground::Address }], "told once");
    assert_eq!(scene.wait(&ann), Some((1, Ground::Address)), "they are not counted twice");
}

#[test]
fn an_attempt_of_which_nothing_is_told_has_failed() {
    let scene = Scene::new();
    let ann = stranger(1, 1);
    (0..5).for_each(|_| drop(scene.ladder.ask(&ann, scene.now).unwrap()));
    assert_eq!(scene.wait(&ann), Some((1, Ground::Address)));
}

#[test]
fn a_success_forgives_its_own_ladder_but_not_those_who_are_under_way() {
    let scene = Scene::new();
    let ann = stranger(1, 1);
    (0..4).for_each(|_| drop(scene.fail(&ann).unwrap()));
    scene.succeed(&ann).unwrap();
    let under_way: Vec<_> = (0..4).map(|_| scene.ladder.ask(&ann, scene.now).unwrap()).collect();
    scene.succeed(&ann).unwrap();
    scene.fail(&ann).unwrap();
    assert!(scene.fail(&ann).is_err(), "four under way and one failed");
    let told = |pass| scene.ladder.told(pass, Outcome::Succeeded, scene.now);
    assert!(under_way.into_iter().flat_map(told).next().is_none());
    assert_eq!(scene.wait(&ann), None);
}

#[test]
fn a_success_does_not_forgive_what_strangers_did_to_the_account() {
    let mut scene = Scene::new();
    (0..20).for_each(|from| drop(scene.fail(&stranger(1, from)).unwrap()));
    scene.after(seconds(1)).succeed(&stranger(1, 100)).unwrap();
    assert_eq!(scene.wait(&stranger(1, 101)), None, "the success itself is no failure");
    scene.fail(&stranger(1, 102)).unwrap();
    assert_eq!(scene.wait(&stranger(1, 103)), Some((2, Ground::Account)));
}

#[test]
fn a_success_does_not_forgive_what_the_address_did_to_other_accounts() {
    let mut scene = Scene::new();
    (0..20).for_each(|of| drop(scene.fail(&stranger(of, 1)).unwrap()));
    // The attacker's own account.
    scene.after(seconds(1)).succeed(&stranger(100, 1)).unwrap();
    scene.fail(&stranger(101, 1)).unwrap();
    assert_eq!(scene.wait(&stranger(102, 1)), Some((2, Ground::Accounts)));
}

#[test]
fn what_was_not_tried_leaves_everything_as_it_was() {
    let mut scene = Scene::new();
    let ann = stranger(1, 1);
    (0..1000).for_each(|_| drop(scene.try_with(&ann, Outcome::NotTried).unwrap()));
    let shelves = scene.ladder.lock();
    assert_eq!((shelves.addresses.len(), shelves.accounts.len(), shelves.networks.len()), (0, 0, 0));
    drop(shelves);
    (0..7).for_each(|n| drop(scene.after(seconds(n)).fail(&ann).unwrap()));
    scene.after(seconds(3));
    assert_eq!(scene.wait(&ann), Some((1, Ground::Address)));
    scene.after(seconds(1)).try_with(&ann, Outcome::NotTried).unwrap();
    assert_eq!(scene.wait(&ann), None, "it need not wait again");
}

#[test]
fn addresses_of_one_network_are_one_and_an_address_is_the_same_in_either_form() {
    let scene = Scene::new();
    let from = |address: &str| Attempt { address: Some(address.parse().unwrap()), ..stranger(1, 1) };
    (0..5).for_each(|n| drop(scene.fail(&from(&format!("2001:db8:1:2::{n}"))).unwrap()));
    assert!(scene.fail(&from("2001:db8:1:2:ffff::1")).is_err());
    assert!(scene.fail(&from("2001:db8:1:3::1")).is_ok());
    (0..5).for_each(|_| drop(scene.fail(&from("192.0.2.1")).unwrap()));
    assert!(scene.fail(&from("::ffff:192.0.2.1")).is_err());
    assert!(scene.fail(&from("192.0.2.2")).is_ok());
}

#[test]
fn without_an_address_an_account_is_guarded_and_nobody_else_is_slowed() {
    let scene = Scene::new();
    let unknown = |of| Attempt { address: None, ..stranger(of, 1) };
    (0..5).for_each(|_| drop(scene.fail(&unknown(1)).unwrap()));
    assert!(scene.fail(&unknown(1)).is_err());
    (2..1000).for_each(|of| assert_eq!(scene.fail(&unknown(of)), Ok(vec![])));
}

#[test]
fn a_clock_that_was_set_back_makes_nobody_wait_longer_than_their_rung() {
    let mut scene = Scene::new();
    let ann = stranger(1, 1);
    (0..5).for_each(|_| drop(scene.fail(&ann).unwrap()));
    scene.after(TimeDelta::days(-1));
    assert_eq!(scene.wait(&ann), Some((1, Ground::Address)));
}

/// CC-LOG-002
#[test]
fn an_attempt_shows_neither_whose_nor_where_from() {
    let scene = Scene::new();
    let shown =
        format!("{:?} {:?}", owner(1, 0x01020304), scene.ladder.ask(&stranger(1, 0x01020304), scene.now));
    assert!(!shown.contains("1.2.3.4") && !shown.contains("7, 7"), "{shown}");
}
