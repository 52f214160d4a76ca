//! What a provider says of itself (OpenID Connect Discovery 1.0), and what of it must be so.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Uri;
use chrono::{DateTime, TimeDelta, Utc};
use hashlink::LruCache;
use openidconnect::core::{CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType};
use openidconnect::{DiscoveryError, IssuerUrl, JsonWebKeySet};
use schemas::values::SsoIssuer;

use super::outgoing::{Outgoing, OutgoingError};
use crate::problem::Problem;

/// For how long what a provider said is believed.
pub const BELIEVED_FOR: TimeDelta = TimeDelta::minutes(10);
/// How long a provider is not asked again for keys.
const KEYS_PAUSE: TimeDelta = TimeDelta::minutes(1);
/// How many providers are remembered; those not asked for longest go first.
const REMEMBERED_MAX: usize = 1_000;
/// What ID tokens may be signed with: by a key of the provider's that we can't sign with ourselves, and never by none.
pub const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Why a provider can't be used. The words are what owners hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SsoProblem {
    /// It does not answer, in time, with 200; or it is where nobody is asked.
    Unreachable,
    /// It says that it is another.
    IssuerMismatch,
    InvalidDocument,
    /// It knows no authorization code flow, or signs in no way that is accepted.
    Unsupported,
}

impl SsoProblem {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "sso_unreachable",
            Self::IssuerMismatch => "sso_issuer_mismatch",
            Self::InvalidDocument => "sso_invalid_document",
            Self::Unsupported => "sso_unsupported",
        }
    }
}

impl From<SsoProblem> for Problem {
    fn from(problem: SsoProblem) -> Self {
        Self::rule(problem.as_str())
    }
}

impl From<DiscoveryError<OutgoingError>> for SsoProblem {
    fn from(error: DiscoveryError<OutgoingError>) -> Self {
        match error {
            DiscoveryError::Request(_) | DiscoveryError::Response(..) => Self::Unreachable,
            DiscoveryError::Validation(_) => Self::IssuerMismatch,
            _ => Self::InvalidDocument,
        }
    }
}

/// A provider, as it said.
#[derive(Debug)]
pub struct Found {
    pub metadata: CoreProviderMetadata,
    asked_at: DateTime<Utc>,
    /// When it was asked for its keys anew.
    keys_asked_at: Option<DateTime<Utc>>,
}

impl Found {
    /// What its ID tokens may be signed with.
    pub fn algorithms(&self) -> impl Iterator<Item = &CoreJwsSigningAlgorithm> {
        let says = self.metadata.id_token_signing_alg_values_supported().iter();
        says.filter(|algorithm| ALGORITHMS.contains(algorithm))
    }

    pub fn token_endpoint(&self) -> &str {
        self.metadata.token_endpoint().map_or("", |url| url.as_str())
    }
}

/// Asks providers, and remembers for a while what they said.
pub struct Providers {
    pub(super) outgoing: Outgoing,
    /// By issuer. What a provider says is the same for everybody.
    known: Mutex<LruCache<SsoIssuer, Arc<Found>>>,
}

impl Providers {
    pub fn new(outgoing: Outgoing) -> Self {
        Self { outgoing, known: Mutex::new(LruCache::new(REMEMBERED_MAX)) }
    }

    /// True if an issuer is where providers may be, as far as can be told without asking it.
    pub fn may_be(&self, issuer: &SsoIssuer) -> bool {
        issuer.as_str().parse::<Uri>().is_ok_and(|url| self.outgoing.may_ask(&url))
    }

    /// What a provider says, now or a moment ago.
    ///
    /// # Errors
    /// [`SsoProblem`]
    pub async fn find(&self, issuer: &SsoIssuer, now: DateTime<Utc>) -> Result<Arc<Found>, SsoProblem> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned();
        match known.filter(|found| found.asked_at <= now && now - found.asked_at < BELIEVED_FOR) {
            Some(found) => Ok(found),
            None => self.ask(issuer, now).await,
        }
    }

    /// What a provider says now.
    ///
    /// # Errors
    /// [`SsoProblem`]
    pub async fn ask(&self, issuer: &SsoIssuer, now: DateTime<Utc>) -> Result<Arc<Found>, SsoProblem> {
        let url = IssuerUrl::new(issuer.as_str().to_owned()).map_err(|_| SsoProblem::InvalidDocument)?;
        let metadata = CoreProviderMetadata::discover_async(url, &self.outgoing).await?;
        let found = self.check(Found { metadata, asked_at: now, keys_asked_at: None })?;
        Ok(self.remember(issuer, found))
    }

    /// The same with the keys that the provider has now, as it may have taken another since. It is asked for them at most once
    /// in [`KEYS_PAUSE`]: forged tokens must not make us ask without end.
    ///
    /// # Errors
    /// [`SsoProblem`]
    pub async fn find_newer_keys(
        &self,
        issuer: &SsoIssuer,
        found: &Arc<Found>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Found>, SsoProblem> {
        if found.keys_asked_at.is_some_and(|at| at <= now && now - at < KEYS_PAUSE) {
            return Ok(found.clone());
        }
        let keys = JsonWebKeySet::fetch_async(found.metadata.jwks_uri(), &self.outgoing).await?;
        let metadata = found.metadata.clone().set_jwks(keys);
        Ok(self.remember(issuer, Found { metadata, asked_at: found.asked_at, keys_asked_at: Some(now) }))
    }

    fn remember(&self, issuer: &SsoIssuer, found: Found) -> Arc<Found> {
        let found = Arc::new(found);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(issuer.clone(), found.clone());
        found
    }

    fn check(&self, found: Found) -> Result<Found, SsoProblem> {
        let metadata = &found.metadata;
        let token_endpoint = metadata.token_endpoint().ok_or(SsoProblem::Unsupported)?;
        let endpoints = [
            metadata.authorization_endpoint().as_str(),
            token_endpoint.as_str(),
            metadata.jwks_uri().as_str(),
        ];
        let may = |url: &str| url.parse::<Uri>().is_ok_and(|url| self.outgoing.may_ask(&url));
        let code =
            metadata.response_types_supported().iter().any(|types| types[..] == [CoreResponseType::Code]);
        if !code || found.algorithms().next().is_none() {
            return Err(SsoProblem::Unsupported);
        }
        if endpoints.into_iter().all(may) { Ok(found) } else { Err(SsoProblem::InvalidDocument) }
    }
}
