//! JSON bodies, read strictly: no unknown fields, no field twice, no text that can't be stored.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use tokio::sync::OwnedSemaphorePermit;

use crate::admission::SMALL_BODY_BYTES_MAX;
use crate::problem::{FieldError, Problem};
use crate::state::AppState;

/// Fields that are told of at once, at most.
const ERRORS_MAX: usize = 32;
/// The longest explanation of a wrong field, in characters: it may quote what was sent.
const DETAIL_CHARS_MAX: usize = 200;

/// No body at all, or an empty object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoBody;

/// A type that a body can be read as. Implemented for all that serde reads; they say `deny_unknown_fields`.
pub trait StrictJson: Sized {
    /// The value, and the body it was read from.
    ///
    /// # Errors
    /// ERR-VAL-400
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<(Self, Value), Problem>;
}

impl<T: DeserializeOwned> StrictJson for T {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<(Self, Value), Problem> {
        if !is_json(headers) {
            return Err(Problem::invalid(
                "content_type",
                vec![FieldError::parameter("content-type", "must be application/json")],
            ));
        }
        let value = parse(body)?;
        Ok((typed(&value)?, value))
    }
}

impl<'de> Deserialize<'de> for NoBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Empty {}
        Empty::deserialize(deserializer).map(|Empty {}| Self)
    }
}

/// A request's body, and its room among the large ones while it is held.
pub(super) struct ReadBody {
    pub bytes: BytesMut,
    pub room: Option<OwnedSemaphorePermit>,
}

/// Reads a request's body, in bounded space and time. All large bodies together are bounded too.
///
/// # Errors
/// ERR-VAL-400: too large (status 413), too slow, broken off. ERR-SYS-503: too many large ones at once.
pub(super) async fn read_body(app: &AppState, body: Body) -> Result<ReadBody, Problem> {
    let mut body = Limited::new(body, app.limits.body_bytes_max);
    let mut read = ReadBody { bytes: BytesMut::new(), room: None };
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken_off)?.into_data() else { continue };
            if read.room.is_none() && read.bytes.len() + data.len() > SMALL_BODY_BYTES_MAX {
                let room = app.admission.large_body();
                read.room = Some(room.ok_or_else(|| Problem::unavailable("overloaded"))?);
            }
            read.bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    match tokio::time::timeout(app.limits.body_timeout, reading).await {
        Ok(result) => result.map(|()| read),
        Err(_) => Err(Problem::invalid("body_timeout", Vec::new())),
    }
}

fn broken_off(error: Box<dyn std::error::Error + Send + Sync>) -> Problem {
    if error.is::<LengthLimitError>() {
        Problem::invalid("too_large", Vec::new()).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    } else {
        Problem::invalid("incomplete_body", Vec::new())
    }
}

/// A value and the body it was read from; an absent body is `{}`, so that a body may be left out where none is needed.
pub(super) fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(T, Value), Problem> {
    if body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        let nothing = Value::Object(Map::new());
        return Ok((typed(&nothing)?, nothing));
    }
    <T as StrictJson>::read(headers, body)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let known = essence == "application/json" || essence == "application/merge-patch+json";
    // RFC 8259: JSON between systems is UTF-8.
    known
        && parts.all(|part| {
            !part.to_ascii_lowercase().starts_with("charset=")
                || part[8..].trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// Parses JSON without what it leaves open: no name twice, and no text that PostgreSQL would refuse.
fn parse(body: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::invalid("malformed_json", Vec::new()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    if let Ok(value) = Strict.deserialize(&mut reader)
        && reader.end().is_ok()
    {
        return Ok(value);
    }
    // It is looked for what is wrong, and where, only if something is.
    let mut track = serde_path_to_error::Track::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = Strict.deserialize(tracked);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        let pointer = pointer(&track.path());
        let text = error.to_string();
        match text.strip_prefix(REFUSED) {
            Some(reason) => {
                Problem::invalid("invalid_fields", vec![FieldError::body(pointer, without_place(reason))])
            }
            None => Problem::invalid("malformed_json", vec![FieldError::body(pointer, without_place(&text))]),
        }
    })
}

/// What our own checks begin with, so that they are told apart from syntax errors.
const REFUSED: &str = "refused: ";

/// Reads a JSON value and checks every text in it.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn storable<E: Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom(format!("{REFUSED}holds a NUL character"))) } else { Ok(()) }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        storable(value)?;
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            storable(&name)?;
            let value = fields.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(format!("{REFUSED}has the same field twice")));
            }
        }
        Ok(Value::Object(map))
    }
}

/// Reads a value as a type, and tells of every wrong field of an object, not only of the first.
fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    if let Ok(read) = T::deserialize(value) {
        return Ok(read);
    }
    let mut value = value.clone();
    let mut errors: Vec<FieldError> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(read) if errors.is_empty() => return Ok(read),
            Ok(_) => break,
            Err(error) => error,
        };
        let (place, detail) = place(&error);
        let first = place.strip_prefix('/').and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let first = first.replace("~1", "/").replace("~0", "~");
        // What was taken out below is missing now: that is no news.
        let already = errors.iter().any(|known| known.pointer.as_deref() == Some(&place))
            || (detail == MISSING && value.get(&first).is_none() && told_of(&errors, &first));
        if !already {
            errors.push(FieldError::body(place, detail));
        }
        // The others show when the wrong one is out of the way.
        let removed = value.as_object_mut().and_then(|object| object.shift_remove(&first));
        if already || removed.is_none() || errors.len() >= ERRORS_MAX {
            break;
        }
    }
    Err(Problem::invalid("invalid_fields", errors))
}

fn told_of(errors: &[FieldError], field: &str) -> bool {
    let beneath = format!("/{}", escaped(field));
    errors.iter().filter_map(|error| error.pointer.as_deref()).any(|pointer| {
        pointer.strip_prefix(beneath.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

const MISSING: &str = "is missing";

/// Where an error is, and what it is, in words.
fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> (String, Cow<'static, str>) {
    let text = error.inner().to_string();
    let base = pointer(error.path());
    let quoted = |prefix: &str| {
        let rest = text.strip_prefix(prefix)?.strip_prefix('`')?;
        Some(rest.split('`').next().unwrap_or_default().to_owned())
    };
    // serde names these fields in its text; the path may or may not hold them.
    let at = |name: String| {
        let leaf = format!("/{}", escaped(&name));
        if base.ends_with(&leaf) { base.clone() } else { format!("{base}{leaf}") }
    };
    if let Some(name) = quoted("missing field ") {
        return (at(name), MISSING.into());
    }
    if let Some(name) = quoted("unknown field ") {
        return (at(name), "is not known here".into());
    }
    (base, without_place(&text).into())
}

/// serde_json ends its texts with where in the text it stopped; the pointer says it better.
fn without_place(text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// RFC 6901
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", escaped(key))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// The canonical form: names sorted, no space. Two bodies that say the same have the same.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let fields: Vec<String> = names
                .into_iter()
                .map(|name| format!("{}:{}", Value::String(name.clone()), canonical(&fields[name])))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

/// A JSON body, for endpoints that change nothing.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let read = read_body(app, body).await?;
        read_json(&parts.headers, &read.bytes).map(|(value, _)| Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;
    use schemas::values::{Reason, Role};
    use serde_json::json;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        reason: Reason,
        role: Option<Role>,
        #[serde(default)]
        many: Vec<u8>,
        note: String,
    }

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    fn read(body: impl AsRef<[u8]>) -> Result<(Wish, Value), Problem> {
        Wish::read(&headers("application/json"), body.as_ref())
    }

    fn errors(body: impl AsRef<[u8]>) -> Vec<(String, String)> {
        let problem = read(body).unwrap_err();
        assert_eq!(problem.code.as_str(), "ERR-VAL-400");
        problem.errors.into_iter().map(|error| (error.pointer.unwrap(), error.detail)).collect()
    }

    #[test]
    fn every_wrong_field_is_told_of_with_its_place() {
        let body = json!({"reason": "", "role": "king", "many": [1, 2, 300], "note": "n", "extra": 1});
        let found = errors(body.to_string());
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["/reason", "/role", "/many/2", "/extra"], "{found:?}");
        assert_eq!(errors(json!({"reason": "x"}).to_string()), [("/note".into(), "is missing".into())]);
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        let found = errors(r#"{"reason":"a","note":"x","note":"y"}"#);
        assert!(found[0].1.contains("twice"), "{found:?}");
    }

    #[test]
    fn a_nul_is_refused_with_its_place_and_so_is_a_lone_surrogate() {
        let found = errors(r#"{"reason":"a","note":"x\u0000y"}"#);
        assert_eq!(found[0].0, "/note");
        assert!(found[0].1.contains("NUL"), "{found:?}");
        for lone in [r#"{"reason":"a","note":"\ud800"}"#, r#"{"reason":"a","note":"\udc00x"}"#] {
            let problem = read(lone).unwrap_err();
            assert_eq!(problem.detail, "malformed_json");
        }
        assert!(read(b"{\"reason\":\"a\",\"note\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_is_no_json_or_not_said_to_be_is_refused() {
        for bad in ["", "{", "[]", "null", "7", "{\"reason\":}", "{} {}", "\u{feff}{}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let good = json!({"reason": "x", "note": "n"}).to_string();
        assert!(Wish::read(&headers("application/json; charset=UTF-8"), good.as_bytes()).is_ok());
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"] {
            let problem = Wish::read(&headers(kind), good.as_bytes()).unwrap_err();
            assert_eq!(problem.detail, "content_type", "{kind}");
        }
        assert!(Wish::read(&HeaderMap::new(), good.as_bytes()).is_err());
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(read(deep).is_err());
    }

    #[test]
    fn an_absent_body_is_an_empty_one() {
        assert!(read_json::<NoBody>(&HeaderMap::new(), b"").is_ok());
        assert!(read_json::<NoBody>(&headers("application/json"), b"{}").is_ok());
        assert!(read_json::<NoBody>(&headers("application/json"), br#"{"a":1}"#).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            "[^\0]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z~/\"]{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_strict_reader_reads_what_was_written(value in any_json()) {
            prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
        }

        #[test]
        fn the_canonical_form_knows_no_order(value in any_json()) {
            fn reversed(value: &Value) -> Value {
                match value {
                    Value::Object(map) =>
                        map.iter().rev().map(|(k, v)| (k.clone(), reversed(v))).collect::<Map<_, _>>().into(),
                    Value::Array(items) => items.iter().map(reversed).collect(),
                    plain => plain.clone(),
                }
            }
            prop_assert_eq!(canonical(&value), canonical(&reversed(&value)));
            let back: Value = serde_json::from_str(&canonical(&value)).unwrap();
            prop_assert_eq!(back, value);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(bytes);
        }
    }
}
