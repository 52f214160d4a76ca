//! What an unusual login leads to (NFR-SEC-006, CON-SEC-008). What is unusual, the person's aggregate says.

use aggregates::user::{self, ChallengeLogin, MailedCode, User, UserCommand, UserRejection};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::ValueEnum;
use engine::command::DispatchError;
use kernel::Origin;
use schemas::values::PasswordHash;
use serde_json::json;

use super::{Known, act_as, by_id, invalid_credentials, second_factor_wanted, tenant_of_session};
use crate::extract::Write;
use crate::problem::Problem;
use crate::state::App;
use crate::tickets::Challenge;

/// How long a mailed code is good: letters take their time.
pub const CODE_TTL: TimeDelta = TimeDelta::minutes(10);

/// Whether anybody is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SignInRisk {
    /// For the second factor; of whoever has none, for a code that is mailed.
    #[default]
    Ask,
    /// Nobody: what is unusual is recorded.
    Record,
}

/// Where a login comes from, if anything is known of it.
pub fn origin<B>(write: &Write<B>) -> Option<Origin> {
    Some(write.origin().clone()).filter(|origin| *origin != Origin::default())
}

/// True if a login is to be asked for more than the password. Whoever has a second factor is so in any case: why it is
/// unusual stands in the audit trail for them too.
pub fn asks<B>(write: &Write<B>, known: &Known, challenge: &Challenge) -> bool {
    let risk = known.state.sign_in.risk(challenge.device, Some(write.origin()), write.now());
    write.is_unusual(&risk);
    write.app.sign_in.risk == SignInRisk::Ask && user::is_unusual(&risk)
}

/// Has a code mailed, unless one was a moment ago, and tells what goes on with it: ERR-AUTH-461. The letter goes on its way
/// after the answer. `of`: the login, whose password was verified.
///
/// # Errors
/// ERR-AUTH-401: meanwhile the password was changed, or the person disabled. Whatever dispatch refuses.
pub async fn challenge_by_mail<B>(
    write: &mut Write<B>,
    known: &Known,
    checked: PasswordHash,
    of: &Challenge,
) -> Result<Problem, Problem> {
    let (person, now) = (known.person, write.now());
    if let Some(lately) = known.state.sign_in.lately_mailed(now) {
        return Ok(goes_on_with(&write.app, of, lately, now));
    }
    // Where they don't belong they are not heard of.
    let tenant = tenant_of_session(&write.app, person, of.tenant).ok().flatten();
    act_as(write, person, tenant)?;
    let (challenge, expires_at) = (write.app.ids.fresh(), (now + CODE_TTL).trunc_subsecs(6));
    let links = &write.app.sign_in.links;
    let code = links.login_code(person, challenge, expires_at);
    let command = UserCommand::ChallengeLogin(Box::new(ChallengeLogin {
        challenge,
        checked,
        device: of.device,
        origin: origin(write),
        code_hash: links.login_code_hash(person, challenge, code.reveal()),
        now,
        expires_at,
    }));
    match write.try_dispatch::<User>(person.0, command).await {
        Ok(_) => {}
        // It was enrolled a moment ago.
        Err(DispatchError::Rejected { rejection: UserRejection::SecondFactorRequired, .. }) => {
            let since = by_id(&write.app, person).await?.ok_or_else(invalid_credentials)?;
            return Ok(second_factor_wanted(&write.app, of, &since));
        }
        Err(DispatchError::Rejected { .. }) => return Err(invalid_credentials()),
        Err(error) => return Err(error.into()),
    }
    // Another login may have been challenged at the same moment: then it is that one's code.
    let since = by_id(&write.app, person).await?;
    let mailed = since.as_ref().and_then(|known| known.state.sign_in.lately_mailed(now));
    mailed.map(|mailed| goes_on_with(&write.app, of, mailed, now)).ok_or_else(invalid_credentials)
}

fn goes_on_with(app: &App, of: &Challenge, mailed: &MailedCode, now: DateTime<Utc>) -> Problem {
    let challenge = of.by_mail(mailed.challenge, mailed.expires_at);
    let members = json!({
        "challenge": *app.sign_in.tickets.challenge_text(&challenge),
        "methods": ["email_code"],
        "expires_in": (challenge.expires_at - now).num_seconds(),
    });
    let serde_json::Value::Object(members) = members else { return Problem::unexpected() };
    Problem::second_factor(members)
}
