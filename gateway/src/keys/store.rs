//! The table `wrapped_keys`: makes what is missing, opens what is there, rotates what is old.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Pool;
use engine::keyring::{MasterKeyError, MasterSource};
use kernel::{Clock, Ids};
use zeroize::Zeroizing;

use super::{Keys, Purpose, WrapError};
use crate::signing::SigningAlgorithm;
use crate::token::{SigningError, TTL_MAX, TokenKey, Tokens};

/// How long a signing key signs (NFR-SEC-004: at least yearly).
const SIGNS: TimeDelta = TimeDelta::days(335);
/// How long it verifies after that; the longest token lives 15 minutes.
const OVERLAP: TimeDelta = TimeDelta::hours(24);

// The keys that subjects' keys are wrapped under are the keyring's.
const LOAD: &str = "SELECT kid, purpose, wrapped, created_at, not_after, retired_at FROM wrapped_keys \
                    WHERE purpose <> 'subject_keys' ORDER BY created_at, kid";
const INSERT: &str = "INSERT INTO wrapped_keys (kid, purpose, wrapped, created_at, not_after) \
                      VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const RETIRE: &str =
    "UPDATE wrapped_keys SET retired_at = $2, not_after = $3 WHERE kid = $1 AND retired_at IS NULL";

/// The keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the table of keys can't be used")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database for the keys")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error(transparent)]
    Master(#[from] MasterKeyError),
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error("the key {kid} has a purpose this version does not know: {purpose}")]
    UnknownPurpose { kid: String, purpose: String },
    #[error("there are claims, but the key they were hashed with is gone: restore the table wrapped_keys")]
    ClaimKeyLost,
    #[error("the key for {0} has another length than it should")]
    Malformed(&'static str),
    #[error("a signing key can't be used")]
    Signing(#[from] SigningError),
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

/// What looking after the keys did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Kept,
    Rotated,
}

/// A key out of its wrapping.
struct Unwrapped {
    kid: String,
    purpose: Purpose,
    bytes: Zeroizing<Vec<u8>>,
}

struct Row {
    key: Unwrapped,
    created_at: DateTime<Utc>,
    not_after: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

/// The keys in the database.
pub struct KeyStore {
    pool: Pool,
    /// Asked for anew each time, so that a running server follows a rotation.
    master: MasterSource,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// Of keys that are made from now on.
    signing: SigningAlgorithm,
}

/// A key that signs from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub kid: String,
    pub algorithm: SigningAlgorithm,
    /// Until when its predecessor verifies what it signed.
    pub former_verifies_until: DateTime<Utc>,
}

impl KeyStore {
    pub fn new(pool: Pool, master: MasterSource, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { pool, master, clock, ids, signing: SigningAlgorithm::default() }
    }

    /// With another algorithm for tokens. A key of a former one is followed by one of this at [`KeyStore::open`]: not
    /// while servers run, or two with different settings would take turns for ever.
    pub fn signing_with(self, signing: SigningAlgorithm) -> Self {
        Self { signing, ..self }
    }

    /// Opens all keys, and makes those that are missing. Two nodes may do so at once: the database keeps one of each.
    ///
    /// Returns the gateway's keys, and the key that claims are hashed with.
    ///
    /// # Errors
    /// [`KeyError`]
    pub async fn open(&self, issuer: &str) -> Result<(Keys, Zeroizing<[u8; 32]>), KeyError> {
        let mut rows = self.load().await?;
        let missing: Vec<Purpose> =
            Purpose::ALL.iter().copied().filter(|purpose| current(&rows, *purpose).is_none()).collect();
        if missing.contains(&Purpose::ClaimHash) && self.has_claims().await? {
            return Err(KeyError::ClaimKeyLost);
        }
        for purpose in &missing {
            self.make(*purpose).await?;
        }
        let of_another = current(&rows, Purpose::TokenSigning)
            .is_some_and(|row| SigningAlgorithm::of(&row.key.bytes) != Some(self.signing));
        if of_another {
            self.rotate_signing().await?;
        }
        if of_another || !missing.is_empty() {
            rows = self.load().await?;
        }
        let bytes = |purpose: Purpose| {
            current(&rows, purpose)
                .map(|row| row.key.bytes.clone())
                .ok_or(KeyError::Malformed(purpose.as_str()))
        };
        let tokens = Arc::new(Tokens::new(issuer));
        tokens.replace(&token_keys(&rows))?;
        let mut claim_hash = Zeroizing::new([0; 32]);
        let stored = bytes(Purpose::ClaimHash)?;
        if stored.len() != claim_hash.len() {
            return Err(KeyError::Malformed(Purpose::ClaimHash.as_str()));
        }
        claim_hash.copy_from_slice(&stored);
        Ok((Keys::new(tokens, &bytes(Purpose::Cursor)?, &bytes(Purpose::DerivedSecret)?), claim_hash))
    }

    /// Takes over what other nodes made, and rotates a signing key that has signed long enough.
    ///
    /// # Errors
    /// [`KeyError`]; the keys in use stay as they are.
    pub async fn refresh(&self, tokens: &Tokens) -> Result<Rotation, KeyError> {
        let mut rows = self.load().await?;
        let now = self.clock.now();
        let due = current(&rows, Purpose::TokenSigning).is_none_or(|row| now - row.created_at >= SIGNS);
        if due {
            self.rotate_signing().await?;
            rows = self.load().await?;
        }
        tokens.replace(&token_keys(&rows))?;
        Ok(if due { Rotation::Rotated } else { Rotation::Kept })
    }

    /// Lets another key sign from now on, as an operator wishes. Other nodes take it over within seconds, and verify with
    /// both meanwhile.
    ///
    /// # Errors
    /// [`KeyError`]; the keys in use stay as they are.
    pub async fn rotate(&self, tokens: &Tokens) -> Result<NewKey, KeyError> {
        self.rotate_signing().await?;
        let rows = self.load().await?;
        tokens.replace(&token_keys(&rows))?;
        let newest = current(&rows, Purpose::TokenSigning).ok_or(SigningError::NoKey)?;
        Ok(NewKey {
            kid: newest.key.kid.clone(),
            algorithm: SigningAlgorithm::of(&newest.key.bytes).unwrap_or(self.signing),
            former_verifies_until: newest.created_at + OVERLAP,
        })
    }

    /// Another key signs from now on; the former verifies until its tokens have lapsed.
    async fn rotate_signing(&self) -> Result<(), KeyError> {
        let rows = self.load().await?;
        let now = self.clock.now();
        let (kid, wrapped) = self.new_key(Purpose::TokenSigning)?;
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        if let Some(former) = current(&rows, Purpose::TokenSigning) {
            let retired = transaction.execute(RETIRE, &[&former.key.kid, &now, &(now + OVERLAP)]).await?;
            if retired == 0 {
                // Another node was faster.
                return Ok(());
            }
        }
        let until = now + SIGNS + OVERLAP;
        let purpose = Purpose::TokenSigning.as_str();
        transaction.execute(INSERT, &[&kid, &purpose, &wrapped, &now, &until]).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn make(&self, purpose: Purpose) -> Result<(), KeyError> {
        let (kid, wrapped) = self.new_key(purpose)?;
        let now = self.clock.now();
        let not_after = (purpose == Purpose::TokenSigning).then(|| now + SIGNS + OVERLAP);
        let client = self.pool.get().await?;
        client.execute(INSERT, &[&kid, &purpose.as_str(), &wrapped, &now, &not_after]).await?;
        Ok(())
    }

    fn new_key(&self, purpose: Purpose) -> Result<(String, Vec<u8>), KeyError> {
        let kid = self.ids.fresh().simple().to_string();
        let wrapped = (self.master)()?.wrap(&kid, purpose.as_str(), &purpose.generate(self.signing)?)?;
        Ok((kid, wrapped))
    }

    async fn has_claims(&self) -> Result<bool, KeyError> {
        let client = self.pool.get().await?;
        Ok(client.query_one("SELECT EXISTS (SELECT FROM claims)", &[]).await?.get(0))
    }

    async fn load(&self) -> Result<Vec<Row>, KeyError> {
        let client = self.pool.get().await?;
        let mut rows = Vec::new();
        let master = (self.master)()?;
        for row in client.query(LOAD, &[]).await? {
            let (kid, purpose): (String, String) = (row.get(0), row.get(1));
            let known = Purpose::ALL.iter().find(|known| known.as_str() == purpose);
            let Some(known) = known else { return Err(KeyError::UnknownPurpose { kid, purpose }) };
            let bytes = master.unwrap_key(&kid, known.as_str(), row.get(2))?;
            rows.push(Row {
                key: Unwrapped { kid, purpose: *known, bytes },
                created_at: row.get(3),
                not_after: row.get(4),
                retired_at: row.get(5),
            });
        }
        Ok(rows)
    }
}

fn current(rows: &[Row], purpose: Purpose) -> Option<&Row> {
    rows.iter().rfind(|row| row.key.purpose == purpose && row.retired_at.is_none())
}

/// By key id, so that the newest of several that are not retired signs.
fn token_keys(rows: &[Row]) -> Vec<TokenKey> {
    let signing = current(rows, Purpose::TokenSigning).map(|row| row.key.kid.clone());
    let longest = TimeDelta::from_std(TTL_MAX).unwrap_or(TimeDelta::MAX);
    let of_tokens = rows.iter().filter(|row| row.key.purpose == Purpose::TokenSigning);
    let keys: BTreeMap<&str, TokenKey> = of_tokens
        .map(|row| {
            let is_signing = Some(&row.key.kid) == signing.as_ref();
            let until =
                row.not_after.unwrap_or(row.created_at + SIGNS + OVERLAP).max(row.created_at + longest);
            let key = TokenKey {
                kid: row.key.kid.clone(),
                private_pkcs8: row.key.bytes.clone(),
                verifies_until: (!is_signing).then_some(until),
            };
            (row.key.kid.as_str(), key)
        })
        .collect();
    keys.into_values().collect()
}
