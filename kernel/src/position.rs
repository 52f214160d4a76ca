//! Where something stands in the journal.

use serde::{Deserialize, Serialize};

/// A shard of the journal. There is one by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub i16);

/// A place in one shard's commit order: dense, from 1; 0 is before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A position as it is told outside the engine, `shard:position`. Clients treat it as opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PositionToken {
    pub shard: ShardId,
    pub position: Position,
}

impl std::fmt::Display for PositionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.shard.0, self.position.0)
    }
}

/// The text is no position token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a position token looks like 0:42")]
pub struct InvalidPosition;

impl std::str::FromStr for PositionToken {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (shard, position) = text.split_once(':').ok_or(InvalidPosition)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(shard) || !digits(position) {
            return Err(InvalidPosition);
        }
        let position: i64 = position.parse().map_err(|_| InvalidPosition)?;
        Ok(Self {
            shard: ShardId(shard.parse().map_err(|_| InvalidPosition)?),
            position: Position(position.unsigned_abs()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_wire() {
        let token = PositionToken { shard: ShardId(3), position: Position(42) };
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        for text in ["", ":", "0:", ":1", "0:-1", "0:1:2", "a:b", "0:99999999999999999999", "+0:1"] {
            assert_eq!(text.parse::<PositionToken>(), Err(InvalidPosition), "{text}");
        }
    }
}
