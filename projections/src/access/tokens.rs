//! Personal access tokens, as a request's check asks for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kernel::{Envelope, PersonId, Position, ShardId, TenantId, TokenId};
use schemas::events::UserEvent;
use schemas::values::{MembershipStatus, Permission, SecretHash};

use super::{AccessMemory, Known};

/// A token that was issued and not revoked. Whoever asks compares the hash and the expiry, and asks whether what it rests
/// on stands: as of a session, whatever ended sessions since it began ended it too.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenAccess {
    pub person: PersonId,
    /// The only tenant that it is for.
    pub tenant: TenantId,
    pub hash: SecretHash,
    pub permissions: Arc<BTreeSet<Permission>>,
    /// The session that it was issued in had shown a second factor.
    pub second_factor: bool,
    /// Where in the journal it begins.
    pub began_at: Position,
    pub expires_at: DateTime<Utc>,
}

impl TokenAccess {
    /// True if it opens anything at `now`, as far as it says itself.
    pub fn is_usable(&self, now: DateTime<Utc>) -> bool {
        now < self.expires_at
    }
}

/// Folds tokens. Of a person there are as many as the aggregate allows, and those that ended or expired since the last was
/// issued.
#[derive(Debug, Default)]
pub(super) struct TokenBook {
    tokens: HashMap<TokenId, (ShardId, TokenAccess)>,
    of_person: HashMap<PersonId, BTreeSet<TokenId>>,
}

impl TokenBook {
    /// `ended_at`: what began before has ended, as far as the person is concerned.
    pub(super) fn fold(
        &mut self,
        envelope: &Envelope,
        person: PersonId,
        ended_at: Position,
        event: &UserEvent,
    ) {
        if let UserEvent::TokenIssued {
            token,
            tenant,
            permissions,
            hash,
            second_factor,
            expires_at,
            name: _,
            at,
        } = event
        {
            let Self { tokens, of_person } = self;
            let own = of_person.entry(person).or_default();
            own.retain(|id| {
                let goes_on = tokens
                    .get(id)
                    .is_some_and(|(_, token)| token.is_usable(*at) && token.began_at >= ended_at);
                if !goes_on {
                    tokens.remove(id);
                }
                goes_on
            });
            own.insert(*token);
            let access = TokenAccess {
                person,
                tenant: *tenant,
                hash: hash.clone(),
                permissions: Arc::new(permissions.clone()),
                second_factor: *second_factor,
                began_at: envelope.position,
                expires_at: *expires_at,
            };
            tokens.insert(*token, (envelope.shard, access));
        } else if let UserEvent::TokenRevoked { token } = event {
            self.tokens.remove(token);
            if let Some(own) = self.of_person.get_mut(&person) {
                own.remove(token);
            }
        }
    }

    pub(super) fn reset(&mut self, shard: ShardId) {
        let Self { tokens, of_person } = self;
        tokens.retain(|_, (of, _)| *of != shard);
        of_person.retain(|_, own| {
            own.retain(|token| tokens.contains_key(token));
            !own.is_empty()
        });
    }
}

impl Known {
    pub(super) fn person_stands(&self, person: PersonId, began_at: Position) -> bool {
        self.people.get(&person).is_none_or(|(_, person)| began_at >= person.ended_at)
    }
}

impl AccessMemory {
    /// A token that was issued and not revoked; it may have expired, and what it rests on may have ended.
    pub fn token(&self, token: TokenId) -> Option<TokenAccess> {
        self.read().tokens.tokens.get(&token).map(|(_, access)| access.clone())
    }

    /// True if nothing has ended, as far as the person is concerned, what began at a place in the journal.
    pub fn person_stands(&self, person: PersonId, began_at: Position) -> bool {
        self.read().person_stands(person, began_at)
    }

    /// True if a tenant, or the person's membership in it, has ended what a token could do. One that is not known here ended
    /// nothing.
    pub fn token_has_ended(&self, token: TokenId) -> bool {
        let Some(token) = self.token(token) else { return false };
        let tenant = self.tenant(token.tenant);
        let member = self.membership(token.tenant, token.person);
        let stands = tenant.is_some_and(|tenant| token.began_at >= tenant.ended_at)
            && member.is_some_and(|member| {
                member.status == MembershipStatus::Active && token.began_at >= member.ended_at
            });
        !stands
    }
}
