//! The one integration binary: everything that needs a database, a server or a process of its own.

/// The simulation's aggregate, which the model knows too.
#[expect(dead_code, reason = "the model wishes for less than the simulation does")]
#[path = "../../../engine/tests/simulation/account.rs"]
mod account;
mod app;
mod caller;
mod contention;
mod crash;
mod database_schema;
mod db;
mod docs;
mod engine_postgres;
mod feeds;
mod forgetting;
mod http_applications;
mod http_audit;
mod http_bad_input;
mod http_flags;
mod http_openapi;
mod http_policies;
mod http_provisioning;
mod http_sign_in;
mod http_tenants;
mod http_users;
mod http_walk;
mod interleavings;
mod invariants;
mod journal_contract;
mod journal_postgres;
mod layout;
mod ledger;
mod model;
mod overload;
mod process;
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
mod proxy;
mod read_ahead;
mod replay_cli;
mod resilience;
mod sealing;
mod server_keys;
mod server_process;
mod server_start;
mod traceability;
mod upcasting;
mod witness;
