//! A tenant's own OpenID provider: where it is, and as whom we come to it.

use super::InvalidValue;
use super::text::{identifier, line};

/// The longest issuer, in bytes.
const ISSUER_BYTES_MAX: usize = 512;

text_value! {
    /// What the tenant calls a provider, for people who choose one: one printable line of 1 to 100 characters, trimmed.
    hidden SsoName, |text| line("a provider's name", text, 100)
}

text_value! {
    /// How a provider calls itself (OpenID Connect Discovery 1.0, §3): a URL of at most 512 ASCII characters without user
    /// information, query and fragment. Compared as it is written, so there is no canonical form. `http` is for
    /// deployments that allow it; the server refuses it elsewhere.
    hidden SsoIssuer, |text| {
        const WHAT: &str = "an issuer";
        if text.len() > ISSUER_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {ISSUER_BYTES_MAX} characters long")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}?#@".contains(&byte)) {
            return Err(InvalidValue::new(WHAT, "may hold only the ASCII characters of a URL, and none of ? # @"));
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| InvalidValue::new(WHAT, "must begin with https://"))?;
        if rest.is_empty() || rest.starts_with(['/', ':']) {
            return Err(InvalidValue::new(WHAT, "must name a host"));
        }
        Ok(text.to_owned())
    }
}

text_value! {
    /// As whom a provider knows us (RFC 6749, §2.2): 1 to 255 printable ASCII characters.
    hidden SsoClientId, |text| identifier("a client id", text, 255, "printable ASCII characters", is_vschar)
}

text_value! {
    /// What shows a provider that it is us (RFC 6749, §2.3.1): 1 to 512 printable ASCII characters.
    hidden SsoClientSecret, |text| identifier("a client secret", text, 512, "printable ASCII characters", is_vschar)
}

/// `VSCHAR` (RFC 6749, appendix A).
fn is_vschar(byte: u8) -> bool {
    (0x20..=0x7e).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_url_of_a_host_without_anything_after_its_path() {
        for right in
            ["https://id.acme.example", "https://id.acme.example/realms/staff", "http://127.0.0.1:9400"]
        {
            assert_eq!(right.parse::<SsoIssuer>().unwrap().as_str(), right);
        }
        let long = format!("https://id.example/{}", "a".repeat(ISSUER_BYTES_MAX));
        for wrong in [
            "",
            "id.acme.example",
            "ftp://id.example",
            "https://",
            "https:///path",
            "https://:443",
            "https://ann@id.example",
            "https://id.example/?a=b",
            "https://id.example/#a",
            "https://id.exa mple",
            &long,
        ] {
            assert!(wrong.parse::<SsoIssuer>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_client_is_named_in_printable_ascii_and_its_secret_is_never_shown() {
        let secret: SsoClientSecret = "s3cret value".parse().unwrap();
        assert!(!format!("{secret:?}").contains("s3cret"));
        for wrong in ["", "a\nb", "ä", &"x".repeat(513)] {
            assert!(wrong.parse::<SsoClientSecret>().is_err() && wrong.parse::<SsoClientId>().is_err());
        }
        assert!("x".repeat(256).parse::<SsoClientId>().is_err());
    }
}
