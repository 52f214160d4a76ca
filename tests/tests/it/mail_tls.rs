//! Mail to a server that others wrote, in a process of its own: over TLS, after a login, and to none that can't show
//! who it is (NFR-SEC-001).

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;

use crate::db::TestDb;
use crate::feeds::eventually;
use crate::foreign;
use crate::process::free_port;
use crate::server_process::ServerProcess;

const USER: &str = "tenantry";
const PASSWORD: &str = "p:w/ of the relay";

/// A foreign mail server; it ends with the test.
struct Relay {
    process: Child,
    directory: TempDir,
    port: u16,
}

impl Relay {
    /// With a certificate for `localhost`, of an authority of its own.
    fn open(tls: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [authority, certificate, key] =
            ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.path().join(name));
        let mut root = CertificateParams::new([]).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().unwrap();
        std::fs::write(authority, root.self_signed(&root_key).unwrap().pem()).unwrap();
        let own_key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &Issuer::new(root, root_key)).unwrap();
        std::fs::write(&certificate, own.pem()).unwrap();
        std::fs::write(&key, own_key.serialize_pem()).unwrap();

        let port = free_port();
        let mut process = foreign::server("smtp")
            .args(["--port", &port.to_string(), "--tls", tls, "--user", USER, "--password", PASSWORD])
            .arg("--certificate")
            .arg(&certificate)
            .arg("--key")
            .arg(&key)
            .arg("--maildir")
            .arg(directory.path().join("maildir"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let relay = Self { process, directory, port };
        assert_eq!(said.trim(), "ready", "{}", relay.log());
        relay
    }

    fn authority(&self) -> String {
        self.directory.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// `tenantry serve`'s setting; the user's password is written as a URL wants it.
    fn url(&self, scheme: &str, host: &str, password: &str) -> String {
        let query = if scheme == "smtp" { "?tls=required" } else { "" };
        format!("{scheme}://{USER}:{password}@{host}:{}{query}", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn letters(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.directory.path().join("maildir/new")) else {
            return Vec::new();
        };
        files
            .map(|file| {
                let mut letter = String::new();
                std::fs::File::open(file.unwrap().path()).unwrap().read_to_string(&mut letter).unwrap();
                letter
            })
            .collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const RIGHT: &str = "p%3Aw%2F%20of%20the%20relay";

/// A server that mails by this URL and believes the relay's authority, or only the machine's.
async fn server(db: &TestDb, url: &str, authority: Option<String>) -> ServerProcess {
    let variables = authority.map(|authority| ("SSL_CERT_FILE", authority));
    let flags = ["--smtp-url", url, "--mail-from", "Tenantry <noreply@tenantry.example>"];
    ServerProcess::on_with(db, &flags, variables.as_slice()).await
}

/// How far the one letter of a new tenant's owner gets: its job's state and last error.
async fn job(db: &TestDb) -> Option<(String, String)> {
    let row = db
        .owner
        .get()
        .await
        .unwrap()
        .query_opt("SELECT state, coalesce(last_error, '') FROM jobs", &[])
        .await
        .unwrap()?;
    Some((row.get(0), row.get(1)))
}

#[tokio::test]
async fn a_letter_reaches_a_foreign_server_over_tls_and_after_a_login() {
    for (tls, scheme) in [("starttls", "smtp"), ("from-the-first-byte", "smtps")] {
        let (relay, db) = (Relay::open(tls), TestDb::new().await);
        let server = server(&db, &relay.url(scheme, "localhost", RIGHT), Some(relay.authority())).await;
        server.provision("acme").await;
        eventually("the letter is there", async || relay.letters().len() == 1).await;
        let letter = relay.letters().remove(0);
        assert!(letter.contains("To: owner@acme.example"), "{tls}: {letter}");
        eventually("it is told as sent", async || job(&db).await.is_some_and(|(state, _)| state == "done"))
            .await;
        assert!(!server.log().contains("p:w/"), "the relay's password is in no log");
    }
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_or_that_is_of_another_name_gets_no_letter() {
    let relay = Relay::open("starttls");
    for (host, authority) in [("localhost", None), ("127.0.0.1", Some(relay.authority()))] {
        let db = TestDb::new().await;
        let server = server(&db, &relay.url("smtp", host, RIGHT), authority).await;
        server.provision("acme").await;
        let refused = async || {
            job(&db).await.is_some_and(|(_, error)| error == "smtp_tls" || error == "smtp_connection")
        };
        eventually("it is refused", refused).await;
        assert!(relay.letters().is_empty(), "{host}");
    }
}

#[tokio::test]
async fn a_relay_that_does_not_know_us_keeps_the_letter_waiting() {
    let (relay, db) = (Relay::open("starttls"), TestDb::new().await);
    let server = server(&db, &relay.url("smtp", "localhost", "wrong"), Some(relay.authority())).await;
    server.provision("acme").await;
    eventually("it is told", async || job(&db).await == Some(("waiting".to_owned(), "smtp_535".to_owned())))
        .await;
    assert!(relay.letters().is_empty());
}
