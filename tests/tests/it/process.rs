//! The binary `tenantry` in a process of its own, so that it can be killed, paused and refused.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);
/// How often it is looked whether something has happened.
pub const POLL: Duration = Duration::from_millis(20);

/// No rate limits: a test asks more than people do.
pub const UNLIMITED: [&str; 6] = [
    "TENANTRY_RATE_SIGN_IN",
    "TENANTRY_RATE_READ",
    "TENANTRY_RATE_WRITE",
    "TENANTRY_RATE_POLL",
    "TENANTRY_RATE_TENANT",
    "TENANTRY_RATE_ADDRESS",
];
/// Lines of a server's log in a failure.
const SAID_LINES_MAX: usize = 20;

/// A built binary of the workspace.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        // All at once, as `make test` does: one by one, their dependencies' features differ and all is built anew.
        let build = Command::new(env!("CARGO")).args(["build", "--quiet", "--workspace", "--bins"]).status();
        assert!(build.expect("cargo runs").success(), "the binaries are built");
    });
    let test = std::env::current_exe().expect("this process has a binary");
    let path = test.ancestors().nth(2).expect("it lies in target/…/deps").join(name);
    assert!(path.exists(), "there is no binary {name}");
    path
}

/// Ports of their own for the processes of tests that run at once: below those that the system gives to outgoing
/// connections, so that nobody takes one between its choice and its use.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// How many of them one process has before it gets to its neighbour's.
const PORTS_EACH: u16 = 16;

/// A port that nobody listens at now, never the same twice in a process.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let slots = u32::from(PORTS.len() as u16 / PORTS_EACH);
    let first = (std::process::id() % slots) as u16 * PORTS_EACH;
    (0..PORTS.len())
        .map(|_| PORTS.start + (first + GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u16)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of the ports is free")
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Node {
    pub data: PathBuf,
    pub port: u16,
    /// Further variables, such as `DATABASE_URL`.
    pub variables: Vec<(&'static str, String)>,
}

impl Node {
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), port: free_port(), variables: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// The last that it said.
    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SAID_LINES_MAX)..].join("\n")
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(binary("tenantry"));
        command
            .arg("serve")
            .env("TENANTRY_DATA_DIR", &self.data)
            .env("TENANTRY_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("TENANTRY_ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
            .env("TENANTRY_DATABASE_CONNECTIONS", "12")
            .envs(UNLIMITED.map(|name| (name, "0")))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.log()).expect("the log is made"));
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command.spawn().expect("the server starts")
    }

    /// Starts it, and waits until it is ready for requests.
    pub async fn start(&self) -> Server {
        self.start_until("/ready").await
    }

    /// Starts it, and waits until it answers at all: it may wait for the shard.
    pub async fn start_waiting(&self) -> Server {
        self.start_until("/health").await
    }

    async fn start_until(&self, path: &str) -> Server {
        let mut server = Server { process: self.spawn(), node: self.clone() };
        let (begun, mut tick) = (Instant::now(), tokio::time::interval(POLL));
        while !server.answers(path).await {
            let ended = server.process.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended: {}", self.said());
            assert!(begun.elapsed() < START_MAX, "it doesn't get ready: {}", self.said());
            tick.tick().await;
        }
        server
    }

    /// Starts it, and waits for its end: how it ended, and what it said.
    pub async fn refused(&self) -> (ExitStatus, String) {
        let mut process = self.spawn();
        let (begun, mut tick) = (Instant::now(), tokio::time::interval(POLL));
        loop {
            if let Some(status) = process.try_wait().expect("it is ours") {
                return (status, self.said());
            }
            if begun.elapsed() > START_MAX {
                process.kill().expect("it is ours");
                panic!("it serves: {}", self.said());
            }
            tick.tick().await;
        }
    }

    /// `tenantry token --role operator`
    pub fn token(&self) -> String {
        let mut command = Command::new(binary("tenantry"));
        command.args(["token", "--role", "operator"]).env("TENANTRY_DATA_DIR", &self.data);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    process: Child,
    pub node: Node,
}

impl Server {
    pub fn url(&self) -> String {
        self.node.url()
    }

    /// True if `path` is answered with 200 now.
    pub async fn answers(&self, path: &str) -> bool {
        reqwest::get(format!("{}{path}", self.url())).await.is_ok_and(|answer| answer.status() == 200)
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it ended");
    }

    /// SIGSTOP: it holds what it holds, and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on as if nothing had been.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.process.wait().expect("it ended");
        assert!(status.success(), "it did not stop in order: {}", self.node.said());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` or `kill` there is nothing left to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
