//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, §8.8.3 and §13.1). A resource's tag is its stream's sequence, or
//! the revision that its decider counts.

use axum::http::{HeaderMap, HeaderValue};

use super::single;
use crate::problem::Problem;

/// A sequence that no stream has: what is no tag of ours matches nothing.
const NO_SEQUENCE: u64 = i64::MAX as u64;

/// The tag of a stream's sequence.
pub fn etag(sequence: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{sequence}\"")).expect("digits and quotes are a header's characters")
}

/// The sequence that `If-Match` expects. `*` expects nothing in particular.
///
/// # Errors
/// ERR-VAL-400
pub fn expected_sequence(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(text) = single(headers, "if-match")? else { return Ok(None) };
    let text = text.trim();
    if text == "*" {
        return Ok(None);
    }
    let malformed = || Problem::parameter("if-match", "must be one entity tag, such as \"7\"");
    // A weak tag matches nothing here (RFC 9110, §13.1.1).
    let (weak, tag) = text.strip_prefix("W/").map_or((false, text), |tag| (true, tag));
    let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(malformed)?;
    if opaque.contains('"') || opaque.contains(',') {
        return Err(malformed());
    }
    let digits = !opaque.is_empty() && opaque.bytes().all(|byte| byte.is_ascii_digit());
    let sequence = opaque.parse().ok().filter(|_| digits && !weak).unwrap_or(NO_SEQUENCE);
    Ok(Some(sequence.min(NO_SEQUENCE)))
}

/// True if `If-None-Match` holds the tag (given with its quotes): then the answer is 304.
pub fn is_current(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all("if-none-match").iter().filter_map(|value| value.to_str().ok()).any(|value| {
        // A tag of ours holds no comma.
        value
            .split(',')
            .map(str::trim)
            .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expected(value: &str) -> Result<Option<u64>, Problem> {
        expected_sequence(&HeaderMap::from_iter([(
            axum::http::header::IF_MATCH,
            HeaderValue::from_str(value).unwrap(),
        )]))
    }

    #[test]
    fn a_tag_expects_its_sequence() {
        assert_eq!(expected(etag(7).to_str().unwrap()).unwrap(), Some(7));
        assert_eq!(expected("*").unwrap(), None);
        assert_eq!(expected_sequence(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_tag_that_is_none_of_ours_matches_nothing() {
        for other in ["\"abc\"", "W/\"7\"", "\"-1\"", "\"+7\"", "\"\"", "\"99999999999999999999999\""] {
            assert_eq!(expected(other).unwrap(), Some(NO_SEQUENCE), "{other}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for bad in ["", "7", "\"7", "\"7\", \"8\"", "W/7"] {
            assert!(expected(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_current_tag_is_found_in_a_list() {
        let headers = |value: &str| {
            HeaderMap::from_iter([(axum::http::header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap())])
        };
        for value in ["\"a\"", "\"b\", \"a\"", "W/\"a\"", "*"] {
            assert!(is_current(&headers(value), "\"a\""), "{value}");
        }
        for value in ["\"b\"", "a", ""] {
            assert!(!is_current(&headers(value), "\"a\""), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_parser(text in "[ -~]{0,40}") {
            let _ = expected(&text);
        }
    }
}
