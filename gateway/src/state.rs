//! What handlers hold: the engine, the read models, the keys. Made once, by the composition root.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use engine::Engine;
use engine::jobs::{JobResults, Jobs};
use engine::projection::{Freshness, MemoryHandle, Projector};
use kernel::{Clock, Ids, Position, ShardId};
use projections::{AccessMemory, FlagMemory};

use crate::admission::Admission;
use crate::audit::Audit;
use crate::keys::{KeyStore, Keys};
use crate::policy::{Authorizer, PolicyMemory};
use crate::problem::Problem;
use crate::rates::{RateSettings, Rates};
use crate::readiness::Readiness;
use crate::registration::Registration;
use crate::services::Services;
use crate::sign_in::SignInParts;

/// How old what revokes access may be before it is no longer believed.
pub const FRESH_FOR: Duration = Duration::from_secs(2);

/// Bounds of the gateway.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests under way at once, probes apart.
    pub in_flight_max: usize,
    /// Those of them that concern one tenant.
    pub tenant_in_flight_max: usize,
    pub rates: RateSettings,
    pub body_bytes_max: usize,
    /// How long a body may take to come in.
    pub body_timeout: Duration,
    /// How long a handler may take.
    pub handler_timeout: Duration,
    /// How long a command may wait before it is handed to the journal's writer.
    pub command_deadline: Duration,
    /// How long a read waits for `X-Min-Position`.
    pub position_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 4096,
            tenant_in_flight_max: 1024,
            rates: RateSettings::default(),
            body_bytes_max: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            handler_timeout: Duration::from_secs(30),
            command_deadline: Duration::from_secs(5),
            position_wait: Duration::from_secs(2),
        }
    }
}

/// Who may still do anything: the memory, and how current it is.
#[derive(Clone)]
pub struct Access {
    pub memory: Arc<AccessMemory>,
    pub handle: MemoryHandle,
}

impl Access {
    /// How far the memory is.
    pub fn position(&self) -> Position {
        self.handle.position(ShardId::default()).unwrap_or(Position::ZERO)
    }

    /// The memory, if it can be believed. `stale`: also if it can't know, as long as it ever knew.
    ///
    /// # Errors
    /// ERR-SYS-503: this node can't know, and must not guess.
    pub fn current(&self, stale: bool) -> Result<&AccessMemory, Problem> {
        if is_believed(&self.handle, stale) {
            Ok(&self.memory)
        } else {
            Err(Problem::unavailable("access_unknown"))
        }
    }
}

fn is_believed(handle: &MemoryHandle, stale: bool) -> bool {
    match handle.freshness(FRESH_FOR) {
        Freshness::Fresh | Freshness::Stale { .. } => true,
        Freshness::Unavailable => stale && handle.is_ready(),
    }
}

/// What operators published, and how current it is.
#[derive(Clone)]
pub struct PolicySource {
    pub memory: Arc<PolicyMemory>,
    pub handle: MemoryHandle,
}

impl PolicySource {
    /// Nothing, if those in force can be believed to be all there are. `stale`: as in [`Access::current`].
    ///
    /// # Errors
    /// ERR-SYS-503: another one may forbid.
    pub fn current(&self, stale: bool) -> Result<(), Problem> {
        if is_believed(&self.handle, stale) { Ok(()) } else { Err(Problem::unavailable("access_unknown")) }
    }
}

/// The flags of all tenants, and how current they are.
#[derive(Clone)]
pub struct FlagSource {
    pub memory: Arc<FlagMemory>,
    pub handle: MemoryHandle,
}

/// Everything a handler may need.
pub struct App {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub engine: Engine,
    pub audit: Arc<Audit>,
    pub access: Access,
    pub authorizer: Arc<Authorizer>,
    pub policies: PolicySource,
    pub flags: FlagSource,
    pub keys: Keys,
    pub key_store: Arc<KeyStore>,
    /// The server's role on the database, for queries.
    pub pool: Pool,
    pub projector: Arc<Projector>,
    pub jobs: Jobs,
    /// What jobs made for people.
    pub results: JobResults,
    pub limits: Limits,
    pub readiness: Readiness,
    pub sign_in: SignInParts,
    pub services: Services,
    pub registration: Registration,
    pub(crate) admission: Admission,
    pub(crate) rates: Rates,
}

/// Shared by all requests.
#[derive(Clone)]
pub struct AppState(Arc<App>);

impl Deref for AppState {
    type Target = App;
    fn deref(&self) -> &App {
        &self.0
    }
}

/// What the composition root gives.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub engine: Engine,
    pub audit: Arc<Audit>,
    pub access: Access,
    pub authorizer: Arc<Authorizer>,
    pub policies: PolicySource,
    pub flags: FlagSource,
    pub keys: Keys,
    pub key_store: Arc<KeyStore>,
    pub pool: Pool,
    pub projector: Arc<Projector>,
    pub jobs: Jobs,
    pub results: JobResults,
    pub limits: Limits,
    pub readiness: Readiness,
    pub sign_in: SignInParts,
    pub services: Services,
    pub registration: Registration,
}

impl AppState {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            clock,
            ids,
            engine,
            audit,
            access,
            authorizer,
            policies,
            flags,
            keys,
            key_store,
            pool,
            projector,
            jobs,
            results,
            limits,
            readiness,
            sign_in,
            services,
            registration,
        } = parts;
        let admission = Admission::new(limits.in_flight_max, limits.tenant_in_flight_max);
        let rates = Rates::new(&limits.rates);
        Self(Arc::new(App {
            clock,
            ids,
            engine,
            audit,
            access,
            authorizer,
            policies,
            flags,
            keys,
            key_store,
            pool,
            projector,
            jobs,
            results,
            limits,
            readiness,
            sign_in,
            services,
            registration,
            admission,
            rates,
        }))
    }
}

impl App {
    /// A connection for a query.
    ///
    /// # Errors
    /// ERR-SYS-503
    pub async fn connection(&self) -> Result<Object, Problem> {
        self.pool.get().await.map_err(|error| {
            tracing::warn!(%error, "no connection for a query");
            Problem::unavailable("database")
        })
    }
}
