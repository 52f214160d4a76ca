//! Getting the shard, keeping it, and finding out what became of a commit.

use tokio::sync::mpsc;

use super::batch::refuse;
use super::waiting::Waiting;
use super::{AppendFailure, Ownership, Queued, Writer};
use crate::journal::{Appended, Lease, ReadError, Resolution, Sent};

impl Writer {
    /// Tries to get the lease until it has it; meanwhile whoever asks hears at once that this node can't.
    pub(super) async fn take_shard(&mut self, waiting: &mut Waiting, queue: &mut mpsc::Receiver<Queued>) {
        let mut said = false;
        loop {
            let acquiring = self.journal.acquire(self.config.shard, self.config.node, self.config.lease_ttl);
            match self.in_time(acquiring).await {
                Ok(Some(lease)) => {
                    self.lineage += 1;
                    self.lease = Some(lease);
                    tracing::info!(shard = lease.shard.0, epoch = lease.epoch, "this node owns the shard");
                    self.told.tell(Ownership::Owned { lineage: self.lineage });
                    return;
                }
                Ok(None) => {
                    self.told.tell(Ownership::Waiting);
                    if !said {
                        tracing::warn!(
                            shard = self.config.shard.0,
                            "another node owns the shard; waiting for its lease to lapse"
                        );
                        said = true;
                    }
                }
                Err(error) => {
                    self.told.tell(Ownership::Recovering);
                    if !said {
                        tracing::error!(error = %error, "the database can't be reached; trying again");
                        said = true;
                    }
                }
            }
            for queued in waiting.drain() {
                refuse(queued, AppendFailure::Unavailable("not_owner"));
            }
            let pause = tokio::time::sleep(self.config.retry_pause);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    biased;
                    () = &mut pause => break,
                    queued = queue.recv() => match queued {
                        Some(queued) => refuse(queued, AppendFailure::Unavailable("not_owner")),
                        None => return,
                    },
                }
            }
        }
    }

    /// Prolongs the lease; losing it drops all memory.
    pub(super) async fn renew(&mut self) {
        let Some(lease) = self.lease else { return };
        match self.in_time(self.journal.renew(lease, self.config.lease_ttl)).await {
            // A write of its own, so that nobody need send a command to find out that it works again.
            Ok(true) => {
                self.complain.send_if_modified(|trouble| trouble.take().is_some());
            }
            Ok(false) => {
                tracing::error!(
                    shard = lease.shard.0,
                    epoch = lease.epoch,
                    "the lease is lost; all memory is dropped"
                );
                self.lose();
            }
            // The epoch decides at the next append; a lapsed lease alone harms nobody.
            Err(error) => tracing::warn!(error = %error, "the lease could not be prolonged"),
        }
    }

    /// No answer in time is no answer. What is asked here may be carried out later all the same: at worst it raises the
    /// epoch and fences this node, which then takes the shard anew.
    async fn in_time<T>(&self, asking: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
        tokio::time::timeout(self.config.answer_max, asking)
            .await
            .unwrap_or_else(|_| Err(ReadError::Unavailable("no answer in time".to_owned())))
    }

    pub(super) fn lose(&mut self) {
        self.lease = None;
        self.told.tell(Ownership::Waiting);
    }

    /// What became of batches that were sent one behind the other and ended unclear: of how many of the first it is known
    /// now that they were appended; the others never will be. Then memory is still true.
    pub(super) async fn settle(
        &mut self,
        lease: Lease,
        sent: &[Sent],
        reason: &str,
    ) -> Result<Vec<Appended>, AppendFailure> {
        tracing::warn!(reason, "the outcome of a commit is unclear; settling it");
        let deadline = tokio::time::Instant::now() + self.config.unclear_patience;
        let owned = self.told.tell(Ownership::Recovering);
        loop {
            match self.in_time(self.journal.resolve(lease, sent)).await {
                Ok(Resolution::Kept { lease, committed }) => {
                    tracing::info!(
                        epoch = lease.epoch,
                        committed = committed.len(),
                        "the unclear commit is settled"
                    );
                    self.lease = Some(lease);
                    self.told.tell(owned);
                    return Ok(committed);
                }
                Ok(Resolution::Lost) => {
                    tracing::error!(
                        shard = lease.shard.0,
                        epoch = lease.epoch,
                        "another node took the shard during an unclear commit"
                    );
                    self.lose();
                    return Err(AppendFailure::OutcomeUnknown);
                }
                Err(error) if tokio::time::Instant::now() >= deadline => {
                    tracing::error!(error = %error, "an unclear commit could not be settled in time");
                    // Acquiring raises the epoch, which settles it for the database; nobody here waits for it any more.
                    self.lose();
                    return Err(AppendFailure::OutcomeUnknown);
                }
                Err(_) => tokio::time::sleep(self.config.retry_pause).await,
            }
        }
    }
}
