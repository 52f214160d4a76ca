//! Settings of mail: which server takes it, and whom it is from.

use std::net::IpAddr;

use clap::Args;
use lettre::Address;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use reqwest::Url;

/// Whom files are from that would be mails: nobody who could be answered (RFC 2606 §2).
const NOBODY: &str = "Tenantry <noreply@tenantry.invalid>";
/// Port of submission with TLS from the first byte (RFC 8314 §3.3).
const SUBMISSIONS_PORT: u16 = 465;
/// Port of submission with STARTTLS (RFC 6409 §3.1).
const SUBMISSION_PORT: u16 = 587;
/// Port of a relay (RFC 5321 §4.5.4.2).
const SMTP_PORT: u16 = 25;

/// Where mail goes.
#[derive(Clone, Debug, Default, Args)]
pub struct MailSettings {
    /// A server that takes mail: smtp://user:password@host:port (STARTTLS unless the host is this machine, or ?tls=none
    /// is added) or smtps://… (TLS from the first byte). Without one, mails become files in the data directory
    #[arg(long, env = "TENANTRY_SMTP_URL", value_name = "URL", hide_env_values = true)]
    pub smtp_url: Option<String>,

    /// Whom mail is from, such as "Tenantry <noreply@tenantry.example>"; needed with --smtp-url
    #[arg(long, env = "TENANTRY_MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,
}

/// How the way to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// TLS from the first byte.
    Tls,
    /// Nothing is said before STARTTLS; a server that doesn't offer it gets no mail.
    StartTls,
    None,
}

/// An understood `--smtp-url`. No `Debug`: it holds a password.
pub(super) struct SmtpUrl {
    pub host: String,
    pub port: u16,
    pub protection: Protection,
    pub login: Option<(String, String)>,
}

impl MailSettings {
    /// What the flags allow one by one but not together, and what can't be understood. Says nothing of what was given:
    /// it may hold a password.
    ///
    /// # Errors
    /// Says which setting, and what is expected.
    pub fn check(&self) -> Result<(), String> {
        self.smtp()?;
        self.from().map(|_| ())
    }

    pub(super) fn smtp(&self) -> Result<Option<SmtpUrl>, String> {
        let url = self.smtp_url.as_deref().filter(|url| !url.is_empty());
        url.map(|url| SmtpUrl::parse(url).map_err(|problem| format!("--smtp-url {problem}"))).transpose()
    }

    pub(super) fn from(&self) -> Result<Mailbox, String> {
        let given = self.mail_from.as_deref().filter(|from| !from.is_empty());
        let served = self.smtp_url.as_deref().is_some_and(|url| !url.is_empty());
        let text = match given {
            Some(text) => text,
            None if served => {
                return Err("--smtp-url is given without --mail-from: say whom mail is from".to_owned());
            }
            None => NOBODY,
        };
        mailbox(text).ok_or_else(|| {
            "--mail-from is an address, such as \"Tenantry <noreply@tenantry.example>\"".to_owned()
        })
    }
}

/// `address`, or `Name <address>`, all of it printable ASCII: it stands in a header as it is.
fn mailbox(text: &str) -> Option<Mailbox> {
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return None;
    }
    let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (Some(name.trim().to_owned()), address),
        None => (None, text.trim()),
    };
    Some(Mailbox::new(name.filter(|name| !name.is_empty()), address.parse::<Address>().ok()?))
}

impl SmtpUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "is a URL such as smtps://user:password@mail.example, or smtp://mail.example:587";
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(EXPECTED);
        }
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let protection = match (url.scheme(), url.query()) {
            ("smtps", None) => Protection::Tls,
            ("smtp", Some("tls=none")) => Protection::None,
            ("smtp", None) if here => Protection::None,
            ("smtp", None | Some("tls=required")) => Protection::StartTls,
            ("smtp" | "smtps", _) => {
                return Err("may end in ?tls=none or ?tls=required after smtp://, and in nothing else");
            }
            _ => return Err(EXPECTED),
        };
        let port = url.port().unwrap_or(match protection {
            Protection::Tls => SUBMISSIONS_PORT,
            Protection::StartTls => SUBMISSION_PORT,
            Protection::None => SMTP_PORT,
        });
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => {
                return Err("names a user without a password, or a password without a user");
            }
            (user, Some(password)) => {
                let decoded =
                    |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| EXPECTED);
                Some((decoded(user)?, decoded(password)?))
            }
        };
        Ok(Self { host, port, protection, login })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> SmtpUrl {
        SmtpUrl::parse(text).unwrap_or_else(|problem| panic!("{text} {problem}"))
    }

    #[test]
    fn the_way_to_a_server_is_protected_unless_it_is_this_machine_or_somebody_says_otherwise() {
        for (text, protection, port) in [
            ("smtps://mail.example", Protection::Tls, 465),
            ("smtp://mail.example", Protection::StartTls, 587),
            ("smtp://mail.example:25", Protection::StartTls, 25),
            ("smtp://mail.example?tls=none", Protection::None, 25),
            ("smtp://127.0.0.1:2525", Protection::None, 2525),
            ("smtp://[::1]:2525/", Protection::None, 2525),
            ("smtp://localhost", Protection::None, 25),
            ("smtp://localhost?tls=required", Protection::StartTls, 587),
            ("smtp://localhost.example", Protection::StartTls, 587),
            ("smtp://10.0.0.1", Protection::StartTls, 587),
        ] {
            let url = url(text);
            assert_eq!((url.protection, url.port), (protection, port), "{text}");
        }
        assert_eq!(url("smtp://[::1]").host, "::1");
    }

    #[test]
    fn user_and_password_are_decoded() {
        let login = url("smtps://ann%40acme.example:p%3Aw%2F@mail.example").login;
        assert_eq!(login, Some(("ann@acme.example".to_owned(), "p:w/".to_owned())));
        assert_eq!(url("smtps://mail.example").login, None);
    }

    #[test]
    fn what_is_wrong_is_refused_without_repeating_it() {
        for text in [
            "mail.example",
            "http://u:secret@mail.example",
            "smtp://",
            "smtp://u:secret@mail.example/path",
            "smtps://u:secret@mail.example?tls=none",
            "smtp://u:secret@mail.example?tls=opportunistic",
            "smtp://u@mail.example",
            "smtp://:secret@mail.example",
            "smtp://u:secret@mail.example#x",
            "smtp://u:secret@mail.example:99999",
        ] {
            let settings = MailSettings {
                smtp_url: Some(text.to_owned()),
                mail_from: Some("noreply@tenantry.example".to_owned()),
            };
            let problem = settings.check().unwrap_err();
            assert!(problem.starts_with("--smtp-url ") && !problem.contains("secret"), "{text}: {problem}");
        }
    }

    #[test]
    fn whom_mail_is_from_is_one_address_and_no_header_of_its_own() {
        let from = |text: &str| MailSettings { smtp_url: None, mail_from: Some(text.to_owned()) }.from();
        assert_eq!(from("a@b.example").unwrap().to_string(), "a@b.example");
        assert_eq!(from("Tenantry Mail <a@b.example>").unwrap().to_string(), "Tenantry Mail <a@b.example>");
        assert_eq!(from("").unwrap().email.domain(), "tenantry.invalid");
        for text in [
            "nobody",
            "<>",
            "a@b.example, c@d.example",
            "A <a@b.example>\r\nBcc: c@d.example",
            "A <a@b.example> c",
        ] {
            assert!(from(text).is_err(), "{text}");
        }
        let unsaid = MailSettings { smtp_url: Some("smtps://mail.example".to_owned()), mail_from: None };
        assert!(unsaid.check().unwrap_err().contains("--mail-from"));
    }
}
