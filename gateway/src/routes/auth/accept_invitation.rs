//! `POST /auth/invitations/accept` (UC-TENANT-INVITE)

use aggregates::membership::{Membership, MembershipCommand};
use aggregates::user::{User, UserCommand};
use axum::response::Response;
use schemas::values::{MembershipStatus, PersonName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Write;
use crate::passwords::Password;
use crate::problem::Problem;
use crate::sign_in::{self, act_as, may_ask, may_try, new_password, settle, verify, was_right};
use crate::slowdown::Outcome;
use crate::step::step;

/// An invitation's answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcceptInvitation, example = json!({
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
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedInvitation, example = json!({
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

/// Accept an invitation
///
/// The link proves the address. Nobody is signed in by it: sign in with the password next. A link that is not the last
/// one is ERR-VAL-422 `invitation_invalid`, one that is too old `invitation_expired`.
#[utoipa::path(
    post,
    path = "/auth/invitations/accept",
    tag = "authentication",
    request_body = Accept,
    responses((status = OK, description = "The person is a member.", body = Accepted)),
)]
pub async fn accept_invitation(mut write: Write<Accept>) -> Result<Response, Problem> {
    let app = write.app.clone();
    let invalid = || Problem::rule("invitation_invalid");
    let opened = app.sign_in.links.open_invitation(&write.body.token);
    let (opened, token_hash) = opened.ok_or_else(invalid)?;
    let (invited, _) =
        app.engine.look::<Membership>(opened.of.0).await.map_err(|_| Problem::unavailable("database"))?;
    let invited = invited.existing().cloned().ok_or_else(invalid)?;
    // Everything that can be found wrong is found before anything is done.
    if invited.invitation.token_hash.as_ref() != Some(&token_hash) || invited.removed {
        return Err(invalid());
    }
    if invited.status() == MembershipStatus::Invited && opened.expires_at <= write.now() {
        return Err(Problem::rule("invitation_expired"));
    }
    let known = sign_in::by_id(&app, invited.person).await?.ok_or_else(invalid)?;
    if known.state.disabled || known.state.forgotten {
        return Err(invalid());
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
            let pass = may_try(&write, account.ok_or_else(invalid)?, None)?;
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
    let receipt = write.dispatch::<Membership>(opened.of.0, command).await?;
    let (first_name, last_name) = (write.body.first_name.clone(), write.body.last_name.clone());
    let command = UserCommand::AcceptInvitation { hash, first_name, last_name };
    let accepted = step::<User, _>(&write, "person", known.person.0, &"accept", command).await?;
    write.applied(&accepted).await;
    let body = Accepted {
        id: known.person.0,
        membership: opened.of.0,
        tenant: invited.tenant.0,
        email: known.state.email.reveal().map(|email| email.as_str().to_owned()),
    };
    Ok(write.answer(axum::http::StatusCode::OK, &receipt, &body))
}
