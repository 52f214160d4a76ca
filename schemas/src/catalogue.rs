//! The event catalogue.
