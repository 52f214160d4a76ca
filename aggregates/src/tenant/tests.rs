use kernel::Personal;
use kernel::RejectionKind::{Conflict, NotFound, Rule};
use schemas::values::{Environment, Role};

use super::*;
use crate::testing::{self, DAY, Given, at, id, value};

mod flags;

const TENANT: TenantId = TenantId(id_const(1));
const ANN: PersonId = PersonId(id_const(2));
const BEN: PersonId = PersonId(id_const(3));
const APP: ApplicationId = ApplicationId(id_const(4));

const fn id_const(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn given(events: impl IntoIterator<Item = TenantEvent>) -> Given<Tenant> {
    testing::given(events)
}

fn c<T>(value: T) -> Confidential<T> {
    Confidential::new(TENANT, value)
}

fn wish() -> Provision {
    Provision {
        tenant: TENANT,
        name: value("Acme"),
        slug: value("acme"),
        domain: value("acme.example"),
        plan: Plan::Free,
        region: Region::Eu,
        trial: Trial::Standard,
        owner: ANN,
        owner_email: value("ann@acme.example"),
        application: Some(RequestedApplication::New {
            application: APP,
            name: value("Acme Portal"),
            environment: Environment::Production,
        }),
        now: at(0),
    }
}

fn provision(wish: Provision) -> TenantCommand {
    TenantCommand::Provision(Box::new(wish))
}

fn provisioned() -> TenantEvent {
    TenantEvent::Provisioned(Box::new(TenantProvisioned {
        tenant: TENANT,
        name: c(value("Acme")),
        slug: c(value("acme")),
        domain: c(value("acme.example")),
        plan: Plan::Free,
        region: Region::Eu,
        trial_ends_at: Some(at(14 * DAY)),
        owner: ANN,
        owner_email: Personal::new(ANN, value("ann@acme.example")),
        application: Some(RequestedApplication::New {
            application: APP,
            name: c(value("Acme Portal")),
            environment: Environment::Production,
        }),
    }))
}

fn owned_by(person: PersonId) -> TenantEvent {
    TenantEvent::OwnerAdded { person, membership: membership::id_of(TENANT, person) }
}

fn lost_by(person: PersonId, because: OwnershipLoss) -> TenantEvent {
    TenantEvent::OwnerRemoved { person, membership: membership::id_of(TENANT, person), because }
}

fn flag(key: &str, on: bool) -> TenantEvent {
    TenantEvent::FlagSet { key: value(key), value: c(FlagValue::Boolean(on)) }
}

fn set_flag(key: &str, on: bool) -> TenantCommand {
    TenantCommand::SetFlag { key: value(key), value: FlagValue::Boolean(on) }
}

fn suspended() -> TenantEvent {
    TenantEvent::Suspended { reason: c(value("unpaid")) }
}

fn update() -> (Option<TenantName>, Option<Slug>, Option<Domain>, Option<Settings>) {
    (None, None, None, None)
}

fn updated_to(domain: &str) -> TenantEvent {
    TenantEvent::Updated { name: None, slug: None, domain: Some(c(value(domain))), settings: None }
}

/// UC-PROV-001
#[test]
fn a_tenant_is_provisioned_with_a_trial_of_fourteen_days() {
    given([]).when(provision(wish())).then([provisioned()]).and_again_nothing();
}

/// UC-PROV-001, CC-DAT-001
#[test]
fn the_same_wish_later_is_the_same_wish_even_when_the_tenant_has_changed_since() {
    let later = Provision { now: at(60), ..wish() };
    given([provisioned(), updated_to("new.example"), suspended()]).when(provision(later)).then_nothing();
}

#[test]
fn another_wish_under_the_same_id_is_a_conflict() {
    for other in [
        Provision { name: value("Bcme"), ..wish() },
        Provision { domain: value("bcme.example"), ..wish() },
        Provision { plan: Plan::Pro, ..wish() },
        Provision { trial: Trial::None, ..wish() },
        Provision { owner: BEN, ..wish() },
        Provision { application: None, ..wish() },
    ] {
        given([provisioned()]).when(provision(other)).then_rejected(Conflict, "already_exists");
    }
}

#[test]
fn a_trial_ends_when_the_operator_says() {
    let asked = |trial_ends_at| {
        let TenantEvent::Provisioned(asked) = provisioned() else { unreachable!("it was provisioned") };
        TenantEvent::Provisioned(Box::new(TenantProvisioned { trial_ends_at, ..*asked }))
    };
    let until = Provision { trial: Trial::Until(at(DAY)), ..wish() };
    given([]).when(provision(until)).then([asked(Some(at(DAY)))]).and_again_nothing();
    let none = Provision { trial: Trial::None, ..wish() };
    given([]).when(provision(none)).then([asked(None)]).and_again_nothing();
    let ended = TenantCommand::SetTrial { ends_at: None };
    given([provisioned()]).when(ended).then([TenantEvent::TrialSet { ends_at: None }]).and_again_nothing();
}

#[test]
fn nothing_can_be_wished_of_a_tenant_that_is_not_there() {
    let (name, slug, domain, settings) = update();
    for command in [
        TenantCommand::Update { name, slug, domain, settings },
        TenantCommand::SetTrial { ends_at: None },
        TenantCommand::Suspend { reason: value("unpaid") },
        TenantCommand::Reactivate { reason: None },
        TenantCommand::ChangePlan { plan: Plan::Pro },
        TenantCommand::SetAccessMode { mode: AccessMode::Blocked },
        set_flag("a", true),
        TenantCommand::ClearFlag { key: value("a") },
        TenantCommand::AddOwner { person: ANN },
        TenantCommand::RemoveOwner { person: ANN, because: OwnershipLoss::Removed },
        TenantCommand::ConnectApplication { application: APP },
        TenantCommand::DisconnectApplication { application: APP },
        TenantCommand::CompleteProvisioning,
        TenantCommand::FailProvisioning { step: ProvisioningStep::SetFlags, reason: value("capacity") },
    ] {
        given([]).when(command).then_rejected(NotFound, "not_found");
    }
}

#[test]
fn an_update_tells_only_what_changed() {
    let command = TenantCommand::Update {
        name: Some(value("Acme")),
        slug: None,
        domain: Some(value("new.example")),
        settings: None,
    };
    given([provisioned()]).when(command).then([updated_to("new.example")]).and_again_nothing();

    let settings: Settings = serde_json::json!({"theme": "dark", "ratio": 0.1}).try_into().unwrap();
    let command =
        TenantCommand::Update { name: None, slug: None, domain: None, settings: Some(settings.clone()) };
    let expected = TenantEvent::Updated { name: None, slug: None, domain: None, settings: Some(c(settings)) };
    given([provisioned()]).when(command).then([expected]).and_again_nothing();
}

/// FR-OPS-001
#[test]
fn a_tenant_is_suspended_with_a_reason_and_reactivated() {
    given([provisioned()])
        .when(TenantCommand::Suspend { reason: value("unpaid") })
        .then([suspended()])
        .and_again_nothing()
        .and()
        .when(TenantCommand::Suspend { reason: value("another reason") })
        .then([])
        .and()
        .when(TenantCommand::Reactivate { reason: Some(value("paid")) })
        .then([TenantEvent::Reactivated { reason: Some(c(value("paid"))) }])
        .and_again_nothing();
}

/// FR-TENANT-003
#[test]
fn flags_that_stand_as_the_former_plan_set_them_follow_the_new_plan() {
    let events = [
        provisioned(),
        flag("plan.api-access", true),
        flag("plan.webhooks", false),
        flag("plan.custom-roles", true),
        flag("plan.sso", false),
        flag("mine", false),
    ];
    given(events)
        .when(TenantCommand::ChangePlan { plan: Plan::Pro })
        .then([TenantEvent::PlanChanged { from: Plan::Free, to: Plan::Pro }, flag("plan.webhooks", true)])
        .and_again_nothing();
}

/// FR-TENANT-003
#[test]
fn a_plan_that_is_too_small_is_refused() {
    let upgrade = TenantEvent::PlanChanged { from: Plan::Free, to: Plan::Enterprise };
    let to_free = || TenantCommand::ChangePlan { plan: Plan::Free };
    let limits = Plan::Free.limits();

    let flags = (0..=limits.flags).map(|number| flag(&format!("f{number}"), true));
    given([provisioned(), upgrade.clone()].into_iter().chain(flags))
        .when(to_free())
        .then_rejected(Rule, "capacity");

    let applications = (0..=limits.applications)
        .map(|number| TenantEvent::ApplicationConnected { application: id(number.into()).into() });
    given([provisioned(), upgrade.clone()].into_iter().chain(applications))
        .when(to_free())
        .then_rejected(Rule, "capacity");

    let owners = (0..=limits.users).map(|number| owned_by(id(number.into()).into()));
    given([provisioned(), upgrade].into_iter().chain(owners)).when(to_free()).then_rejected(Rule, "capacity");
}

#[test]
fn an_access_mode_is_set() {
    given([provisioned()])
        .when(TenantCommand::SetAccessMode { mode: AccessMode::ReadOnly })
        .then([TenantEvent::AccessModeSet { mode: AccessMode::ReadOnly }])
        .and_again_nothing();
}

#[test]
fn access_follows_suspension_trial_and_mode() {
    use AccessMode::{Active, Blocked, ReadOnly};
    use MembershipKind::{Client, Staff};
    let nobody = given([]).state();
    assert_eq!(nobody.effective_access(Staff, at(0)), Blocked);
    let trial = given([provisioned()]).state();
    assert_eq!(trial.existing().unwrap().status(), TenantStatus::Trial);
    assert_eq!(trial.effective_access(Client, at(14 * DAY - 1)), Active);
    assert_eq!(trial.effective_access(Staff, at(14 * DAY)), ReadOnly);
    assert_eq!(trial.effective_access(Client, at(14 * DAY)), Blocked);
    let paying = given([provisioned(), TenantEvent::TrialSet { ends_at: None }]).state();
    assert_eq!(paying.existing().unwrap().status(), TenantStatus::Active);
    assert_eq!(paying.effective_access(Client, at(99 * DAY)), Active);
    let stopped = given([provisioned(), suspended()]).state();
    assert_eq!(stopped.existing().unwrap().status(), TenantStatus::Suspended);
    assert_eq!(stopped.effective_access(Staff, at(0)), Blocked);
    let again = given([provisioned(), suspended(), TenantEvent::Reactivated { reason: None }]).state();
    assert_eq!(again.effective_access(Staff, at(0)), Active);
    let reading = given([provisioned(), TenantEvent::AccessModeSet { mode: ReadOnly }]).state();
    assert_eq!(reading.effective_access(Staff, at(0)), ReadOnly);
}

#[test]
fn the_plan_limits_applications_and_owners() {
    let connected = || TenantEvent::ApplicationConnected { application: APP };
    given([provisioned()])
        .when(TenantCommand::ConnectApplication { application: APP })
        .then([connected()])
        .and_again_nothing()
        .and()
        .when(TenantCommand::ConnectApplication { application: id(9).into() })
        .then_rejected(Rule, "capacity");
    given([provisioned(), connected()])
        .when(TenantCommand::DisconnectApplication { application: APP })
        .then([TenantEvent::ApplicationDisconnected { application: APP }])
        .and_again_nothing();
    let owners = (0..Plan::Free.limits().users).map(|number| owned_by(id(number.into()).into()));
    given([provisioned()].into_iter().chain(owners))
        .when(TenantCommand::AddOwner { person: id(99).into() })
        .then_rejected(Rule, "capacity");
}

#[test]
fn an_owner_goes_only_while_another_stays() {
    for because in [
        OwnershipLoss::Removed,
        OwnershipLoss::Downgraded { to: Role::Administrator },
        OwnershipLoss::Disabled,
    ] {
        given([provisioned()])
            .when(TenantCommand::AddOwner { person: ANN })
            .then([owned_by(ANN)])
            .and_again_nothing()
            .and()
            .when(TenantCommand::RemoveOwner { person: ANN, because })
            .then_rejected(Rule, "last_owner");
        given([provisioned(), owned_by(ANN), owned_by(BEN)])
            .when(TenantCommand::RemoveOwner { person: ANN, because })
            .then([lost_by(ANN, because)])
            .and_again_nothing()
            .and()
            .when(TenantCommand::RemoveOwner { person: BEN, because })
            .then_rejected(Rule, "last_owner");
    }
}

/// UC-PROV-001
#[test]
fn provisioning_ends_in_success_once_there_is_an_owner() {
    given([provisioned()]).when(TenantCommand::CompleteProvisioning).then_rejected(Rule, "no_owner");
    given([provisioned(), owned_by(ANN)])
        .when(TenantCommand::CompleteProvisioning)
        .then([TenantEvent::ProvisioningCompleted {}])
        .and_again_nothing()
        .and()
        .when(TenantCommand::FailProvisioning { step: ProvisioningStep::SetFlags, reason: value("capacity") })
        .then_rejected(Conflict, "provisioning_completed");
}

/// UC-PROV-001
#[test]
fn provisioning_that_failed_says_where_and_can_be_completed_when_mended() {
    let step = ProvisioningStep::RegisterApplication;
    let failed = given([provisioned(), owned_by(ANN)])
        .when(TenantCommand::FailProvisioning { step, reason: value("already_exists") })
        .then([TenantEvent::ProvisioningFailed { step, reason: value("already_exists") }])
        .and_again_nothing()
        .and();
    failed.when(TenantCommand::CompleteProvisioning).then([TenantEvent::ProvisioningCompleted {}]);
}

#[test]
fn domain_and_slug_are_taken_at_first_and_swapped_when_they_change() {
    let domain = |text: &str| Claim::new(DOMAIN_CLAIM, text);
    let slug = |text: &str| Claim::new(SLUG_CLAIM, text);
    let taken = vec![ClaimChange::Take(domain("acme.example")), ClaimChange::Take(slug("acme"))];
    assert_eq!(Tenant::default().claims(&provisioned()), taken);

    let tenant = given([provisioned()]).state();
    let swapped = vec![ClaimChange::Free(domain("acme.example")), ClaimChange::Take(domain("new.example"))];
    assert_eq!(tenant.claims(&updated_to("new.example")), swapped);
    let renamed =
        TenantEvent::Updated { name: None, slug: Some(c(value("new"))), domain: None, settings: None };
    let swapped = vec![ClaimChange::Free(slug("acme")), ClaimChange::Take(slug("new"))];
    assert_eq!(tenant.claims(&renamed), swapped);
    assert_eq!(tenant.claims(&suspended()), []);
}

/// FR-OPS-002, CON-COMP-001
#[test]
fn a_purged_tenant_forgets_what_it_supplied_and_takes_no_more_wishes() {
    let history = || [provisioned(), owned_by(ANN), flag("beta", true), suspended()];
    given([provisioned()]).when(TenantCommand::Purge).then_rejected(Rule, "not_suspended");
    let after =
        given(history()).when(TenantCommand::Purge).then([TenantEvent::Purged {}]).and_again_nothing().and();
    let state = after.state();
    let text = serde_json::to_string(&state).unwrap();
    assert!(!text.contains("Acme") && !text.contains("\"acme"), "{text}");
    let tenant = state.existing().unwrap();
    assert_eq!((tenant.name.reveal(), tenant.domain.reveal(), tenant.flags.len()), (None, None, 0));
    assert!(tenant.asked.name.reveal().is_none() && tenant.asked.slug.reveal().is_none());
    assert_eq!(tenant.asked.owner_email.of(), ANN, "the owner's address is the owner's");
    let purged = || history().into_iter().chain([TenantEvent::Purged {}]);
    given(purged()).when(TenantCommand::Reactivate { reason: None }).then_rejected(NotFound, "not_found");
    given(purged()).when(provision(wish())).then_rejected(Conflict, "already_exists");
    let mut before = Tenant::default();
    history().iter().for_each(|event| before.evolve(event));
    assert_eq!(before.claims(&TenantEvent::Purged {}).len(), 2, "domain and slug are free again");
}

/// FR-OPS-002
#[test]
fn a_tenant_whose_key_is_destroyed_can_still_be_folded() {
    let TenantEvent::Provisioned(asked) = provisioned() else { unreachable!("it was provisioned") };
    let forgotten = TenantEvent::Provisioned(Box::new(TenantProvisioned {
        name: Confidential::forgotten(TENANT),
        slug: Confidential::forgotten(TENANT),
        domain: Confidential::forgotten(TENANT),
        owner_email: Personal::forgotten(ANN),
        ..*asked
    }));
    assert_eq!(Tenant::default().claims(&forgotten), []);
    let tenant = given([forgotten, owned_by(ANN), flag("a", true)]).state();
    assert_eq!(tenant.existing().unwrap().domain.reveal(), None);
}

fn policy(length_min: u32) -> PasswordPolicy {
    PasswordPolicy { length_min: length_min.try_into().unwrap(), ..PasswordPolicy::DEFAULT }
}

/// FR-AUTH-006, CON-SEC-001
#[test]
fn a_tenant_asks_by_default_what_everybody_asks_of_passwords_and_may_ask_something_else() {
    let state = given([provisioned()]).state();
    assert_eq!(state.existing().unwrap().password_policy, PasswordPolicy::DEFAULT);
    let set = |policy| TenantCommand::SetPasswordPolicy { policy };
    let changed = |policy| TenantEvent::PasswordPolicyChanged { policy };
    given([provisioned()]).when(set(PasswordPolicy::DEFAULT)).then_nothing();
    given([provisioned()]).when(set(policy(16))).then([changed(policy(16))]).and_again_nothing();
    let back = given([provisioned(), changed(policy(16))]).when(set(policy(12)));
    back.then([changed(PasswordPolicy::DEFAULT)]).and_again_nothing();
    given([]).when(set(policy(16))).then_rejected(NotFound, "not_found");
}

/// NFR-SEC-003
#[test]
fn a_tenant_asks_for_a_second_factor_until_it_does_no_longer() {
    let set = |mfa_required| TenantCommand::SetSecurity { mfa_required };
    let changed = |mfa_required| TenantEvent::SecurityChanged { mfa_required };
    given([provisioned()]).when(set(false)).then_nothing();
    let asks = given([provisioned()]).when(set(true)).then([changed(true)]).and_again_nothing().and();
    asks.when(set(false)).then([changed(false)]).and_again_nothing();
    given([]).when(set(true)).then_rejected(NotFound, "not_found");
    let purged = [provisioned(), suspended(), TenantEvent::Purged {}];
    given(purged).when(set(true)).then_rejected(NotFound, "not_found");
}

#[test]
fn what_a_stranger_registers_is_a_tenant_that_is_blocked_until_it_is_verified() {
    use AccessMode::{Active, Blocked};
    let register = || TenantCommand::Register(Box::new(wish()));
    let registered = given([])
        .when(register())
        .then([provisioned(), TenantEvent::Registered {}])
        .and_again_nothing()
        .and();
    let state = registered.state();
    assert!(state.existing().unwrap().unverified);
    assert_eq!(state.effective_access(MembershipKind::Staff, at(0)), Blocked);

    let registered = || given([provisioned(), TenantEvent::Registered {}]);
    let by_an_operator = TenantCommand::SetAccessMode { mode: AccessMode::ReadOnly };
    let reading =
        registered().when(by_an_operator).then([TenantEvent::AccessModeSet { mode: AccessMode::ReadOnly }]);
    assert_eq!(reading.and().state().effective_access(MembershipKind::Staff, at(0)), Blocked);
    let verified = registered().when(TenantCommand::Verify).then([TenantEvent::Verified {}]);
    let state = verified.and_again_nothing().and().state();
    assert_eq!(state.effective_access(MembershipKind::Staff, at(0)), Active);

    given([provisioned()]).when(TenantCommand::Verify).then_nothing();
    given([]).when(TenantCommand::Verify).then_rejected(NotFound, "not_found");
    let other = TenantCommand::Register(Box::new(Provision { owner: BEN, ..wish() }));
    given([provisioned()]).when(other).then_rejected(Conflict, "already_exists");
    given([provisioned()]).when(register()).then_nothing();
}

#[test]
fn a_registration_lapses_unless_it_was_verified_and_no_other_tenant_does() {
    let registered = [provisioned(), TenantEvent::Registered {}, owned_by(ANN)];
    let lapsed = given(registered.clone()).when(TenantCommand::Lapse).then([TenantEvent::Purged {}]);
    let state = lapsed.and_again_nothing().and().state();
    assert!(state.existing().unwrap().purged);
    assert_eq!(state.effective_access(MembershipKind::Staff, at(0)), AccessMode::Blocked);
    let mut before = Tenant::default();
    registered.iter().for_each(|event| before.evolve(event));
    assert_eq!(before.claims(&TenantEvent::Purged {}).len(), 2, "domain and slug are free again");
    let purged = registered.clone().into_iter().chain([TenantEvent::Purged {}]);
    given(purged).when(TenantCommand::Verify).then_rejected(NotFound, "not_found");
    let verified = registered.into_iter().chain([TenantEvent::Verified {}]);
    given(verified).when(TenantCommand::Lapse).then_nothing();
    given([provisioned()]).when(TenantCommand::Lapse).then_nothing();
}
