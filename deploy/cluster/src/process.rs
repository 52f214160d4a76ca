//! The processes of a cluster, as the operating system shows them.
//!
//! A number in `postmaster.pid` proves little: after a crash or a reboot another program may have it, and in a
//! container whose first process reaps nobody a dead postmaster stays visible as a zombie. So a process counts
//! only when it lives and its working directory is the data directory, which PostgreSQL makes sure of.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal};

use crate::account::Account;

/// Whether `pid` is a living process of the cluster in `pgdata`.
pub(crate) fn belongs(pid: i32, pgdata: &Path) -> bool {
    let Some(process) = Pid::from_raw(pid) else { return false };
    if !has_proc() {
        return rustix::process::test_kill_process(process).is_ok();
    }
    if matches!(state_and_parent(pid), None | Some(('Z' | 'X', _))) {
        return false;
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(directory) => directory == pgdata,
        // Root without CAP_SYS_PTRACE, as in most containers, may not ask; how it was started then tells.
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied && started_with(pid, pgdata),
    }
}

/// Whether anything at all, be it a zombie or another program, answers to `pid`.
pub(crate) fn number_in_use(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// All living processes of the cluster in `pgdata`, also those whose postmaster is gone; nothing where there is
/// no `/proc`.
pub(crate) fn of_cluster(pgdata: &Path, account: &Account) -> Vec<i32> {
    let directories: Vec<(i32, Option<PathBuf>)> = all_pids()
        .into_iter()
        .filter(|pid| is_postgres(*pid) && !is_dead(*pid))
        .map(|pid| (pid, fs::read_link(format!("/proc/{pid}/cwd")).ok()))
        .collect();
    let mut found: Vec<i32> =
        directories.iter().filter(|(_, dir)| dir.as_deref() == Some(pgdata)).map(|(pid, _)| *pid).collect();
    let unknown: Vec<i32> =
        directories.iter().filter(|(_, dir)| dir.is_none()).map(|(pid, _)| *pid).collect();
    if !unknown.is_empty() && account.is_other_user() {
        // Their own user may ask where we, root without CAP_SYS_PTRACE, may not.
        let paths = unknown.iter().map(|pid| format!("/proc/{pid}/cwd"));
        let output = account.command(Path::new("find")).args(paths).args(["-printf", "%p\\t%l\\n"]).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| {
            let (path, directory) = line.split_once('\t')?;
            (Path::new(directory) == pgdata).then(|| path.split('/').nth(2)?.parse::<i32>().ok())?
        }));
    }
    found
}

pub(crate) fn children(parent: i32) -> Vec<i32> {
    let is_child = |pid: &i32| state_and_parent(*pid).is_some_and(|(_, ppid)| ppid == parent);
    all_pids().into_iter().filter(is_child).collect()
}

/// Whether the process is gone or a zombie.
pub(crate) fn is_dead(pid: i32) -> bool {
    if has_proc() {
        matches!(state_and_parent(pid), None | Some(('Z' | 'X', _)))
    } else {
        !number_in_use(pid)
    }
}

/// Sends a signal; a process that is already gone is no error.
pub(crate) fn send(pid: i32, signal: Signal) {
    if let Some(process) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(process, signal);
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the command line holds `-D pgdata`, as pg_ctl starts a postmaster.
fn started_with(pid: i32, pgdata: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|argument| argument == pgdata.as_os_str().as_bytes())
}

fn is_postgres(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"))
}

/// proc(5): `pid (name) state ppid …`; the name may hold anything, so reading begins behind its last parenthesis.
fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_by_its_working_directory_not_by_its_number() {
        let me = std::process::id() as i32;
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert!(belongs(me, &here));
        assert!(!belongs(me, Path::new("/somewhere/else")));
        assert!(number_in_use(me));
    }

    #[test]
    fn a_zombie_is_dead_though_its_number_is_in_use() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        while !is_dead(pid) {
            std::thread::yield_now();
        }
        assert!(number_in_use(pid), "not reaped yet, so PostgreSQL would take it for alive");
        child.wait().unwrap();
    }
}
