//! Applications and their keys (FR-SYS-001 to FR-SYS-003).

use kernel::PersonId;

use super::InvalidValue;
use super::email::is_host_name;
use super::text::identifier;

words! {
    /// What an API key may be used for.
    Scope, "a scope" {
        FlagRead = "flag:read",
        BillWrite = "bill:write",
        BillRead = "bill:read",
        LogWrite = "log:write",
        AccessRead = "access:read",
    }
}

words! {
    /// Where an application runs.
    Environment, "an environment" {
        Development = "development",
        Staging = "staging",
        Production = "production",
    }
}

text_value! {
    /// Who answers for an application: the opaque id of a person or of a team, 1 to 128 of `A-Z`, `a-z`, `0-9`, `.`,
    /// `_`, `:`, `|`, `/` and `-`. No `@`: an e-mail address is personal and doesn't belong here.
    shown OwnerId, |text| {
        identifier("an owner's id", text, 128, "A-Z, a-z, 0-9 and . _ : | / -", |byte| {
            byte.is_ascii_alphanumeric() || b"._:|/-".contains(&byte)
        })
    }
}

impl From<PersonId> for OwnerId {
    fn from(person: PersonId) -> Self {
        Self(person.to_string())
    }
}

text_value! {
    /// The SHA-256 of a secret of at least 128 random bits, as 64 lower-case hex digits. Never the secret.
    shown SecretHash, |text| {
        const WHAT: &str = "a secret's hash";
        let hash = identifier(WHAT, text, 64, "0-9 and a-f", |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))?;
        if hash.len() != 64 {
            return Err(InvalidValue::new(WHAT, "must be 64 hex digits long"));
        }
        Ok(hash)
    }
}

text_value! {
    /// The first characters of a key's secret, by which people tell keys apart: 1 to 16 of `A-Z`, `a-z`, `0-9`, `_` and `-`.
    shown KeyPrefix, |text| {
        identifier("a key's prefix", text, 16, "A-Z, a-z, 0-9, '_' and '-'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
        })
    }
}

/// The longest redirect URI, in bytes.
const REDIRECT_URI_BYTES_MAX: usize = 2048;

text_value! {
    /// Where an authorization answer may go: an absolute `https` URI of at most 2,048 ASCII characters without user
    /// information and fragment (RFC 6749 §3.1.2); `http` only to this machine (RFC 8252 §7.3). Compared as it is
    /// written (RFC 9700 §4.1.3), so there are no wildcards and no canonical form.
    shown RedirectUri, |text| {
        const WHAT: &str = "a redirect URI";
        if text.len() > REDIRECT_URI_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {REDIRECT_URI_BYTES_MAX} characters long")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(InvalidValue::new(WHAT, "may hold only the ASCII characters of a URI"));
        }
        if text.contains('#') {
            return Err(InvalidValue::new(WHAT, "must not have a fragment"));
        }
        let (local_only, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(InvalidValue::new(WHAT, "must begin with https://, or http:// for this machine")),
        };
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        let host = host_of(authority)
            .ok_or_else(|| InvalidValue::new(WHAT, "must name a host, with at most a port beside it"))?;
        if local_only && !is_loopback(&host) {
            return Err(InvalidValue::new(WHAT, "may use http only with localhost, 127.0.0.1 or [::1]"));
        }
        Ok(text.to_owned())
    }
}

/// The host of `host[:port]` in lower case, if both are well-formed.
fn host_of(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (&authority[..address.len() + 2], port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if port
        .is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err())
    {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let known = is_loopback(&host)
        || host.starts_with('[')
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || is_host_name(&host);
    known.then_some(host)
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}
