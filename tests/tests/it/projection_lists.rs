//! Lists: filters, orders, pages, whose rows may be seen, and the plans behind them.

use projections::{
    ApplicationDirectory, AuditRange, AuditTrail, ListQuery, ListSpec, MembershipDirectory, RoleDirectory,
    Scope, TenantDirectory, TenantRow, UserDirectory,
};
use schemas::events::{MembershipEvent, TenantEvent};
use schemas::values::{Plan, Role, TenantStatus};

use crate::projection_world::{
    World, app_registered, application, flag_set, invited, key_issued, person, provisioned, refused,
    registered, role_created, suspended, tenant, to_membership, to_tenant,
};

fn query(spec: &'static ListSpec, filters: &[(&str, &str, &str)], sort: &str, limit: u32) -> ListQuery {
    spec.query(filters.iter().copied(), Some(sort), Some(limit), None).unwrap()
}

/// A hundred tenants with ten names, so that orders have ties.
async fn a_hundred_tenants() -> World {
    let world = World::new().await;
    let plan = |n: u128| if n.is_multiple_of(3) { Plan::Free } else { Plan::Enterprise };
    world
        .happens(
            (0..100).map(|n| provisioned(n, &format!("Name {}", n % 10), &format!("t{n}.example"), plan(n))),
        )
        .await;
    world
}

async fn tenants(world: &World, filters: &[(&str, &str, &str)], sort: &str) -> Vec<TenantRow> {
    let query = query(TenantDirectory::LIST, filters, sort, 200);
    TenantDirectory::list(&*world.client().await, Scope::Platform, &query).await.unwrap().rows
}

#[tokio::test]
async fn filters_narrow_a_list_and_hold_together() {
    let world = a_hundred_tenants().await;
    world.happens([suspended(4, "unpaid"), suspended(7, "unpaid")]).await;
    let count = async |filters: &[(&str, &str, &str)]| tenants(&world, filters, "name").await.len();
    assert_eq!(count(&[]).await, 100);
    assert_eq!(count(&[("name", "eq", "Name 3")]).await, 10);
    assert_eq!(count(&[("name", "ne", "Name 3")]).await, 90);
    assert_eq!(count(&[("name", "in", "Name 3,Name 4")]).await, 20);
    assert_eq!(count(&[("domain", "like", "T1%")]).await, 11);
    assert_eq!(count(&[("domain", "like", "t_.example")]).await, 10);
    assert_eq!(count(&[("status", "eq", "suspended")]).await, 2);
    assert_eq!(count(&[("status", "in", "suspended,trial")]).await, 36);
    assert_eq!(count(&[("plan", "eq", "free"), ("name", "eq", "Name 3")]).await, 4);
    let tenth = crate::feeds::at(10).to_rfc3339();
    assert_eq!(count(&[("created_at", "gt", &tenth)]).await, 90);
    assert_eq!(count(&[("created_at", "lt", &tenth)]).await, 9);
    assert_eq!(count(&[("created_at", "gt", &tenth), ("created_at", "lt", &tenth)]).await, 0);
    assert_eq!(tenants(&world, &[("slug", "eq", "slug-4")], "name").await[0].status, TenantStatus::Suspended);
}

#[tokio::test]
async fn pages_in_any_order_hold_every_row_once_and_in_order() {
    let world = a_hundred_tenants().await;
    let client = world.client().await;
    for sort in ["name", "-name", "-created_at", "name,-created_at", "-name,domain", "name,domain"] {
        let whole: Vec<_> = tenants(&world, &[], sort).await.into_iter().map(|row| row.id).collect();
        assert_eq!(whole.len(), 100);
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let query = TenantDirectory::LIST.query([], Some(sort), Some(7), after.take()).unwrap();
            let page = TenantDirectory::list(&client, Scope::Platform, &query).await.unwrap();
            assert!(page.rows.len() <= 7);
            paged.extend(page.rows.into_iter().map(|row| row.id));
            match page.next {
                // As it goes through a cursor.
                Some(next) => after = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap(),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{sort}");
    }
    let by_name = tenants(&world, &[], "-name,created_at").await;
    assert!(
        by_name
            .windows(2)
            .all(|pair| (&pair[1].name, pair[0].created_at) <= (&pair[0].name, pair[1].created_at)
                || pair[0].name > pair[1].name)
    );
}

#[tokio::test]
async fn a_row_that_appears_between_two_pages_neither_repeats_nor_hides_another() {
    let world = a_hundred_tenants().await;
    let client = world.client().await;
    let first = query(TenantDirectory::LIST, &[], "-created_at", 10);
    let page = TenantDirectory::list(&client, Scope::Platform, &first).await.unwrap();
    world.happens([provisioned(500, "New", "new.example", Plan::Pro)]).await;
    let second = TenantDirectory::LIST.query([], Some("-created_at"), Some(10), page.next).unwrap();
    let second = TenantDirectory::list(&client, Scope::Platform, &second).await.unwrap();
    assert_eq!(second.rows[0].id, tenant(89));
}

#[tokio::test]
async fn nothing_in_a_filter_reaches_sql_but_as_a_value() {
    let world = a_hundred_tenants().await;
    let nasty = [
        "'",
        "\"",
        "';--",
        "' OR '1'='1",
        "$1",
        "\\",
        "%\\",
        "\\%",
        "_%\\_",
        "{tenant_directory}",
        "$?",
        "); DROP TABLE events; --",
        "\u{202e}",
        "𝒳",
        "NULL",
    ];
    for text in nasty {
        for op in ["eq", "in", "like"] {
            let found = tenants(&world, &[("name", op, text)], "name").await;
            assert!(found.is_empty(), "{op} {text:?}");
        }
        assert_eq!(tenants(&world, &[("name", "ne", text)], "name").await.len(), 100);
    }
}

#[tokio::test]
async fn a_tenant_sees_only_what_is_its_own() {
    let world = World::new().await;
    world
        .happens((1..=2).flat_map(|t| {
            [
                provisioned(t, "Acme", &format!("t{t}.example"), Plan::Pro),
                registered(t, &format!("ann@t{t}.example"), "Archer"),
                invited(t, t, t, Role::Owner),
                app_registered(t, &format!("App {t}")),
                to_tenant(t, TenantEvent::ApplicationConnected { application: application(t) }),
                flag_set(t, "a", schemas::values::FlagValue::Boolean(true)),
            ]
        }))
        .await;
    world.is_refused([refused(1, Some(1), "a"), refused(2, Some(2), "b"), refused(3, None, "c")]).await;
    let client = world.client().await;
    let mine = Scope::Tenant(tenant(1));

    let all = query(TenantDirectory::LIST, &[], "name", 50);
    let rows = TenantDirectory::list(&client, mine, &all).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [tenant(1)]);
    assert!(TenantDirectory::get(&client, mine, tenant(2)).await.unwrap().is_none());

    let all = query(UserDirectory::LIST, &[], "email", 50);
    let rows = UserDirectory::list(&client, mine, &all).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [person(1)]);
    assert!(UserDirectory::get(&client, mine, person(2)).await.unwrap().is_none());

    let all = query(MembershipDirectory::LIST, &[("email", "like", "%")], "created_at", 50);
    let rows = MembershipDirectory::list(&client, mine, &all).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.tenant).collect::<Vec<_>>(), [tenant(1)]);
    let theirs = crate::projection_world::membership(2);
    assert!(MembershipDirectory::get(&client, mine, theirs).await.unwrap().is_none());
    // Asking for another tenant by filter doesn't widen the scope.
    let other = tenant(2).to_string();
    let asked = query(MembershipDirectory::LIST, &[("tenant", "eq", &other)], "created_at", 50);
    assert!(MembershipDirectory::list(&client, mine, &asked).await.unwrap().rows.is_empty());

    let all = query(ApplicationDirectory::LIST, &[], "name", 50);
    let rows = ApplicationDirectory::list(&client, mine, &all).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [application(1)]);

    let all = query(AuditTrail::LIST, &[], "recorded_at", 200);
    let rows = AuditTrail::list(&client, mine, AuditRange::default(), &all).await.unwrap().rows;
    assert!(!rows.is_empty() && rows.iter().all(|row| row.tenant == Some(tenant(1))));
    let everything =
        AuditTrail::list(&client, Scope::Platform, AuditRange::default(), &all).await.unwrap().rows;
    assert!(everything.len() > rows.len() * 2);

    // A removed member is no longer one of its people.
    world.happens([to_membership(1, 1, MembershipEvent::Removed {})]).await;
    assert!(UserDirectory::get(&client, mine, person(1)).await.unwrap().is_none());
}

/// Thousands of rows in every read model, a tenth of them tenant 7's, with statistics.
async fn a_crowd() -> World {
    let world = World::new().await;
    world
        .happens((0..3_000).flat_map(|n| {
            let t = if n % 10 == 0 { 7 } else { n };
            [
                provisioned(n, &format!("Name {n}"), &format!("t{n}.example"), Plan::Pro),
                registered(n, &format!("p{n}@t.example"), &format!("Last {n}")),
                invited(n, t, n, Role::User),
                app_registered(n, &format!("App {n}")),
                key_issued(n % 100, n),
                to_tenant(t, TenantEvent::ApplicationConnected { application: application(n) }),
                flag_set(t, &format!("flag-{n}"), schemas::values::FlagValue::Boolean(true)),
                role_created(n, t, &format!("Role {n}"), &["users:read"]),
            ]
        }))
        .await;
    world.is_refused((0..3_000).map(|n| refused(n, Some(n % 500), "tenants:read"))).await;
    world.db.owner.get().await.unwrap().batch_execute("ANALYZE").await.unwrap();
    world
}

fn assert_uses(plan: &str, index: &str, of: &str) {
    assert!(plan.contains(index), "{of} does not use {index}:\n{plan}");
    assert!(!plan.contains("Seq Scan"), "{of} reads a whole table:\n{plan}");
}

/// NFR-PERF-002: no list reads a whole table, first page or later, whoever asks.
#[tokio::test]
async fn every_list_is_answered_from_an_index() {
    let world = a_crowd().await;
    let client = world.client().await;
    let tenant_7 = Scope::Tenant(tenant(7));

    for (sort, index) in [
        ("name", "tenant_directory_v3_1_name"),
        ("-domain", "tenant_directory_v3_1_domain"),
        ("-created_at", "tenant_directory_v3_1_created_at"),
        ("name,-created_at", "tenant_directory_v3_1_name"),
    ] {
        for query in both_pages(&world, TenantDirectory::LIST, sort).await {
            let plan = TenantDirectory::explain(&client, Scope::Platform, &query).await.unwrap();
            assert_uses(&plan, index, &format!("tenants by {sort}"));
            assert!(!plan.contains("Sort Method"), "{plan}");
        }
    }
    let own = query(TenantDirectory::LIST, &[], "name", 50);
    let plan = TenantDirectory::explain(&client, tenant_7, &own).await.unwrap();
    assert_uses(&plan, "tenant_directory_v3_1_pkey", "a tenant's own row");

    for (sort, index) in [
        ("email", "user_directory_v2_1_email"),
        ("last_name", "user_directory_v2_1_last_name"),
        ("-created_at", "user_directory_v2_1_created_at"),
    ] {
        let query = query(UserDirectory::LIST, &[], sort, 50);
        let plan = UserDirectory::explain(&client, Scope::Platform, &query).await.unwrap();
        assert_uses(&plan, index, &format!("people by {sort}"));
        let plan = UserDirectory::explain(&client, tenant_7, &query).await.unwrap();
        assert_uses(&plan, "membership_directory_v1_1_", &format!("a tenant's people by {sort}"));
    }

    let members = query(MembershipDirectory::LIST, &[], "-created_at", 50);
    let plan = MembershipDirectory::explain(&client, Scope::Platform, &members).await.unwrap();
    assert_uses(&plan, "membership_directory_v1_1_created_at", "all members");
    let plan = MembershipDirectory::explain(&client, tenant_7, &members).await.unwrap();
    assert_uses(&plan, "membership_directory_v1_1_tenant_created_at", "a tenant's members");
    let open = query(MembershipDirectory::INVITATIONS, &[], "-created_at", 50);
    let plan = MembershipDirectory::explain_invitations(&client, tenant_7, &open).await.unwrap();
    assert_uses(&plan, "membership_directory_v1_1_tenant_created_at", "a tenant's invitations");

    for (sort, index) in [
        ("name", "role_directory_v1_1_tenant_name"),
        ("-created_at", "role_directory_v1_1_tenant_created_at"),
    ] {
        let query = query(RoleDirectory::LIST, &[], sort, 50);
        let plan = RoleDirectory::explain(&client, tenant(7), &query).await.unwrap();
        assert_uses(&plan, index, &format!("a tenant's roles by {sort}"));
    }

    for (sort, index) in [
        ("name", "role_directory_v1_1_tenant_name"),
        ("-created_at", "role_directory_v1_1_tenant_created_at"),
    ] {
        let query = query(RoleDirectory::LIST, &[], sort, 50);
        let plan = RoleDirectory::explain(&client, tenant(7), &query).await.unwrap();
        assert_uses(&plan, index, &format!("a tenant's roles by {sort}"));
    }

    for (sort, index) in [
        ("name", "application_directory_v1_1_name"),
        ("-created_at", "application_directory_v1_1_created_at"),
    ] {
        let query = query(ApplicationDirectory::LIST, &[], sort, 50);
        let plan = ApplicationDirectory::explain(&client, Scope::Platform, &query).await.unwrap();
        assert_uses(&plan, index, &format!("applications by {sort}"));
        let plan = ApplicationDirectory::explain(&client, tenant_7, &query).await.unwrap();
        assert_uses(&plan, "tenant_applications_v2_1_", &format!("a tenant's applications by {sort}"));
    }
    let keys = query(ApplicationDirectory::KEYS, &[], "-created_at", 50);
    let plan = ApplicationDirectory::explain_keys(&client, application(3), &keys).await.unwrap();
    assert_uses(&plan, "application_keys_v1_1_application_created_at", "an application's keys");
}

/// FR-LOG-002
#[tokio::test]
async fn every_list_of_the_audit_trail_is_answered_from_an_index() {
    let world = a_crowd().await;
    let client = world.client().await;
    let range = AuditRange { from: Some(crate::feeds::at(100)), until: Some(crate::feeds::at(200_000)) };
    for sort in ["recorded_at", "-recorded_at"] {
        let all = query(AuditTrail::LIST, &[], sort, 50);
        let plan = AuditTrail::explain(&client, Scope::Platform, range, &all).await.unwrap();
        assert_uses(&plan, "audit_trail_v4_1_recorded_at", "the whole trail");
        let plan = AuditTrail::explain(&client, Scope::Tenant(tenant(7)), range, &all).await.unwrap();
        assert_uses(&plan, "audit_trail_v4_1_tenant_recorded_at", "a tenant's trail");
    }
    let correlation = uuid::Uuid::from_u128(43).to_string();
    let (resource, itself) = (person(3).to_string(), tenant(9).to_string());
    for (field, value, index) in [
        ("actor", "operator-2", "audit_trail_v4_1_actor_recorded_at"),
        ("resource_id", resource.as_str(), "audit_trail_v4_1_resource_recorded_at"),
        ("resource_id", itself.as_str(), "audit_trail_v4_1_tenant_recorded_at"),
        ("correlation_id", correlation.as_str(), "audit_trail_v4_1_correlation_id"),
    ] {
        let one = query(AuditTrail::LIST, &[(field, "eq", value)], "-recorded_at", 50);
        let plan = AuditTrail::explain(&client, Scope::Platform, range, &one).await.unwrap();
        assert_uses(&plan, index, &format!("the trail by {field}"));
    }
}

/// The first page and the one after it.
async fn both_pages(world: &World, spec: &'static ListSpec, sort: &str) -> [ListQuery; 2] {
    let first = query(spec, &[], sort, 50);
    let page = TenantDirectory::list(&*world.client().await, Scope::Platform, &first).await.unwrap();
    let second = spec.query([], Some(sort), Some(50), page.next).unwrap();
    [first, second]
}
