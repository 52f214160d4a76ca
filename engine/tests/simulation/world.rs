//! One simulated world: two nodes on one journal, clients that send at once, and whatever can go wrong.
//!
//! Everything random comes from the seed, time stands still while anybody has something to do, and one thread does
//! all the work: the same seed gives the same world.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::command::{CommandContext, DispatchError, Idempotency};
use engine::feed::Live;
use engine::journal::{Journal, MemoryJournal};
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use futures::FutureExt;
use kernel::{Actor, ActorKind, CommandId, CorrelationId, Metadata, Origin, ShardId, TenantId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::account::{Account, Answer, Command, id};
use super::checker::{self, Moment, Sending};
use super::clients;
use super::followed::Followed;
use super::journal::{Lie, SimulatedJournal, Weather};
use super::trace::{CountedIds, PausedClock, Trace};

pub const SHARD: ShardId = ShardId(0);
/// Nobody waits longer for an answer, in simulated time; whoever would have to has found a hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a simulation came to.
pub struct Ran {
    pub faults: Vec<String>,
    pub trace: String,
    pub history: Vec<Sending>,
}

/// Simulates one world.
pub fn run(seed: u64, lie: Option<Lie>) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing").block_on(World::live(seed, lie))
}

/// A command about to be sent.
#[derive(Clone, Debug)]
pub struct Wish {
    pub account: u8,
    pub command: Command,
    pub key: Option<u128>,
    pub fingerprint: [u8; 32],
    pub expected: Option<u64>,
}

pub struct World {
    pub shared: Arc<MemoryJournal>,
    pub trace: Trace,
    weather: Arc<Weather>,
    nodes: [Node; 2],
    config: EngineConfig,
    live: Live,
    clock: PausedClock,
    lie: Option<Lie>,
    seed: u64,
    ticks: AtomicU64,
    lives: AtomicU64,
    history: Mutex<Vec<Sending>>,
    hangs: Mutex<Vec<String>>,
}

struct Node {
    name: &'static str,
    running: Mutex<Option<Running>>,
}

/// A node's process.
#[derive(Clone)]
struct Running {
    engine: Engine,
    journal: Arc<SimulatedJournal>,
    killed: CancellationToken,
}

impl World {
    async fn live(seed: u64, lie: Option<Lie>) -> Ran {
        let mut random = StdRng::seed_from_u64(seed);
        let world = Arc::new(Self::new(seed, lie, &mut random));
        world.start(0).await;
        world.start(1).await;
        let followed = Followed::start(&world.shared, &world.live, &world.weather, random.random()).await;
        let count = random.random_range(2..6);
        let clients: Vec<_> =
            (0..count).map(|n| tokio::spawn(clients::client(world.clone(), n, random.random()))).collect();
        let chaos = tokio::spawn(chaos(world.clone(), random.random()));
        for client in clients {
            client.await.expect("a client never panics");
        }
        chaos.abort();
        world.trace.tell(|| "the weather clears up".into());
        world.weather.outage.store(false, Ordering::SeqCst);
        world.weather.calm.store(true, Ordering::SeqCst);
        for node in [0, 1] {
            if world.running(node).is_none() {
                world.start(node).await;
            }
        }
        clients::settle(&world).await;
        let mut faults = world.hangs.lock().unwrap().clone();
        let history = world.history.lock().unwrap().clone();
        faults.extend(checker::faults(&history, &world.shared).await);
        if faults.is_empty() {
            faults.extend(followed.faults(&world.shared).await);
            // What nobody waits for any more may wait for the shard until its deadline.
            tokio::time::sleep(context(0).deadline * 2).await;
            faults.extend(world.leftovers());
        }
        Ran { faults, trace: world.trace.text(), history }
    }

    fn new(seed: u64, lie: Option<Lie>, random: &mut StdRng) -> Self {
        let node = |name| Node { name, running: Mutex::default() };
        let one_of = |random: &mut StdRng, these: &[u64]| these[random.random_range(0..these.len())];
        let mut writer = WriterConfig::new(SHARD, Uuid::nil());
        writer.own_thread = false;
        writer.batch_items_max = one_of(random, &[1, 3, 1024]) as usize;
        writer.batch_tenant_items_max = one_of(random, &[1, 2, 64]) as usize;
        writer.ahead_items_min = one_of(random, &[1, 3, 32]) as usize;
        writer.lease_ttl = Duration::from_millis(one_of(random, &[300, 3_000]));
        writer.unclear_patience = Duration::from_millis(one_of(random, &[200, 5_000]));
        let mut config = EngineConfig::new(writer);
        config.actors_live_max = one_of(random, &[2, 100]) as usize;
        config.actor_in_flight_max = one_of(random, &[3, 1024]) as usize;
        config.actor_idle_max = Duration::from_millis(one_of(random, &[200, 60_000]));
        config.snapshot_events_min = one_of(random, &[2, 7, 1_000]);
        Self {
            shared: Arc::default(),
            trace: Trace::begin(),
            weather: Arc::default(),
            nodes: [node("A"), node("B")],
            config,
            live: Live::default(),
            clock: PausedClock::begin(),
            lie,
            seed,
            ticks: AtomicU64::new(0),
            lives: AtomicU64::new(0),
            history: Mutex::default(),
            hangs: Mutex::default(),
        }
    }

    /// Starts a node's process.
    async fn start(&self, node: usize) {
        let life = self.lives.fetch_add(1, Ordering::SeqCst);
        let name = self.nodes[node].name;
        self.trace.tell(|| format!("{name}: starts as life {life}"));
        let seed = self.seed.rotate_left(17) ^ life;
        let (shared, weather, trace) = (self.shared.clone(), self.weather.clone(), self.trace.clone());
        let journal = SimulatedJournal::new(shared, name, seed, weather, trace, self.lie);
        let mut config = self.config.clone();
        config.writer.node = Uuid::from_u128(node as u128 + 1);
        let (clock, ids) = (Arc::new(self.clock), Arc::new(CountedIds::new(life + 1)));
        let engine = Engine::start(config, journal.clone(), self.live.clone(), clock, ids).await;
        let engine = engine.expect("an engine starts");
        let killed = CancellationToken::new();
        *self.place(node) = Some(Running { engine, journal, killed });
    }

    fn place(&self, node: usize) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.nodes[node].running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self, node: usize) -> Option<Running> {
        self.place(node).clone()
    }

    pub fn moment(&self) -> Moment {
        let head = self.shared.head(SHARD).now_or_never().and_then(Result::ok);
        Moment { tick: self.ticks.fetch_add(1, Ordering::SeqCst), head: head.map_or(0, |head| head.0) }
    }

    /// Sends a command to a node, and gives up after `patience` if there is one. `None`: no answer came.
    pub async fn send(&self, node: usize, wish: Wish, patience: Option<Duration>) -> Option<Answer> {
        let running = self.running(node)?;
        let asked = self.moment();
        let number = u128::from(asked.tick);
        let Wish { account, command, key, fingerprint, expected } = wish.clone();
        self.trace.tell(|| format!("{number} asks {}: {wish:?}", self.nodes[node].name));
        let sending = Sending { number, account, command, key, fingerprint, expected, asked, answered: None };
        self.history.lock().unwrap().push(sending);
        let context = CommandContext {
            idempotency: key.map(|key| Idempotency { id: CommandId(Uuid::from_u128(key)), fingerprint }),
            expected_sequence: expected,
            ..context(number)
        };
        let dispatch = running.engine.dispatch::<Account>(id(account), wish.command, context);
        let answer = tokio::select! {
            biased;
            answer = dispatch => answer,
            () = running.killed.cancelled() => return None,
            () = tokio::time::sleep(patience.unwrap_or(PATIENCE)) => {
                if patience.is_none() {
                    self.hang(format!("number {number} was never answered"));
                }
                self.trace.tell(|| format!("{number} goes away"));
                return None;
            }
        };
        let answered = self.moment();
        self.trace.tell(|| format!("{number} hears {answer:?}"));
        let mut history = self.history.lock().unwrap();
        let place = history.iter_mut().rfind(|sending| sending.number == number);
        place.expect("it was put there").answered = Some((answered, answer.clone()));
        Some(answer)
    }

    /// Something waits for ever.
    pub fn hang(&self, text: String) {
        self.hangs.lock().unwrap().push(text);
    }

    pub fn history(&self) -> Vec<Sending> {
        self.history.lock().unwrap().clone()
    }

    /// Once all is answered nothing may be counted as under way.
    fn leftovers(&self) -> Vec<String> {
        let running = (0..2).filter_map(|node| self.running(node));
        let healths = running.map(|running| running.engine.health());
        let busy = healths.filter(|health| health.commands_under_way > 0 || health.writer_queue > 0);
        busy.map(|health| format!("something is left under way: {health:?}")).collect()
    }
}

/// A command of the simulation, its number as the correlation. Tenants take turns, also on one account.
pub fn context(number: u128) -> CommandContext {
    CommandContext::new(Metadata {
        tenant: Some(TenantId(Uuid::from_u128(number % 3))),
        actor: Actor { kind: ActorKind::System, id: "simulation".into() },
        role: "system".into(),
        scopes: vec![],
        action: "accounts:change".into(),
        correlation_id: CorrelationId(Uuid::from_u128(number)),
        causation_id: None,
        command_id: None,
        origin: Origin::default(),
    })
}

/// True if asking again may bring another answer.
pub fn is_passing(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(DispatchError::Busy { .. }
            | DispatchError::Unavailable { .. }
            | DispatchError::Quarantined
            | DispatchError::InFlight
            | DispatchError::OutcomeUnknown)
    )
}

/// Whatever happens to nodes and database while clients are at work.
async fn chaos(world: Arc<World>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..1_000))).await;
        let pause = Duration::from_millis(random.random_range(1..1_500));
        let node = random.random_range(0..2);
        let name = world.nodes[node].name;
        match random.random_range(0..100) {
            0..30 => {
                world.trace.tell(|| "the lease lapses".into());
                world.shared.usurp(SHARD);
            }
            30..45 => {
                let killed = world.place(node).take();
                if let Some(killed) = killed {
                    world.trace.tell(|| format!("{name}: killed"));
                    killed.journal.kill();
                    killed.killed.cancel();
                }
                tokio::time::sleep(pause).await;
                world.start(node).await;
            }
            45..55 => {
                let stopped = world.place(node).take();
                if let Some(stopped) = stopped {
                    world.trace.tell(|| format!("{name}: drains"));
                    stopped.engine.drain().await;
                }
                tokio::time::sleep(pause).await;
                world.start(node).await;
            }
            55..70 => {
                world.trace.tell(|| "the database is away".into());
                world.weather.outage.store(true, Ordering::SeqCst);
                tokio::time::sleep(pause).await;
                world.weather.outage.store(false, Ordering::SeqCst);
                world.trace.tell(|| "the database is back".into());
            }
            _ => {}
        }
    }
}
