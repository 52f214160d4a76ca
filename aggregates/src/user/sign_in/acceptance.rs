//! Accepting an invitation: the address is proved, and a first password is chosen.

use schemas::events::UserEvent;
use schemas::values::{PasswordChange, PasswordHash, PersonName};

use super::Decided;
use crate::user::{Existing, UserRejection};

impl Existing {
    /// Proves the address, and gives a first password to whoever has none.
    pub(in crate::user) fn accept(
        &self,
        hash: Option<PasswordHash>,
        first_name: Option<PersonName>,
        last_name: Option<PersonName>,
    ) -> Decided {
        let mut events = Vec::new();
        match (hash, self.sign_in.current()) {
            (None, None) => return Err(UserRejection::InvalidCredentials),
            (Some(hash), None) => events.push(UserEvent::PasswordChanged {
                hash: self.mark(hash),
                because: PasswordChange::Accepted,
            }),
            (Some(hash), Some(current)) if hash != *current => return Err(UserRejection::PasswordAlreadySet),
            (_, Some(_)) => {}
        }
        // Whoever is known keeps their name.
        let first_name = first_name.filter(|_| self.first_name.is_none()).map(|name| self.mark(name));
        let last_name = last_name.filter(|_| self.last_name.is_none()).map(|name| self.mark(name));
        if first_name.is_some() || last_name.is_some() {
            events.push(UserEvent::ProfileUpdated { first_name, last_name });
        }
        if !self.active {
            events.push(UserEvent::Activated {});
        }
        Ok(events)
    }
}
