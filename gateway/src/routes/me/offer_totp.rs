//! `POST /api/v1/users/me/mfa/totp` (NFR-SEC-003)

use axum::response::Response;
use qrcode::QrCode;
use qrcode::render::svg;
use totp_rs::{Algorithm, Builder};
use utoipa::ToSchema;

use crate::extract::Write;
use crate::passkeys::may_add;
use crate::problem::Problem;
use crate::sign_in;
use crate::view::audience::THEMSELF;
use crate::view::fields::fields;

/// How the issuer is called in authenticator apps.
const ISSUER: &str = "Tenantry";

/// A secret for an authenticator app.
#[derive(ToSchema)]
#[schema(as = OfferedTotp, example = json!({
    "enrolment": "AZLwwWoAcACAAAAAAAAAAg", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "url": "otpauth://totp/Tenantry:ann%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Tenantry",
    "qr_svg": "<svg/>"
}))]
pub struct Offered {
    /// For the confirmation, within 15 minutes.
    pub enrolment: String,
    /// In base 32, to be typed by hand.
    pub secret: String,
    /// What the QR code says.
    pub url: String,
    /// The QR code, as an SVG document.
    pub qr_svg: String,
}

fields! { Offered {
    // Secrets of one person's.
    enrolment: THEMSELF,
    secret: THEMSELF,
    url: THEMSELF,
    qr_svg: THEMSELF,
} }

/// Get a secret for one-time codes
///
/// Nothing changes until a first code confirms that an authenticator has it. Wants a fresh authentication.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/mfa/totp",
    tag = "me",
    responses((status = OK, description = "The secret. It is shown here only.", body = Offered)),
)]
pub async fn offer_totp(write: Write) -> Result<Response, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let known = sign_in::by_id(&write.app, person).await?.ok_or_else(Problem::not_found)?;
    if known.state.sign_in.totp.is_some() {
        return Err(Problem::conflict("mfa_already_set"));
    }
    may_add(&write, &known)?;
    let email = known.state.email.reveal().ok_or_else(Problem::not_found)?;
    let (secret, enrolment) = write.app.sign_in.tickets.enrolment(person, write.now());
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_secret(secret.bytes())
        .with_account_name(email.as_str())
        .with_issuer(Some(ISSUER))
        .build()
        .map_err(|_| Problem::unexpected())?;
    let url = totp.to_url().map_err(|_| Problem::unexpected())?;
    let code = QrCode::new(&url).map_err(|_| Problem::unexpected())?;
    let qr_svg = code.render::<svg::Color>().min_dimensions(200, 200).build();
    let mut response = write.show(&Offered {
        enrolment: enrolment.to_string(),
        secret: totp.secret().to_base32(),
        url,
        qr_svg,
    });
    crate::view::never_stored(&mut response);
    Ok(response)
}
