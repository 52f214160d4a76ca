//! The SQL migrations, each with its way back.

/// All migrations, compiled in. They run as the schema's owner.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
