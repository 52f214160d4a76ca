//! Lists: `limit`, `filter[field][op]=value`, `sort=-a,b`, and a signed cursor. Which fields there are, a read model says.
//!
//! A cursor fits the list it came from only: the same route, tenant, filters and order.

use aws_lc_rs::hmac;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use projections::{ListError, ListQuery, ListSpec, Page, Scope, SortValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::extract::Read;
use crate::problem::Problem;
use crate::view::audience::{Audience, EVERYONE, NOBODY};
use crate::view::fields::{Field, Shown, body, fields, given};

/// The longest cursor, in bytes: three values of a sort and an id, with room.
const CURSOR_BYTES_MAX: usize = 8 * 1024;
/// Parameters of a query, at most.
const PARAMETERS_MAX: usize = 64;

/// A page on the wire.
#[derive(Clone, Debug, ToSchema)]
pub struct PageBody<T> {
    pub items: Vec<T>,
    /// For `cursor`; absent on the last page. `Link: rel="next"` says the same.
    pub next_cursor: Option<String>,
}

fields! { PageBody<T> {
    items: EVERYONE,
    next_cursor if given: EVERYONE,
} }

/// A list as it was asked for, and what is needed to point at its next page.
pub struct Listing {
    pub query: ListQuery,
    /// Parameters of the endpoint's own, in the order they came.
    pub own: Vec<(String, String)>,
    audience: Audience,
    key: hmac::Key,
    binding: String,
    path: String,
    /// All parameters but the cursor.
    pub(crate) pairs: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// What the cursor belongs to.
    b: String,
    /// The last row's place.
    a: Vec<SortValue>,
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        Self::parameter(error.parameter, error.problem)
    }
}

impl Listing {
    /// Reads what a request asks for. `own`: names of parameters that are the endpoint's own.
    ///
    /// # Errors
    /// ERR-VAL-400, naming the parameter.
    pub fn of(read: &Read, spec: &'static ListSpec, own: &[&str]) -> Result<Self, Problem> {
        let place = Place { route: read.route, path: &read.path, scope: read.sight()? };
        let listing = Self::parse(&read.query, &place, spec, own, &read.app.keys.cursor)?;
        Ok(Self { audience: read.audience(), ..listing })
    }

    pub(crate) fn parse(
        query: &str,
        place: &Place<'_>,
        spec: &'static ListSpec,
        own: &[&str],
        key: &hmac::Key,
    ) -> Result<Self, Problem> {
        let mut asked = Asked::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX + 1) {
            asked.take(&name, &value, own)?;
        }
        if asked.pairs.len() > PARAMETERS_MAX {
            return Err(Problem::parameter("query", format!("has more than {PARAMETERS_MAX} parameters")));
        }
        let filters = || asked.filters.iter().map(|(f, o, v)| (f.as_str(), o.as_str(), v.as_str()));
        let first = spec.query(filters(), asked.sort.as_deref(), asked.limit, None)?;
        let binding = binding(place, &asked, &first.sort_text());
        let query = match &asked.cursor {
            None => first,
            Some(text) => {
                let after = open(text, &binding, key)?;
                spec.query(filters(), asked.sort.as_deref(), asked.limit, Some(after))?
            }
        };
        let Asked { own, pairs, .. } = asked;
        Ok(Self {
            query,
            own,
            audience: NOBODY,
            key: key.clone(),
            binding,
            path: place.path.to_owned(),
            pairs,
        })
    }

    /// The cursor to the next page.
    pub(crate) fn cursor(&self, after: Vec<SortValue>) -> String {
        let cursor = Cursor { b: self.binding.clone(), a: after };
        let text = serde_json::to_vec(&cursor).expect("a cursor is text, ids and times");
        let tag = hmac::sign(&self.key, &text);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(tag))
    }

    /// The answer: the rows as `show` tells them, and the way to the next page. ERR-VAL-400 if the caller selects or sorts
    /// by a field that they don't see: that would tell of it.
    pub fn page<R, T: Shown>(&self, page: Page<R>, show: impl FnMut(R) -> T) -> Response {
        if let Some(hidden) =
            self.query.fields().find(|name| Field::is_hidden(T::FIELDS, name, self.audience))
        {
            return Problem::parameter(hidden, "is not known here").into_response();
        }
        let next_cursor = page.next.map(|after| self.cursor(after));
        let link = next_cursor.as_ref().map(|cursor| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(&self.pairs).append_pair("cursor", cursor);
            format!("<{}?{}>; rel=\"next\"", self.path, query.finish())
        });
        let items: Vec<_> = page.rows.into_iter().map(show).collect();
        let mut response = body(self.audience, &PageBody { items, next_cursor });
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

/// Which list it is.
pub(crate) struct Place<'a> {
    pub route: &'a str,
    pub path: &'a str,
    pub scope: Scope,
}

#[derive(Default)]
struct Asked {
    filters: Vec<(String, String, String)>,
    sort: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
    own: Vec<(String, String)>,
    pairs: Vec<(String, String)>,
}

impl Asked {
    fn take(&mut self, name: &str, value: &str, own: &[&str]) -> Result<(), Problem> {
        fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
            if slot.replace(value).is_some() {
                Err(Problem::parameter(name, "is given twice"))
            } else {
                Ok(())
            }
        }
        match name {
            "sort" => once(&mut self.sort, name, value.to_owned())?,
            "cursor" => return once(&mut self.cursor, name, value.to_owned()),
            "limit" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let limit = value.parse().ok().filter(|_| digits);
                once(
                    &mut self.limit,
                    name,
                    limit.ok_or_else(|| Problem::parameter(name, "is not a number"))?,
                )?;
            }
            _ if own.contains(&name) => self.own.push((name.to_owned(), value.to_owned())),
            _ => {
                let (field, op) = filter_of(name).ok_or_else(|| {
                    Problem::parameter(name.chars().take(64).collect::<String>(), "is not known here")
                })?;
                self.filters.push((field.to_owned(), op.to_owned(), value.to_owned()));
            }
        }
        self.pairs.push((name.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// `filter[field][op]`
fn filter_of(name: &str) -> Option<(&str, &str)> {
    let inner = name.strip_prefix("filter[")?.strip_suffix(']')?;
    let (field, op) = inner.split_once("][")?;
    let plain = |text: &str| !text.is_empty() && !text.contains(['[', ']']);
    (plain(field) && plain(op)).then_some((field, op))
}

fn binding(place: &Place<'_>, asked: &Asked, sort: &str) -> String {
    let scope = match place.scope {
        Scope::Platform => "platform".to_owned(),
        Scope::Tenant(tenant) => tenant.to_string(),
    };
    let mut filters: Vec<_> = asked.filters.iter().collect();
    filters.sort();
    let own = &asked.own;
    let text =
        serde_json::to_string(&(place.route, place.path, scope, sort, filters, own)).expect("texts are JSON");
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text.as_bytes())[..16])
}

fn open(text: &str, binding: &str, key: &hmac::Key) -> Result<Vec<SortValue>, Problem> {
    let refused = || Problem::parameter("cursor", "does not belong to this list and order");
    if text.len() > CURSOR_BYTES_MAX {
        return Err(refused());
    }
    let (body, tag) = text.split_once('.').ok_or_else(refused)?;
    let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| refused())?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| refused())?;
    hmac::verify(key, &body, &tag).map_err(|_| refused())?;
    let cursor: Cursor = serde_json::from_slice(&body).map_err(|_| refused())?;
    if cursor.b == binding { Ok(cursor.a) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::TenantId;
    use projections::TenantDirectory;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
    }

    fn place(scope: Scope) -> Place<'static> {
        Place { route: "/api/operator/tenants", path: "/api/operator/tenants", scope }
    }

    fn parse(query: &str) -> Result<Listing, Problem> {
        parse_in(query, Scope::Platform)
    }

    fn parse_in(query: &str, scope: Scope) -> Result<Listing, Problem> {
        Listing::parse(query, &place(scope), TenantDirectory::LIST, &["from"], &key())
    }

    fn refused(query: &str) -> String {
        let Err(problem) = parse(query) else { panic!("{query} was accepted") };
        assert_eq!(problem.code.as_str(), "ERR-VAL-400");
        problem.errors[0].parameter.clone().unwrap()
    }

    fn after_name() -> Vec<SortValue> {
        vec![SortValue::Text("acme".into()), SortValue::Uuid(Uuid::from_u128(1))]
    }

    #[test]
    fn a_cursor_leads_to_the_next_page_of_the_same_list() {
        let list = parse("sort=name&filter[plan][eq]=pro&from=x").unwrap();
        let cursor = list.cursor(after_name());
        assert!(parse(&format!("sort=name&filter[plan][eq]=pro&from=x&limit=7&cursor={cursor}")).is_ok());
    }

    #[tokio::test]
    async fn a_page_that_is_not_the_last_links_to_the_next() {
        let list = parse("sort=name&filter[name][like]=a%25&limit=1").unwrap();
        let response = list.page(Page { rows: vec![1], next: Some(after_name()) }, |row| row);
        let link = response.headers()[header::LINK].to_str().unwrap().to_owned();
        let query =
            link.strip_prefix("</api/operator/tenants?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        assert!(parse(query).is_ok(), "{query}");
        let last = list.page(Page { rows: vec![1], next: None }, |row| row);
        assert!(last.headers().get(header::LINK).is_none());
    }

    #[test]
    fn a_cursor_of_another_list_tenant_filter_or_order_is_refused() {
        let cursor = parse("sort=name").unwrap().cursor(after_name());
        let own = Scope::Tenant(TenantId(Uuid::from_u128(9)));
        assert!(parse(&format!("sort=name&cursor={cursor}")).is_ok());
        assert!(parse_in(&format!("sort=name&cursor={cursor}"), own).is_err());
        for query in ["sort=-name", "sort=domain", "", "sort=name&filter[plan][eq]=pro", "sort=name&from=1"] {
            assert_eq!(refused(&format!("{query}&cursor={cursor}")), "cursor", "{query}");
        }
    }

    #[test]
    fn a_cursor_of_another_key_or_made_up_is_refused() {
        let list =
            Listing { key: hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]), ..parse("sort=name").unwrap() };
        let foreign = list.cursor(after_name());
        for cursor in [foreign.as_str(), "", ".", "a.b", "e30.", "'%20OR%201=1--", &"a".repeat(9000)] {
            assert_eq!(refused(&format!("sort=name&cursor={cursor}")), "cursor", "{cursor}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_or_malformed_is_named() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=+5", "limit"),
            ("limit=1&limit=2", "limit"),
            ("sort=name&sort=name", "sort"),
            ("sort=name%3BDROP%20TABLE%20x", "sort"),
            ("page=2", "page"),
            ("filter[name]=x", "filter[name]"),
            ("filter[name][eq][x]=x", "filter[name][eq][x]"),
            ("filter[nme][eq]=x", "filter[nme][eq]"),
            ("filter[name][eq]=a%00b", "filter[name][eq]"),
        ] {
            assert_eq!(refused(query), name);
        }
    }

    proptest! {
        #[test]
        fn no_query_breaks_the_parser(query in ".{0,200}") {
            let _ = parse(&query);
        }

        #[test]
        fn no_filter_name_breaks_the_parser(name in r"filter[\[\]a-z]{0,20}", value in ".{0,20}") {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let _ = parse(&query);
        }

        #[test]
        fn a_cursor_changed_anywhere_is_refused(at in 0_usize..400, with in "[A-Za-z0-9_.-]") {
            let cursor = parse("sort=name").unwrap().cursor(after_name());
            let at = at % cursor.len();
            let mut changed = cursor.clone();
            changed.replace_range(at..=at, &with);
            if changed != cursor {
                let query = format!("sort=name&cursor={changed}");
                prop_assert!(parse(&query).is_err());
            }
        }
    }
}
