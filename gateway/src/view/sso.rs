//! A tenant's OpenID providers, as its owners see them. Their secrets are in no answer.

use openidconnect::core::CoreJwsSigningAlgorithm;
use schemas::events::{SsoConfigured, SsoRules};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::EVERYONE;
use super::fields::fields;
use crate::sso::Found;

/// An OpenID provider that the tenant's people sign in by.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = SsoProvider, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b1a", "name": "Acme ID", "issuer": "https://id.acme.example",
    "client_id": "tenantry", "provision": false, "trusts_mfa": false, "required": false,
    "redirect_uri": "https://app.example/auth/sso/callback"
}))]
pub struct SsoProviderView {
    pub id: Uuid,
    /// For people who choose one.
    pub name: Option<String>,
    pub issuer: Option<String>,
    pub client_id: Option<String>,
    /// Whoever it vouches for, with a verified address in the tenant's domain, becomes a member.
    pub provision: bool,
    /// A second factor that it says was shown counts.
    pub trusts_mfa: bool,
    /// Members other than owners get in only by a provider of the tenant's.
    pub required: bool,
    /// What the provider has to know as the redirect URI.
    pub redirect_uri: String,
}

fields! { SsoProviderView {
    id: EVERYONE,
    name: EVERYONE,
    issuer: EVERYONE,
    client_id: EVERYONE,
    provision: EVERYONE,
    trusts_mfa: EVERYONE,
    required: EVERYONE,
    redirect_uri: EVERYONE,
} }

/// All of a tenant's providers.
#[derive(Clone, Debug, ToSchema)]
pub struct SsoProviderList {
    /// The oldest first.
    pub items: Vec<SsoProviderView>,
}

fields! { SsoProviderList {
    items: EVERYONE,
} }

impl SsoProviderView {
    pub fn of(provider: &SsoConfigured, redirect_uri: String) -> Self {
        let SsoConfigured { provider: id, name, issuer, client_id, client_secret: _, rules } = provider;
        let SsoRules { provision, trusts_mfa, required } = *rules;
        Self {
            id: id.0,
            name: name.reveal().map(|name| name.as_str().to_owned()),
            issuer: issuer.reveal().map(|issuer| issuer.as_str().to_owned()),
            client_id: client_id.reveal().map(|client| client.as_str().to_owned()),
            provision,
            trusts_mfa,
            required,
            redirect_uri,
        }
    }
}

/// What a provider says of itself.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = VerifiedSsoProvider, example = json!({
    "issuer": "https://id.acme.example", "authorization_endpoint": "https://id.acme.example/authorize",
    "token_endpoint": "https://id.acme.example/token", "algorithms": ["RS256", "ES256"], "keys": 2
}))]
pub struct VerifiedSsoView {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    /// What it signs ID tokens with, as far as that is accepted here.
    pub algorithms: Vec<String>,
    /// How many keys it has published.
    pub keys: usize,
}

fields! { VerifiedSsoView {
    issuer: EVERYONE,
    authorization_endpoint: EVERYONE,
    token_endpoint: EVERYONE,
    algorithms: EVERYONE,
    keys: EVERYONE,
} }

impl From<&Found> for VerifiedSsoView {
    fn from(found: &Found) -> Self {
        let word = |algorithm: &CoreJwsSigningAlgorithm| {
            serde_json::to_value(algorithm).ok().and_then(|word| word.as_str().map(str::to_owned))
        };
        let says = &found.metadata;
        Self {
            issuer: says.issuer().as_str().to_owned(),
            authorization_endpoint: says.authorization_endpoint().as_str().to_owned(),
            token_endpoint: found.token_endpoint().to_owned(),
            algorithms: found.algorithms().filter_map(word).collect(),
            keys: says.jwks().keys().len(),
        }
    }
}
