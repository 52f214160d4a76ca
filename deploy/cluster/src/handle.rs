//! The handle on a private cluster.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    ConnectInfo, Error, Options, PORT, StopMode, binaries,
    error::io,
    layout::{Layout, make_dir},
    postmaster, roles,
    secrets::{self, OWNER, SERVER, SUPERUSER},
};

/// Longest wait for another process that starts or stops the same cluster. Long, as that may be a recovery.
const LOCK_WAIT: Duration = Duration::from_secs(900);
const LOCK_POLL: Duration = Duration::from_millis(50);
const LOCK_TELL_AFTER: Duration = Duration::from_secs(2);
/// A checkpoint of all shared buffers to a slow disk fits in.
const STOP_WAIT: Duration = Duration::from_secs(300);

/// A private PostgreSQL cluster. Dropping the handle leaves the server running.
#[derive(Debug, Clone)]
pub struct Cluster {
    layout: Layout,
    database: String,
    passwords: Passwords,
}

#[derive(Clone)]
struct Passwords {
    superuser: String,
    owner: String,
    server: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

impl Cluster {
    /// A running cluster in `data_dir` with its roles and its database: initialised if there is none, started if
    /// it is down, reattached if it runs. Any number of processes may call this at the same time.
    ///
    /// # Errors
    /// Any [`Error`]; each tells what was found and what to do.
    pub async fn ensure(data_dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        options.check()?;
        let data_dir = data_dir.as_ref().to_owned();
        // In a task of its own, so that a cancelled caller does not leave a cluster half made.
        let work = tokio::spawn(async move {
            let (cluster, lock) = blocking(move || Self::ensure_running(&data_dir, &options)).await?;
            roles::establish(&cluster.superuser(), &cluster.owner(), &cluster.server()).await?;
            drop(lock);
            Ok(cluster)
        });
        work.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    fn ensure_running(data_dir: &Path, options: &Options) -> Result<(Self, File), Error> {
        if !data_dir.exists() {
            // Root's is entered by the user PostgreSQL runs as.
            make_dir(data_dir, if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 })?;
        }
        let lock = lock(data_dir, options)?;
        let (layout, account) = Layout::create(data_dir)?;
        let binaries = match postmaster::data_major(&layout)? {
            Some(major) => binaries::find_for_data(&layout.data_dir, &layout.pgdata, major)?,
            None => {
                let binaries = binaries::find_binaries(Some(&layout.data_dir))?;
                postmaster::initialise(&layout, &account, &binaries, options)?;
                binaries
            }
        };
        let Some(superuser) = secrets::read_password(&layout.secrets, SUPERUSER)? else {
            let path = secrets::password_file(&layout.secrets, SUPERUSER);
            return Err(Error::PasswordLost { path, pgdata: layout.pgdata });
        };
        let passwords = Passwords {
            superuser,
            owner: secrets::password(&layout.secrets, OWNER)?,
            server: secrets::password(&layout.secrets, SERVER)?,
        };
        postmaster::start(&layout, &account, &binaries, options)?;
        Ok((Self { layout, database: options.database.clone(), passwords }, lock))
    }

    /// The cluster a former [`Cluster::ensure`] made in `data_dir`, running or not; `None` if there is none.
    /// Starts and changes nothing. Its main database is taken to be the default one.
    ///
    /// # Errors
    /// [`Error::NotOurs`] or [`Error::Io`] when its files cannot be read, [`Error::PasswordLost`].
    pub fn open(data_dir: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        let Some(layout) = Layout::existing(data_dir.as_ref())? else { return Ok(None) };
        let read = |role| {
            secrets::read_password(&layout.secrets, role)?.ok_or_else(|| Error::PasswordLost {
                path: secrets::password_file(&layout.secrets, role),
                pgdata: layout.pgdata.clone(),
            })
        };
        let passwords = Passwords { superuser: read(SUPERUSER)?, owner: read(OWNER)?, server: read(SERVER)? };
        Ok(Some(Self { layout, database: Options::default().database, passwords }))
    }

    /// One cluster for all tests and benches of a machine's user, with a database for each of them
    /// ([`Cluster::create_database`]). It lies in `TENANTRY_TEST_CLUSTER`, else below the temporary directory,
    /// is as durable as a real one, and is left running for the next test.
    ///
    /// # Errors
    /// As [`Cluster::ensure`].
    pub async fn for_tests() -> Result<Self, Error> {
        let data_dir =
            std::env::var_os("TENANTRY_TEST_CLUSTER").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let data_dir = data_dir.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("tenantry-tests-{}", rustix::process::geteuid().as_raw()))
        });
        // The name is known to everybody, so what a stranger put there is not used.
        let me = rustix::process::geteuid().as_raw();
        if let Ok(found) = std::fs::symlink_metadata(&data_dir)
            && (found.uid() != me || !found.is_dir())
        {
            let detail = format!("owned by uid {}, we are uid {me}", found.uid());
            return Err(Error::NotOurs { path: data_dir, detail });
        }
        Self::ensure(data_dir, Options::default().set("max_connections", "300")).await
    }

    pub fn data_dir(&self) -> &Path {
        &self.layout.data_dir
    }

    /// PostgreSQL's own data directory.
    pub fn pgdata(&self) -> &Path {
        &self.layout.pgdata
    }

    pub fn socket_dir(&self) -> &Path {
        &self.layout.socket_dir
    }

    pub fn log_file(&self) -> &Path {
        &self.layout.log
    }

    /// The role `postgres`: for making databases and for looking around, never for the server.
    pub fn superuser(&self) -> ConnectInfo {
        self.connect_info(SUPERUSER, &self.passwords.superuser, "postgres")
    }

    /// The role `tenantry_owner` on the main database: owns it, runs migrations, is no superuser.
    pub fn owner(&self) -> ConnectInfo {
        self.connect_info(OWNER, &self.passwords.owner, &self.database)
    }

    /// The role `tenantry_server` on the main database: what the server uses; it owns nothing and has what
    /// migrations granted.
    pub fn server(&self) -> ConnectInfo {
        self.connect_info(SERVER, &self.passwords.server, &self.database)
    }

    pub fn superuser_url(&self) -> String {
        self.superuser().url()
    }

    pub fn owner_url(&self) -> String {
        self.owner().url()
    }

    pub fn server_url(&self) -> String {
        self.server().url()
    }

    fn connect_info(&self, user: &str, password: &str, database: &str) -> ConnectInfo {
        ConnectInfo {
            socket_dir: self.layout.socket_dir.clone(),
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.to_owned(),
            port: PORT,
        }
    }

    /// Process id of the living postmaster.
    pub fn postmaster_pid(&self) -> Option<i32> {
        postmaster::running(&self.layout).map(|file| file.pid)
    }

    pub fn is_running(&self) -> bool {
        self.postmaster_pid().is_some()
    }

    /// True if the last server ended in order, with its last checkpoint written: somebody meant it to.
    pub fn was_stopped_in_order(&self) -> bool {
        postmaster::shut_down_in_order(&self.layout)
    }

    /// Creates a database owned by `tenantry_owner` that `tenantry_server` may enter, as a copy of `template` if
    /// one is given. Waits (bounded) for sessions that still use the template. Reach it by
    /// `cluster.owner().with_database(name)`.
    ///
    /// # Errors
    /// [`Error::BadDatabaseName`], [`Error::Sql`] (also when it exists).
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), Error> {
        let superuser = self.superuser();
        let client = roles::connect(&superuser).await?;
        roles::create_database(&superuser, &client, name, template).await
    }

    /// Drops a database and ends its sessions; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::BadDatabaseName`], [`Error::Sql`].
    pub async fn drop_database(&self, name: &str) -> Result<(), Error> {
        roles::drop_database(&roles::connect(&self.superuser()).await?, name).await
    }

    /// Stops the server and waits for its end; false when none was running.
    ///
    /// # Errors
    /// [`Error::NotStopped`] after five minutes, [`Error::Locked`].
    pub async fn stop(&self, mode: StopMode) -> Result<bool, Error> {
        self.locked(move |layout| postmaster::stop(layout, mode, STOP_WAIT)).await
    }

    /// Kills the postmaster and all its processes with SIGKILL, as a power failure would; false when none was
    /// running. For crash tests.
    ///
    /// # Errors
    /// [`Error::NotStopped`], [`Error::Locked`].
    pub async fn kill_hard(&self) -> Result<bool, Error> {
        self.locked(postmaster::kill_hard).await
    }

    /// Stops the server at once and removes everything the cluster consists of, data and passwords included.
    ///
    /// # Errors
    /// [`Error::NotStopped`], [`Error::Locked`], [`Error::Io`].
    pub async fn destroy(self) -> Result<(), Error> {
        self.locked(|layout| {
            postmaster::stop(layout, StopMode::Immediate, STOP_WAIT)?;
            let inside = layout.data_dir.join("postgres");
            for dir in layout.outside().into_iter().chain([inside.as_path()]) {
                match std::fs::remove_dir_all(dir) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(io("cannot remove", dir)(error));
                    }
                    _ => {}
                }
            }
            let _ = std::fs::remove_file(layout.data_dir.join("postgres.home"));
            Ok(())
        })
        .await
    }

    async fn locked<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let layout = self.layout.clone();
        blocking(move || {
            let _lock = lock(&layout.data_dir, &Options::default())?;
            work(&layout)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// Takes the lock of `data_dir`; it is free again when the file is closed, also by the death of the process.
fn lock(data_dir: &Path, options: &Options) -> Result<File, Error> {
    let path = Layout::lock_file(data_dir);
    let mut open = OpenOptions::new();
    let file = open.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            let detail = format!("permission denied, we are uid {}", rustix::process::geteuid().as_raw());
            return Error::NotOurs { path: data_dir.to_owned(), detail };
        }
        io("cannot open", &path)(error)
    })?;
    let since = Instant::now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(io("cannot lock", &path)(error)),
            Err(TryLockError::WouldBlock) if since.elapsed() > LOCK_WAIT => {
                return Err(Error::Locked { path, waited_s: LOCK_WAIT.as_secs() });
            }
            Err(TryLockError::WouldBlock) => {
                if !told && since.elapsed() > LOCK_TELL_AFTER {
                    told = true;
                    options.progress.tell("Waiting for another process that starts or stops this cluster");
                }
                std::thread::sleep(LOCK_POLL);
            }
        }
    }
}
