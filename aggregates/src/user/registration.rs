//! How a person comes to be known, and is recognised when the same registration comes again.

use kernel::{PersonId, Personal};
use schemas::events::UserEvent;
use schemas::values::{EmailAddress, PersonName, UserStatus};
use serde::{Deserialize, Serialize};

use super::{User, UserRejection};

/// What a registration says of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub email: Personal<EmailAddress>,
    pub first_name: Option<Personal<PersonName>>,
    pub last_name: Option<Personal<PersonName>>,
}

impl User {
    pub(super) fn register(
        &self,
        person: PersonId,
        asked: Asked,
        verified: bool,
    ) -> Result<Vec<UserEvent>, UserRejection> {
        let Some(user) = self.existing() else {
            let Asked { email, first_name, last_name } = asked;
            let status = if verified { UserStatus::Active } else { UserStatus::Invited };
            return Ok(vec![UserEvent::Registered { person, email, first_name, last_name, status }]);
        };
        let agrees = |wished: &Option<Personal<PersonName>>, then: &Option<_>, now: &Option<_>| {
            wished.is_none() || wished == then || wished == now
        };
        let same = !user.forgotten
            && (asked.email == user.email || asked.email == user.asked.email)
            && agrees(&asked.first_name, &user.asked.first_name, &user.first_name)
            && agrees(&asked.last_name, &user.asked.last_name, &user.last_name);
        if same { Ok(Vec::new()) } else { Err(UserRejection::AlreadyExists) }
    }
}
