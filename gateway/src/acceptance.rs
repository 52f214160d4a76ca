//! What the links lead to that make somebody a member: the address is theirs, as the link was sent there. An invitation
//! leads here, and what verifies a registration.

use aggregates::membership::{Membership, MembershipCommand, MembershipRejection};
use aggregates::tenant::{Tenant, TenantCommand};
use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use axum::response::Response;
use engine::command::DispatchError;
use kernel::{MembershipId, TenantId};
use schemas::values::{MembershipStatus, PersonName, SecretHash};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use workflows::{Links, Opened};

use crate::extract::Write;
use crate::passwords::Password;
use crate::problem::Problem;
use crate::sign_in::{self, act_as, may_ask, may_try, new_password, settle, verify, was_right};
use crate::slowdown::Outcome;
use crate::state::App;
use crate::step::step;
use crate::view::audience::{EVERYONE, STRANGER};
use crate::view::fields::fields;

/// A link's answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcceptLink, example = json!({
    "token": "AZLwwWoAcACAAAAAAAAAAgAGZ", "password": "correct horse battery staple", "first_name": "Ann"
}))]
pub struct Accept {
    /// What the link says.
    token: String,
    /// Of a person who has none yet; whoever has one keeps it, and leaves this out.
    #[schema(value_type = Option<String>, format = Password, min_length = 1, max_length = 1024)]
    password: Option<Password>,
    /// Of a person whose name is not known yet.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    first_name: Option<PersonName>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    last_name: Option<PersonName>,
}

/// What was accepted.
#[derive(ToSchema)]
#[schema(as = AcceptedLink, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "membership": "5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4",
    "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "email": "ann@acme.example"
}))]
pub struct Accepted {
    /// The person.
    pub id: Uuid,
    pub membership: Uuid,
    pub tenant: Uuid,
    /// The address to sign in with, which the link has proved.
    pub email: Option<String>,
}

fields! { Accepted {
    id: EVERYONE,
    membership: EVERYONE,
    tenant: EVERYONE,
    // The link has proved that it is theirs.
    email: STRANGER,
} }

/// What a link is for. One of another kind is none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody of the tenant, or an operator, invited the person.
    Invitation,
    /// A stranger registered the tenant as the person's; it is blocked until they verify that.
    Verification,
}

impl Kind {
    fn open(self, links: &Links, token: &str) -> Option<(Opened<MembershipId>, SecretHash)> {
        match self {
            Self::Invitation => links.open_invitation(token),
            Self::Verification => links.open_verification(token),
        }
    }

    fn invalid(self) -> Problem {
        Problem::rule(match self {
            Self::Invitation => "invitation_invalid",
            Self::Verification => "verification_invalid",
        })
    }

    fn expired(self) -> Problem {
        Problem::rule(match self {
            Self::Invitation => "invitation_expired",
            Self::Verification => "verification_expired",
        })
    }
}

/// Makes the person of a link a member. Nobody is signed in by it.
///
/// # Errors
/// ERR-VAL-422 `invitation_invalid`, `verification_invalid`: it is not the last link, or there is nothing to accept any
/// more; `invitation_expired`, `verification_expired`; `weak_password`. ERR-VAL-400: a first password is missing.
/// ERR-VAL-409 `password_already_set`: another one than the person's. ERR-RATE-429, ERR-SYS-503.
pub async fn accept(mut write: Write<Accept>, kind: Kind) -> Result<Response, Problem> {
    let app = write.app.clone();
    let opened = kind.open(&app.sign_in.links, &write.body.token);
    let (opened, token_hash) = opened.ok_or_else(|| kind.invalid())?;
    let (invited, _) =
        app.engine.look::<Membership>(opened.of.0).await.map_err(|_| Problem::unavailable("database"))?;
    let invited = invited.existing().cloned().ok_or_else(|| kind.invalid())?;
    // Everything that can be found wrong is found before anything is done.
    if invited.invitation.token_hash.as_ref() != Some(&token_hash) || invited.removed {
        return Err(kind.invalid());
    }
    if invited.status() == MembershipStatus::Invited && opened.expires_at <= write.now() {
        return Err(kind.expired());
    }
    if kind == Kind::Verification && !is_there(&app, invited.tenant).await? {
        return Err(kind.invalid());
    }
    let known = sign_in::by_id(&app, invited.person).await?.ok_or_else(|| kind.invalid())?;
    if known.state.disabled || known.state.forgotten {
        return Err(kind.invalid());
    }
    // Before `act_as`: a guess is a stranger's.
    let pass = may_ask(&write, app.sign_in.tickets.link_account(known.person))?;
    let hash = match (&write.body.password, known.hash()) {
        (None, Some(_)) => None,
        (None, None) => return Err(Problem::field("/password", "is missing: the person has none yet")),
        (Some(password), None) => Some(new_password(&app, password, &known, Some(invited.tenant)).await?),
        // Asked again after an answer that got lost; or a guess, like any other.
        (Some(password), Some(_)) => {
            let account = known.state.email.reveal().map(|email| app.sign_in.tickets.account(email));
            let pass = may_try(&write, account.ok_or_else(|| kind.invalid())?, None)?;
            let right = verify(&app, password, Some(&known)).await?.is_some();
            let outcome = if right { Outcome::Succeeded } else { Outcome::Failed };
            settle(&write, pass, outcome, Some(known.person));
            if !right {
                return Err(Problem::conflict("password_already_set"));
            }
            None
        }
    };
    was_right(&write, pass);
    act_as(&mut write, known.person, Some(invited.tenant))?;
    // The membership first: it decides whether the link is good, and a retry finds it accepted and goes on.
    let command = MembershipCommand::Accept { token_hash: Some(token_hash), now: write.now() };
    let receipt = match write.try_dispatch::<Membership>(opened.of.0, command).await {
        // It was replaced, taken back or too old a moment after it was looked at.
        Err(DispatchError::Rejected { rejection, .. }) => {
            return Err(match rejection {
                MembershipRejection::InvitationInvalid | MembershipRejection::NotFound => kind.invalid(),
                MembershipRejection::InvitationExpired { .. } => kind.expired(),
                rejection => DispatchError::Rejected { rejection, replayed: false }.into(),
            });
        }
        decided => decided?,
    };
    let (first_name, last_name) = (write.body.first_name.clone(), write.body.last_name.clone());
    let command = UserCommand::AcceptInvitation { hash, first_name, last_name };
    let accepted = step::<User, _>(&write, "person", known.person.0, &"accept", command).await?;
    write.applied(&accepted).await;
    if kind == Kind::Verification {
        // The process manager `registration` does it too, for whoever got no further than the membership.
        let command = TenantCommand::Verify;
        let verified = step::<Tenant, _>(&write, "tenant", invited.tenant.0, &"verify", command).await?;
        write.applied(&verified).await;
    }
    let body = Accepted {
        id: known.person.0,
        membership: opened.of.0,
        tenant: invited.tenant.0,
        email: known.state.email.reveal().map(|email| email.as_str().to_owned()),
    };
    Ok(write.answer(StatusCode::OK, &receipt, &body))
}

/// False if the tenant is gone, such as a registration that lapsed.
async fn is_there(app: &App, tenant: TenantId) -> Result<bool, Problem> {
    let (tenant, _) =
        app.engine.look::<Tenant>(tenant.0).await.map_err(|_| Problem::unavailable("database"))?;
    Ok(tenant.existing().is_some_and(|tenant| !tenant.purged))
}
