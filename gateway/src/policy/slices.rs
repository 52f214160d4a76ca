//! Policies by action: of each action, those that can say anything about it. The others need not be asked.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Schema,
};

use super::decision::Decision;
use super::question::{Facts, Regards};

/// What the schema says of an action.
#[derive(Debug)]
pub(super) struct Ground {
    pub action: EntityUid,
    /// The action and its groups, as Cedar wants to know them.
    pub entities: Entities,
    groups: Vec<EntityUid>,
    principals: Vec<EntityTypeName>,
    resources: Vec<EntityTypeName>,
}

impl Ground {
    /// True if the schema foresees such a question. Policies were checked for these, and for no others.
    pub fn foresees(&self, principal: &EntityTypeName, resource: &EntityTypeName) -> bool {
        self.principals.contains(principal) && self.resources.contains(resource)
    }

    /// True if a policy can say anything about the action.
    pub fn concerns(&self, constraint: &ActionConstraint) -> bool {
        let is = |one: &EntityUid| *one == self.action;
        match constraint {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => is(one),
            ActionConstraint::In(some) => some.iter().any(|one| is(one) || self.groups.contains(one)),
        }
    }

    /// True if it is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one.id().unescaped() == group)
    }
}

/// Every action that endpoints can have.
///
/// # Errors
/// The schema contradicts itself; it was checked before.
pub(super) fn grounds(schema: &Schema) -> Result<Vec<Arc<Ground>>, String> {
    let known = schema.action_entities().map_err(|error| error.to_string())?;
    let mut grounds = Vec::new();
    for action in schema.actions() {
        let types = (schema.principals_for_action(action), schema.resources_for_action(action));
        let (Some(principals), Some(resources)) = types else { continue };
        let (principals, resources): (Vec<_>, Vec<_>) =
            (principals.cloned().collect(), resources.cloned().collect());
        // A group is nobody's to call.
        if principals.is_empty() || resources.is_empty() {
            continue;
        }
        let groups: Vec<EntityUid> = known.ancestors(action).into_iter().flatten().cloned().collect();
        let own = groups.iter().chain([action]).filter_map(|uid| known.get(uid)).cloned();
        let entities = Entities::from_entities(own, None).map_err(|error| error.to_string())?;
        let action = action.clone();
        grounds.push(Arc::new(Ground { action, entities, groups, principals, resources }));
    }
    Ok(grounds)
}

/// Of one action, the policies that can say anything about it. Those that permit and those that forbid stand apart:
/// then it is known whether anything permits before it is asked what forbids, and a caller whom nothing permits hears
/// just that. Together they decide as one set would: what forbids wins.
#[derive(Debug)]
pub(super) struct Slice {
    pub ground: Arc<Ground>,
    pub permits: PolicySet,
    pub forbids: PolicySet,
    /// Published policies that can't be read any more: nobody knows whom they would refuse.
    pub unreadable: Vec<PolicyId>,
    /// What policies here look at. Nothing else is told them, and to tell the time takes longer than most policies.
    pub regards: Regards,
    /// What was decided: while these policies are in force it is the same each time, of the same facts.
    decided: RwLock<HashMap<Facts, Decision>>,
}

/// How many decisions about one action are kept. Facts that name nobody are few; scopes make them more.
const DECIDED_MAX: usize = 256;

impl Slice {
    /// What was decided of the same facts.
    pub fn decided(&self, facts: &Facts) -> Option<Decision> {
        if !self.keeps() {
            return None;
        }
        self.decided.read().unwrap_or_else(PoisonError::into_inner).get(facts).cloned()
    }

    /// Keeps a decision, while there is room.
    pub fn keep(&self, facts: Facts, decision: &Decision) {
        if !self.keeps() {
            return;
        }
        let mut decided = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        if decided.len() < DECIDED_MAX {
            decided.insert(facts, decision.clone());
        }
    }

    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.decided.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// It is another time each time, and each is somebody else.
    fn keeps(&self) -> bool {
        self.regards == Regards::default()
    }
}

/// What operators published, as far as this binary can read it.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    pub policies: Vec<Policy>,
    /// What can't be read, with the actions it names; any, if not even that can be read.
    pub unreadable: Vec<(PolicyId, ActionConstraint)>,
}

/// Groups that no published policy reaches: a mistake in one must not stop those who can take it back, nor probes.
const BEYOND_PUBLISHED: [&str; 2] = ["open", "platform:policies"];

fn is_beyond_published(ground: &Ground) -> bool {
    BEYOND_PUBLISHED.iter().any(|group| ground.is_in(group))
}

/// Types of whom policies that operators publish name none of.
const UNNAMED: [&str; 5] = ["Tenant", "Person", "Individual", "Account", "Operator"];

/// The first person or tenant that a policy names.
pub(super) fn named(policy: &Policy) -> Option<EntityUid> {
    policy.entity_literals().into_iter().find(|one| UNNAMED.contains(&one.type_name().basename()))
}

/// True if a policy names anybody. Services are few and each called by its name in any case.
fn says_whom(policy: &Policy) -> bool {
    let applications = policy.entity_literals();
    named(policy).is_some() || applications.iter().any(|one| one.type_name().basename() == "Application")
}

/// True if a policy may look at what time it is. In JSON an attribute's name stands as it is, however it was written.
fn says_now(policy: &Policy) -> bool {
    policy.to_json().map_or(true, |json| json.to_string().contains(r#""now""#))
}

/// The slices of all actions.
#[derive(Debug, Default)]
pub(super) struct Slices(HashMap<String, Slice>);

impl Slices {
    /// Cuts them. Policies of `published` are asked about what they may reach only.
    ///
    /// # Errors
    /// Two policies have one name.
    pub fn cut(grounds: &[Arc<Ground>], builtin: &[Policy], published: &Published) -> Result<Self, String> {
        let mut slices = HashMap::with_capacity(grounds.len());
        let nothing = Published::default();
        for ground in grounds {
            let published = if is_beyond_published(ground) { &nothing } else { published };
            let (mut permits, mut forbids) = (PolicySet::new(), PolicySet::new());
            let mut regards = Regards::default();
            for policy in builtin.iter().chain(&published.policies) {
                if ground.concerns(&policy.action_constraint()) {
                    let side = match policy.effect() {
                        Effect::Permit => &mut permits,
                        Effect::Forbid => &mut forbids,
                    };
                    side.add(policy.clone()).map_err(|error| error.to_string())?;
                    regards.when |= says_now(policy);
                    regards.whom |= says_whom(policy);
                }
            }
            let unreadable = published.unreadable.iter().filter(|(_, names)| ground.concerns(names));
            let unreadable = unreadable.map(|(policy, _)| policy.clone()).collect();
            let decided = RwLock::default();
            let slice = Slice { ground: ground.clone(), permits, forbids, unreadable, regards, decided };
            slices.insert(ground.action.id().unescaped().to_owned(), slice);
        }
        Ok(Self(slices))
    }

    pub fn get(&self, action: &str) -> Option<&Slice> {
        self.0.get(action)
    }
}
