//! The composition root: everything is made and tied together here, and nowhere else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::Pool;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::feed::{Feed, Live};
use engine::jobs::{JobHandler, JobResults, JobRunner, JobSettings, Jobs};
use engine::journal::{PgFeed, PgJournal};
use engine::ledger::{AuditFeed, AuditLedger};
use engine::process::Processes;
use engine::projection::{Feeds, FollowSettings, Memories, MemoryProjection, Projector};
use engine::witness::Witness;
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{Clock, Ids, ShardId};
use projections::{AccessMemory, FlagMemory};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workflows::{Forget, Lapse, Links};

use crate::audit::Audit;
use crate::data_dir::{Announcement, DataDir};
use crate::database::{self, Database};
use crate::endpoint::Listener;
use crate::export::ExportHandler;
use crate::keys::{KeyStore, Keyring, Keys};
use crate::listener::{serve_tcp, serve_unix};
use crate::mail::{MailHandler, Mailer};
use crate::policy::{Authorizer, PolicyMemory, Sources};
use crate::readiness::Readiness;
use crate::recall::Recall;
use crate::settings::Settings;
use crate::sign_in::SignInParts;
use crate::sso::{Outgoing, Providers};
use crate::state::{Access, AppState, FlagSource, Parts, PolicySource};
use crate::url_map::url_map;
use crate::{cors, local, private_postgres, telemetry};

/// There is one shard by default.
const SHARD: ShardId = ShardId(0);
/// How long the start waits for this node to own the shard, before it says that it waits.
const OWNED_WITHIN: Duration = Duration::from_secs(15);
/// How long the start waits for memory to have caught up, before it says that it waits.
const READY_WITHIN: Duration = Duration::from_secs(60);
const WITNESS_EVERY: Duration = Duration::from_secs(1);
const KEYS_EVERY: Duration = Duration::from_secs(10);
/// How far back what became of subjects' keys is looked up: nodes' clocks differ, and a look may have failed.
const KEYS_OVERLAP: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
const DATABASE_ASKED_EVERY: Duration = Duration::from_secs(1);

/// A running server.
pub struct Server {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub database: String,
    pub state: AppState,
    data_dir: Arc<DataDir>,
    witness: Arc<Witness>,
    ledger: AuditLedger,
    memories: Arc<Memories>,
    processes: Arc<Processes>,
    /// What is to be done in the background.
    pub jobs: Jobs,
    job_runner: Arc<JobRunner>,
    mailer: Arc<Mailer>,
    pool: Pool,
    /// Listeners stop first, then what works in the background.
    listening: CancellationToken,
    listeners: Vec<JoinHandle<()>>,
    background: CancellationToken,
    chores: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts everything; returns when requests are answered.
    ///
    /// # Errors
    /// What is missing or wrong, and what to do about it.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let server = Self::launch(settings).await?;
        server.wait_until_ready().await;
        Ok(server)
    }

    /// Starts everything; returns when it listens. From then on it is to be stopped in order.
    ///
    /// # Errors
    /// What is missing or wrong, and what to do about it.
    pub async fn launch(settings: Settings) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let metrics = telemetry::install().context("metrics can't be recorded")?;
        let authorizer =
            Authorizer::new(&Sources::builtin()).context("the policies are not as they must be")?;
        let authorizer = Arc::new(authorizer);
        let services = settings.services().context("the services can't be known")?;
        let data_dir = Arc::new(DataDir::take(&settings.store.data_dir())?);
        let node = data_dir.node(&*ids)?;
        let public_url = settings.store.public_url();
        let mailer = Arc::new(Mailer::new(&settings.mail, public_url.clone(), data_dir.path())?);

        let database = Database::open(&settings.store).await?;
        let witness = Arc::new({
            let mut owner = database.owner(settings.store.database_wait).await?;
            let witness = data_dir.witness()?;
            // Before anything is changed in it: it may be the wrong one.
            let found = witness.look(&owner).await?;
            DataDir::recognise(&witness, found.as_ref(), settings.accept_journal())?;
            database.migrate(&mut owner).await?;
            let journal = witness.look(&owner).await?.context("the schema lacks the journal's identity")?;
            witness.replace(journal.head)?;
            witness
        });
        database.check().await?;
        // Callers' queries have connections of their own: they take none from what everything rests on.
        let connections = settings.database_connections as usize;
        let queries = database.query_pool(connections / 2)?;
        let pool = database.pool(connections - connections / 2)?;
        database::check_role(&pool).await?;

        drop(settings.store.master_key(!database::has_keys(&pool).await?)?);
        let store = KeyStore::new(pool.clone(), settings.store.master_source(), clock.clone(), ids.clone())
            .signing_with(settings.token_algorithm);
        let store = Arc::new(store);
        let (keys, claim_key) = store.open(&settings.store.public_url()).await?;
        let keyring = crate::keys::keyring(&settings.store, &pool, &clock, &ids).await?;
        let codec = Codec::sealing(keyring.clone(), schemas::upcasters(), &claim_key);

        let (live, audit_live) = (Live::default(), Live::default());
        let pg = PgJournal::new(database.server_config().clone(), pool.clone(), codec.clone())?;
        let engine = Engine::start(
            engine_config(&settings, node),
            Arc::new(pg),
            live.clone(),
            clock.clone(),
            ids.clone(),
        )
        .await
        .context("the engine can't be started")?;
        let ledger = AuditLedger::start(pool.clone(), codec.clone(), audit_live.clone(), clock.clone());
        let audit = Arc::new(Audit::new(Arc::new(ledger.clone()), clock.clone(), ids.clone()));

        let results = JobResults::new(queries.clone(), codec.clone(), clock.clone());
        let feeds: Vec<Arc<dyn Feed>> = vec![
            Arc::new(PgFeed::new(pool.clone(), codec.clone(), SHARD, live)),
            Arc::new(AuditFeed::new(pool.clone(), codec, audit_live)),
        ];
        let journal_feed = feeds[0].clone();
        let mut sign_in =
            SignInParts::start(&keys, &settings.hasher()).context("passwords can't be hashed")?;
        sign_in.risk = settings.sign_in_risk;
        sign_in.sso = Providers::new(Outgoing::new(settings.sso_private_networks));
        let jobs = Jobs::new(pool.clone(), clock.clone());
        let forget = forget_mail(&mailer);
        let wishes = Wishes { links: &sign_in.links, jobs: &jobs, forget: &forget };
        let followed =
            follow(&engine, &keyring, wishes, Feeds::new(feeds), &pool, &clock, &authorizer).await?;
        let Followed { projector, memories, processes, access, policies, flags } = followed;
        let recall =
            Recall { engine: &engine, keyring: &keyring, projector: &projector, journal: &*journal_feed };
        recall.forget_again(&*ids).await?;
        let processes = Arc::new(processes);
        let mail = MailHandler {
            mailer: mailer.clone(),
            engine: engine.clone(),
            projector: projector.clone(),
            pool: queries.clone(),
            links: keys.links(),
            public_url,
            clock: clock.clone(),
        };
        let export = ExportHandler {
            engine: engine.clone(),
            projector: projector.clone(),
            access: access.memory.clone(),
            pool: queries.clone(),
            jobs: jobs.clone(),
            results: results.clone(),
        };
        let lapse = Lapse::new(engine.clone(), jobs.clone(), clock.clone());
        let handlers: Vec<Arc<dyn JobHandler>> = vec![Arc::new(mail), Arc::new(lapse), Arc::new(export)];
        let job_runner = JobRunner::start(&jobs, handlers, JobSettings::default()).await?;
        let job_runner = Arc::new(job_runner);
        let readiness = Readiness::new(
            engine.clone(),
            memories.clone(),
            projector.clone(),
            processes.clone(),
            policies.memory.clone(),
            job_runner.clone(),
        );
        let state = AppState::new(Parts {
            clock,
            ids,
            engine: engine.clone(),
            audit: audit.clone(),
            access,
            authorizer,
            policies,
            flags,
            keys: keys.clone(),
            key_store: store.clone(),
            pool: queries,
            projector,
            jobs: jobs.clone(),
            results,
            limits: settings.limits(),
            readiness,
            sign_in,
            services,
            registration: settings.registration,
        });

        let (listening, background) = (CancellationToken::new(), CancellationToken::new());
        let mut server = Self {
            public: settings.store.listen,
            admin: settings.admin_listen,
            database: database.place(),
            state,
            data_dir,
            witness,
            ledger,
            memories,
            processes,
            jobs,
            job_runner,
            mailer,
            pool: pool.clone(),
            listening,
            listeners: Vec::new(),
            background: background.clone(),
            chores: Vec::new(),
        };
        server.chores.push(tokio::spawn(audit.run(background.clone())));
        server.chores.push(tokio::spawn(every(UPKEEP_EVERY, background.clone(), move || {
            metrics.run_upkeep();
            std::future::ready(())
        })));
        let (readiness, asked) = (server.state.readiness.clone(), pool.clone());
        server.chores.push(tokio::spawn(every(DATABASE_ASKED_EVERY, background.clone(), move || {
            let (readiness, asked) = (readiness.clone(), asked.clone());
            async move { readiness.ask_database(&asked).await }
        })));
        if let Some(cluster) = database.private() {
            let looking = private_postgres::look_after(cluster.clone(), background.clone());
            server.chores.push(tokio::spawn(looking));
        }
        server.chores.push(server.keep_witness());
        server.chores.push(look_after_keys(store, keys, background.clone()));
        let clock = server.state.clock.clone();
        server.chores.push(follow_forgetting(keyring, engine, forget, clock, background));
        if let Err(error) = server.listen(&settings).await {
            server.stop().await;
            return Err(error);
        }
        Ok(server)
    }

    async fn listen(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let limits = settings.connection_limits();
        let mut ahead = Vec::new();
        for (listener, address) in
            [(Listener::Public, settings.store.listen), (Listener::Admin, settings.admin_listen)]
        {
            let bound = TcpListener::bind(address).await.with_context(|| {
                format!("{address} can't be listened at: choose another one, or stop what does")
            })?;
            let local = bound.local_addr()?;
            let mut router = url_map().router(&self.state, listener);
            match listener {
                Listener::Admin => self.admin = local,
                Listener::Public | Listener::Both => {
                    self.public = local;
                    router = cors::allow(router, &settings.cors_origins);
                }
            }
            ahead.push((bound, router));
        }
        let (url, issuer) = (format!("http://{}", self.public), settings.store.public_url());
        self.data_dir.announce(&Announcement { url, issuer })?;
        let socket = local::listen(self.data_dir.path()).context("the local socket can't be opened")?;
        let router = local::router(self.state.clone());
        let serving = serve_unix(socket, router, limits.clone(), self.listening.clone());
        self.listeners.push(tokio::spawn(serving));
        // Last, so that whoever finds it ready finds the local socket too.
        for (bound, router) in ahead {
            let serving = serve_tcp(bound, router, limits.clone(), self.listening.clone());
            self.listeners.push(tokio::spawn(serving));
        }
        Ok(())
    }

    /// Waits, within bounds, until it is ready. A server that waits is a server that runs: it says so in `/ready`.
    pub async fn wait_until_ready(&self) {
        if tokio::time::timeout(OWNED_WITHIN, self.state.engine.owned()).await.is_err() {
            tracing::warn!(
                "another node owns the shard: this one reads, and writes when the other's lease lapses"
            );
        }
        let memories = &self.memories;
        let ready = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !memories.are_ready(crate::state::FRESH_FOR) {
                tick.tick().await;
            }
        };
        if tokio::time::timeout(READY_WITHIN, ready).await.is_err() {
            tracing::warn!(
                "the memory of access and flags has not caught up yet; requests are refused until then"
            );
        }
    }

    /// Writes down outside the database how far the journal is, so that an older copy is recognised. Whatever node
    /// wrote it, what is read there was committed: the witness lags and never leads.
    fn keep_witness(&self) -> JoinHandle<()> {
        let (witness, pool) = (self.witness.clone(), self.pool.clone());
        tokio::spawn(every(WITNESS_EVERY, self.background.clone(), move || {
            let (witness, pool) = (witness.clone(), pool.clone());
            async move { write_down(witness, &pool).await }
        }))
    }

    /// Where mail goes, for people.
    pub fn mail_place(&self) -> String {
        self.mailer.place()
    }

    pub fn data_dir(&self) -> &std::path::Path {
        self.data_dir.path()
    }

    /// Stops: first no more requests, then what is under way, then what follows from it.
    pub async fn stop(self) {
        self.state.readiness.stop();
        self.listening.cancel();
        for listener in self.listeners {
            let _ = listener.await;
        }
        local::remove(self.data_dir.path());
        self.processes.drain().await;
        self.state.engine.drain().await;
        self.job_runner.drain().await;
        self.mailer.close().await;
        self.background.cancel();
        for chore in self.chores {
            let _ = chore.await;
        }
        self.ledger.drain().await;
        self.state.projector.drain().await;
        self.memories.drain().await;
        // Everything is written by now.
        write_down(self.witness, &self.pool).await;
        self.state.pool.close();
        self.pool.close();
    }
}

/// Mails that are files tell of people, and no key reaches them.
fn forget_mail(mailer: &Arc<Mailer>) -> Forget {
    let mailer = mailer.clone();
    Arc::new(move |subject| {
        let mailer = mailer.clone();
        Box::pin(async move { mailer.forget(subject).await })
    })
}

/// What process managers work with beside the engine.
struct Wishes<'a> {
    links: &'a Links,
    jobs: &'a Jobs,
    forget: &'a Forget,
}

struct Followed {
    projector: Arc<Projector>,
    memories: Arc<Memories>,
    processes: Processes,
    access: Access,
    policies: PolicySource,
    flags: FlagSource,
}

/// Starts what follows the journal: read models, memory, process managers.
async fn follow(
    engine: &Engine,
    keyring: &Arc<Keyring>,
    wishes: Wishes<'_>,
    feeds: Feeds,
    pool: &Pool,
    clock: &Arc<dyn Clock>,
    authorizer: &Arc<Authorizer>,
) -> anyhow::Result<Followed> {
    let settings = FollowSettings::default();
    let projector = Projector::start(projections::all(), &feeds, pool, settings).await?;
    let (access, flags) = (Arc::new(AccessMemory::new()), Arc::new(FlagMemory::new()));
    let policies = Arc::new(PolicyMemory::new(authorizer.clone()));
    let memory: Vec<Arc<dyn MemoryProjection>> = vec![access.clone(), flags.clone(), policies.clone()];
    let memories = Memories::start(memory, &feeds, settings).await?;
    let handle = |projection: &dyn MemoryProjection| {
        memories.handle(projection.name()).context("a memory that was just started is not there")
    };
    let access = Access { handle: handle(&*access)?, memory: access };
    let policies = PolicySource { handle: handle(&*policies)?, memory: policies };
    let flags = FlagSource { handle: handle(&*flags)?, memory: flags };
    let processes = Processes::start(
        workflows::all(engine, clock, keyring, wishes.links, wishes.jobs, wishes.forget),
        &feeds,
        pool,
        settings,
    )
    .await?;
    Ok(Followed {
        projector: Arc::new(projector),
        memories: Arc::new(memories),
        processes,
        access,
        policies,
        flags,
    })
}

fn engine_config(settings: &Settings, node: uuid::Uuid) -> EngineConfig {
    let node_in_flight_max = settings.commands_max as usize;
    EngineConfig {
        node_in_flight_max,
        tenant_in_flight_max: (settings.tenant_commands_max as usize).min(node_in_flight_max),
        actors_live_max: settings.actors_max as usize,
        ..EngineConfig::new(WriterConfig::new(SHARD, node))
    }
}

/// Takes over other nodes' keys, and rotates the signing key when it has signed long enough.
fn look_after_keys(store: Arc<KeyStore>, keys: Keys, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(every(KEYS_EVERY, stop, move || {
        let (store, keys) = (store.clone(), keys.clone());
        async move {
            match store.refresh(&keys.tokens).await {
                Ok(crate::keys::Rotation::Rotated) => tracing::info!("another key signs tokens from now on"),
                Ok(crate::keys::Rotation::Kept) => {}
                Err(error) => tracing::warn!(%error, "the keys could not be looked after; those in use stay"),
            }
        }
    }))
}

/// What can't be read or written now is so a second later; until then the witness lags.
async fn write_down(witness: Arc<Witness>, pool: &Pool) {
    let Ok(client) = pool.get().await else { return };
    let Ok(Some(found)) = witness.look(&client).await else { return };
    drop(client);
    // In a thread where waiting for the disk stops nobody.
    let written = tokio::task::spawn_blocking(move || witness.observe(&found.head)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "the witness of the journal can't be written");
    }
}

/// Takes over what other processes did to subjects' keys: rotated them, or forgot somebody.
fn follow_forgetting(
    keyring: Arc<Keyring>,
    engine: Engine,
    forget: Forget,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let mut since = clock.now() - KEYS_OVERLAP;
    tokio::spawn(every(KEYS_EVERY, stop, move || {
        let (keyring, engine, forget, begun) = (keyring.clone(), engine.clone(), forget.clone(), clock.now());
        let looked_at = std::mem::replace(&mut since, begun - KEYS_OVERLAP);
        async move {
            match keyring.refresh(looked_at).await {
                Ok(forgotten) => {
                    for subject in forgotten {
                        engine.forget(subject);
                        forget(subject).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "what became of subjects' keys could not be looked up"),
            }
        }
    }))
}

/// Does something again and again until it is to stop.
async fn every<F: Future<Output = ()>>(pause: Duration, stop: CancellationToken, mut act: impl FnMut() -> F) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => act().await,
        }
    }
}
