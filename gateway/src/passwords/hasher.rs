//! Hashes passwords and verifies them, without anybody else waiting for it.

use std::sync::Arc;
use std::time::Duration;

use schemas::values::{PasswordHash, PasswordPolicy};

use super::pool::{NoResult, Pool};
use super::stored::{self, HashParameters, InvalidParameters, Memory, WorkError};
use super::{About, Broken, Password, policy};

/// How many may wait for each thread unless it is said otherwise: two or three seconds of work.
const WAITING_MAX_PER_THREAD: usize = 64;

/// How hashes are made, and by how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HasherSettings {
    pub parameters: HashParameters,
    /// Threads, each with the memory of one hash. 0 counts as 1.
    pub threads: usize,
    /// Jobs that wait for a thread, beside those that are worked at. More are refused. 0 counts as 1.
    pub waiting_max: usize,
}

impl HasherSettings {
    /// So many threads, and 64 places to wait for each.
    pub fn with_threads(threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            parameters: HashParameters::default(),
            threads,
            waiting_max: threads.saturating_mul(WAITING_MAX_PER_THREAD),
        }
    }
}

/// A thread for each core.
impl Default for HasherSettings {
    fn default() -> Self {
        Self::with_threads(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// What a password is to a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    /// `rehash`: the hash is bcrypt's, or cheaper to try than one of now. Hash the password again and keep that.
    Right {
        rehash: bool,
    },
}

/// The hasher can't be started.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    #[error("the threads for passwords can't be started")]
    Threads(#[source] std::io::Error),
    #[error("there is no hash to try the passwords of unknown people on")]
    Nobodys(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why there is no answer. None of them says anything about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// As many wait as may (ERR-RATE-429). Nothing was tried.
    #[error("too many passwords wait to be hashed; ask again in {} s", retry_after.as_secs())]
    Busy { retry_after: Duration },
    /// The stored hash is malformed or costs more than we pay. To a stranger it is a wrong password, and it takes as
    /// long; whoever runs the server should hear of it.
    #[error("the stored hash can't be verified")]
    Unverifiable,
    /// No memory, no randomness, or a bug.
    #[error("the password could not be hashed")]
    Failed,
}

/// Makes and verifies hashes in threads of its own. Kept once per process; dropped, its threads end.
///
/// A call that is dropped before a thread has begun with it costs nothing.
#[derive(Debug)]
pub struct Hasher {
    pool: Pool,
    parameters: HashParameters,
    /// What the passwords of people who don't exist are tried on.
    nobodys: Arc<PasswordHash>,
}

impl Hasher {
    /// # Errors
    /// The parameters are out of bounds, or the operating system gives no threads or no randomness.
    pub fn start(settings: &HasherSettings) -> Result<Self, HasherError> {
        settings.parameters.check()?;
        let nobodys = stored::nobodys(&settings.parameters).map_err(|e| HasherError::Nobodys(Box::new(e)))?;
        let pool = Pool::start(settings.threads.max(1), settings.waiting_max.max(1))
            .map_err(HasherError::Threads)?;
        Ok(Self { pool, parameters: settings.parameters, nobodys: Arc::new(nobodys) })
    }

    /// A hash of the password, with a salt of its own and the present parameters.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn hash(&self, password: &Password) -> Result<PasswordHash, HashError> {
        let (password, parameters) = (password.clone(), self.parameters);
        let made = self.pool.run("hash", move |memory| stored::make(&password, &parameters, memory));
        settled(made.await)
    }

    /// Whether the hash is the password's.
    ///
    /// It takes as long as [`Self::verify_nothing`] where the hash was made with the present parameters. A hash with
    /// others, such as an imported one, takes its own time until the first sign-in has it made anew.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn verify(&self, password: &Password, hash: &PasswordHash) -> Result<Verdict, HashError> {
        self.compare("verify", password, hash.clone()).await
    }

    /// Does what [`Self::verify`] does, on a hash that no password is known for: where there is no person, or none who
    /// has a password, the answer must take as long as if there were (CON-SEC-009).
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn verify_nothing(&self, password: &Password) -> Result<(), HashError> {
        // Counted as what it looks like.
        self.compare("verify", password, (*self.nobodys).clone()).await.map(drop)
    }

    /// What is wrong with a new password. In a thread of the pool, as judging takes milliseconds, and longer for a hostile one.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn judge(
        &self,
        policy: PasswordPolicy,
        password: &Password,
        about: &About,
    ) -> Result<Vec<Broken>, HashError> {
        let (password, about) = (password.clone(), about.clone());
        settled(self.pool.run("judge", move |_| Ok(policy::judge(&policy, &password, &about))).await)
    }

    pub fn parameters(&self) -> HashParameters {
        self.parameters
    }

    async fn compare(
        &self,
        kind: &'static str,
        password: &Password,
        hash: PasswordHash,
    ) -> Result<Verdict, HashError> {
        let (password, parameters) = (password.clone(), self.parameters);
        let nobodys = Arc::clone(&self.nobodys);
        let compared =
            self.pool.run(kind, move |memory| compare(&password, &hash, &nobodys, &parameters, memory));
        settled(compared.await)
    }
}

/// A hash that can't be tried must not answer sooner than one that can: nobody's is tried in its place.
fn compare(
    password: &Password,
    hash: &PasswordHash,
    nobodys: &PasswordHash,
    parameters: &HashParameters,
    memory: &mut Memory,
) -> Result<Verdict, WorkError> {
    let verdict = stored::compare(password, hash, parameters, memory);
    if matches!(verdict, Err(WorkError::Unverifiable)) {
        stored::compare(password, nobodys, parameters, memory)?;
    }
    verdict
}

fn settled<T>(result: Result<Result<T, WorkError>, NoResult>) -> Result<T, HashError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(WorkError::Unverifiable)) => Err(HashError::Unverifiable),
        Ok(Err(error)) => {
            tracing::error!(%error, "a password could not be hashed");
            Err(HashError::Failed)
        }
        Err(NoResult::Busy { retry_after }) => Err(HashError::Busy { retry_after }),
        Err(NoResult::Ended) => Err(HashError::Failed),
    }
}

#[cfg(test)]
mod tests;
