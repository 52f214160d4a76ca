//! The audit trail: who did what, from the journal and from the ledger of what made no event.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::audit::{AuditEvent, AuditOutcome};
use engine::feed::FeedName;
use futures::TryStreamExt;
use kernel::{Actor, ActorKind, Envelope, Origin, Payload, SessionId};
use projections::{AuditRange, AuditRow, AuditTrail, Scope};
use schemas::events::UserEvent;
use schemas::values::{LoginMethod, Plan, RiskReason, Role};
use uuid::Uuid;

use crate::feeds::{PATIENCE, at};
use crate::projection_world::{
    World, invited, person, provisioned, refused, registered, suspended, tenant, to_user,
};

async fn trail(world: &World, scope: Scope, range: AuditRange) -> Vec<AuditRow> {
    let query = AuditTrail::LIST.query([], Some("recorded_at"), Some(200), None).unwrap();
    AuditTrail::list(&*world.client().await, scope, range, &query).await.unwrap().rows
}

/// FR-LOG-003
#[tokio::test]
async fn a_command_is_one_entry_however_many_events_it_made() {
    let world = World::new().await;
    let first = Envelope { index_in_command: 0, ..provisioned(1, "Acme", "acme.example", Plan::Pro) };
    let mut second = Envelope { index_in_command: 1, ..suspended(1, "unpaid") };
    std::sync::Arc::make_mut(&mut second.metadata).action = "tenants:provision".to_owned();
    let mut third = suspended(2, "unpaid");
    std::sync::Arc::make_mut(&mut third.metadata).origin =
        Origin { address: Some("192.0.2.1".to_owned()), user_agent: Some("curl/8".to_owned()) };
    world.happens([first, second, third]).await;
    let rows = trail(&world, Scope::Platform, AuditRange::default()).await;
    assert_eq!(rows.len(), 2);
    let row = &rows[1];
    assert_eq!(
        (row.actor.as_str(), row.actor_kind, row.role.as_str()),
        ("operator-1", ActorKind::Operator, "operator")
    );
    assert_eq!(row.scopes, ["tenants:write"]);
    assert_eq!((row.tenant, row.action.as_str()), (Some(tenant(2)), "test:tenant.suspended"));
    assert_eq!(
        (row.resource_type.as_deref(), row.resource_id.clone()),
        (Some("tenant"), Some(tenant(2).to_string()))
    );
    assert_eq!((row.outcome, row.recorded_at), (AuditOutcome::Success, at(3)));
    assert_eq!(row.event_id.map(|id| id.0), Some(row.id));
    assert_eq!((row.address.as_deref(), row.user_agent.as_deref()), (Some("192.0.2.1"), Some("curl/8")));
    assert_eq!(row.event_type.as_deref(), Some("tenant.suspended"));
}

/// REQUIREMENTS §1.5: also the refused.
#[tokio::test]
async fn what_was_refused_is_in_the_trail_beside_what_was_done() {
    let world = World::new().await;
    world.happens([provisioned(1, "Acme", "acme.example", Plan::Pro)]).await;
    world.is_refused([refused(1, Some(1), "tenants:suspend")]).await;
    let rows = trail(&world, Scope::Tenant(tenant(1)), AuditRange::default()).await;
    assert_eq!(rows.len(), 2);
    let denied = rows.iter().find(|row| row.outcome == AuditOutcome::Denied).unwrap();
    assert_eq!(
        (denied.status, denied.code.as_deref(), denied.detail.as_deref()),
        (Some(403), Some("ERR-AUTH-403"), Some("forbidden"))
    );
    assert_eq!((denied.event_id, denied.count), (None, 1));
    let one = AuditTrail::get(&*world.client().await, Scope::Tenant(tenant(1)), denied.id).await.unwrap();
    assert_eq!(one.as_ref(), Some(denied));
    assert_eq!(
        AuditTrail::get(&*world.client().await, Scope::Tenant(tenant(2)), denied.id).await.unwrap(),
        None
    );
}

/// UC-AUDIT-EXPORT, FR-LOG-002
#[tokio::test]
async fn an_export_gives_every_entry_of_its_range_once_and_in_order() {
    let world = World::new().await;
    let token = world.audit.append((0..3_500).map(|n| refused(n, Some(n % 2), "tenants:read")));
    world.projector.wait_for_feed("audit_trail", FeedName::Audit, token, PATIENCE).await.unwrap();
    let range = AuditRange { from: Some(at(101)), until: Some(at(3_401)) };
    let query =
        AuditTrail::LIST.query([("outcome", "eq", "denied")], Some("recorded_at"), None, None).unwrap();
    let pool = world.db.server.clone();
    let rows: Vec<AuditRow> =
        AuditTrail::stream(pool, Scope::Tenant(tenant(1)), range, query).try_collect().await.unwrap();
    assert_eq!(rows.len(), 1_650);
    assert!(rows.windows(2).all(|pair| pair[0].recorded_at < pair[1].recorded_at));
    assert_eq!(rows[0].recorded_at, at(102));
    assert!(rows.iter().all(|row| row.tenant == Some(tenant(1))));
}

/// An export may outlast a rebuild: it holds no lock while its reader is slow.
#[tokio::test]
async fn a_slow_export_does_not_keep_a_rebuild_from_swapping() {
    let world = World::new().await;
    let token = world.audit.append((0..2_500).map(|n| refused(n, Some(1), "tenants:read")));
    world.projector.wait_for_feed("audit_trail", FeedName::Audit, token, PATIENCE).await.unwrap();
    let query = AuditTrail::LIST.query([], Some("recorded_at"), None, None).unwrap();
    let mut export =
        Box::pin(AuditTrail::stream(world.db.server.clone(), Scope::Platform, AuditRange::default(), query));
    assert!(export.try_next().await.unwrap().is_some());
    let rebuilt = engine::projection::rebuild(
        &world.db.owner,
        &world.feeds,
        &AuditTrail,
        engine::projection::RebuildSettings::default(),
        &|_| {},
    );
    tokio::time::timeout(PATIENCE, rebuilt).await.unwrap().unwrap();
    let rest: Vec<AuditRow> = export.try_collect().await.unwrap();
    assert_eq!(rest.len(), 2_499, "the export goes on over the swap, without a gap or a repetition");
}

/// NFR-SEC-006: in one go with the command's first event, or when that was folded before.
#[tokio::test]
async fn an_unusual_login_says_why_though_its_command_has_another_event_first() {
    for together in [true, false] {
        let world = World::new().await;
        world.happens([registered(1, "ann@acme.example", "Sato")]).await;
        let verified = to_user(1, UserEvent::MfaVerified { step: Some(1), recovery_code: None });
        let login = |risk| {
            let event = UserEvent::LoginSucceeded {
                session: SessionId(Uuid::from_u128(1)),
                tenant: None,
                method: LoginMethod::Password,
                device: Uuid::from_u128(2),
                new_device: true,
                origin: None,
                token_hash: "1".repeat(64).parse().unwrap(),
                at: at(1),
                expires_at: at(2),
                risk,
                challenge: None,
            };
            Envelope { index_in_command: 1, metadata: verified.metadata.clone(), ..to_user(1, event) }
        };
        let unusual = login(vec![RiskReason::NewDevice, RiskReason::OddHour]);
        if together {
            world.happens([verified.clone(), unusual]).await;
        } else {
            world.happens([verified.clone()]).await;
            world.happens([unusual]).await;
        }
        // The next command's, by the same person, is as it always was.
        world.happens([Envelope { index_in_command: 0, ..login(Vec::new()) }]).await;
        let rows = trail(&world, Scope::Platform, AuditRange::default()).await;
        let told: Vec<_> =
            rows.iter().map(|row| (row.event_type.as_deref(), row.detail.as_deref())).collect();
        let expected = [
            (Some("user.registered"), None),
            (Some("user.mfa_verified"), Some("new_device,odd_hour")),
            (Some("user.login_succeeded"), None),
        ];
        assert_eq!(told, expected, "together: {together}");
    }
}

/// Of what was told before, in one go with it, and afterwards, as of a request that was under way.
#[tokio::test]
async fn where_somebody_came_from_is_forgotten_with_them_whenever_it_is_told() {
    let world = World::new().await;
    let by = |n: u128| {
        let mut event = suspended(7, "unpaid");
        let metadata = std::sync::Arc::make_mut(&mut event.metadata);
        metadata.actor = Actor { kind: ActorKind::User, id: person(n).to_string() };
        metadata.origin =
            Origin { address: Some("192.0.2.1".to_owned()), user_agent: Some("curl/8".to_owned()) };
        event
    };
    world.happens([registered(1, "ann@acme.example", "Sato"), by(1)]).await;
    world.happens([by(1), to_user(1, UserEvent::SubjectForgotten {}), by(1), by(2)]).await;
    world.happens([by(1), by(2)]).await;
    let rows = trail(&world, Scope::Platform, AuditRange::default()).await;
    let told = |n: u128| -> Vec<bool> {
        let of = rows.iter().filter(|row| row.actor == person(n).to_string());
        of.map(|row| row.address.is_some() || row.user_agent.is_some()).collect()
    };
    assert_eq!(told(1), [false; 4]);
    assert_eq!(told(2), [true; 2]);
}

/// FR-LOG-002: tenants are looked up otherwise than what is theirs; nobody is to see that.
#[tokio::test]
async fn the_entries_of_a_resource_are_those_that_say_so_whatever_it_is() {
    let world = World::new().await;
    // What a refusal is about is told by whoever asked, and may be of no tenant's.
    let about = |n: u128, resource: &str| {
        let mut envelope = refused(n, None, "tenants:read");
        let AuditEvent::Recorded(mut fact) = envelope.decode().unwrap();
        fact.resource_id = Some(resource.to_owned());
        envelope.payload = Payload::of_event(Arc::new(AuditEvent::Recorded(fact))).unwrap();
        envelope
    };
    let own = tenant(1).to_string();
    let odd = [about(900, &own), about(901, &own.to_uppercase()), about(902, "dark_mode")];
    let tenants = (1..=3).map(|n| provisioned(n, "Acme", &format!("t{n}.example"), Plan::Pro));
    world.happens(tenants.chain([invited(5, 1, 7, Role::User)])).await;
    world.happens((0..9).map(|n| suspended(1 + n % 3, "unpaid"))).await;
    world.happens([registered(1, "ann@acme.example", "Sato"), invited(6, 2, 7, Role::User)]).await;
    world.is_refused(odd.into_iter().chain((0..9).map(|n| refused(n, Some(1), "x")))).await;
    let client = world.client().await;
    let everything = trail(&world, Scope::Platform, AuditRange::default()).await;
    let resources: BTreeSet<_> = everything.iter().filter_map(|row| row.resource_id.clone()).collect();
    assert!(resources.len() > 6, "{resources:?}");
    let several = format!("{},{},dark_mode,{}", tenant(1), tenant(2), Uuid::from_u128(0xdead));
    for asked in resources.iter().chain([&several]) {
        let wanted: Vec<&str> = asked.split(',').collect();
        for scope in [Scope::Platform, Scope::Tenant(tenant(1))] {
            let is_seen = |row: &&AuditRow| scope == Scope::Platform || row.tenant == Some(tenant(1));
            let is_wanted =
                |row: &&AuditRow| row.resource_id.as_deref().is_some_and(|id| wanted.contains(&id));
            let expected: Vec<Uuid> =
                everything.iter().filter(is_seen).filter(is_wanted).map(|row| row.id).collect();
            for sort in ["recorded_at", "-recorded_at"] {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let filters = [("resource_id", "in", asked.as_str()), ("outcome", "ne", "failure")];
                    let query = AuditTrail::LIST.query(filters, Some(sort), Some(2), after).unwrap();
                    let page = AuditTrail::list(&client, scope, AuditRange::default(), &query).await.unwrap();
                    found.extend(page.rows.into_iter().map(|row| row.id));
                    let Some(next) = page.next else { break };
                    after = Some(next);
                }
                if sort.starts_with('-') {
                    found.reverse();
                }
                assert_eq!(found, expected, "{asked} in {scope:?} by {sort}");
            }
        }
    }
}
