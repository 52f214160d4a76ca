//! Who signed in by which address since this node started, so that their next login need not look the address up.
//!
//! It is a hint and no more: the person's own record is asked whether the address is theirs still, and whoever isn't
//! remembered is looked up. Addresses are kept under the deployment's key, not as they are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kernel::PersonId;

/// So many are remembered at least, if so many sign in; twice as many at most, which is 10 MB.
const REMEMBERED: usize = 50_000;

#[derive(Default)]
pub struct Acquaintances(Mutex<Remembered>);

/// When there are enough new ones, those from before are forgotten.
#[derive(Default)]
struct Remembered {
    new: HashMap<[u8; 32], PersonId>,
    from_before: HashMap<[u8; 32], PersonId>,
}

impl Acquaintances {
    /// `account`: see [`Tickets::account`](crate::tickets::Tickets::account).
    pub fn remember(&self, account: [u8; 32], person: PersonId) {
        let mut all = self.lock();
        if all.new.len() >= REMEMBERED {
            all.from_before = std::mem::take(&mut all.new);
        }
        all.new.insert(account, person);
    }

    pub fn of(&self, account: &[u8; 32]) -> Option<PersonId> {
        let all = self.lock();
        all.new.get(account).or_else(|| all.from_before.get(account)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: usize) -> [u8; 32] {
        let mut account = [0; 32];
        account[..8].copy_from_slice(&number.to_le_bytes());
        account
    }

    #[test]
    fn the_last_ones_are_remembered_and_no_more_than_there_is_room_for() {
        let all = Acquaintances::default();
        let person = |number: usize| PersonId(uuid::Uuid::from_u128(number as u128));
        for number in 0..REMEMBERED * 3 {
            all.remember(account(number), person(number));
        }
        let known = |number: usize| all.of(&account(number)).is_some();
        assert!((REMEMBERED * 2..REMEMBERED * 3).all(known));
        assert_eq!((0..REMEMBERED * 3).filter(|number| known(*number)).count(), REMEMBERED * 2);
        all.remember(account(1), person(2));
        assert_eq!(all.of(&account(1)), Some(person(2)));
    }
}
