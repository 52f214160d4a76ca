//! `Idempotency-Key`: a caller's promise that a repeated request is the same request (CC-DAT-001).

use axum::http::{HeaderMap, Method};
use engine::command::Idempotency;
use kernel::CommandId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::single;
use crate::caller::Caller;
use crate::problem::Problem;

const HEADER: &str = "idempotency-key";
/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;
/// The namespace of command ids. Part of the storage format: a new one would do retried commands twice.
const COMMANDS: Uuid = Uuid::from_u128(0x1e6b_3c58_0f2d_5a91_8d7c_52f0_4b9e_6a17);

/// A key as it was sent: 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Quoted, as a structured field (RFC 8941), or bare.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = match text.strip_prefix('"') {
            Some(rest) => unescaped(rest.strip_suffix('"')?)?,
            None => text.to_owned(),
        };
        let fits = (1..=KEY_CHARS_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        fits.then_some(Self(key))
    }

    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// ERR-VAL-400
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(text) = single(headers, HEADER)? else { return Ok(None) };
        let problem =
            || Problem::parameter(HEADER, "must be 1 to 255 printable ASCII characters, quoted or bare");
        Self::parse(text).map(Some).ok_or_else(problem)
    }

    /// The command's id: the same for the same caller, tenant and key, and for nobody else.
    pub fn command_id(&self, caller: &Caller) -> CommandId {
        let tenant = caller.tenant.map_or(Uuid::nil(), |tenant| tenant.0);
        let mut name = tenant.as_bytes().to_vec();
        // The lengths keep two callers apart whose ids and keys run together to the same text.
        for part in [caller.actor.kind.as_str(), &caller.actor.id, &self.0] {
            name.extend_from_slice(&(part.len() as u64).to_be_bytes());
            name.extend_from_slice(part.as_bytes());
        }
        CommandId(Uuid::new_v5(&COMMANDS, &name))
    }

    pub fn idempotency(&self, caller: &Caller, asked: &Asked<'_>) -> Idempotency {
        Idempotency { id: self.command_id(caller), fingerprint: asked.fingerprint() }
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => out.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            plain => out.push(plain),
        }
    }
    Some(out)
}

/// What a request asks for; the same key with another one is refused.
pub struct Asked<'a> {
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// The canonical body.
    pub body: &'a str,
}

impl Asked<'_> {
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.method.as_str(), self.target, self.body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{Actor, ActorKind, TenantId};
    use proptest::prelude::*;

    fn caller(id: &str, tenant: Option<u128>) -> Caller {
        let actor = Actor { kind: ActorKind::Operator, id: id.to_owned() };
        let tenant = tenant.map(|id| TenantId(Uuid::from_u128(id)));
        Caller { actor, tenant, ..Caller::stranger() }
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        assert_eq!(IdempotencyKey::parse("abc"), IdempotencyKey::parse("\"abc\""));
        assert_eq!(IdempotencyKey::parse(r#""a\"b\\""#), Some(IdempotencyKey("a\"b\\".into())));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", " ", "\"\"", "\"a", "\"a\"b\"", "a\tb", "ä", "\"a\\n\"", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_a_callers_own_in_a_tenant() {
        let key = IdempotencyKey::parse("k").unwrap();
        let id = key.command_id(&caller("a", None));
        assert_eq!(id, key.command_id(&caller("a", None)));
        assert_ne!(id, key.command_id(&caller("b", None)));
        assert_ne!(id, key.command_id(&caller("a", Some(1))));
        let shifted = IdempotencyKey::parse("bk").unwrap();
        assert_ne!(key.command_id(&caller("ab", None)), shifted.command_id(&caller("a", None)));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,300}") {
            if let Some(IdempotencyKey(key)) = IdempotencyKey::parse(&text) {
                prop_assert!((1..=255).contains(&key.len()));
            }
        }

        #[test]
        fn another_request_has_another_fingerprint(a in "[a-z/]{1,6}", b in "[a-z/]{1,6}", c in "[a-z/]{1,6}", d in "[a-z/]{1,6}") {
            let print = |target: &str, body: &str| Asked { method: &Method::POST, target, body }.fingerprint();
            prop_assert_eq!(print(&a, &b) == print(&c, &d), (a, b) == (c, d));
        }
    }
}
