//! `from` and `until` of an audit trail.

use chrono::{DateTime, Utc};
use projections::AuditRange;

use crate::problem::Problem;

/// The parameters that [`of`] reads.
pub const PARAMETERS: &[&str] = &["from", "until"];

/// From when until when, the end excluded. A side that is not given is open.
///
/// # Errors
/// ERR-VAL-400: no time, a time that is given twice, or an end before the beginning.
pub fn of(own: &[(String, String)]) -> Result<AuditRange, Problem> {
    let range = AuditRange { from: time(own, "from")?, until: time(own, "until")? };
    match range {
        AuditRange { from: Some(from), until: Some(until) } if from > until => {
            Err(Problem::parameter("until", "is before from"))
        }
        range => Ok(range),
    }
}

fn time(own: &[(String, String)], name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = once(own, name)? else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| Problem::parameter(name, "is not an RFC 3339 time"))?
        .with_timezone(&Utc);
    // Years that PostgreSQL and RFC 3339 can both tell.
    let told = (-62_135_596_800..=253_402_300_799).contains(&time.timestamp());
    if told { Ok(Some(time)) } else { Err(Problem::parameter(name, "is not an RFC 3339 time")) }
}

/// A parameter that may be given once.
pub fn once<'a>(own: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Problem> {
    let mut all = own.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let first = all.next();
    if all.next().is_some() {
        return Err(Problem::parameter(name, "is given twice"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<AuditRange, Problem> {
        let own: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        of(&own)
    }

    #[test]
    fn a_side_that_is_not_given_is_open() {
        let range = read(&[("from", "2027-01-01T00:00:00+09:00")]).unwrap();
        assert_eq!(range.from.unwrap().to_rfc3339(), "2026-12-31T15:00:00+00:00");
        assert!(range.until.is_none());
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_parameter() {
        for (pairs, name) in [
            (&[("from", "yesterday")][..], "from"),
            (&[("until", "' OR 1=1 --")], "until"),
            (&[("from", "2027-01-01T00:00:00Z"), ("from", "2027-01-01T00:00:00Z")], "from"),
            (&[("from", "2027-01-02T00:00:00Z"), ("until", "2027-01-01T00:00:00Z")], "until"),
        ] {
            assert_eq!(read(pairs).unwrap_err().errors[0].parameter.as_deref(), Some(name));
        }
    }
}
