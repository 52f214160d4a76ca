//! A cluster of a test's own, gone with the test also when it fails.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use cluster::{Cluster, ConnectInfo, Options};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

pub struct Scratch {
    _root: TempDir,
    pub data_dir: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        Self::below("")
    }

    /// The data directory lies at `relative` below a temporary directory that everybody can enter.
    pub fn below(relative: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data_dir = root.path().join(relative).join("data");
        Self { _root: root, data_dir }
    }

    pub async fn ensure(&self) -> Cluster {
        Cluster::ensure(&self.data_dir, options()).await.unwrap()
    }

    /// The binary of this crate on this data directory.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(subcommand).arg("--data-dir").arg(&self.data_dir);
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.command("destroy").arg("--yes").output();
    }
}

pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cluster"))
}

pub fn options() -> Options {
    Options::default().set("shared_buffers", "16MB")
}

pub async fn connect(to: &ConnectInfo) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&to.url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub async fn ask(to: &ConnectInfo, query: &str) -> String {
    connect(to).await.unwrap().query_one(query, &[]).await.unwrap().get(0)
}
