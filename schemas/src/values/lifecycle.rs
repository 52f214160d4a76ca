//! What becomes of things (REQUIREMENTS §13).

words! {
    /// A tenant's status. A trial that has expired is still a trial; see [`super::effective_access`].
    TenantStatus, "a tenant's status" {
        Trial = "trial",
        Active = "active",
        Suspended = "suspended",
        Deleting = "deleting",
        Deleted = "deleted",
    }
}

words! {
    /// How far a tenant's provisioning got (UC-PROV-001).
    ProvisioningStatus, "a provisioning status" {
        Pending = "pending",
        Completed = "completed",
        Failed = "failed",
    }
}

words! {
    /// A step of provisioning (UC-PROV-001).
    ProvisioningStep, "a provisioning step" {
        /// The owner exists as a person.
        RegisterOwner = "register_owner",
        /// The owner is invited to the tenant.
        InviteOwner = "invite_owner",
        /// The tenant counts the owner among its owners.
        AddOwner = "add_owner",
        /// The plan's default flags are set.
        SetFlags = "set_flags",
        /// The application exists.
        RegisterApplication = "register_application",
        /// The tenant uses the application.
        ConnectApplication = "connect_application",
        /// The tenant says that it is complete.
        Complete = "complete",
    }
}

words! {
    /// Where a tenant's data live (NFR-DATA-001).
    Region, "a region" {
        Jp = "jp",
        Eu = "eu",
    }
}

words! {
    /// A person's status.
    UserStatus, "a user's status" {
        /// Known by address only; has never signed in.
        Invited = "invited",
        Active = "active",
        Disabled = "disabled",
    }
}

words! {
    /// A membership's status.
    MembershipStatus, "a membership's status" {
        Invited = "invited",
        Active = "active",
        Disabled = "disabled",
        Removed = "removed",
    }
}

words! {
    /// An application's status (FR-SYS-003).
    ApplicationStatus, "an application's status" {
        Active = "active",
        Disabled = "disabled",
    }
}
