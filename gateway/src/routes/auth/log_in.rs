//! `POST /auth/login` (FR-AUTH-001, UC-LISTEN)

use aggregates::user::{Checked, User, UserCommand};
use axum::response::Response;
use kernel::TenantId;
use schemas::values::{EmailAddress, PasswordHash};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Write;
use crate::passwords::Password;
use crate::problem::Problem;
use crate::sign_in::{
    self, Begin, Begun, Found, SessionTokens, begin, invalid_credentials, may_try, risk,
    second_factor_wanted, settle, tenant_of_session,
};
use crate::slowdown::Outcome;
use crate::tickets::Challenge;

/// Who signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogIn, example = json!({"email": "ann@acme.example", "password": "correct horse battery staple"}))]
pub struct LogIn {
    #[schema(value_type = String, format = Email, max_length = 254)]
    email: EmailAddress,
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024)]
    password: Password,
    /// The tenant that the session is for. Left out: the person's only one; whoever belongs to several gets a session that
    /// is good for all of them, and picks one for each request by `x-org`.
    tenant: Option<Uuid>,
    /// What an earlier login on this device answered as `device`.
    device: Option<String>,
}

/// Sign in
///
/// Unknown address, wrong password and disabled person have one answer, and it takes as long. If the person has a second
/// factor the answer is ERR-AUTH-461 with a `challenge` for `POST /auth/login/mfa`; and so it is if the login is unusual (new
/// device, network, hour, pace) and they have none: then `methods` is `["email_code"]`, and a code is mailed. Failures slow further attempts down
/// (ERR-RATE-429 `slow_down`); a device that signed in before is not slowed down by what strangers try.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "authentication",
    request_body = LogIn,
    responses((status = OK, description = "A session began.", body = SessionTokens)),
)]
pub async fn log_in(mut write: Write<LogIn>) -> Result<Response, Problem> {
    let app = write.app.clone();
    let tickets = &app.sign_in.tickets;
    let account = tickets.account(&write.body.email);
    let shown_device = write.body.device.as_deref().and_then(|text| tickets.read_device(&account, text));
    let pass = may_try(&write, account, shown_device)?;
    let found = match Found::by_address(&app, &account, &write.body.email).await {
        Ok(found) => found,
        Err(problem) => {
            settle(&write, pass, Outcome::NotTried, None);
            return Err(problem);
        }
    };
    // A device that was forgotten since, as the password was reset, is a stranger's.
    let known_device =
        shown_device.filter(|device| found.known.as_ref().is_some_and(|known| known.has(*device)));
    let pass = if known_device == shown_device {
        pass
    } else {
        settle(&write, pass, Outcome::NotTried, None);
        may_try(&write, account, None)?
    };
    let verified = sign_in::verify(&app, &write.body.password, found.known.as_ref()).await;
    if !matches!(verified, Ok(Some(_))) {
        found.failed(&app, &write.body.email).await;
    }
    let verified = match verified {
        Ok(verified) => verified,
        Err(problem) => {
            settle(&write, pass, Outcome::NotTried, None);
            return Err(problem);
        }
    };
    let (Some(known), Some((checked, rehash))) = (&found.known, verified) else {
        let person = found.known.map(|known| known.person);
        if let Some(person) = person {
            write.concerns("user", person);
        }
        settle(&write, pass, Outcome::Failed, person);
        return Err(invalid_credentials());
    };
    let person = known.person;
    settle(&write, pass, Outcome::Succeeded, Some(person));
    app.sign_in.acquaintances.remember(account, person);
    write.concerns("user", person);
    let checked = if rehash { strengthened(&write, person.0, checked).await } else { checked };
    let asked = write.body.tenant.map(TenantId);
    let device = known_device.unwrap_or_else(|| app.ids.fresh());
    let challenge = Challenge::new(person, asked, (device, known_device.is_some()), &checked, write.now());
    // Before anything is said of where the person belongs.
    let asks = risk::asks(&write, known, &challenge);
    if known.state.sign_in.has_second_factor() {
        return Err(second_factor_wanted(&app, &challenge, known));
    }
    if asks {
        let (Ok(told) | Err(told)) = risk::challenge_by_mail(&mut write, known, checked, &challenge).await;
        return Err(told);
    }
    let tenant = tenant_of_session(&app, person, asked)?;
    let wish = Begin {
        person,
        tenant,
        checked: Checked::Password(checked.clone()),
        device,
        second_factor: None,
        sso: None,
    };
    match begin(&mut write, wish, &account).await? {
        Begun::Session(response) => Ok(*response),
        // It was enrolled a moment ago.
        Begun::SecondFactorRequired => {
            let known = sign_in::by_id(&app, person).await?.ok_or_else(invalid_credentials)?;
            Err(second_factor_wanted(&app, &challenge, &known))
        }
        // Another login began a moment ago.
        Begun::MailedCodeRequired => {
            let (Ok(told) | Err(told)) =
                risk::challenge_by_mail(&mut write, known, checked, &challenge).await;
            Err(told)
        }
        Begun::SecondFactorWrong | Begun::Refused => Err(invalid_credentials()),
    }
}

/// Hashes the password anew, as its hash is weaker than those made now. If that fails, the next login tries again.
async fn strengthened(write: &Write<LogIn>, person: Uuid, former: PasswordHash) -> PasswordHash {
    let app = &write.app;
    let Ok(hash) = app.sign_in.hasher.hash(&write.body.password).await else { return former };
    let context = engine::command::CommandContext::new(write.metadata());
    let command = UserCommand::Rehash { former: former.clone(), hash: hash.clone() };
    match app.engine.dispatch::<User>(person, command, context).await {
        Ok(_) => hash,
        Err(error) => {
            tracing::info!(%error, "a password was not hashed anew; the next login tries again");
            former
        }
    }
}
