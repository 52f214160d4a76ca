//! The command line.

mod app;
mod keys;
mod migrate;
mod serve;
mod token;

use clap::{Parser, Subcommand};

use crate::settings::Settings;

pub use app::AppArgs;
pub use keys::KeysArgs;
pub use migrate::MigrateArgs;
pub use token::TokenArgs;

/// A control plane for companies that run several B2B SaaS applications: tenants, people, applications, flags, and an
/// audit trail that proves what happened.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves the API; sets up whatever is missing: a private PostgreSQL, the schema, keys
    ///
    /// Stops on SIGTERM and SIGINT, after what is under way has ended.
    #[command(after_long_help = MASTER_KEY_HELP)]
    Serve(Box<Settings>),
    /// Issues a short-lived access token and prints it, and nothing else, on standard output
    ///
    /// Asks the running server through its local socket, which only its user and root may open. When no server runs,
    /// it signs with the keys in the database. Either way it is in the audit trail.
    #[command(after_long_help = MASTER_KEY_HELP)]
    Token(TokenArgs),
    /// Registers, lists and disables applications and their API keys, through the API
    App(AppArgs),
    /// Prints the API as OpenAPI 3.1
    Openapi,
    /// Looks at the schema, brings it forward or takes it back
    Migrate(MigrateArgs),
    /// Looks after the keys under which secrets and personal data are kept
    #[command(after_long_help = MASTER_KEY_HELP)]
    Keys(KeysArgs),
}

const MASTER_KEY_HELP: &str = "The master key itself may be given by the variable TENANTRY_MASTER_KEY (64 hex digits) \
instead of a file. There is no flag for it: command lines are visible to everybody on a machine.";

/// Carries out a command.
///
/// # Errors
/// What went wrong and what to do, for people.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(settings) => serve::run(*settings).await,
        Command::Token(args) => token::run(args).await,
        Command::App(args) => app::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Openapi => {
            print!("{}", crate::openapi::document_text());
            Ok(())
        }
        Command::Migrate(args) => migrate::run(args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Every command, flag and argument says what it is for.
    #[test]
    fn help_is_complete() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
