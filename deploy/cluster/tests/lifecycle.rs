//! Start, reattach, stop, crash: with a real PostgreSQL.

mod scratch;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Stdio},
};

use cluster::{Cluster, Error, StopMode};
use scratch::{Scratch, ask, binary, connect, options};

#[tokio::test]
async fn a_fresh_start_gives_a_durable_private_cluster() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    let superuser = cluster.superuser();
    for (setting, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
        ("shared_buffers", "16MB"),
        ("max_wal_size", "2GB"),
        ("TimeZone", "UTC"),
    ] {
        assert_eq!(ask(&superuser, &format!("SHOW {setting}")).await, value, "{setting}");
    }
    let ways = "SELECT string_agg(DISTINCT type || ' ' || auth_method, ', ' ORDER BY type || ' ' || auth_method) \
                FROM pg_hba_file_rules";
    assert_eq!(ask(&superuser, ways).await, "host scram-sha-256, local scram-sha-256");
    assert_no_tcp(&cluster);

    let mut stranger = cluster.superuser();
    stranger.password = "guessed".into();
    assert!(connect(&stranger).await.is_err(), "a wrong password was let in");
}

/// None of the sockets the postmaster has open is a TCP one.
fn assert_no_tcp(cluster: &Cluster) {
    let pid = cluster.postmaster_pid().unwrap();
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mine: Vec<String> = links
        .filter_map(|link| {
            fs::read_link(link.ok()?.path()).ok()?.to_str()?.strip_prefix("socket:[").map(str::to_owned)
        })
        .map(|inode| inode.trim_end_matches(']').to_owned())
        .collect();
    assert!(!mine.is_empty(), "it listens on its Unix socket");
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let inode = line.split_ascii_whitespace().nth(9).unwrap();
            assert!(!mine.iter().any(|own| own == inode), "listens on {line}");
        }
    }
}

/// CC-SEC-003
#[tokio::test]
async fn passwords_lie_in_files_that_only_we_can_read() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    let secrets = cluster.pgdata().with_file_name("secrets");
    let files: Vec<_> = fs::read_dir(&secrets).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600, "{}", file.display());
        assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
    }
    let home = cluster.pgdata().parent().unwrap();
    let left: Vec<_> = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("pgdata.new")), "{left:?}");
}

#[tokio::test]
async fn a_second_start_reattaches_and_a_stop_keeps_the_data() {
    let scratch = Scratch::new();
    let first = scratch.ensure().await;
    write_marker(&first).await;
    let second = scratch.ensure().await;
    assert_eq!(second.postmaster_pid(), first.postmaster_pid());
    let first_pid = first.postmaster_pid().unwrap();

    assert!(!first.was_stopped_in_order());
    assert!(first.stop(StopMode::Fast).await.unwrap());
    assert!(!first.is_running() && first.was_stopped_in_order());
    assert!(!first.stop(StopMode::Fast).await.unwrap(), "a second stop finds nothing to do");
    assert!(Cluster::open(&scratch.data_dir).unwrap().is_some(), "it is there although it is down");

    let third = scratch.ensure().await;
    assert_ne!(third.postmaster_pid().unwrap(), first_pid);
    assert_marker(&third).await;
    assert_eq!(third.owner_url(), first.owner_url(), "passwords are kept");
}

#[tokio::test]
async fn what_was_committed_survives_a_hard_kill() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    write_marker(&cluster).await;
    assert!(cluster.kill_hard().await.unwrap());
    assert!(!cluster.is_running() && !cluster.was_stopped_in_order());
    assert_marker(&scratch.ensure().await).await;
}

#[tokio::test]
async fn a_killed_postmaster_whose_backends_still_run_is_replaced() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    write_marker(&cluster).await;
    let busy = connect(&cluster.owner()).await.unwrap();
    let busy = tokio::spawn(async move { busy.batch_execute("SELECT pg_sleep(600)").await });
    let pid = rustix::process::Pid::from_raw(cluster.postmaster_pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_marker(&scratch.ensure().await).await;
    assert!(busy.await.unwrap().is_err());
}

/// After a reboot, or in a container, the number in a left-over postmaster.pid may be another program's.
#[tokio::test]
async fn a_stale_pid_file_with_a_living_number_does_not_block_the_start() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    cluster.kill_hard().await.unwrap();
    for file in [cluster.pgdata().join("postmaster.pid"), cluster.socket_dir().join(".s.PGSQL.5432.lock")] {
        let text = fs::read_to_string(&file).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    }
    assert!(!cluster.is_running(), "this test is no postmaster");
    scratch.ensure().await;
}

#[tokio::test]
async fn processes_that_start_at_once_get_one_cluster() {
    let scratch = Scratch::new();
    let start = || scratch.command("start").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let starts = [start(), start(), start()];
    let mut answers: Vec<String> = Vec::new();
    for child in starts {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        answers.push(String::from_utf8(output.stdout).unwrap());
    }
    assert!(answers[0].starts_with("running, process "));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // The starters are gone; the server has a session of its own and lives on.
    let cluster = Cluster::open(&scratch.data_dir).unwrap().unwrap();
    let pid = cluster.postmaster_pid().expect("it outlives its starters");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat[stat.rfind(')').unwrap()..].split_ascii_whitespace().nth(4).unwrap().to_owned();
    let mine = fs::read_to_string("/proc/self/stat").unwrap();
    assert_ne!(mine[mine.rfind(')').unwrap()..].split_ascii_whitespace().nth(4).unwrap(), session);
}

#[tokio::test]
async fn a_killed_initialisation_does_not_block_the_next() {
    let scratch = Scratch::new();
    let mut start = scratch.command("start").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let home = scratch.data_dir.join("postgres");
    let begun = || {
        let entries = fs::read_dir(&home).ok()?;
        entries.filter_map(Result::ok).find(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("pgdata.new") && entry.path().join("PG_VERSION").exists()
        })
    };
    while begun().is_none() {
        assert!(start.try_wait().unwrap().is_none(), "it was killed too late");
        tokio::task::yield_now().await;
    }
    start.kill().unwrap();
    start.wait().unwrap();
    assert!(Cluster::open(&scratch.data_dir).unwrap().is_none(), "half a cluster is none");
    let cluster = scratch.ensure().await;
    assert_eq!(ask(&cluster.server(), "SELECT current_user::text").await, "tenantry_server");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_one_elsewhere() {
    let scratch = Scratch::below(&"long/".repeat(30));
    let cluster = scratch.ensure().await;
    assert!(!cluster.socket_dir().starts_with(&scratch.data_dir));
    let socket_dir = fs::metadata(cluster.socket_dir()).unwrap();
    assert_eq!(socket_dir.mode() & 0o777, 0o700);
    let found = Cluster::open(&scratch.data_dir).unwrap().unwrap();
    assert_eq!(found.socket_dir(), cluster.socket_dir(), "others find it too");

    // What is in /tmp goes with a reboot.
    cluster.stop(StopMode::Fast).await.unwrap();
    fs::remove_dir_all(cluster.socket_dir()).unwrap();
    let again = scratch.ensure().await;
    assert_eq!(ask(&again.server(), "SELECT 'here'").await, "here");

    let outside = again.socket_dir().to_owned();
    again.destroy().await.unwrap();
    assert!(!outside.exists());
}

/// As root, the server's user cannot enter root's home; the data then goes where it can.
#[tokio::test]
async fn a_data_directory_below_a_closed_one_works() {
    let scratch = Scratch::below("closed");
    let closed = scratch.data_dir.parent().unwrap();
    fs::create_dir_all(closed).unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
    let cluster = scratch.ensure().await;
    assert_eq!(cluster.pgdata().starts_with(&scratch.data_dir), !is_root());
    assert_eq!(scratch.ensure().await.postmaster_pid(), cluster.postmaster_pid());
    let pgdata = cluster.pgdata().to_owned();
    cluster.destroy().await.unwrap();
    assert!(!pgdata.exists());
    assert!(Cluster::open(&scratch.data_dir).unwrap().is_none());
}

/// Not as root every other test shows it.
#[tokio::test]
async fn an_ordinary_user_runs_a_cluster_of_its_own() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = root.path().join("cluster");
    fs::copy(binary(), &copy).unwrap();
    let data_dir = root.path().join("data");
    let run = |subcommand: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(subcommand);
        command.env("HOME", "/nonexistent").arg("--data-dir").arg(&data_dir).current_dir("/");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["start"]).starts_with("running"));
    // Root then uses what it finds as the user it belongs to.
    let cluster = Cluster::ensure(&data_dir, options()).await.unwrap();
    let process = fs::metadata(format!("/proc/{}", cluster.postmaster_pid().unwrap())).unwrap();
    assert_eq!(process.uid(), 65534);
    assert_eq!(run(&["stop"]), "Stopped.\n");
    cluster.destroy().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_cannot_start_says_why() {
    let scratch = Scratch::new();
    let cluster = scratch.ensure().await;
    cluster.stop(StopMode::Fast).await.unwrap();
    let refused = Cluster::ensure(&scratch.data_dir, options().set("max_connections", "many")).await;
    let Err(Error::StartFailed { tail, .. }) = refused else { panic!("{refused:?}") };
    assert!(tail.contains("max_connections"), "{tail}");
    scratch.ensure().await;
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

async fn write_marker(cluster: &Cluster) {
    let client = connect(&cluster.owner()).await.unwrap();
    client
        .batch_execute("CREATE TABLE marker (note text); INSERT INTO marker VALUES ('kept')")
        .await
        .unwrap();
}

async fn assert_marker(cluster: &Cluster) {
    assert_eq!(ask(&cluster.owner(), "SELECT note FROM marker").await, "kept");
}
