//! Signing in and staying in: logins beside the bare hash, refreshes by algorithm, and what a token costs a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aggregates::membership::{self, Membership, MembershipCommand};
use aggregates::{User, UserCommand};
use anyhow::{Context, Result, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use engine::command::CommandContext;
use gateway::passwords::{HashParameters, Password};
use gateway::policy::{Question, Resource};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use kernel::{PersonId, TenantId};
use schemas::values::{AccessMode, MembershipKind, Role, TenantStatus};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Workload;
use crate::bench::Bench;
use crate::contender::Shipped;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::summary::Spread;
use crate::work::{Contender, Wish};

pub const WORKLOAD: Workload = Workload {
    name: "sign_in",
    what: "Logins through HTTP with the hash parameters as shipped; refreshes through HTTP, durable, with RS256 and ES256; \
           and what checking token, session and policies takes of a request, in process.",
    peer: "the bare argon2id hash of as many threads as there are cores",
    wanted: "≥ 90 % of the bare hash; ≥ 1,000 and ≥ 2,000 refreshes/s; < 50 µs",
    expected_s: (40, 90),
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_sign_in";
const PASSWORD: &str = "correct horse battery staple";
const PEOPLE: usize = 64;
const SECONDS: f64 = 4.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    bench.server.drop_database(DATABASE).await?;
    found
}

/// One server with one algorithm, and the people who sign in to it.
struct House {
    shipped: Shipped,
    tenant: Uuid,
    people: Vec<Uuid>,
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let (mut bare, mut logins, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    let mut refreshes = [("RS256", Vec::new(), 1_000.0), ("ES256", Vec::new(), 2_000.0)];
    let time = Duration::from_secs_f64(bench.seconds(SECONDS));
    for round in 0..bench.rounds(3) {
        bench.progress.now("the bare hash");
        bare.push(tokio::task::spawn_blocking(move || bare_hash(time)).await??);
        for (algorithm, per_second, _) in &mut refreshes {
            bench.server.fresh_database(DATABASE, None).await?;
            let house = House::open(bench, algorithm).await?;
            if *algorithm == "RS256" {
                bench.progress.now("logins");
                logins.push(house.logins(time).await?);
                bench.progress.now("what a token costs");
                checks.push(house.check_us(time)?);
            }
            bench.progress.now("refreshes");
            per_second.push(house.refreshes(time).await?);
            house.shipped.close().await?;
        }
        bench.progress.say(&format!("  round {} of {}", round + 1, bench.rounds(3)));
    }
    let cores = threads();
    let share = Spread::ratio(&logins, &bare);
    let per_core = Spread::of(logins.iter().map(|logins| logins / cores as f64));
    let [bare, logins, check] = [bare, logins, checks].map(Spread::of);
    let mut table = Table::new("", ["", "median", "lowest – highest"]);
    let mut row = |name: &str, spread: &Spread, digits: usize| {
        let range = format!("{:.digits$} – {:.digits$}", spread.lowest, spread.highest);
        table.row([name.to_owned(), format!("{:.digits$}", spread.median), range]);
    };
    row("bare hashes/s", &bare, 1);
    row("logins/s", &logins, 1);
    row("logins/s and core", &per_core, 1);
    row("token, session and policies, µs", &check, 1);
    let mut verdicts = vec![
        Verdict::new(
            "logins ≥ 90 % of the bare hash",
            format!("{:.0} %", share.median * 100.0),
            Reached::if_so(share.median >= 0.9),
        ),
        Verdict::new(
            "token, session and policies < 50 µs",
            format!("{:.1} µs", check.median),
            Reached::if_so(check.median < 50.0),
        ),
        Verdict::new(
            "cores that 5,000 password logins/s would need",
            format!("{:.0}", 5_000.0 / per_core.median),
            Reached::Stated,
        ),
    ];
    for (algorithm, per_second, wanted) in &refreshes {
        let spread = Spread::of(per_second.iter().copied());
        row(&format!("refreshes/s, {algorithm}"), &spread, 0);
        verdicts.push(Verdict::new(
            &format!("≥ {wanted:.0} refreshes/s with {algorithm}"),
            format!("{:.0}/s", spread.median),
            Reached::if_so(spread.median >= *wanted),
        ));
    }
    Ok(Finding {
        verdicts,
        tables: vec![table],
        notes: vec![
            "Client, server and database share the cores. Every login and every refresh is an event, durable before it is \
             answered."
                .to_owned(),
        ],
        data: json!({ "bare": bare, "logins": logins, "check_us": check,
                      "refreshes": refreshes.map(|(algorithm, rounds, _)| (algorithm.to_owned(), rounds)) }),
        ..Finding::default()
    })
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Hashes a second, of all cores together, with the parameters as shipped and nothing else to do.
fn bare_hash(time: Duration) -> Result<f64> {
    let HashParameters { memory_kib, passes, lanes } = HashParameters::default();
    let params =
        Params::new(memory_kib, passes, lanes, Some(32)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let until = Instant::now() + time;
    let workers: Vec<_> = (0..threads())
        .map(|_| {
            let params = params.clone();
            std::thread::spawn(move || {
                let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut memory = vec![Block::default(); params.block_count()];
                let (mut out, mut done, began) = ([0; 32], 0_u32, Instant::now());
                while Instant::now() < until {
                    let hashed = argon.hash_password_into_with_memory(
                        PASSWORD.as_bytes(),
                        b"0123456789abcdef",
                        &mut out,
                        &mut memory,
                    );
                    hashed.map_err(|error| anyhow::anyhow!("{error}"))?;
                    done += 1;
                }
                Ok(f64::from(done) / began.elapsed().as_secs_f64())
            })
        })
        .collect();
    let mut sum = 0.0;
    for worker in workers {
        let rate: Result<f64> = worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        sum += rate?;
    }
    Ok(sum)
}

impl House {
    async fn open(bench: &Bench, algorithm: &str) -> Result<Self> {
        bench.progress.now(&format!("{PEOPLE} people, {algorithm}"));
        let shipped = Shipped::open(&bench.server, DATABASE, &["--token-algorithm", algorithm]).await?;
        let tenant = shipped.server.state.ids.fresh();
        shipped.carry_out(0, tenant, Wish::Provision).await?;
        let mut house = Self { shipped, tenant, people: Vec::new() };
        for number in 0..PEOPLE {
            house.join(number).await?;
        }
        Ok(house)
    }

    /// A person with a password, who is a member.
    async fn join(&mut self, number: usize) -> Result<()> {
        let state = &self.shipped.server.state;
        let person = PersonId(state.ids.fresh());
        let password = Password::new(PASSWORD.to_owned())?;
        let hash = state.sign_in.hasher.hash(&password).await?;
        let context = || CommandContext::new(Wish::Provision.metadata(self.tenant));
        let register = UserCommand::Register {
            person,
            email: email(number).parse()?,
            first_name: None,
            last_name: None,
            verified: true,
        };
        let accept = UserCommand::AcceptInvitation { hash: Some(hash), first_name: None, last_name: None };
        for command in [register, accept] {
            state.engine.dispatch::<User>(person.0, command, context()).await?;
        }
        let tenant = TenantId(self.tenant);
        let membership = membership::id_of(tenant, person);
        let now = state.clock.now();
        let invite = MembershipCommand::Invite {
            tenant,
            person,
            role: Role::User,
            kind: MembershipKind::Staff,
            expires_at: None,
            token_hash: None,
            now,
        };
        let mut last = None;
        for command in [invite, MembershipCommand::Accept { token_hash: None, now }] {
            last = state.engine.dispatch::<Membership>(membership.0, command, context()).await?.position;
        }
        if let Some(position) = last {
            state.access.handle.wait_for(position, Duration::from_secs(10)).await?;
        }
        self.people.push(person.0);
        Ok(())
    }

    /// Logins a second. So many at once that no thread waits, and no more.
    async fn logins(&self, time: Duration) -> Result<f64> {
        let workers = threads() * 2;
        self.work(workers, time, |connection, number, round| {
            let body = json!({"email": email((number + round * 7) % PEOPLE), "password": PASSWORD});
            Box::pin(async move { connection.post("/auth/login", &body).await.map(drop) })
        })
        .await
    }

    /// Refreshes a second: each worker goes on with a session of its own.
    async fn refreshes(&self, time: Duration) -> Result<f64> {
        let mut sessions = Vec::new();
        let mut connection = Connection::open(&self.shipped).await?;
        for number in 0..PEOPLE {
            let body = json!({"email": email(number), "password": PASSWORD});
            sessions.push(connection.post("/auth/login", &body).await?);
        }
        let (counted, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut workers = JoinSet::new();
        for mut session in sessions {
            let mut connection = Connection::open(&self.shipped).await?;
            let (counted, over) = (counted.clone(), over.clone());
            workers.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let body = json!({"refresh_token": session["refresh_token"]});
                    session = connection.post("/auth/refresh", &body).await?;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        tokio::time::sleep(time / 5).await;
        let (before, began) = (counted.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(time).await;
        let rate = (counted.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok(rate)
    }

    /// What the checks of a request with a token take, in microseconds.
    fn check_us(&self, time: Duration) -> Result<f64> {
        let state = &self.shipped.server.state;
        let token = self.shipped.token_of(self.people[0], Role::User, self.tenant)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
        let (began, mut done) = (Instant::now(), 0_u32);
        while began.elapsed() < time {
            let caller = gateway::authenticate::authenticate(state, &headers, false);
            let mut caller = caller.map_err(|problem| anyhow::anyhow!("refused: {}", problem.detail))?;
            let stands = gateway::authenticate::in_tenant(state, &mut caller, false);
            stands.map_err(|problem| anyhow::anyhow!("refused: {}", problem.detail))?;
            let decision = state.authorizer.decide(&Question {
                action: "users:list",
                caller: &caller,
                kind: MembershipKind::Staff,
                holds: false,
                mfa: false,
                resource: Resource::Tenant {
                    id: TenantId(self.tenant),
                    mode: AccessMode::Active,
                    status: Some(TenantStatus::Active),
                    mfa_required: false,
                },
                connected: false,
                mutates: false,
                when_blocked: false,
                now: state.clock.now(),
            });
            ensure!(!decision.allowed, "a user lists no users");
            done += 1;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(done))
    }

    /// How many calls a second so many workers make, each over a connection of its own.
    async fn work(
        &self,
        workers: usize,
        time: Duration,
        call: impl for<'a> Fn(&'a mut Connection, usize, usize) -> futures::future::BoxFuture<'a, Result<()>>
        + Copy
        + Send
        + Sync
        + 'static,
    ) -> Result<f64> {
        let until = Instant::now() + time;
        let mut all = JoinSet::new();
        for number in 0..workers {
            let mut connection = Connection::open(&self.shipped).await?;
            all.spawn(async move {
                let (mut done, began) = (0_usize, Instant::now());
                while Instant::now() < until {
                    call(&mut connection, number, done).await?;
                    done += 1;
                }
                anyhow::Ok(done as f64 / began.elapsed().as_secs_f64())
            });
        }
        let mut sum = 0.0;
        while let Some(worker) = all.join_next().await {
            sum += worker??;
        }
        Ok(sum)
    }
}

fn email(number: usize) -> String {
    format!("person-{number}@bench.example")
}

/// A kept connection.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(shipped: &Shipped) -> Result<Self> {
        let stream = TcpStream::connect(shipped.server.public).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends when its sender is dropped; an error shows in the sender's next request.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        self.0.ready().await?;
        let response = self.0.send_request(request).await.context("no answer from the server")?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path} answered {status}: {}", String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }
}
