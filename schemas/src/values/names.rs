//! Names and short texts.

use super::email::Domain;
use super::text::{identifier, line};
use super::{InvalidValue, TenantName as Name};

text_value! {
    /// A tenant's name: one printable line of 1 to 200 characters, trimmed.
    hidden TenantName, |text| line("a tenant's name", text, 200)
}

text_value! {
    /// A person's first or last name: one printable line of 1 to 100 characters, trimmed.
    hidden PersonName, |text| line("a person's name", text, 100)
}

text_value! {
    /// An application's name: one printable line of 1 to 100 characters, trimmed. Unique without regard to case.
    shown ApplicationName, |text| line("an application's name", text, 100)
}

impl ApplicationName {
    /// The form in which two names are the same name.
    pub fn folded(&self) -> String {
        self.as_str().to_lowercase()
    }
}

text_value! {
    /// The name of a role that a tenant made: one printable line of 1 to 100 characters, trimmed. Unique in the tenant
    /// without regard to case.
    hidden RoleName, |text| line("a role's name", text, 100)
}

impl RoleName {
    /// The form in which two names are the same name.
    pub fn folded(&self) -> String {
        self.as_str().to_lowercase()
    }
}

text_value! {
    /// What a role is for, in its tenant's words: one printable line of 1 to 500 characters, trimmed.
    hidden RoleDescription, |text| line("a role's description", text, 500)
}

text_value! {
    /// What a person calls an access token of theirs: one printable line of 1 to 100 characters, trimmed.
    hidden TokenName, |text| line("a token's name", text, 100)
}

text_value! {
    /// Why somebody did something, in their words: one printable line of 1 to 500 characters, trimmed.
    hidden Reason, |text| line("a reason", text, 500)
}

text_value! {
    /// Why something was refused, in a machine's word: 1 to 64 of `a-z`, `0-9` and `_`.
    shown ReasonCode, |text| {
        identifier("a reason code", text, 64, "a-z, 0-9 and _", |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
        })
    }
}

/// The longest slug, in bytes: a DNS label.
const SLUG_BYTES_MAX: usize = 63;

text_value! {
    /// A tenant's name in URLs: 1 to 63 of `a-z`, `0-9` and single inner hyphens (a DNS label).
    hidden Slug, |text| {
        const WHAT: &str = "a slug";
        let slug = identifier(WHAT, text, SLUG_BYTES_MAX, "a-z, 0-9 and -", |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
        })?;
        if slug.split('-').any(str::is_empty) {
            return Err(InvalidValue::new(WHAT, "must not begin or end with a hyphen, nor hold two in a row"));
        }
        Ok(slug)
    }
}

impl Slug {
    /// The slug of a tenant that asked for none: its domain with hyphens for dots. Two domains can share one;
    /// then the second tenant has to ask for another.
    pub fn of_domain(domain: &Domain) -> Self {
        slugify(domain.as_str()).expect("a domain has a letter or a digit, so something is left of it")
    }

    /// A slug made of a tenant's name, or `None` if nothing of it is ASCII.
    pub fn of_name(name: &Name) -> Option<Self> {
        slugify(name.as_str())
    }
}

fn slugify(text: &str) -> Option<Slug> {
    let mut slug = String::new();
    for character in text.chars() {
        if slug.len() >= SLUG_BYTES_MAX {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').parse().ok()
}
