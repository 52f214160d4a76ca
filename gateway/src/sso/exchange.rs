//! From what a browser brings back to whom the provider vouches for (OpenID Connect Core 1.0, §3.1.3).

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdTokenClaims};
use openidconnect::url::Url;
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, LoginHint, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    TokenResponse as _,
};
use schemas::events::SsoConfigured;
use schemas::values::{EmailAddress, SsoClientId, SsoClientSecret, SsoIssuer};

use super::provider::{ALGORITHMS, Found, Providers, SsoProblem};
use crate::tickets::{SSO_TTL, SsoAsked};

/// How far a provider's clock may be ahead of ours.
const SKEW: TimeDelta = TimeDelta::seconds(60);
/// The longest subject (OpenID Connect Core §2: at most 255 ASCII characters).
const SUBJECT_BYTES_MAX: usize = 255;

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// A provider that can be asked: nothing of it was forgotten.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub issuer: &'a SsoIssuer,
    pub client_id: &'a SsoClientId,
    client_secret: &'a SsoClientSecret,
}

impl<'a> Known<'a> {
    pub fn of(provider: &'a SsoConfigured) -> Option<Self> {
        Some(Self {
            issuer: provider.issuer.reveal()?,
            client_id: provider.client_id.reveal()?,
            client_secret: provider.client_secret.reveal()?,
        })
    }
}

/// Whom a provider vouches for.
#[derive(Debug)]
pub struct Vouched {
    /// What it calls them, for ever (OpenID Connect Core §2, `sub`).
    pub subject: String,
    /// If it says that the address is theirs.
    pub email: Option<EmailAddress>,
    /// It says that they showed a second factor (RFC 8176).
    pub second_factor: bool,
    /// When they proved to it who they are, if it says so.
    pub authenticated_at: Option<DateTime<Utc>>,
}

/// Why nobody is vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unvouched {
    /// The provider can't be asked now.
    Unreachable,
    /// What it says is not what it must be. The word is for the log.
    Refused(&'static str),
}

impl From<SsoProblem> for Unvouched {
    fn from(problem: SsoProblem) -> Self {
        match problem {
            SsoProblem::Unreachable => Self::Unreachable,
            other => Self::Refused(other.as_str()),
        }
    }
}

/// What a sign-in is begun with.
#[derive(Debug, Default)]
pub struct Wanted {
    pub login_hint: Option<String>,
    /// They are to prove anew who they are.
    pub fresh: bool,
}

impl Providers {
    /// Where a browser is sent to sign in.
    ///
    /// # Errors
    /// [`SsoProblem`]
    pub async fn sign_in_at(
        &self,
        of: Known<'_>,
        redirect_uri: String,
        asked: &SsoAsked,
        wanted: Wanted,
        now: DateTime<Utc>,
    ) -> Result<Url, SsoProblem> {
        let found = self.find(of.issuer, now).await?;
        let client = client(of, &found, redirect_uri)?;
        let verifier = PkceCodeVerifier::new(asked.verifier.to_string());
        let (state, nonce) = (asked.state.clone(), asked.nonce.to_string());
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || CsrfToken::new(state),
                || Nonce::new(nonce),
            )
            .add_scope(Scope::new("email".to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if let Some(hint) = wanted.login_hint {
            request = request.set_login_hint(LoginHint::new(hint));
        }
        if wanted.fresh {
            request = request.set_max_age(std::time::Duration::ZERO);
        }
        Ok(request.url().0)
    }

    /// Exchanges a code, and verifies what comes for it.
    ///
    /// # Errors
    /// [`Unvouched`]
    pub async fn vouched(
        &self,
        of: Known<'_>,
        redirect_uri: String,
        asked: &SsoAsked,
        code: String,
        now: DateTime<Utc>,
    ) -> Result<Vouched, Unvouched> {
        let found = self.find(of.issuer, now).await?;
        let client = client(of, &found, redirect_uri.clone())?;
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| Unvouched::Refused("no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(asked.verifier.to_string()));
        let response = request.request_async(&self.outgoing).await.map_err(|error| match error {
            RequestTokenError::Request(_) => Unvouched::Unreachable,
            RequestTokenError::ServerResponse(_) => Unvouched::Refused("it takes no such code"),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                Unvouched::Refused("no token response")
            }
        })?;
        let id_token = response.id_token().ok_or(Unvouched::Refused("no ID token"))?;
        let nonce = Nonce::new(asked.nonce.to_string());
        let read = |client: &Client| -> Result<Vouched, ClaimsVerificationError> {
            let verifier = client
                .id_token_verifier()
                .set_allowed_algs(ALGORITHMS)
                .set_time_fn(move || now)
                .set_issue_time_verifier_fn(move |issued_at| is_recent(issued_at, now));
            let claims = id_token.claims(&verifier, &nonce)?;
            // The library leaves it to its user (OpenID Connect Core §3.1.3.7, step 5).
            if claims.authorized_party().is_some_and(|party| party.as_str() != of.client_id.as_str()) {
                return Err(ClaimsVerificationError::InvalidAudience("azp".to_owned()));
            }
            if let Some(told) = claims.access_token_hash() {
                let wrong = || ClaimsVerificationError::Other("at_hash".to_owned());
                let algorithm = id_token.signing_alg().map_err(|_| wrong())?;
                let key = id_token.signing_key(&verifier).map_err(|_| wrong())?;
                let found = AccessTokenHash::from_token(response.access_token(), algorithm, key);
                if found.map_err(|_| wrong())? != *told {
                    return Err(wrong());
                }
            }
            Ok(vouched(claims))
        };
        let unknown_key =
            ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey);
        let read = match read(&client) {
            // It may sign with another one by now.
            Err(error) if error == unknown_key => {
                let found = self.find_newer_keys(of.issuer, &found, now).await?;
                read(&self::client(of, &found, redirect_uri)?)
            }
            read => read,
        };
        let vouched = read.map_err(|error| Unvouched::Refused(word(&error)))?;
        let subject = 1..=SUBJECT_BYTES_MAX;
        if subject.contains(&vouched.subject.len()) {
            Ok(vouched)
        } else {
            Err(Unvouched::Refused("the subject"))
        }
    }
}

fn client(of: Known<'_>, found: &Arc<Found>, redirect_uri: String) -> Result<Client, SsoProblem> {
    let secret = ClientSecret::new(of.client_secret.as_str().to_owned());
    let id = ClientId::new(of.client_id.as_str().to_owned());
    let redirect_uri = RedirectUrl::new(redirect_uri).map_err(|_| SsoProblem::InvalidDocument)?;
    let takes = found.metadata.token_endpoint_auth_methods_supported();
    let takes = |method| takes.is_some_and(|methods| methods.contains(&method));
    // Basic, unless it says that it takes the other alone (OpenID Connect Discovery §3).
    let in_body =
        takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic);
    let shown = if in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
    Ok(CoreClient::from_provider_metadata(found.metadata.clone(), id, Some(secret))
        .set_auth_type(shown)
        .set_redirect_uri(redirect_uri))
}

/// An ID token is made for the code that was just given.
fn is_recent(issued_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), String> {
    if issued_at <= now + SKEW && issued_at >= now - SSO_TTL {
        Ok(())
    } else {
        Err("it is not of now".to_owned())
    }
}

fn vouched(claims: &CoreIdTokenClaims) -> Vouched {
    let methods = claims.auth_method_refs().into_iter().flatten();
    let email = claims.email().filter(|_| claims.email_verified() == Some(true));
    Vouched {
        subject: claims.subject().as_str().to_owned(),
        email: email.and_then(|email| email.as_str().parse().ok()),
        second_factor: methods.into_iter().any(|method| method.as_str() == "mfa"),
        authenticated_at: claims.auth_time(),
    }
}

/// What is wrong, without anything that the provider said.
fn word(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "it has expired",
        ClaimsVerificationError::InvalidAudience(_) => "the audience",
        ClaimsVerificationError::InvalidIssuer(_) => "the issuer",
        ClaimsVerificationError::InvalidNonce(_) => "the nonce",
        ClaimsVerificationError::SignatureVerification(_) => "the signature",
        _ => "the claims",
    }
}
