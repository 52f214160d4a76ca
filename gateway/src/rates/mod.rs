//! Rate limits: how many requests a caller, a tenant and an address may make in a time (ERR-RATE-429 `rate_limited`).
//!
//! | Limit | counts | by |
//! |---|---|---|
//! | `sign_in` | what needs no credentials | address |
//! | `read`, `write`, `poll` | what a caller does, by the endpoint's class | caller; whoever shows no good credentials: address |
//! | `tenant` | everything that concerns a tenant, operators' requests apart, who must be able to stop a flood | tenant |
//! | `address` | everything from an address, before it is looked at | address |
//!
//! Each is a bucket that holds its number and fills evenly within its time (GCRA). A request that is refused by its own
//! limit takes nothing from its tenant's. Probes and what is the same for everybody are not limited.
//!
//! An address is the peer's, or what proxies of ours say ([`crate::forwarded`]); with IPv6 its /64. One that isn't known
//! is one for all; it has no limit across callers.
//!
//! **Bounded.** Four tables of at most [`ENTRIES_MAX`] buckets, of about 50 bytes each: 20 MB at most. What was untouched
//! for longest goes first ([`buckets`]). In memory, of this node alone: N nodes let in N times as much, and a restart
//! forgets. No I/O and no waiting; the time comes with each call.

mod buckets;
mod settings;

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use chrono::{DateTime, Utc};
use kernel::{ActorKind, TenantId};

use crate::caller::Caller;
use crate::endpoint::{Audited, Endpoint};
use crate::problem::{Code, Problem};
use crate::slowdown::Network;
use crate::telemetry;
use buckets::Buckets;
pub use settings::{Limited, Rate, RateSettings};

/// Callers, tenants or addresses that are counted at a time: 100,000 of each.
const ENTRIES_MAX: usize = 100_000;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What an endpoint counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Signing in, and whatever else needs no credentials.
    SignIn,
    Read,
    Write,
    /// What applications ask again and again.
    Poll,
}

impl Class {
    /// `None`: it is not limited.
    pub const fn of(endpoint: &Endpoint) -> Option<Self> {
        match endpoint.audited {
            Audited::Never(_) => None,
            _ if endpoint.anyone => Some(Self::SignIn),
            Audited::Queued if endpoint.scope.is_some() => Some(Self::Poll),
            _ if endpoint.mutates => Some(Self::Write),
            _ => Some(Self::Read),
        }
    }
}

/// A rate, as it is told.
#[derive(Debug)]
struct Limit {
    name: &'static str,
    rate: Rate,
    policy: HeaderValue,
}

impl Limit {
    fn new(name: &'static str, Limited(rate): Limited) -> Option<Self> {
        let rate = rate?;
        let policy = format!("\"{name}\";q={};w={}", rate.quota, rate.window.as_secs());
        Some(Self { name, rate, policy: HeaderValue::try_from(policy).expect("it is ASCII") })
    }

    fn take(&self, buckets: &Buckets, key: &impl Hash, now: DateTime<Utc>) -> Result<Standing, Exceeded> {
        let left = buckets.take(key, self.rate, now);
        let standing = Standing {
            name: self.name,
            policy: self.policy.clone(),
            requests: left.requests,
            full_in: left.full_in,
        };
        if left.wait.is_zero() {
            return Ok(standing);
        }
        telemetry::rate_limited(self.name);
        Err(Exceeded { standing, wait: left.wait })
    }
}

/// How a caller stands with a limit.
#[derive(Clone, Debug)]
pub struct Standing {
    name: &'static str,
    policy: HeaderValue,
    requests: u32,
    full_in: Duration,
}

impl Standing {
    /// Tells it beside an answer: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10). `r` are the
    /// requests left, `t` the seconds until it is all there again.
    pub fn beside(&self, mut response: Response) -> Response {
        let whole = self.full_in.as_secs() + u64::from(self.full_in.subsec_nanos() > 0);
        let now = format!("\"{}\";r={};t={whole}", self.name, self.requests);
        let headers = response.headers_mut();
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
        headers.insert(RATE_LIMIT, HeaderValue::try_from(now).expect("it is ASCII"));
        response
    }
}

/// There is nothing left of a limit.
#[derive(Clone, Debug)]
pub struct Exceeded {
    pub standing: Standing,
    /// Until there is one again.
    pub wait: Duration,
}

impl Exceeded {
    /// ERR-RATE-429
    pub fn problem(&self) -> Problem {
        Problem::new(Code::TooMany, "rate_limited").with_retry_after(self.wait)
    }
}

/// All limits. One per process; shared by reference.
#[derive(Debug)]
pub struct Rates {
    sign_in: Option<Limit>,
    read: Option<Limit>,
    write: Option<Limit>,
    poll: Option<Limit>,
    tenant: Option<Limit>,
    address: Option<Limit>,
    callers: Buckets,
    /// Apart, so that no number of strangers makes a caller's bucket be forgotten.
    strangers: Buckets,
    tenants: Buckets,
    addresses: Buckets,
}

impl Rates {
    pub fn new(settings: &RateSettings) -> Self {
        let buckets = || Buckets::new(ENTRIES_MAX);
        Self {
            sign_in: Limit::new("sign_in", settings.rate_sign_in),
            read: Limit::new("read", settings.rate_read),
            write: Limit::new("write", settings.rate_write),
            poll: Limit::new("poll", settings.rate_poll),
            tenant: Limit::new("tenant", settings.rate_tenant),
            address: Limit::new("address", settings.rate_address),
            callers: buckets(),
            strangers: buckets(),
            tenants: buckets(),
            addresses: buckets(),
        }
    }

    /// Something comes from an address; nothing else is known of it yet.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn arrives(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<(), Exceeded> {
        let (Some(limit), Some(address)) = (&self.address, address) else { return Ok(()) };
        limit.take(&self.addresses, &Network::of(address), now).map(drop)
    }

    /// It is known who asks, and which tenant it concerns. What it tells is the caller's own limit, so that nobody reads
    /// from it what others do.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn asks(
        &self,
        class: Class,
        caller: &Caller,
        address: Option<IpAddr>,
        tenant: Option<TenantId>,
        now: DateTime<Utc>,
    ) -> Result<Option<Standing>, Exceeded> {
        let limit = match class {
            Class::SignIn => &self.sign_in,
            Class::Read => &self.read,
            Class::Write => &self.write,
            Class::Poll => &self.poll,
        };
        let actor = &caller.actor;
        let own = limit.as_ref().map(|limit| match actor.kind {
            ActorKind::Anonymous => limit.take(&self.strangers, &(class, address.map(Network::of)), now),
            kind => limit.take(&self.callers, &(class, kind.as_str(), &actor.id), now),
        });
        let own = own.transpose()?;
        let concerned = tenant.filter(|_| !caller.is_platform());
        if let (Some(limit), Some(tenant)) = (&self.tenant, concerned) {
            limit.take(&self.tenants, &tenant, now)?;
        }
        Ok(own)
    }
}

#[cfg(test)]
mod tests;
