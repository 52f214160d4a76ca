//! What holds for every aggregate under any sequence of commands.

#[path = "properties/people.rs"]
mod people;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::str::FromStr;

use aggregates::membership::{Grant, LinkSso};
use aggregates::tenant::{ConfigureSso, Provision, SsoCommand, Trial};
use aggregates::{
    Application, ApplicationCommand, Membership, MembershipCommand, Policy, PolicyCommand, RoleCommand,
    Tenant, TenantCommand, User, UserCommand,
};
use chrono::{DateTime, Utc};
use kernel::{ClaimChange, Decider, Event, Origin, Rejection, SessionId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use schemas::events::{OwnershipLoss, RequestedApplication, SsoRules, TenantEvent};
use schemas::values::*;
use uuid::Uuid;

use people::user_command;

proptest! {
    #[test]
    fn a_tenant_is_sound(commands in vec(tenant_command(), 1..60)) {
        let events = is_sound::<Tenant>(commands)?;
        at_least_one_owner_stays(&events)?;
    }

    #[test]
    fn a_user_is_sound(commands in vec(user_command(), 1..40)) {
        is_sound::<User>(commands)?;
    }

    #[test]
    fn a_membership_is_sound(commands in vec(membership_command(), 1..40)) {
        is_sound::<Membership>(commands)?;
    }

    #[test]
    fn a_policy_is_sound(commands in vec(policy_command(), 1..20)) {
        is_sound::<Policy>(commands)?;
    }

    #[test]
    fn a_role_is_sound(commands in vec(role_command(), 1..20)) {
        is_sound::<aggregates::Role>(commands)?;
    }

    #[test]
    fn an_application_is_sound(commands in vec(application_command(), 1..40)) {
        let events = is_sound::<Application>(commands)?;
        let mut revoked = BTreeSet::new();
        for event in events {
            match event {
                schemas::events::ApplicationEvent::KeyRevoked { key } => prop_assert!(revoked.insert(key)),
                schemas::events::ApplicationEvent::KeyIssued { key, .. } => prop_assert!(!revoked.contains(&key)),
                _ => {}
            }
        }
    }
}

/// Runs the commands one after the other and returns all events. On the way: deciding never panics, a repeated command
/// yields no event, events and snapshots survive storage, rejections survive storage, a claim is taken when it is free
/// and freed when it is held.
fn is_sound<D>(commands: Vec<D::Command>) -> Result<Vec<D::Event>, TestCaseError>
where
    D: Decider + PartialEq,
    D::Command: Clone,
{
    let mut state = D::default();
    let mut history = Vec::new();
    let mut held = BTreeSet::new();
    for command in commands {
        let events = match state.decide(command.clone()) {
            Ok(events) => events,
            Err(rejection) => {
                let stored = serde_json::to_string(&rejection).unwrap();
                prop_assert_eq!(&serde_json::from_str::<D::Rejection>(&stored).unwrap(), &rejection);
                prop_assert!(!rejection.detail().is_empty());
                continue;
            }
        };
        for event in &events {
            for change in state.claims(event) {
                match change {
                    ClaimChange::Take(claim) => prop_assert!(held.insert(claim), "taken twice"),
                    ClaimChange::Free(claim) => prop_assert!(held.remove(&claim), "freed without being held"),
                }
            }
            prop_assert!(event.event_type().starts_with(D::TYPE));
            let stored = serde_json::to_string(event).unwrap();
            state.evolve(&serde_json::from_str(&stored).unwrap());
        }
        prop_assert_eq!(state.decide(command).ok(), Some(Vec::new()), "asked twice, said twice");
        history.extend(events);
    }
    // Rule 4: folding from zero gives what living through it gave; and so does a snapshot.
    let mut folded = D::default();
    history.iter().for_each(|event| folded.evolve(event));
    prop_assert!(folded == state);
    let snapshot = serde_json::to_string(&state).unwrap();
    prop_assert!(serde_json::from_str::<D>(&snapshot).unwrap() == state);
    Ok(history)
}

/// Counted from the events alone, so that it doesn't believe the tenant's own set.
fn at_least_one_owner_stays(events: &[TenantEvent]) -> Result<(), TestCaseError> {
    let mut owners = BTreeSet::new();
    for event in events {
        match event {
            TenantEvent::OwnerAdded { person, .. } => prop_assert!(owners.insert(*person)),
            TenantEvent::OwnerRemoved { person, .. } => {
                prop_assert!(owners.remove(person));
                prop_assert!(!owners.is_empty(), "the last owner vanished");
            }
            _ => {}
        }
    }
    Ok(())
}

fn one<T: FromStr + Clone + Debug + 'static>(texts: &'static [&'static str]) -> impl Strategy<Value = T>
where
    T::Err: Debug,
{
    prop::sample::select(texts).prop_map(|text| text.parse().unwrap())
}

fn word<T: Copy + Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn an_id<T: From<Uuid> + Debug>(count: u128) -> impl Strategy<Value = T> {
    (0..count).prop_map(|number| Uuid::from_u128(number).into())
}

fn a_time() -> impl Strategy<Value = DateTime<Utc>> {
    (0i64..20).prop_map(|day| DateTime::from_timestamp(1_795_000_000 + day * 86_400, 0).unwrap())
}

fn a_hash() -> impl Strategy<Value = SecretHash> {
    (0u8..3).prop_map(|digit| digit.to_string().repeat(64).parse().unwrap())
}

fn a_flag_value() -> impl Strategy<Value = FlagValue> {
    prop_oneof![
        any::<bool>().prop_map(FlagValue::Boolean),
        any::<f64>().prop_map(|number| FlagValue::from_json(serde_json::json!(number)).unwrap()),
        one::<TenantName>(&["x", "y"]).prop_map(|text| FlagValue::string(text.as_str()).unwrap()),
        any::<i64>().prop_map(|number| FlagValue::json(serde_json::json!({"n": [number, null]})).unwrap()),
    ]
}

fn a_loss() -> impl Strategy<Value = OwnershipLoss> {
    prop_oneof![
        Just(OwnershipLoss::Removed),
        Just(OwnershipLoss::Disabled),
        Just(OwnershipLoss::Downgraded { to: Role::User }),
    ]
}

fn a_trial() -> impl Strategy<Value = Trial> {
    prop_oneof![3 => Just(Trial::Standard), 1 => Just(Trial::None), 1 => a_time().prop_map(Trial::Until)]
}

fn provision() -> impl Strategy<Value = TenantCommand> {
    let application = prop_oneof![
        an_id(3).prop_map(|application| RequestedApplication::Existing { application }),
        (an_id(3), one(&["A", "B"])).prop_map(|(application, name)| RequestedApplication::New {
            application,
            name,
            environment: Environment::Staging,
        }),
    ];
    (one(&["acme", "bcme"]), word(Plan::ALL), a_trial(), an_id(3), option::of(application), a_time())
        .prop_map(|(slug, plan, trial, owner, application, now)| {
            TenantCommand::Provision(Box::new(Provision {
                tenant: Uuid::from_u128(1).into(),
                name: "Acme".parse().unwrap(),
                slug,
                domain: "acme.example".parse().unwrap(),
                plan,
                region: Region::Jp,
                trial,
                owner,
                owner_email: "ann@acme.example".parse().unwrap(),
                application,
                now,
            }))
        })
}

fn sso_command() -> impl Strategy<Value = SsoCommand> {
    let provider = || (0..7_u128).prop_map(|number| Uuid::from_u128(number).into());
    let rules = (any::<bool>(), any::<bool>(), any::<bool>());
    let rules =
        rules.prop_map(|(provision, trusts_mfa, required)| SsoRules { provision, trusts_mfa, required });
    let issuer = one(&["https://a.example", "https://b.example", "https://c.example"]);
    prop_oneof![
        3 => (provider(), issuer, one(&["x", "y", "z"]), rules).prop_map(|(provider, issuer, client_id, rules)| {
            SsoCommand::Configure(Box::new(ConfigureSso {
                provider,
                name: "Acme ID".parse().unwrap(),
                issuer,
                client_id,
                client_secret: "s3cret".parse().unwrap(),
                rules,
            }))
        }),
        2 => (provider(), option::of(one(&["x", "y"])), option::of(any::<bool>())).prop_map(
            |(provider, client_secret, required)| SsoCommand::Update {
                provider,
                name: None,
                client_secret,
                provision: None,
                trusts_mfa: required.map(|required| !required),
                required,
            }
        ),
        1 => provider().prop_map(|provider| SsoCommand::Remove { provider }),
    ]
}

fn tenant_command() -> impl Strategy<Value = TenantCommand> {
    let settings = (0..3).prop_map(|n| Settings::try_from(serde_json::json!({"n": n})).unwrap());
    prop_oneof![
        4 => provision(),
        1 => provision().prop_map(|command| match command {
            TenantCommand::Provision(wish) => TenantCommand::Register(wish),
            other => other,
        }),
        1 => Just(TenantCommand::Verify),
        1 => Just(TenantCommand::Lapse),
        2 => (
            option::of(one(&["Acme", "Bcme"])),
            option::of(one(&["acme", "bcme"])),
            option::of(one(&["acme.example", "bcme.example"])),
            option::of(settings),
        )
            .prop_map(|(name, slug, domain, settings)| TenantCommand::Update { name, slug, domain, settings }),
        1 => option::of(a_time()).prop_map(|ends_at| TenantCommand::SetTrial { ends_at }),
        1 => one(&["x", "y"]).prop_map(|reason| TenantCommand::Suspend { reason }),
        1 => option::of(one(&["x", "y"])).prop_map(|reason| TenantCommand::Reactivate { reason }),
        2 => word(Plan::ALL).prop_map(|plan| TenantCommand::ChangePlan { plan }),
        1 => word(AccessMode::ALL).prop_map(|mode| TenantCommand::SetAccessMode { mode }),
        4 => sso_command().prop_map(TenantCommand::Sso),
        1 => (8_u32..10, any::<bool>()).prop_map(|(length, require_upper)| TenantCommand::SetPasswordPolicy {
            policy: PasswordPolicy {
                length_min: length.try_into().unwrap(),
                require_upper,
                ..PasswordPolicy::DEFAULT
            },
        }),
        1 => any::<bool>().prop_map(|mfa_required| TenantCommand::SetSecurity { mfa_required }),
        4 => (one(&["a", "b", "plan.sso", "plan.webhooks"]), a_flag_value())
            .prop_map(|(key, value)| TenantCommand::SetFlag { key, value }),
        1 => one(&["a", "b", "plan.sso"]).prop_map(|key| TenantCommand::ClearFlag { key }),
        6 => an_id(8).prop_map(|person| TenantCommand::AddOwner { person }),
        8 => (an_id(8), a_loss()).prop_map(|(person, because)| TenantCommand::RemoveOwner { person, because }),
        2 => an_id(4).prop_map(|application| TenantCommand::ConnectApplication { application }),
        1 => an_id(4).prop_map(|application| TenantCommand::DisconnectApplication { application }),
        1 => Just(TenantCommand::CompleteProvisioning),
        1 => (word(ProvisioningStep::ALL), one(&["x", "y"]))
            .prop_map(|(step, reason)| TenantCommand::FailProvisioning { step, reason }),
    ]
}

fn membership_command() -> impl Strategy<Value = MembershipCommand> {
    let invite =
        (word(Role::ALL), word(MembershipKind::ALL), option::of(a_time()), option::of(a_hash()), a_time());
    prop_oneof![
        2 => (0..3_u128, 0..3_u8, any::<bool>(), a_time()).prop_map(|(provider, identity, provision, now)| {
            MembershipCommand::LinkSso(LinkSso {
                tenant: Uuid::from_u128(1).into(),
                person: Uuid::from_u128(2).into(),
                provider: Uuid::from_u128(provider).into(),
                identity: identity.to_string().repeat(64).parse().unwrap(),
                provision,
                now,
            })
        }),
        3 => invite.prop_map(|(role, kind, expires_at, token_hash, now)| MembershipCommand::Invite {
            tenant: Uuid::from_u128(1).into(),
            person: Uuid::from_u128(2).into(),
            role,
            kind,
            expires_at,
            token_hash,
            now,
        }),
        2 => (option::of(a_time()), option::of(a_hash()), a_time())
            .prop_map(|(expires_at, token_hash, now)| MembershipCommand::Resend { expires_at, token_hash, now }),
        3 => (option::of(a_hash()), a_time())
            .prop_map(|(token_hash, now)| MembershipCommand::Accept { token_hash, now }),
        1 => word(Role::ALL).prop_map(|role| MembershipCommand::ChangeRole { role }),
        1 => word(MembershipKind::ALL).prop_map(|kind| MembershipCommand::ChangeKind { kind }),
        1 => any::<bool>().prop_map(|mfa_required| MembershipCommand::SetSecurity { mfa_required }),
        1 => Just(MembershipCommand::Disable),
        1 => Just(MembershipCommand::Enable),
        1 => Just(MembershipCommand::Revoke),
        1 => Just(MembershipCommand::Remove),
        5 => a_grant().prop_map(MembershipCommand::Grant),
    ]
}

const PERMISSIONS: &[&str] = &["users:read", "*:read", "finance.*"];

fn permissions() -> impl Strategy<Value = BTreeSet<Permission>> {
    prop::collection::btree_set(one(PERMISSIONS), 0..3)
}

fn a_grant() -> impl Strategy<Value = Grant> {
    const MODULES: &[&str] = &["webhooks", "sso"];
    prop_oneof![
        option::of(an_id(2)).prop_map(|role| Grant::CustomRole { role }),
        (one(PERMISSIONS), any::<bool>())
            .prop_map(|(permission, held)| Grant::Permission { permission, held }),
        (one(MODULES), any::<bool>()).prop_map(|(module, held)| Grant::Module { module, held }),
        permissions().prop_map(|may_grant| Grant::Delegation { may_grant }),
    ]
}

fn role_command() -> impl Strategy<Value = RoleCommand> {
    const NAMES: &[&str] = &["Books", "BOOKS", "Sales"];
    prop_oneof![
        2 => (one(NAMES), option::of(one(&["x", "y"])), permissions()).prop_map(
            |(name, description, permissions)| RoleCommand::Create {
                role: Uuid::from_u128(1).into(),
                tenant: Uuid::from_u128(2).into(),
                name,
                description,
                permissions,
            }
        ),
        3 => (option::of(one(NAMES)), option::of(one(&["x", "y"])))
            .prop_map(|(name, description)| RoleCommand::Update { name, description }),
        3 => permissions().prop_map(|permissions| RoleCommand::SetPermissions { permissions }),
        1 => Just(RoleCommand::Delete),
    ]
}

fn policy_command() -> impl Strategy<Value = PolicyCommand> {
    const TEXTS: &[&str] =
        &["permit (principal, action, resource);", "forbid (principal, action, resource);"];
    prop_oneof![
        2 => one(TEXTS).prop_map(|text| PolicyCommand::Publish { text }),
        1 => Just(PolicyCommand::Withdraw),
    ]
}

fn application_command() -> impl Strategy<Value = ApplicationCommand> {
    const NAMES: &[&str] = &["Portal", "PORTAL", "Desk"];
    const OWNERS: &[&str] = &["team:a", "team:b"];
    const URIS: &[&str] = &["https://a.example/", "https://b.example/"];
    let uris = || prop::collection::btree_set(one(URIS), 0..2);
    let issue = (
        an_id(6),
        a_hash(),
        prop::collection::btree_set(word(Scope::ALL), 0..2),
        option::of(a_time()),
        a_time(),
    );
    prop_oneof![
        2 => (one(NAMES), one(OWNERS), word(Environment::ALL), uris()).prop_map(
            |(name, owner, environment, redirect_uris)| ApplicationCommand::Register {
                application: Uuid::from_u128(1).into(),
                name,
                owner,
                environment,
                redirect_uris,
            }
        ),
        2 => (option::of(one(NAMES)), option::of(one(OWNERS)), option::of(uris())).prop_map(
            |(name, owner, redirect_uris)| ApplicationCommand::Update { name, owner, redirect_uris }
        ),
        1 => Just(ApplicationCommand::Disable),
        1 => Just(ApplicationCommand::Enable),
        5 => issue.prop_map(|(key, hash, scopes, expires_at, now)| ApplicationCommand::IssueKey {
            key,
            hash,
            prefix: "tk".parse().unwrap(),
            scopes,
            expires_at,
            now,
        }),
        2 => an_id(6).prop_map(|key| ApplicationCommand::RevokeKey { key }),
        2 => (an_id(6), an_id(6), a_hash(), option::of(a_time()), 0..900_u16, a_time()).prop_map(
            |(key, successor, hash, expires_at, overlap_hours, now)| ApplicationCommand::RotateKey {
                key,
                successor,
                hash,
                prefix: "tk".parse().unwrap(),
                expires_at,
                overlap_hours,
                now,
            }
        ),
    ]
}
