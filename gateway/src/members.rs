//! What a person is in a tenant: inviting, roles, status, removal. Several endpoints lead here.
//!
//! Every gain and loss of ownership is decided by the tenant first, as a step of the request. What follows from its event
//! is sent with the id that the process manager `ownership` would give it: whichever of the two is first does it, so that
//! a crash in between leaves nothing half-done, and a manager that lags undoes nothing that came later.

use aggregates::membership::{self, INVITATION_DAYS, Membership, MembershipCommand};
use aggregates::tenant::{Tenant, TenantCommand};
use aggregates::user::{EMAIL_CLAIM, User, UserCommand};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use engine::command::{DispatchError, Receipt};
use kernel::{Claim, MembershipId, PersonId, TenantId};
use projections::{MemberAccess, MembershipDirectory, Scope, TenantDirectory};
use schemas::events::OwnershipLoss;
use schemas::values::{EmailAddress, MembershipKind, MembershipStatus, PersonName, Role};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use workflows::Consequence;

use crate::caller::Caller;
use crate::extract::Write;
use crate::personal_token::Limited;
use crate::problem::{Code, Problem};
use crate::state::App;
use crate::step::{consequence, step};
use crate::view::words;

mod invitation;

pub use invitation::{resend, revoke};

/// An invitation as it is asked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InviteUser, example = json!({"email": "ben@acme.example", "role": "user", "kind": "staff"}))]
pub struct Invite {
    #[schema(value_type = String, format = Email, max_length = 254)]
    pub email: EmailAddress,
    /// Left out: `user`. Only an owner may invite an owner.
    #[schema(schema_with = words::tenant_role_or_null, required = false)]
    pub role: Option<Role>,
    /// Left out: `staff`.
    #[schema(schema_with = words::membership_kind_or_null, required = false)]
    pub kind: Option<MembershipKind>,
    /// Of a person who is not known yet; whoever is known keeps their name.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    pub first_name: Option<PersonName>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    pub last_name: Option<PersonName>,
    /// Left out: seven days from now.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who was invited.
pub struct Invited {
    pub person: PersonId,
    pub membership: MembershipId,
    pub receipt: Receipt,
}

/// Invites a person by address (FR-TENANT-001). The link is mailed.
///
/// # Errors
/// ERR-AUTH-403 for a role that is not the caller's to give; ERR-VAL-409 if they are a member; ERR-VAL-422 `capacity`.
pub async fn invite(write: &Write<Invite>) -> Result<Invited, Problem> {
    let tenant = write.tenant()?;
    let wish = &write.body;
    let role = wish.role.unwrap_or(Role::User);
    may_give(&write.caller, role)?;
    let person = register(write, wish).await?;
    has_room(&write.app, tenant, Some(person)).await?;
    let membership = membership::id_of(tenant, person);
    // As the journal counts, so that the link can be made again.
    let default = || write.now() + TimeDelta::days(INVITATION_DAYS);
    let expires_at = wish.expires_at.unwrap_or_else(default).trunc_subsecs(6);
    let command = MembershipCommand::Invite {
        tenant,
        person,
        role,
        kind: wish.kind.unwrap_or(MembershipKind::Staff),
        expires_at: Some(expires_at),
        token_hash: Some(write.app.sign_in.links.invitation(membership, expires_at).hash()),
        now: write.now(),
    };
    if role == Role::Owner {
        own(write, membership, person, command.clone()).await?;
    }
    let receipt = write.dispatch::<Membership>(membership.0, command).await?;
    Ok(Invited { person, membership, receipt })
}

/// Invites an owner whom the tenant counts. It may refuse a further one: then there is no invitation either.
async fn own(
    write: &Write<Invite>,
    membership: MembershipId,
    person: PersonId,
    invite: MembershipCommand,
) -> Result<(), Problem> {
    let (tenant, wish) = (write.tenant()?, &write.body);
    let asked = (tenant, person, wish.role, wish.kind, wish.expires_at);
    let invited = step::<Membership, _>(write, "prepare", membership.0, &asked, invite).await?;
    // No event: they are invited already, and the tenant was asked then.
    let Some(event) = invited.event_ids.first().copied() else { return Ok(()) };
    let add = TenantCommand::AddOwner { person };
    match consequence::<Tenant, _>(write, Consequence::AddOwner, event, tenant.0, add).await {
        Ok(decided) => follow(write, &decided, Consequence::Promote, membership, promotion()).await,
        Err(refused) => {
            // Refused only if it is gone already.
            let back = MembershipCommand::Remove;
            let _ = step::<Membership, _>(write, "take_back", membership.0, &asked, back).await;
            Err(refused.into())
        }
    }
}

fn promotion() -> MembershipCommand {
    MembershipCommand::ChangeRole { role: Role::Owner }
}

/// Lets the membership follow what the tenant decided, if it decided anything.
async fn follow<B>(
    write: &Write<B>,
    decided: &Receipt,
    what: Consequence,
    membership: MembershipId,
    command: MembershipCommand,
) -> Result<(), Problem> {
    let Some(event) = decided.event_ids.first().copied() else { return Ok(()) };
    let receipt = consequence::<Membership, _>(write, what, event, membership.0, command).await?;
    write.applied(&receipt).await;
    Ok(())
}

/// The person of the address: whoever holds it, or a new one.
async fn register(write: &Write<Invite>, wish: &Invite) -> Result<PersonId, Problem> {
    let holder = holder(write, &wish.email).await?;
    let known = holder.is_some();
    let person = holder.unwrap_or_else(|| PersonId(write.new_id("person")));
    let command = UserCommand::Register {
        person,
        email: wish.email.clone(),
        first_name: wish.first_name.clone().filter(|_| !known),
        last_name: wish.last_name.clone().filter(|_| !known),
        verified: false,
    };
    let asked = (&wish.email, &wish.first_name, &wish.last_name);
    match step::<User, _>(write, "register", person.0, &asked, command).await {
        Ok(_) => Ok(person),
        // Somebody registered the address in between, perhaps in an earlier try of this request.
        Err(DispatchError::ClaimTaken { .. }) => {
            self::holder(write, &wish.email).await?.ok_or_else(|| Problem::conflict("lost_race"))
        }
        // The person changed names or address since; it is them all the same.
        Err(DispatchError::Rejected { .. }) if known => Ok(person),
        Err(error) => Err(error.into()),
    }
}

async fn holder(write: &Write<Invite>, email: &EmailAddress) -> Result<Option<PersonId>, Problem> {
    let claim = Claim::new(EMAIL_CLAIM, email.as_str());
    let holder = write.app.engine.claim_holder(&claim).await.map_err(|error| {
        tracing::warn!(%error, "a claim could not be looked up");
        Problem::unavailable("database")
    })?;
    Ok(holder.map(|stream| PersonId(stream.id)))
}

/// The plan's limit of users, by the read model: two invitations at once may both find the last place. `None`: for somebody
/// whom nobody knows.
///
/// # Errors
/// ERR-VAL-422 `capacity`, unless the person is a member. ERR-SYS-503.
pub async fn has_room(app: &App, tenant: TenantId, person: Option<PersonId>) -> Result<(), Problem> {
    let before = person.and_then(|person| app.access.memory.membership(tenant, person));
    if before.is_some_and(|member| member.status != MembershipStatus::Removed) {
        return Ok(());
    }
    let client = app.connection().await?;
    let row = TenantDirectory::get(&client, Scope::Tenant(tenant), tenant).await?;
    let limit = row.ok_or_else(Problem::not_found)?.plan.limits().users;
    let count = MembershipDirectory::count(&client, tenant, limit).await?;
    if count < limit { Ok(()) } else { Err(Problem::rule("capacity")) }
}

/// A member of the tenant that the request concerns; whoever was removed is not there.
///
/// # Errors
/// ERR-RES-404, also for another tenant's.
pub fn member<B>(write: &Write<B>, person: Uuid) -> Result<MemberAccess, Problem> {
    let member = write.app.access.memory.membership(write.tenant()?, PersonId(person));
    let member = member.filter(|member| member.status != MembershipStatus::Removed);
    within_reach(&write.caller, member.ok_or_else(Problem::not_found)?)
}

/// The same by the membership's id.
///
/// # Errors
/// ERR-RES-404, also for another tenant's.
pub fn member_by_membership<B>(write: &Write<B>, id: Uuid) -> Result<MemberAccess, Problem> {
    let tenant = write.tenant()?;
    let member = write.app.access.memory.membership_by_id(MembershipId(id)).ok_or_else(Problem::not_found)?;
    if member.tenant != tenant {
        return Err(Problem::hidden());
    }
    if member.status == MembershipStatus::Removed {
        return Err(Problem::not_found());
    }
    within_reach(&write.caller, member)
}

/// True for owners and administrators.
pub fn manages(caller: &Caller) -> bool {
    matches!(caller.role, Some(Role::Owner | Role::Administrator))
}

/// Whoever was merely given permissions changes nothing about those who gave them.
fn within_reach(caller: &Caller, member: MemberAccess) -> Result<MemberAccess, Problem> {
    let above = matches!(member.role, Role::Owner | Role::Administrator);
    if above && !manages(caller) { Err(Problem::forbidden("forbidden")) } else { Ok(member) }
}

/// Gives a member another role (FR-TENANT-004).
///
/// # Errors
/// ERR-AUTH-403: an administrator neither makes nor unmakes owners; ERR-VAL-422 `last_owner`, `capacity`.
pub async fn set_role<B>(
    write: Write<B>,
    member: MemberAccess,
    role: Role,
) -> Result<(Write<B>, Receipt), Problem> {
    may_give(&write.caller, role)?;
    let decision = match role {
        Role::Owner => Decision::Gain,
        to => Decision::Loss(OwnershipLoss::Downgraded { to }),
    };
    let write = decide(write, member, decision).await?;
    let command = MembershipCommand::ChangeRole { role };
    let receipt = write.dispatch::<Membership>(member.membership.0, command).await?;
    Ok((write, receipt))
}

/// Disables or enables a member (FR-TENANT-006). A disabled owner is none; enabled again, they are one again.
///
/// # Errors
/// ERR-AUTH-403: an administrator neither makes nor unmakes owners; ERR-VAL-422 `last_owner`, `capacity`.
pub async fn set_status<B>(
    write: Write<B>,
    member: MemberAccess,
    disabled: bool,
) -> Result<(Write<B>, Receipt), Problem> {
    let (write, command) = match (disabled, member.role) {
        (true, _) => {
            let decision = Decision::Loss(OwnershipLoss::Disabled);
            (decide(write, member, decision).await?, MembershipCommand::Disable)
        }
        (false, Role::Owner) => {
            may_give(&write.caller, Role::Owner)?;
            (decide(write, member, Decision::Gain).await?, MembershipCommand::Enable)
        }
        (false, _) => (write, MembershipCommand::Enable),
    };
    let receipt = write.dispatch::<Membership>(member.membership.0, command).await?;
    Ok((write, receipt))
}

/// Takes a member out of the tenant (FR-TENANT-002). The person stays, and may belong to others.
///
/// # Errors
/// ERR-AUTH-403: an administrator removes no owner; ERR-VAL-422 `last_owner`.
pub async fn remove<B>(write: Write<B>, member: MemberAccess) -> Result<(Write<B>, Receipt), Problem> {
    let write = decide(write, member, Decision::Loss(OwnershipLoss::Removed)).await?;
    let receipt = write.dispatch::<Membership>(member.membership.0, MembershipCommand::Remove).await?;
    Ok((write, receipt))
}

/// A membership that is about to be left.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    member: MemberAccess,
    /// The tenant counts them among its owners, and has to be asked.
    owns: bool,
}

/// What a person leaves who wants to be forgotten.
///
/// # Errors
/// ERR-VAL-422 `last_owner`, but of a tenant that is gone, or that a stranger registered in their name. ERR-SYS-503.
pub async fn may_leave_all<B>(write: &Write<B>, person: PersonId) -> Result<Vec<Leaving>, Problem> {
    let unknown = || Problem::unavailable("access_unknown");
    let memberships = write.app.access.current(false)?.memberships(person).ok_or_else(unknown)?;
    let mut leaving = Vec::with_capacity(memberships.len());
    for member in memberships {
        let looked = write.app.engine.look::<Tenant>(member.tenant.0).await;
        let (tenant, _) = looked.map_err(|_| Problem::unavailable("database"))?;
        let tenant = tenant.existing().filter(|tenant| !tenant.purged && !tenant.unverified);
        let owns = tenant.is_some_and(|tenant| tenant.owners.contains_key(&person));
        if owns && tenant.is_some_and(|tenant| tenant.owners.len() == 1) {
            return Err(Problem::rule("last_owner"));
        }
        leaving.push(Leaving { member, owns });
    }
    Ok(leaving)
}

/// Takes a person out of every tenant, who is forgotten already. What can't be done leaves a membership of nobody, which
/// opens nothing.
pub async fn leave_all<B>(write: &mut Write<B>, all: &[Leaving]) {
    let (tenant, role) = (write.tenant, write.caller.role);
    for leaving in all {
        // What happens in a tenant is told there, as what they were there.
        (write.tenant, write.caller.role) = (Some(leaving.member.tenant), Some(leaving.member.role));
        if let Err(problem) = leave(write, *leaving).await {
            let membership = leaving.member.membership;
            tracing::error!(membership.id = %membership, problem.detail = %problem.detail, "a forgotten person is still a member");
        }
    }
    (write.tenant, write.caller.role) = (tenant, role);
}

async fn leave<B>(write: &Write<B>, leaving: Leaving) -> Result<(), Problem> {
    let Leaving { member, owns } = leaving;
    let of = member.membership;
    if owns {
        let because = OwnershipLoss::Removed;
        let command = TenantCommand::RemoveOwner { person: member.person, because };
        let decided = step::<Tenant, _>(write, "give_up", member.tenant.0, &of, command).await?;
        follow(write, &decided, Consequence::Follow, of, MembershipCommand::Remove).await?;
    }
    let receipt = step::<Membership, _>(write, "leave", of.0, &of, MembershipCommand::Remove).await?;
    write.applied(&receipt).await;
    Ok(())
}

/// What the tenant is to decide.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Gain,
    Loss(OwnershipLoss),
}

impl Decision {
    fn command(self, person: PersonId) -> TenantCommand {
        match self {
            Self::Gain => TenantCommand::AddOwner { person },
            Self::Loss(because) => TenantCommand::RemoveOwner { person, because },
        }
    }

    /// What the membership does when the tenant has decided so.
    fn consequence(self) -> (Consequence, MembershipCommand) {
        match self {
            Self::Gain => (Consequence::Promote, promotion()),
            Self::Loss(OwnershipLoss::Removed) => (Consequence::Follow, MembershipCommand::Remove),
            Self::Loss(OwnershipLoss::Downgraded { to }) => {
                (Consequence::Follow, MembershipCommand::ChangeRole { role: to })
            }
            Self::Loss(OwnershipLoss::Disabled) => (Consequence::Follow, MembershipCommand::Disable),
        }
    }
}

/// Lets the tenant decide about an owner, and the membership follow. An owner always asks, so that no promotion under way
/// is missed; an administrator may only where no owner is concerned.
async fn decide<B>(write: Write<B>, member: MemberAccess, decision: Decision) -> Result<Write<B>, Problem> {
    let gains = matches!(decision, Decision::Gain);
    if write.caller.role != Some(Role::Owner) {
        return if member.role == Role::Owner || gains {
            Err(Problem::forbidden("forbidden"))
        } else {
            Ok(write)
        };
    }
    // What follows moves the membership on, and that is no reason for a 412.
    let write = if member.role == Role::Owner || gains { compare(write, member).await? } else { write };
    let (asked, command) = (format!("{decision:?}"), decision.command(member.person));
    let decided = step::<Tenant, _>(&write, "decide", member.tenant.0, &asked, command).await?;
    let (what, command) = decision.consequence();
    follow(&write, &decided, what, member.membership, command).await?;
    Ok(write)
}

/// Compares `If-Match` with the membership as the read model has it.
async fn compare<B>(write: Write<B>, member: MemberAccess) -> Result<Write<B>, Problem> {
    let Some(expected) = write.expected_sequence() else { return Ok(write) };
    let client = write.app.connection().await?;
    let row = MembershipDirectory::get(&client, Scope::Tenant(member.tenant), member.membership).await?;
    let found = row.ok_or_else(Problem::not_found)?.sequence.unsigned_abs();
    if found != expected {
        let stale = Problem::new(Code::Conflict, "precondition_failed");
        return Err(stale.with_status(axum::http::StatusCode::PRECONDITION_FAILED));
    }
    Ok(write.compared())
}

/// Before anything is done: a role of the platform is no tenant's to give, and ownership is the owners'.
fn may_give(caller: &Caller, role: Role) -> Result<(), Problem> {
    if !role.is_tenant() {
        return Err(Problem::field("/role", "must be owner, administrator or user"));
    }
    // Nobody gives what they don't hold: who was merely given permissions makes no administrators, nor does a token that
    // doesn't stand for everything.
    let holds_all = caller.limited.as_ref().is_none_or(Limited::covers_everything);
    if role != Role::User && !holds_all {
        return Err(Problem::forbidden("forbidden"));
    }
    if (role == Role::Owner && caller.role != Some(Role::Owner)) || (role != Role::User && !manages(caller)) {
        return Err(Problem::forbidden("forbidden"));
    }
    Ok(())
}
