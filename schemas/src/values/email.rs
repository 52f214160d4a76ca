//! Host names and e-mail addresses.

use super::InvalidValue;

/// The longest host name, in bytes (RFC 1035 §2.3.4, without the root's dot).
const DOMAIN_BYTES_MAX: usize = 253;
/// The longest address, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const EMAIL_BYTES_MAX: usize = 254;
/// The longest local part, in bytes (RFC 5321 §4.5.3.1.1).
const LOCAL_PART_BYTES_MAX: usize = 64;

text_value! {
    /// A host name of at least two labels, such as `acme.example`: ASCII, at most 253 bytes, labels of at most 63
    /// (RFC 1123 §2.1). Canonical form: lower case. An internationalised name is given in its `xn--` form.
    hidden Domain, |text| {
        const WHAT: &str = "a domain";
        if text.len() > DOMAIN_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {DOMAIN_BYTES_MAX} characters long")));
        }
        let name = text.to_ascii_lowercase();
        if !is_host_name(&name) {
            return Err(InvalidValue::new(
                WHAT,
                "must be a host name such as acme.example: letters, digits and hyphens, with a dot between labels",
            ));
        }
        Ok(name)
    }
}

text_value! {
    /// An e-mail address `local@domain`: a dot-atom local part of at most 64 bytes, at most 254 in all (RFC 5321, 5322).
    /// Canonical form: lower case, because one address names one person (REQUIREMENTS §12, ruling 10) and no mail
    /// provider of note tells `Ann@` from `ann@`. Quoted local parts and address literals are refused.
    hidden EmailAddress, |text| {
        const WHAT: &str = "an e-mail address";
        if text.len() > EMAIL_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {EMAIL_BYTES_MAX} characters long")));
        }
        let address = text.to_ascii_lowercase();
        let (local, domain) = address
            .split_once('@')
            .ok_or_else(|| InvalidValue::new(WHAT, "must look like name@example.org"))?;
        if !is_dot_atom(local) || local.len() > LOCAL_PART_BYTES_MAX || !is_host_name(domain) {
            return Err(InvalidValue::new(WHAT, "must look like name@example.org"));
        }
        Ok(address)
    }
}

impl EmailAddress {
    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.as_str().split_once('@').map_or("", |(_, domain)| domain)
    }
}

/// True for a lower-case host name of at least two labels that can't be taken for an IPv4 address.
pub(super) fn is_host_name(name: &str) -> bool {
    let labels = || name.split('.');
    name.len() <= DOMAIN_BYTES_MAX
        && labels().count() >= 2
        && labels().all(is_label)
        && labels().next_back().is_some_and(|top| !top.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 5322 §3.2.3, ASCII only.
fn is_dot_atom(local: &str) -> bool {
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    })
}
