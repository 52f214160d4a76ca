//! A person: one identity in a deployment, whatever tenants they belong to. The e-mail address is a claim: it names one
//! person (REQUIREMENTS §12, ruling 10).

use kernel::{Claim, ClaimChange, Decider, PersonId, Personal, RejectionKind};
use schemas::events::UserEvent;
use schemas::values::{EmailAddress, PersonName, Reason, UserStatus};
use serde::{Deserialize, Serialize};

/// The claim on a person's e-mail address, in lower case.
pub const EMAIL_CLAIM: &str = "user.email";

/// A person, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    existing: Option<Existing>,
}

/// A person who was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Existing {
    pub person: PersonId,
    /// The registration, so that the same wish is known when it comes again.
    pub asked: Asked,
    pub email: Personal<EmailAddress>,
    pub first_name: Option<Personal<PersonName>>,
    pub last_name: Option<Personal<PersonName>>,
    /// Has proved to hold the address.
    pub active: bool,
    pub disabled: bool,
    /// Nothing personal is known any more, and nothing may be wished.
    pub forgotten: bool,
}

/// What a registration says of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub email: Personal<EmailAddress>,
    pub first_name: Option<Personal<PersonName>>,
    pub last_name: Option<Personal<PersonName>>,
}

impl User {
    /// The person, if there is one.
    pub fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }
}

impl Existing {
    pub fn status(&self) -> UserStatus {
        match (self.disabled || self.forgotten, self.active) {
            (true, _) => UserStatus::Disabled,
            (false, true) => UserStatus::Active,
            (false, false) => UserStatus::Invited,
        }
    }

    fn mark<T>(&self, value: T) -> Personal<T> {
        Personal::new(self.person, value)
    }

    fn if_new<T: PartialEq>(&self, wished: Option<T>, current: Option<&Personal<T>>) -> Option<Personal<T>> {
        let current = current.and_then(Personal::reveal);
        wished.filter(|value| current != Some(value)).map(|value| self.mark(value))
    }
}

/// What may be wished of a person.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Whoever is known by this address already is registered, and names that are left out say nothing:
    /// so a person can be invited to a second tenant by address alone.
    Register {
        person: PersonId,
        email: EmailAddress,
        first_name: Option<PersonName>,
        last_name: Option<PersonName>,
        /// An identity provider vouches for the address (FR-SYS-004); else the person is only invited.
        verified: bool,
    },
    /// What is `None` stays.
    UpdateProfile {
        first_name: Option<PersonName>,
        last_name: Option<PersonName>,
    },
    ChangeEmail {
        email: EmailAddress,
    },
    Activate,
    /// FR-TENANT-006, for the whole deployment. Already disabled: so it is, for the first reason.
    Disable {
        reason: Option<Reason>,
    },
    Enable,
    /// CON-COMP-001: erasure. Whatever is personal reads as forgotten, everywhere and for ever.
    Forget,
}

/// Why a person's record refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRejection {
    #[error("there is no such person")]
    NotFound,
    #[error("there is a person with this id, registered differently")]
    AlreadyExists,
    #[error("a disabled person cannot be activated")]
    Disabled,
}

impl kernel::Rejection for UserRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists => RejectionKind::Conflict,
            Self::Disabled => RejectionKind::Rule,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Disabled => "user_disabled",
        }
    }
}

impl Decider for User {
    const TYPE: &'static str = "user";
    const SNAPSHOT_VERSION: u32 = 2;

    type Command = UserCommand;
    type Event = UserEvent;
    type Rejection = UserRejection;

    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserRejection> {
        // Who was forgotten is not there any more, for whatever may be wished.
        let known = || self.existing().filter(|user| !user.forgotten).ok_or(UserRejection::NotFound);
        match command {
            UserCommand::Register { person, email, first_name, last_name, verified } => {
                let asked = Asked {
                    email: Personal::new(person, email),
                    first_name: first_name.map(|name| Personal::new(person, name)),
                    last_name: last_name.map(|name| Personal::new(person, name)),
                };
                self.register(person, asked, verified)
            }
            UserCommand::UpdateProfile { first_name, last_name } => {
                let user = known()?;
                let first_name = user.if_new(first_name, user.first_name.as_ref());
                let last_name = user.if_new(last_name, user.last_name.as_ref());
                let same = first_name.is_none() && last_name.is_none();
                Ok(unless(same, || UserEvent::ProfileUpdated { first_name, last_name }))
            }
            UserCommand::ChangeEmail { email } => {
                let user = known()?;
                let new = user.if_new(Some(email), Some(&user.email));
                Ok(new.map(|email| UserEvent::EmailChanged { email }).into_iter().collect())
            }
            UserCommand::Activate => {
                let user = known()?;
                if user.disabled {
                    return Err(UserRejection::Disabled);
                }
                Ok(unless(user.active, || UserEvent::Activated {}))
            }
            UserCommand::Disable { reason } => {
                let user = known()?;
                let reason = reason.map(|reason| user.mark(reason));
                Ok(unless(user.disabled, || UserEvent::Disabled { reason }))
            }
            UserCommand::Enable => {
                let user = known()?;
                Ok(unless(!user.disabled, || UserEvent::Enabled {}))
            }
            UserCommand::Forget => {
                let user = self.existing().ok_or(UserRejection::NotFound)?;
                Ok(unless(user.forgotten, || UserEvent::SubjectForgotten {}))
            }
        }
    }

    fn evolve(&mut self, event: &UserEvent) {
        if let UserEvent::Registered { person, email, first_name, last_name, status } = event {
            let asked =
                Asked { email: email.clone(), first_name: first_name.clone(), last_name: last_name.clone() };
            self.existing = Some(Existing {
                person: *person,
                email: asked.email.clone(),
                first_name: asked.first_name.clone(),
                last_name: asked.last_name.clone(),
                asked,
                active: *status == UserStatus::Active,
                disabled: *status == UserStatus::Disabled,
                forgotten: false,
            });
        }
        // A stream begins with the registration, so there is nothing that could happen before.
        let Some(user) = self.existing.as_mut() else { return };
        match event {
            UserEvent::Registered { .. } => {}
            UserEvent::ProfileUpdated { first_name, last_name } => {
                if first_name.is_some() {
                    user.first_name.clone_from(first_name);
                }
                if last_name.is_some() {
                    user.last_name.clone_from(last_name);
                }
            }
            UserEvent::EmailChanged { email } => user.email.clone_from(email),
            UserEvent::Activated {} => user.active = true,
            UserEvent::Disabled { reason: _ } => user.disabled = true,
            UserEvent::Enabled {} => user.disabled = false,
            UserEvent::SubjectForgotten {} => {
                let email = Personal::forgotten(user.person);
                user.asked = Asked { email: email.clone(), first_name: None, last_name: None };
                (user.email, user.first_name, user.last_name) = (email, None, None);
                user.forgotten = true;
            }
        }
    }

    fn claims(&self, event: &UserEvent) -> Vec<ClaimChange> {
        let claim =
            |mark: &Personal<EmailAddress>| mark.reveal().map(|it| Claim::new(EMAIL_CLAIM, it.as_str()));
        match event {
            UserEvent::Registered { email, .. } => claim(email).map(ClaimChange::Take).into_iter().collect(),
            UserEvent::EmailChanged { email } => {
                let freed = self.existing().and_then(|user| claim(&user.email)).map(ClaimChange::Free);
                freed.into_iter().chain(claim(email).map(ClaimChange::Take)).collect()
            }
            // The address is free for another person, or for the same one as somebody new.
            UserEvent::SubjectForgotten {} => {
                let freed = self.existing().and_then(|user| claim(&user.email)).map(ClaimChange::Free);
                freed.into_iter().collect()
            }
            UserEvent::ProfileUpdated { .. }
            | UserEvent::Activated {}
            | UserEvent::Disabled { .. }
            | UserEvent::Enabled {} => Vec::new(),
        }
    }
}

impl User {
    fn register(
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

/// Nothing if it is so already, else the one event.
fn unless(already: bool, event: impl FnOnce() -> UserEvent) -> Vec<UserEvent> {
    if already { Vec::new() } else { vec![event()] }
}

#[cfg(test)]
mod tests {
    use kernel::RejectionKind::{Conflict, NotFound, Rule};

    use super::*;
    use crate::testing::{self, Given, id, value};

    fn given(events: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        testing::given(events)
    }

    fn ann() -> PersonId {
        id(2).into()
    }

    fn p<T>(value: T) -> Personal<T> {
        Personal::new(ann(), value)
    }

    fn register(email: &str, first_name: Option<&str>, verified: bool) -> UserCommand {
        UserCommand::Register {
            person: ann(),
            email: value(email),
            first_name: first_name.map(value),
            last_name: None,
            verified,
        }
    }

    fn registered(status: UserStatus) -> UserEvent {
        UserEvent::Registered {
            person: ann(),
            email: p(value("ann@acme.example")),
            first_name: Some(p(value("Ann"))),
            last_name: None,
            status,
        }
    }

    fn renamed() -> UserEvent {
        UserEvent::ProfileUpdated { first_name: Some(p(value("Anna"))), last_name: None }
    }

    fn moved() -> UserEvent {
        UserEvent::EmailChanged { email: p(value("anna@acme.example")) }
    }

    #[test]
    fn a_person_is_registered_as_invited_or_with_a_verified_address_as_active() {
        for (verified, status) in [(false, UserStatus::Invited), (true, UserStatus::Active)] {
            let after = given([])
                .when(register("ann@acme.example", Some("Ann"), verified))
                .then([registered(status)])
                .and_again_nothing()
                .and();
            assert_eq!(after.state().existing().unwrap().status(), status);
        }
    }

    /// CC-DAT-001
    #[test]
    fn who_is_known_by_the_address_is_registered_already() {
        let history = || given([registered(UserStatus::Invited), renamed(), moved()]);
        history().when(register("ann@acme.example", Some("Ann"), false)).then_nothing();
        history().when(register("anna@acme.example", Some("Anna"), false)).then_nothing();
        history().when(register("anna@acme.example", None, false)).then_nothing();
        history().when(register("ben@acme.example", None, false)).then_rejected(Conflict, "already_exists");
        history()
            .when(register("anna@acme.example", Some("Ben"), false))
            .then_rejected(Conflict, "already_exists");
    }

    #[test]
    fn nothing_can_be_wished_of_a_person_who_is_not_there() {
        for command in [
            UserCommand::UpdateProfile { first_name: None, last_name: None },
            UserCommand::ChangeEmail { email: value("ann@acme.example") },
            UserCommand::Activate,
            UserCommand::Disable { reason: None },
            UserCommand::Enable,
        ] {
            given([]).when(command).then_rejected(NotFound, "not_found");
        }
    }

    #[test]
    fn a_profile_update_tells_only_what_changed() {
        given([registered(UserStatus::Active)])
            .when(UserCommand::UpdateProfile { first_name: Some(value("Anna")), last_name: None })
            .then([renamed()])
            .and_again_nothing()
            .and()
            .when(UserCommand::UpdateProfile {
                first_name: Some(value("Anna")),
                last_name: Some(value("Sato")),
            })
            .then([UserEvent::ProfileUpdated { first_name: None, last_name: Some(p(value("Sato"))) }])
            .and_again_nothing();
    }

    #[test]
    fn an_address_is_changed_and_its_claim_goes_along() {
        given([registered(UserStatus::Active)])
            .when(UserCommand::ChangeEmail { email: value("Anna@ACME.example") })
            .then([moved()])
            .and_again_nothing();

        let claim = |email: &str| Claim::new(EMAIL_CLAIM, email);
        let first = User::default().claims(&registered(UserStatus::Active));
        assert_eq!(first, [ClaimChange::Take(claim("ann@acme.example"))]);
        let swapped = given([registered(UserStatus::Active)]).state().claims(&moved());
        assert_eq!(
            swapped,
            [ClaimChange::Free(claim("ann@acme.example")), ClaimChange::Take(claim("anna@acme.example"))]
        );
        assert_eq!(given([registered(UserStatus::Active)]).state().claims(&renamed()), []);
    }

    /// FR-TENANT-006
    #[test]
    fn a_person_is_disabled_and_enabled_and_is_then_what_they_were() {
        let reason = || Some(p(value("left")));
        for (before, status) in [
            (vec![registered(UserStatus::Invited)], UserStatus::Invited),
            (vec![registered(UserStatus::Invited), UserEvent::Activated {}], UserStatus::Active),
        ] {
            let disabled = given(before)
                .when(UserCommand::Disable { reason: Some(value("left")) })
                .then([UserEvent::Disabled { reason: reason() }])
                .and_again_nothing()
                .and()
                .state();
            assert_eq!(disabled.existing().unwrap().status(), UserStatus::Disabled);
            let mut enabled = disabled;
            assert_eq!(enabled.decide(UserCommand::Enable), Ok(vec![UserEvent::Enabled {}]));
            enabled.evolve(&UserEvent::Enabled {});
            assert_eq!(enabled.existing().unwrap().status(), status);
            assert_eq!(enabled.decide(UserCommand::Enable), Ok(vec![]));
        }
    }

    /// CON-COMP-001
    #[test]
    fn a_forgotten_person_is_not_there_any_more_and_gives_the_address_back() {
        let after = given([registered(UserStatus::Active), renamed()])
            .when(UserCommand::Forget)
            .then([UserEvent::SubjectForgotten {}])
            .and_again_nothing()
            .and();
        let state = after.state();
        let user = state.existing().unwrap();
        assert_eq!(
            (user.email.reveal(), user.first_name.as_ref(), user.status()),
            (None, None, UserStatus::Disabled)
        );
        let text = serde_json::to_string(&state).unwrap();
        assert!(!text.contains("ann") && !text.contains("Ann"), "{text}");
        for command in [
            UserCommand::ChangeEmail { email: value("ann@acme.example") },
            UserCommand::Activate,
            UserCommand::Enable,
        ] {
            given([registered(UserStatus::Active), UserEvent::SubjectForgotten {}])
                .when(command)
                .then_rejected(NotFound, "not_found");
        }
        given([registered(UserStatus::Active), UserEvent::SubjectForgotten {}])
            .when(register("ann@acme.example", Some("Ann"), true))
            .then_rejected(Conflict, "already_exists");
        let mut user = User::default();
        user.evolve(&registered(UserStatus::Active));
        let freed = Claim::new(EMAIL_CLAIM, "ann@acme.example");
        assert_eq!(user.claims(&UserEvent::SubjectForgotten {}), [ClaimChange::Free(freed)]);
        given([]).when(UserCommand::Forget).then_rejected(NotFound, "not_found");
    }

    #[test]
    fn an_invited_person_is_activated_but_not_while_disabled() {
        given([registered(UserStatus::Invited)])
            .when(UserCommand::Activate)
            .then([UserEvent::Activated {}])
            .and_again_nothing();
        given([registered(UserStatus::Invited), UserEvent::Disabled { reason: None }])
            .when(UserCommand::Activate)
            .then_rejected(Rule, "user_disabled");
    }
}
