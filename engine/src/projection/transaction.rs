//! The transaction that a batch is folded in. What needs no answer goes on its way with what comes after or before it, so
//! that a batch costs the database fewer answers, and whoever folds fewer waits.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::ClientWrapper;
use futures::FutureExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

/// A statement's parameters, kept until it is sent.
pub type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

/// A connection within a transaction. Dropped before its commit, it is rolled back.
///
/// Statements of one connection are carried out in the order in which they were sent, and they are sent when their futures
/// are first polled, if they are prepared. After one that fails the others are refused, the commit too.
pub struct Transaction<'a> {
    client: &'a ClientWrapper,
    ended: AtomicBool,
    last: Mutex<Option<(Statement, Parameters)>>,
}

impl<'a> Transaction<'a> {
    /// The connection is nobody else's until the transaction ends. [`Self::begin`] comes first.
    pub(crate) fn over(client: &'a mut ClientWrapper) -> Self {
        Self { client, ended: AtomicBool::new(false), last: Mutex::new(None) }
    }

    /// The last statement of a fold, if nobody looks at its answer: it goes with the commit, and if it fails there is none.
    /// If there is another after all, this one is carried out before it.
    ///
    /// # Errors
    /// The one before it fails.
    pub async fn execute_last(&self, statement: Statement, parameters: Parameters) -> Result<(), Error> {
        let before = self.last().replace((statement, parameters));
        self.send(before).await
    }

    async fn send(&self, statement: Option<(Statement, Parameters)>) -> Result<(), Error> {
        let Some((statement, parameters)) = statement else { return Ok(()) };
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect();
        self.client.execute(&statement, &parameters).await.map(drop)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(Statement, Parameters)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last statement, and one after it.
    async fn end(&self, with: &str) -> Result<(), Error> {
        let last = self.last().take();
        // Sent together, carried out one after the other.
        futures::try_join!(self.send(last), self.client.batch_execute(with)).map(drop)
    }

    pub(crate) async fn begin(&self) -> Result<(), Error> {
        self.client.batch_execute("BEGIN").await
    }

    pub(crate) async fn commit(&self) -> Result<(), Error> {
        self.end("COMMIT").await?;
        self.ended.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<(), Error> {
        self.client.batch_execute("ROLLBACK").await?;
        self.ended.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Remembers where it is, once at a time, until it is [kept](Self::keep) or [undone](Self::undo) what comes after.
    pub(crate) async fn mark(&self) -> Result<(), Error> {
        self.client.batch_execute("SAVEPOINT mark").await
    }

    pub(crate) async fn keep(&self) -> Result<(), Error> {
        self.end("RELEASE mark").await
    }

    pub(crate) async fn undo(&self) -> Result<(), Error> {
        *self.last() = None;
        self.client.batch_execute("ROLLBACK TO mark; RELEASE mark").await
    }
}

impl Deref for Transaction<'_> {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !*self.ended.get_mut() {
            // Sent, and not waited for: it comes before whatever the connection is used for next. Where it was committed
            // and the answer is not there yet, it does nothing.
            let _ = self.client.batch_execute("ROLLBACK").now_or_never();
        }
    }
}
