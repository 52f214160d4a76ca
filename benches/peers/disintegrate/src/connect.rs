//! How `--url` is read: libpq's URL, which the driver understands, or its key-value pairs, which it does not.

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;

pub fn options(text: &str) -> Result<PgConnectOptions> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return text.parse().context("--url is no URL of a database");
    }
    pairs(text)?.into_iter().try_fold(PgConnectOptions::new(), |options, (key, value)| {
        Ok(match key.as_str() {
            "host" if value.starts_with('/') => options.socket(value),
            "host" | "hostaddr" => options.host(&value),
            "port" => options.port(value.parse().context("the port is no number")?),
            "user" => options.username(&value),
            "password" => options.password(&value),
            "dbname" => options.database(&value),
            "application_name" => options.application_name(&value),
            "sslmode" => options.ssl_mode(value.parse()?),
            "sslrootcert" => options.ssl_root_cert(value),
            "sslcert" => options.ssl_client_cert(value),
            "sslkey" => options.ssl_client_key(value),
            _ => bail!("the driver takes no connection parameter {key}"),
        })
    })
}

/// As libpq reads them: spaces around `=` are allowed, a value may stand in single quotes, and a backslash takes the
/// next character as it is. Of two pairs with the same key the last counts.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').context("--url has a key without a value")?;
        rest = after.trim_start();
        let quoted = rest.starts_with('\'');
        let mut value = String::new();
        let mut characters = rest.char_indices().skip(usize::from(quoted));
        let end = loop {
            match characters.next() {
                Some((at, '\'')) if quoted => break at + 1,
                Some((at, character)) if !quoted && character.is_whitespace() => break at,
                Some((_, '\\')) => value.extend(characters.next().map(|(_, character)| character)),
                Some((_, character)) => value.push(character),
                None if quoted => bail!("--url has a quote without its end"),
                None => break rest.len(),
            }
        };
        found.push((key.trim().to_owned(), value));
        rest = rest[end..].trim_start();
    }
    Ok(found)
}
