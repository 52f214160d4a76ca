//! What waits for a transaction, in lanes: each tenant's items in the order they came. Of a flood no more is looked at than
//! goes into the next transaction.

use std::collections::{HashMap, VecDeque};

use kernel::{StreamId, TenantId};
use tokio::sync::mpsc;

use super::Queued;

/// Whose lane it is; what concerns no tenant has one.
type Lane = Option<TenantId>;

/// Items that wait. Those of one stream keep their order, whichever tenants their commands name: they stand in the lane in
/// which the first of them waits.
#[derive(Default)]
pub(super) struct Waiting {
    lanes: HashMap<Lane, VecDeque<Queued>>,
    /// Whose turn it is next. Each lane that holds something is there once.
    turns: VecDeque<Lane>,
    /// Where a stream's items wait, and how many do.
    streams: HashMap<StreamId, (Lane, usize)>,
}

/// What becomes of an item whose turn it is.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment")]
pub(super) enum Turn {
    Taken,
    /// It was refused, and counts for nobody.
    Dropped,
    /// It goes on waiting, before all others.
    Later(Queued),
}

impl Waiting {
    pub fn push(&mut self, queued: Queued) {
        let own = queued.item.metadata.tenant;
        let (lane, count) = self.streams.entry(queued.item.stream.clone()).or_insert((own, 0));
        *count += 1;
        let items = self.lanes.entry(*lane).or_default();
        if items.is_empty() {
            self.turns.push_back(*lane);
        }
        items.push_back(queued);
    }

    /// All that is in a queue by now.
    pub fn take_up(&mut self, queue: &mut mpsc::Receiver<Queued>) {
        std::iter::from_fn(|| queue.try_recv().ok()).for_each(|queued| self.push(queued));
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether several tenants want something.
    pub fn are_several(&self) -> bool {
        self.turns.len() > 1
    }

    /// Gives each lane a turn of at most `share` items, the one that has waited longest first, until one is to wait.
    pub fn each(&mut self, share: usize, mut turn: impl FnMut(Queued) -> Turn) {
        for _ in 0..self.turns.len() {
            let Some(lane) = self.turns.pop_front() else { return };
            let Some(items) = self.lanes.get_mut(&lane) else { continue };
            let (mut taken, mut is_over) = (0, false);
            while taken < share
                && let Some(queued) = items.pop_front()
            {
                let stream = queued.item.stream.clone();
                match turn(queued) {
                    Turn::Taken => taken += 1,
                    Turn::Dropped => {}
                    Turn::Later(queued) => {
                        items.push_front(queued);
                        is_over = true;
                        break;
                    }
                }
                if let Some((_, count)) = self.streams.get_mut(&stream) {
                    *count -= 1;
                    if *count == 0 {
                        self.streams.remove(&stream);
                    }
                }
            }
            if items.is_empty() {
                self.lanes.remove(&lane);
            } else if is_over {
                self.turns.push_front(lane);
            } else {
                self.turns.push_back(lane);
            }
            if is_over {
                return;
            }
        }
    }

    /// All of them.
    pub fn drain(&mut self) -> impl Iterator<Item = Queued> {
        let Self { mut lanes, turns, .. } = std::mem::take(self);
        turns.into_iter().filter_map(move |lane| lanes.remove(&lane)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::journal::AppendItem;
    use crate::testing::context;
    use crate::writer::{Asker, Incarnation, Trust};

    /// An item of a stream, by its number, under a tenant.
    fn item(stream: u128, tenant: u128) -> Queued {
        let mut metadata = context().metadata;
        Arc::make_mut(&mut metadata).tenant = Some(TenantId(Uuid::from_u128(tenant)));
        let stream = StreamId::new("counter", Uuid::from_u128(stream));
        Queued {
            item: AppendItem {
                stream,
                metadata,
                events: vec![],
                claims: vec![],
                outcome: None,
                prepared: None,
            },
            incarnation: Arc::new(Incarnation::new(Trust { lineage: 1, doubts: 0 }, 0)),
            asker: Asker::new(|_| {}),
        }
    }

    /// Streams and tenants of what one turn of all gives.
    fn turns(waiting: &mut Waiting, share: usize, max: usize) -> Vec<(u128, u128)> {
        let mut taken = Vec::new();
        waiting.each(share, |queued| {
            if taken.len() == max {
                return Turn::Later(queued);
            }
            let tenant = queued.item.metadata.tenant.unwrap();
            taken.push((queued.item.stream.id.as_u128(), tenant.0.as_u128()));
            Turn::Taken
        });
        taken
    }

    fn waiting(items: impl IntoIterator<Item = (u128, u128)>) -> Waiting {
        let mut waiting = Waiting::default();
        items.into_iter().for_each(|(stream, tenant)| waiting.push(item(stream, tenant)));
        waiting
    }

    #[test]
    fn each_tenant_has_its_share_of_a_turn_and_the_rest_waits_in_order() {
        let mut waiting = waiting((0..10).map(|n| (n, 1)).chain([(20, 2), (30, 3)]));
        assert!(waiting.are_several());
        assert_eq!(turns(&mut waiting, 2, 100), [(0, 1), (1, 1), (20, 2), (30, 3)]);
        assert!(!waiting.are_several() && !waiting.is_empty());
        waiting.push(item(21, 2));
        assert_eq!(turns(&mut waiting, 2, 100), [(2, 1), (3, 1), (21, 2)]);
        assert_eq!(turns(&mut waiting, 100, 100).len(), 6);
        assert!(waiting.is_empty() && waiting.streams.is_empty() && waiting.lanes.is_empty());
    }

    #[test]
    fn a_stream_keeps_its_order_whichever_tenants_its_commands_name() {
        let mut waiting = waiting([(1, 1), (2, 1), (7, 1), (7, 2), (7, 3), (8, 2), (7, 2)]);
        let mut of_seven = Vec::new();
        while !waiting.is_empty() {
            of_seven.extend(turns(&mut waiting, 1, 100).into_iter().filter(|(stream, _)| *stream == 7));
        }
        assert_eq!(of_seven, [(7, 1), (7, 2), (7, 3), (7, 2)]);
        // Nothing of it waits any more: the next is its own tenant's.
        waiting.push(item(7, 3));
        waiting.push(item(9, 1));
        assert!(waiting.are_several());
    }

    #[test]
    fn who_had_no_turn_because_it_was_full_is_first_in_the_next() {
        let mut waiting = waiting([(1, 1), (2, 2), (3, 3), (4, 1)]);
        assert_eq!(turns(&mut waiting, 1, 1), [(1, 1)]);
        assert_eq!(turns(&mut waiting, 1, 2), [(2, 2), (3, 3)]);
        assert_eq!(turns(&mut waiting, 1, 2), [(4, 1)]);
    }

    #[test]
    fn all_that_wait_can_be_told_at_once() {
        let mut waiting = waiting([(1, 1), (2, 2), (1, 2), (3, 1)]);
        assert_eq!(waiting.drain().count(), 4);
        assert!(waiting.is_empty() && waiting.drain().next().is_none());
    }
}
