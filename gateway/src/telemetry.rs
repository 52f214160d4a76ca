//! The names of all metrics of the gateway, declared in one place. None has a tenant as a label.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::problem::Code;

/// Counter: requests, by `route`, `method` and `status`.
pub const REQUESTS: &str = "tenantry_http_requests_total";
/// Histogram, seconds: from the first byte of the head to the response's head, by `route` and `method`.
pub const REQUEST_SECONDS: &str = "tenantry_http_request_seconds";
/// Gauge: requests under way.
pub const REQUESTS_UNDER_WAY: &str = "tenantry_http_requests_under_way";
/// Counter: problems, by `code`.
pub const PROBLEMS: &str = "tenantry_http_problems_total";
/// Counter: requests with missing, wrong or expired credentials.
pub const AUTHENTICATION_FAILURES: &str = "tenantry_authentication_failures_total";
/// Counter: access tokens whose signature was verified, by `outcome` (`valid`, `invalid`). Beside the number of requests
/// it tells how many tokens were remembered.
pub const TOKENS_VERIFIED: &str = "tenantry_tokens_verified_total";
/// Counter: requests that were not allowed.
pub const PERMISSION_DENIALS: &str = "tenantry_permission_denials_total";
/// Counter: decisions that policies were asked for. Beside the number of requests it tells how many were kept.
pub const DECISIONS_TAKEN: &str = "tenantry_decisions_taken_total";
/// Counter: times a policy could not be evaluated, so that it refused, by `policy`. Alert on any.
pub const POLICY_ERRORS: &str = "tenantry_policy_errors_total";
/// Counter: requests over a rate limit, by `limit` (`sign_in`, `read`, `write`, `poll`, `tenant`, `address`).
pub const RATE_LIMITED: &str = "tenantry_rate_limited_total";
/// Gauge: connections open.
pub const CONNECTIONS: &str = "tenantry_http_connections";

/// Counter: what was asked of the threads for passwords, by `job` (`hash`, `verify`, `judge`) and `outcome` (`done`,
/// `refused` as too many wait, `abandoned` by its caller, `panicked`).
pub const PASSWORD_JOBS: &str = "tenantry_password_jobs_total";
/// Histogram, seconds: what a thread worked at a password, by `job`.
pub const PASSWORD_SECONDS: &str = "tenantry_password_seconds";
/// Histogram, seconds: how long a password waited for a thread.
pub const PASSWORD_WAIT_SECONDS: &str = "tenantry_password_wait_seconds";
/// Gauge: passwords that wait for a thread.
pub const PASSWORDS_WAITING: &str = "tenantry_passwords_waiting";
/// Counter: sign-ins that were told to wait, by `ground` (`address`, `device`, `account`, `accounts`).
pub const SIGN_INS_SLOWED: &str = "tenantry_sign_ins_slowed_total";
/// Counter: attacks on sign-in that were noticed, by `finding` (`brute_force`, `stuffing`, `spraying`).
pub const SIGN_IN_FINDINGS: &str = "tenantry_sign_in_findings_total";
/// Counter: what slowed somebody and was forgotten for want of room, by `ground`. More than none: raise the bound.
pub const SLOWDOWNS_DISPLACED: &str = "tenantry_slowdowns_displaced_total";

/// Buckets of all histograms in seconds: the objectives of NFR-PERF-001 and -002 are bounds of their own.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Installs the process's recorder, or gives the one that is there.
///
/// # Errors
/// Another recorder was installed.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()?;
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// A request was answered.
pub fn answered(route: &str, method: &'static str, status: u16, took: Duration) {
    let route = route.to_owned();
    metrics::counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status.to_string())
        .increment(1);
    metrics::histogram!(REQUEST_SECONDS, "route" => route, "method" => method).record(took.as_secs_f64());
}

/// A problem was told.
pub fn refused(code: Code) {
    metrics::counter!(PROBLEMS, "code" => code.as_str()).increment(1);
    match code {
        Code::Unauthenticated | Code::SessionEnded => metrics::counter!(AUTHENTICATION_FAILURES).increment(1),
        Code::Forbidden => metrics::counter!(PERMISSION_DENIALS).increment(1),
        _ => {}
    }
}

/// The signature of an access token was verified.
pub fn token_verified(valid: bool) {
    let outcome = if valid { "valid" } else { "invalid" };
    metrics::counter!(TOKENS_VERIFIED, "outcome" => outcome).increment(1);
}

/// A request was over a rate limit.
pub fn rate_limited(limit: &'static str) {
    metrics::counter!(RATE_LIMITED, "limit" => limit).increment(1);
}

/// Something was asked of the threads for passwords, and came out like this.
pub fn password_job(job: &'static str, outcome: &'static str) {
    metrics::counter!(PASSWORD_JOBS, "job" => job, "outcome" => outcome).increment(1);
}

/// A thread was done with a password.
pub fn password_took(job: &'static str, took: Duration) {
    metrics::histogram!(PASSWORD_SECONDS, "job" => job).record(took.as_secs_f64());
}

/// A password's turn came.
pub fn password_waited(waited: Duration) {
    metrics::histogram!(PASSWORD_WAIT_SECONDS).record(waited.as_secs_f64());
}

/// So many passwords wait for a thread now.
pub fn passwords_waiting(waiting: usize) {
    metrics::gauge!(PASSWORDS_WAITING).set(waiting as f64);
}

/// A sign-in was told to wait.
pub fn sign_in_slowed(ground: &'static str) {
    metrics::counter!(SIGN_INS_SLOWED, "ground" => ground).increment(1);
}

/// An attack on sign-in was noticed.
pub fn sign_in_finding(finding: &'static str) {
    metrics::counter!(SIGN_IN_FINDINGS, "finding" => finding).increment(1);
}

/// What slowed somebody was forgotten for want of room.
pub fn slowdown_displaced(ground: &'static str) {
    metrics::counter!(SLOWDOWNS_DISPLACED, "ground" => ground).increment(1);
}

/// Counts a request while it lives, also one whose client hung up.
pub struct UnderWay(());

impl UnderWay {
    pub fn begin() -> Self {
        metrics::gauge!(REQUESTS_UNDER_WAY).increment(1.0);
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        metrics::gauge!(REQUESTS_UNDER_WAY).decrement(1.0);
    }
}
