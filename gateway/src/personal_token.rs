//! Personal access tokens: `tp_<token id>_<secret>`. The secret is shown once and stored hashed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kernel::{Position, TokenId};
use schemas::values::{Permission, SecretHash};
use zeroize::Zeroizing;

use crate::shown_secret::{SECRET_BYTES, ShownSecret};

/// What every token begins with, so that scanners for leaked secrets know it.
pub const PREFIX: &str = "tp_";

/// A token as its holder has it.
#[derive(Clone)]
pub struct PersonalToken {
    pub id: TokenId,
    secret: ShownSecret,
}

impl std::fmt::Debug for PersonalToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PersonalToken({}, …)", self.id)
    }
}

impl PersonalToken {
    /// A new token of a secret's bytes.
    pub fn new(id: TokenId, secret: &[u8; SECRET_BYTES]) -> Self {
        Self { id, secret: ShownSecret::new(secret) }
    }

    /// Reads what a caller sent; `None` if it can't be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = ShownSecret::parse(PREFIX, text)?;
        Some(Self { id: TokenId(id), secret })
    }

    /// The whole token, to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        self.secret.reveal(PREFIX, self.id.0)
    }

    /// What of the secret is stored.
    pub fn hash(&self) -> SecretHash {
        self.secret.hash()
    }

    /// True if the stored hash is this token's; takes the same time either way, and as long if there is none.
    pub fn matches(&self, hash: Option<&SecretHash>) -> bool {
        self.secret.matches(hash)
    }
}

/// What credentials are limited to that are a personal access token.
#[derive(Clone, Debug, PartialEq)]
pub struct Limited {
    pub token: TokenId,
    /// Whatever they don't stand for is not for these credentials, whoever holds them.
    pub permissions: Arc<BTreeSet<Permission>>,
    /// Where in the journal the token begins.
    pub began_at: Position,
    /// The session that it was issued in had shown a second factor.
    pub second_factor: bool,
}

impl Limited {
    /// True if the permissions stand for an action such as `users:read`.
    pub fn covers(&self, action: &str) -> bool {
        self.permissions.iter().any(|permission| permission.covers_action(action))
    }

    /// True if they stand for everything.
    pub fn covers_everything(&self) -> bool {
        self.covers("*:*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::ApiKey;
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn a_token_survives_the_wire_and_opens_only_itself(id: u128, secret: [u8; 32], other: [u8; 32]) {
            let token = PersonalToken::new(TokenId(Uuid::from_u128(id)), &secret);
            let read = PersonalToken::parse(&token.reveal()).unwrap();
            prop_assert_eq!(read.id, token.id);
            prop_assert!(read.matches(Some(&token.hash())));
            prop_assert!(!read.matches(None));
            let stranger = PersonalToken::new(token.id, &other);
            prop_assert_eq!(stranger.matches(Some(&token.hash())), other == secret);
            prop_assert!(ApiKey::parse(&token.reveal()).is_none());
        }

        #[test]
        fn no_text_breaks_the_parser(text in ".{0,100}") {
            let _ = PersonalToken::parse(&text);
            let _ = PersonalToken::parse(&format!("tp_{text}"));
        }
    }

    /// CC-SEC-003
    #[test]
    fn neither_the_stored_nor_the_logged_form_holds_the_secret() {
        let token = PersonalToken::new(TokenId(Uuid::from_u128(7)), &[9; 32]);
        let secret = token.reveal().rsplit_once('_').unwrap().1.to_owned();
        assert!(!format!("{token:?}").contains(&secret));
        assert!(!token.hash().as_str().contains(&secret));
    }

    #[test]
    fn only_a_permission_of_everything_covers_everything() {
        let limited = |all: &[&str]| Limited {
            token: TokenId(Uuid::nil()),
            permissions: Arc::new(all.iter().map(|text| text.parse().unwrap()).collect()),
            began_at: Position::ZERO,
            second_factor: false,
        };
        assert!(limited(&["*"]).covers_everything());
        for less in [&["*:read"][..], &["users:*", "*:read"], &["a.*"], &[]] {
            assert!(!limited(less).covers_everything());
        }
        assert!(limited(&["users:*"]).covers("users:read") && !limited(&["users:*"]).covers("roles:read"));
    }
}
