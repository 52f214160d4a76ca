//! All types whose fields are declared, for the OpenAPI document and the tests. One that is missing here is found by
//! `every_type_that_is_answered_declares_its_fields`.

use utoipa::ToSchema;

use super::fields::{Field, Shown};
use crate::extract::Done;
use crate::routes::{auth, flags, health, me, ofrep, permissions, platform, tenants, users};
use crate::{acceptance, readiness, sign_in, view};

/// A type's declaration.
pub struct Declared {
    /// In the OpenAPI document.
    pub schema: String,
    pub fields: &'static [Field],
}

impl Declared {
    fn of<T: Shown + ToSchema>() -> Self {
        Self { schema: T::name().into_owned(), fields: T::FIELDS }
    }
}

macro_rules! declared {
    ($($type:ty,)+) => {
        /// All declarations. Pages are not among them: they hold `items`, which have their own.
        pub fn declared() -> Vec<Declared> {
            vec![$(Declared::of::<$type>()),+]
        }
    };
}

declared! {
    Done,
    acceptance::Accepted,
    auth::ask_passkey::AskedPasskey,
    auth::sso::discover::SsoChoice,
    auth::sso::discover::SsoChoices,
    flags::poll::CurrentFlag,
    flags::poll::CurrentFlags,
    health::live::Health,
    health::ready::Ready,
    me::access::Access,
    me::add_passkey::AddedPasskey,
    me::confirm_totp::RecoveryCodes,
    me::get::Me,
    me::get::MyMembership,
    me::offer_passkey::Offered,
    me::offer_totp::Offered,
    ofrep::Evaluation,
    ofrep::bulk::Evaluations,
    permissions::list::KnownPermission,
    permissions::list::PermissionList,
    platform::health::JournalHealth,
    platform::health::PlatformHealth,
    platform::projections::ProjectionView,
    platform::rotate_keys::Rotated,
    readiness::Component,
    sign_in::SessionTokens,
    tenants::provision::Provisioned,
    users::invite::InvitedUser,
    view::ActorView,
    view::ApplicationView,
    view::AsOfView,
    view::AuditView,
    view::EventView,
    view::ExplanationView,
    view::FactView,
    view::FlagView,
    view::GrantsView,
    view::HeardView,
    view::InvitationView,
    view::IssuedKeyView,
    view::IssuedTokenView,
    view::JobView,
    view::KeyView,
    view::MembershipView,
    view::OwnTenantView,
    view::PasskeyList,
    view::PasskeyView,
    view::PasswordPolicyView,
    view::PolicyView,
    view::ProfileView,
    view::ReasonView,
    view::RoleView,
    view::RotatedKeyView,
    view::SecurityView,
    view::SessionList,
    view::SessionView,
    view::SsoProviderList,
    view::SsoProviderView,
    view::TenantView,
    view::TokenList,
    view::TokenView,
    view::UserMembership,
    view::UserView,
    view::VerifiedSsoView,
}
