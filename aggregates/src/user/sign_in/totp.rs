//! One-time codes (RFC 6238).

use chrono::{DateTime, Utc};
use kernel::Personal;
use schemas::values::TotpSecret;
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, Builder};

/// The digits of a one-time code (RFC 6238 with the parameters all authenticator apps know: SHA-1, 30 s).
pub const TOTP_DIGITS: u8 = 6;
/// How long a code is shown, in seconds.
pub const TOTP_STEP_S: u64 = 30;
/// How many steps a device's clock may be off, either way (RFC 6238 §5.2).
const TOTP_SKEW_STEPS: u16 = 1;

/// Where one-time codes come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totp {
    pub(super) secret: Personal<TotpSecret>,
    /// Codes of this time step and older ones are used up.
    pub(super) last_step: u64,
}

impl Totp {
    /// The step of a code that is right and not used up.
    pub(super) fn step_of(&self, code: &str, now: DateTime<Utc>) -> Option<u64> {
        let step = step_of(self.secret.reveal()?, code, now)?;
        (step > self.last_step).then_some(step)
    }
}

/// Which time step a code is of, if it is one of those around `now`. Compared in constant time.
pub(super) fn step_of(secret: &TotpSecret, code: &str, now: DateTime<Utc>) -> Option<u64> {
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(TOTP_DIGITS)
        .with_skew(TOTP_SKEW_STEPS)
        .with_step_duration(TOTP_STEP_S)
        .with_secret(secret.bytes())
        .build()
        .ok()?;
    totp.check(code, u64::try_from(now.timestamp()).ok()?)
}
