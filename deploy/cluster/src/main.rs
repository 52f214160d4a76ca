//! `cluster`: starts, stops and looks into the private PostgreSQL cluster by hand.

use std::{io::IsTerminal, os::unix::process::CommandExt, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use cluster::{Cluster, ConnectInfo, Error, Options, Progress, StopMode};

/// The private PostgreSQL cluster of Tenantry.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where the cluster lives [default: /var/lib/tenantry for root, else ~/.local/share/tenantry]
    #[arg(long, env = "TENANTRY_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the cluster, making it first if there is none
    Start,
    /// Stop the cluster; its data stays
    Stop {
        /// How open sessions end
        #[arg(long, value_enum, default_value_t = Mode::Fast)]
        mode: Mode,
    },
    /// Tell whether the cluster runs; exit code 3 if it does not
    Status,
    /// Print a connection URL. It holds a password
    Url(Role),
    /// Open psql, passing on further arguments
    Psql {
        #[command(flatten)]
        role: Role,
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Stop the cluster and remove it with everything in it
    Destroy {
        /// Confirms that all data is to go
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(clap::Args)]
struct Role {
    /// Who to connect as
    #[arg(long = "role", value_enum, default_value_t = RoleName::Owner)]
    name: RoleName,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Owner,
    Server,
    Superuser,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Smart,
    Fast,
    Immediate,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let data_dir = arguments.data_dir.unwrap_or_else(cluster::default_data_dir);
    let existing =
        || Cluster::open(&data_dir)?.ok_or_else(|| Error::NoCluster { data_dir: data_dir.clone() });
    match arguments.command {
        Command::Start => {
            let options =
                Options { progress: Progress::new(|message| eprintln!("{message}")), ..Options::default() };
            let cluster = Cluster::ensure(&data_dir, options).await?;
            print_status(&cluster);
        }
        Command::Stop { mode } => {
            let mode = match mode {
                Mode::Smart => StopMode::Smart,
                Mode::Fast => StopMode::Fast,
                Mode::Immediate => StopMode::Immediate,
            };
            let stopped = existing()?.stop(mode).await?;
            println!("{}", if stopped { "Stopped." } else { "It was not running." });
        }
        Command::Status => {
            let cluster = existing()?;
            if !cluster.is_running() {
                println!("not running: {}", Error::NotRunning { data_dir });
                return Ok(ExitCode::from(3));
            }
            print_status(&cluster);
        }
        Command::Url(role) => {
            let cluster = existing()?;
            println!("{}", role.of(&cluster).url());
            if std::io::stdout().is_terminal() {
                eprintln!("(this URL holds a password)");
            }
        }
        Command::Psql { role, arguments } => return psql(&existing()?, &role, &arguments),
        Command::Destroy { yes: _ } => {
            existing()?.destroy().await?;
            println!("Removed.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_status(cluster: &Cluster) {
    let pid = cluster.postmaster_pid().map_or_else(|| "none".to_owned(), |pid| pid.to_string());
    println!("running, process {pid}");
    println!("data    {}", cluster.pgdata().display());
    println!("socket  {}", cluster.socket_dir().display());
    println!("log     {}", cluster.log_file().display());
    println!("next    cluster psql --data-dir {}", cluster.data_dir().display());
}

/// Becomes psql; the password goes through the environment, which only this user can read.
fn psql(cluster: &Cluster, role: &Role, arguments: &[String]) -> Result<ExitCode> {
    if !cluster.is_running() {
        return Err(Error::NotRunning { data_dir: cluster.data_dir().to_owned() }.into());
    }
    let to = role.of(cluster);
    let psql = cluster::find_binaries(Some(cluster.data_dir()))?.psql();
    let failed = std::process::Command::new(&psql)
        .env("PGHOST", &to.socket_dir)
        .env("PGPORT", to.port.to_string())
        .env("PGUSER", &to.user)
        .env("PGPASSWORD", &to.password)
        .env("PGDATABASE", &to.database)
        .args(arguments)
        .exec();
    Err(failed).with_context(|| format!("cannot run {}", psql.display()))
}

impl Role {
    fn of(&self, cluster: &Cluster) -> ConnectInfo {
        match self.name {
            RoleName::Owner => cluster.owner(),
            RoleName::Server => cluster.server(),
            RoleName::Superuser => cluster.superuser(),
        }
    }
}
