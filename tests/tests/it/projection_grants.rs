//! What members were given: the directory of roles, what grants are worth, and the version that rises with each change.

use engine::projection::MemoryProjection;
use kernel::{Confidential, Envelope, Position, ShardId, StreamId};
use projections::{AccessMemory, RoleDirectory};
use schemas::events::{MembershipEvent, RoleEvent, TenantEvent};
use schemas::values::{AccessMode, MembershipKind, Plan, Role};

use crate::feeds::at;
use crate::projection_world::{
    World, invited, membership, person, provisioned, role, role_created, suspended, tenant, to_membership,
    to_role, to_tenant,
};

/// Tenant 1 on a plan, with member 1, who is person 1, and role 1.
struct Memory {
    access: AccessMemory,
    position: u64,
}

impl Memory {
    fn new(plan: Plan) -> Self {
        let mut memory = Self { access: AccessMemory::new(), position: 0 };
        memory.happens(provisioned(1, "Acme", "acme.example", plan));
        memory.happens(invited(1, 1, 1, Role::User));
        memory.happens(role_created(1, 1, "Readers", &["*:read"]));
        memory
    }

    fn happens(&mut self, envelope: Envelope) {
        self.position += 1;
        self.access.apply(&Envelope { position: Position(self.position), ..envelope }).unwrap();
    }

    fn member(&mut self, event: MembershipEvent) {
        self.happens(to_membership(1, 1, event));
    }

    fn gets_role(&mut self, n: Option<u128>) {
        self.member(MembershipEvent::CustomRoleSet { role: n.map(role) });
    }

    fn gets(&mut self, permission: &str) {
        self.member(MembershipEvent::PermissionGranted { permission: permission.parse().unwrap() });
    }

    fn holds(&self, action: &str) -> bool {
        self.access.was_given(tenant(1), person(1), action)
    }

    fn version(&self) -> u64 {
        self.access.version(tenant(1), membership(1), at(1))
    }
}

#[test]
fn what_a_role_and_a_grant_give_is_held_until_it_is_taken() {
    let mut memory = Memory::new(Plan::Pro);
    assert!(!memory.holds("users:read"));
    memory.gets_role(Some(1));
    assert!(memory.holds("users:read") && !memory.holds("users:invite"));
    memory.gets("users:*");
    assert!(memory.holds("users:invite"));
    memory.member(MembershipEvent::PermissionRevoked { permission: "users:*".parse().unwrap() });
    assert!(!memory.holds("users:invite") && memory.holds("users:read"));
    memory.happens(to_role(
        1,
        1,
        RoleEvent::PermissionsSet { permissions: ["roles:list".parse().unwrap()].into() },
    ));
    assert!(memory.holds("roles:list") && !memory.holds("users:read"));
    memory.happens(to_role(1, 1, RoleEvent::Deleted {}));
    assert!(!memory.holds("roles:list"));
    assert_eq!(memory.access.grants(membership(1)).custom_role, None);
    assert_eq!(memory.access.roles_of(tenant(1)), 0);
    // Another tenant's role gives nothing, whoever wrote so.
    memory.happens(provisioned(2, "Bee", "bee.example", Plan::Pro));
    memory.happens(role_created(2, 2, "Theirs", &["*:*"]));
    memory.gets_role(Some(2));
    assert!(!memory.holds("users:read"));
    assert!(!memory.access.was_given(tenant(2), person(1), "users:read"));
}

#[test]
fn who_is_removed_and_invited_again_begins_with_nothing() {
    let mut memory = Memory::new(Plan::Pro);
    memory.gets("users:read");
    memory.member(MembershipEvent::Removed {});
    assert!(!memory.holds("users:read"));
    let before = memory.version();
    memory.happens(invited(1, 1, 1, Role::User));
    assert!(!memory.holds("users:read"));
    assert!(memory.version() > before, "nobody takes the new membership for the old one");
}

#[test]
fn nobody_holds_what_the_plan_withholds() {
    let mut memory = Memory::new(Plan::Free);
    memory.gets("webhooks:create");
    assert!(!memory.holds("webhooks:create"));
    memory.happens(to_tenant(1, TenantEvent::PlanChanged { from: Plan::Free, to: Plan::Pro }));
    assert!(memory.holds("webhooks:create"));
}

#[test]
fn a_stream_that_cannot_be_folded_gives_nothing() {
    for (kind, id) in [("role", role(1).0), ("membership", membership(1).0), ("tenant", tenant(1).0)] {
        let mut memory = Memory::new(Plan::Pro);
        memory.gets_role(Some(1));
        assert!(memory.holds("users:read"));
        let before = memory.version();
        assert!(memory.access.close(ShardId(0), &StreamId::new(kind, id)));
        assert!(!memory.holds("users:read"), "{kind}");
        assert!(kind != "role" || memory.version() > before);
        // Folded anew, nothing of it is left over.
        memory.access.reset(ShardId(0));
        assert_eq!((memory.version(), memory.access.roles_of(tenant(1))), (0, 0));
        assert_eq!(memory.access.plan(tenant(1)), None);
    }
}

/// REQUIREMENTS §4: cached by version, and invalidated by any change that matters.
#[test]
fn the_version_rises_with_every_change_that_matters_and_with_no_other() {
    let mut memory = Memory::new(Plan::Free);
    let permission = || "users:read".parse().unwrap();
    let all = [
        to_membership(1, 1, MembershipEvent::Accepted {}),
        to_membership(1, 1, MembershipEvent::CustomRoleSet { role: Some(role(1)) }),
        to_membership(1, 1, MembershipEvent::PermissionGranted { permission: permission() }),
        to_membership(1, 1, MembershipEvent::PermissionRevoked { permission: permission() }),
        to_membership(1, 1, MembershipEvent::ModuleGranted { module: "webhooks".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::ModuleRevoked { module: "webhooks".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::DelegationChanged { may_grant: [permission()].into() }),
        to_membership(1, 1, MembershipEvent::RoleChanged { from: Role::User, to: Role::Administrator }),
        to_membership(
            1,
            1,
            MembershipEvent::KindChanged { from: MembershipKind::Staff, to: MembershipKind::Client },
        ),
        to_membership(1, 1, MembershipEvent::Disabled {}),
        to_membership(1, 1, MembershipEvent::Enabled {}),
        to_role(1, 1, RoleEvent::PermissionsSet { permissions: [permission()].into() }),
        role_created(2, 1, "Second", &["*:*"]),
        to_membership(1, 1, MembershipEvent::CustomRoleSet { role: Some(role(2)) }),
        to_role(2, 1, RoleEvent::Deleted {}),
        to_membership(1, 1, MembershipEvent::CustomRoleSet { role: Some(role(1)) }),
        to_tenant(1, TenantEvent::PlanChanged { from: Plan::Free, to: Plan::Pro }),
        to_tenant(1, TenantEvent::AccessModeSet { mode: AccessMode::ReadOnly }),
        suspended(1, "unpaid"),
        to_tenant(1, TenantEvent::Reactivated { reason: None }),
        // A trial that is over, one that goes on, and none.
        to_tenant(1, TenantEvent::TrialSet { ends_at: Some(at(0)) }),
        to_tenant(1, TenantEvent::TrialSet { ends_at: Some(at(1_000)) }),
        to_tenant(1, TenantEvent::TrialSet { ends_at: Some(at(1)) }),
        to_tenant(1, TenantEvent::TrialSet { ends_at: None }),
    ];
    for envelope in all {
        let (before, what) = (memory.version(), envelope.event_type.clone());
        memory.happens(envelope);
        assert!(memory.version() > before, "{what}: {before} became {}", memory.version());
    }
    let before = memory.version();
    let name = Some(Confidential::new(tenant(1), "Renamed".parse().unwrap()));
    memory.happens(to_role(1, 1, RoleEvent::Updated { name, description: None }));
    memory.happens(to_tenant(1, TenantEvent::FlagCleared { key: "theme".parse().unwrap() }));
    memory.member(MembershipEvent::Resent { expires_at: at(2_000), token_hash: None });
    assert_eq!(memory.version(), before);
    // What happens in another tenant, or to another member, is not theirs.
    memory.happens(provisioned(2, "Bee", "bee.example", Plan::Pro));
    memory.happens(role_created(3, 2, "Theirs", &["*:*"]));
    memory.happens(invited(2, 1, 2, Role::User));
    assert_eq!(memory.version(), before);
}

/// The end of a trial is no event, and changes the mode all the same.
#[test]
fn the_version_rises_when_a_trial_ends() {
    let mut memory = Memory::new(Plan::Free);
    memory.happens(to_tenant(1, TenantEvent::TrialSet { ends_at: Some(at(10)) }));
    let version = |now| memory.access.version(tenant(1), membership(1), at(now));
    assert_eq!(version(9), version(1));
    assert!(version(10) > version(9));
}

#[tokio::test]
async fn the_directory_shows_a_tenants_roles_and_forgets_those_of_one_that_is_purged() {
    let world = World::new().await;
    let renamed = RoleEvent::Updated {
        name: Some(Confidential::new(tenant(1), "Accountants".parse().unwrap())),
        description: Some(Confidential::new(tenant(1), "They count".parse().unwrap())),
    };
    world
        .happens([
            role_created(1, 1, "Bookkeepers", &["finance.*"]),
            to_role(1, 1, renamed),
            to_role(1, 1, RoleEvent::PermissionsSet { permissions: ["a:b".parse().unwrap()].into() }),
            role_created(2, 1, "Gone", &[]),
            to_role(2, 1, RoleEvent::Deleted {}),
            provisioned(2, "Bee", "bee.example", Plan::Pro),
            role_created(3, 2, "Bees", &["*:*"]),
        ])
        .await;
    let client = world.client().await;
    let all = async |n: u128| {
        let query = RoleDirectory::LIST.query([], None, None, None).unwrap();
        RoleDirectory::list(&client, tenant(n), &query).await.unwrap().rows
    };
    let [row] = &all(1).await[..] else { panic!("one is left") };
    assert_eq!((row.name.as_str(), row.description.as_deref()), ("Accountants", Some("They count")));
    assert_eq!(row.permissions, ["a:b".parse().unwrap()].into());
    assert_eq!(row.sequence, 3);
    assert!(RoleDirectory::get(&client, tenant(1), role(2)).await.unwrap().is_none(), "it is deleted");
    assert!(RoleDirectory::get(&client, tenant(1), role(3)).await.unwrap().is_none(), "it is another's");
    assert_eq!(all(2).await.len(), 1);
    world.happens([to_tenant(2, TenantEvent::Purged {})]).await;
    let text = client.query_one("SELECT string_agg(r::text, '') FROM read_model.role_directory_v1 AS r", &[]);
    let text: String = text.await.unwrap().get(0);
    assert!(!text.contains("Bees") && text.contains("Accountants"), "{text}");
}
