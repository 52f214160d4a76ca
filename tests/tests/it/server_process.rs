//! The binary `tenantry` as a process of its own, on a test's database: its memory and its metrics are its alone.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::db::TestDb;
use crate::process::{UNLIMITED, binary, free_port};

/// How long anything may take that happens by itself, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at that another process brings about.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running server.
pub struct ServerProcess {
    process: Child,
    data: TempDir,
    pub port: u16,
    admin: u16,
    http: reqwest::Client,
    pub operator: String,
}

/// Looks until something is so.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let looking = async {
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

impl ServerProcess {
    /// On a test's database, with further flags of `tenantry serve`.
    pub async fn on(db: &TestDb, flags: &[&str]) -> Self {
        Self::on_with(db, flags, &[]).await
    }

    /// The same, with further variables.
    pub async fn on_with(db: &TestDb, flags: &[&str], variables: &[(&str, String)]) -> Self {
        let (server, owner) = (db.server_info.url(), db.owner_info.url());
        let urls = ["--database-url", &server, "--owner-database-url", &owner];
        Self::start_with(tempfile::tempdir().unwrap(), &[&urls, flags].concat(), variables).await
    }

    /// In a data directory of its own.
    pub async fn start(data: TempDir, flags: &[&str]) -> Self {
        Self::start_with(data, flags, &[]).await
    }

    async fn start_with(data: TempDir, flags: &[&str], variables: &[(&str, String)]) -> Self {
        let tenantry = binary("tenantry");
        let (port, admin) = (free_port(), free_port());
        let log = std::fs::File::create(data.path().join("server.log")).unwrap();
        let process = Command::new(&tenantry)
            .args(["serve", "--log", "warn"])
            .args(flags)
            .env("TENANTRY_DATA_DIR", data.path())
            .env("TENANTRY_LISTEN", format!("127.0.0.1:{port}"))
            .env("TENANTRY_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .envs(UNLIMITED.map(|name| (name, "0")))
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut server = Self { process, data, port, admin, http, operator: String::new() };
        eventually("the server is ready", async || {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", server.log());
            server.ready().await.filter(|(status, _)| *status == StatusCode::OK)
        })
        .await;
        let token = Command::new(&tenantry)
            .args(["token", "--role", "operator"])
            .env("TENANTRY_DATA_DIR", server.data.path())
            .output()
            .unwrap();
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        server.operator = String::from_utf8(token.stdout).unwrap().trim().to_owned();
        server
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `/ready` on the private listener; `None` if it doesn't answer.
    pub async fn ready(&self) -> Option<(StatusCode, Value)> {
        let answer = self.http.get(format!("http://127.0.0.1:{}/ready", self.admin)).send().await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }

    /// One value of `/metrics`, by its name and labels as they are written there. Absent counts as 0.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self.http.get(format!("http://127.0.0.1:{}/metrics", self.admin)).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// What operators see of a component.
    pub async fn component(&self, name: &str) -> Option<Value> {
        let request = self.http.get(self.url("/api/operator/health")).bearer_auth(&self.operator);
        let body: Value = request.send().await.ok()?.json().await.ok()?;
        body["components"].as_array()?.iter().find(|component| component["name"] == name).cloned()
    }

    /// Memory of the process that is in use, in bytes (proc(5), statm).
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * page_bytes()
    }

    /// Provisions a tenant; returns its id.
    pub async fn provision(&self, name: &str) -> Uuid {
        let body = json!({
            "name": name, "domain": format!("{name}.example"), "plan": "enterprise",
            "owner_email": format!("owner@{name}.example"),
        });
        let request =
            self.http.post(self.url("/api/operator/tenants")).bearer_auth(&self.operator).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
    }

    /// A command on a tenant: sets a flag. The answer, or how the connection broke.
    pub async fn set_flag(
        &self,
        http: &reqwest::Client,
        tenant: Uuid,
        flag: &str,
        value: u64,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let url = self.url(&format!("/api/operator/tenants/{tenant}/flags/{flag}"));
        http.put(url).bearer_auth(&self.operator).json(&json!({ "value": value })).send().await
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if self.data().join("postgres").exists() {
            // Its private PostgreSQL outlives it, which is not meant here.
            let cluster = binary("cluster");
            let _ = Command::new(cluster).args(["destroy", "--yes", "--data-dir"]).arg(self.data()).output();
        }
    }
}

/// The unit of statm.
fn page_bytes() -> u64 {
    let output = Command::new("getconf").arg("PAGESIZE").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
