//! The tables `wrapped_keys` (as far as subjects' keys are wrapped under them) and `subject_keys`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use kernel::{Clock, Ids, Subject};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::rotate::{Columns, Renewed};
use super::wrap::{Cipher, KEY_LEN, random};
use super::{DataKey, MasterKeyError, MasterSource, TombstonesError, WrapError, Wrapping};

/// The purpose in `wrapped_keys`. Part of the storage format.
const PURPOSE: &str = "subject_keys";

/// A subject's key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("the tables of keys can't be used")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database for the keys")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error(transparent)]
    Master(#[from] MasterKeyError),
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error("there is no key to wrap subjects' keys under: start `tenantry serve` once")]
    NoWrapping,
    #[error("subjects' keys are wrapped under the key {kid}, which is gone: restore the table wrapped_keys")]
    WrappingLost { kid: String },
    #[error("the {subject} has no key: nothing of theirs was ever sealed, or it was forgotten")]
    NoKey { subject: Subject },
    #[error(transparent)]
    Tombstones(#[from] TombstonesError),
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

/// A stored version of a subject's key.
pub(super) struct Row {
    pub subject: Subject,
    pub version: i32,
    /// `None`: a tombstone.
    pub wrapped: Option<Vec<u8>>,
    pub wrapped_under: String,
}

/// What a wrapped key is bound to.
pub(super) fn bound(subject: Subject, version: i32, kid: &str) -> Vec<u8> {
    let mut bound = Vec::with_capacity(64 + kid.len());
    bound.extend_from_slice(b"tenantry subject key\0");
    bound.extend_from_slice(subject.kind().as_bytes());
    bound.push(0);
    bound.extend_from_slice(subject.id().as_bytes());
    bound.extend_from_slice(&version.to_be_bytes());
    bound.extend_from_slice(kid.as_bytes());
    bound
}

/// The key-encryption keys; `None` if there is none yet.
pub(super) async fn wrapping(pool: &Pool, master: &MasterSource) -> Result<Option<Wrapping>, KeyringError> {
    let rows = pool
        .get()
        .await?
        .query(
            "SELECT kid, wrapped, retired_at IS NULL FROM wrapped_keys WHERE purpose = $1 ORDER BY created_at, kid",
            &[&PURPOSE],
        )
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let master = master()?;
    let mut by_id = HashMap::new();
    let mut current = None;
    for row in rows {
        let kid: Arc<str> = row.get::<_, String>(0).into();
        let broken = || WrapError { kid: kid.to_string(), purpose: PURPOSE.to_owned() };
        let bytes = master.unwrap_key(&kid, PURPOSE, row.get(1))?;
        by_id.insert(kid.clone(), Arc::new(Cipher::new(&bytes).map_err(|_| broken())?));
        if row.get(2) {
            current = Some(kid);
        }
    }
    Ok(current.map(|current| Wrapping { by_id, current }))
}

/// Makes the key-encryption key in use, unless another node was faster.
pub(super) async fn make_wrapping(
    pool: &Pool,
    master: &MasterSource,
    clock: &dyn Clock,
    ids: &dyn Ids,
) -> Result<(), KeyringError> {
    let kid = ids.fresh().simple().to_string();
    let bytes = random::<KEY_LEN>().map_err(|_| KeyringError::NoRandomness)?;
    let wrapped = master()?.wrap(&kid, PURPOSE, &*bytes)?;
    pool.get()
        .await?
        .execute(
            "INSERT INTO wrapped_keys (kid, purpose, wrapped, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[&kid, &PURPOSE, &wrapped, &clock.now()],
        )
        .await?;
    Ok(())
}

/// Another key-encryption key from now on; the former still opens.
pub(super) async fn rotate_wrapping(
    pool: &Pool,
    master: &MasterSource,
    clock: &dyn Clock,
    ids: &dyn Ids,
) -> Result<(), KeyringError> {
    let kid = ids.fresh().simple().to_string();
    let bytes = random::<KEY_LEN>().map_err(|_| KeyringError::NoRandomness)?;
    let wrapped = master()?.wrap(&kid, PURPOSE, &*bytes)?;
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let now = clock.now();
    let retire = "UPDATE wrapped_keys SET retired_at = $2 WHERE purpose = $1 AND retired_at IS NULL";
    transaction.execute(retire, &[&PURPOSE, &now]).await?;
    let insert = "INSERT INTO wrapped_keys (kid, purpose, wrapped, created_at) VALUES ($1, $2, $3, $4)";
    transaction.execute(insert, &[&kid, &PURPOSE, &wrapped, &now]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Some of the keys that are wrapped under one of these.
pub(super) async fn wrapped_under(
    pool: &Pool,
    former: &[String],
    limit: i64,
    skip: i64,
) -> Result<Vec<Row>, KeyringError> {
    let client = pool.get().await?;
    let rows = client.query(include_str!("sql/wrapped_under.sql"), &[&former, &limit, &skip]).await?;
    Ok(rows.iter().filter_map(row).collect())
}

/// Replaces wrapped keys, unless they were forgotten meanwhile; returns how many.
pub(super) async fn replace_wrapped(
    pool: &Pool,
    renewed: &[Renewed<'_>],
    kid: &str,
) -> Result<u64, KeyringError> {
    let Columns { kind, subject, version, before, after } = Columns::of(renewed);
    let client = pool.get().await?;
    let statement = include_str!("sql/replace_wrapped.sql");
    Ok(client.execute(statement, &[&kind, &subject, &version, &before, &after, &kid]).await?)
}

/// A further version of a subject's key.
pub(super) async fn insert(pool: &Pool, key: &Arc<DataKey>, now: DateTime<Utc>) -> Result<(), KeyringError> {
    let columns = KeyColumns::of([key]);
    let mut parameters = columns.parameters().to_vec();
    parameters.push(&now);
    pool.get().await?.execute(include_str!("../journal/sql/insert_keys.sql"), &parameters).await?;
    Ok(())
}

/// Who of these is not forgotten yet.
pub(super) async fn not_forgotten(pool: &Pool, subjects: &[Subject]) -> Result<Vec<Subject>, KeyringError> {
    let rows = load(pool, subjects).await?;
    let is_buried = |subject: &Subject| {
        let mut versions = rows.iter().filter(|row| row.subject == *subject).peekable();
        versions.peek().is_some() && versions.all(|row| row.wrapped.is_none())
    };
    Ok(subjects.iter().copied().filter(|subject| !is_buried(subject)).collect())
}

/// The rows of some subjects, oldest version first.
pub(super) async fn load(pool: &Pool, subjects: &[Subject]) -> Result<Vec<Row>, KeyringError> {
    let kinds: Vec<&str> = subjects.iter().map(|subject| subject.kind()).collect();
    let ids: Vec<Uuid> = subjects.iter().map(|subject| subject.id()).collect();
    let client = pool.get().await?;
    let statement = client.prepare_cached(include_str!("sql/load.sql")).await?;
    let rows = client.query(&statement, &[&kinds, &ids]).await?;
    Ok(rows.iter().filter_map(row).collect())
}

fn row(row: &tokio_postgres::Row) -> Option<Row> {
    Some(Row {
        subject: Subject::from_kind(row.get(0), row.get(1))?,
        version: row.get(2),
        wrapped: row.get(3),
        wrapped_under: row.get(4),
    })
}

/// Replaces a subject's key by its tombstone.
pub(super) async fn bury(pool: &Pool, subject: Subject, now: DateTime<Utc>) -> Result<(), KeyringError> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let (kind, id) = (subject.kind(), subject.id());
    // A subject that never had a key gets none from now on. The first version's row lock keeps rotations out.
    transaction.execute(include_str!("sql/bury_first.sql"), &[&kind, &id, &now]).await?;
    transaction
        .execute(
            "SELECT FROM subject_keys WHERE kind = $1 AND subject = $2 AND version = 1 FOR UPDATE",
            &[&kind, &id],
        )
        .await?;
    transaction
        .execute(
            "UPDATE subject_keys SET wrapped = NULL, forgotten_at = $3 \
              WHERE kind = $1 AND subject = $2 AND wrapped IS NOT NULL",
            &[&kind, &id, &now],
        )
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Whom others forgot, and whose keys they rotated, since a time.
pub(super) async fn changed(
    pool: &Pool,
    since: DateTime<Utc>,
) -> Result<(Vec<Subject>, Vec<Subject>), KeyringError> {
    let rows = pool.get().await?.query(include_str!("sql/changed.sql"), &[&since]).await?;
    let (mut forgotten, mut rotated) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(subject) = Subject::from_kind(row.get(0), row.get(1)) else { continue };
        if row.get(2) { forgotten.push(subject) } else { rotated.push(subject) }
    }
    Ok((forgotten, rotated))
}

/// New keys as the columns of an INSERT: each once, in the order of their primary key.
#[derive(Default)]
pub(crate) struct KeyColumns<'a> {
    pub keys: Vec<&'a Arc<DataKey>>,
    kind: Vec<&'a str>,
    subject: Vec<Uuid>,
    version: Vec<i32>,
    wrapped: Vec<&'a [u8]>,
    wrapped_under: Vec<&'a str>,
}

impl<'a> KeyColumns<'a> {
    /// Of all keys that items bring, those whose rows are still to be written.
    pub(crate) fn of(brought: impl IntoIterator<Item = &'a Arc<DataKey>>) -> Self {
        let mut keys: Vec<_> = brought.into_iter().filter(|key| !key.is_durable()).collect();
        keys.sort_by_key(|key| (key.subject.kind(), key.subject.id(), key.version, Arc::as_ptr(key).addr()));
        // Two different keys of one version are left in: the database refuses one of them.
        keys.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let mut columns = Self::default();
        for key in keys {
            columns.kind.push(key.subject.kind());
            columns.subject.push(key.subject.id());
            columns.version.push(key.version);
            columns.wrapped.push(&key.wrapped);
            columns.wrapped_under.push(&key.wrapped_under);
            columns.keys.push(key);
        }
        columns
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.kind, &self.subject, &self.version, &self.wrapped, &self.wrapped_under]
    }
}
