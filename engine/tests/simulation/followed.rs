//! A read model in memory that follows the simulated journal over a channel that loses, and reads that fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::feed::{Feed, FeedError, FeedName, Interest, Live, Read, Told};
use engine::journal::{Journal, MemoryJournal};
use engine::projection::{Feeds, FoldError, FollowSettings, Memories, MemoryProjection};
use kernel::{Decider, Envelope, Position, PositionToken, ShardId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::account::{Account, Fact};
use super::journal::Weather;
use super::world::SHARD;

/// Everything it has been shown, folded.
#[derive(Default)]
pub struct Accounts {
    states: Mutex<BTreeMap<Uuid, Account>>,
    panics: AtomicU32,
}

impl MemoryProjection for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Account::TYPE]
    }

    fn fails_closed(&self) -> bool {
        true
    }

    fn reset(&self, _: ShardId) {
        self.states.lock().unwrap().clear();
    }

    fn apply(&self, event: &Envelope) -> Result<(), FoldError> {
        let fact: Fact = event.decode().map_err(|error| FoldError::Event(error.to_string()))?;
        let mut states = self.states.lock().unwrap();
        let state = states.entry(event.stream.id).or_default();
        if event.sequence != state.sequence + 1 {
            let text = format!("shown sequence {} after {}", event.sequence, state.sequence);
            return Err(FoldError::Event(text));
        }
        state.evolve(&fact);
        Ok(())
    }
}

/// The follower of one world.
pub struct Followed {
    accounts: Arc<Accounts>,
    memories: Memories,
}

impl Followed {
    pub async fn start(shared: &Arc<MemoryJournal>, live: &Live, weather: &Arc<Weather>, seed: u64) -> Self {
        let accounts = Arc::new(Accounts::default());
        let lossy = Live::default();
        tokio::spawn(forward(live.listen(), lossy.clone(), seed));
        let random = Mutex::new(StdRng::seed_from_u64(!seed));
        let (shared, weather, accounts_too) = (shared.clone(), weather.clone(), accounts.clone());
        let feed = BadFeed { shared, weather, live: lossy, random, accounts: accounts_too };
        let feeds = Feeds::new(vec![Arc::new(feed)]);
        let settings = FollowSettings { batch_events_max: 7, ..FollowSettings::default() };
        let memories = Memories::start(vec![accounts.clone()], &feeds, settings).await;
        Self { accounts, memories: memories.expect("it starts") }
    }

    /// It gets to the end, and holds what a fold of the journal gives.
    pub async fn faults(&self, shared: &MemoryJournal) -> Vec<String> {
        let position = shared.head(SHARD).await.unwrap();
        let handle = self.memories.handle("accounts").expect("it was started");
        let wanted = PositionToken { shard: SHARD, position };
        if let Err(error) = handle.wait_for(wanted, Duration::from_secs(60)).await {
            return vec![format!("the follower never gets to {position}: {error} {:?}", handle.health())];
        }
        let mut due: BTreeMap<Uuid, Account> = BTreeMap::new();
        for event in shared.read(SHARD, Position::ZERO, usize::MAX).await.unwrap() {
            due.entry(event.stream.id).or_default().evolve(&event.decode().unwrap());
        }
        let found = self.accounts.states.lock().unwrap();
        if *found == due {
            vec![]
        } else {
            vec![format!("the follower holds {found:?}, by the events {due:?}")]
        }
    }
}

/// Passes on what is told, but for what it loses.
async fn forward(mut from: broadcast::Receiver<Told>, to: Live, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        match from.recv().await {
            Ok(batch) => match random.random_range(0..10) {
                0..3 => {}
                3..5 => {
                    to.tell(batch.clone());
                    to.tell(batch);
                }
                _ => to.tell(batch),
            },
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

struct BadFeed {
    shared: Arc<MemoryJournal>,
    weather: Arc<Weather>,
    live: Live,
    random: Mutex<StdRng>,
    accounts: Arc<Accounts>,
}

#[async_trait]
impl Feed for BadFeed {
    fn name(&self) -> FeedName {
        FeedName::Journal
    }

    fn shard(&self) -> ShardId {
        SHARD
    }

    async fn read(&self, after: Position, limit: usize, of: Interest) -> Result<Read, FeedError> {
        let (pause, drawn) = {
            let mut random = self.random.lock().unwrap();
            (random.random_range(0..20), random.random_range(0..100))
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let calm = self.weather.calm.load(Ordering::SeqCst);
        // Now and then the follower crashes and starts from zero, but not for ever.
        if drawn < 2 && !calm && self.accounts.panics.fetch_add(1, Ordering::SeqCst) < 3 {
            panic!("a rule that panics");
        }
        if (drawn < 10 && !calm) || self.weather.outage.load(Ordering::SeqCst) {
            return Err(FeedError::Pool(deadpool_postgres::PoolError::Closed));
        }
        let head = self.shared.head(SHARD).await?;
        let window = self.shared.read(SHARD, after, limit).await?;
        let concerned = window.into_iter().filter(|event| of.concerns(&event.stream)).map(Arc::new);
        Ok(Read::of_window(concerned.collect(), after, Position(after.0 + limit as u64), head))
    }

    async fn head(&self) -> Result<Position, FeedError> {
        self.shared.head(SHARD).await
    }

    fn live(&self) -> broadcast::Receiver<Told> {
        self.live.listen()
    }
}
