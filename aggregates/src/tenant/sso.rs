//! The OpenID providers that a tenant's people sign in by (FR-AUTH-003).
//!
//! Issuer and client never change: another issuer knows other people by the same names. It is another provider.

use kernel::{Confidential, RejectionKind, SsoProviderId};
use schemas::events::{SsoConfigured, SsoRules, TenantEvent};
use schemas::values::{SsoClientId, SsoClientSecret, SsoIssuer, SsoName};
use serde::{Deserialize, Serialize};

use super::{Existing, TenantRejection, replace, unless};

/// How many providers a tenant may have.
pub const SSO_PROVIDERS_MAX: usize = 5;

/// The providers of a tenant, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SsoProviders(Vec<SsoConfigured>);

/// What may be wished of a tenant's providers.
#[derive(Clone, Debug)]
pub enum SsoCommand {
    Configure(Box<ConfigureSso>),
    /// What is `None` stays.
    Update {
        provider: SsoProviderId,
        name: Option<SsoName>,
        client_secret: Option<SsoClientSecret>,
        provision: Option<bool>,
        trusts_mfa: Option<bool>,
        required: Option<bool>,
    },
    /// One that isn't there is removed already.
    Remove {
        provider: SsoProviderId,
    },
}

/// A provider as it is asked for.
#[derive(Clone, Debug)]
pub struct ConfigureSso {
    pub provider: SsoProviderId,
    pub name: SsoName,
    pub issuer: SsoIssuer,
    pub client_id: SsoClientId,
    pub client_secret: SsoClientSecret,
    pub rules: SsoRules,
}

/// Why a tenant refuses a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SsoRejection {
    #[error("the tenant has no such provider")]
    NotFound,
    #[error("the tenant has a provider with this id, or with this issuer and client")]
    AlreadyConfigured,
    #[error("a tenant has at most {limit} providers")]
    TooMany { limit: usize },
}

impl SsoRejection {
    pub(super) fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyConfigured => RejectionKind::Conflict,
            Self::TooMany { .. } => RejectionKind::Rule,
        }
    }

    pub(super) fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyConfigured => "sso_already_configured",
            Self::TooMany { .. } => "too_many_sso_providers",
        }
    }
}

impl SsoProviders {
    pub fn iter(&self) -> impl Iterator<Item = &SsoConfigured> {
        self.0.iter()
    }

    pub fn get(&self, provider: SsoProviderId) -> Option<&SsoConfigured> {
        self.0.iter().find(|known| known.provider == provider)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn configured(&mut self, provider: &SsoConfigured) {
        self.0.push(provider.clone());
    }

    pub(super) fn updated(
        &mut self,
        provider: SsoProviderId,
        name: &Option<Confidential<SsoName>>,
        client_secret: &Option<Confidential<SsoClientSecret>>,
        rules: SsoRules,
    ) {
        if let Some(known) = self.0.iter_mut().find(|known| known.provider == provider) {
            replace(&mut known.name, name);
            replace(&mut known.client_secret, client_secret);
            known.rules = rules;
        }
    }

    pub(super) fn removed(&mut self, provider: SsoProviderId) {
        self.0.retain(|known| known.provider != provider);
    }
}

impl Existing {
    pub(super) fn decide_sso(&self, wish: SsoCommand) -> Result<Vec<TenantEvent>, TenantRejection> {
        match wish {
            SsoCommand::Configure(wish) => self.configure_sso(*wish),
            SsoCommand::Update { provider, name, client_secret, provision, trusts_mfa, required } => {
                let known = self.sso.get(provider).ok_or(SsoRejection::NotFound)?;
                let name = self.if_new(name, Some(&known.name));
                let client_secret = self.if_new(client_secret, Some(&known.client_secret));
                let rules = SsoRules {
                    provision: provision.unwrap_or(known.rules.provision),
                    trusts_mfa: trusts_mfa.unwrap_or(known.rules.trusts_mfa),
                    required: required.unwrap_or(known.rules.required),
                };
                let same = name.is_none() && client_secret.is_none() && rules == known.rules;
                Ok(unless(same, || TenantEvent::SsoUpdated { provider, name, client_secret, rules }))
            }
            SsoCommand::Remove { provider } => {
                Ok(unless(self.sso.get(provider).is_none(), || TenantEvent::SsoRemoved { provider }))
            }
        }
    }

    fn configure_sso(&self, wish: ConfigureSso) -> Result<Vec<TenantEvent>, TenantRejection> {
        let asked = SsoConfigured {
            provider: wish.provider,
            name: self.mark(wish.name),
            issuer: self.mark(wish.issuer),
            client_id: self.mark(wish.client_id),
            client_secret: self.mark(wish.client_secret),
            rules: wish.rules,
        };
        let is_it = |known: &&SsoConfigured| {
            known.provider == asked.provider
                || (known.issuer == asked.issuer && known.client_id == asked.client_id)
        };
        match self.sso.iter().find(is_it) {
            Some(known) if *known == asked => return Ok(Vec::new()),
            Some(_) => return Err(SsoRejection::AlreadyConfigured.into()),
            None => {}
        }
        if self.sso.0.len() >= SSO_PROVIDERS_MAX {
            return Err(SsoRejection::TooMany { limit: SSO_PROVIDERS_MAX }.into());
        }
        Ok(vec![TenantEvent::SsoConfigured(Box::new(asked))])
    }
}

#[cfg(test)]
mod tests {
    use kernel::RejectionKind::{Conflict, NotFound, Rule};
    use kernel::{PersonId, Personal, TenantId};
    use schemas::events::TenantProvisioned;
    use schemas::values::{Plan, Reason, Region};

    use super::*;
    use crate::testing::{self, Given, id, value};
    use crate::{Tenant, TenantCommand};

    fn tenant() -> TenantId {
        id(1).into()
    }

    fn c<T>(value: T) -> Confidential<T> {
        Confidential::new(tenant(), value)
    }

    fn given(events: impl IntoIterator<Item = TenantEvent>) -> Given<Tenant> {
        let ann = PersonId(id(2));
        let provisioned = TenantEvent::Provisioned(Box::new(TenantProvisioned {
            tenant: tenant(),
            name: c(value("Acme")),
            slug: c(value("acme")),
            domain: c(value("acme.example")),
            plan: Plan::Free,
            region: Region::Eu,
            trial_ends_at: None,
            owner: ann,
            owner_email: Personal::new(ann, value("ann@acme.example")),
            application: None,
        }));
        testing::given(std::iter::once(provisioned).chain(events))
    }

    fn issuer(number: u128) -> SsoIssuer {
        value(&format!("https://id{number}.acme.example"))
    }

    fn wish(number: u128) -> ConfigureSso {
        ConfigureSso {
            provider: id(number).into(),
            name: value("Acme ID"),
            issuer: issuer(number),
            client_id: value("tenantry"),
            client_secret: value("s3cret"),
            rules: SsoRules { provision: true, ..SsoRules::default() },
        }
    }

    fn configure(wish: ConfigureSso) -> TenantCommand {
        TenantCommand::Sso(SsoCommand::Configure(Box::new(wish)))
    }

    fn configured(number: u128) -> TenantEvent {
        let wish = wish(number);
        TenantEvent::SsoConfigured(Box::new(SsoConfigured {
            provider: wish.provider,
            name: c(wish.name),
            issuer: c(wish.issuer),
            client_id: c(wish.client_id),
            client_secret: c(wish.client_secret),
            rules: wish.rules,
        }))
    }

    fn update(number: u128, name: Option<&str>, required: Option<bool>) -> TenantCommand {
        TenantCommand::Sso(SsoCommand::Update {
            provider: id(number).into(),
            name: name.map(value),
            client_secret: None,
            provision: None,
            trusts_mfa: None,
            required,
        })
    }

    fn remove(number: u128) -> TenantCommand {
        TenantCommand::Sso(SsoCommand::Remove { provider: id(number).into() })
    }

    /// FR-AUTH-003
    #[test]
    fn a_provider_is_configured_once_and_no_two_are_the_same_to_their_issuer() {
        given([]).when(configure(wish(1))).then([configured(1)]).and_again_nothing();
        let twice = ConfigureSso { provider: id(2).into(), ..wish(1) };
        given([configured(1)]).when(configure(twice)).then_rejected(Conflict, "sso_already_configured");
        let otherwise = ConfigureSso { issuer: issuer(9), ..wish(1) };
        given([configured(1)]).when(configure(otherwise)).then_rejected(Conflict, "sso_already_configured");
        let other_client = ConfigureSso { provider: id(2).into(), client_id: value("other"), ..wish(1) };
        let state = given([configured(1)]).when(configure(other_client.clone()));
        let TenantEvent::SsoConfigured(before) = configured(1) else { unreachable!() };
        let event = SsoConfigured { provider: id(2).into(), client_id: c(other_client.client_id), ..*before };
        state.then([TenantEvent::SsoConfigured(Box::new(event))]);
    }

    #[test]
    fn a_tenant_has_five_providers_at_most() {
        let five = || (1..=5).map(configured);
        given(five()).when(configure(wish(6))).then_rejected(Rule, "too_many_sso_providers");
        let freed = TenantEvent::SsoRemoved { provider: id(3).into() };
        given(five().chain([freed])).when(configure(wish(6))).then([configured(6)]);
    }

    #[test]
    fn what_changes_of_a_provider_is_its_name_its_secret_and_what_it_may() {
        let updated = |name: Option<&str>, required| TenantEvent::SsoUpdated {
            provider: id(1).into(),
            name: name.map(|name| c(value(name))),
            client_secret: None,
            rules: SsoRules { provision: true, trusts_mfa: false, required },
        };
        given([configured(1)])
            .when(update(1, Some("Acme Login"), None))
            .then([updated(Some("Acme Login"), false)])
            .and_again_nothing()
            .and()
            .when(update(1, Some("Acme Login"), Some(true)))
            .then([updated(None, true)])
            .and_again_nothing();
        given([configured(1)]).when(update(1, Some("Acme ID"), Some(false))).then_nothing();
        given([]).when(update(1, None, Some(true))).then_rejected(NotFound, "not_found");
        let secret = TenantCommand::Sso(SsoCommand::Update {
            provider: id(1).into(),
            name: None,
            client_secret: Some(value("another")),
            provision: None,
            trusts_mfa: Some(true),
            required: None,
        });
        let state = given([configured(1)]).when(secret).then([TenantEvent::SsoUpdated {
            provider: id(1).into(),
            name: None,
            client_secret: Some(c(value("another"))),
            rules: SsoRules { provision: true, trusts_mfa: true, required: false },
        }]);
        let state = state.and_again_nothing().and().state();
        let known = state.existing().unwrap().sso.get(id(1).into()).unwrap();
        assert_eq!(known.client_secret.reveal().unwrap().as_str(), "another");
    }

    #[test]
    fn a_removed_provider_is_gone_and_so_are_all_when_the_tenant_is_purged() {
        let removed = TenantEvent::SsoRemoved { provider: id(1).into() };
        given([configured(1)]).when(remove(1)).then([removed.clone()]).and_again_nothing();
        given([]).when(remove(1)).then_nothing();
        let state = given([configured(1), removed]).state();
        assert!(state.existing().unwrap().sso.iter().next().is_none());
        let suspended = TenantEvent::Suspended { reason: c(value::<Reason>("over")) };
        let purged = given([configured(2), suspended, TenantEvent::Purged {}]);
        assert!(!serde_json::to_string(&purged.state()).unwrap().contains("id2.acme.example"));
    }
}
