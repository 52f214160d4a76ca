//! `POST /api/v1/users/me/mfa/totp/confirm` (NFR-SEC-003)

use aggregates::user::{User, UserCommand, UserRejection};
use axum::response::Response;
use engine::command::DispatchError;
use kernel::PersonId;
use schemas::values::SecretHash;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::extract::Write;
use crate::passkeys::may_add;
use crate::problem::Problem;
use crate::sign_in::{self, may_try, settle};
use crate::slowdown::Outcome;
use crate::view::audience::THEMSELF;
use crate::view::fields::fields;

/// How many recovery codes there are.
const CODES: u8 = 10;
/// Each is one of 32 (RFC 4648 §6): 50 random bits.
const CODE_CHARS: usize = 10;

/// The first code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmTotp, example = json!({"enrolment": "AZLwwWoAcACAAAAAAAAAAg", "code": "287082"}))]
pub struct Confirm {
    /// What came with the secret.
    enrolment: String,
    /// The six digits that the authenticator shows.
    code: String,
}

/// Codes for the day the authenticator is lost.
#[derive(ToSchema)]
#[schema(as = RecoveryCodes, example = json!({"recovery_codes": ["ABCDE-FGHIJ"]}))]
pub struct RecoveryCodes {
    /// Each signs in once. They are shown here only.
    pub recovery_codes: Vec<String>,
}

fields! { RecoveryCodes {
    // Secrets of one person's.
    recovery_codes: THEMSELF,
} }

/// New recovery codes, and what is kept of them. With an `Idempotency-Key` a retry makes the same ones.
///
/// # Errors
/// ERR-SYS-500: the operating system gives no random bytes.
pub(super) fn recovery_codes<B>(
    write: &Write<B>,
    person: PersonId,
) -> Result<(RecoveryCodes, Vec<SecretHash>), Problem> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let seed = write.new_secret(person.0)?;
    let code = |number: u8| {
        let bytes = Sha256::new().chain_update(*seed).chain_update([number]).finalize();
        let mut code: String =
            bytes[..CODE_CHARS].iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        code.insert(CODE_CHARS / 2, '-');
        code
    };
    let codes: Vec<String> = (0..CODES).map(code).collect();
    let tickets = &write.app.sign_in.tickets;
    let hashes = codes.iter().map(|code| tickets.recovery_hash(person, code)).collect();
    Ok((RecoveryCodes { recovery_codes: codes }, hashes))
}

/// Confirm the second factor by a first code
///
/// From now on every login asks for one, and all other sessions end. A secret that is older than 15 minutes is ERR-VAL-422 `enrolment_invalid`. Wants a
/// fresh authentication.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/mfa/totp/confirm",
    tag = "me",
    request_body = Confirm,
    responses((status = OK, description = "It is set; the recovery codes are shown once.", body = RecoveryCodes)),
)]
pub async fn confirm_totp(write: Write<Confirm>) -> Result<Response, Problem> {
    let (person, session) = write.caller.signed_in()?;
    let tickets = &write.app.sign_in.tickets;
    let now = write.now();
    let secret = tickets.read_enrolment(person, &write.body.enrolment, now);
    let secret = secret.ok_or_else(|| Problem::rule("enrolment_invalid"))?;
    let known = sign_in::by_id(&write.app, person).await?.ok_or_else(Problem::not_found)?;
    // Repeated, it is set already, and says so below.
    if known.state.sign_in.totp.is_none() {
        may_add(&write, &known)?;
    }
    let pass = may_try(&write, tickets.second_factor_account(person), None)?;
    let (codes, recovery_codes) = recovery_codes(&write, person)?;
    let (code, by) = (write.body.code.clone(), session);
    let command = UserCommand::EnrolTotp { secret, code, recovery_codes, by, now };
    let result = write.try_dispatch::<User>(person.0, command).await;
    let outcome = match &result {
        Ok(_) => Outcome::Succeeded,
        Err(DispatchError::Rejected { .. }) => Outcome::Failed,
        Err(_) => Outcome::NotTried,
    };
    settle(&write, pass, outcome, Some(person));
    match result {
        Ok(receipt) if write.may_show_secret(&receipt) => {
            let mut response = write.show(&codes);
            crate::view::never_stored(&mut response);
            Ok(response)
        }
        // It is set already: its codes were shown then.
        Ok(_) => Err(Problem::conflict("mfa_already_set")),
        Err(DispatchError::Rejected { rejection: UserRejection::SecondFactorWrong, .. }) => {
            Err(Problem::rule("mfa_wrong"))
        }
        Err(error) => Err(error.into()),
    }
}
