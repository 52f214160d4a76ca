//! What all text values share.

use super::InvalidValue;

/// A newtype over text. `hidden` text never shows in `Debug` and has no `Display`: it is a person's or a tenant's,
/// and must not reach a log (CC-LOG-002). `shown` text is the deployment's own.
macro_rules! text_value {
    ($(#[$doc:meta])* hidden $name:ident, $parse:expr) => {
        text_value!(@common $(#[$doc])* $name, $parse);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
    ($(#[$doc:meta])* shown $name:ident, $parse:expr) => {
        text_value!(@common $(#[$doc])* $name, $parse);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
    (@common $(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text, in its canonical form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // It is equal, ordered and hashed as its text is: a map of these is asked by text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::values::InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let parse: fn(&str) -> Result<String, $crate::values::InvalidValue> = $parse;
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::values::InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $crate::values::InvalidValue;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// Parses one line of human text: trimmed, not empty, at most `chars_max` characters, nothing unprintable.
pub(super) fn line(what: &'static str, text: &str, chars_max: usize) -> Result<String, InvalidValue> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidValue::new(what, "must not be empty"));
    }
    if text.chars().count() > chars_max {
        return Err(InvalidValue::new(what, format!("must be at most {chars_max} characters long")));
    }
    printable(what, text)?;
    Ok(text.to_owned())
}

/// Parses an identifier: 1 to `bytes_max` bytes, each of them allowed.
pub(super) fn identifier(
    what: &'static str,
    text: &str,
    bytes_max: usize,
    alphabet: &'static str,
    allowed: fn(u8) -> bool,
) -> Result<String, InvalidValue> {
    if text.is_empty() {
        return Err(InvalidValue::new(what, "must not be empty"));
    }
    if text.len() > bytes_max {
        return Err(InvalidValue::new(what, format!("must be at most {bytes_max} characters long")));
    }
    if !text.bytes().all(allowed) {
        return Err(InvalidValue::new(what, format!("may hold only {alphabet}")));
    }
    Ok(text.to_owned())
}

/// Refuses control characters, and those that reorder or hide the text around them.
pub(super) fn printable(what: &'static str, text: &str) -> Result<(), InvalidValue> {
    if text.chars().any(unprintable) {
        return Err(InvalidValue::new(what, "must not hold control or text-direction characters"));
    }
    Ok(())
}

fn unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Zero width, directional marks, embeddings and isolates, line and paragraph separators, byte order mark.
            '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
        // Noncharacters: the last two code points of each plane, and a block of their own.
        || (u32::from(character) & 0xFFFE) == 0xFFFE
        || matches!(character, '\u{FDD0}'..='\u{FDEF}')
}
