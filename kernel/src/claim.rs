//! Claims: names that may be held by one stream only, such as a tenant's domain.

/// A name held by one stream in the whole deployment. The value is stored as a keyed hash only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What kind of name, such as `tenant.domain`. Part of the storage format.
    pub kind: &'static str,
    /// The name itself, already in its canonical form (lower case where case doesn't count).
    pub value: String,
}

impl Claim {
    pub fn new(kind: &'static str, value: impl Into<String>) -> Self {
        Self { kind, value: value.into() }
    }
}

impl std::fmt::Debug for Claim {
    // The value can be an e-mail address: it never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({})", self.kind)
    }
}

/// What an event does to a claim, in the transaction of that event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimChange {
    Take(Claim),
    Free(Claim),
}

impl ClaimChange {
    /// The claim that changes.
    pub fn claim(&self) -> &Claim {
        match self {
            Self::Take(claim) | Self::Free(claim) => claim,
        }
    }
}
