//! Signing in and out.

pub mod accept_invitation;
pub mod ask_passkey;
pub mod forgot_password;
pub mod log_in;
pub mod log_in_with_passkey;
pub mod log_out;
pub mod log_out_all;
pub mod refresh;
pub mod register;
pub mod reset_password;
pub mod second_factor;
pub mod sso;
pub mod verify_email;
