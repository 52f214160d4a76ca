//! Handing letters to a server (SMTP, RFC 5321).

use std::time::Duration;

use anyhow::Context;
use engine::jobs::JobError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::settings::{Protection, SmtpUrl};

/// Connections to the server at once.
const CONNECTIONS_MAX: u32 = 4;
/// How long connecting, or an answer, may take. An attempt as a whole is bounded by the job's.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Answers of class 5 that say something about us, not about the letter (RFC 4954 §6): a password to be mended must not
/// make letters dead.
const ABOUT_US: &[u16] = &[530, 534, 535, 538];

/// A server that takes letters.
pub(super) struct SmtpPost {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    place: String,
}

impl SmtpPost {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The host's name can't be that of a certificate.
    pub fn new(url: &SmtpUrl) -> anyhow::Result<Self> {
        let tls = || TlsParameters::new(url.host.clone()).context("TLS to the mail server can't be set up");
        let (scheme, tls) = match url.protection {
            Protection::Tls => ("smtps", Tls::Wrapper(tls()?)),
            Protection::StartTls => ("smtp", Tls::Required(tls()?)),
            Protection::None => ("smtp", Tls::None),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(url.host.clone())
            .port(url.port)
            .tls(tls)
            .timeout(Some(ANSWERS_WITHIN))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS_MAX));
        if let Some((user, password)) = &url.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Self { transport: builder.build(), place: format!("{scheme}://{}:{}", url.host, url.port) })
    }

    pub async fn send(&self, message: &Message) -> Result<(), JobError> {
        // What the server says may name the recipient: only its code is kept.
        self.transport
            .send_raw(message.envelope(), &message.formatted())
            .await
            .map(|_| ())
            .map_err(|e| verdict(&e))
    }

    pub async fn close(&self) {
        self.transport.shutdown().await;
    }

    pub fn place(&self) -> &str {
        &self.place
    }
}

fn verdict(error: &smtp::Error) -> JobError {
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !ABOUT_US.contains(&code) => {
            JobError::never(format!("smtp_{code}"))
        }
        Some(code) => JobError::later(format!("smtp_{code}")),
        None if error.is_tls() => JobError::later("smtp_tls"),
        None if error.is_timeout() => JobError::later("smtp_timeout"),
        // STARTTLS is not offered, or no way to sign in that we know.
        None if error.is_client() => JobError::later("smtp_unsuited"),
        None => JobError::later("smtp_connection"),
    }
}
