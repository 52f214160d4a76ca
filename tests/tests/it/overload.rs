//! More than a server can do: it refuses in time and in bounded memory, loses nothing, and goes on at full speed.
//!
//! The storm is ten times as many clients as the intake takes commands, none of which waits when it is refused. It lasts
//! `TENANTRY_STORM_SECONDS`: some seconds, or a minute by `make storm`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::db::TestDb;
use crate::server_process::{ServerProcess, eventually};

/// Commands that the intake takes.
const COMMANDS_MAX: usize = 32;
const TENANTS: usize = 4;
/// Above what the server uses before the storm. What it may hold is bounded by its limits: 128 requests with bodies and
/// answers, 600 connections with a head each, the queues of ledger and writer; the rest is the allocator's.
const GROWTH_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The deadline of a command (2 s) and of a request (5 s), twice, on a machine that is as busy as it can be.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(20);

const LIMITS: &[&str] = &[
    "--commands-max",
    "32",
    "--tenant-commands-max",
    "16",
    "--requests-max",
    "128",
    "--tenant-requests-max",
    "64",
    "--connections-max",
    "600",
    "--header-timeout",
    "2s",
    "--answer-timeout",
    "2s",
    "--body-timeout",
    "2s",
    "--command-deadline",
    "2s",
    "--request-timeout",
    "5s",
];

fn storm_lasts() -> Duration {
    let seconds = std::env::var("TENANTRY_STORM_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

/// What clients heard.
#[derive(Debug, Default)]
struct Heard {
    positions: Mutex<Vec<String>>,
    refused: AtomicU64,
    /// Connections that broke: the answer is not known.
    broken: AtomicU64,
    slowest: Mutex<Duration>,
}

impl Heard {
    fn accepted(&self) -> usize {
        self.positions.lock().unwrap().len()
    }

    /// Every answer is an acknowledgement, or a refusal that says when to come again.
    async fn hear(&self, answer: Result<Response, reqwest::Error>, asked: Instant) {
        let Ok(answer) = answer else {
            self.broken.fetch_add(1, Ordering::AcqRel);
            return;
        };
        if answer.status() == StatusCode::OK {
            let position = answer.headers()["x-position"].to_str().unwrap().to_owned();
            self.positions.lock().unwrap().push(position);
            let mut slowest = self.slowest.lock().unwrap();
            *slowest = slowest.max(asked.elapsed());
        } else {
            refused_in_order(answer).await;
            self.refused.fetch_add(1, Ordering::AcqRel);
        }
    }
}

async fn refused_in_order(answer: Response) {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(text) = answer.text().await else { return };
    assert!([429, 503].contains(&status.as_u16()), "{status}: {text}");
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1, "{wait}");
    assert_eq!(headers["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_str(&text).unwrap();
    let code = if status == 429 { "ERR-RATE-429" } else { "ERR-SYS-503" };
    assert_eq!(
        (problem["code"].as_str(), problem["status"].as_u64()),
        (Some(code), Some(status.as_u16().into()))
    );
}

/// Clients that ask again as soon as they have an answer, until they are to stop.
async fn clients(
    server: &Arc<ServerProcess>,
    tenants: &[Uuid],
    (number, name): (usize, &str),
    stop: &Arc<AtomicBool>,
) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let all = (0..number).map(|client| {
        let (server, tenant, heard, stop) =
            (server.clone(), tenants[client % tenants.len()], heard.clone(), stop.clone());
        let flag = format!("{name}-{client}");
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            let mut value = 0;
            while !stop.load(Ordering::Acquire) {
                value += 1;
                let asked = Instant::now();
                heard.hear(server.set_flag(&http, tenant, &flag, value).await, asked).await;
            }
        })
    });
    for client in join_all(all).await {
        client.expect("every answer was one that may be given");
    }
    heard
}

/// The same for a while. Returns commands per second too: to be told, not to be judged.
async fn for_a_while(
    server: &Arc<ServerProcess>,
    tenants: &[Uuid],
    clients_of: (usize, &str),
    lasts: Duration,
) -> (Arc<Heard>, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let timer = tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::time::sleep(lasts).await;
            stop.store(true, Ordering::Release);
        }
    });
    let heard = clients(server, tenants, clients_of, &stop).await;
    timer.await.unwrap();
    let rate = heard.accepted() as f64 / begun.elapsed().as_secs_f64();
    (heard, rate)
}

/// Clients that mean harm: heads that never end, connections that say nothing, bodies that never come, answers that are
/// never read. They hold on until the server lets go of them.
async fn harm(server: &ServerProcess, of_each_kind: usize) -> Vec<TcpStream> {
    let authorised = format!("authorization: Bearer {}\r\n", server.operator);
    let body_never_comes = format!(
        "POST /api/operator/tenants HTTP/1.1\r\nhost: x\r\n{authorised}content-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    );
    let never_read = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let kinds = ["", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", &body_never_comes, &never_read];
    let mut held = Vec::new();
    for kind in kinds {
        for _ in 0..of_each_kind {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
            stream.write_all(kind.as_bytes()).await.unwrap();
            held.push(stream);
        }
    }
    held
}

async fn is_calm(server: &ServerProcess) {
    for gauge in ["tenantry_writer_queue", "tenantry_commands_under_way", "tenantry_http_requests_under_way"]
    {
        // The one that asks for the metrics is under way itself.
        let rest = if gauge.starts_with("tenantry_http") { 1.0 } else { 0.0 };
        eventually(gauge, async || (server.metric(gauge).await <= rest).then_some(())).await;
    }
}

/// NFR-PERF-003, NFR-OPS-003
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_in_a_storm_refuses_in_order_loses_nothing_and_goes_on_as_before() {
    let db = TestDb::new().await;
    let server = Arc::new(ServerProcess::on(&db, LIMITS).await);
    let tenants = join_all((0..TENANTS).map(|n| {
        let server = server.clone();
        async move { server.provision(&format!("storm{n}")).await }
    }))
    .await;
    let while_fine = storm_lasts() / 4;
    let (before, rate_before) =
        for_a_while(&server, &tenants, (COMMANDS_MAX / 2, "before"), while_fine).await;
    assert_eq!(before.refused.load(Ordering::Acquire), 0, "what it can do it refuses to nobody");

    let resident_before = server.resident_bytes();
    let (ended, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = tokio::spawn({
        let (server, ended, peak) = (server.clone(), ended.clone(), peak.clone());
        async move {
            while !ended.load(Ordering::Acquire) {
                peak.fetch_max(server.resident_bytes(), Ordering::AcqRel);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let harmful = harm(&server, 40).await;
    let (storm, rate_storm) =
        for_a_while(&server, &tenants, (10 * COMMANDS_MAX, "storm"), storm_lasts()).await;
    is_calm(&server).await;
    let (after, rate_after) = for_a_while(&server, &tenants, (COMMANDS_MAX / 2, "after"), while_fine).await;
    ended.store(true, Ordering::Release);
    watcher.await.unwrap();
    let grown = peak.load(Ordering::Acquire).saturating_sub(resident_before);
    let (refused, slowest) = (storm.refused.load(Ordering::Acquire), *storm.slowest.lock().unwrap());
    println!(
        "before {rate_before:.0}/s, in the storm {rate_storm:.0}/s with {refused} refused and the slowest in \
         {slowest:?}, after {rate_after:.0}/s; memory grew by {} MiB",
        grown >> 20
    );
    assert!(refused > 0, "it was no storm");
    assert!(storm.accepted() > 0, "it works in a storm too");
    assert!(slowest < ACCEPTED_WITHIN, "{slowest:?}");
    assert_eq!(after.refused.load(Ordering::Acquire), 0, "as before");
    assert!(after.accepted() > 0);
    assert!(grown < GROWTH_BYTES_MAX, "{} MiB", grown >> 20);

    // Who never asks, or never reads, is let go of.
    eventually("harmful connections are ended", async || {
        (server.metric("tenantry_http_connections").await < 10.0).then_some(())
    })
    .await;
    drop(harmful);

    // Each acknowledgement is an event of its own.
    let mut positions = HashSet::new();
    for heard in [&before, &storm, &after] {
        for position in heard.positions.lock().unwrap().iter() {
            let place: i64 = position.split(':').nth(1).unwrap().parse().unwrap();
            assert!(positions.insert(place), "{place} was acknowledged twice");
        }
    }
    let journal = db.owner.get().await.unwrap();
    let places: Vec<i64> = positions.iter().copied().collect();
    let sql = "SELECT count(*) FROM events WHERE event_type = 'tenant.flag_set' AND position = ANY ($1)";
    let found: i64 = journal.query_one(sql, &[&places]).await.unwrap().get(0);
    assert_eq!(found, i64::try_from(places.len()).unwrap());
}

/// More connections than are served wait; those that ask nothing are let go, and make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_silent_connections_keeps_nobody_out_for_long() {
    let db = TestDb::new().await;
    let limits = ["--connections-max", "20", "--header-timeout", "1s"];
    let server = ServerProcess::on(&db, &limits).await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(TcpStream::connect(("127.0.0.1", server.port)).await.unwrap());
    }
    // Probes have a listener of their own.
    assert_eq!(server.ready().await.unwrap().0, StatusCode::OK);
    let answer = reqwest::get(server.url("/health")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut answer = Vec::new();
    let _ = flood.remove(0).read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

/// A tenant's flood is its own affair.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_tenants_one_floods_and_the_others_are_all_served() {
    const POLITE: usize = 99;
    const COMMANDS: u64 = 5;
    let db = TestDb::new().await;
    let limits = [
        "--commands-max",
        "256",
        "--tenant-commands-max",
        "8",
        "--requests-max",
        "256",
        "--tenant-requests-max",
        "32",
    ];
    let server = Arc::new(ServerProcess::on(&db, &limits).await);
    let mut tenants = Vec::new();
    for n in 0..=POLITE {
        tenants.push(server.provision(&format!("fair{n}")).await);
    }
    let flooder = tenants.pop().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        // As many as the whole node takes.
        async move { clients(&server, &[flooder], (256, "flood"), &stop).await }
    });
    eventually("the flood is refused", async || {
        (server.metric(r#"tenantry_commands_refused_total{intake="tenant"}"#).await
            + server.metric(r#"tenantry_http_problems_total{code="ERR-RATE-429"}"#).await
            > 100.0)
            .then_some(())
    })
    .await;
    let polite = tenants.iter().map(|tenant| {
        let (server, tenant) = (server.clone(), *tenant);
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            for value in 1..=COMMANDS {
                let answer = server.set_flag(&http, tenant, "polite", value).await.unwrap();
                let status = answer.status();
                assert_eq!(status, StatusCode::OK, "{}", answer.text().await.unwrap());
            }
        })
    });
    for tenant in join_all(polite).await {
        tenant.expect("whoever is polite is served");
    }
    assert!(!flood.is_finished(), "all the while");
    stop.store(true, Ordering::Release);
    let flood = flood.await.unwrap();
    assert!(flood.accepted() > 0, "also the flooder has its share");
    assert_eq!(
        server.metric(r#"tenantry_http_problems_total{code="ERR-SYS-503"}"#).await,
        0.0,
        "the node was never full"
    );
}
