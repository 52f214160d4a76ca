//! What each read model shows after what happened.

use engine::projection::{MemoryProjection, RebuildSettings, dead_letters, verify};
use kernel::{Confidential, Envelope, Personal, Position};
use projections::{
    AccessMemory, ApplicationDirectory, FlagMemory, KeyStatus, MembershipDirectory, Scope,
    TenantApplications, TenantDirectory, TenantRow, UserDirectory,
};
use schemas::events::{ApplicationEvent, MembershipEvent, OwnershipLoss, RoleEvent, TenantEvent, UserEvent};
use schemas::values::{
    AccessMode, ApplicationStatus, FlagValue, MembershipKind, MembershipStatus, PasswordPolicy, Plan,
    ProvisioningStatus, ProvisioningStep, Role, TenantStatus, UserStatus,
};
use serde_json::json;

use crate::feeds::{at, eventually};
use crate::projection_world::{
    World, app_registered, application, flag_set, from_fixture, invited, key, key_issued, membership, person,
    provisioned, registered, role, role_created, sso_linked, suspended, tenant, to_application,
    to_membership, to_role, to_tenant, to_user,
};

fn long_passwords() -> PasswordPolicy {
    PasswordPolicy { length_min: 20.try_into().unwrap(), ..PasswordPolicy::DEFAULT }
}

/// Everything that can happen, in an order in which it can.
pub fn a_full_history() -> Vec<Envelope> {
    let t = tenant(1);
    let begun = vec![
        provisioned(1, "Acme", "acme.example", Plan::Free),
        registered(1, "ann@acme.example", "Archer"),
        invited(1, 1, 1, Role::Owner),
        to_tenant(1, TenantEvent::OwnerAdded { person: person(1), membership: membership(1) }),
        flag_set(1, "plan.sso", FlagValue::Boolean(false)),
        flag_set(1, "theme", FlagValue::string("dark").unwrap()),
        app_registered(1, "Portal"),
        key_issued(1, 1),
        key_issued(1, 2),
        to_tenant(1, TenantEvent::ApplicationConnected { application: application(1) }),
        to_tenant(1, TenantEvent::ProvisioningCompleted {}),
        to_tenant(
            1,
            TenantEvent::Updated {
                name: Some(Confidential::new(t, "Acme GmbH".parse().unwrap())),
                slug: None,
                domain: None,
                settings: Some(Confidential::new(t, json!({"locale": "de", "n": 1.5}).try_into().unwrap())),
            },
        ),
        suspended(1, "unpaid"),
        to_tenant(1, TenantEvent::TrialSet { ends_at: None }),
        to_tenant(1, TenantEvent::Reactivated { reason: None }),
        to_tenant(1, TenantEvent::PlanChanged { from: Plan::Free, to: Plan::Pro }),
        to_tenant(1, TenantEvent::AccessModeSet { mode: AccessMode::ReadOnly }),
        flag_set(1, "plan.sso", FlagValue::Boolean(true)),
        to_tenant(1, TenantEvent::FlagCleared { key: "theme".parse().unwrap() }),
        flag_set(1, "limits", FlagValue::json(json!({"seats": [1, 2]})).unwrap()),
        to_user(1, UserEvent::Disabled { reason: None }),
        to_user(1, UserEvent::Enabled {}),
        to_user(1, UserEvent::Activated {}),
        to_user(
            1,
            UserEvent::ProfileUpdated {
                first_name: None,
                last_name: Some(Personal::new(person(1), "Baker".parse().unwrap())),
            },
        ),
        to_user(
            1,
            UserEvent::EmailChanged { email: Personal::new(person(1), "anna@acme.example".parse().unwrap()) },
        ),
        to_membership(1, 1, MembershipEvent::Resent { expires_at: at(9_500_000), token_hash: None }),
        to_membership(1, 1, MembershipEvent::Accepted {}),
        to_membership(1, 1, MembershipEvent::RoleChanged { from: Role::Owner, to: Role::Administrator }),
        to_membership(
            1,
            1,
            MembershipEvent::KindChanged { from: MembershipKind::Staff, to: MembershipKind::Client },
        ),
        to_membership(1, 1, MembershipEvent::SecurityChanged { mfa_required: true }),
        to_membership(1, 1, sso_linked()),
        to_membership(1, 1, MembershipEvent::Disabled {}),
        to_membership(1, 1, MembershipEvent::Enabled {}),
        to_tenant(
            1,
            TenantEvent::OwnerRemoved {
                person: person(1),
                membership: membership(1),
                because: OwnershipLoss::Downgraded { to: Role::Administrator },
            },
        ),
        to_application(
            1,
            ApplicationEvent::Updated {
                name: Some("Portal 2".parse().unwrap()),
                owner: None,
                redirect_uris: None,
            },
        ),
        to_application(
            1,
            ApplicationEvent::KeyRotated { key: key(1), successor: key(2), expires_at: crate::feeds::at(9) },
        ),
        to_application(1, ApplicationEvent::KeyRevoked { key: key(1) }),
        to_application(1, ApplicationEvent::Disabled {}),
        to_application(1, ApplicationEvent::Enabled {}),
        role_created(1, 1, "Bookkeepers", &["finance.*"]),
        to_role(
            1,
            1,
            RoleEvent::Updated {
                name: Some(Confidential::new(t, "Books".parse().unwrap())),
                description: None,
            },
        ),
        to_role(1, 1, RoleEvent::PermissionsSet { permissions: ["users:read".parse().unwrap()].into() }),
        role_created(2, 1, "Gone", &[]),
        to_role(2, 1, RoleEvent::Deleted {}),
        to_membership(1, 1, MembershipEvent::CustomRoleSet { role: Some(role(1)) }),
        to_membership(1, 1, MembershipEvent::PermissionGranted { permission: "a:b".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::PermissionGranted { permission: "c:d".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::PermissionRevoked { permission: "c:d".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::ModuleGranted { module: "webhooks".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::ModuleGranted { module: "sso".parse().unwrap() }),
        to_membership(1, 1, MembershipEvent::ModuleRevoked { module: "sso".parse().unwrap() }),
        to_membership(
            1,
            1,
            MembershipEvent::DelegationChanged { may_grant: ["a:*".parse().unwrap()].into() },
        ),
        provisioned(2, "Bee", "bee.example", Plan::Pro),
        to_tenant(
            2,
            TenantEvent::ProvisioningFailed {
                step: ProvisioningStep::InviteOwner,
                reason: "already_exists".parse().unwrap(),
            },
        ),
        to_tenant(2, TenantEvent::ApplicationConnected { application: application(1) }),
        to_tenant(2, TenantEvent::ApplicationDisconnected { application: application(1) }),
        invited(2, 2, 1, Role::User),
        to_membership(2, 2, MembershipEvent::Removed {}),
        registered(2, "bob@bee.example", "Brewer"),
    ];
    let went_on = vec![
        to_user(2, UserEvent::SubjectForgotten {}),
        to_tenant(2, TenantEvent::PasswordPolicyChanged { policy: long_passwords() }),
        to_tenant(2, TenantEvent::SecurityChanged { mfa_required: true }),
        to_tenant(2, from_fixture("SsoConfigured")),
        to_tenant(2, from_fixture("SsoUpdated")),
        role_created(3, 2, "Bees", &["*:*"]),
        to_tenant(2, TenantEvent::Registered {}),
        to_tenant(2, TenantEvent::Verified {}),
        to_tenant(2, from_fixture("SsoRemoved")),
        to_tenant(2, TenantEvent::Purged {}),
    ];
    [begun, signing_in(), went_on].concat()
}

/// UC-PROV-001
#[tokio::test]
async fn the_tenant_directory_shows_a_tenant_as_it_is_now() {
    let world = World::new().await;
    world.happens(a_full_history()).await;
    let row =
        TenantDirectory::get(&*world.client().await, Scope::Platform, tenant(1)).await.unwrap().unwrap();
    assert_eq!(row.name.as_deref(), Some("Acme GmbH"));
    assert_eq!(row.domain.as_deref(), Some("acme.example"));
    assert_eq!(
        (row.plan, row.status, row.access_mode),
        (Plan::Pro, TenantStatus::Active, AccessMode::ReadOnly)
    );
    assert_eq!((row.trial_ends_at, row.suspension_reason), (None, None));
    assert_eq!(row.settings.unwrap().as_object()["locale"], "de");
    assert_eq!(row.provisioning_status, ProvisioningStatus::Completed);
    assert!(row.owners.is_empty());
    assert_eq!(row.applications, [application(1)]);
    assert_eq!((row.created_at, row.created_by.as_str()), (at(1), "operator-1"));
    assert_eq!(row.updated_at, at(34));
    assert_eq!(row.revision, 11, "what happened to it but for its flags, for If-Match");

    let failed =
        TenantDirectory::get(&*world.client().await, Scope::Platform, tenant(2)).await.unwrap().unwrap();
    assert_eq!(failed.provisioning_failed_step, Some(ProvisioningStep::InviteOwner));
    assert_eq!(failed.provisioning_failed_reason.as_deref(), Some("already_exists"));
}

/// FR-OPS-001
#[tokio::test]
async fn a_tenant_that_is_reactivated_in_its_trial_is_in_its_trial_again() {
    let world = World::new().await;
    world.happens([provisioned(1, "Acme", "acme.example", Plan::Free), suspended(1, "unpaid")]).await;
    let client = world.client().await;
    let row = TenantDirectory::get(&client, Scope::Platform, tenant(1)).await.unwrap().unwrap();
    assert_eq!((row.status, row.suspension_reason.as_deref()), (TenantStatus::Suspended, Some("unpaid")));
    world.happens([to_tenant(1, TenantEvent::Reactivated { reason: None })]).await;
    let row = TenantDirectory::get(&client, Scope::Platform, tenant(1)).await.unwrap().unwrap();
    assert_eq!(row.status, TenantStatus::Trial);
}

/// Whoever sets flags is in nobody's way who changes their tenant (`If-Match`).
#[tokio::test]
async fn a_flag_leaves_its_tenant_s_row_as_it_was() {
    let world = World::new().await;
    world.happens([1, 2].map(|n| provisioned(n, &format!("T{n}"), "t.example", Plan::Free))).await;
    let client = world.client().await;
    let row = async |n| TenantDirectory::get(&client, Scope::Platform, tenant(n)).await.unwrap().unwrap();
    let (first, second) = (row(1).await, row(2).await);
    let flag = |n| flag_set(n, "theme", FlagValue::Boolean(false));
    let cleared = to_tenant(1, TenantEvent::FlagCleared { key: "theme".parse().unwrap() });
    // The second's own row changes in the same batch.
    let changed = to_tenant(2, TenantEvent::PlanChanged { from: Plan::Free, to: Plan::Pro });
    world.happens([flag(1), flag(2), cleared, changed, flag(2)]).await;
    assert_eq!(row(1).await, first);
    assert_eq!(row(2).await, TenantRow { plan: Plan::Pro, updated_at: at(6), revision: 2, ..second });
}

#[tokio::test]
async fn what_happens_to_a_tenant_that_is_not_there_is_parked_and_its_neighbours_are_not() {
    let world = World::new().await;
    world.happens([provisioned(1, "Acme", "acme.example", Plan::Free)]).await;
    let trial = |n| to_tenant(n, TenantEvent::TrialSet { ends_at: None });
    world.happens([trial(1), trial(9), trial(1)]).await;
    let letters = dead_letters(&world.db.server, &TenantDirectory).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.position).collect::<Vec<_>>(), [Position(3)]);
    let client = world.client().await;
    let row = TenantDirectory::get(&client, Scope::Platform, tenant(1)).await.unwrap().unwrap();
    assert_eq!((row.revision, row.updated_at), (3, at(4)));
}

#[tokio::test]
async fn people_and_memberships_show_their_status_and_each_other() {
    let world = World::new().await;
    world.happens(a_full_history()).await;
    let client = world.client().await;
    let user = UserDirectory::get(&client, Scope::Platform, person(1)).await.unwrap().unwrap();
    assert_eq!((user.status, user.verified), (UserStatus::Active, true));
    assert_eq!(
        (user.email.as_deref(), user.last_name.as_deref()),
        (Some("anna@acme.example"), Some("Baker"))
    );

    let member = MembershipDirectory::get(&client, Scope::Platform, membership(1)).await.unwrap().unwrap();
    assert_eq!((member.role, member.kind), (Role::Administrator, MembershipKind::Client));
    assert_eq!((member.status, member.invitation_expires_at), (MembershipStatus::Active, None));
    assert_eq!(member.email.as_deref(), Some("anna@acme.example"));
    assert_eq!(member.person_status, Some(UserStatus::Active));
    let same = MembershipDirectory::of_person(&client, tenant(1), person(1)).await.unwrap();
    assert_eq!(same, Some(member));
}

/// FR-TENANT-006
#[tokio::test]
async fn an_invitation_that_is_disabled_and_enabled_is_an_invitation_again() {
    let world = World::new().await;
    world
        .happens([
            registered(1, "ann@acme.example", "Archer"),
            invited(1, 1, 1, Role::User),
            to_membership(1, 1, MembershipEvent::Disabled {}),
            to_membership(1, 1, MembershipEvent::Enabled {}),
            to_user(1, UserEvent::Disabled { reason: None }),
            to_user(1, UserEvent::Enabled {}),
        ])
        .await;
    let client = world.client().await;
    let member = MembershipDirectory::get(&client, Scope::Platform, membership(1)).await.unwrap().unwrap();
    assert_eq!(member.status, MembershipStatus::Invited);
    let user = UserDirectory::get(&client, Scope::Platform, person(1)).await.unwrap().unwrap();
    assert_eq!(user.status, UserStatus::Invited);
}

/// FR-SYS-001, FR-SYS-002
#[tokio::test]
async fn applications_and_keys_are_shown_without_anything_secret() {
    let world = World::new().await;
    world.happens(a_full_history()).await;
    let client = world.client().await;
    let row = ApplicationDirectory::get(&client, Scope::Platform, application(1)).await.unwrap().unwrap();
    assert_eq!((row.name.as_str(), row.status), ("Portal 2", ApplicationStatus::Active));
    assert_eq!(row.redirect_uris, ["https://app.example/back"]);
    assert_eq!(row.sequence, 8);
    let revoked = ApplicationDirectory::key(&client, application(1), key(1)).await.unwrap().unwrap();
    assert_eq!((revoked.status, revoked.revoked_at), (KeyStatus::Revoked, Some(at(37))));
    assert_eq!(revoked.expires_at, Some(at(9)), "it was rotated before");
    let query = ApplicationDirectory::KEYS.query([("status", "eq", "active")], None, None, None).unwrap();
    let keys = ApplicationDirectory::keys(&client, application(1), &query).await.unwrap().rows;
    assert_eq!(keys.iter().map(|row| row.id).collect::<Vec<_>>(), [key(2)]);
    assert_eq!(ApplicationDirectory::key(&client, application(2), key(1)).await.unwrap(), None);
    let everything = "SELECT coalesce(string_agg(t::text, ''), '') FROM read_model.application_keys_v1 AS t";
    let everything: String = client.query_one(everything, &[]).await.unwrap().get(0);
    assert!(!everything.contains(&"ab".repeat(32)), "the secret's hash is in no table");
}

#[tokio::test]
async fn a_tenant_s_applications_are_those_that_it_is_connected_to_now() {
    let world = World::new().await;
    world.happens(a_full_history()).await;
    let client = world.client().await;
    assert_eq!(TenantApplications::of(&client, tenant(1)).await.unwrap(), [application(1)]);
    assert!(TenantApplications::of(&client, tenant(2)).await.unwrap().is_empty());
    let connected = |n| to_tenant(1, TenantEvent::ApplicationConnected { application: application(n) });
    let parted = |n| to_tenant(1, TenantEvent::ApplicationDisconnected { application: application(n) });
    world.happens([connected(2), parted(1), connected(3), parted(3), parted(2), connected(2)]).await;
    assert_eq!(TenantApplications::of(&client, tenant(1)).await.unwrap(), [application(2)]);
}

/// REQUIREMENTS §1.4: replaying from zero gives exactly the state that live processing gave, however it is cut.
#[tokio::test]
async fn every_read_model_is_the_same_when_it_is_folded_one_event_at_a_time() {
    let world = World::new().await;
    // Live: the whole history in one batch. Scratch: each event in a batch of its own.
    world.happens(a_full_history()).await;
    world.is_refused([crate::projection_world::refused(1, Some(1), "tenants:suspend")]).await;
    let one = RebuildSettings { batch_events: 1, ..RebuildSettings::default() };
    for projection in projections::all() {
        let verified = verify(&world.db.owner, &world.feeds, &*projection, one, &|_| {}).await.unwrap();
        assert!(verified.comparison.is_equal(), "{}: {:?}", projection.name(), verified.comparison.tables);
        let rows: u64 = verified.comparison.tables.iter().map(|table| table.rows_serving).sum();
        assert!(rows > 0, "{} has rows to compare", projection.name());
        assert_eq!(verified.comparison.dead_letters_serving, 0, "{}", projection.name());
    }
}

#[test]
fn every_event_that_was_promised_to_disk_is_understood_by_the_memory_projections() {
    let (access, flags) = (AccessMemory::new(), FlagMemory::new());
    for (index, envelope) in a_full_history().into_iter().enumerate() {
        let envelope = Envelope { position: Position(index as u64 + 1), ..envelope };
        access.apply(&envelope).unwrap();
        if envelope.stream.aggregate_type == "tenant" {
            flags.apply(&envelope).unwrap();
        }
    }
    let now = at(1);
    let usable = access.key(key(2)).unwrap();
    assert!(usable.is_usable(now) && !access.key(key(1)).unwrap().is_usable(now));
    assert_eq!(access.key(key(3)), None);
    assert!(access.application_is_active(application(1)));
    let bee = access.tenant(tenant(2)).unwrap();
    assert_eq!((bee.password_policy, bee.mfa_required), (long_passwords(), true));
    let of = access.tenant(tenant(1)).unwrap();
    assert_eq!(
        (of.status(), of.effective(MembershipKind::Staff, now)),
        (TenantStatus::Active, AccessMode::ReadOnly)
    );
    assert_eq!(access.person(person(1)), Some(UserStatus::Active));
    let member = access.membership(tenant(1), person(1)).unwrap();
    assert_eq!((member.role, member.status), (Role::Administrator, MembershipStatus::Active));
    assert_eq!(access.membership(tenant(2), person(1)).unwrap().status, MembershipStatus::Removed);

    let given = access.grants(membership(1));
    assert_eq!((given.custom_role, given.all().count(), given.modules.len()), (Some(role(1)), 2, 1));
    assert!(access.was_given(tenant(1), person(1), "users:read") && access.role(role(2)).is_none());

    let mine = flags.tenant(tenant(1)).unwrap();
    assert_eq!(mine.flags.keys().map(|key| key.as_str()).collect::<Vec<_>>(), ["limits", "plan.sso"]);
    assert!(mine.applications.contains(&application(1)));
    assert!(flags.tenant(tenant(2)).unwrap().applications.is_empty());
}

/// FR-SYS-003: an application's API access stops at once.
#[test]
fn a_disabled_application_closes_all_its_keys_and_an_expired_key_is_none() {
    let access = AccessMemory::new();
    for envelope in
        [app_registered(1, "Portal"), key_issued(1, 1), to_application(1, ApplicationEvent::Disabled {})]
    {
        access.apply(&envelope).unwrap();
    }
    assert!(!access.key(key(1)).unwrap().is_usable(at(1)));
    access.apply(&to_application(1, ApplicationEvent::Enabled {})).unwrap();
    let mut usable = access.key(key(1)).unwrap();
    assert!(usable.is_usable(at(1)));
    usable.expires_at = Some(at(5));
    assert!(usable.is_usable(at(4)) && !usable.is_usable(at(5)));
}

/// What is forgotten shows as nothing, and everything else stays.
#[tokio::test]
async fn what_was_forgotten_is_null_in_every_directory() {
    let world = World::new().await;
    let mut forgotten = vec![
        provisioned(1, "Acme", "acme.example", Plan::Pro),
        registered(1, "ann@acme.example", "Archer"),
        suspended(1, "unpaid"),
    ];
    for envelope in &mut forgotten {
        let mut payload = envelope.payload.clone().into_value();
        forget(&mut payload);
        envelope.payload = payload.into();
    }
    world.happens(forgotten).await;
    let client = world.client().await;
    let row = TenantDirectory::get(&client, Scope::Platform, tenant(1)).await.unwrap().unwrap();
    assert_eq!((row.name, row.slug, row.domain, row.suspension_reason), (None, None, None, None));
    assert_eq!(row.status, TenantStatus::Suspended);
    let user = UserDirectory::get(&client, Scope::Platform, person(1)).await.unwrap().unwrap();
    assert_eq!((user.email, user.first_name, user.last_name), (None, None, None));
    assert!(world.projector.health().iter().all(|health| health.dead_letters == 0));
}

/// How somebody signs in, as the fixtures tell it.
fn signing_in() -> Vec<Envelope> {
    let names = UserEvent::NAMES.iter().skip_while(|name| name.variant != "PasswordChanged");
    names
        .take_while(|name| name.variant != "SubjectForgotten")
        .map(|name| to_user(2, serde_json::from_str(name.fixture).unwrap()))
        .collect()
}

/// As if the key had been destroyed.
pub fn forget(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                if name.starts_with('$') {
                    field.as_object_mut().unwrap().shift_remove("value");
                } else {
                    forget(field);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

#[test]
fn the_history_of_these_tests_holds_every_event_there_is() {
    let happened: std::collections::BTreeSet<String> =
        a_full_history().iter().map(|envelope| envelope.event_type.to_string()).collect();
    let promised = TenantEvent::NAMES
        .iter()
        .chain(UserEvent::NAMES)
        .chain(MembershipEvent::NAMES)
        .chain(ApplicationEvent::NAMES)
        .chain(RoleEvent::NAMES)
        .map(|name| name.event_type.to_owned())
        .collect();
    assert_eq!(happened, promised);
}

/// What a read model has no use for costs it no transaction, but it is not looked at for ever again either.
#[tokio::test]
async fn a_read_model_writes_down_how_far_it_passed_what_does_not_concern_it() {
    let world = World::new().await;
    world.happens([provisioned(1, "Acme", "acme.example", Plan::Pro), suspended(1, "unpaid")]).await;
    let last = world.journal.token().position.0.cast_signed();
    let client = world.client().await;
    let sql =
        "SELECT position FROM projection_checkpoint WHERE projection = 'user_directory' AND feed = 'journal'";
    eventually("the directory of people, whom nothing happened to, is written down as level", async || {
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == last
    })
    .await;
}
