//! Reading a feed at length: while one window is worked on, the next ones are being read and opened already.

use std::collections::VecDeque;
use std::sync::Arc;

use kernel::Position;
use tokio::task::JoinHandle;

use crate::feed::{Feed, FeedError, Interest, Read, read_up_to_trouble};

/// Windows on their way at once, so that the database reads one while another is opened here.
const AHEAD: usize = 2;

/// Reads a feed up to a position, window by window.
pub struct ReadAhead {
    feed: Arc<dyn Feed>,
    of: Interest,
    /// Positions in one window.
    window: usize,
    /// Where it ends.
    end: Position,
    /// What was handed out, up to here.
    at: Position,
    under_way: VecDeque<Window>,
}

/// A window on its way; dropped, it is not read to its end.
struct Window {
    after: Position,
    end: Position,
    read: JoinHandle<Result<Read, FeedError>>,
}

impl Drop for Window {
    fn drop(&mut self) {
        self.read.abort();
    }
}

impl ReadAhead {
    /// From `after` to `end`, or to the feed's head if that comes first; `window` positions at once.
    pub fn new(feed: Arc<dyn Feed>, of: Interest, window: usize, after: Position, end: Position) -> Self {
        Self { feed, of, window: window.max(1), end, at: after, under_way: VecDeque::new() }
    }

    /// The next window: what of it is asked for, and how far was looked. `None` at the end.
    ///
    /// # Errors
    /// As [`Feed::read`]; called again, it reads the same window again. Of a window with an event that can't be decoded,
    /// what comes before it is given first.
    pub async fn next(&mut self) -> Result<Option<Read>, FeedError> {
        // Somebody gave up waiting for the window that comes next.
        if self.under_way.front().is_some_and(|window| window.after != self.at) {
            self.under_way.clear();
        }
        while self.under_way.len() < AHEAD && self.asked() < self.end {
            let after = self.asked();
            let end = self.end.min(Position(after.0.saturating_add(self.window as u64)));
            let (feed, of) = (Arc::clone(&self.feed), self.of);
            let limit = usize::try_from(end.0 - after.0).unwrap_or(usize::MAX);
            let read = tokio::spawn(async move { read_up_to_trouble(&*feed, after, limit, of).await });
            self.under_way.push_back(Window { after, end, read });
        }
        let Some(window) = self.under_way.front_mut() else { return Ok(None) };
        let read = (&mut window.read).await;
        let Some(window) = self.under_way.pop_front() else { return Ok(None) };
        let read = match read {
            Ok(read) => read,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending; what it was asked for nobody waits for.
                Err(_) => return Ok(None),
            },
        };
        let read = read.inspect_err(|_| self.under_way.clear())?;
        if read.through != window.end {
            // The feed ended within, or there is trouble: what was asked for beyond that has a gap before it.
            self.under_way.clear();
        }
        if read.through == self.at {
            return Ok(None);
        }
        self.at = read.through;
        Ok(Some(read))
    }

    /// Up to where it was handed out.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Goes on after a position, whatever was handed out.
    pub fn restart(&mut self, after: Position) {
        self.under_way.clear();
        self.at = after;
    }

    /// Up to where windows are on their way.
    fn asked(&self) -> Position {
        self.under_way.back().map_or(self.at, |window| window.end)
    }
}
