//! What an explanation is made of: reasons of facts, sessions, and the words of refusals.

use kernel::{Actor, ActorKind, CorrelationId, Envelope, EventId, Metadata, Origin, SessionId};
use schemas::events::UserEvent;
use schemas::values::{LoginMethod, SessionEnd};

use super::evidence::{Evidence, Name};
use super::session::Session;
use super::*;
use kernel::{Event, StreamId};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

/// An event at a position, which is its sequence too; `index`: its place in its command.
fn envelope(position: u64, index: u16, event: &UserEvent, tenant: Option<TenantId>) -> Envelope {
    let metadata = Metadata {
        tenant,
        actor: Actor { kind: ActorKind::User, id: "ann".into() },
        role: "owner".into(),
        scopes: vec![],
        action: "test:happen".into(),
        correlation_id: CorrelationId(Uuid::nil()),
        causation_id: None,
        command_id: None,
        origin: Origin::default(),
    };
    Envelope {
        shard: ShardId(0),
        position: Position(position),
        stream: StreamId::new("user", Uuid::from_u128(1)),
        sequence: position,
        part: 0,
        index_in_command: index,
        event_id: EventId(Uuid::from_u128(u128::from(position))),
        event_type: event.event_type().into(),
        event_version: event.event_version().into(),
        payload: serde_json::to_value(event).unwrap().into(),
        metadata: Arc::new(metadata),
        recorded_at: at(position.cast_signed()),
    }
}

#[test]
fn the_reason_of_a_fact_is_the_event_that_changed_it_last() {
    let (role, permission) = (Name::new("membership.role"), Name::one_of("membership.permission", "a:b"));
    let happened = |position| envelope(position, 0, &UserEvent::Enabled {}, None);
    let mut evidence = Evidence::default();
    let mut look = |facts: &[(&Name, Value)], event: Option<&Envelope>| {
        evidence.look(facts.iter().map(|(name, value)| (Name::clone(name), value.clone())).collect(), event);
        let told = evidence.told(|_| true, |event| EventView::of(event, None));
        told.into_iter().map(|it| (it.fact, it.value, it.event.map(|it| it.sequence))).collect::<Vec<_>>()
    };
    let absent = [("membership.role", Value::Null, None)];
    assert_eq!(look(&[(&role, Value::Null)], None), absent);
    assert_eq!(look(&[(&role, Value::Null)], Some(&happened(1))), absent, "nothing made it absent");
    assert_eq!(
        look(&[(&role, json!("user"))], Some(&happened(2))),
        [("membership.role", json!("user"), Some(2))]
    );
    let both = [(&role, json!("user")), (&permission, json!(true))];
    let told = look(&both, Some(&happened(3)));
    let given = ("membership.permission", json!(true), Some(3));
    assert_eq!(told, [given, ("membership.role", json!("user"), Some(2))], "what stays has the old reason");
    let told = look(&[(&role, json!("owner"))], Some(&happened(4)));
    let taken = ("membership.permission", Value::Null, Some(4));
    assert_eq!(
        told,
        [taken, ("membership.role", json!("owner"), Some(4))],
        "so has what isn't there any more"
    );
}

fn login(session: u128) -> UserEvent {
    UserEvent::LoginSucceeded {
        session: SessionId(Uuid::from_u128(session)),
        tenant: None,
        method: LoginMethod::Password,
        device: Uuid::from_u128(9),
        new_device: false,
        origin: None,
        token_hash: "0".repeat(64).parse().unwrap(),
        at: at(0),
        expires_at: at(100),
        risk: vec![],
        challenge: None,
    }
}

#[test]
fn a_session_showed_a_second_factor_if_the_command_that_began_it_did() {
    let verified = UserEvent::MfaVerified { step: Some(1), recovery_code: None };
    let replaced =
        UserEvent::SessionRevoked { session: SessionId(Uuid::from_u128(6)), because: SessionEnd::Replaced };
    // Shown for something else before; shown with this login, with another session's end between.
    for (events, second_factor) in [
        (vec![(1, 0, &verified), (2, 0, &login(5))], false),
        (vec![(1, 0, &verified), (2, 1, &replaced), (3, 2, &login(5))], true),
        (vec![(1, 0, &verified), (2, 1, &login(7)), (3, 0, &login(5))], false),
    ] {
        let mut session = Session::new(SessionId(Uuid::from_u128(5)));
        for (position, index, event) in events {
            session.fold(&envelope(position, index, event, None), event);
        }
        assert_eq!(session.begun.unwrap().login.second_factor, second_factor);
        assert!(!session.ended);
    }
}

#[test]
fn who_acted_for_others_has_no_name_for_whom_one_tenant_is_shown() {
    let (own, other) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
    let names = |of, within| {
        let event = envelope(1, 0, &UserEvent::Enabled {}, of);
        EventView::of(&event, within).actor.is_some()
    };
    assert!(names(Some(own), Some(own)));
    assert!(!names(Some(other), Some(own)) && !names(None, Some(own)));
    assert!(names(None, None) && names(Some(other), None));
}

#[test]
fn a_refusal_is_called_as_policies_call_it() {
    let word = |detail: Option<Detail>, problem: Problem| super::word(detail, &problem).to_owned();
    assert_eq!(word(Some(Detail::Hidden), Problem::hidden()), "hidden");
    assert_eq!(word(Some(Detail::Blocked), Problem::unavailable("quarantined")), "quarantined");
    assert_eq!(word(None, Problem::session_ended()), "session_expired");
    for detail in Detail::ALL {
        assert_eq!(word(Some(detail), detail.problem()), detail.as_str());
    }
}

#[test]
fn every_action_can_be_asked_about() {
    for one in url_map().endpoints() {
        assert_eq!(endpoint(one.action).unwrap().path, one.path);
    }
    assert!(endpoint("users:fly").is_none());
}

#[tokio::test]
async fn no_more_explanations_than_a_few_are_made_at_once() {
    let house = crate::testing::House::new().await;
    let router = house.router(url_map());
    let path = format!("/api/v1/explain?tenant={}", crate::testing::TENANT);
    let asked = || {
        let body = json!({"subject": {"type": "user", "id": Uuid::from_u128(1)}, "action": "users:list"});
        crate::testing::Ask::new(&router, "POST", &path).bearer(&house.operator()).json(&body).send()
    };
    let all = UNDER_WAY.acquire_many(AT_ONCE_MAX as u32).await.unwrap();
    assert_eq!(asked().await.problem(), (503, "ERR-SYS-503", "overloaded"));
    drop(all);
    assert_eq!(asked().await.body["detail"], "session_expired");
}
