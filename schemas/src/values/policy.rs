//! The text of a policy that operators publish (REQUIREMENTS §4).

use super::InvalidValue;
use super::json::check_text;

/// The longest text of a policy, in bytes.
const POLICY_BYTES_MAX: usize = 16 * 1024;

text_value! {
    /// A policy in Cedar, as text: at most 16 KiB, no control characters but line feed and tab. That it is a policy, and
    /// fits the schema, only who evaluates it can say. The deployment's own, so it is plain. Canonical form: lines end
    /// with a line feed, and no white space stands around the whole.
    shown PolicyText, |text| {
        const WHAT: &str = "a policy's text";
        let text = text.trim().replace("\r\n", "\n");
        if text.is_empty() {
            return Err(InvalidValue::new(WHAT, "must not be empty"));
        }
        if text.len() > POLICY_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {POLICY_BYTES_MAX} bytes long")));
        }
        check_text(WHAT, &text)?;
        Ok(text)
    }
}
