//! Permissions and modules: what tenants give their people (REQUIREMENTS §4).

use super::InvalidValue;
use super::text::identifier;

/// The longest permission, in bytes.
const PERMISSION_BYTES_MAX: usize = 128;

text_value! {
    /// What may be done to what: `resource:action`, such as `users:invite`, at most 128 bytes.
    ///
    /// Each part is a name (of `a-z`, `0-9`, `_` and `-`, beginning with a letter, with single inner dots between its
    /// steps), or a wildcard: `*` stands for every name, `finance.*` for every name that goes on after `finance.`, and so
    /// not for `finance` itself. A wildcard alone is of every action: `finance.*` is `finance.*:*`. An identifier shared
    /// with the applications' source code, so it is plain.
    shown Permission, |text| {
        const WHAT: &str = "a permission";
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'*')
        };
        let text = identifier(WHAT, text, PERMISSION_BYTES_MAX, "a-z, 0-9, '_', '-', '.', ':' and '*'", allowed)?;
        let whole = match text.split_once(':') {
            None if text.ends_with('*') => format!("{text}:*"),
            _ => text,
        };
        if whole.len() > PERMISSION_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {PERMISSION_BYTES_MAX} characters long")));
        }
        let (resource, action) = whole.split_once(':')
            .ok_or_else(|| InvalidValue::new(WHAT, "must be a resource and an action, such as users:read"))?;
        if !is_part(resource) || !is_part(action) {
            return Err(InvalidValue::new(WHAT, "has a part that is neither a name nor a wildcard such as * or a.*"));
        }
        Ok(whole)
    }
}

impl Permission {
    pub fn resource(&self) -> &str {
        self.parts().0
    }

    pub fn action(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.as_str().split_once(':').unwrap_or((self.as_str(), ""))
    }

    /// True if whoever holds this holds all that the other stands for.
    pub fn covers(&self, other: &Self) -> bool {
        self.covers_action(other.as_str())
    }

    /// The same, of a permission's text, such as an endpoint's action.
    pub fn covers_action(&self, action: &str) -> bool {
        let (resource, own) = self.parts();
        action.split_once(':').is_some_and(|(of, what)| part_covers(resource, of) && part_covers(own, what))
    }

    /// True if there is anything that both stand for.
    pub fn overlaps(&self, other: &Self) -> bool {
        // Of two parts that have anything in common, one covers the other.
        let meet = |one: &str, other: &str| part_covers(one, other) || part_covers(other, one);
        let ((resource, action), (of, what)) = (self.parts(), other.parts());
        meet(resource, of) && meet(action, what)
    }

    /// What both stand for, if there is anything.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
            if part_covers(one, other) { Some(other) } else { part_covers(other, one).then_some(one) }
        }
        let ((resource, action), (of, what)) = (self.parts(), other.parts());
        let (resource, action) = (narrower(resource, of)?, narrower(action, what)?);
        // Two parts of different permissions can be longer together than one permission may be.
        format!("{resource}:{action}").parse().ok()
    }
}

/// A name, or a wildcard.
fn is_part(part: &str) -> bool {
    part == "*" || is_name(part.strip_suffix(".*").unwrap_or(part))
}

/// Steps with single dots between them, beginning with a letter.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split('.').all(|step| {
            !step.is_empty()
                && step.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
                })
        })
}

fn part_covers(one: &str, other: &str) -> bool {
    if one == "*" || one == other {
        return true;
    }
    // What is left after the prefix is a name's rest or another wildcard, and never empty.
    one.strip_suffix('*').is_some_and(|prefix| other.starts_with(prefix))
}

text_value! {
    /// The name of a module of the applications that a tenant can be entitled to, such as `webhooks`: 1 to 64 of `a-z`,
    /// `0-9`, `_`, `-` and single inner dots, beginning with a letter. Plain, as it is shared with the catalogue.
    shown Module, |text| {
        const WHAT: &str = "a module";
        let name = identifier(WHAT, text, 64, "a-z, 0-9, '_', '-' and '.'", |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
        })?;
        if !is_name(&name) {
            return Err(InvalidValue::new(WHAT, "must begin with a letter and hold single inner dots only"));
        }
        Ok(name)
    }
}
