//! What was so at some place in the journal: streams read up to there, in the journal's order.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kernel::{Envelope, Position, ShardId, StreamId};
use uuid::Uuid;

use crate::Engine;
use crate::feed::FeedError;
use crate::journal::{Journal, ReadError};

/// How many stored events of one stream are held at once.
const PAGE_EVENTS_MAX: usize = 256;

/// Some streams up to a position, read as one. It holds at most 256 stored events of each, however long they are.
pub struct History {
    journal: Arc<dyn Journal>,
    until: Position,
    lines: Vec<Line>,
}

/// What a history tells of.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Event(Box<Envelope>),
    /// The next event of this stream can't be read, and so none after it.
    Unreadable(StreamId),
}

struct Line {
    stream: StreamId,
    held: VecDeque<Envelope>,
    /// The sequence it was read up to.
    after: u64,
    ended: bool,
}

impl History {
    fn new(journal: Arc<dyn Journal>, streams: Vec<StreamId>, until: Position) -> Self {
        let line = |stream| Line { stream, held: VecDeque::new(), after: 0, ended: false };
        Self { journal, until, lines: streams.into_iter().map(line).collect() }
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// The journal is not available.
    pub async fn next(&mut self) -> Result<Option<Told>, ReadError> {
        for line in self.lines.iter_mut().filter(|line| line.held.is_empty() && !line.ended) {
            if let Some(unreadable) = line.fill(&*self.journal, self.until).await? {
                return Ok(Some(Told::Unreadable(unreadable)));
            }
        }
        let place = |line: &Line| line.held.front().map(|event| (event.position, event.part));
        let ahead = self.lines.iter_mut().filter(|line| !line.held.is_empty()).min_by_key(|line| place(line));
        Ok(ahead.and_then(|line| line.held.pop_front()).map(|event| Told::Event(Box::new(event))))
    }
}

impl Line {
    /// Reads the next page. `Some`: nothing more of the stream can be read.
    async fn fill(&mut self, journal: &dyn Journal, until: Position) -> Result<Option<StreamId>, ReadError> {
        let mut limit = PAGE_EVENTS_MAX;
        loop {
            match journal.page(&self.stream, self.after, until, limit).await {
                Ok(page) => {
                    self.ended = page.is_empty();
                    self.after = page.last().map_or(self.after, |last| last.sequence);
                    self.held = page.into();
                    return Ok(None);
                }
                // What stands before it can be read.
                Err(ReadError::Corrupt { sequence, .. }) if sequence > self.after + 1 && limit > 1 => {
                    let before = usize::try_from(sequence - self.after - 1).unwrap_or(usize::MAX);
                    limit = before.min(limit - 1);
                }
                Err(ReadError::Corrupt { stream, .. }) => {
                    self.ended = true;
                    return Ok(Some(stream));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Engine {
    /// Some streams up to a position, as they were when it was taken.
    pub fn history(&self, streams: Vec<StreamId>, until: Position) -> History {
        History::new(self.journal().clone(), streams, until)
    }

    /// The streams of a type that began up to a position: the first `limit` of those after an id, in the order of ids. For
    /// types of which there are few: their streams are looked for one by one.
    ///
    /// # Errors
    /// The journal is not available.
    pub async fn streams(
        &self,
        aggregate_type: &'static str,
        after: Option<Uuid>,
        until: Position,
        limit: usize,
    ) -> Result<Vec<StreamId>, ReadError> {
        self.journal().streams(aggregate_type, after, until, limit).await
    }

    /// When a position was taken; `None`: it isn't yet.
    ///
    /// # Errors
    /// The journal can't be read.
    pub async fn recorded_at(
        &self,
        shard: ShardId,
        position: Position,
    ) -> Result<Option<DateTime<Utc>>, FeedError> {
        self.journal().recorded_at(shard, position).await
    }

    /// The last position that was taken at or before a time; zero: none was. Times never decrease with positions, so it is
    /// found by halving: some thirty small reads in a journal of a thousand million events. What is being appended may
    /// still come before the present.
    ///
    /// # Errors
    /// The journal can't be read.
    pub async fn position_at(&self, shard: ShardId, time: DateTime<Utc>) -> Result<Position, FeedError> {
        let journal = self.journal();
        // Everything up to `low` was taken by then, and nothing from `high` on.
        let (mut low, mut high) = (0, journal.head(shard).await?.0 + 1);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match journal.recorded_at(shard, Position(middle)).await? {
                Some(taken) if taken <= time => low = middle,
                _ => high = middle,
            }
        }
        Ok(Position(low))
    }
}

#[cfg(test)]
mod tests;
