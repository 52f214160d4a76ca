//! The texts of policies: read, named and checked against the schema, all before any of them counts.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;

use super::decision::Detail;
use super::slices;

/// A file, or what stands for one.
#[derive(Clone, Debug)]
pub struct Source {
    /// What faults call it.
    pub name: String,
    pub text: String,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// The schema and the policies that come with the binary.
#[derive(Clone, Debug)]
pub struct Sources {
    pub schema: Source,
    pub policies: Vec<Source>,
}

macro_rules! file {
    ($name:literal) => {
        Source::new($name, include_str!(concat!("policies/", $name)))
    };
}

impl Sources {
    /// The files beside this one.
    pub fn builtin() -> Self {
        Self {
            schema: Source::new("schema.cedarschema", include_str!("schema.cedarschema")),
            policies: vec![
                file!("platform.cedar"),
                file!("tenant.cedar"),
                file!("applications.cedar"),
                file!("guards.cedar"),
            ],
        }
    }
}

/// What is wrong with a schema or a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub source: String,
    /// Line and column, from 1 on, if it is at one place.
    pub place: Option<(usize, usize)>,
    pub policy: Option<String>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        match &self.policy {
            Some(policy) => write!(f, ": policy `{policy}`: {}", self.what),
            None => write!(f, ": {}", self.what),
        }
    }
}

/// Everything that is wrong with it; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "))]
pub struct PolicyFaults(pub Vec<Fault>);

/// Reads a schema.
///
/// # Errors
/// It can't be read, or a part of it contradicts another.
pub(super) fn read_schema(source: &Source) -> Result<Validator, PolicyFaults> {
    match Schema::from_cedarschema_str(&source.text) {
        Ok((schema, _)) => Ok(Validator::new(schema)),
        Err(error) => Err(PolicyFaults(vec![fault(source, None, &error)])),
    }
}

/// Where policies come from, and so what is asked of them.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The binary: each is called as its `@id` says.
    Binary,
    /// An operator who wants to publish one, under this name. It holds for all tenants and people alike.
    Offered(PolicyId),
    /// The journal: it was published under this name, and is in force as long as it can be evaluated.
    Journal(PolicyId),
}

/// Reads the policies of a source; they satisfy the schema strictly. What merely looks odd to the validator, such as a
/// policy that can never apply, is refused too: it was meant to do something. But not of one that is in force: the next
/// release of the validator may find other things odd.
///
/// # Errors
/// All faults that were found.
pub(super) fn read_policies(
    validator: &Validator,
    source: &Source,
    origin: &Origin,
) -> Result<Vec<Policy>, PolicyFaults> {
    let read = match PolicySet::from_str(&source.text) {
        Ok(read) => read,
        Err(errors) => {
            return Err(PolicyFaults(errors.iter().map(|error| fault(source, None, error)).collect()));
        }
    };
    let given = match origin {
        Origin::Binary => None,
        Origin::Offered(name) | Origin::Journal(name) => Some(name),
    };
    let mut faults = Vec::new();
    let mut odd = |policy: Option<&str>, what: &str| {
        let (source, policy) = (source.name.clone(), policy.map(str::to_owned));
        faults.push(Fault { source, place: None, policy, what: what.to_owned() });
    };
    if read.templates().next().is_some() {
        odd(None, "templates have no place here: write out what each policy is about");
    } else if given.is_some() && read.num_of_policies() != 1 {
        odd(None, "must be exactly one policy: publish each under an id of its own");
    }
    let (mut names, mut policies) = (BTreeSet::new(), Vec::new());
    for policy in read.policies() {
        let own = policy.annotation("id").filter(|name| !name.is_empty());
        let Some(name) = given.map(AsRef::as_ref).or(own) else {
            odd(Some(policy.id().as_ref()), "has no @id(\"…\") (counted from policy0 on)");
            continue;
        };
        if !names.insert(name.to_owned()) {
            odd(Some(name), "is there twice");
        }
        match (policy.annotation("detail").map(Detail::from_str), policy.effect()) {
            (Some(Err(())), _) => odd(Some(name), "has an @detail that is none of ours"),
            (Some(Ok(_)), Effect::Permit) => odd(Some(name), "permits, so nobody hears its @detail"),
            _ => {}
        }
        if let (Some(named), Origin::Offered(_)) = (slices::named(policy), origin) {
            odd(Some(name), &format!("names {named}: what is published holds for all tenants and people"));
        }
        policies.push(policy.new_id(PolicyId::new(name)));
    }
    let set = PolicySet::from_policies(policies.iter().cloned());
    if let (true, Ok(set)) = (faults.is_empty(), &set) {
        let found = validator.validate(set, ValidationMode::Strict);
        let errors = found.validation_errors().map(|error| fault(source, Some(error.policy_id()), error));
        faults.extend(errors);
        if !matches!(origin, Origin::Journal(_)) {
            let warnings = found.validation_warnings();
            faults.extend(warnings.map(|warning| fault(source, Some(warning.policy_id()), warning)));
        }
    }
    if faults.is_empty() { Ok(policies) } else { Err(PolicyFaults(faults)) }
}

fn fault(source: &Source, policy: Option<&PolicyId>, found: &(impl Diagnostic + ?Sized)) -> Fault {
    let offset = found.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let help = found.help().map(|help| format!(" ({help})")).unwrap_or_default();
    Fault {
        source: source.name.clone(),
        place: offset.map(|offset| place(&source.text, offset)),
        policy: policy.map(ToString::to_string),
        what: format!("{found}{help}"),
    }
}

/// Line and column of a byte, from 1 on; columns are characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let line_begins = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_begins..].chars().count() + 1)
}
