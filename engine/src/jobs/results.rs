//! What jobs make for people, kept for a while: text in parts, each sealed under the person's key, so that neither
//! making nor reading it takes more memory than a part, and whoever is forgotten takes it along, also out of a backup.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Pool;
use kernel::{Clock, PersonId, Personal};

use super::{Job, JobId};
use crate::codec::{Clear, Codec, CodecError, Place};
use crate::keyring::KeyringError;

/// How long a result is kept, in days.
pub const RESULT_KEPT_DAYS: i64 = 7;
/// From how many bytes on a part is written; it is as much longer as the piece that came last.
const PART_BYTES_MIN: usize = 128 * 1024;

/// A result can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error(transparent)]
    Keys(#[from] KeyringError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// The results of jobs.
#[derive(Clone)]
pub struct JobResults {
    pool: Pool,
    codec: Codec,
    clock: Arc<dyn Clock>,
}

/// A result that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub job: JobId,
    /// Whose it is.
    pub person: PersonId,
    pub parts: u32,
    pub expires_at: DateTime<Utc>,
    attempt: i32,
}

/// A result being made. Dropped before [`Draft::finish`], nobody ever reads of it.
pub struct Draft {
    results: JobResults,
    job: JobId,
    attempt: i32,
    person: PersonId,
    parts: i32,
    text: String,
}

impl JobResults {
    /// `pool`: the server's role.
    pub fn new(pool: Pool, codec: Codec, clock: Arc<dyn Clock>) -> Self {
        Self { pool, codec, clock }
    }

    /// Begins the result of an attempt, for a person.
    pub fn draft(&self, of: &Job, person: PersonId) -> Draft {
        let attempt = i32::try_from(of.attempt).unwrap_or(i32::MAX);
        Draft { results: self.clone(), job: of.id, attempt, person, parts: 0, text: String::new() }
    }

    /// What a job made, unless it made nothing or that has expired.
    ///
    /// # Errors
    /// [`ResultsError`]
    pub async fn find(&self, job: JobId) -> Result<Option<Kept>, ResultsError> {
        let client = self.pool.get().await?;
        let sql =
            "SELECT person, parts, attempt, expires_at FROM job_results WHERE job = $1 AND expires_at > $2";
        let row = client.query_opt(sql, &[&job.0, &self.clock.now()]).await?;
        Ok(row.map(|row| Kept {
            job,
            person: PersonId(row.get(0)),
            parts: row.get::<_, i32>(1).unsigned_abs(),
            attempt: row.get(2),
            expires_at: row.get(3),
        }))
    }

    /// A part, counted from 0; `None`: its person was forgotten, or it has expired meanwhile.
    ///
    /// # Errors
    /// [`ResultsError`]
    pub async fn part(&self, of: Kept, number: u32) -> Result<Option<String>, ResultsError> {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let client = self.pool.get().await?;
        let sql = "SELECT content FROM job_result_parts WHERE job = $1 AND attempt = $2 AND number = $3";
        let row = client.query_opt(sql, &[&of.job.0, &of.attempt, &number]).await?;
        // Keys may have to be asked for, over another connection.
        drop(client);
        let Some(row) = row else { return Ok(None) };
        let document: &str = row.get(0);
        let held = self.codec.for_opening(self.codec.subjects([document])?).await?;
        let document = self.codec.open(document, &place(of.job, of.attempt, number), &held)?;
        let text: Personal<String> = serde_json::from_str(&document).map_err(unwritable)?;
        // It was sealed for this person, and is nobody else's.
        Ok(text.reveal().filter(|_| text.of() == of.person).cloned())
    }
}

impl Draft {
    /// Goes on with a text; it may be written, or wait for more.
    ///
    /// # Errors
    /// [`ResultsError::Codec`] also if the person was forgotten.
    pub async fn write(&mut self, text: &str) -> Result<(), ResultsError> {
        self.text.push_str(text);
        if self.text.len() >= PART_BYTES_MIN { self.put().await } else { Ok(()) }
    }

    async fn put(&mut self) -> Result<(), ResultsError> {
        let text = Personal::new(self.person, std::mem::take(&mut self.text));
        let codec = &self.results.codec;
        let document = codec.clear(serde_json::to_string(&text).map_err(unwritable)?)?;
        let held = codec.for_sealing(Clear::subjects([&document])).await?;
        let (place, mut new) = (place(self.job, self.attempt, self.parts), Vec::new());
        let sealed = document.sealed(&place, &held, &mut new)?;
        if !new.is_empty() {
            // A person of whom something can be told has one, from the first event on.
            return Err(CodecError(format!("the person {} has no key", self.person)).into());
        }
        let client = self.results.pool.get().await?;
        let sql = "INSERT INTO job_result_parts (job, attempt, number, content) VALUES ($1, $2, $3, $4)";
        client.execute(sql, &[&self.job.0, &self.attempt, &self.parts, &sealed]).await?;
        self.parts += 1;
        Ok(())
    }

    /// From now on it is there, unless another attempt was faster; returns until when.
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub async fn finish(mut self) -> Result<DateTime<Utc>, ResultsError> {
        if self.parts == 0 || !self.text.is_empty() {
            self.put().await?;
        }
        let made_at = self.results.clock.now();
        let expires_at = made_at + TimeDelta::days(RESULT_KEPT_DAYS);
        let client = self.results.pool.get().await?;
        let finish = include_str!("sql/finish_result.sql");
        client
            .execute(
                finish,
                &[&self.job.0, &self.person.0, &self.attempt, &self.parts, &made_at, &expires_at],
            )
            .await?;
        client.execute(include_str!("sql/tidy_result.sql"), &[&self.job.0]).await?;
        let kept = "SELECT expires_at FROM job_results WHERE job = $1";
        Ok(client.query_one(kept, &[&self.job.0]).await?.get(0))
    }
}

/// Where a part stands: what is sealed for one place opens in no other.
fn place(job: JobId, attempt: i32, number: i32) -> Place<'static> {
    let [attempt, number] = [attempt, number].map(|number| u128::from(number.unsigned_abs()));
    Place { kind: "job_result", of: "job", id: job.0, number: attempt << 32 | number }
}

fn unwritable(error: serde_json::Error) -> CodecError {
    // What stands in it is not told.
    CodecError(format!("a part of a result is no text: {:?}", error.classify()))
}
