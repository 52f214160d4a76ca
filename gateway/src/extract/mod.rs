//! From a request to what a handler works with. Whatever is malformed is ERR-VAL-400 with the place that is.

mod idempotency;
mod json;
mod path;
mod precondition;
mod read;
mod write;

pub use idempotency::IdempotencyKey;
pub(crate) use json::StrictJson;
pub use json::{Json, NoBody, canonical};
pub use path::Path;
pub use precondition::{etag, is_current};
pub use read::Read;
pub use write::{Done, Write};

use axum::http::HeaderMap;

use crate::problem::Problem;

/// The header that names a place in the journal, out.
pub const X_POSITION: &str = "x-position";
/// The header that asks a read to wait for one.
pub const X_MIN_POSITION: &str = "x-min-position";

/// A header that may be given once.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_some() {
        return Err(Problem::parameter(name, "is given twice"));
    }
    first.map(|value| value.to_str().map_err(|_| Problem::parameter(name, "is not ASCII"))).transpose()
}
