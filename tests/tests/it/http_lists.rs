//! Lists filter by themselves, in SQL, what policies would decide row by row. Whoever asks, whichever way it is sorted, filtered
//! and cut into pages: a list shows exactly the rows that they may see one by one.

mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gateway::authenticate::{authenticate, in_tenant};
use gateway::endpoint::Endpoint;
use gateway::policy::{Question, Resource};
use kernel::TenantId;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use schemas::values::{AccessMode, MembershipKind};
use serde_json::Value;
use uuid::Uuid;

use world::{Asker, World};

/// How a row is seen by itself.
#[derive(Clone, Debug)]
enum OneByOne {
    /// Where there is a route that shows it: that answers 200.
    Shown(String),
    /// Where there is none: the policies let the list's action be done on a tenant that the row belongs to.
    Tenants(Vec<Uuid>),
    /// Nobody's in particular: the same, on the platform.
    Platform,
    /// A person's own.
    Persons(Uuid),
    /// Whoever may see any sees it.
    Callers,
}

/// A row: the list's path, and what tells it apart there.
type Key = (String, String);
type Rows = BTreeMap<Key, OneByOne>;

/// A list: where it is, and what rows there are altogether.
struct List {
    name: &'static str,
    /// More than one where each thing has a list of its own: then a row is told apart by it too.
    paths: Vec<String>,
    /// Parameters that are always there.
    fixed: String,
    action: &'static str,
    /// The member of an item that tells it apart.
    key: &'static str,
    rows: Rows,
    /// Empty: it comes whole.
    sorts: &'static [&'static str],
    /// Filters, each with the member of an item that holds what is compared.
    filters: &'static [(&'static str, &'static str)],
    /// So many rows that pages must not be too small.
    is_long: bool,
}

struct Lists {
    world: World,
    lists: Vec<List>,
    endpoints: HashMap<&'static str, Arc<Endpoint>>,
    /// What each asker may see one by one, once it was found out.
    known: RefCell<HashMap<(usize, &'static str), BTreeSet<Key>>>,
    /// How many rows and pages of each list were seen at most.
    seen: RefCell<BTreeMap<&'static str, (usize, usize)>>,
}

/// A way to ask.
#[derive(Clone, Debug)]
struct Way {
    asker: usize,
    limit: usize,
    sort: usize,
    descending: bool,
    filter: usize,
    value: usize,
}

fn way(askers: usize) -> impl Strategy<Value = Way> {
    let rest = (1..40_usize, 0..6_usize, any::<bool>(), 0..12_usize, 0..64_usize);
    (0..askers, rest).prop_map(|(asker, (limit, sort, descending, filter, value))| Way {
        asker,
        limit,
        sort,
        descending,
        filter,
        value,
    })
}

/// CC-SEC-001, CON-SEC-007, CC-AUTH-003: the same ways each time.
#[test]
fn every_list_shows_exactly_the_rows_that_the_policies_allow_one_by_one() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lists = runtime.block_on(async { Lists::of(World::build().await).await });
    let askers = lists.world.askers.len();
    // Those who see most, with small pages; then anybody, anyhow.
    let whole = |asker| Way { asker, limit: 1, sort: 0, descending: true, filter: 0, value: 0 };
    for asker in (0..askers).filter(|asker| lists.world.sees_most(&lists.world.askers[*asker])) {
        runtime.block_on(lists.check(&whole(asker)));
    }
    let config = Config { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let result = TestRunner::new_with_rng(config, random).run(&way(askers), |way| {
        runtime.block_on(lists.check(&way));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    for list in &lists.lists {
        let (rows, pages) = lists.seen.borrow().get(list.name).copied().unwrap_or_default();
        assert!(rows > 1, "{} showed nobody more than {rows} rows", list.name);
        assert!(pages > 1 || list.sorts.is_empty(), "{} was never cut into pages", list.name);
    }
}

/// Passkeys want an authenticator: whose they are shows `http_passkeys`.
const COMPARED_ELSEWHERE: [&str; 1] = ["passkeys:list"];

impl Lists {
    async fn of(world: World) -> Self {
        let map = gateway::url_map::url_map();
        let endpoints = map.endpoints().map(|endpoint| (endpoint.action, Arc::clone(endpoint))).collect();
        let lists = all(&world, &map).await;
        // A list that is added is added here too.
        let known: BTreeSet<&str> = lists.iter().map(|list| list.action).collect();
        for endpoint in map.endpoints() {
            let name = endpoint.action.split_once(':').map(|(_, name)| name).unwrap_or_default();
            let is_list = name == "list" || name == "audit_logs";
            let elsewhere = COMPARED_ELSEWHERE.contains(&endpoint.action);
            assert!(
                !is_list || elsewhere || known.contains(endpoint.action),
                "{} is not compared",
                endpoint.action
            );
        }
        Self { world, lists, endpoints, known: RefCell::default(), seen: RefCell::default() }
    }

    async fn check(&self, way: &Way) {
        let asker = &self.world.askers[way.asker];
        for list in &self.lists {
            let expected = self.one_by_one(way.asker, list).await;
            let sort = match list.sorts {
                [] => String::new(),
                sorts => {
                    let sign = if way.descending { "-" } else { "" };
                    format!("&sort={sign}{}", sorts[way.sort % sorts.len()])
                }
            };
            let limit = if list.is_long { way.limit.max(20) + 30 } else { way.limit };
            let limit = if list.sorts.is_empty() { String::new() } else { format!("&limit={limit}") };
            let (items, pages) = self.pages(asker, list, &format!("{sort}{limit}")).await;
            let found: BTreeSet<_> = items.keys().cloned().collect();
            let what = format!("{} for {} by {way:?}", list.name, asker.who);
            assert_eq!(found, expected, "{what}");
            {
                let mut seen = self.seen.borrow_mut();
                let most = seen.entry(list.name).or_default();
                *most = (most.0.max(found.len()), most.1.max(pages));
            }
            for (filter, member) in list.filters {
                let can_be = |item: &Value| item.pointer(member).is_some_and(Value::is_string);
                assert!(
                    items.is_empty() || items.values().any(can_be),
                    "{what}: nothing to filter {filter} by"
                );
            }
            // What equals a value, and what does not, are all there is.
            let filters = list.filters.iter().filter_map(|(filter, member)| {
                let value = items.values().nth(way.value % items.len().max(1))?.pointer(member)?.as_str()?;
                Some((*filter, value.to_owned()))
            });
            let filters: Vec<_> = filters.collect();
            let Some((filter, value)) = filters.get(way.filter % filters.len().max(1)) else { continue };
            let value: String = reqwest::Url::parse_with_params("http://x", [("v", value)])
                .expect("a value")
                .query()
                .map(|query| query["v=".len()..].to_owned())
                .expect("a query");
            let of = async |op: &str| -> BTreeSet<Key> {
                let query = format!("{sort}&limit=200&filter[{filter}][{op}]={value}");
                self.pages(asker, list, &query).await.0.into_keys().collect()
            };
            let (equal, other) = (of("eq").await, of("ne").await);
            assert!(equal.is_disjoint(&other) && !equal.is_empty(), "{what}, {filter} = {value}");
            assert_eq!(&equal | &other, expected, "{what}, {filter} = {value}");
        }
    }

    /// All rows that a list shows, and how many pages they took. What is refused shows none.
    async fn pages(&self, asker: &Asker, list: &List, query: &str) -> (BTreeMap<Key, Value>, usize) {
        let (mut items, mut most) = (BTreeMap::new(), 0);
        for path in &list.paths {
            let mut pages = 0;
            let mut cursor = String::new();
            loop {
                let asked = format!("{path}?{}{query}{cursor}", list.fixed);
                let answer = self.call(asker, &asked).await;
                if answer.status != StatusCode::OK {
                    let refused = matches!(answer.status.as_u16(), 401 | 403 | 404);
                    assert!(refused && pages == 0, "{asked}: {}", answer.text);
                    break;
                }
                pages += 1;
                for item in answer.body["items"].as_array().expect("items") {
                    let key = item[list.key].as_str().unwrap_or_else(|| panic!("{asked}: {item}"));
                    let twice = items.insert((path.clone(), key.to_owned()), item.clone());
                    assert!(twice.is_none(), "{asked} shows {key} twice");
                }
                match answer.body["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            most = most.max(pages);
        }
        (items, most)
    }

    async fn call(&self, asker: &Asker, path: &str) -> crate::app::Answer {
        let call = self.world.app.get(path);
        match &asker.credentials {
            Some(credentials) => call.by(credentials).send().await,
            None => call.send().await,
        }
    }

    /// Of all rows there are, those that somebody may see by themselves.
    async fn one_by_one(&self, asker: usize, list: &List) -> BTreeSet<Key> {
        if let Some(known) = self.known.borrow().get(&(asker, list.name)) {
            return known.clone();
        }
        let mut seen = BTreeSet::new();
        for (row, how) in &list.rows {
            let asks = &self.world.askers[asker];
            let may = match how {
                OneByOne::Shown(path) => {
                    let answer = self.call(asks, path).await;
                    let known = matches!(answer.status.as_u16(), 200 | 401 | 403 | 404);
                    assert!(known, "{path}: {}", answer.text);
                    answer.status == StatusCode::OK
                }
                OneByOne::Tenants(all) => {
                    all.iter().any(|tenant| self.may(asks, list.action, Some(*tenant), None))
                }
                OneByOne::Platform => self.may(asks, list.action, None, None),
                OneByOne::Persons(person) => self.may(asks, list.action, None, Some(*person)),
                OneByOne::Callers => self.may(asks, list.action, asks.tenant, None),
            };
            if may {
                seen.insert(row.clone());
            }
        }
        self.known.borrow_mut().insert((asker, list.name), seen.clone());
        seen
    }

    /// What the policies say, of a tenant, a person's account, or the platform.
    fn may(&self, asker: &Asker, action: &str, tenant: Option<Uuid>, account: Option<Uuid>) -> bool {
        let Some(credentials) = &asker.credentials else { return false };
        let app = &self.world.app.server.state;
        let bearer = HeaderValue::try_from(format!("Bearer {credentials}")).expect("it is ASCII");
        let mut caller = authenticate(app, &HeaderMap::from_iter([(AUTHORIZATION, bearer)]), false)
            .unwrap_or_else(|problem| panic!("{}: {problem:?}", asker.who));
        if in_tenant(app, &mut caller, false).is_err() {
            return false;
        }
        let endpoint = &self.endpoints[action];
        let (access, now) = (&app.access.memory, app.clock.now());
        let (mut kind, mut holds) = (MembershipKind::Staff, false);
        let resource = match (tenant.map(TenantId), account) {
            (Some(id), _) => {
                if let Some(person) = caller.person() {
                    kind = access.membership(id, person).map_or(kind, |member| member.kind);
                    holds = access.was_given(id, person, action);
                }
                let known = access.tenant(id);
                let mode = known.map_or(AccessMode::Blocked, |known| known.effective(kind, now));
                let (status, mfa_required) =
                    known.map_or((None, false), |known| (Some(known.status()), known.mfa_required));
                Resource::Tenant { id, mode, status, mfa_required }
            }
            (None, Some(person)) if caller.person().is_some_and(|own| own.0 == person) => Resource::Account,
            (None, Some(_)) => return false,
            (None, None) => Resource::Platform,
        };
        let mfa = caller.session.is_some_and(|session| session.second_factor);
        let question = Question {
            action,
            caller: &caller,
            kind,
            holds,
            mfa,
            resource,
            connected: false,
            mutates: endpoint.mutates,
            when_blocked: endpoint.when_blocked,
            now,
        };
        app.authorizer.decide(&question).allowed
    }
}

/// Every list, with all rows that there are of it.
async fn all(world: &World, map: &gateway::url_map::UrlMap) -> Vec<List> {
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
        key: "id",
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
    let flags = world.rows("tenant::text, key", "flags").await;
    let flags_of = |tenant: &str| format!("/api/operator/tenants/{tenant}/flags");
    let keys = world.rows("application::text, id::text", "application_keys").await;
    let keys_of = |application: &str| format!("/api/developer/applications/{application}/keys");
    let permissions = map.endpoints().filter(|endpoint| endpoint.can_be_given());
    let permissions =
        permissions.map(|it| (("/api/v1/permissions".to_owned(), it.action.to_owned()), OneByOne::Callers));
    let policies = (1..=4_u128).map(|n| {
        let (path, id) = ("/api/operator/policies", Uuid::from_u128(n));
        ((path.to_owned(), id.to_string()), OneByOne::Shown(format!("{path}/{id}")))
    });

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
            paths: world.tenants.iter().map(|tenant| flags_of(&tenant.to_string())).collect(),
            key: "key",
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
            ..list("policies", "/api/operator/policies", "policies:list", policies.collect())
        },
        List {
            key: "permission",
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
