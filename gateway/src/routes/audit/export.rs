//! `GET /api/auditor/audit-logs/export` (FR-LOG-002, UC-AUDIT-EXPORT): CSV, streamed, however long it is.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use projections::{AuditTrail, ExportError};

use super::range;
use crate::extract::Read;
use crate::list::Listing;
use crate::problem::Problem;
use crate::view::AuditView;
use crate::view::audience::{Audience, PLATFORM};
use crate::view::fields::Shown;

/// How many rows go out in one piece.
const PIECE_ROWS: usize = 256;

const COLUMNS: [&str; 20] = [
    "id",
    "time",
    "actor",
    "actor_type",
    "role",
    "scopes",
    "tenant",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "status",
    "code",
    "detail",
    "count",
    "event_id",
    "event_type",
    "correlation_id",
    "address",
    "user_agent",
];

/// Export the audit trail as CSV
///
/// RFC 4180, the filters of the list. It ends early, with a broken connection, if it can't be read to its end. A cell
/// that a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(
    get,
    path = "/api/auditor/audit-logs/export",
    tag = "audit",
    params(
        ("format" = Option<String>, Query, description = "`csv`, which is the default"),
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
    ),
    responses((status = OK, description = "All entries.", body = String, content_type = "text/csv",
        example = "id,time,actor\r\n018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b15,2027-01-01T09:00:00+00:00,local:0\r\n")),
)]
pub async fn export(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, AuditTrail::LIST, &["format", "from", "until"])?;
    let range = range::of(&listing.own)?;
    if range::once(&listing.own, "format")?.is_some_and(|format| format != "csv") {
        return Err(Problem::parameter("format", "must be csv"));
    }
    // Waits for the position that was asked for, and finds out early whether the database is there.
    drop(read.connection("audit_trail").await?);
    let rows = AuditTrail::stream(read.app.pool.clone(), read.sight()?, range, listing.query);
    let shown = COLUMNS.map(|column| is_shown(column, read.audience()));
    let rows = rows.map_ok(AuditView::from).chunks(PIECE_ROWS).map(move |piece| {
        let rows = piece.into_iter().collect::<Result<Vec<_>, ExportError>>().inspect_err(|error| {
            tracing::warn!(%error, "an export ended early");
        })?;
        Ok::<_, ExportError>(written(&shown, rows.iter().map(record)))
    });
    let head = futures::stream::once(async move { Ok(written(&shown, [COLUMNS.map(Cow::Borrowed)])) });
    let body = Body::from_stream(head.chain(rows));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit-log.csv\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

/// As the list's entries are filtered. What a tenant isn't told of some entries, it would not get of any.
fn is_shown(column: &str, to: Audience) -> bool {
    let declared = AuditView::FIELDS.iter().find(|field| field.name == column);
    declared.is_some_and(|field| field.audience.meets(to) && (field.always || to.meets(PLATFORM)))
}

fn written<'a>(
    shown: &[bool; COLUMNS.len()],
    records: impl IntoIterator<Item = [Cow<'a, str>; COLUMNS.len()]>,
) -> Bytes {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        writer
            .write_record(
                record.iter().zip(shown).filter(|(_, shown)| **shown).map(|(cell, _)| cell.as_bytes()),
            )
            .expect("every record has as many cells, and memory takes all");
    }
    Bytes::from(writer.into_inner().expect("memory takes all"))
}

fn record(row: &AuditView) -> [Cow<'_, str>; COLUMNS.len()] {
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    [
        row.id.to_string(),
        row.time.to_rfc3339(),
        row.actor.clone(),
        word(serde_json::to_value(row.actor_type)),
        row.role.clone(),
        row.scopes.join(" "),
        id(row.tenant),
        row.action.clone(),
        optional(&row.resource_type),
        optional(&row.resource_id),
        word(serde_json::to_value(row.outcome)),
        row.status.map(|status| status.to_string()).unwrap_or_default(),
        optional(&row.code),
        optional(&row.detail),
        row.count.to_string(),
        id(row.event_id),
        optional(&row.event_type),
        row.correlation_id.to_string(),
        optional(&row.address),
        optional(&row.user_agent),
    ]
    .map(|cell| guarded(Cow::Owned(cell)))
}

/// Keeps a spreadsheet from taking text for a formula.
fn guarded(cell: Cow<'_, str>) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::audience::{AUDITOR, DEVELOPER};

    #[test]
    fn a_cell_that_looks_like_a_formula_is_guarded() {
        for text in ["=cmd()", "+1", "-1", "@a", "\tx", "\rx"] {
            assert_eq!(guarded(Cow::Borrowed(text)), format!("'{text}"));
        }
        for text in ["", "a=b", "'=x", "2027-01-01"] {
            assert_eq!(guarded(Cow::Borrowed(text)), text);
        }
    }

    /// CON-SEC-007: every field has its column, and a column that a role may not see is left out.
    #[test]
    fn the_columns_are_the_fields_that_the_caller_sees() {
        let fields: Vec<_> = AuditView::FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(COLUMNS.to_vec(), fields);
        assert!(COLUMNS.iter().all(|column| is_shown(column, AUDITOR)));
        let head = written(&COLUMNS.map(|column| is_shown(column, DEVELOPER)), [COLUMNS.map(Cow::Borrowed)]);
        assert!(head.ends_with(b"event_type,correlation_id\r\n"), "{head:?}");
    }

    #[test]
    fn quotes_commas_and_line_breaks_stay_in_their_cell() {
        let mut record = [const { Cow::Borrowed("") }; COLUMNS.len()];
        record[0] = Cow::Borrowed("a \"b\", c\nd");
        let text = String::from_utf8(written(&[true; COLUMNS.len()], [record]).to_vec()).unwrap();
        assert!(text.starts_with("\"a \"\"b\"\", c\nd\","), "{text}");
        assert!(text.ends_with("\r\n"));
    }
}
