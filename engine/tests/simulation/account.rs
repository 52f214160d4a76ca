//! A small aggregate whose answers tell what they were decided on: every refusal names the sequence it saw.

use engine::command::{DispatchError, Receipt};
use kernel::{Claim, ClaimChange, Decider, Event, Rejection, RejectionKind, StreamId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a name is claimed as.
pub const NAME: &str = "account.name";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub total: u64,
    pub sequence: u64,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// So many events, each adding one. None: nothing to do.
    Add(u64),
    /// Takes a name and frees the one it had; nothing to do if it has it.
    Name(String),
    /// Takes one name after the other in one command.
    NameAndRename(String, String),
    /// Frees the name; nothing to do without one.
    Unname,
    /// Refused if the total is beyond; else nothing to do.
    AtMost(u64),
    /// Raises the total to a number; nothing to do if it is so, refused if it is beyond.
    Reach(u64),
    /// Text that the simulated journal can't make ready to be stored, as one whose key is gone.
    Unstorable,
    /// A rule that panics.
    Panic,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    Added(u64),
    Named(String),
    Unnamed,
    Noted(String),
}

/// The total is beyond what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the total is {total} at sequence {sequence}")]
pub struct TooMuch {
    pub total: u64,
    pub sequence: u64,
}

pub type Answer = Result<Receipt, DispatchError<TooMuch>>;

impl Event for Fact {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Added(_) => "account.added",
            Self::Named(_) => "account.named",
            Self::Unnamed => "account.unnamed",
            Self::Noted(_) => "account.noted",
        }
    }
}

impl Rejection for TooMuch {
    fn kind(&self) -> RejectionKind {
        RejectionKind::Rule
    }

    fn detail(&self) -> &'static str {
        "too_much"
    }
}

impl Decider for Account {
    const TYPE: &'static str = "account";
    const SNAPSHOT_VERSION: u32 = 1;
    type Command = Command;
    type Event = Fact;
    type Rejection = TooMuch;

    fn decide(&self, command: Command) -> Result<Vec<Fact>, TooMuch> {
        let too_much = || TooMuch { total: self.total, sequence: self.sequence };
        match command {
            Command::Add(n) => Ok((0..n).map(|_| Fact::Added(1)).collect()),
            Command::Name(name) if self.name.as_ref() == Some(&name) => Ok(vec![]),
            Command::Name(name) => Ok(vec![Fact::Named(name)]),
            Command::NameAndRename(first, then) => Ok(vec![Fact::Named(first), Fact::Named(then)]),
            Command::Unname if self.name.is_none() => Ok(vec![]),
            Command::Unname => Ok(vec![Fact::Unnamed]),
            Command::AtMost(n) if self.total > n => Err(too_much()),
            Command::AtMost(_) => Ok(vec![]),
            Command::Reach(n) if n > self.total => Ok(vec![Fact::Added(n - self.total)]),
            Command::Reach(n) if n == self.total => Ok(vec![]),
            Command::Reach(_) => Err(too_much()),
            Command::Unstorable => Ok(vec![Fact::Noted("\0".into())]),
            Command::Panic => panic!("a rule that panics"),
        }
    }

    fn evolve(&mut self, fact: &Fact) {
        self.sequence += 1;
        match fact {
            Fact::Added(n) => self.total += n,
            Fact::Named(name) => self.name = Some(name.clone()),
            Fact::Unnamed => self.name = None,
            Fact::Noted(_) => {}
        }
    }

    fn claims(&self, fact: &Fact) -> Vec<ClaimChange> {
        let free = self.name.iter().map(|old| ClaimChange::Free(Claim::new(NAME, old)));
        match fact {
            Fact::Named(name) if self.name.as_ref() == Some(name) => vec![],
            Fact::Named(name) => free.chain([ClaimChange::Take(Claim::new(NAME, name))]).collect(),
            Fact::Unnamed => free.collect(),
            Fact::Added(_) | Fact::Noted(_) => vec![],
        }
    }
}

impl Command {
    /// The names it wants to hold, be it for a moment.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Name(name) => vec![name],
            Self::NameAndRename(first, then) => vec![first, then],
            _ => vec![],
        }
    }
}

pub fn id(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n))
}

pub fn stream(n: u8) -> StreamId {
    StreamId::new(Account::TYPE, id(n))
}
