//! What PostgreSQL's refusal of a batch means.

use kernel::ClaimChange;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::{AppendError, AppendItem, Lease, Refusal};

/// SQLSTATE of `journal_advance`: the epoch is not the shard's.
const FENCED: &str = "TN001";
/// SQLSTATE of `journal_advance`: the batch that this one was to follow is not the last.
const OUT_OF_ORDER: &str = "TN003";

/// Sorts PostgreSQL's errors by what is known of the transaction.
pub(super) fn append_error(error: &Error, lease: Lease, items: &[AppendItem]) -> AppendError {
    let Some(db) = error.as_db_error() else {
        // No answer of the server: the statement may have been carried out.
        return AppendError::Unclear(error.to_string());
    };
    let code = db.code();
    let class = &code.code()[..2];
    if code.code() == FENCED {
        AppendError::Fenced { shard: lease.shard, epoch: lease.epoch }
    } else if code.code() == OUT_OF_ORDER {
        AppendError::OutOfOrder
    } else if *code == SqlState::UNIQUE_VIOLATION {
        AppendError::Refused(refusal_of(db.constraint(), items))
    } else if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE {
        AppendError::Repeat
    } else if class == "57" || class == "08" {
        // The server is going down, or came back and ended us: it may say so after the commit.
        AppendError::Unclear(db.message().to_owned())
    } else if class == "22" || class == "23" {
        AppendError::Refused(Refusal::Unstorable { reason: code.code().to_owned() })
    } else {
        // Disk full, too many connections, read-only: the server answered that it did not commit.
        AppendError::Unavailable(format!("SQLSTATE {}: {}", code.code(), db.message()))
    }
}

/// Which rule a unique violation broke.
fn refusal_of(constraint: Option<&str>, items: &[AppendItem]) -> Refusal {
    match constraint {
        Some("claims_pkey") => {
            let kind = items.iter().flat_map(|item| &item.claims).find_map(|change| match change {
                ClaimChange::Take(claim) => Some(claim.kind.to_owned()),
                ClaimChange::Free(_) => None,
            });
            Refusal::Claim { kind: kind.unwrap_or_default() }
        }
        Some("command_outcomes_pkey") => Refusal::DuplicateCommand,
        Some("subject_keys_pkey") => Refusal::KeyTaken,
        _ => Refusal::Sequence,
    }
}
