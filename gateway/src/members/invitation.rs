//! What may be done with an invitation until it is accepted: sent anew, and taken back.

use aggregates::membership::{INVITATION_DAYS, Membership, MembershipCommand};
use chrono::{SubsecRound, TimeDelta};
use engine::command::Receipt;
use projections::MemberAccess;
use schemas::events::OwnershipLoss;
use schemas::values::Role;

use super::{Decision, decide};
use crate::caller::Caller;
use crate::extract::Write;
use crate::problem::Problem;

/// Sends an invitation anew, good for seven days from now (FR-TENANT-007). A link is made of membership and expiry, so
/// nobody chooses when it expires: chosen as before, it would be the former link, which has to be void.
///
/// # Errors
/// ERR-AUTH-403: an administrator sends no owner's; ERR-VAL-409 `already_accepted`; ERR-VAL-422 `membership_disabled`.
pub async fn resend<B>(write: &Write<B>, member: MemberAccess) -> Result<Receipt, Problem> {
    may_touch(&write.caller, member)?;
    // As the journal counts, so that the link can be made again.
    let expires_at = (write.now() + TimeDelta::days(INVITATION_DAYS)).trunc_subsecs(6);
    let link = write.app.sign_in.links.invitation(member.membership, expires_at);
    let command = MembershipCommand::Resend {
        expires_at: Some(expires_at),
        token_hash: Some(link.hash()),
        now: write.now(),
    };
    write.dispatch::<Membership>(member.membership.0, command).await
}

/// Takes an invitation back. An invited owner counts as one, so the tenant decides first, as with every loss of ownership.
///
/// # Errors
/// ERR-AUTH-403: an administrator takes back no owner's; ERR-VAL-409 `already_accepted`; ERR-VAL-422 `last_owner`.
pub async fn revoke<B>(write: Write<B>, member: MemberAccess) -> Result<(Write<B>, Receipt), Problem> {
    may_touch(&write.caller, member)?;
    // Before the tenant decides anything. Who accepts this very moment is refused by the membership below; an owner who
    // does may be removed, as any owner may remove them.
    if member.accepted {
        return Err(Problem::conflict("already_accepted"));
    }
    let write = decide(write, member, Decision::Loss(OwnershipLoss::Removed)).await?;
    let receipt = write.dispatch::<Membership>(member.membership.0, MembershipCommand::Revoke).await?;
    Ok((write, receipt))
}

fn may_touch(caller: &Caller, member: MemberAccess) -> Result<(), Problem> {
    if member.role == Role::Owner && caller.role != Some(Role::Owner) {
        return Err(Problem::forbidden("forbidden"));
    }
    Ok(())
}
