//! The URL map: every route, who may call it, on which tenant, and what it does. There is no other place for routes.

mod map;

use schemas::values::{Role, Scope};
use utoipa_axum::routes;

use crate::endpoint::{Endpoint, Listener, TenantRule};
use crate::routes::{
    access, applications, audit, auth, docs, flags, health, invitations, jobs, keys, me, memberships, ofrep,
    own_tenant, permissions, platform, policies, roles, tenant_flags, tenants, users, well_known,
};

pub use map::UrlMap;

const OPERATOR: &[Role] = &[Role::Operator];
const AUDITOR: &[Role] = &[Role::Auditor];
const EXPLAINERS: &[Role] = &[Role::Operator, Role::Auditor];
const DEVELOPER: &[Role] = &[Role::Developer];
const OWNER: &[Role] = &[Role::Owner];
const MANAGERS: &[Role] = &[Role::Owner, Role::Administrator];
const MEMBERS: &[Role] = &[Role::Owner, Role::Administrator, Role::User];
const MEMBERS_AND_OPERATOR: &[Role] = &[Role::Owner, Role::Administrator, Role::User, Role::Operator];

/// All endpoints.
pub fn url_map() -> UrlMap {
    UrlMap::default()
        // For machines and people that look at the server.
        .at(probe("/health", "health:live"), routes!(health::live::live))
        .at(probe("/ready", "health:ready"), routes!(health::ready::ready))
        .at(
            Endpoint::get("/metrics", "health:metrics")
                .anyone()
                .on_listener(Listener::Admin)
                .unaudited("a probe, on the private port"),
            routes!(health::metrics::metrics),
        )
        .at(
            Endpoint::get("/openapi.json", "docs:openapi").anyone().unaudited("the same text for everybody"),
            routes!(docs::openapi::openapi),
        )
        .at(
            Endpoint::get("/.well-known/jwks.json", "keys:publish")
                .anyone()
                .unaudited("public keys, the same for everybody"),
            routes!(well_known::jwks::jwks),
        )
        // Tenants, by operators.
        .at(
            Endpoint::get("/api/operator/tenants", "tenants:list").roles(OPERATOR),
            routes!(tenants::list::list),
        )
        .at(
            Endpoint::post("/api/operator/tenants", "tenants:provision").roles(OPERATOR),
            routes!(tenants::provision::provision),
        )
        .at(
            Endpoint::get("/api/operator/tenants/{id}", "tenants:read")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenants::get::get),
        )
        .at(
            Endpoint::patch("/api/operator/tenants/{id}", "tenants:update")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenants::update::update),
        )
        .at(
            Endpoint::post("/api/operator/tenants/{id}/suspend", "tenants:suspend")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenants::suspend::suspend),
        )
        .at(
            Endpoint::post("/api/operator/tenants/{id}/reactivate", "tenants:reactivate")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenants::reactivate::reactivate),
        )
        .at(
            Endpoint::put("/api/operator/tenants/{id}/access-mode", "tenants:set_access_mode")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenants::set_access_mode::set_access_mode),
        )
        .at(
            Endpoint::put("/api/operator/tenants/{id}/plan", "tenants:change_plan")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenants::change_plan::change_plan),
        )
        .at(
            Endpoint::get("/api/operator/tenants/{id}/flags", "flags:list")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenant_flags::list::list),
        )
        .at(
            Endpoint::get("/api/operator/tenants/{id}/flags/{key}", "flags:read")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenant_flags::get::get),
        )
        .at(
            Endpoint::put("/api/operator/tenants/{id}/flags/{key}", "flags:set")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenant_flags::set::set),
        )
        .at(
            Endpoint::delete("/api/operator/tenants/{id}/flags/{key}", "flags:clear")
                .roles(OPERATOR)
                .tenant(TenantRule::Path("id"))
                .on("tenant", "id"),
            routes!(tenant_flags::clear::clear),
        )
        // The platform, by operators.
        .at(
            // Audited in passing: it must be answered most of all when the database can't be written.
            Endpoint::get("/api/operator/health", "platform:health").roles(OPERATOR).hot(),
            routes!(platform::health::health),
        )
        .at(
            Endpoint::get("/api/operator/projections", "platform:projections").roles(OPERATOR).hot(),
            routes!(platform::projections::projections),
        )
        .at(
            Endpoint::post("/api/operator/keys/rotate", "platform:rotate_keys").roles(OPERATOR).fresh(),
            routes!(platform::rotate_keys::rotate_keys),
        )
        .at(
            Endpoint::delete("/api/operator/users/{id}/mfa", "users:reset_mfa")
                .roles(OPERATOR)
                .on("user", "id")
                .fresh(),
            routes!(platform::reset_mfa::reset_mfa),
        )
        .at(
            Endpoint::delete("/api/operator/users/{id}", "users:forget").roles(OPERATOR).on("user", "id"),
            routes!(platform::forget_user::forget_user),
        )
        .at(
            Endpoint::get("/api/operator/policies", "policies:list").roles(OPERATOR),
            routes!(policies::list::list),
        )
        .at(
            Endpoint::get("/api/operator/policies/{id}", "policies:read").roles(OPERATOR).on("policy", "id"),
            routes!(policies::get::get),
        )
        .at(
            Endpoint::put("/api/operator/policies/{id}", "policies:publish")
                .roles(OPERATOR)
                .on("policy", "id"),
            routes!(policies::publish::publish),
        )
        .at(
            Endpoint::delete("/api/operator/policies/{id}", "policies:withdraw")
                .roles(OPERATOR)
                .on("policy", "id"),
            routes!(policies::withdraw::withdraw),
        )
        // Signing in and out.
        .at(Endpoint::post("/auth/login", "sign_in:log_in").anyone(), routes!(auth::log_in::log_in))
        .at(
            Endpoint::post("/auth/login/mfa", "sign_in:second_factor").anyone(),
            routes!(auth::second_factor::second_factor),
        )
        .at(
            Endpoint::post("/auth/passkeys/options", "sign_in:ask_passkey")
                .anyone()
                .unaudited("random bytes, for whoever asks"),
            routes!(auth::ask_passkey::ask_passkey),
        )
        .at(
            Endpoint::post("/auth/passkeys/login", "sign_in:passkey").anyone(),
            routes!(auth::log_in_with_passkey::log_in_with_passkey),
        )
        .at(
            Endpoint::get("/auth/sso/discover", "sign_in:sso_discover").anyone(),
            routes!(auth::sso::discover::discover),
        )
        .at(
            Endpoint::get("/auth/sso/{id}/start", "sign_in:sso_start").anyone().on("sso_provider", "id"),
            routes!(auth::sso::start::start),
        )
        .at(
            Endpoint::get("/auth/sso/callback", "sign_in:sso").anyone().changes(),
            routes!(auth::sso::callback::callback),
        )
        .at(Endpoint::post("/auth/refresh", "sign_in:refresh").anyone(), routes!(auth::refresh::refresh))
        .at(
            Endpoint::post("/auth/logout", "sign_in:log_out").roles(MEMBERS).tenant(TenantRule::Caller),
            routes!(auth::log_out::log_out),
        )
        .at(
            Endpoint::post("/auth/logout-all", "sign_in:log_out_all")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller),
            routes!(auth::log_out_all::log_out_all),
        )
        .at(
            Endpoint::post("/auth/password/forgot", "passwords:forgot").anyone(),
            routes!(auth::forgot_password::forgot_password),
        )
        .at(
            Endpoint::post("/auth/password/reset", "passwords:reset").anyone(),
            routes!(auth::reset_password::reset_password),
        )
        .at(
            Endpoint::post("/auth/invitations/accept", "invitations:accept").anyone(),
            routes!(auth::accept_invitation::accept_invitation),
        )
        .at(
            Endpoint::post("/auth/register", "registrations:register").anyone(),
            routes!(auth::register::register),
        )
        .at(
            Endpoint::post("/auth/email/verify", "registrations:verify").anyone(),
            routes!(auth::verify_email::verify_email),
        )
        // The caller themself.
        .at(
            Endpoint::get("/api/v1/users/me", "profile:read").roles(MEMBERS).tenant(TenantRule::Caller),
            routes!(me::profile::profile),
        )
        .at(
            Endpoint::patch("/api/v1/users/me", "profile:update").roles(MEMBERS).tenant(TenantRule::Caller),
            routes!(me::update_profile::update_profile),
        )
        .at(
            Endpoint::delete("/api/v1/users/me", "profile:forget")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::forget::forget),
        )
        .at(
            Endpoint::post("/api/v1/users/me/export", "profile:export")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::export::export),
        )
        .at(
            Endpoint::get("/api/v1/jobs/{job_id}/status", "jobs:status")
                .roles(MEMBERS_AND_OPERATOR)
                .tenant(TenantRule::Caller)
                .on("job", "job_id"),
            routes!(jobs::status::status),
        )
        .at(
            Endpoint::get("/api/v1/jobs/{job_id}/result", "jobs:result")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .on("job", "job_id")
                .fresh(),
            routes!(jobs::result::result),
        )
        .at(
            Endpoint::put("/api/v1/users/me/password", "passwords:change")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller),
            routes!(me::change_password::change_password),
        )
        .at(
            Endpoint::get("/api/v1/users/me/sessions", "my_sessions:list")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller),
            routes!(me::sessions::sessions),
        )
        .at(
            Endpoint::delete("/api/v1/users/me/sessions", "my_sessions:end_all")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller),
            routes!(me::end_sessions::end_sessions),
        )
        .at(
            Endpoint::delete("/api/v1/users/me/sessions/{id}", "my_sessions:end")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .on("session", "id"),
            routes!(me::end_session::end_session),
        )
        .at(
            Endpoint::post("/api/v1/users/me/mfa/totp", "mfa:offer")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::offer_totp::offer_totp),
        )
        .at(
            Endpoint::post("/api/v1/users/me/mfa/totp/confirm", "mfa:enrol")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::confirm_totp::confirm_totp),
        )
        .at(
            Endpoint::delete("/api/v1/users/me/mfa/totp", "mfa:remove")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::remove_mfa::remove_mfa),
        )
        .at(
            Endpoint::post("/api/v1/users/me/recovery-codes", "mfa:replace_recovery_codes")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::recovery_codes::recovery_codes),
        )
        .at(
            Endpoint::get("/api/v1/users/me/tokens", "my_tokens:list")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller),
            routes!(me::list_tokens::list_tokens),
        )
        .at(
            Endpoint::post("/api/v1/users/me/tokens", "my_tokens:issue")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::issue_token::issue_token),
        )
        .at(
            Endpoint::delete("/api/v1/users/me/tokens/{id}", "my_tokens:revoke")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .on("token", "id"),
            routes!(me::revoke_token::revoke_token),
        )
        .at(
            Endpoint::post("/api/v1/users/me/passkeys/options", "passkeys:offer")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::offer_passkey::offer_passkey),
        )
        .at(
            Endpoint::post("/api/v1/users/me/passkeys", "passkeys:add")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh(),
            routes!(me::add_passkey::add_passkey),
        )
        .at(
            Endpoint::get("/api/v1/users/me/passkeys", "passkeys:list")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller),
            routes!(me::passkeys::passkeys),
        )
        .at(
            Endpoint::delete("/api/v1/users/me/passkeys/{id}", "passkeys:remove")
                .roles(MEMBERS)
                .tenant(TenantRule::Caller)
                .fresh()
                .on("passkey", "id"),
            routes!(me::remove_passkey::remove_passkey),
        )
        // A tenant, by its own people.
        .at(
            Endpoint::get("/auth/me", "me:read").roles(MEMBERS).tenant(TenantRule::Caller),
            routes!(me::get::get),
        )
        .at(
            Endpoint::get("/auth/me/access", "me:access").roles(MEMBERS).tenant(TenantRule::Caller),
            routes!(me::access::access),
        )
        .at(
            Endpoint::get("/api/v1/tenants/me", "own_tenant:read").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(own_tenant::get::get),
        )
        .at(
            Endpoint::patch("/api/v1/tenants/me", "own_tenant:update")
                .roles(MANAGERS)
                .tenant(TenantRule::Own),
            routes!(own_tenant::update::update),
        )
        .at(
            Endpoint::put("/api/v1/tenants/me/plan", "own_tenant:change_plan")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .fresh(),
            routes!(own_tenant::change_plan::change_plan),
        )
        .at(
            Endpoint::get("/api/v1/tenants/me/audit-logs", "own_tenant:audit_logs")
                .roles(MANAGERS)
                .tenant(TenantRule::Own),
            routes!(own_tenant::audit_logs::audit_logs),
        )
        .at(
            Endpoint::get("/api/v1/tenants/me/password-policy", "own_tenant:read_password_policy")
                .roles(OWNER)
                .tenant(TenantRule::Own),
            routes!(own_tenant::password_policy::password_policy),
        )
        .at(
            Endpoint::put("/api/v1/tenants/me/password-policy", "own_tenant:set_password_policy")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .fresh(),
            routes!(own_tenant::set_password_policy::set_password_policy),
        )
        .at(
            Endpoint::get("/api/v1/tenants/me/security", "own_tenant:read_security")
                .roles(OWNER)
                .tenant(TenantRule::Own),
            routes!(own_tenant::security::security),
        )
        .at(
            Endpoint::put("/api/v1/tenants/me/security", "own_tenant:set_security")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .fresh(),
            routes!(own_tenant::set_security::set_security),
        )
        .at(
            Endpoint::get("/api/v1/tenants/me/sso", "sso:list").roles(OWNER).tenant(TenantRule::Own),
            routes!(own_tenant::sso::list::list),
        )
        .at(
            Endpoint::post("/api/v1/tenants/me/sso", "sso:configure")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .fresh(),
            routes!(own_tenant::sso::configure::configure),
        )
        .at(
            Endpoint::get("/api/v1/tenants/me/sso/{id}", "sso:read")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .on("sso_provider", "id"),
            routes!(own_tenant::sso::get::get),
        )
        .at(
            Endpoint::patch("/api/v1/tenants/me/sso/{id}", "sso:update")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .on("sso_provider", "id")
                .fresh(),
            routes!(own_tenant::sso::update::update),
        )
        .at(
            Endpoint::delete("/api/v1/tenants/me/sso/{id}", "sso:remove")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .on("sso_provider", "id")
                .fresh(),
            routes!(own_tenant::sso::remove::remove),
        )
        .at(
            Endpoint::post("/api/v1/tenants/me/sso/{id}/verify", "sso:verify")
                .roles(OWNER)
                .tenant(TenantRule::Own)
                .on("sso_provider", "id"),
            routes!(own_tenant::sso::verify::verify),
        )
        .at(
            Endpoint::get("/api/v1/invitations", "invitations:list").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(invitations::list::list),
        )
        .at(
            Endpoint::post("/api/v1/invitations", "invitations:send").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(invitations::send::send),
        )
        .at(
            Endpoint::post("/api/v1/invitations/{id}/resend", "invitations:resend")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(invitations::resend::resend),
        )
        .at(
            Endpoint::delete("/api/v1/invitations/{id}", "invitations:revoke")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(invitations::revoke::revoke),
        )
        .at(
            Endpoint::get("/api/v1/users", "users:list").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(users::list::list),
        )
        .at(
            Endpoint::post("/api/v1/users", "users:invite").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(users::invite::invite),
        )
        .at(
            Endpoint::get("/api/v1/users/{id}", "users:read")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::get::get),
        )
        .at(
            Endpoint::patch("/api/v1/users/{id}", "users:update")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::update::update),
        )
        .at(
            Endpoint::delete("/api/v1/users/{id}", "users:remove")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::remove::remove),
        )
        .at(
            Endpoint::get("/api/v1/users/{id}/sessions", "sessions:list")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::sessions::sessions),
        )
        .at(
            Endpoint::delete("/api/v1/users/{id}/sessions", "sessions:end")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::end_sessions::end_sessions),
        )
        .at(
            Endpoint::put("/api/v1/users/{id}/role", "users:set_role")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::set_role::set_role),
        )
        .at(
            Endpoint::put("/api/v1/users/{id}/status", "users:set_status")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("user", "id"),
            routes!(users::set_status::set_status),
        )
        .at(
            Endpoint::get("/api/v1/memberships", "memberships:list").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(memberships::list::list),
        )
        .at(
            Endpoint::post("/api/v1/memberships", "memberships:invite")
                .roles(MANAGERS)
                .tenant(TenantRule::Own),
            routes!(memberships::invite::invite),
        )
        .at(
            Endpoint::patch("/api/v1/memberships/{id}", "memberships:update")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(memberships::update::update),
        )
        .at(
            Endpoint::delete("/api/v1/memberships/{id}", "memberships:remove")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(memberships::remove::remove),
        )
        .at(
            Endpoint::put(
                "/api/v1/memberships/{id}/permissions/{permission}",
                "memberships:grant_permission",
            )
            .roles(MANAGERS)
            .tenant(TenantRule::Own)
            .on("membership", "id"),
            routes!(memberships::grant_permission::grant_permission),
        )
        .at(
            Endpoint::delete(
                "/api/v1/memberships/{id}/permissions/{permission}",
                "memberships:revoke_permission",
            )
            .roles(MANAGERS)
            .tenant(TenantRule::Own)
            .on("membership", "id"),
            routes!(memberships::revoke_permission::revoke_permission),
        )
        .at(
            Endpoint::put("/api/v1/memberships/{id}/modules/{module}", "memberships:grant_module")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(memberships::grant_module::grant_module),
        )
        .at(
            Endpoint::delete("/api/v1/memberships/{id}/modules/{module}", "memberships:revoke_module")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(memberships::revoke_module::revoke_module),
        )
        .at(
            Endpoint::put("/api/v1/memberships/{id}/delegation", "memberships:delegate")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("membership", "id"),
            routes!(memberships::delegate::delegate),
        )
        .at(
            Endpoint::get("/api/v1/roles", "roles:list").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(roles::list::list),
        )
        .at(
            Endpoint::post("/api/v1/roles", "roles:create").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(roles::create::create),
        )
        .at(
            Endpoint::get("/api/v1/roles/{id}", "roles:read")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("role", "id"),
            routes!(roles::get::get),
        )
        .at(
            Endpoint::patch("/api/v1/roles/{id}", "roles:update")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("role", "id"),
            routes!(roles::update::update),
        )
        .at(
            Endpoint::delete("/api/v1/roles/{id}", "roles:delete")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("role", "id"),
            routes!(roles::delete::delete),
        )
        .at(
            Endpoint::put("/api/v1/roles/{id}/permissions", "roles:set_permissions")
                .roles(MANAGERS)
                .tenant(TenantRule::Own)
                .on("role", "id"),
            routes!(roles::set_permissions::set_permissions),
        )
        .at(
            Endpoint::get("/api/v1/permissions", "permissions:list").roles(MANAGERS).tenant(TenantRule::Own),
            routes!(permissions::list::list),
        )
        // Applications and their keys, by developers.
        .at(
            Endpoint::get("/api/developer/applications", "applications:list").roles(DEVELOPER),
            routes!(applications::list::list),
        )
        .at(
            Endpoint::post("/api/developer/applications", "applications:register").roles(DEVELOPER),
            routes!(applications::register::register),
        )
        .at(
            Endpoint::get("/api/developer/applications/{id}", "applications:read")
                .roles(DEVELOPER)
                .on("application", "id"),
            routes!(applications::get::get),
        )
        .at(
            Endpoint::patch("/api/developer/applications/{id}", "applications:update")
                .roles(DEVELOPER)
                .on("application", "id"),
            routes!(applications::update::update),
        )
        .at(
            Endpoint::put("/api/developer/applications/{id}/status", "applications:set_status")
                .roles(DEVELOPER)
                .on("application", "id"),
            routes!(applications::set_status::set_status),
        )
        .at(
            Endpoint::get("/api/developer/applications/{id}/keys", "keys:list")
                .roles(DEVELOPER)
                .on("application", "id"),
            routes!(keys::list::list),
        )
        .at(
            Endpoint::post("/api/developer/applications/{id}/keys", "keys:issue")
                .roles(DEVELOPER)
                .on("application", "id"),
            routes!(keys::issue::issue),
        )
        .at(
            Endpoint::post("/api/developer/applications/{id}/keys/{kid}/rotate", "keys:rotate")
                .roles(DEVELOPER)
                .on("key", "kid"),
            routes!(keys::rotate::rotate),
        )
        .at(
            Endpoint::delete("/api/developer/applications/{id}/keys/{kid}", "keys:revoke")
                .roles(DEVELOPER)
                .on("key", "kid"),
            routes!(keys::revoke::revoke),
        )
        // Flags, for polling applications: audited in passing, and served with their age by a node that can't know.
        .at(
            Endpoint::get("/api/v1/flags", "flags:poll")
                .scope(Scope::FlagRead)
                .tenant(TenantRule::Connected)
                .hot()
                .serves_stale(),
            routes!(flags::poll::poll),
        )
        .at(
            Endpoint::post("/ofrep/v1/evaluate/flags", "flags:evaluate_all")
                .scope(Scope::FlagRead)
                .tenant(TenantRule::Connected)
                .hot()
                .serves_stale()
                .reads(),
            routes!(ofrep::bulk::bulk),
        )
        .at(
            Endpoint::post("/ofrep/v1/evaluate/flags/{key}", "flags:evaluate")
                .scope(Scope::FlagRead)
                .tenant(TenantRule::Connected)
                .hot()
                .serves_stale()
                .reads()
                .on("flag", "key"),
            routes!(ofrep::single::single),
        )
        // Why somebody was let in or refused.
        .at(
            Endpoint::post("/api/v1/explain", "access:explain")
                .roles(EXPLAINERS)
                .scope(Scope::AccessRead)
                .service(Scope::AccessRead.as_str())
                .tenant(TenantRule::Connected)
                .when_blocked()
                .reads(),
            routes!(access::explain::explain),
        )
        // The audit trail, by auditors.
        .at(Endpoint::get("/api/auditor/audit-logs", "audit:list").roles(AUDITOR), routes!(audit::list::list))
        .at(
            Endpoint::get("/api/auditor/audit-logs/export", "audit:export").roles(AUDITOR),
            routes!(audit::export::export),
        )
}

fn probe(path: &'static str, action: &'static str) -> Endpoint {
    Endpoint::get(path, action).anyone().on_listener(Listener::Both).unaudited("a probe")
}
