//! What the figures were measured on; figures without it mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::server::Private;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// The file system the journal lies on.
    pub file_system: String,
    pub postgresql: String,
    pub settings: Vec<(String, String)>,
    /// Of this repository; with `+` if it had changes that were not committed.
    pub commit: String,
}

impl Machine {
    pub async fn describe(server: &Private, data_dir: &Path) -> Result<Self> {
        let (postgresql, settings) = server.description().await?;
        Ok(Self {
            cpu: line("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: line("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
                .map_or(0.0, |kib| (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0),
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: output("df", &["--output=fstype", &data_dir.to_string_lossy()])
                .lines()
                .last()
                .unwrap_or("unknown file system")
                .to_owned(),
            postgresql,
            settings,
            commit: commit(),
        })
    }
}

/// How many processes wanted a core in the last minute, on average.
pub fn load_average() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

/// Of this process, as /proc/self/status names it; 0 if it doesn't tell.
pub fn resident_bytes(name: &str) -> u64 {
    let kib = line("/proc/self/status", name).and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn commit() -> String {
    let id = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    match (id.is_empty(), changed) {
        (true, _) => "unknown".to_owned(),
        (false, true) => format!("{id}+"),
        (false, false) => id,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The value of `name: value` in a file of such lines.
fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// What a command says, or nothing if it can't be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    if output.status.success() {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    } else {
        String::new()
    }
}
