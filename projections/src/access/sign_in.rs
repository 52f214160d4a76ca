//! What a person's tenants ask of how they sign in.

use kernel::{PersonId, TenantId};
use schemas::values::{MembershipStatus, PasswordPolicy};

use super::AccessMemory;

impl AccessMemory {
    /// True if a person has a second factor to sign in with.
    pub fn has_second_factor(&self, person: PersonId) -> bool {
        let known = self.read();
        let known = known.people.get(&person);
        known.is_some_and(|(_, person)| person.one_time_codes || !person.passkeys.is_empty())
    }

    /// What a new password of a person's must satisfy: whatever any tenant asks that they actively belong to, or are just
    /// `joining` (FR-AUTH-006). Of a stream that can't be folded any more, what it said last counts.
    pub fn password_policy(&self, person: PersonId, joining: Option<TenantId>) -> PasswordPolicy {
        let known = self.read();
        let memberships = known.of_person.get(&person).into_iter().flatten();
        let memberships = memberships.filter_map(|membership| known.memberships.get(membership));
        let active = memberships.filter(|(_, access)| access.status == MembershipStatus::Active);
        let tenants = active.map(|(_, access)| access.tenant).chain(joining);
        let policies = tenants.filter_map(|tenant| known.tenants.get(&tenant));
        PasswordPolicy::strictest_of(policies.map(|(_, tenant)| tenant.password_policy))
    }
}
