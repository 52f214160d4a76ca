//! Trace ids: what ties a request to its logs, events and audit entries (CC-LOG-001).

use axum::http::{HeaderMap, HeaderValue};
use kernel::{CorrelationId, Ids};
use uuid::Uuid;

/// W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
pub const REQUEST_ID: &str = "x-request-id";

/// The longest `X-Request-Id` that is taken over.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Request ids that are no trace ids become trace ids by this namespace (UUID version 5).
const REQUEST_IDS: Uuid = Uuid::from_u128(0x8f0a_6a52_9d5b_5f0e_8b61_44a7_c7f2_1d35);

/// The trace a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub correlation: CorrelationId,
    /// This request's span, 16 hex digits.
    pub span_id: String,
    pub sampled: bool,
    /// The client's own id, given back as it came.
    pub request_id: Option<String>,
}

impl Trace {
    /// The caller's trace if it sent one (`traceparent` first, then `X-Request-Id`), else a fresh one.
    pub fn of(headers: &HeaderMap, ids: &dyn Ids) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let fresh = ids.fresh();
        let span_id = format!("{:016x}", (fresh.as_u128() as u64).max(1));
        let request_id = text(REQUEST_ID).filter(|id| is_request_id(id)).map(str::to_owned);
        let (correlation, sampled) = match text(TRACEPARENT).and_then(parse_traceparent) {
            Some(parent) => parent,
            None => (request_id.as_deref().map_or(fresh, request_correlation), false),
        };
        Self { correlation: CorrelationId(correlation), span_id, sampled, request_id }
    }

    pub fn id(&self) -> String {
        self.correlation.trace_id()
    }

    /// Tells the client.
    pub fn write(&self, headers: &mut HeaderMap) {
        let flags = if self.sampled { "01" } else { "00" };
        let parent = format!("00-{}-{}-{flags}", self.id(), self.span_id);
        if let Ok(parent) = HeaderValue::try_from(parent) {
            headers.insert(TRACEPARENT, parent);
        }
        let request_id = self.request_id.clone().unwrap_or_else(|| self.id());
        if let Ok(request_id) = HeaderValue::try_from(request_id) {
            headers.insert(REQUEST_ID, request_id);
        }
    }
}

fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
}

/// A request id in the shape of a UUID is the trace id itself; any other one gives a trace id of its own.
fn request_correlation(id: &str) -> Uuid {
    match Uuid::try_parse(id) {
        Ok(id) if !id.is_nil() => id,
        _ => Uuid::new_v5(&REQUEST_IDS, id.as_bytes()),
    }
}

/// `version "-" trace-id "-" parent-id "-" flags` (W3C Trace Context, §3.2): the trace id and the sampled flag.
pub fn parse_traceparent(text: &str) -> Option<(Uuid, bool)> {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if !hex(version, 2) || version == "ff" || !hex(trace, 32) || !hex(parent, 16) || !hex(flags, 2) {
        return None;
    }
    // Only a version that is not known here may have more fields.
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((Uuid::from_u128(trace), flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::clock::SystemIds;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(name: &'static str, value: &str) -> Trace {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Trace::of(&headers, &SystemIds)
    }

    /// CC-LOG-001
    #[test]
    fn a_callers_trace_goes_on() {
        let trace = trace(TRACEPARENT, PARENT);
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut out = HeaderMap::new();
        trace.write(&mut out);
        let parent = out[TRACEPARENT].to_str().unwrap();
        assert_eq!(parse_traceparent(parent).unwrap().0, trace.correlation.0);
        assert!(parent.ends_with("-01") && !parent.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn a_request_id_comes_back_as_it_was_and_gives_the_same_trace_each_time() {
        let one = trace(REQUEST_ID, "job-7");
        assert_eq!(one.correlation, trace(REQUEST_ID, "job-7").correlation);
        assert_ne!(one.correlation, trace(REQUEST_ID, "job-8").correlation);
        let mut out = HeaderMap::new();
        one.write(&mut out);
        assert_eq!(out[REQUEST_ID], "job-7");
    }

    #[test]
    fn what_is_no_trace_is_not_taken_over() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad}");
        }
        assert_eq!(trace(REQUEST_ID, "a b").request_id, None);
        assert_eq!(trace(REQUEST_ID, &"x".repeat(129)).request_id, None);
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_parser(text in ".{0,120}") {
            let _ = parse_traceparent(&text);
        }

        #[test]
        fn what_we_write_we_read(trace in 1_u128.., parent in 1_u64.., sampled: bool) {
            let text = format!("00-{trace:032x}-{parent:016x}-{:02x}", u8::from(sampled));
            prop_assert_eq!(parse_traceparent(&text), Some((Uuid::from_u128(trace), sampled)));
        }
    }
}
