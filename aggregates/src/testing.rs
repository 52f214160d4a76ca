//! Given, when, then: `given([provisioned()]).when(suspend()).then([suspended()]).and_again_nothing()`.
//!
//! Nothing is pretended: every event goes to JSON and back before it is folded, and every state through a snapshot.

use kernel::{Decider, Rejection, RejectionKind};

/// A state that events made.
pub struct Given<D>(D);

/// What a command led to.
pub struct When<D: Decider> {
    before: D,
    command: D::Command,
    outcome: Result<Vec<D::Event>, D::Rejection>,
}

/// What stands after the events of a command.
pub struct Then<D: Decider> {
    after: D,
    command: D::Command,
}

pub fn given<D: Decider + PartialEq>(events: impl IntoIterator<Item = D::Event>) -> Given<D> {
    Given(fold(D::default(), events))
}

impl<D: Decider + PartialEq> Given<D>
where
    D::Command: Clone,
{
    pub fn when(self, command: D::Command) -> When<D> {
        let outcome = self.0.decide(command.clone());
        When { before: self.0, command, outcome }
    }

    /// The state itself, for what it can be asked.
    pub fn state(self) -> D {
        self.0
    }
}

impl<D: Decider + PartialEq> When<D>
where
    D::Command: Clone,
{
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) -> Then<D> {
        let events = self.outcome.unwrap_or_else(|rejection| panic!("rejected: {rejection}"));
        assert_eq!(events, expected.into_iter().collect::<Vec<_>>());
        Then { after: fold(self.before, events), command: self.command }
    }

    pub fn then_nothing(self) {
        self.then([]);
    }

    pub fn then_rejected(self, kind: RejectionKind, detail: &str) {
        let rejection = self.outcome.expect_err("the command was to be rejected");
        assert_eq!((rejection.kind(), rejection.detail()), (kind, detail), "{rejection}");
        // A retry hears the stored rejection, so it has to survive storage.
        let stored = serde_json::to_value(&rejection).unwrap();
        assert_eq!(serde_json::from_value::<D::Rejection>(stored).unwrap(), rejection);
    }
}

impl<D: Decider + PartialEq> Then<D>
where
    D::Command: Clone,
{
    /// Asked twice, said once.
    pub fn and_again_nothing(self) -> Self {
        let again = self.after.decide(self.command.clone());
        assert_eq!(again.unwrap_or_else(|rejection| panic!("rejected: {rejection}")), []);
        self
    }

    pub fn and(self) -> Given<D> {
        Given(self.after)
    }
}

fn fold<D: Decider + PartialEq>(mut state: D, events: impl IntoIterator<Item = D::Event>) -> D {
    for event in events {
        let stored = serde_json::to_string(&event).unwrap();
        state.evolve(&serde_json::from_str(&stored).unwrap());
    }
    let snapshot = serde_json::to_string(&state).unwrap();
    assert!(serde_json::from_str::<D>(&snapshot).unwrap() == state, "a snapshot loses something: {snapshot}");
    state
}

/// A moment, `seconds` after the beginning of the test's time.
pub fn at(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

pub const DAY: i64 = 24 * 60 * 60;

pub fn id(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

/// Parses a value that is valid.
pub fn value<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}
