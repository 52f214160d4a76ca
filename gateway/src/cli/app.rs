//! `tenantry app`: the developer's way to applications and keys (UC-DEV-REGISTER), a client of the public API.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use kernel::{ApplicationId, KeyId};
use reqwest::Method;
use schemas::values::{ApplicationName, Environment, OwnerId, RedirectUri, Role, Scope};
use serde_json::{Map, Value, json};

use super::token::obtain;
use crate::data_dir::Announcement;
use crate::local::TokenWish;
use crate::settings::Store;

/// How long the API may take to answer.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// How long the token lives that is asked for on the way.
const TTL_S: u64 = 60;

#[derive(Debug, Args)]
pub struct AppArgs {
    #[command(subcommand)]
    verb: Verb,

    /// Where the API is served [default: what the last server of the data directory said]
    #[arg(long, env = "TENANTRY_URL", value_name = "URL", global = true)]
    url: Option<String>,

    /// A developer's access token [default: one of the running server's local socket]
    #[arg(long, env = "TENANTRY_TOKEN", value_name = "TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,

    /// Makes the command repeatable: the same key gives the same outcome for 24 hours
    #[arg(long, value_name = "KEY", global = true)]
    idempotency_key: Option<String>,

    #[command(flatten)]
    store: Store,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Registers an application (FR-SYS-001)
    Register {
        /// Unique in the deployment
        #[arg(long)]
        name: ApplicationName,
        /// Who answers for it: a person's or a team's id
        #[arg(long)]
        owner: OwnerId,
        /// development, staging or production
        #[arg(long)]
        environment: Environment,
        /// Where an authorization answer may go; may be given several times
        #[arg(long = "redirect-uri", value_name = "URI")]
        redirect_uris: Vec<RedirectUri>,
    },
    /// Lists applications
    List,
    /// Shows an application
    Show {
        /// The application
        application: ApplicationId,
    },
    /// Lists, issues, rotates and revokes an application's API keys (FR-SYS-002)
    Keys {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Disables an application: all its API access stops at once (FR-SYS-003)
    Disable {
        /// The application
        application: ApplicationId,
    },
    /// Enables an application again
    Enable {
        /// The application
        application: ApplicationId,
    },
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Lists an application's keys, without their secrets
    List {
        /// The application
        application: ApplicationId,
    },
    /// Issues a key. Its secret is shown once
    Issue {
        /// The application
        application: ApplicationId,
        /// flag:read, bill:write, bill:read, log:write or access:read; may be given several times
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// When it expires, such as 2027-11-21T00:00:00Z; else it is valid until it is revoked
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Issues a key's successor; the old key goes on for a while. The new secret is shown once
    Rotate {
        /// The application
        application: ApplicationId,
        /// The key to replace
        key: KeyId,
        /// How long the old key goes on, in hours, at most 720; 0: it stops at once
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        overlap_hours: u16,
        /// When the new key expires, such as 2027-11-21T00:00:00Z; else it is valid until it is revoked
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Revokes a key at once
    Revoke {
        /// The application
        application: ApplicationId,
        /// The key
        key: KeyId,
    },
}

const BASE: &str = "/api/developer/applications";

impl Verb {
    /// What to ask of the API.
    fn request(&self) -> (Method, String, Option<Value>) {
        let status = |application: &ApplicationId, status: &str| {
            (Method::PUT, format!("{BASE}/{application}/status"), Some(json!({ "status": status })))
        };
        match self {
            Self::Register { name, owner, environment, redirect_uris } => {
                let body = json!({
                    "name": name, "owner": owner, "environment": environment, "redirect_uris": redirect_uris,
                });
                (Method::POST, BASE.to_owned(), Some(body))
            }
            Self::List => (Method::GET, BASE.to_owned(), None),
            Self::Show { application } => (Method::GET, format!("{BASE}/{application}"), None),
            Self::Disable { application } => status(application, "disabled"),
            Self::Enable { application } => status(application, "active"),
            Self::Keys { verb } => match verb {
                KeyVerb::List { application } => (Method::GET, format!("{BASE}/{application}/keys"), None),
                KeyVerb::Issue { application, scopes, expires_at } => {
                    let mut body = Map::from_iter([("scopes".to_owned(), json!(scopes))]);
                    if let Some(expires_at) = expires_at {
                        body.insert("expires_at".to_owned(), json!(expires_at));
                    }
                    (Method::POST, format!("{BASE}/{application}/keys"), Some(body.into()))
                }
                KeyVerb::Rotate { application, key, overlap_hours, expires_at } => {
                    let mut body = Map::from_iter([("overlap_hours".to_owned(), json!(overlap_hours))]);
                    if let Some(expires_at) = expires_at {
                        body.insert("expires_at".to_owned(), json!(expires_at));
                    }
                    (Method::POST, format!("{BASE}/{application}/keys/{key}/rotate"), Some(body.into()))
                }
                KeyVerb::Revoke { application, key } => {
                    (Method::DELETE, format!("{BASE}/{application}/keys/{key}"), None)
                }
            },
        }
    }
}

pub async fn run(args: AppArgs) -> anyhow::Result<()> {
    let announced = || Announcement::read(&args.store.data_dir()).map(|last| last.url);
    let url =
        args.url.filter(|url| !url.is_empty()).or_else(announced).unwrap_or_else(|| args.store.public_url());
    let token = match args.token.filter(|token| !token.is_empty()) {
        Some(token) => token,
        None => {
            let wish = TokenWish { role: Role::Developer, tenant: None, person: None, ttl_s: TTL_S };
            obtain(&args.store, &wish).await.context("give a token with --token or TENANTRY_TOKEN")?.token
        }
    };
    let (method, path, body) = args.verb.request();
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let mut request =
        client.request(method, format!("{}{path}", url.trim_end_matches('/'))).bearer_auth(token);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    if let Some(body) = &body {
        request = request.json(body);
    }
    // Without the URL in the error: it is said here, and nothing else is in it.
    let response = request.send().await.map_err(reqwest::Error::without_url);
    let response = response.with_context(|| format!("the API at {url} can't be reached"))?;
    let status = response.status();
    let text = response.text().await.context("the answer broke off")?;
    if !status.is_success() {
        bail!("{}", explained(status.as_u16(), &text));
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(value) => println!("{}", serde_json::to_string_pretty(&value)?),
        Err(_) if text.is_empty() => {}
        Err(_) => println!("{text}"),
    }
    Ok(())
}

/// A problem (RFC 9457) for people.
fn explained(status: u16, text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(text) else {
        return format!("the API answered {status}");
    };
    let part = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let mut lines =
        vec![format!("{} ({}: {}; trace {})", part("title"), part("code"), part("detail"), part("trace_id"))];
    for error in problem["errors"].as_array().into_iter().flatten() {
        let place = error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default();
        lines.push(format!("  {place} {}", error["detail"].as_str().unwrap_or_default()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn request(line: &str) -> (Method, String, Option<Value>) {
        let args = ["tenantry", "app"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(args).unwrap().command {
            Command::App(args) => args.verb.request(),
            _ => unreachable!("app was asked for"),
        }
    }

    /// UC-DEV-REGISTER
    #[test]
    fn a_command_line_asks_what_the_api_offers() {
        let id = "018f3a5e-7c2b-7e14-9d5a-3f6b1c2d4e5f";
        let (method, path, body) = request(
            "register --name Shop --owner team:shop --environment staging --redirect-uri https://a.example/x",
        );
        assert_eq!((method, path.as_str()), (Method::POST, BASE));
        let expected = json!({"name": "Shop", "owner": "team:shop", "environment": "staging",
            "redirect_uris": ["https://a.example/x"]});
        assert_eq!(body.unwrap(), expected);
        let (method, path, body) = request(&format!("keys issue {id} --scope flag:read --scope log:write"));
        assert_eq!((method, path), (Method::POST, format!("{BASE}/{id}/keys")));
        assert_eq!(body.unwrap(), json!({"scopes": ["flag:read", "log:write"]}));
        let (method, path, body) = request(&format!("disable {id}"));
        assert_eq!((method, path), (Method::PUT, format!("{BASE}/{id}/status")));
        assert_eq!(body.unwrap(), json!({"status": "disabled"}));
        assert_eq!(request(&format!("keys revoke {id} {id}")).0, Method::DELETE);
        let (method, path, body) = request(&format!("keys rotate {id} {id} --overlap-hours 2"));
        assert_eq!((method, path), (Method::POST, format!("{BASE}/{id}/keys/{id}/rotate")));
        assert_eq!(body.unwrap(), json!({"overlap_hours": 2}));
    }

    #[test]
    fn every_command_has_its_endpoint() {
        let id = "018f3a5e-7c2b-7e14-9d5a-3f6b1c2d4e5f";
        for line in [
            "register --name a --owner b --environment staging".to_owned(),
            "list".to_owned(),
            format!("show {id}"),
            format!("enable {id}"),
            format!("keys list {id}"),
            format!("keys issue {id} --scope flag:read"),
            format!("keys rotate {id} {id}"),
            format!("keys revoke {id} {id}"),
        ] {
            let (method, path, _) = request(&line);
            let fits = |pattern: &str| {
                let (pattern, path): (Vec<_>, Vec<_>) =
                    (pattern.split('/').collect(), path.split('/').collect());
                pattern.len() == path.len()
                    && pattern
                        .iter()
                        .zip(path)
                        .all(|(pattern, part)| *pattern == part || pattern.starts_with('{'))
            };
            let known = crate::url_map::url_map();
            let found = known.endpoints().any(|endpoint| endpoint.method == method && fits(endpoint.path));
            assert!(found, "{line}: {method} {path}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_code_and_fields() {
        let text = r#"{"title":"T","code":"ERR-VAL-400","detail":"invalid_fields","trace_id":"t","errors":[{"pointer":"/name","detail":"is missing"}]}"#;
        assert_eq!(explained(400, text), "T (ERR-VAL-400: invalid_fields; trace t)\n  /name is missing");
        assert_eq!(explained(502, "<html>"), "the API answered 502");
    }
}
