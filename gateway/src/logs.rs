//! Logs: one JSON object per line, to standard error. They hold no personal data and no secrets (CC-LOG-002).

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// Starts logging; does nothing if it was started already.
pub fn start(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // What can't be logged is lost: complaining of it on the same full disk would panic in the middle of a request.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => builder.try_init(),
    };
    drop(started);
}
