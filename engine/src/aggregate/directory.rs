//! Which aggregates of one type are live on this node, and the way to each.
//!
//! Finding an actor and sending to it happen under one lock, and so does leaving: an actor that is passivated has no
//! order under way, and no order is ever sent to an actor that has left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::{Decider, StreamId, Subject};
use metrics::Counter;
use ractor::{ActorRef, ActorRuntime, MessagingErr};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::actor::{AggregateActor, Arguments, Message, Surroundings};
use super::order::Order;
use super::sweeper::Sweep;
use crate::command::Intake;

const SLOTS: usize = 64;

/// How busy one actor is. Dropping it means one order less.
#[derive(Debug)]
pub(crate) struct Load(Arc<Business>);

#[derive(Debug, Default)]
pub(super) struct Business {
    under_way: AtomicUsize,
    /// When it last got an order, in the sweeper's milliseconds.
    used_at: AtomicU64,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Resident<D: Decider> {
    actor: ActorRef<Message<D>>,
    business: Arc<Business>,
    serial: u64,
}

/// Why an order can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFailure {
    Full(Intake),
    /// The supervisor is being restarted.
    NoSupervisor,
}

/// The live aggregates of one type.
pub(crate) struct Directory<D: Decider> {
    slots: [Mutex<HashMap<Uuid, Resident<D>>>; SLOTS],
    serials: AtomicU64,
    surroundings: Arc<Surroundings>,
    pub(crate) carried_out: CarriedOut,
}

/// Commands by how they ended; looked up once, as they are counted for each command.
pub(crate) struct CarriedOut {
    pub changed: Counter,
    pub unchanged: Counter,
    pub rejected: Counter,
    pub failed: Counter,
}

impl CarriedOut {
    fn of(aggregate: &'static str) -> Self {
        let counter = |outcome: &'static str| metrics::counter!(crate::telemetry::COMMANDS, "aggregate" => aggregate, "outcome" => outcome);
        let (changed, unchanged) = (counter("changed"), counter("unchanged"));
        Self { changed, unchanged, rejected: counter("rejected"), failed: counter("failed") }
    }
}

impl<D: Decider> Directory<D> {
    pub(crate) fn new(surroundings: Arc<Surroundings>) -> Arc<Self> {
        Arc::new(Self {
            slots: std::array::from_fn(|_| Mutex::default()),
            serials: AtomicU64::new(0),
            surroundings,
            carried_out: CarriedOut::of(D::TYPE),
        })
    }

    /// Sends an order to the aggregate's actor, which is spawned if there is none.
    pub(crate) fn send(self: &Arc<Self>, id: Uuid, mut order: Order<D>) -> Result<(), SendFailure> {
        let mut slot = self.slot(id);
        let mut spawned = false;
        loop {
            let resident = match slot.entry(id) {
                Entry::Occupied(resident) => resident.into_mut(),
                Entry::Vacant(place) => {
                    if !self.surroundings.sweeper.has_room() {
                        return Err(SendFailure::Full(Intake::Node));
                    }
                    spawned = true;
                    place.insert(self.spawn(id)?)
                }
            };
            if resident.business.under_way.load(Ordering::Acquire) >= self.surroundings.gate.actor_max() {
                return Err(SendFailure::Full(Intake::Actor));
            }
            resident.business.under_way.fetch_add(1, Ordering::AcqRel);
            resident.business.used_at.store(self.surroundings.sweeper.now_ms(), Ordering::Release);
            order.load = Some(Load(resident.business.clone()));
            match resident.actor.send_message(Message::Order(Box::new(order))) {
                Ok(()) => return Ok(()),
                // The actor crashed and its room isn't cleared yet: take its place, once.
                Err(MessagingErr::SendErr(Message::Order(back))) if !spawned => {
                    order = *back;
                    order.load = None;
                    slot.remove(&id);
                }
                Err(_) => return Err(SendFailure::NoSupervisor),
            }
        }
    }

    /// What a live aggregate holds, as far as it is durable; `None` if it isn't live, or doesn't know.
    pub(crate) async fn recall(&self, id: Uuid) -> Option<(D, u64)> {
        let (answer, answered) = oneshot::channel();
        let actor = self.slot(id).get(&id)?.actor.clone();
        actor.send_message(Message::Recall(answer)).ok()?;
        answered.await.ok().flatten()
    }

    fn spawn(self: &Arc<Self>, id: Uuid) -> Result<Resident<D>, SendFailure> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let supervisor = self.surroundings.supervision.shard().ok_or(SendFailure::NoSupervisor)?;
        let presence = Presence { directory: self.clone(), id, serial, orderly: false };
        self.surroundings.sweeper.came();
        let arguments = Arguments { presence, surroundings: self.surroundings.clone() };
        // Instant: the child loads its stream by itself, the supervisor is not kept waiting.
        let (actor, _) =
            ActorRuntime::spawn_linked_instant(None, AggregateActor::<D>::default(), arguments, supervisor)
                .map_err(|_| SendFailure::NoSupervisor)?;
        Ok(Resident { actor, business: Arc::default(), serial })
    }

    fn slot(&self, id: Uuid) -> MutexGuard<'_, HashMap<Uuid, Resident<D>>> {
        let index = usize::from(id.as_bytes()[15]) % SLOTS;
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Decider> Sweep for Directory<D> {
    fn uses(&self, into: &mut Vec<u64>) {
        for slot in &self.slots {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            into.extend(slot.values().map(|resident| resident.business.used_at.load(Ordering::Acquire)));
        }
    }

    fn passivate_unused_since(&self, limit_ms: u64) {
        for slot in &self.slots {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            for resident in slot.values() {
                let idle = resident.business.under_way.load(Ordering::Acquire) == 0
                    && resident.business.used_at.load(Ordering::Acquire) <= limit_ms;
                if idle {
                    // An actor that is gone needs no telling.
                    let _ = resident.actor.send_message(Message::Passivate);
                }
            }
        }
    }

    fn end(&self) {
        for slot in &self.slots {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let mut residents: Vec<_> = slot.iter().collect();
            residents.sort_by_key(|(id, _)| **id);
            residents.iter().for_each(|(_, resident)| resident.actor.kill());
        }
    }

    fn forget(&self, subject: Subject) {
        for slot in &self.slots {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            for resident in slot.values() {
                // An actor that is gone holds nothing any more.
                let _ = resident.actor.send_message(Message::Forget(subject));
            }
        }
    }
}

/// An actor's entry in the directory, held by the actor: it ends with the actor, however the actor ends.
pub(super) struct Presence<D: Decider> {
    directory: Arc<Directory<D>>,
    id: Uuid,
    serial: u64,
    orderly: bool,
}

impl<D: Decider> Presence<D> {
    pub(super) fn stream(&self) -> StreamId {
        StreamId::new(D::TYPE, self.id)
    }

    /// Leaves the directory, unless an order is under way.
    pub(super) fn leave(&mut self) -> bool {
        let mut slot = self.directory.slot(self.id);
        if let Entry::Occupied(resident) = slot.entry(self.id)
            && resident.get().serial == self.serial
        {
            if resident.get().business.under_way.load(Ordering::Acquire) > 0 {
                return false;
            }
            resident.remove();
        }
        self.orderly = true;
        true
    }

    /// It is ending because the node does.
    pub(super) fn ends_in_order(&mut self) {
        self.orderly = true;
    }
}

impl<D: Decider> Drop for Presence<D> {
    fn drop(&mut self) {
        let mut slot = self.directory.slot(self.id);
        if let Entry::Occupied(resident) = slot.entry(self.id)
            && resident.get().serial == self.serial
        {
            resident.remove();
        }
        drop(slot);
        self.directory.surroundings.sweeper.left();
        if !self.orderly {
            self.directory.surroundings.quarantine.crashed(&self.stream(), tokio::time::Instant::now());
        }
    }
}
