//! The binary `tenantry`, killed with SIGKILL in the middle of many commands, and started again on its data.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::db::connect;

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

fn binary(package: &str, name: &str) -> PathBuf {
    let build =
        Command::new(env!("CARGO")).args(["build", "--quiet", "--package", package, "--bins"]).status();
    assert!(build.unwrap().success(), "{name} is built");
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join(name)
}

/// A server of its own, with its data directory and its private PostgreSQL.
struct Server {
    process: Child,
    binary: PathBuf,
    url: String,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    async fn start(binary: &Path, data: &Path, port: u16) -> Self {
        let process = Command::new(binary)
            .arg("serve")
            .env("TENANTRY_DATA_DIR", data)
            .env("TENANTRY_LISTEN", format!("127.0.0.1:{port}"))
            .env("TENANTRY_ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(data.join("server.log")).unwrap())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut server = Self { process, binary: binary.to_owned(), url };
        let begun = Instant::now();
        loop {
            let ready = reqwest::get(format!("{}/ready", server.url)).await;
            if ready.is_ok_and(|answer| answer.status() == 200) {
                return server;
            }
            let log = || std::fs::read_to_string(data.join("server.log")).unwrap_or_default();
            assert!(server.process.try_wait().unwrap().is_none(), "it ended: {}", log());
            assert!(begun.elapsed() < START_MAX, "it doesn't get ready: {}", log());
            tokio::task::yield_now().await;
        }
    }

    fn token(&self, data: &Path) -> String {
        let output = Command::new(&self.binary)
            .args(["token", "--role", "operator"])
            .env("TENANTRY_DATA_DIR", data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// REQUIREMENTS §1, rule 7: an acknowledged write survives a crash at any instant; a retry never does a thing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_it_acknowledged_and_repeats_nothing() {
    const TENANTS: usize = 10;
    const KILLS: u64 = 3;
    let (tenantry, replay) = (binary("gateway", "tenantry"), binary("replay", "replay"));
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let port = free_port();
    let mut server = Server::start(&tenantry, data, port).await;
    let client = reqwest::Client::new();
    let token = server.token(data);
    let tenants = join_all((0..TENANTS).map(|n| {
        let body = json!({"name": "Acme", "domain": format!("t{n}.example"), "plan": "enterprise", "owner_email": format!("o{n}@t{n}.example")});
        let request = client.post(format!("{}/api/operator/tenants", server.url)).bearer_auth(&token).json(&body);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned() }
    }))
    .await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers = (0..32_usize).map(|worker| {
        let (client, stop, count) = (client.clone(), stop.clone(), acknowledged.clone());
        let (url, token, tenant) = (server.url.clone(), token.clone(), tenants[worker % TENANTS].clone());
        tokio::spawn(async move {
            let mut positions = Vec::new();
            let mut round = 0_u64;
            while !stop.load(Ordering::Acquire) {
                round += 1;
                // The same key until there is an answer, as a careful client does.
                loop {
                    let answer = client
                        .put(format!("{url}/api/operator/tenants/{tenant}/flags/flag-{worker}"))
                        .bearer_auth(&token)
                        .header("idempotency-key", format!("{worker}-{round}"))
                        .json(&json!({ "value": round }))
                        .send()
                        .await;
                    match answer {
                        Ok(answer) if answer.status().is_success() => {
                            positions.push(answer.headers()["x-position"].to_str().unwrap().to_owned());
                            count.fetch_add(1, Ordering::AcqRel);
                            break;
                        }
                        Ok(answer) if answer.status() == 503 || answer.status() == 409 => {}
                        Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap()),
                        Err(_) => {}
                    }
                    tokio::task::yield_now().await;
                }
            }
            positions
        })
    });
    let workers: Vec<_> = workers.collect();
    for kill in 1..=KILLS {
        while acknowledged.load(Ordering::Acquire) < kill * 400 {
            tokio::task::yield_now().await;
        }
        server.kill();
        server = Server::start(&tenantry, data, port).await;
    }
    stop.store(true, Ordering::Release);
    let positions: Vec<String> = join_all(workers)
        .await
        .into_iter()
        .flat_map(|worker| worker.expect("no worker was refused"))
        .collect();
    let cluster = Cluster::open(data).unwrap().expect("its private PostgreSQL runs");
    let database = connect(&cluster.owner()).await;
    let row = database
        .query_one(
            "SELECT count(*), max(position), (SELECT last_position FROM journal_shard),
                    (SELECT count(*) FROM (SELECT 1 FROM events GROUP BY aggregate_type, aggregate_id
                                           HAVING max(sequence) <> count(*) OR min(sequence) <> 1) AS gaps),
                    count(*) FILTER (WHERE event_type = 'tenant.flag_set' AND role = 'operator')
               FROM events",
            &[],
        )
        .await
        .unwrap();
    let [count, last, counter, gaps, set] = [0, 1, 2, 3, 4].map(|n| row.get::<_, i64>(n));
    assert_eq!((count, last, gaps), (counter, counter, 0), "dense and contiguous");
    assert_eq!(set, i64::try_from(positions.len()).unwrap(), "each acknowledged once, none twice");
    let distinct: std::collections::HashSet<_> = positions.iter().collect();
    assert_eq!(distinct.len(), positions.len());
    for position in &positions {
        let place: i64 = position.split(':').nth(1).unwrap().parse().unwrap();
        assert!(place <= last, "{position} was acknowledged");
    }
    // What projections made of it live is what replay makes of it from zero.
    let verify = Command::new(&replay).arg("verify").env("TENANTRY_DATA_DIR", data).output().unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    drop(database);
    server.kill();
    cluster.destroy().await.unwrap();
}
