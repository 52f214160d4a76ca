//! By which of the tenant's OpenID providers a member is known, and as whom (FR-AUTH-003).
//!
//! It belongs to the membership and not to the person: whom a provider vouches for is its tenant's affair, and opens nothing
//! in another tenant.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kernel::{Claim, ClaimChange, PersonId, SsoProviderId, TenantId};
use schemas::events::MembershipEvent;
use schemas::values::{MembershipKind, Role, SecretHash};
use serde::{Deserialize, Serialize};

use super::{Membership, MembershipRejection};

/// The claim on what a provider calls somebody: one member's in the whole deployment. Its value is a keyed hash of tenant,
/// issuer, client and subject.
pub const SSO_CLAIM: &str = "membership.sso";

/// As whom providers know a member: keyed hashes, so that it can be freed when the member's name is forgotten already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SsoLinks(BTreeMap<SsoProviderId, SecretHash>);

/// Somebody whom a provider of the tenant's vouched for.
#[derive(Clone, Debug)]
pub struct LinkSso {
    pub tenant: TenantId,
    pub person: PersonId,
    pub provider: SsoProviderId,
    pub identity: SecretHash,
    /// Whoever never was a member becomes one.
    pub provision: bool,
    pub now: DateTime<Utc>,
}

impl SsoLinks {
    /// True if a provider of the tenant's knows the member so.
    pub fn knows(&self, identity: &SecretHash) -> bool {
        self.0.values().any(|known| known == identity)
    }

    pub(super) fn linked(&mut self, provider: SsoProviderId, identity: &SecretHash) {
        self.0.insert(provider, identity.clone());
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn freed(&self) -> Vec<ClaimChange> {
        self.0.values().map(|identity| ClaimChange::Free(claim(identity))).collect()
    }
}

/// The claim on an identity.
pub fn claim(identity: &SecretHash) -> Claim {
    Claim::new(SSO_CLAIM, identity.as_str())
}

impl Membership {
    /// An invitation is accepted by it: the provider vouches for the address that it was sent to. Whoever was removed is
    /// invited again, or stays away.
    pub(super) fn link_sso(&self, wish: LinkSso) -> Result<Vec<MembershipEvent>, MembershipRejection> {
        let LinkSso { tenant, person, provider, identity, provision, now } = wish;
        let mut events = Vec::new();
        match self.existing() {
            Some(known) if known.removed => return Err(MembershipRejection::NotFound),
            Some(known) if known.disabled => return Err(MembershipRejection::Disabled),
            Some(known) if known.sso.knows(&identity) => return Ok(Vec::new()),
            Some(known) if known.sso.0.contains_key(&provider) => {
                return Err(MembershipRejection::LinkedOtherwise);
            }
            Some(known) if known.accepted => {}
            Some(known) if known.invitation.expires_at <= now => {
                let expired_at = known.invitation.expires_at;
                return Err(MembershipRejection::InvitationExpired { expired_at });
            }
            Some(_) => events.push(MembershipEvent::Accepted {}),
            None if provision => events.extend([
                MembershipEvent::Invited {
                    tenant,
                    person,
                    role: Role::User,
                    kind: MembershipKind::Staff,
                    expires_at: now,
                    token_hash: None,
                },
                MembershipEvent::Accepted {},
            ]),
            None => return Err(MembershipRejection::NotFound),
        }
        events.push(MembershipEvent::SsoLinked { provider, identity });
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use kernel::RejectionKind::{Conflict, NotFound, Rule};

    use super::*;
    use crate::MembershipCommand;
    use crate::testing::{self, DAY, Given, at, id};

    fn given(events: impl IntoIterator<Item = MembershipEvent>) -> Given<Membership> {
        testing::given(events)
    }

    fn identity(digit: char) -> SecretHash {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn link(provider: u128, digit: char) -> LinkSso {
        LinkSso {
            tenant: id(1).into(),
            person: id(2).into(),
            provider: id(provider).into(),
            identity: identity(digit),
            provision: false,
            now: at(0),
        }
    }

    fn wish(provider: u128, digit: char) -> MembershipCommand {
        MembershipCommand::LinkSso(link(provider, digit))
    }

    fn provisioned() -> MembershipCommand {
        MembershipCommand::LinkSso(LinkSso { provision: true, ..link(7, 'a') })
    }

    fn invited(expires_at: i64) -> MembershipEvent {
        MembershipEvent::Invited {
            tenant: id(1).into(),
            person: id(2).into(),
            role: Role::User,
            kind: MembershipKind::Staff,
            expires_at: at(expires_at),
            token_hash: None,
        }
    }

    fn linked(provider: u128, digit: char) -> MembershipEvent {
        MembershipEvent::SsoLinked { provider: id(provider).into(), identity: identity(digit) }
    }

    #[test]
    fn a_member_is_linked_once_and_to_no_second_subject_of_the_same_provider() {
        let member = || [invited(DAY), MembershipEvent::Accepted {}];
        given(member()).when(wish(7, 'a')).then([linked(7, 'a')]).and_again_nothing();
        let known = || member().into_iter().chain([linked(7, 'a')]);
        given(known()).when(wish(7, 'b')).then_rejected(Conflict, "sso_linked_otherwise");
        given(known()).when(wish(8, 'b')).then([linked(8, 'b')]);
        // The same issuer and client, configured anew, know them as before.
        given(known()).when(wish(8, 'a')).then_nothing();
    }

    #[test]
    fn an_invitation_that_stands_is_accepted_by_it_and_one_that_lapsed_is_not() {
        given([invited(DAY)]).when(wish(7, 'a')).then([MembershipEvent::Accepted {}, linked(7, 'a')]);
        given([invited(0)]).when(wish(7, 'a')).then_rejected(Rule, "invitation_expired");
        let disabled = [invited(DAY), MembershipEvent::Accepted {}, MembershipEvent::Disabled {}];
        given(disabled).when(wish(7, 'a')).then_rejected(Rule, "membership_disabled");
    }

    #[test]
    fn whoever_never_was_a_member_becomes_one_where_that_is_wished_and_nobody_who_was_removed() {
        given([]).when(wish(7, 'a')).then_rejected(NotFound, "not_found");
        let made = [invited(0), MembershipEvent::Accepted {}, linked(7, 'a')];
        given([]).when(provisioned()).then(made).and_again_nothing();
        let removed =
            [invited(DAY), MembershipEvent::Accepted {}, linked(7, 'a'), MembershipEvent::Removed {}];
        given(removed).when(provisioned()).then_rejected(NotFound, "not_found");
    }

    #[test]
    fn what_a_provider_calls_a_member_is_theirs_until_they_are_removed() {
        use kernel::Decider as _;
        let member = given([invited(DAY), MembershipEvent::Accepted {}]).state();
        assert_eq!(member.claims(&linked(7, 'a')), [ClaimChange::Take(claim(&identity('a')))]);
        let both = [invited(DAY), MembershipEvent::Accepted {}, linked(7, 'a'), linked(8, 'b')];
        let freed = ['a', 'b'].map(|digit| ClaimChange::Free(claim(&identity(digit))));
        assert_eq!(given(both).state().claims(&MembershipEvent::Removed {}), freed);
    }
}
