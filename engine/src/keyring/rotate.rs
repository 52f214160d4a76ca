//! Rotation, none of which rewrites an event: another master key, another key-encryption key, another tenant's key.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use kernel::{Subject, TenantId};
use tokio_postgres::Client;
use uuid::Uuid;

use super::cache::Known;
use super::wrap::random;
use super::{Keyring, KeyringError, MasterKey, store};

/// Keys wrapped anew in one transaction.
const REWRAP_ROWS: i64 = 1_000;

impl Keyring {
    /// Another key-encryption key wraps new keys from now on, and all keys are wrapped under it anew. The server may run
    /// meanwhile. Returns how many were; asked again after a crash it goes on, see [`Keyring::rewrap`].
    ///
    /// # Errors
    /// [`KeyringError`]
    pub async fn rotate_wrapping(&self) -> Result<u64, KeyringError> {
        store::rotate_wrapping(&self.pool, &self.master, &*self.clock, &*self.ids).await?;
        self.rewrap().await
    }

    /// Wraps anew whatever is still wrapped under a former key-encryption key, a thousand at a time.
    ///
    /// # Errors
    /// [`KeyringError`]; what was done stays done.
    pub async fn rewrap(&self) -> Result<u64, KeyringError> {
        self.reload_wrapping().await?;
        let (mut all, mut skipped) = (0, 0);
        loop {
            let (current, former) = {
                let wrapping = self.wrapping.read().unwrap_or_else(PoisonError::into_inner);
                let former: Vec<String> = wrapping
                    .by_id
                    .keys()
                    .filter(|kid| **kid != wrapping.current)
                    .map(|k| k.to_string())
                    .collect();
                (wrapping.current().ok_or(KeyringError::NoWrapping)?, former)
            };
            let rows = store::wrapped_under(&self.pool, &former, REWRAP_ROWS, skipped).await?;
            if rows.is_empty() {
                return Ok(all);
            }
            let mut renewed = Vec::with_capacity(rows.len());
            for row in &rows {
                let Some(old) = &row.wrapped else { continue };
                let cipher = {
                    let wrapping = self.wrapping.read().unwrap_or_else(PoisonError::into_inner);
                    wrapping.by_id.get(&*row.wrapped_under).cloned()
                };
                let bytes = cipher.and_then(|cipher| {
                    cipher.open(&store::bound(row.subject, row.version, &row.wrapped_under), old).ok()
                });
                let Some(bytes) = bytes else {
                    tracing::error!(subject.kind = row.subject.kind(), subject.id = %row.subject.id(),
                        "a key does not open and stays as it is: restore its row from the backup of the keys");
                    skipped += 1;
                    continue;
                };
                let (kid, cipher) = &current;
                let mut wrapped = Vec::new();
                cipher
                    .seal(&store::bound(row.subject, row.version, kid), &bytes, &mut wrapped)
                    .map_err(|_| KeyringError::NoRandomness)?;
                renewed.push((row, wrapped));
            }
            all += store::replace_wrapped(&self.pool, &renewed, &current.0).await?;
        }
    }

    /// The tenant's fields are sealed under another key from now on; what was sealed before is read as before.
    /// Returns the new version.
    ///
    /// # Errors
    /// [`KeyringError::NoKey`] if nothing of the tenant's was ever sealed, or it was purged.
    pub async fn rotate_tenant(&self, tenant: TenantId) -> Result<i32, KeyringError> {
        let subject = Subject::Tenant(tenant);
        self.cache().remove(subject);
        let held = self.for_opening(vec![subject]).await?;
        let Some(Known::Keys(keys)) = held.get(subject) else { return Err(KeyringError::NoKey { subject }) };
        let key = Arc::new(self.new_key(subject, keys.current().version + 1)?);
        store::insert(&self.pool, &key, self.clock.now()).await?;
        self.cache().remove(subject);
        Ok(key.version)
    }

    pub(super) async fn reload_wrapping(&self) -> Result<(), KeyringError> {
        let wrapping = store::wrapping(&self.pool, &self.master).await?.ok_or(KeyringError::NoWrapping)?;
        *self.wrapping.write().unwrap_or_else(PoisonError::into_inner) = wrapping;
        Ok(())
    }
}

/// Another master key: first the file holds both, then every key of the deployment is wrapped anew in one transaction,
/// then the former goes. After a crash anywhere between, the server starts with what the file holds, and asking again
/// goes on. `owner` is a connection of the role that owns the schema.
///
/// # Errors
/// [`KeyringError`]
pub async fn rotate_master(owner: &mut Client, file: &Path) -> Result<u64, KeyringError> {
    let mut master = MasterKey::read(file)?;
    if !master.has_former() {
        let new = random().map_err(|_| KeyringError::NoRandomness)?;
        master = master.followed_by(new);
        master.write(file)?;
    }
    let transaction = owner.transaction().await?;
    let rows = transaction.query("SELECT kid, purpose, wrapped FROM wrapped_keys FOR UPDATE", &[]).await?;
    let mut count = 0;
    for row in rows {
        let (kid, purpose): (String, String) = (row.get(0), row.get(1));
        let bytes = master.unwrap_key(&kid, &purpose, row.get(2))?;
        let wrapped = master.wrap(&kid, &purpose, &bytes)?;
        count += transaction
            .execute("UPDATE wrapped_keys SET wrapped = $2 WHERE kid = $1", &[&kid, &wrapped])
            .await?;
    }
    transaction.commit().await?;
    master.without_former().write(file)?;
    Ok(count)
}

/// A row of `subject_keys`, as its primary key and what is in it now.
pub(super) type Renewed<'a> = (&'a store::Row, Vec<u8>);

pub(super) struct Columns<'a> {
    pub kind: Vec<&'a str>,
    pub subject: Vec<Uuid>,
    pub version: Vec<i32>,
    pub before: Vec<&'a [u8]>,
    pub after: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(renewed: &'a [Renewed<'a>]) -> Self {
        let mut columns = Self {
            kind: Vec::new(),
            subject: Vec::new(),
            version: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
        };
        for (row, wrapped) in renewed {
            columns.kind.push(row.subject.kind());
            columns.subject.push(row.subject.id());
            columns.version.push(row.version);
            columns.before.push(row.wrapped.as_deref().unwrap_or_default());
            columns.after.push(wrapped);
        }
        columns
    }
}
