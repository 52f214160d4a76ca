//! A person's access token, as they see it.

use std::collections::BTreeSet;

use aggregates::user::{Token, Tokens};
use chrono::{DateTime, Utc};
use kernel::{Personal, TokenId};
use schemas::values::{Permission, TokenName};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, THEMSELF};
use super::fields::{fields, given};

/// A personal access token, without its secret.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = PersonalToken, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b19", "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11",
    "name": "Nightly export", "permissions": ["users:read"], "second_factor": true,
    "issued_at": "2027-01-01T09:00:00Z", "expires_at": "2027-04-01T09:00:00Z"
}))]
pub struct TokenView {
    pub id: Uuid,
    /// The only one that it is for.
    pub tenant: Uuid,
    pub name: Option<String>,
    /// It does no more than these stand for, nor more than its person may.
    #[schema(value_type = Vec<String>)]
    pub permissions: BTreeSet<Permission>,
    /// It counts as one that showed a second factor, as the session had that it was issued in.
    pub second_factor: bool,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

fields! { TokenView {
    id: THEMSELF,
    tenant: THEMSELF,
    name: THEMSELF,
    permissions: THEMSELF,
    second_factor: THEMSELF,
    issued_at: THEMSELF,
    expires_at: THEMSELF,
} }

/// All tokens that go on.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = PersonalTokenList)]
pub struct TokenList {
    pub items: Vec<TokenView>,
}

fields! { TokenList {
    items: EVERYONE,
} }

/// A token that was just issued. The secret is shown here and never again.
#[derive(ToSchema)]
#[schema(as = IssuedPersonalToken, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b19", "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11",
    "name": "Nightly export", "permissions": ["users:read"], "second_factor": true,
    "issued_at": "2027-01-01T09:00:00Z", "expires_at": "2027-04-01T09:00:00Z",
    "token": "tp_018f6b1e8c3a7d529a4f3f1f0c9d2b19_q7Tz1aAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}))]
pub struct IssuedTokenView {
    pub id: Uuid,
    /// The only one that it is for.
    pub tenant: Uuid,
    pub name: Option<String>,
    /// It does no more than these stand for, nor more than its person may.
    #[schema(value_type = Vec<String>)]
    pub permissions: BTreeSet<Permission>,
    /// It counts as one that showed a second factor, as the session had that it was issued in.
    pub second_factor: bool,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// The whole token. Absent when a retry comes later than ten minutes after it was issued.
    pub token: Option<String>,
}

fields! { IssuedTokenView {
    id: THEMSELF,
    tenant: THEMSELF,
    name: THEMSELF,
    permissions: THEMSELF,
    second_factor: THEMSELF,
    issued_at: THEMSELF,
    expires_at: THEMSELF,
    token if given: THEMSELF,
} }

impl TokenView {
    /// Those that go on, the newest first. `ended`: whether something beside the person ended one.
    pub fn list(of: &Tokens, ended: impl Fn(TokenId) -> bool, now: DateTime<Utc>) -> TokenList {
        let shown = of.iter().filter(|(id, token)| token.is_live(now) && !ended(*id));
        let mut items: Vec<Self> = shown.map(|(id, token)| Self::of(id, token)).collect();
        items.sort_by_key(|view| std::cmp::Reverse(view.issued_at));
        TokenList { items }
    }

    fn of(id: TokenId, token: &Token) -> Self {
        let name: Option<&TokenName> = Personal::reveal(&token.name);
        Self {
            id: id.0,
            tenant: token.tenant.0,
            name: name.map(|name| name.as_str().to_owned()),
            permissions: token.permissions.clone(),
            second_factor: token.second_factor,
            issued_at: token.issued_at,
            expires_at: token.expires_at,
        }
    }
}

impl IssuedTokenView {
    /// `shown`: the whole token, while it may be shown.
    pub fn of(id: TokenId, token: &Token, shown: Option<&str>) -> Self {
        let TokenView { id, tenant, name, permissions, second_factor, issued_at, expires_at } =
            TokenView::of(id, token);
        let token = shown.map(str::to_owned);
        Self { id, tenant, name, permissions, second_factor, issued_at, expires_at, token }
    }
}
