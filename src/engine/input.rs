//! What expressions of a workflow see: the request, the people and roles it is about, what was decided so far.

use super::source::{Need, RoleOf};
use super::{Facts, fields};
use crate::api::{CountedDecision, seconds};
use crate::cel::{self, Expression, Input, Scope};
use crate::directory::Snapshot;
use crate::pending;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The names that expressions of a workflow may use.
pub static SCOPE: Scope = Scope {
    variables: &[
        "object",
        "oldObject",
        "operation",
        "request",
        "initiator",
        "subjects",
        "subject",
        "role",
        "superiorRole",
        "subRole",
        "parameters",
        "decisions",
        "now",
    ],
    directory: true,
};

/// What the request must supply for this expression.
#[must_use]
pub fn needs(expression: &Expression) -> Vec<Need> {
    let names = [
        ("role", Need::Role(RoleOf::Request)),
        ("superiorRole", Need::Role(RoleOf::Superior)),
        ("subRole", Need::Role(RoleOf::Sub)),
        ("subject", Need::Subject),
    ];
    names.into_iter().filter(|(name, _)| expression.references(name)).map(|(_, need)| need).collect()
}

/// The directory at one moment, for the functions of expressions.
struct At(Arc<Snapshot>, Timestamp);

impl cel::Directory for At {
    fn members(&self, role: &str) -> Vec<String> {
        self.0.holders(role, self.1).into_iter().map(str::to_owned).collect()
    }

    fn guarantors(&self, role: &str, type_: Option<&str>) -> Vec<String> {
        self.0.guarantors(role, type_, self.1).into_iter().map(str::to_owned).collect()
    }

    fn managers(&self, identity: &str) -> Vec<String> {
        self.0.managers(identity).to_vec()
    }
}

/// What an expression is evaluated over. `decisions` are those of the visits that are over: what an expression yields does not
/// change while people vote.
pub(super) fn input(facts: &Facts<'_>, decisions: &[&CountedDecision], expressions: &[&Expression]) -> Input {
    let mut variables = Map::new();
    let wanted = |name: &str| expressions.iter().any(|expression| expression.references(name));
    let spec = facts.instance.spec;
    let directory = facts.directory;
    for (name, role) in [("role", &spec.role), ("superiorRole", &spec.superior_role), ("subRole", &spec.sub_role)] {
        if let Some(role) = role
            && wanted(name)
        {
            variables.insert(name.to_owned(), directory.describe_role(role));
        }
    }
    if wanted("object") || wanted("request") {
        let object = spec.object.clone().unwrap_or_default();
        if wanted("request") {
            variables.insert("request".to_owned(), pending::decoded(&object));
        }
        variables.insert("object".to_owned(), object);
    }
    if wanted("oldObject") {
        variables.insert("oldObject".to_owned(), spec.old_object.clone().unwrap_or_default());
    }
    if wanted("operation")
        && let Some(operation) = spec.operation
    {
        variables.insert("operation".to_owned(), json!(operation));
    }
    if wanted("initiator")
        && let Some(initiator) = &spec.initiator
    {
        let initiator = json!({"username": initiator.username, "uid": initiator.uid, "groups": initiator.groups});
        variables.insert("initiator".to_owned(), initiator);
    }
    if wanted("subjects") || wanted("subject") {
        let subjects = spec.subjects.iter().map(|subject| directory.describe_person(directory.subject(subject)));
        let subjects: Vec<Value> = subjects.collect();
        if let [only] = subjects.as_slice() {
            variables.insert("subject".to_owned(), only.clone());
        }
        variables.insert("subjects".to_owned(), Value::Array(subjects));
    }
    if wanted("parameters") {
        let parameters = spec.parameters.clone().into_iter().collect();
        variables.insert("parameters".to_owned(), Value::Object(parameters));
    }
    if wanted("decisions") {
        let given: HashMap<&str, &super::Signal> =
            facts.recorded.iter().chain(facts.signals).map(|signal| (signal.uid.as_str(), signal)).collect();
        let listed = decisions.iter().map(|decision| {
            let mut shown = json!({
                "actor": decision.actor,
                "decision": decision.decision,
                "step": decision.step,
                "partition": decision.partition,
                "visit": decision.visit,
                "at": seconds(&decision.at),
            });
            if let Some(principal) = &decision.on_behalf_of {
                shown["onBehalfOf"] = json!(principal);
            }
            if let Some(signal) = given.get(decision.signal.uid.as_str()) {
                shown["fields"] = fields::typed(facts, decision, &signal.spec.fields);
            }
            shown
        });
        variables.insert("decisions".to_owned(), listed.collect());
    }
    Input { variables, now: Some(facts.now), directory: Some(Arc::new(At(directory.clone(), facts.now))) }
}
