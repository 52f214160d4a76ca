//! What comes of a question: let in or not, by which policies, and what is told about it.

use std::str::FromStr;

use cedar_policy::PolicyId;
use serde_json::Map;

use crate::problem::Problem;

/// Whether somebody may, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The policies it rests on, by name: those that permit, or that forbid, or that could not be evaluated. None, if
    /// it was refused because nothing permits it.
    pub determining: Vec<PolicyId>,
    /// What a caller who is refused hears of it; `None` for one who is let in.
    pub detail: Option<Detail>,
}

impl Decision {
    /// Default deny: nothing permits it.
    pub(super) fn not_permitted() -> Self {
        Self::refused(Detail::Forbidden, Vec::new())
    }

    pub(super) fn refused(detail: Detail, determining: Vec<PolicyId>) -> Self {
        Self { allowed: false, determining, detail: Some(detail) }
    }
}

/// What a refusal is called, from what is told first on. It is the annotation `@detail` of a policy that forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// A 404: the caller may not know that it is there.
    Hidden,
    WrongOrg,
    /// A session that a tenant's provider began looks after no account.
    SsoSession,
    /// Members come by a provider of the tenant's.
    SsoRequired,
    /// ERR-AUTH-461: with a second factor they may.
    MfaRequired,
    Blocked,
    ReadOnly,
    Forbidden,
}

impl Detail {
    pub const ALL: [Self; 8] = [
        Self::Hidden,
        Self::WrongOrg,
        Self::SsoSession,
        Self::SsoRequired,
        Self::MfaRequired,
        Self::Blocked,
        Self::ReadOnly,
        Self::Forbidden,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::WrongOrg => "wrong_org",
            Self::SsoSession => "sso_session",
            Self::SsoRequired => "sso_required",
            Self::MfaRequired => "mfa_required",
            Self::Blocked => "blocked",
            Self::ReadOnly => "read_only",
            Self::Forbidden => "forbidden",
        }
    }

    /// How a refusal is told: ERR-RES-404, ERR-AUTH-461, or ERR-AUTH-403.
    pub fn problem(self) -> Problem {
        match self {
            Self::Hidden => Problem::hidden(),
            Self::MfaRequired => Problem::second_factor(Map::new()),
            told => Problem::forbidden(told.as_str()),
        }
    }
}

impl FromStr for Detail {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|detail| detail.as_str() == text).ok_or(())
    }
}
