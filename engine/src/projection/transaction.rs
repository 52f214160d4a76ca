//! The transaction that a batch is folded in. What needs no answer goes on its way with what comes after or before it, so
//! that a batch costs the database fewer answers, and whoever folds fewer waits.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::ClientWrapper;
use futures::FutureExt;
use tokio_postgres::Error;

/// A connection within a transaction. Dropped before its commit, it is rolled back.
///
/// Statements of one connection are carried out in the order in which they were sent, and they are sent when their futures
/// are first polled, if they are prepared. After one that fails the others are refused, the commit too.
pub struct Transaction<'a> {
    client: &'a ClientWrapper,
    ended: AtomicBool,
}

impl<'a> Transaction<'a> {
    /// The connection is nobody else's until the transaction ends. [`Self::begin`] comes first.
    pub(crate) fn over(client: &'a mut ClientWrapper) -> Self {
        Self { client, ended: AtomicBool::new(false) }
    }

    pub(crate) async fn begin(&self) -> Result<(), Error> {
        self.client.batch_execute("BEGIN").await
    }

    pub(crate) async fn commit(&self) -> Result<(), Error> {
        self.client.batch_execute("COMMIT").await?;
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
        self.client.batch_execute("RELEASE mark").await
    }

    pub(crate) async fn undo(&self) -> Result<(), Error> {
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
