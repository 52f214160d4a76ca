//! Who may do what, decided in one place by policies in Cedar (REQUIREMENTS §4).
//!
//! The policies that come with the binary lie beside this file, to be read by people: `policies/*.cedar`, in the terms of
//! `schema.cedarschema`. They are checked against it before a server starts. Nothing is allowed that no policy permits,
//! and a policy that forbids wins. A policy that can't be evaluated refuses: Cedar by itself would pass over it, and a
//! guard that is passed over guards nothing.

mod decision;
mod facts;
mod published;
mod question;
mod slices;
mod sources;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use cedar_policy::{Effect, Policy, PolicyId};
use cedar_policy::{Entities, PolicySet, Request, Validator};

pub use decision::{Decision, Detail};
pub use published::{PUBLISHED_MAX, PolicyMemory, PublishedPolicy};
pub use question::{Question, Resource};
pub use sources::{Fault, PolicyFaults, Source, Sources};

use facts::Words;
use question::{Facts, Regards};
use slices::{Ground, Published, Slice, Slices};
use sources::Origin;
use uuid::Uuid;

use crate::telemetry;

/// Decides. Made once; policies can be exchanged under it.
pub struct Authorizer {
    cedar: cedar_policy::Authorizer,
    words: Arc<Words>,
    validator: Arc<Validator>,
    grounds: Vec<Arc<Ground>>,
    builtin: Vec<Policy>,
    /// Exchanged as a whole: a decision sees all of one state, and none of another.
    slices: RwLock<Arc<Slices>>,
    /// How often each policy could not be evaluated. As long as the list of policies at most.
    errors: Mutex<BTreeMap<PolicyId, u64>>,
}

impl Authorizer {
    /// Reads and checks policies.
    ///
    /// # Errors
    /// Whatever is wrong with the schema or a policy, with its place: then a server doesn't start.
    pub fn new(sources: &Sources) -> Result<Self, PolicyFaults> {
        let validator = sources::read_schema(&sources.schema)?;
        let (mut builtin, mut faults) = (Vec::new(), Vec::new());
        for source in &sources.policies {
            match sources::read_policies(&validator, source, &Origin::Binary) {
                Ok(policies) => builtin.extend(policies),
                Err(PolicyFaults(found)) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(PolicyFaults(faults));
        }
        Self::of(validator, builtin).map_err(|what| {
            PolicyFaults(vec![Fault { source: sources.schema.name.clone(), place: None, policy: None, what }])
        })
    }

    fn of(validator: Validator, builtin: Vec<Policy>) -> Result<Self, String> {
        let grounds = slices::grounds(validator.schema())?;
        // All of them in one set, so that no name is there twice, in whichever files.
        PolicySet::from_policies(builtin.iter().cloned()).map_err(|error| error.to_string())?;
        let slices = Slices::cut(&grounds, &builtin, &Published::default())?;
        Ok(Self {
            cedar: cedar_policy::Authorizer::new(),
            words: Arc::new(Words::new()),
            validator: Arc::new(validator),
            grounds,
            builtin,
            slices: RwLock::new(Arc::new(slices)),
            errors: Mutex::default(),
        })
    }

    /// What decides about one action alone, by the same built-in policies and with nothing published yet: for other
    /// published policies than those in force. It shares the schema, and costs some microseconds.
    ///
    /// # Errors
    /// Two policies have one name; it was checked before.
    pub fn about(&self, action: &str) -> Result<Self, String> {
        let of = |ground: &&Arc<Ground>| ground.action.id().unescaped() == action;
        let grounds: Vec<_> = self.grounds.iter().filter(of).cloned().collect();
        let slices = Slices::cut(&grounds, &self.builtin, &Published::default())?;
        Ok(Self {
            cedar: cedar_policy::Authorizer::new(),
            words: self.words.clone(),
            validator: self.validator.clone(),
            grounds,
            builtin: self.builtin.clone(),
            slices: RwLock::new(Arc::new(slices)),
            errors: Mutex::default(),
        })
    }

    /// A policy that is asked about an action, as it was written; `None` if there is none of that name, or if it can't be
    /// read.
    pub fn policy(&self, action: &str, policy: &PolicyId) -> Option<Policy> {
        let slices = self.slices.read().unwrap_or_else(PoisonError::into_inner).clone();
        let slice = slices.get(action)?;
        slice.permits.policy(policy).or_else(|| slice.forbids.policy(policy)).cloned()
    }

    /// What policies call who asks, and what it is about: such as `Person` and `Tenant`.
    pub fn types(&self, question: &Question<'_>) -> (String, String) {
        let (principal, resource) = self.words.types(&Facts::of(question, Regards::default()));
        (principal.to_string(), resource.to_string())
    }

    /// Every action that policies know.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.grounds.iter().map(|ground| ground.action.id().unescaped())
    }

    /// Reads a policy that is to be published under an id.
    ///
    /// # Errors
    /// Whatever is wrong with it, with its place.
    pub fn read_offered(&self, id: Uuid, text: &str) -> Result<Policy, PolicyFaults> {
        self.read_one(text, &Origin::Offered(published::name(id)))
    }

    fn read_one(&self, text: &str, origin: &Origin) -> Result<Policy, PolicyFaults> {
        let mut read = sources::read_policies(&self.validator, &Source::new("policy", text), origin)?;
        // It is exactly one, or a fault was told.
        read.pop().ok_or_else(|| PolicyFaults(Vec::new()))
    }

    /// Puts published policies in force beside the built-in ones, in place of those that were.
    fn exchange(&self, published: &Published) -> Result<(), String> {
        let slices = Slices::cut(&self.grounds, &self.builtin, published)?;
        *self.slices.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(slices);
        // What erred may be mended now; what is not errs again.
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// May they? Costs some microseconds the first time that it is asked of such facts, and waits for nothing.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let slices = self.slices.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(slice) = slices.get(question.action) else { return Decision::not_permitted() };
        let facts = Facts::of(question, slice.regards);
        if let Some(decision) = slice.decided(&facts) {
            return decision;
        }
        // What the schema does not foresee, no policy was checked for.
        let (principal, resource) = self.words.types(&facts);
        if !slice.ground.foresees(principal, resource) {
            return Decision::not_permitted();
        }
        metrics::counter!(telemetry::DECISIONS_TAKEN).increment(1);
        let (decision, sound) = self.weigh(question.action, &facts, slice);
        if sound {
            slice.keep(facts, &decision);
        }
        decision
    }

    /// Puts a question to the policies. False if something could not be evaluated: that is told each time.
    fn weigh(&self, action: &str, facts: &Facts, slice: &Slice) -> (Decision, bool) {
        let (request, known) = match self.words.put(facts, &slice.ground) {
            Ok(put) => put,
            Err(error) => {
                tracing::error!(%error, action, "no policy could be asked, so it is refused");
                return (Decision::not_permitted(), false);
            }
        };
        let asked = Asked { authorizer: self, action, request: &request, known: &known };
        let (permits, erring) = asked.of(&slice.permits);
        if permits.is_empty() {
            let sound = erring.is_empty();
            return (Decision::refused(Detail::Forbidden, erring), sound);
        }
        let (mut refusing, erring_too) = asked.of(&slice.forbids);
        for policy in &slice.unreadable {
            self.erred(policy, action, &"it can't be read");
        }
        let sound = erring.is_empty() && erring_too.is_empty() && slice.unreadable.is_empty();
        refusing.extend(erring.into_iter().chain(erring_too).chain(slice.unreadable.iter().cloned()));
        if refusing.is_empty() {
            return (Decision { allowed: true, determining: permits, detail: None }, sound);
        }
        refusing.sort();
        (Decision::refused(told(&slice.forbids, &refusing), refusing), sound)
    }

    /// Counts and tells that a policy could not be evaluated: each time in a metric, and in the log as often as its
    /// number doubles, so that a flood of requests makes no flood of lines.
    fn erred(&self, policy: &PolicyId, action: &str, error: &dyn std::fmt::Display) {
        metrics::counter!(telemetry::POLICY_ERRORS, "policy" => policy.to_string()).increment(1);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let times = errors.entry(policy.clone()).or_default();
        *times += 1;
        if times.is_power_of_two() {
            tracing::error!(%policy, action, times, %error, "a policy could not be evaluated, so it refuses");
        }
    }

    /// The policies in force that could not be evaluated, and how often.
    pub fn erring(&self) -> BTreeMap<PolicyId, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A question that was put, so that sets of policies can be asked.
struct Asked<'a> {
    authorizer: &'a Authorizer,
    action: &'a str,
    request: &'a Request,
    known: &'a Entities,
}

impl Asked<'_> {
    /// Of policies of one effect: those that are satisfied, and those that can't be evaluated.
    fn of(&self, set: &PolicySet) -> (Vec<PolicyId>, Vec<PolicyId>) {
        let response = self.authorizer.cedar.is_authorized(self.request, set, self.known);
        let mut satisfied: Vec<PolicyId> = response.diagnostics().reason().cloned().collect();
        satisfied.sort();
        let mut erring = Vec::new();
        for error in response.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            self.authorizer.erred(error.policy_id(), self.action, error.inner());
            erring.push(error.policy_id().clone());
        }
        (satisfied, erring)
    }
}

/// What is told of policies that refuse.
fn told(set: &PolicySet, refusing: &[PolicyId]) -> Detail {
    let details = refusing.iter().filter_map(|policy| set.annotation(policy, "detail")?.parse().ok());
    details.min().unwrap_or(Detail::Forbidden)
}

#[cfg(test)]
mod tests;
