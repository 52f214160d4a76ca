//! `POST /auth/login` (FR-AUTH-001, UC-LISTEN)

use aggregates::user::{User, UserCommand};
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
    self, Begin, Begun, SessionTokens, begin, invalid_credentials, may_try, second_factor_wanted, settle,
    tenant_of_session,
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
/// factor the answer is ERR-AUTH-461 with a `challenge` for `POST /auth/login/mfa`. Failures slow further attempts down
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
    let known_device = write.body.device.as_deref().and_then(|text| tickets.read_device(&account, text));
    let pass = may_try(&write, account, known_device)?;
    let found = match sign_in::by_address(&app, &write.body.email).await {
        Ok(found) => found,
        Err(problem) => {
            settle(&write, pass, Outcome::NotTried, None);
            return Err(problem);
        }
    };
    let person = found.as_ref().map(|known| known.person);
    let verified = match sign_in::verify(&app, &write.body.password, found.as_ref()).await {
        Ok(verified) => verified,
        Err(problem) => {
            settle(&write, pass, Outcome::NotTried, None);
            return Err(problem);
        }
    };
    let (Some(person), Some((checked, rehash))) = (person, verified) else {
        if let Some(person) = person {
            write.concerns("user", person);
        }
        settle(&write, pass, Outcome::Failed, person);
        return Err(invalid_credentials());
    };
    settle(&write, pass, Outcome::Succeeded, Some(person));
    write.concerns("user", person);
    let tenant = tenant_of_session(&app, person, write.body.tenant.map(TenantId))?;
    let device = known_device.unwrap_or_else(|| app.ids.fresh());
    let wish = Begin { person, tenant, checked: checked.clone(), device, second_factor: None };
    let begun = begin(&mut write, wish, &account).await?;
    if rehash {
        strengthen(&write, person.0, checked.clone());
    }
    match begun {
        Begun::Session(response) => Ok(*response),
        Begun::SecondFactorRequired => {
            let challenge = Challenge::new(person, tenant, device, &checked, write.now());
            Err(second_factor_wanted(&app, &challenge))
        }
        Begun::SecondFactorWrong | Begun::Refused => Err(invalid_credentials()),
    }
}

/// Hashes the password anew, as its hash is weaker than those made now. Nobody waits for it; if it fails, the next login
/// tries again.
fn strengthen(write: &Write<LogIn>, person: Uuid, former: PasswordHash) {
    let (app, password) = (write.app.clone(), write.body.password.clone());
    let context = engine::command::CommandContext::new(write.metadata());
    tokio::spawn(async move {
        let Ok(hash) = app.sign_in.hasher.hash(&password).await else { return };
        let command = UserCommand::Rehash { former, hash };
        if let Err(error) = app.engine.dispatch::<User>(person, command, context).await {
            tracing::info!(%error, "a password was not hashed anew; the next login tries again");
        }
    });
}
