//! The one integration binary: everything that needs a database, a server or a process of its own.

mod app;
mod database_schema;
mod db;
mod docs;
mod engine_postgres;
mod feeds;
mod http_provisioning;
mod journal_contract;
mod journal_postgres;
mod layout;
mod ledger;
mod process_manager;
mod projection_audit;
mod projection_dead_letter;
mod projection_follow;
mod projection_lists;
mod projection_memory;
mod projection_read_models;
mod projection_rebuild;
mod projection_tally;
mod projection_world;
mod provisioning;
mod replay_cli;
mod server_crash;
mod traceability;
