//! Which processes an operation matches, in the order in which they are asked.

use super::about::{self, About, narrowed};
use super::cover::{Attempt, covers, labels, takes};
use super::{differences, payload};
use crate::api::{ApprovalProcessSpec, GateEvent, OnMatch, Operation, PlannedProcess};
use crate::cel::{Expression, Scope};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the conditions and expressions of a process with a gate see. `request` is what Kubernetes' own admission expressions
/// see under that name; `object` and `oldObject` are null where there is none.
pub static SCOPE: Scope =
    Scope { variables: &["object", "oldObject", "operation", "initiator", "request"], directory: false };

/// How many people one process may say that a change is about.
const SUBJECTS: usize = 256;

/// A process that may match.
pub struct Candidate<'a> {
    /// metadata.name.
    pub name: &'a str,
    /// The process.
    pub spec: &'a ApprovalProcessSpec,
    /// Why it cannot work at the moment; none when it can.
    pub not_ready: Option<String>,
}

/// Who has to agree to an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// No process is about it.
    Nobody,
    /// This process says that it needs no approval, and none before it asks for one.
    Skip(String),
    /// All of these, one after the other.
    Ask(Vec<PlannedProcess>),
    /// This process is about it but cannot be asked now: the operation may not happen.
    Hold {
        /// The process.
        process: String,
        /// Why, for people.
        why: String,
    },
}

/// In the order in which they are looked at: lowest order first, ties by name (requirement R24).
#[must_use]
pub fn in_order<'a>(candidates: &'a [Candidate<'a>]) -> Vec<&'a Candidate<'a>> {
    let mut ordered: Vec<_> = candidates.iter().collect();
    ordered.sort_by_key(|candidate| (candidate.spec.order, candidate.name));
    ordered
}

/// The processes that an operation matches: lowest order first, ties by name. The search ends with a process that says `Stop`
/// or `skip`; what matched before stands. A process that matches and is not ready, or whose expressions cannot be told, holds.
#[must_use]
pub fn select(candidates: &[Candidate<'_>], attempt: &Attempt<'_>) -> Selection {
    let whole = input(attempt, &[]);
    let hold = |candidate: &Candidate<'_>, why| Selection::Hold { process: candidate.name.to_owned(), why };
    let mut matching: Vec<(&Candidate<'_>, &GateEvent)> = Vec::new();
    for candidate in in_order(candidates) {
        let Some(gate) = &candidate.spec.event.gate else { continue };
        if !covers(gate, attempt) {
            continue;
        }
        match conditions_hold(gate, &whole) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => return hold(candidate, why),
        }
        if let Some(why) = &candidate.not_ready {
            return hold(candidate, why.clone());
        }
        if candidate.spec.skip {
            if matching.is_empty() {
                return Selection::Skip(candidate.name.to_owned());
            }
            break;
        }
        matching.push((candidate, gate));
        if candidate.spec.on_match == OnMatch::Stop {
            break;
        }
    }
    // What expressions yield is stored and shown: they see nothing that nobody may see.
    let gates: Vec<&GateEvent> = matching.iter().map(|(_, gate)| *gate).collect();
    let shown = input(attempt, &payload::redacted(&gates, attempt));
    let mut planned = Vec::new();
    for (candidate, _) in &matching {
        match plan(candidate, &shown) {
            Ok(process) => planned.push(process),
            Err(why) => return hold(candidate, why),
        }
    }
    if planned.is_empty() { Selection::Nobody } else { Selection::Ask(planned) }
}

/// The gates of these processes.
#[must_use]
pub fn gates<'a>(candidates: &[Candidate<'a>], planned: &[PlannedProcess]) -> Vec<&'a GateEvent> {
    let named = planned.iter().filter_map(|planned| candidates.iter().find(|candidate| candidate.name == planned.name));
    named.filter_map(|candidate| candidate.spec.event.gate.as_ref()).collect()
}

/// The processes whose gate a namespace leaves when its labels change: only who may pass without approval may do that. Those are
/// the processes that no longer select it, and those behind a process that ends the search and selects it now.
#[must_use]
pub fn left<'a>(candidates: &[Candidate<'a>], attempt: &Attempt<'_>) -> Vec<&'a str> {
    let (Some(old), Some(new)) = (attempt.old_object, attempt.object) else { return Vec::new() };
    if (attempt.group, attempt.resource) != ("", "namespaces") {
        return Vec::new();
    }
    let (before, after) = (labels(old), labels(new));
    // Before and after, where labels select.
    let selects = |gate: &GateEvent| {
        let namespaces = gate.namespaces.as_ref().filter(|namespaces| namespaces.names.is_empty())?;
        Some((takes(namespaces, attempt.name, &before), takes(namespaces, attempt.name, &after)))
    };
    let gates: Vec<_> =
        candidates.iter().filter_map(|candidate| Some((candidate, candidate.spec.event.gate.as_ref()?))).collect();
    let place = |candidate: &Candidate<'a>| (candidate.spec.order, candidate.name);
    let entered = gates.iter().filter(|(candidate, gate)| {
        (candidate.spec.skip || candidate.spec.on_match == OnMatch::Stop) && selects(gate) == Some((false, true))
    });
    let entered: Vec<_> = entered.collect();
    let passed = gates.iter().filter(|(candidate, gate)| {
        // Labels that it is selected by may come later.
        let named = gate.namespaces.as_ref().filter(|namespaces| !namespaces.names.is_empty());
        let about = named.is_none_or(|namespaces| takes(namespaces, attempt.name, &after));
        !candidate.spec.skip
            && (selects(gate) == Some((true, false))
                || (about && entered.iter().any(|(first, ends)| place(first) < place(candidate) && share(ends, gate))))
    });
    let mut names: Vec<&str> = passed.map(|(candidate, _)| candidate.name).collect();
    names.sort_unstable();
    names
}

/// Whether two gates may be about the same objects.
fn share(one: &GateEvent, other: &GateEvent) -> bool {
    let plain = |resource: &str| resource.split('/').next().unwrap_or_default().to_owned();
    let all = |gate: &GateEvent| -> BTreeSet<(String, String)> {
        let listed = gate.resources.iter().flat_map(|listed| {
            listed.api_groups.iter().flat_map(|group| listed.resources.iter().map(|name| (group.clone(), plain(name))))
        });
        listed.collect()
    };
    !all(one).is_disjoint(&all(other))
}

/// What is wrong with the expressions of a process with a gate.
#[must_use]
pub fn faults(spec: &ApprovalProcessSpec) -> Vec<String> {
    let Some(gate) = &spec.event.gate else { return Vec::new() };
    let conditions = gate.match_conditions.iter().filter_map(|condition| {
        let why = Expression::compile(&condition.expression, &SCOPE).err()?;
        Some(format!("spec.event.gate.matchConditions[{}].expression: {why}", condition.name))
    });
    conditions.chain(about::faults(spec, &SCOPE)).collect()
}

/// Whether all conditions hold. As in Kubernetes, one that does not hold decides, whatever becomes of the others.
fn conditions_hold(gate: &GateEvent, input: &Value) -> Result<bool, String> {
    let mut failed = None;
    for condition in &gate.match_conditions {
        let told = Expression::compile(&condition.expression, &SCOPE)
            .and_then(|compiled| compiled.holds(&narrowed(&compiled, &SCOPE, input)));
        match told {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                failed.get_or_insert(format!("spec.event.gate.matchConditions[{}]: {why}", condition.name));
            }
        }
    }
    failed.map_or(Ok(true), Err)
}

fn plan(candidate: &Candidate<'_>, input: &Value) -> Result<PlannedProcess, String> {
    let About { subjects, subject_emails, role, superior_role, sub_role, exclude_approvers } =
        about::about(candidate.spec, &SCOPE, input)?;
    let subjects = subjects.unwrap_or_default();
    for (field, people) in
        [("subjects", &subjects), ("subjectEmail", &subject_emails), ("excludeApprovers", &exclude_approvers)]
    {
        if people.len() > SUBJECTS {
            return Err(format!("spec.{field} yields {} people, at most {SUBJECTS} are allowed", people.len()));
        }
    }
    let workflow = candidate.spec.workflow_ref.as_ref().map(|workflow| workflow.name.clone());
    Ok(PlannedProcess {
        name: candidate.name.to_owned(),
        workflow: workflow.ok_or("spec.workflowRef is missing")?,
        subjects,
        subject_emails,
        instance_per: candidate.spec.instance_per,
        role,
        superior_role,
        sub_role,
        exclude_approvers,
    })
}

/// What expressions see of an attempt, without the values at these pointers.
#[must_use]
pub fn input(attempt: &Attempt<'_>, redacted: &[String]) -> Value {
    let shown = |object: Option<&Value>| {
        let object = object.map(|object| differences::redact(object.clone(), redacted));
        object.unwrap_or_default()
    };
    json!({
        "object": shown(attempt.object),
        "oldObject": shown(attempt.old_object),
        "operation": attempt.operation,
        "initiator": {"username": attempt.user.username, "uid": attempt.user.uid, "groups": attempt.user.groups},
        "request": attempt.request.cloned().unwrap_or_else(|| request(attempt)),
    })
}

/// `request` as the API server would show it: what is empty is missing, and a Namespace names itself as its namespace.
fn request(attempt: &Attempt<'_>) -> Value {
    let Attempt { group, version, kind, resource, subresource, name, user, .. } = *attempt;
    let kind = json!({"group": group, "version": version, "kind": kind});
    let resource_of = json!({"group": group, "version": version, "resource": resource});
    let options = match attempt.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
    };
    let mut request = json!({
        "kind": kind,
        "resource": resource_of,
        "requestKind": kind,
        "requestResource": resource_of,
        "operation": attempt.operation,
        "userInfo": {},
        "dryRun": false,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": options},
    });
    let is_namespace = (group, resource) == ("", "namespaces");
    let namespace = attempt.namespace.or(is_namespace.then_some(name)).unwrap_or_default();
    let told = [("subResource", subresource), ("requestSubResource", subresource), ("name", name)];
    for (field, text) in told.into_iter().chain([("namespace", namespace)]).filter(|(_, text)| !text.is_empty()) {
        request[field] = json!(text);
    }
    for (field, text) in [("username", &user.username), ("uid", &user.uid)] {
        if !text.is_empty() {
            request["userInfo"][field] = json!(text);
        }
    }
    if !user.groups.is_empty() {
        request["userInfo"]["groups"] = json!(user.groups);
    }
    request
}
