//! The one integration binary: everything that needs a database, a server or a process of its own.

mod db;
mod feeds;
mod process_manager;
mod projection_dead_letter;
mod projection_follow;
mod projection_memory;
mod projection_rebuild;
mod projection_tally;
