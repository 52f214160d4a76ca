//! URLs in settings.

/// An absolute http or https URL without user, query and fragment.
pub fn http_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':'])
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#*\"<>\\^`{|}".contains(&byte))
    });
    if fits {
        Ok(text.to_owned())
    } else {
        Err("is an absolute URL, such as https://tenantry.example".to_owned())
    }
}
