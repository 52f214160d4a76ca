//! The engine against a simple model in memory: random commands, retries, conflicts, passivations, crashes and
//! restarts, one after the other and at once. Every answer must be the model's, and so must what is left behind.
//!
//! Where things happen at once beside each other and fail in between, [the simulation](../../../engine/tests/simulation)
//! judges the history; here the answer is known before it is given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::clock::{SystemClock, SystemIds};
use engine::command::{CommandContext, DispatchError, Idempotency};
use engine::feed::Live;
use engine::journal::{Journal, MemoryJournal, PgJournal};
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use futures::future::join_all;
use kernel::{Claim, CommandId, Decider, Position, ShardId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use uuid::Uuid;

use crate::account::{Account, Answer, Command, Fact, NAME, TooMuch, id, stream};
use crate::db::TestDb;
use crate::engine_postgres::{codec, context};

const SHARD: ShardId = ShardId(0);
const ACCOUNTS: u8 = 4;
const NAMES: [&str; 3] = ["ash", "elm", "fir"];

/// What a run does next.
#[derive(Clone, Debug)]
enum Step {
    /// One command, with what the caller believes the sequence to be relative to what it is.
    One { account: u8, command: Command, expected: Option<i8>, keyed: bool },
    /// An earlier command with a key again.
    Retry { earlier: prop::sample::Index },
    /// An earlier key with another body.
    Reuse { earlier: prop::sample::Index, account: u8, command: Command },
    /// Several commands to one account without waiting for answers.
    Burst { account: u8, commands: Vec<Command> },
    /// Every account wants the same name at once.
    Rush { name: &'static str },
    /// The same command under one new key, several times at once.
    Flurry { account: u8, times: usize },
    /// The account's actor crashes.
    Crash { account: u8 },
    /// The engine ends in order, and another starts on the same journal.
    Restart,
}

/// How the engine of a run is set up.
#[derive(Clone, Debug)]
struct Setting {
    batch_items_max: usize,
    /// Two actors at most make every other command meet an actor that was passivated.
    actors_live_max: usize,
    snapshot_events_min: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let (batch, live, snapshot) = (
        prop::sample::select(vec![1, 2, 1024]),
        prop::sample::select(vec![1, 100]),
        prop::sample::select(vec![1, 3, 1_000]),
    );
    (batch, live, snapshot).prop_map(|(batch_items_max, actors_live_max, snapshot_events_min)| Setting {
        batch_items_max,
        actors_live_max,
        snapshot_events_min,
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.to_vec())
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (0..4_u64).prop_map(Command::Add),
        4 => name().prop_map(|name| Command::Name(name.into())),
        1 => (name(), name()).prop_filter("two names", |(a, b)| a != b)
            .prop_map(|(a, b)| Command::NameAndRename(a.into(), b.into())),
        2 => Just(Command::Unname),
        3 => (0..30_u64).prop_map(Command::AtMost),
        3 => (0..30_u64).prop_map(Command::Reach),
    ]
}

/// A command that no neighbour has a say in.
fn count() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0..4_u64).prop_map(Command::Add),
        (0..30_u64).prop_map(Command::AtMost),
        (0..30_u64).prop_map(Command::Reach),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let account = || 1..=ACCOUNTS;
    let earlier = any::<prop::sample::Index>;
    let expected = prop::option::weighted(0.25, -1..=1_i8);
    prop_oneof![
        12 => (account(), command(), expected, any::<bool>())
            .prop_map(|(account, command, expected, keyed)| Step::One { account, command, expected, keyed }),
        4 => earlier().prop_map(|earlier| Step::Retry { earlier }),
        2 => (earlier(), account(), command())
            .prop_map(|(earlier, account, command)| Step::Reuse { earlier, account, command }),
        3 => (account(), prop::collection::vec(count(), 2..8))
            .prop_map(|(account, commands)| Step::Burst { account, commands }),
        2 => name().prop_map(|name| Step::Rush { name }),
        2 => (account(), 2..5_usize).prop_map(|(account, times)| Step::Flurry { account, times }),
        1 => account().prop_map(|account| Step::Crash { account }),
        1 => Just(Step::Restart),
    ]
}

/// What the model says to a command.
#[derive(Clone, Debug, PartialEq)]
enum Due {
    Done { events: usize, sequence: u64, position: Option<u64> },
    Rejected(TooMuch),
    Precondition { expected: u64, found: u64 },
    Taken,
    KeyReused,
}

/// The engine as it should be: no actors, no batches, no database.
#[derive(Default)]
struct Model {
    accounts: BTreeMap<u8, Account>,
    position: u64,
    /// What was asked under a key, and answered.
    keys: Vec<(Keyed, Due)>,
}

#[derive(Clone, Debug)]
struct Keyed {
    key: u128,
    account: u8,
    command: Command,
    expected: Option<u64>,
}

impl Model {
    fn sequence(&self, account: u8) -> u64 {
        self.accounts.get(&account).map_or(0, |state| state.sequence)
    }

    fn holder(&self, name: &str) -> Option<u8> {
        self.accounts
            .iter()
            .find(|(_, state)| state.name.as_deref() == Some(name))
            .map(|(account, _)| *account)
    }

    fn carry_out(&mut self, account: u8, command: &Command, expected: Option<u64>) -> Due {
        let before = self.accounts.get(&account).cloned().unwrap_or_default();
        if let Some(expected) = expected
            && expected != before.sequence
        {
            return Due::Precondition { expected, found: before.sequence };
        }
        let facts: Vec<Fact> = match before.decide(command.clone()) {
            Ok(facts) => facts,
            Err(rejection) => return Due::Rejected(rejection),
        };
        let mut after = before;
        facts.iter().for_each(|fact| after.evolve(fact));
        // What a command takes and gives up again nobody else can notice.
        if let Some(name) = &after.name
            && self.holder(name).is_some_and(|holder| holder != account)
        {
            return Due::Taken;
        }
        self.position += facts.len() as u64;
        let position = (!facts.is_empty()).then_some(self.position);
        let sequence = after.sequence;
        self.accounts.insert(account, after);
        Due::Done { events: facts.len(), sequence, position }
    }
}

/// An answer in the model's words; `None` where the model knows no such answer.
fn told(answer: &Answer) -> Option<Due> {
    Some(match answer {
        Ok(receipt) => Due::Done {
            events: receipt.event_ids.len(),
            sequence: receipt.sequence,
            position: receipt.position.map(|token| token.position.0),
        },
        Err(DispatchError::Rejected { rejection, .. }) => Due::Rejected(rejection.clone()),
        Err(DispatchError::PreconditionFailed { expected, found }) => {
            Due::Precondition { expected: *expected, found: *found }
        }
        Err(DispatchError::ClaimTaken { .. }) => Due::Taken,
        Err(DispatchError::KeyReused) => Due::KeyReused,
        Err(_) => return None,
    })
}

/// A run: an engine on a journal, and the model beside it.
struct Run {
    journal: Arc<dyn Journal>,
    setting: Setting,
    engine: Engine,
    model: Model,
    keys: u128,
    /// Crashes in a row of each account; three put it in quarantine, which is not this test's matter.
    crashes: BTreeMap<u8, u32>,
}

impl Run {
    async fn start(journal: Arc<dyn Journal>, setting: Setting) -> Self {
        let engine = engine(&journal, &setting).await;
        Self { journal, setting, engine, model: Model::default(), keys: 0, crashes: BTreeMap::new() }
    }

    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::One { account, command, expected, keyed } => {
                let expected =
                    expected.and_then(|off| self.model.sequence(account).checked_add_signed(off.into()));
                self.keys += u128::from(keyed);
                let due = self.model.carry_out(account, &command, expected);
                let asked = Keyed { key: self.keys, account, command, expected };
                let answer = self.send(&asked, keyed.then_some([0; 32])).await;
                prop_assert_eq!(told(&answer), Some(due.clone()), "{:?} got {:?}", asked, answer);
                if keyed {
                    self.model.keys.push((asked, due));
                }
            }
            Step::Retry { earlier } if !self.model.keys.is_empty() => {
                let (asked, due) = earlier.get(&self.model.keys).clone();
                let answer = self.send(&asked, Some([0; 32])).await;
                prop_assert_eq!(told(&answer), Some(due), "{:?} again got {:?}", asked, answer);
                prop_assert!(answer.map_or(true, |receipt| receipt.replayed));
            }
            Step::Reuse { earlier, account, command } if !self.model.keys.is_empty() => {
                let key = earlier.get(&self.model.keys).0.key;
                let answer = self.send(&Keyed { key, account, command, expected: None }, Some([1; 32])).await;
                prop_assert_eq!(told(&answer), Some(Due::KeyReused), "{:?}", answer);
            }
            Step::Retry { .. } | Step::Reuse { .. } => {}
            Step::Burst { account, commands } => self.burst(account, commands).await?,
            Step::Rush { name } => self.rush(name).await?,
            Step::Flurry { account, times } => self.flurry(account, times).await?,
            Step::Crash { account } => {
                let crashes = self.crashes.entry(account).or_default();
                *crashes += 1;
                if *crashes < 3 {
                    let answer = self.send(&plain(account, Command::Panic), None).await;
                    prop_assert!(answer.as_ref().is_err_and(not_carried_out), "{:?}", answer);
                }
            }
            Step::Restart => {
                self.engine.drain().await;
                self.engine = engine(&self.journal, &self.setting).await;
                self.crashes.clear();
            }
        }
        for (account, state) in &self.model.accounts {
            let (found, sequence) = self.engine.recall::<Account>(id(*account)).await.unwrap();
            prop_assert_eq!((&found, sequence), (state, state.sequence), "account {}", account);
        }
        Ok(())
    }

    /// Orders to one account are carried out in the order they were sent, but for those there was no room for.
    async fn burst(&mut self, account: u8, commands: Vec<Command>) -> Result<(), TestCaseError> {
        let asked: Vec<_> = commands.into_iter().map(|command| plain(account, command)).collect();
        let answers = join_all(asked.iter().map(|asked| self.dispatch(asked, None))).await;
        for (asked, answer) in asked.iter().zip(&answers) {
            if !answer.as_ref().is_err_and(not_carried_out) {
                let due = self.model.carry_out(account, &asked.command, None);
                prop_assert_eq!(told(answer), Some(due), "{:?} got {:?}", asked, answer);
            }
        }
        Ok(())
    }

    /// Of those who want a name at once its holder keeps it; if nobody has it, exactly one gets it.
    async fn rush(&mut self, name: &'static str) -> Result<(), TestCaseError> {
        let command = Command::Name(name.into());
        let asked: Vec<_> = (1..=ACCOUNTS).map(|account| plain(account, command.clone())).collect();
        let answers = join_all(asked.iter().map(|asked| self.send(asked, None))).await;
        let winner = answers.iter().position(Result::is_ok).and_then(|n| u8::try_from(n + 1).ok());
        prop_assert!(winner.is_some(), "nobody got it: {:?}", answers);
        let winner = winner.unwrap_or_default();
        let due = self.model.carry_out(winner, &command, None);
        prop_assert_eq!(told(&answers[usize::from(winner) - 1]), Some(due));
        for (asked, answer) in asked.iter().zip(&answers).filter(|(asked, _)| asked.account != winner) {
            let due = self.model.carry_out(asked.account, &command, None);
            prop_assert_eq!(told(answer), Some(due), "{:?} beside account {}", asked, winner);
        }
        Ok(())
    }

    /// The same command many times at once is carried out once.
    async fn flurry(&mut self, account: u8, times: usize) -> Result<(), TestCaseError> {
        self.keys += 1;
        let asked = Keyed { key: self.keys, account, command: Command::Add(2), expected: None };
        let due = self.model.carry_out(account, &asked.command, None);
        let answers = join_all((0..times).map(|_| self.send(&asked, Some([0; 32])))).await;
        let mut done = 0;
        for answer in &answers {
            let heard = told(answer);
            done += usize::from(heard.is_some());
            let right = heard.as_ref() == Some(&due) || *answer == Err(DispatchError::InFlight);
            prop_assert!(right, "{:?}", answers);
        }
        prop_assert!(done > 0, "{:?}", answers);
        self.model.keys.push((asked, due));
        Ok(())
    }

    /// Sends a command, again when there was no room for it, or when it was sent to an actor that was crashing.
    async fn send(&self, asked: &Keyed, fingerprint: Option<[u8; 32]>) -> Answer {
        loop {
            match self.dispatch(asked, fingerprint).await {
                Err(error) if not_carried_out(&error) && asked.command != Command::Panic => {
                    tokio::task::yield_now().await;
                }
                answer => return answer,
            }
        }
    }

    async fn dispatch(&self, asked: &Keyed, fingerprint: Option<[u8; 32]>) -> Answer {
        let context = CommandContext {
            idempotency: fingerprint
                .map(|fingerprint| Idempotency { id: CommandId(Uuid::from_u128(asked.key)), fingerprint }),
            expected_sequence: asked.expected,
            ..context(None)
        };
        self.engine.dispatch::<Account>(id(asked.account), asked.command.clone(), context).await
    }

    /// The journal holds what the model made and nothing else.
    async fn end(self) -> Result<(), TestCaseError> {
        self.engine.drain().await;
        let events = self.journal.read(SHARD, Position::ZERO, usize::MAX >> 1).await.unwrap();
        prop_assert_eq!(events.len() as u64, self.model.position);
        let mut accounts: BTreeMap<Uuid, Account> = BTreeMap::new();
        for (event, position) in events.iter().zip(1..) {
            prop_assert_eq!(event.position, Position(position), "positions are dense");
            let state = accounts.entry(event.stream.id).or_default();
            state.evolve(&event.decode::<Fact>().unwrap());
            prop_assert_eq!(event.sequence, state.sequence, "sequences are contiguous");
        }
        for (account, state) in &self.model.accounts {
            let found = accounts.remove(&id(*account)).unwrap_or_default();
            prop_assert_eq!(&found, state, "account {}", account);
        }
        prop_assert!(accounts.is_empty());
        for name in NAMES {
            let holder = self.journal.claim_holder(&Claim::new(NAME, name)).await.unwrap();
            prop_assert_eq!(holder, self.model.holder(name).map(stream), "{}", name);
        }
        Ok(())
    }
}

/// Whoever hears this may send the command again: nothing was done.
fn not_carried_out(error: &DispatchError<TooMuch>) -> bool {
    matches!(error, DispatchError::Busy { .. } | DispatchError::Unavailable { reason: "crashed", .. })
}

fn plain(account: u8, command: Command) -> Keyed {
    Keyed { key: 0, account, command, expected: None }
}

async fn engine(journal: &Arc<dyn Journal>, setting: &Setting) -> Engine {
    let mut writer = WriterConfig::new(SHARD, Uuid::from_u128(1));
    writer.batch_items_max = setting.batch_items_max;
    let mut config = EngineConfig::new(writer);
    config.actors_live_max = setting.actors_live_max;
    config.snapshot_events_min = setting.snapshot_events_min;
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let engine = Engine::start(config, journal.clone(), Live::default(), clock, ids).await.unwrap();
    engine.owned().await;
    engine
}

async fn drive(journal: Arc<dyn Journal>, setting: Setting, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut run = Run::start(journal, setting).await;
    for (step, n) in steps.into_iter().zip(1..) {
        let told = format!("step {n}: {step:?}");
        run.step(step).await.map_err(|error| TestCaseError::fail(format!("{told}: {error}")))?;
    }
    run.end().await
}

/// Runs cases until one fails, which is then made as small as can be.
fn run(cases: u32, steps_max: usize, journal: impl AsyncFn() -> (Arc<dyn Journal>, Option<TestDb>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Bounded, so that a failure on a database is told within the minute.
    let config = Config { cases, max_shrink_iters: 500, failure_persistence: None, ..Config::default() };
    let steps = (setting(), prop::collection::vec(step(), 1..steps_max));
    let result = TestRunner::new(config).run(&steps, |(setting, steps)| {
        runtime.block_on(async {
            let (journal, _db) = journal().await;
            let bounded = tokio::time::timeout(Duration::from_secs(60), drive(journal, setting, steps)).await;
            bounded.unwrap_or_else(|_| Err(TestCaseError::fail("it hangs")))
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_engine_answers_and_keeps_what_the_model_does_on_a_journal_in_memory() {
    run(300, 40, async || (Arc::new(MemoryJournal::default()) as Arc<dyn Journal>, None));
}

#[test]
fn the_engine_answers_and_keeps_what_the_model_does_on_postgres() {
    run(8, 60, async || {
        let db = TestDb::new().await;
        let config = db.server_info.key_values().parse().unwrap();
        let journal = PgJournal::new(config, db.server.clone(), codec()).unwrap();
        (Arc::new(journal) as Arc<dyn Journal>, Some(db))
    });
}
