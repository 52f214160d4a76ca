//! The HTTP server: from a request to a command or a query and back, and the root where everything is put together.
//!
//! No rule of the business is decided here. Who may call what stands in [`url_map`], and [`gate`] carries it out.

mod acceptance;
pub mod admission;
pub mod api_key;
pub mod audit;
pub mod authenticate;
pub mod caller;
pub mod cli;
pub mod cors;
pub mod data_dir;
pub mod database;
pub mod delivery;
pub mod endpoint;
pub mod explain;
pub mod export;
pub mod extract;
pub mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
mod grants;
pub mod keys;
pub mod list;
pub mod listener;
pub mod local;
pub mod logs;
pub mod mail;
mod members;
pub mod observe;
pub mod openapi;
pub mod passkeys;
pub mod passwords;
pub mod patience;
pub mod personal_token;
pub mod policy;
mod private_postgres;
pub mod problem;
pub mod rates;
pub mod readiness;
mod recall;
pub mod registration;
pub mod report;
pub mod request;
pub mod routes;
pub mod serve;
pub mod services;
pub mod settings;
pub mod shown;
mod shown_secret;
pub mod sign_in;
pub mod signing;
pub mod slowdown;
pub mod sso;
pub mod state;
pub mod step;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tickets;
pub mod token;
pub mod trace;
pub mod url_map;
pub mod view;
