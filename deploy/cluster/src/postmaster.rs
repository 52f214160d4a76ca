//! Initialising, starting and stopping the server process. Everything here blocks and is called with the
//! cluster's lock held.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Error, Options,
    account::Account,
    binaries::Binaries,
    error::io,
    layout::Layout,
    options, process,
    secrets::{self, SUPERUSER},
};

/// How PostgreSQL ends its sessions when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for every client to leave.
    Smart,
    /// Rolls back what is open and writes a checkpoint. The usual one.
    Fast,
    /// Ends without a checkpoint; the next start goes through crash recovery.
    Immediate,
}

const POLL: Duration = Duration::from_millis(50);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Backends notice the death of their postmaster at once unless they are computing.
const ORPHANS_WAIT: Duration = Duration::from_secs(30);
const ORPHANS_PATIENCE: Duration = Duration::from_secs(5);
/// Starts that fail because a former server has not quite gone are repeated this often.
const START_ATTEMPTS: u32 = 20;

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub pid: i32,
    /// `starting`, `stopping`, `ready` or `standby`.
    pub status: String,
}

impl PidFile {
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let pid = lines.first()?.trim().parse().ok()?;
        Some(Self { pid, status: lines.get(7).map(|status| status.trim().to_owned()).unwrap_or_default() })
    }
}

/// The living postmaster of the cluster, if there is one.
pub(crate) fn running(layout: &Layout) -> Option<PidFile> {
    let file = read_pid_file(layout)?;
    process::belongs(file.pid, &layout.pgdata).then_some(file)
}

fn read_pid_file(layout: &Layout) -> Option<PidFile> {
    PidFile::parse(&fs::read_to_string(layout.pgdata.join("postmaster.pid")).ok()?)
}

/// True if the control file says that the last server ended in order. Its state is a number behind the system's
/// identifier and two versions (`ControlFileData` in PostgreSQL's `pg_control.h`, the same in all versions there are).
pub(crate) fn shut_down_in_order(layout: &Layout) -> bool {
    const STATE: std::ops::Range<usize> = 16..20;
    const SHUT_DOWN: u32 = 1;
    let Ok(control) = fs::read(layout.pgdata.join("global/pg_control")) else { return false };
    let state = control.get(STATE).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    state == Some(SHUT_DOWN)
}

/// Major version of the data, or `None` before the first initialisation.
pub(crate) fn data_major(layout: &Layout) -> Result<Option<u32>, Error> {
    let file = layout.pgdata.join("PG_VERSION");
    match fs::read_to_string(&file) {
        // Majors are whole numbers since 10; anything older reads as 9 and is refused by version.
        Ok(text) => Ok(text.trim().split('.').next().and_then(|major| major.parse().ok())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("cannot read", &file)(error)),
    }
}

/// Initialises the data in a directory of its own and renames it, so that a killed `initdb` leaves nothing that
/// could be taken for a cluster.
pub(crate) fn initialise(
    layout: &Layout,
    account: &Account,
    binaries: &Binaries,
    options: &Options,
) -> Result<(), Error> {
    options
        .progress
        .tell(format!("Initialising a private database in {} ({binaries})", layout.pgdata.display()));
    discard_unfinished(&layout.home);
    let fresh = layout.home.join(format!("{UNFINISHED}{}", hex::encode(rand::random::<[u8; 4]>())));
    crate::layout::make_dir(&fresh, 0o700)?;
    // initdb wants an empty directory, so the password waits beside it, in a file of the user it runs as.
    let password_file = fresh.with_extension("password");
    let password = secrets::password(&layout.secrets, SUPERUSER)?;
    secrets::write_durably(&password_file, format!("{password}\n").as_bytes(), 0o600)?;
    account.own(&password_file)?;
    account.own(&fresh)?;

    let initdb = |locale: &str| {
        let locale = format!("--locale={locale}");
        let password_file = format!("--pwfile={}", password_file.display());
        let fixed = [
            "--encoding=UTF8",
            // By code point, as C.UTF-8 orders too, but compared as bytes: every key here is or holds text.
            "--lc-collate=C",
            "--data-checksums",
            "--auth-local=scram-sha-256",
            "--auth-host=scram-sha-256",
            "--username=postgres",
            "--pgdata",
        ];
        let mut arguments: Vec<&OsStr> = vec![OsStr::new(&locale), OsStr::new(&password_file)];
        arguments.extend(fixed.map(OsStr::new));
        arguments.push(fresh.as_os_str());
        account.run(&binaries.initdb(), &arguments)
    };
    let done = match initdb("C.UTF-8") {
        // Systems without that locale; C orders UTF-8 text by code point just the same.
        Err(Error::CommandFailed { stderr, .. }) if stderr.contains("locale") => initdb("C"),
        done => done,
    };
    let _ = fs::remove_file(&password_file);
    if done.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    done?;

    let config = fresh.join("postgresql.conf");
    let mut text = fs::read_to_string(&config).map_err(io("cannot read", &config))?;
    text.push_str(&format!("\ninclude_if_exists = '{CONFIG}'\n"));
    secrets::write_durably(&config, text.as_bytes(), 0o600)?;
    account.own(&config)?;
    fs::rename(&fresh, &layout.pgdata).map_err(io("cannot rename to", &layout.pgdata))?;
    secrets::sync_parent(&layout.pgdata).map_err(io("cannot make durable", &layout.pgdata))
}

const UNFINISHED: &str = "pgdata.new.";
const CONFIG: &str = "tenantry.conf";

/// Removes what killed initialisations left. A leftover still being written to by an orphaned initdb cannot hurt,
/// as each has a name of its own; so failing to remove it is no failure.
fn discard_unfinished(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
}

/// Starts the server, or waits for the one that is there, until it accepts connections.
pub(crate) fn start(
    layout: &Layout,
    account: &Account,
    binaries: &Binaries,
    options: &Options,
) -> Result<(), Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        if let Some(found) = running(layout) {
            if found.status != "stopping" {
                return wait_ready(layout, found.pid, options);
            }
            options.progress.tell("Waiting for the stopping PostgreSQL to end");
            wait_dead(found.pid, options.start_timeout)?;
        }
        await_orphans(layout, account, options)?;
        remove_misleading_locks(layout);
        match launch(layout, account, binaries, options) {
            // A moment too early: the memory or the lock of the former server was still there.
            Err(Error::StartFailed { tail, .. })
                if attempts < START_ATTEMPTS
                    && (tail.contains("is still in use") || tail.contains("already exists")) =>
            {
                options.progress.tell("A former PostgreSQL has not quite gone; trying again");
                std::thread::sleep(Duration::from_secs(1));
            }
            result => return result,
        }
    }
}

fn launch(layout: &Layout, account: &Account, binaries: &Binaries, options: &Options) -> Result<(), Error> {
    let config = layout.pgdata.join(CONFIG);
    secrets::write_durably(&config, options.render(&layout.socket_dir).as_bytes(), 0o600)?;
    account.own(&config)?;
    layout.rotate_log()?;
    options.progress.tell(format!("Starting PostgreSQL {} in {}", binaries.major, layout.pgdata.display()));

    // pg_ctl gives the postmaster a session of its own, so that it outlives us and our terminal.
    let log_before = fs::metadata(&layout.log).map_or(0, |log| log.len());
    let pg_ctl = binaries.pg_ctl();
    let mut child = account
        .command(&pg_ctl)
        .args([
            "start",
            "--silent",
            "--wait",
            "--timeout",
            &options.start_timeout.as_secs().max(1).to_string(),
        ])
        .args(["--options", &options::command_line()])
        .arg("--pgdata")
        .arg(&layout.pgdata)
        .arg("--log")
        .arg(&layout.log)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io("cannot run", &pg_ctl))?;
    let mut waiting = Waiting::new(options, "PostgreSQL is starting");
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io("cannot wait for", &pg_ctl))? {
            break status;
        }
        waiting.pause(&layout.log);
    };
    if status.success() {
        return Ok(());
    }
    if let Some(alive) = running(layout) {
        let waited_s = options.start_timeout.as_secs();
        return Err(Error::NotReady { pid: alive.pid, waited_s, log: layout.log.clone() });
    }
    let mut reason = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut reason);
    }
    let reason = reason.trim().to_owned();
    Err(Error::StartFailed { reason, log: layout.log.clone(), tail: tail(&layout.log, log_before) })
}

fn wait_ready(layout: &Layout, pid: i32, options: &Options) -> Result<(), Error> {
    let mut waiting = Waiting::new(options, "PostgreSQL is recovering");
    loop {
        match running(layout) {
            Some(found) if found.status == "ready" => return Ok(()),
            Some(_) => {}
            None => {
                let reason = format!("process {pid} ended while it was starting");
                let tail = tail(&layout.log, 0);
                return Err(Error::StartFailed { reason, log: layout.log.clone(), tail });
            }
        }
        if waiting.since.elapsed() > options.start_timeout {
            let waited_s = options.start_timeout.as_secs();
            return Err(Error::NotReady { pid, waited_s, log: layout.log.clone() });
        }
        waiting.pause(&layout.log);
    }
}

/// Waits until the processes of a killed postmaster are gone; they hold its shared memory. What computes on for
/// long is told to quit: nobody can receive its answer.
fn await_orphans(layout: &Layout, account: &Account, options: &Options) -> Result<(), Error> {
    let since = Instant::now();
    let mut told = false;
    loop {
        let pids = process::of_cluster(&layout.pgdata, account);
        if pids.is_empty() {
            return Ok(());
        }
        if since.elapsed() > ORPHANS_WAIT {
            return Err(Error::Orphans { pids, pgdata: layout.pgdata.clone() });
        }
        if !told && since.elapsed() > ORPHANS_PATIENCE {
            told = true;
            options.progress.tell(format!("Ending the processes {pids:?} of a killed PostgreSQL"));
            pids.iter().for_each(|pid| process::send(*pid, Signal::QUIT));
        }
        std::thread::sleep(POLL);
    }
}

/// Removes lock files whose number now names a zombie or another program, which PostgreSQL would take for a
/// living postmaster and refuse to start. Those of a number nobody has are left to PostgreSQL itself.
fn remove_misleading_locks(layout: &Layout) {
    if let Some(file) = read_pid_file(layout)
        && process::number_in_use(file.pid)
    {
        let _ = fs::remove_file(layout.pgdata.join("postmaster.pid"));
    }
    let mut socket_lock = layout.socket().into_os_string();
    socket_lock.push(".lock");
    if let Ok(text) = fs::read_to_string(&socket_lock)
        && PidFile::parse(&text).is_some_and(|file| process::number_in_use(file.pid))
    {
        let _ = fs::remove_file(&socket_lock);
        let _ = fs::remove_file(layout.socket());
    }
}

/// Stops the server and waits for its end. False when none was running.
pub(crate) fn stop(layout: &Layout, mode: StopMode, timeout: Duration) -> Result<bool, Error> {
    let Some(found) = running(layout) else { return Ok(false) };
    let signal = match mode {
        StopMode::Smart => Signal::TERM,
        StopMode::Fast => Signal::INT,
        StopMode::Immediate => Signal::QUIT,
    };
    process::send(found.pid, signal);
    wait_dead(found.pid, timeout)?;
    Ok(true)
}

/// Kills the postmaster and all its children without warning, as a power failure would.
pub(crate) fn kill_hard(layout: &Layout) -> Result<bool, Error> {
    let Some(found) = running(layout) else { return Ok(false) };
    // Stopped first, it cannot notice the death of its children, nor start new ones.
    process::send(found.pid, Signal::STOP);
    let children = process::children(found.pid);
    process::send(found.pid, Signal::KILL);
    children.iter().for_each(|pid| process::send(*pid, Signal::KILL));
    for pid in children.into_iter().chain([found.pid]) {
        wait_dead(pid, Duration::from_secs(30))?;
    }
    Ok(true)
}

fn wait_dead(pid: i32, timeout: Duration) -> Result<(), Error> {
    let since = Instant::now();
    while !process::is_dead(pid) {
        if since.elapsed() > timeout {
            return Err(Error::NotStopped { pid, waited_s: timeout.as_secs() });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Waits in small steps and says every few seconds what the server is at.
struct Waiting<'a> {
    options: &'a Options,
    what: &'static str,
    since: Instant,
    told: Instant,
}

impl<'a> Waiting<'a> {
    fn new(options: &'a Options, what: &'static str) -> Self {
        let now = Instant::now();
        Self { options, what, since: now, told: now }
    }

    fn pause(&mut self, log: &Path) {
        std::thread::sleep(POLL);
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let last = tail(log, 0).lines().last().unwrap_or_default().to_owned();
            self.options.progress.tell(format!(
                "{} ({} s): {last}",
                self.what,
                self.since.elapsed().as_secs()
            ));
        }
    }
}

/// The last lines of the log, not before byte `from`.
fn tail(log: &Path, from: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(0).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[from..]);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_tells_the_process_and_its_status() {
        let text = "4711\n/data\n1700000000\n5432\n/run\n\n  1234  5\nready   \n";
        assert_eq!(PidFile::parse(text), Some(PidFile { pid: 4711, status: "ready".into() }));
        assert_eq!(PidFile::parse("4711\n").unwrap().status, "", "written before the status is known");
        assert_eq!(PidFile::parse(""), None);
    }
}
