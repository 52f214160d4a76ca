//! Lists filter by themselves, in SQL, what policies would decide row by row. Whoever asks, whichever way it is sorted, filtered
//! and cut into pages: a list shows exactly the rows that they may see one by one.

mod every;
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
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::Answer;
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

/// How rows are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    /// Page by page; the member of an item that tells it apart.
    Pages(&'static str),
    /// All at once, as CSV with a line that names the columns.
    Csv,
    /// Flags by key, as applications poll them.
    Polled,
    /// The same as OFREP has them.
    Evaluated,
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
    reading: Reading,
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

impl Lists {
    async fn of(world: World) -> Self {
        let map = gateway::url_map::url_map();
        let endpoints = map.endpoints().map(|endpoint| (endpoint.action, Arc::clone(endpoint))).collect();
        let lists = every::list(&world, &map).await;
        // A list that is added is added here too.
        let known: BTreeSet<&str> = lists.iter().map(|list| list.action).collect();
        for endpoint in map.endpoints() {
            let name = endpoint.action.split_once(':').map(|(_, name)| name).unwrap_or_default();
            let is_list = matches!(name, "list" | "audit_logs" | "poll" | "evaluate_all")
                || endpoint.action == "audit:export";
            assert!(!is_list || known.contains(endpoint.action), "{} is not compared", endpoint.action);
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
                let limit = if list.reading == Reading::Csv { "" } else { "&limit=200" };
                let query = format!("{sort}{limit}&filter[{filter}][{op}]={value}");
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
                let and = if path.contains('?') { '&' } else { '?' };
                let asked = format!("{path}{and}{}{query}{cursor}", list.fixed);
                let answer = self.call(asker, list.reading, &asked).await;
                if answer.status != StatusCode::OK {
                    let refused = matches!(answer.status.as_u16(), 401 | 403 | 404);
                    assert!(refused && pages == 0, "{asked}: {}", answer.text);
                    break;
                }
                pages += 1;
                for (key, item) in list.reading.items(&answer) {
                    let twice = items.insert((path.clone(), key.clone()), item);
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

    async fn call(&self, asker: &Asker, reading: Reading, path: &str) -> Answer {
        let call = match reading {
            Reading::Evaluated => self.world.app.post(path, json!({"context": {"targetingKey": "anybody"}})),
            _ => self.world.app.get(path),
        };
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
                    let answer = self.call(asks, list.reading, path).await;
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
        let (mut kind, mut holds, mut connected) = (MembershipKind::Staff, false, false);
        let resource = match (tenant.map(TenantId), account) {
            (Some(id), _) => {
                if let Some(person) = caller.person() {
                    kind = access.membership(id, person).map_or(kind, |member| member.kind);
                    holds = access.was_given(id, person, action);
                }
                if let Some(application) = caller.application() {
                    let flags = app.flags.memory.tenant(id);
                    connected = flags.is_some_and(|flags| flags.applications.contains(&application));
                }
                let known = access.tenant(id);
                let mode = known.map_or(AccessMode::Blocked, |known| known.effective(kind, now));
                let (status, mfa_required) =
                    known.map_or((None, false), |known| (Some(known.status()), known.mfa_required));
                Resource::Tenant { id, mode, status, mfa_required, sso_required: false }
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
            connected,
            mutates: endpoint.mutates,
            when_blocked: endpoint.when_blocked,
            now,
        };
        app.authorizer.decide(&question).allowed
    }
}

impl Reading {
    fn items(self, answer: &Answer) -> Vec<(String, Value)> {
        let text = |item: &Value, name: &str| item[name].as_str().expect("it has a name").to_owned();
        let by = |items: &Value, name: &str| {
            let items = items.as_array().expect("a list").iter();
            items.map(|item| (text(item, name), item.clone())).collect()
        };
        match self {
            Self::Pages(key) => by(&answer.body["items"], key),
            Self::Evaluated => by(&answer.body["flags"], "key"),
            Self::Polled => {
                let flags = answer.body["flags"].as_object().expect("flags");
                flags.iter().map(|(key, flag)| (key.clone(), flag.clone())).collect()
            }
            Self::Csv => {
                let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
                let rows = reader.deserialize::<BTreeMap<String, String>>();
                rows.map(|row| json!(row.expect("it is CSV"))).map(|row| (text(&row, "id"), row)).collect()
            }
        }
    }
}
