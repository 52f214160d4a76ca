//! Settings of the rate limits, and whom they count a request for.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderMap;
use clap::Args;

use crate::forwarded::Proxies;

/// The longest window: what is forgotten at a restart should not be worth a day of waiting.
const WINDOW_MAX: Duration = Duration::from_secs(3600);
const QUOTA_MAX: u32 = 1_000_000_000;

/// How many requests in which time. Written as `600/1m`; `0` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub quota: u32,
    /// Whole seconds, as the header fields tell it; at most an hour.
    pub window: Duration,
}

/// A rate, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited(pub Option<Rate>);

impl FromStr for Limited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "is a number for a time, such as 600/1m, or 0 for no limit".to_owned();
        if text == "0" {
            return Ok(Self(None));
        }
        let (quota, window) = text.split_once('/').ok_or_else(wrong)?;
        let quota: u32 = quota.parse().map_err(|_| wrong())?;
        let window = crate::settings::duration(window)?;
        if quota == 0 || quota > QUOTA_MAX {
            return Err(format!("is at least 1 and at most {QUOTA_MAX} for a time, or 0 for no limit"));
        }
        if window.subsec_nanos() != 0 || window > WINDOW_MAX {
            return Err("is for a time of whole seconds, at most 1h".to_owned());
        }
        Ok(Self(Some(Rate { quota, window })))
    }
}

/// How many requests who may make. A rate is a bucket: it holds the number, each request takes one out, and it fills
/// evenly, wholly within the time.
#[derive(Clone, Debug, Args)]
pub struct RateSettings {
    /// Requests to sign in and the like, which need no credentials, from one address; more are answered 429. 0: no
    /// limit, here and below
    #[arg(long, env = "TENANTRY_RATE_SIGN_IN", value_name = "NUMBER/TIME", default_value = "300/1m")]
    pub rate_sign_in: Limited,

    /// Requests of one caller that read
    #[arg(long, env = "TENANTRY_RATE_READ", value_name = "NUMBER/TIME", default_value = "6000/1m")]
    pub rate_read: Limited,

    /// Requests of one caller that change something
    #[arg(long, env = "TENANTRY_RATE_WRITE", value_name = "NUMBER/TIME", default_value = "3000/1m")]
    pub rate_write: Limited,

    /// Requests of one application that poll
    #[arg(long, env = "TENANTRY_RATE_POLL", value_name = "NUMBER/TIME", default_value = "60000/1m")]
    pub rate_poll: Limited,

    /// Requests that concern one tenant, its operators' apart
    #[arg(long, env = "TENANTRY_RATE_TENANT", value_name = "NUMBER/TIME", default_value = "120000/1m")]
    pub rate_tenant: Limited,

    /// Requests from one address (IPv6: from one /64)
    #[arg(long, env = "TENANTRY_RATE_ADDRESS", value_name = "NUMBER/TIME", default_value = "120000/1m")]
    pub rate_address: Limited,

    /// Proxies whose X-Forwarded-For is believed: addresses and blocks, such as 10.0.0.0/8; none by default. Behind a
    /// proxy that is not named here, all callers have its address
    #[arg(long, env = "TENANTRY_TRUSTED_PROXIES", value_name = "ADDRESS,…")]
    pub trusted_proxies: Option<Proxies>,
}

impl RateSettings {
    /// Whom a request of a connection's peer is counted for.
    pub fn origin_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let proxies = self.trusted_proxies.as_ref();
        proxies.map_or_else(|| peer.to_canonical(), |proxies| proxies.origin_of(peer, headers))
    }
}

/// What the flags have for defaults.
impl Default for RateSettings {
    fn default() -> Self {
        let per_minute = |quota| Limited(Some(Rate { quota, window: Duration::from_secs(60) }));
        Self {
            rate_sign_in: per_minute(300),
            rate_read: per_minute(6_000),
            rate_write: per_minute(3_000),
            rate_poll: per_minute(60_000),
            rate_tenant: per_minute(120_000),
            rate_address: per_minute(120_000),
            trusted_proxies: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        rates: RateSettings,
    }

    #[test]
    fn the_defaults_are_the_flags_defaults() {
        let Line { rates } = Line::try_parse_from(["serve"]).unwrap();
        assert_eq!(format!("{rates:?}"), format!("{:?}", RateSettings::default()));
    }

    #[test]
    fn a_rate_is_a_number_for_a_time() {
        let rate = |text: &str| text.parse::<Limited>();
        let window = Duration::from_secs(120);
        assert_eq!(rate("600/2m").unwrap(), Limited(Some(Rate { quota: 600, window })));
        assert_eq!(rate("0").unwrap(), Limited(None));
        for wrong in
            ["", "600", "600/", "/1m", "0/1m", "-1/1m", "600/1500ms", "600/2h", "1000000001/1s", "6/1"]
        {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
