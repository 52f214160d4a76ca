//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use engine::projection::Projection;
use kernel::StreamId;
use uuid::Uuid;

/// Rebuilds and verifies Tenantry's read models from the journal, and shows what a stream holds.
///
/// The server may run meanwhile, and writes may go on. Exit codes: 0 fine; 1 a difference was found or something
/// failed; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "replay", version, max_term_width = 110)]
pub struct Args {
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Which database.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Where the server keeps its private PostgreSQL cluster. [default: as `tenantry serve` has it]
    #[arg(long, env = "TENANTRY_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// A given PostgreSQL server instead.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", global = true, hide_env_values = true)]
    pub database_url: Option<String>,
    /// The same server as the role that owns the schema, if DATABASE_URL names the server's own role.
    #[arg(
        long,
        env = "TENANTRY_OWNER_DATABASE_URL",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub owner_database_url: Option<String>,
    /// The file with the master key that opens the events, if it is not in the data directory.
    #[arg(long, env = "TENANTRY_MASTER_KEY_FILE", value_name = "FILE", global = true)]
    pub master_key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Folds read models anew from position zero, compares with what serves, and swaps.
    ///
    /// The old one serves until the swap and is kept and fed after it, so that `rollback` loses nothing. A rebuild
    /// that was interrupted is continued.
    Rebuild {
        /// Which read models.
        #[arg(value_name = "NAME", value_parser = names(), required_unless_present = "all", conflicts_with = "all")]
        names: Vec<String>,
        /// All of them, in parallel.
        #[arg(long)]
        all: bool,
        /// Drop the old one after the swap. Then there is nothing to roll back to.
        #[arg(long)]
        drop_former: bool,
        /// Throw an interrupted rebuild away instead of continuing it: after the fold itself was mended.
        #[arg(long)]
        fresh: bool,
        /// Swap although the new rows differ from those that serve: when what serves is known to be wrong.
        #[arg(long)]
        accept_differences: bool,
        #[command(flatten)]
        batch: Batch,
    },
    /// Makes the read model serve again that served before the last rebuild.
    Rollback {
        #[arg(value_name = "NAME", value_parser = names())]
        name: String,
    },
    /// Folds into scratch tables and reports any difference from what serves, at the same position.
    Verify {
        /// Which read models; all of them if none is named.
        #[arg(value_name = "NAME", value_parser = names())]
        names: Vec<String>,
        #[command(flatten)]
        batch: Batch,
    },
    /// Prints a stream's events and the state they make, as JSON lines. Shows personal data.
    Inspect {
        /// Such as tenant/0192f0c1-6a00-7000-8000-000000000001; also user, membership, application.
        #[arg(value_name = "STREAM", value_parser = parse_stream)]
        stream: StreamId,
        /// Only as far as a sequence, or an RFC 3339 time.
        #[arg(long, value_name = "SEQUENCE|TIME")]
        at: Option<At>,
        /// Indented, for people.
        #[arg(long)]
        pretty: bool,
    },
    /// Lists the events that could not be folded and wait, or folds them anew.
    DeadLetters {
        /// Fold what waits in this read model, in order; exit code 1 if some must wait on.
        #[arg(long, value_name = "NAME", value_parser = names())]
        retry: Option<String>,
    },
    /// Lists the tables of read models that other versions of the binary left, or drops them; exit code 1 if there are some.
    ///
    /// A binary of another version may run beside this one, so that nothing is dropped until somebody says so. Once none
    /// does, nobody folds into its tables any more, and what is forgotten stays in them.
    Leftovers {
        /// Drop them all: no binary of another version runs, and none will be gone back to. Look at the list first. It is
        /// refused if a table that this binary has is there in a newer version; a read model that only a newer binary has
        /// looks like one that was given up.
        #[arg(long)]
        drop: bool,
    },
}

/// How much at a time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Batch {
    /// How many events go into one transaction.
    #[arg(long = "batch", value_name = "EVENTS", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub events: u32,
}

/// As far as where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Sequence(u64),
    Time(DateTime<Utc>),
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(sequence) = text.parse() {
            return Ok(Self::Sequence(sequence));
        }
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| "give a sequence such as 12, or a time such as 2026-11-21T09:00:00Z")?;
        Ok(Self::Time(time.with_timezone(&Utc)))
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(projections::all().iter().map(|projection| projection.name()))
}

/// The read models of these names, or all.
pub fn chosen(names: &[String]) -> Vec<Arc<dyn Projection>> {
    let wanted = |projection: &Arc<dyn Projection>| {
        names.is_empty() || names.iter().any(|name| name == projection.name())
    };
    projections::all().into_iter().filter(wanted).collect()
}

fn parse_stream(text: &str) -> Result<StreamId, String> {
    let types = crate::inspect::TYPES;
    let problem = || format!("a stream is one of {} with a slash and a UUID", types.join(", "));
    let (aggregate_type, id) = text.split_once('/').ok_or_else(problem)?;
    let aggregate_type = types.iter().find(|known| **known == aggregate_type).ok_or_else(problem)?;
    Ok(StreamId::new(aggregate_type, Uuid::try_parse(id).map_err(|_| problem())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn code(args: &[&str]) -> Option<i32> {
        let args = std::iter::once("replay").chain(args.iter().copied());
        Args::try_parse_from(args).err().map(|error| error.exit_code())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn wrong_usage_has_exit_code_2() {
        for wrong in [
            &["rebuild"][..],
            &["rebuild", "nothing_known"],
            &["rebuild", "role_directory", "--all"],
            &["rollback"],
            &["verify", "nothing_known"],
            &["inspect", "tenant"],
            &["inspect", "dragon/0192f0c1-6a00-7000-8000-000000000001"],
            &["inspect", "tenant/1"],
            &["inspect", "tenant/0192f0c1-6a00-7000-8000-000000000001", "--at", "noon"],
            &["rebuild", "role_directory", "--batch", "0"],
        ] {
            assert_eq!(code(wrong), Some(2), "{wrong:?}");
        }
        assert_eq!(code(&["rebuild", "role_directory", "audit_trail", "--drop-former"]), None);
        assert_eq!(code(&["rebuild", "--all"]), None);
    }

    #[test]
    fn a_place_in_a_stream_is_a_sequence_or_a_time() {
        assert_eq!("12".parse(), Ok(At::Sequence(12)));
        assert!(matches!("2026-11-21T09:00:00+09:00".parse(), Ok(At::Time(_))));
        assert!("-1".parse::<At>().is_err());
    }

    #[test]
    fn no_names_are_all_names() {
        assert_eq!(chosen(&[]).len(), projections::all().len());
        assert_eq!(chosen(&["role_directory".to_owned()]).len(), 1);
    }
}
