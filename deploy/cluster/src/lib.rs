//! A private PostgreSQL cluster: found, initialised, started, reattached and stopped, without anything to edit.
//!
//! [`Cluster::ensure`] is the whole of it for a server: it leaves a running cluster with the database `tenantry`
//! and the roles `tenantry_owner` (owns the schema, runs migrations) and `tenantry_server` (owns nothing), each
//! with a random password of its own. The cluster is durable, keeps checksums, is reached by a Unix socket only,
//! and survives the process that started it. As PostgreSQL refuses root, it runs as `postgres` when we are root.
//!
//! What this crate never does: switch off durability, listen on TCP, touch a cluster it did not make, or stop one
//! unasked.

mod account;
mod binaries;
mod connect;
mod error;
mod handle;
mod layout;
mod options;
mod postmaster;
mod process;
mod roles;
mod secrets;

pub use binaries::{Binaries, MINIMUM_MAJOR, find_binaries};
pub use connect::ConnectInfo;
pub use error::Error;
pub use handle::Cluster;
pub use layout::default_data_dir;
pub use options::{Options, Progress};
pub use postmaster::StopMode;

/// Names the socket file; nothing listens on TCP.
const PORT: u16 = 5432;
