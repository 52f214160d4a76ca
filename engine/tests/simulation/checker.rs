//! Judges a history by the journal it left: every answer must be one that a single, never failing engine could have
//! given at some moment between question and answer, and the journal must hold nothing else.

use std::collections::{BTreeMap, BTreeSet};

use engine::command::DispatchError;
use engine::journal::{Journal, MemoryJournal};
use kernel::{Claim, Decider, Envelope, Position, ShardId, StreamId};

use super::account::{Account, Answer, Command, Fact, NAME, stream};

/// One command as a client sent it, once.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Which it is; its events carry it as their correlation.
    pub number: u128,
    pub account: u8,
    pub command: Command,
    pub key: Option<u128>,
    pub fingerprint: [u8; 32],
    pub expected: Option<u64>,
    pub asked: Moment,
    /// `None`: the client went away, or the node was killed.
    pub answered: Option<(Moment, Answer)>,
}

/// A moment: the how manieth of the history, and the journal's head then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub tick: u64,
    pub head: u64,
}

/// Everything that is wrong with it; empty if nothing is.
pub async fn faults(history: &[Sending], journal: &MemoryJournal) -> Vec<String> {
    let events = journal.read(ShardId(0), Position::ZERO, usize::MAX).await.unwrap();
    let mut checker =
        Checker { history, events, made: BTreeMap::new(), lives: BTreeMap::new(), faults: vec![] };
    checker.journal();
    if checker.faults.is_empty() {
        history.iter().for_each(|sending| checker.sending(sending));
        checker.keys();
        checker.storage(journal).await;
    }
    checker.faults
}

struct Checker<'a> {
    history: &'a [Sending],
    events: Vec<Envelope>,
    /// What each sending made.
    made: BTreeMap<u128, Vec<Envelope>>,
    /// Each account's states, from the empty one on, with the position it began at.
    lives: BTreeMap<StreamId, Vec<(u64, Account)>>,
    faults: Vec<String>,
}

impl Checker<'_> {
    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    /// Positions dense, sequences contiguous, time never backwards, ids unique; and the lives of the accounts.
    fn journal(&mut self) {
        let mut ids = BTreeSet::new();
        let mut recorded_at = None;
        for (event, position) in self.events.clone().into_iter().zip(1..) {
            if event.position.0 != position {
                self.fault(format!("position {} stands where {position} is due", event.position));
            }
            let life = self.lives.entry(event.stream.clone()).or_insert_with(beginning);
            let (_, mut state) = life.last().cloned().unwrap_or_default();
            match event.decode::<Fact>() {
                Ok(fact) => state.evolve(&fact),
                Err(error) => self.faults.push(format!("position {position} can't be read: {error}")),
            }
            life.push((position, state));
            let due = life.len() as u64 - 1;
            if event.sequence != due {
                self.fault(format!("{} has sequence {} where {due} is due", event.stream, event.sequence));
            }
            if !ids.insert(event.event_id) {
                self.fault(format!("the id of position {position} stands there twice"));
            }
            if recorded_at > Some(event.recorded_at) {
                self.fault(format!("time runs backwards at position {position}"));
            }
            recorded_at = Some(event.recorded_at);
            self.made.entry(event.metadata.correlation_id.0.as_u128()).or_default().push(event);
        }
        for number in self.made.keys().copied().collect::<Vec<_>>() {
            if !self.history.iter().any(|sending| sending.number == number) {
                self.fault(format!("nobody sent number {number}, yet it made events"));
            }
        }
    }

    fn sending(&mut self, sending: &Sending) {
        let made = self.made.get(&sending.number).cloned().unwrap_or_default();
        let wrong = self.made_rightly(sending, &made).and_then(|()| match &sending.answered {
            Some((moment, answer)) => self.answered_rightly(sending, &made, *moment, answer),
            None => Ok(()),
        });
        if let Err(reason) = wrong {
            let text = format!("{reason}\n    {sending:?}\n    made {:?}", brief(&made));
            self.fault(text);
        }
    }

    /// What it made is what the rules make of the state that stood before, all of it and nothing else.
    fn made_rightly(&self, sending: &Sending, made: &[Envelope]) -> Result<(), String> {
        let Some(first) = made.first() else { return Ok(()) };
        let together = made.iter().zip(0..).all(|(event, n)| {
            event.position.0 == first.position.0 + n
                && event.stream == stream(sending.account)
                && u64::from(event.index_in_command) == n
        });
        if !together {
            return Err("its events don't stand together".into());
        }
        let before = first.sequence - 1;
        let state = self.state(sending.account, before).ok_or("no state before it")?;
        let due = state.decide(sending.command.clone());
        let found: Result<Vec<Fact>, _> = made.iter().map(Envelope::decode).collect();
        if due.as_ref().ok() != found.as_ref().ok() {
            return Err(format!("on {state:?} the rules make {due:?}"));
        }
        if sending.expected.is_some_and(|expected| expected != before) {
            return Err(format!("it was made on sequence {before}"));
        }
        Ok(())
    }

    fn answered_rightly(
        &self,
        sending: &Sending,
        made: &[Envelope],
        at: Moment,
        answer: &Answer,
    ) -> Result<(), String> {
        let nothing = || if made.is_empty() { Ok(()) } else { Err("it made events".to_owned()) };
        match answer {
            Ok(receipt) if !receipt.replayed && receipt.changed() => {
                let last = made.last().ok_or("it made no event")?;
                let ids: Vec<_> = made.iter().map(|event| event.event_id).collect();
                let told = receipt.position.map(|token| token.position);
                if ids != receipt.event_ids
                    || told != Some(last.position)
                    || receipt.sequence != last.sequence
                    || receipt.recorded_at != Some(last.recorded_at)
                {
                    return Err("the receipt tells something else".into());
                }
                if last.position.0 > at.head {
                    Err("it was answered before it was written".into())
                } else {
                    Ok(())
                }
            }
            Ok(receipt) if !receipt.replayed => {
                nothing()?;
                self.decided(sending, receipt.sequence, at)?;
                match self.state(sending.account, receipt.sequence).map(|s| s.decide(sending.command.clone()))
                {
                    Some(Ok(events)) if events.is_empty() => Ok(()),
                    due => Err(format!("there was something to do: {due:?}")),
                }
            }
            Ok(receipt) => {
                nothing()?;
                let events = self.events.iter().filter(|event| receipt.event_ids.contains(&event.event_id));
                let mut theirs = events.map(|event| event.metadata.correlation_id.0.as_u128()).peekable();
                if receipt.changed() && theirs.peek().is_none() {
                    return Err("what it repeats was never written".into());
                }
                let same = |number| self.history.iter().any(|s| s.number == number && s.key == sending.key);
                if theirs.all(same) { Ok(()) } else { Err("it repeats another command's answer".into()) }
            }
            Err(DispatchError::Rejected { rejection, .. }) => {
                nothing()?;
                self.decided(sending, rejection.sequence, at)?;
                let due = self
                    .state(sending.account, rejection.sequence)
                    .map(|s| s.decide(sending.command.clone()));
                if due == Some(Err(rejection.clone())) {
                    Ok(())
                } else {
                    Err(format!("the rules say {due:?}"))
                }
            }
            Err(DispatchError::PreconditionFailed { expected, found }) => {
                nothing()?;
                self.decided(sending, *found, at)?;
                let so = sending.expected == Some(*expected) && expected != found;
                if so { Ok(()) } else { Err("nothing else was expected".into()) }
            }
            Err(DispatchError::ClaimTaken { .. }) => {
                nothing()?;
                let from = self.first_asked(sending).head;
                let names = sending.command.names();
                let taken =
                    (from..=at.head).any(|p| names.iter().any(|name| self.held(name, p, sending.account)));
                if taken { Ok(()) } else { Err("nobody else held the name".into()) }
            }
            Err(DispatchError::KeyReused) => {
                nothing()?;
                let other = self.alike(sending).any(|s| s.fingerprint != sending.fingerprint && s.asked < at);
                if other { Ok(()) } else { Err("the key was not used for anything else".into()) }
            }
            Err(DispatchError::InFlight) => {
                nothing()?;
                let other = self.alike(sending).any(|s| s.number != sending.number && s.asked < at);
                if other { Ok(()) } else { Err("nobody else sent it".into()) }
            }
            Err(DispatchError::Unstorable) => {
                nothing()?;
                if sending.command == Command::Unstorable { Ok(()) } else { Err("it can be stored".into()) }
            }
            Err(
                DispatchError::Busy { .. } | DispatchError::Unavailable { .. } | DispatchError::Quarantined,
            ) => nothing(),
            Err(DispatchError::OutcomeUnknown) => Ok(()),
        }
    }

    /// The answer was decided on a sequence that the stream had between question and answer.
    fn decided(&self, sending: &Sending, sequence: u64, at: Moment) -> Result<(), String> {
        let (from, to) = (
            self.length(sending.account, self.first_asked(sending).head),
            self.length(sending.account, at.head),
        );
        if (from..=to).contains(&sequence) {
            return Ok(());
        }
        Err(format!(
            "it was decided on sequence {sequence}; while it was asked the stream had {from} to {to}"
        ))
    }

    /// When the command was asked for first: with a key the answer may be that of an earlier sending.
    fn first_asked(&self, sending: &Sending) -> Moment {
        self.alike(sending).map(|s| s.asked).min().unwrap_or(sending.asked)
    }

    /// All sendings under the same key; without one only itself.
    fn alike(&self, sending: &Sending) -> impl Iterator<Item = &Sending> {
        let (key, number) = (sending.key, sending.number);
        self.history.iter().filter(move |s| s.number == number || (key.is_some() && s.key == key))
    }

    /// One key, one carrying out, one answer.
    fn keys(&mut self) {
        let mut keys: BTreeMap<u128, Vec<&Sending>> = BTreeMap::new();
        for sending in self.history {
            if let Some(key) = sending.key {
                keys.entry(key).or_default().push(sending);
            }
        }
        for (key, sendings) in keys {
            let carried_out = sendings.iter().filter(|s| self.made.contains_key(&s.number)).count();
            if carried_out > 1 {
                self.fault(format!("key {key} was carried out {carried_out} times: {sendings:#?}"));
            }
            let mut answers: Vec<String> =
                sendings.iter().filter_map(|s| substance(&s.answered.as_ref()?.1)).collect();
            answers.sort();
            answers.dedup();
            if answers.len() > 1 {
                self.fault(format!("key {key} got {} different answers: {sendings:#?}", answers.len()));
            }
        }
    }

    /// Claims and snapshots are what the events make of them.
    async fn storage(&mut self, journal: &MemoryJournal) {
        let mut holders: BTreeMap<String, StreamId> = BTreeMap::new();
        // Only the end of a command counts: what it takes and frees again, nobody else ever sees.
        let ends = self.events.chunk_by(|a, b| a.metadata.correlation_id == b.metadata.correlation_id);
        for end in ends.filter_map(<[Envelope]>::last) {
            let name = self.lives[&end.stream][usize::try_from(end.sequence).unwrap()].1.name.clone();
            holders.retain(|held, holder| *holder != end.stream || Some(held) == name.as_ref());
            if let Some(name) = name
                && let Some(other) = holders.insert(name.clone(), end.stream.clone())
                && other != end.stream
            {
                self.faults.push(format!("{name} is held by two at position {}", end.position));
            }
        }
        let names: BTreeSet<&str> = self.history.iter().flat_map(|sending| sending.command.names()).collect();
        for name in names {
            let holder = journal.claim_holder(&Claim::new(NAME, name)).await.unwrap();
            if holder.as_ref() != holders.get(name) {
                self.faults
                    .push(format!("{name} is claimed by {holder:?}, by the events {:?}", holders.get(name)));
            }
        }
        for (stream, life) in self.lives.clone() {
            let loaded = journal.load(&stream, Some(Account::SNAPSHOT_VERSION)).await.unwrap();
            let Some(snapshot) = loaded.snapshot else { continue };
            let due = life.get(usize::try_from(snapshot.sequence).unwrap()).map(|(_, state)| state.clone());
            if due.is_none() || serde_json::from_value::<Account>(snapshot.state.clone()).ok() != due {
                self.fault(format!("{stream}'s snapshot is {snapshot:?}, by the events {due:?}"));
            }
        }
    }

    fn state(&self, account: u8, sequence: u64) -> Option<Account> {
        let life = self.lives.get(&stream(account)).cloned().unwrap_or_else(beginning);
        life.get(usize::try_from(sequence).ok()?).map(|(_, state)| state.clone())
    }

    /// How many events an account had when the journal's head was at a position.
    fn length(&self, account: u8, head: u64) -> u64 {
        let life = self.lives.get(&stream(account));
        life.map_or(0, |life| {
            life.iter().filter(|(position, _)| (1..=head).contains(position)).count() as u64
        })
    }

    /// Whether another account held the name when the head was at a position.
    fn held(&self, name: &str, head: u64, but: u8) -> bool {
        let others = self.lives.iter().filter(|(of, _)| **of != stream(but));
        others
            .filter_map(|(_, life)| life.iter().rfind(|(position, _)| *position <= head))
            .any(|(_, state)| state.name.as_deref() == Some(name))
    }
}

fn beginning() -> Vec<(u64, Account)> {
    vec![(0, Account::default())]
}

/// What an answer says of the command's outcome; `None` if it leaves it open.
fn substance(answer: &Answer) -> Option<String> {
    match answer {
        Ok(receipt) => {
            Some(format!("done {} {:?} {:?}", receipt.sequence, receipt.event_ids, receipt.position))
        }
        Err(DispatchError::Rejected { rejection, .. }) => Some(format!("{rejection:?}")),
        Err(DispatchError::ClaimTaken { .. }) => Some("taken".into()),
        Err(DispatchError::PreconditionFailed { expected, found }) => {
            Some(format!("expected {expected}, {found}"))
        }
        Err(_) => None,
    }
}

fn brief(made: &[Envelope]) -> Vec<String> {
    made.iter().map(|e| format!("{} at {} {}", e.sequence, e.position, e.payload)).collect()
}
