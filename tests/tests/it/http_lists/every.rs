//! Every list there is.

use std::collections::BTreeSet;

use gateway::url_map::UrlMap;
use uuid::Uuid;

use super::world::World;
use super::{List, OneByOne, Reading, Rows};

/// Every list, with all rows that there are of it.
pub async fn list(world: &World, map: &UrlMap) -> Vec<List> {
    let id = |text: &Option<String>| text.as_deref().expect("an id").parse::<Uuid>().expect("an id");
    let text = |text: &Option<String>| text.clone().expect("a text");
    let shown = async |path: &'static str, columns: &str, table: &str| -> Rows {
        let rows = world.rows(columns, table).await.into_iter();
        rows.map(|row| {
            let key = text(&row[0]);
            ((path.to_owned(), key.clone()), OneByOne::Shown(format!("{path}/{key}")))
        })
        .collect()
    };
    let list = |name, path: &'static str, action, rows| List {
        name,
        paths: vec![path.to_owned()],
        fixed: String::new(),
        action,
        reading: Reading::Pages("id"),
        rows,
        sorts: &["created_at"],
        filters: &[],
        is_long: false,
    };
    let members = world.rows("id::text, tenant::text, status, person::text", "membership_directory").await;
    let of_members = |path: &str, is: fn(&str) -> bool| -> Rows {
        let rows = members.iter().filter(|row| is(&text(&row[2])));
        rows.map(|row| ((path.to_owned(), text(&row[0])), OneByOne::Tenants(vec![id(&row[1])]))).collect()
    };
    let audit = world.rows("id::text, tenant::text, recorded_at::text", "audit_trail");
    let audit: BTreeSet<_> = audit.await;
    let audit_of = |path: &str, of: &dyn Fn(&Option<String>) -> Option<OneByOne>| -> Rows {
        let rows = audit.iter().filter_map(|row| Some(((path.to_owned(), text(&row[0])), of(&row[1])?)));
        rows.collect()
    };
    let until = format!("until={}", world.built_at);
    let audit_filters = &[("action", "/action"), ("actor", "/actor"), ("outcome", "/outcome")];

    let (mut sessions, mut own) = (Rows::new(), Rows::new());
    for session in world.sessions.iter().filter(|session| world.goes_on(session)) {
        let key = |path: String| (path, session.id.to_string());
        own.insert(key("/api/v1/users/me/sessions".to_owned()), OneByOne::Persons(session.person));
        let path = format!("/api/v1/users/{}/sessions", session.person);
        sessions.insert(key(path), OneByOne::Tenants(session.tenants.clone()));
    }
    let tokens = world.tokens.iter().filter(|(session, _)| world.goes_on(session)).map(|(session, token)| {
        (("/api/v1/users/me/tokens".to_owned(), token.to_string()), OneByOne::Persons(session.person))
    });
    let people: BTreeSet<Uuid> = members.iter().map(|row| id(&row[3])).collect();
    let flags = world.flags().await;
    let flags_of = |tenant: &str| format!("/api/operator/tenants/{tenant}/flags");
    let delivered = |path: &dyn Fn(&str) -> String| -> Rows {
        let of = |row: &[Option<String>]| OneByOne::Tenants(vec![id(&row[0])]);
        flags.iter().map(|row| ((path(&text(&row[0])), text(&row[1])), of(row))).collect()
    };
    let polled = |tenant: &str| format!("/api/v1/flags?tenant={tenant}");
    let evaluated = |tenant: &str| format!("/ofrep/v1/evaluate/flags?tenant={tenant}");
    let paths =
        |path: &dyn Fn(&str) -> String| world.tenants.iter().map(|it| path(&it.to_string())).collect();
    let passkeys = world.passkeys.iter().map(|(person, passkey)| {
        (("/api/v1/users/me/passkeys".to_owned(), passkey.to_string()), OneByOne::Persons(*person))
    });
    let keys = world.rows("application::text, id::text", "application_keys").await;
    let keys_of = |application: &str| format!("/api/developer/applications/{application}/keys");
    let permissions = map.endpoints().filter(|endpoint| endpoint.can_be_given());
    let permissions =
        permissions.map(|it| (("/api/v1/permissions".to_owned(), it.action.to_owned()), OneByOne::Callers));
    let by_itself =
        |path: &str, id: Uuid| ((path.to_owned(), id.to_string()), OneByOne::Shown(format!("{path}/{id}")));
    let policies = (1..=4_u128).map(|n| by_itself("/api/operator/policies", Uuid::from_u128(n)));
    let providers = world.providers.iter().map(|id| by_itself("/api/v1/tenants/me/sso", *id));

    vec![
        List {
            sorts: &["created_at", "email", "last_name"],
            filters: &[("email", "/email")],
            ..list(
                "users",
                "/api/v1/users",
                "users:list",
                shown("/api/v1/users", "id::text", "user_directory").await,
            )
        },
        List {
            filters: &[("status", "/status"), ("role", "/role"), ("person", "/person"), ("email", "/email")],
            ..list(
                "memberships",
                "/api/v1/memberships",
                "memberships:list",
                of_members("/api/v1/memberships", |_| true),
            )
        },
        List {
            filters: &[("email", "/email"), ("role", "/role")],
            ..list(
                "invitations",
                "/api/v1/invitations",
                "invitations:list",
                of_members("/api/v1/invitations", |status| status == "invited"),
            )
        },
        List {
            sorts: &["name", "created_at"],
            filters: &[("name", "/name")],
            ..list(
                "roles",
                "/api/v1/roles",
                "roles:list",
                shown("/api/v1/roles", "id::text", "role_directory").await,
            )
        },
        List {
            sorts: &["name", "domain", "created_at"],
            filters: &[("name", "/name"), ("status", "/status"), ("domain", "/domain")],
            ..list(
                "tenants",
                "/api/operator/tenants",
                "tenants:list",
                shown("/api/operator/tenants", "id::text", "tenant_directory").await,
            )
        },
        List {
            sorts: &["name", "created_at"],
            filters: &[("name", "/name"), ("environment", "/environment")],
            ..list(
                "applications",
                "/api/developer/applications",
                "applications:list",
                shown("/api/developer/applications", "id::text", "application_directory").await,
            )
        },
        List {
            paths: world.applications.iter().map(|application| keys_of(&application.to_string())).collect(),
            filters: &[("status", "/status"), ("prefix", "/prefix")],
            ..list("keys", "", "keys:list", {
                let rows = keys.iter();
                rows.map(|row| ((keys_of(&text(&row[0])), text(&row[1])), OneByOne::Platform)).collect()
            })
        },
        List {
            paths: paths(&flags_of),
            reading: Reading::Pages("key"),
            sorts: &[],
            ..list("flags", "", "flags:list", {
                let path = |row: &[Option<String>]| flags_of(&text(&row[0]));
                let one =
                    |row: &[Option<String>]| OneByOne::Shown(format!("{}/{}", path(row), text(&row[1])));
                flags.iter().map(|row| ((path(row), text(&row[1])), one(row))).collect()
            })
        },
        List {
            paths: people.iter().map(|person| format!("/api/v1/users/{person}/sessions")).collect(),
            sorts: &[],
            ..list("sessions", "", "sessions:list", sessions)
        },
        List { sorts: &[], ..list("own sessions", "/api/v1/users/me/sessions", "my_sessions:list", own) },
        List {
            sorts: &[],
            ..list("own tokens", "/api/v1/users/me/tokens", "my_tokens:list", tokens.collect())
        },
        List {
            sorts: &[],
            ..list("own passkeys", "/api/v1/users/me/passkeys", "passkeys:list", passkeys.collect())
        },
        List {
            paths: paths(&polled),
            reading: Reading::Polled,
            sorts: &[],
            ..list("polled flags", "", "flags:poll", delivered(&polled))
        },
        List {
            paths: paths(&evaluated),
            reading: Reading::Evaluated,
            sorts: &[],
            ..list("evaluated flags", "", "flags:evaluate_all", delivered(&evaluated))
        },
        List { sorts: &[], ..list("providers", "/api/v1/tenants/me/sso", "sso:list", providers.collect()) },
        List {
            sorts: &[],
            ..list("policies", "/api/operator/policies", "policies:list", policies.collect())
        },
        List {
            reading: Reading::Pages("permission"),
            sorts: &[],
            ..list("permissions", "/api/v1/permissions", "permissions:list", permissions.collect())
        },
        List {
            fixed: until.clone(),
            sorts: &["recorded_at"],
            filters: audit_filters,
            is_long: true,
            ..list(
                "a tenant's audit trail",
                "/api/v1/tenants/me/audit-logs",
                "own_tenant:audit_logs",
                audit_of("/api/v1/tenants/me/audit-logs", &|tenant| {
                    Some(OneByOne::Tenants(vec![tenant.as_deref()?.parse().expect("an id")]))
                }),
            )
        },
        List {
            fixed: until.clone(),
            reading: Reading::Csv,
            sorts: &[],
            filters: audit_filters,
            ..list(
                "the exported audit trail",
                "/api/auditor/audit-logs/export",
                "audit:export",
                audit_of("/api/auditor/audit-logs/export", &|_| Some(OneByOne::Platform)),
            )
        },
        List {
            fixed: until,
            sorts: &["recorded_at"],
            filters: audit_filters,
            is_long: true,
            ..list(
                "the audit trail",
                "/api/auditor/audit-logs",
                "audit:list",
                audit_of("/api/auditor/audit-logs", &|_| Some(OneByOne::Platform)),
            )
        },
    ]
}
