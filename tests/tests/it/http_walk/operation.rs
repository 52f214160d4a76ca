//! One endpoint of the URL map, as the document tells of it.

use std::collections::BTreeSet;

use reqwest::Method;
use schemas::values::Role;
use serde_json::{Value, json};

/// One endpoint, and what the document tells of it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: Method,
    pub path: String,
    pub rules: Value,
}

impl Operation {
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn action(&self) -> &str {
        self.rules["x-action"].as_str().expect("every operation has an action")
    }

    pub fn roles(&self) -> BTreeSet<Role> {
        let roles = self.rules["x-roles"].as_array().into_iter().flatten();
        roles.map(|role| role.as_str().expect("a word").parse().expect("a role")).collect()
    }

    pub fn scope(&self) -> Option<&str> {
        self.rules["x-scope"].as_str()
    }

    pub fn service_scope(&self) -> Option<&str> {
        self.rules["x-service-scope"].as_str()
    }

    pub fn tenant(&self) -> &str {
        self.rules["x-tenant"].as_str().expect("every operation says which tenant it concerns")
    }

    pub fn mutates(&self) -> bool {
        self.rules["x-mutates"] == true
    }

    pub fn is_open(&self) -> bool {
        self.rules["security"] == json!([])
    }

    pub fn is_audited(&self) -> bool {
        self.rules.get("x-unaudited").is_none()
    }

    /// True if the path's id is a membership's.
    pub fn is_about_a_membership(&self) -> bool {
        ["/api/v1/memberships", "/api/v1/invitations"].iter().any(|root| self.path.starts_with(root))
    }

    /// True if the path names something that belongs to a tenant, so that another tenant's is not there.
    pub fn names_a_tenants_thing(&self) -> bool {
        self.tenant() == "own" && self.path.contains('{')
    }
}
