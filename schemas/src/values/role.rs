//! Roles (REQUIREMENTS §2).

words! {
    /// What somebody acts as.
    Role, "a role" {
        /// Runs tenants, plans and flags. Platform.
        Operator = "operator",
        /// Confirms what needs four eyes. Platform.
        Supervisor = "supervisor",
        /// Reads audit and reports. Platform.
        Auditor = "auditor",
        /// Registers applications and manages keys. Platform.
        Developer = "developer",
        /// May do everything in the tenant. Tenant.
        Owner = "owner",
        /// Manages users, not contract or SSO. Tenant.
        Administrator = "administrator",
        /// Uses the applications. Tenant.
        User = "user",
        /// A managed application with an API key. Machine.
        Application = "application",
        /// Reads what is to be billed. Machine.
        BillingSystem = "billing_system",
        /// A service of ours. Machine.
        InternalService = "internal_service",
        /// Tenantry itself. Machine.
        System = "system",
    }
}

impl Role {
    /// True for the roles that an external OpenID provider gives.
    pub const fn is_platform(self) -> bool {
        matches!(self, Self::Operator | Self::Supervisor | Self::Auditor | Self::Developer)
    }

    /// True for the roles that a membership can have.
    pub const fn is_tenant(self) -> bool {
        matches!(self, Self::Owner | Self::Administrator | Self::User)
    }

    /// True for the roles that no person has.
    pub const fn is_machine(self) -> bool {
        !self.is_platform() && !self.is_tenant()
    }
}
