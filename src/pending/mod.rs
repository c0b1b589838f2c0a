//! Objects that wait for a decision by nature: which process takes them, and how the outcome is written back.
//!
//! - [`select`] chooses the process, [`asked`] says who asks, and for what
//! - [`csr`] knows certificate signing requests of Kubernetes, [`cert_manager`] those of cert-manager; [`pkcs10`] what both ask for
//! - [`object`] knows objects of every other kind, [`write_back`] what is written to them
//!
//! Pure: no IO. Called by the controllers.

pub mod cert_manager;
pub mod csr;
pub mod object;
pub mod pkcs10;
pub mod write_back;

use crate::api::{Actor, ApprovalProcessSpec, GroupResources, InstancePer, OnMatch, PendingEvent, WorkflowInstance};
use crate::cel::{Expression, Input, Scope};
use crate::change::select::in_order;
use crate::engine::graph::{Graph, Span};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What conditions of a process see.
pub static SCOPE: Scope = Scope { variables: &["object", "request", "initiator"], directory: false };

/// What the expression sees that says who asked.
pub static OBJECT_SCOPE: Scope = Scope { variables: &["object"], directory: false };

/// How objects of a kind are decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nature {
    /// As certificate signing requests of Kubernetes.
    Certificate,
    /// As certificate requests of cert-manager.
    CertManager,
    /// As their process says.
    Other,
}

impl Nature {
    /// How objects of a resource are decided.
    #[must_use]
    pub fn of(group: &str, resource: &str) -> Self {
        match (group, resource) {
            (csr::GROUP, csr::RESOURCE) => Self::Certificate,
            (cert_manager::GROUP, cert_manager::RESOURCE) => Self::CertManager,
            _ => Self::Other,
        }
    }

    /// How this object is decided.
    #[must_use]
    pub fn of_object(object: &Value) -> Self {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match (group, object["kind"].as_str().unwrap_or_default()) {
            (csr::GROUP, "CertificateSigningRequest") => Self::Certificate,
            (cert_manager::GROUP, cert_manager::KIND) => Self::CertManager,
            _ => Self::Other,
        }
    }
}

/// What becomes of an object that waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// No process is about it.
    Nobody,
    /// This process takes it.
    Open(String),
    /// This process says that it needs no approval here.
    Skip(String),
    /// This process is about it but cannot take it now: it waits.
    Hold {
        /// The process.
        process: String,
        /// Why, for people.
        why: String,
    },
}

/// The process that takes an object: lowest order first, ties by name, first match wins. A process that matches and is not
/// ready, or whose conditions cannot be told, holds the object: it is never passed on to the next.
#[must_use]
pub fn select(candidates: &[Candidate<'_>], group: &str, resource: &str, input: &Value) -> Selection {
    for candidate in in_order(candidates) {
        let process = candidate.name.to_owned();
        match matches(candidate.spec, group, resource, input) {
            Ok(false) => {}
            Err(why) => return Selection::Hold { process, why },
            Ok(true) => {
                return match &candidate.not_ready {
                    Some(why) => Selection::Hold { process, why: why.clone() },
                    None if candidate.spec.skip => Selection::Skip(process),
                    None => Selection::Open(process),
                };
            }
        }
    }
    Selection::Nobody
}

/// Whether a process is about an object.
///
/// # Errors
/// The condition that cannot be told, and why.
pub fn matches(spec: &ApprovalProcessSpec, group: &str, resource: &str, input: &Value) -> Result<bool, String> {
    let Some(pending) = &spec.event.pending else { return Ok(false) };
    if !pending.resources.iter().any(|resources| covers(resources, group, resource)) {
        return Ok(false);
    }
    let variables = input.as_object().cloned().unwrap_or_default();
    let mut input = Input { variables, ..Input::default() };
    for condition in &pending.match_conditions {
        let named = |why| format!("matchConditions[{}]: {why}", condition.name);
        let compiled = Expression::compile(&condition.expression, &SCOPE).map_err(named)?;
        if compiled.references("initiator") {
            let initiator = initiator(spec, &input)?;
            input.variables.insert("initiator".to_owned(), json!(initiator));
        }
        match compiled.holds(&input) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => return Err(named(why)),
        }
    }
    Ok(true)
}

pub use crate::change::Candidate;
pub use crate::change::about::About;

/// Who asked, and for what.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Asked {
    /// Who.
    pub initiator: Actor,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
}

/// Who asked, and for what.
///
/// # Errors
/// The expression that does not yield it, and why.
pub fn asked(spec: &ApprovalProcessSpec, input: &Value) -> Result<Asked, String> {
    let mut input = Input { variables: input.as_object().cloned().unwrap_or_default(), ..Input::default() };
    let initiator = initiator(spec, &input)?;
    input.variables.insert("initiator".to_owned(), json!(initiator));
    let about = crate::change::about::about(spec, &SCOPE, &Value::Object(input.variables))?;
    let asked = Asked { initiator, about };
    too_much(&asked).map_or(Ok(asked), Err)
}

/// The longest username, uid or group.
const LONGEST: usize = 1024;
/// The longest name of a role.
const LONGEST_ROLE: usize = 253;

/// What of this no instance can hold, with the field that yields it: told here, not when an instance is to be opened.
fn too_much(asked: &Asked) -> Option<String> {
    let long = |field: &str, text: &str, most: usize| {
        let length = text.chars().count();
        if length == 0 && matches!(field, "subjects" | "excludeApprovers") {
            return Some(format!("spec.{field}: it yields an empty text, which is nobody"));
        }
        (length > most).then(|| format!("spec.{field}: it yields a text of {length} letters, and at most {most} fit"))
    };
    let many = |field: &str, list: &[String], most: usize| {
        let number = list.len();
        (number > most).then(|| format!("spec.{field}: it yields {number}, and at most {most} fit"))
    };
    let (initiator, about) = (&asked.initiator, &asked.about);
    let subjects = about.subjects.as_deref().unwrap_or_default();
    let lists = [
        ("initiator", &initiator.groups[..], 4096),
        ("subjects", subjects, 256),
        ("subjectEmail", &about.subject_emails[..], 256),
        ("excludeApprovers", &about.exclude_approvers[..], 256),
    ];
    let names = [("initiator", &initiator.username), ("initiator", &initiator.uid)];
    let roles = [("role", &about.role), ("superiorRole", &about.superior_role), ("subRole", &about.sub_role)];
    let mut lists_first = lists.iter().filter_map(|(field, list, most)| {
        many(field, list, *most).or_else(|| list.iter().find_map(|text| long(field, text, LONGEST)))
    });
    let mut names = names.into_iter().filter_map(|(field, text)| long(field, text, LONGEST));
    let mut roles = roles.into_iter().filter_map(|(field, text)| long(field, text.as_ref()?, LONGEST_ROLE));
    lists_first.next().or_else(|| names.next()).or_else(|| roles.next())
}

/// Who asked: as the object itself says, or else as the process does.
fn initiator(spec: &ApprovalProcessSpec, input: &Input) -> Result<Actor, String> {
    if let Some(known) = input.variables.get("initiator") {
        return serde_json::from_value(known.clone()).map_err(|error| format!("the initiator cannot be read: {error}"));
    }
    let told = |why: String| format!("spec.initiator: {why}");
    let source = spec.initiator.as_ref().ok_or_else(|| told("is missing".to_owned()))?;
    let yielded = Expression::compile(source, &OBJECT_SCOPE).and_then(|compiled| compiled.evaluate(input));
    let actor = match yielded.map_err(told)? {
        Value::String(username) => Actor { username, ..Actor::default() },
        map @ Value::Object(_) => {
            serde_json::from_value(map).map_err(|error| told(format!("it yields a map that is nobody: {error}")))?
        }
        _ => return Err(told("it yields neither a username nor a map with username, uid and groups".to_owned())),
    };
    if actor.username.is_empty() { Err(told("it yields nobody".to_owned())) } else { Ok(actor) }
}

/// What is wrong with a process by itself.
#[must_use]
pub fn faults(spec: &ApprovalProcessSpec) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(pending) = &spec.event.pending else { return faults };
    let place = "spec.event.pending";
    let mut others = Vec::new();
    for (position, group, resource) in named(pending) {
        let place = format!("{place}.resources[{position}]");
        if Nature::of(group, resource) == Nature::Other {
            others.push(resource);
            faults.extend(unfit(group, resource).map(|why| format!("{place}: {why}")));
            if pending.write_back.is_none() {
                faults.push(format!(
                    "{place}: the outcome cannot be written back to {resource} of API group \"{group}\" without spec.event.pending.writeBack; built in are {} of {} and {} of {}",
                    csr::RESOURCE, csr::GROUP, cert_manager::RESOURCE, cert_manager::GROUP
                ));
            }
        }
    }
    match (others.first(), &spec.initiator) {
        (Some(other), None) => faults.push(format!(
            "spec.initiator: is missing, and {other} do not say who asked; write a CEL expression over object that yields a username, or a map with username, uid and groups"
        )),
        (None, Some(_)) => faults.push(
            "spec.initiator: certificate requests say themselves who asked; leave it out".to_owned(),
        ),
        _ => {}
    }
    match &pending.write_back {
        Some(_) if others.is_empty() => faults
            .push(format!("{place}.writeBack: certificate requests are decided as their kinds demand; leave it out")),
        Some(write_back) => faults.extend(write_back::faults(write_back, &format!("{place}.writeBack"))),
        None => {}
    }
    for condition in &pending.match_conditions {
        if let Err(why) = Expression::compile(&condition.expression, &SCOPE) {
            faults.push(format!("{place}.matchConditions[{}].expression: {why}", condition.name));
        }
    }
    faults.extend(about_faults(spec));
    faults.extend(of_gates_alone(spec));
    if spec.instance_per == InstancePer::Subject {
        faults.push("spec.instancePer: an object that waits has one outcome; leave Subject out".to_owned());
    }
    faults
}

/// What is wrong with the expressions that say whom and what it is about.
#[must_use]
pub fn about_faults(spec: &ApprovalProcessSpec) -> Vec<String> {
    let initiator = spec.initiator.as_ref().and_then(|source| Expression::compile(source, &OBJECT_SCOPE).err());
    let mut faults: Vec<String> = initiator.into_iter().map(|why| format!("spec.initiator: {why}")).collect();
    faults.extend(crate::change::about::faults(spec, &SCOPE));
    faults
}

/// Fields that mean something for gates alone: said here, so that nobody relies on them.
#[must_use]
pub fn of_gates_alone(spec: &ApprovalProcessSpec) -> Vec<String> {
    let given = [
        ("onMatch", spec.on_match == OnMatch::Continue, "the first process that matches takes the object"),
        ("execution", spec.execution.is_some(), "there is no change to carry out"),
        ("bypass", spec.bypass.is_some(), "nothing is held back that somebody could pass"),
    ];
    let given = given.into_iter().filter(|(_, given, _)| *given);
    given.map(|(field, _, why)| format!("spec.{field}: is for gates, here {why}; leave it out")).collect()
}

/// Why objects of a resource may neither wait for a decision nor belong to a collection; none when they may.
#[must_use]
pub fn unfit(group: &str, resource: &str) -> Option<String> {
    if group.contains('*') || resource.contains(['*', '/']) {
        return Some(format!("{resource} of API group \"{group}\": name one resource, without * and /"));
    }
    match (group, resource) {
        ("quorate.dev", _) => Some(format!("{resource} are Quorate's own and cannot be decided about in this way")),
        ("", "secrets") => {
            Some("the content of Secrets would be stored in instances; name another resource".to_owned())
        }
        _ => None,
    }
}

/// Every resource that waits, with its place in the list.
pub fn named(pending: &PendingEvent) -> impl Iterator<Item = (usize, &str, &str)> {
    pending.resources.iter().enumerate().flat_map(|(position, resources)| {
        resources.api_groups.iter().flat_map(move |group| {
            resources.resources.iter().map(move |resource| (position, group.as_str(), resource.as_str()))
        })
    })
}

/// The subresources that outcomes are written through; none: the object itself.
#[must_use]
pub fn targets(pending: &PendingEvent, group: &str, resource: &str) -> BTreeSet<Option<String>> {
    match (Nature::of(group, resource), &pending.write_back) {
        (Nature::CertManager, _) => BTreeSet::from([Some(cert_manager::SUBRESOURCE.to_owned())]),
        (Nature::Other, Some(write_back)) => {
            [&write_back.approved, &write_back.rejected].map(|writing| writing.subresource.clone()).into()
        }
        _ => BTreeSet::new(),
    }
}

/// How long Kubernetes keeps a certificate signing request that nobody decides (semantics.md 26).
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// That Kubernetes may delete a certificate signing request before its workflow is through; none where it does not.
#[must_use]
pub fn outlives_requests(spec: &ApprovalProcessSpec, graph: &Graph) -> Option<String> {
    let pending = spec.event.pending.as_ref()?;
    named(pending).find(|(_, group, resource)| Nature::of(group, resource) == Nature::Certificate)?;
    let mut together = SignedDuration::ZERO;
    let mut slow = Vec::new();
    for (name, step) in graph.steps() {
        let place = format!("nodes[{name}].approval");
        match step.timeout.as_ref().map(|timeout| &timeout.span) {
            None => slow.push(format!("{place} has no timeout")),
            Some(Span::After(after)) if *after <= KEPT => together = together.saturating_add(*after),
            Some(span) => slow.push(format!("{place}.timeout: {span}")),
        }
    }
    if slow.is_empty() && together > KEPT {
        slow.push(format!("its timeouts add up to {together:#}"));
    }
    (!slow.is_empty()).then(|| {
        format!(
            "Kubernetes deletes certificate signing requests that have waited for {KEPT:#}, and the workflow may take longer ({}); an instance whose request is gone ends Cancelled",
            slow.join(", ")
        )
    })
}

/// What a remembered object asks for, as expressions of a workflow see it under `request`; null where it is no certificate
/// request, or cannot be decoded.
#[must_use]
pub fn decoded(object: &Value) -> Value {
    match Nature::of_object(object) {
        Nature::CertManager => {
            let requested = cert_manager::requested(object).ok();
            requested.and_then(|requested| serde_json::to_value(requested).ok()).unwrap_or_default()
        }
        _ => csr::decoded(object),
    }
}

/// How what is written to an object says which instance it is the outcome of.
fn mark(instance: &WorkflowInstance) -> String {
    let metadata = &instance.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("workflowinstance {}/{}, uid {}", text(&metadata.namespace), text(&metadata.name), text(&metadata.uid))
}

/// A name for an instance: readable, and bound to what it is for, so that it is the same however often it is made.
#[must_use]
pub fn instance_name_of(name: &str, bound_to: &str) -> String {
    let digest = Sha256::digest(bound_to.as_bytes());
    let hash = digest.iter().take(4).fold(0_u32, |hash, byte| (hash << 8) | u32::from(*byte));
    let readable: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }).collect();
    let readable: String = readable.to_lowercase().chars().take(200).collect();
    format!("{}-{hash:08x}", readable.trim_matches(['-', '.']))
}

fn covers(resources: &GroupResources, group: &str, resource: &str) -> bool {
    resources.api_groups.iter().any(|covered| covered == group)
        && resources.resources.iter().any(|covered| covered == resource)
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Selection, asked, csr, faults, outlives_requests, select};
    use crate::api::{ApprovalProcessSpec, GroupResources, MatchCondition, NameRef, PendingEvent, ProcessEvent};
    use crate::engine::graph::compile;
    use serde_json::json;

    fn process(order: i32, skip: bool, condition: &str) -> ApprovalProcessSpec {
        let resources =
            GroupResources { api_groups: vec![csr::GROUP.to_owned()], resources: vec![csr::RESOURCE.to_owned()] };
        let condition = MatchCondition { name: "only".to_owned(), expression: condition.to_owned() };
        let pending =
            PendingEvent { resources: vec![resources], match_conditions: vec![condition], ..PendingEvent::default() };
        ApprovalProcessSpec {
            order,
            skip,
            event: ProcessEvent { pending: Some(pending), ..ProcessEvent::default() },
            workflow_ref: (!skip).then(|| NameRef { name: "any".to_owned() }),
            ..ApprovalProcessSpec::default()
        }
    }

    fn chosen(processes: &[(&str, ApprovalProcessSpec, Option<&str>)]) -> Selection {
        let initiator = json!({"username": "alice"});
        let input =
            json!({"object": {"spec": {"signerName": "example.com/web"}}, "request": {}, "initiator": initiator});
        let choose = |candidates: Vec<Candidate<'_>>| select(&candidates, csr::GROUP, csr::RESOURCE, &input);
        let candidates =
            || processes.iter().map(|(name, spec, why)| Candidate { name, spec, not_ready: why.map(str::to_owned) });
        let forwards = choose(candidates().collect());
        assert_eq!(forwards, choose(candidates().rev().collect()), "the order of the list decides nothing");
        forwards
    }

    #[test]
    fn r24_lowest_order_first_then_by_name_and_the_first_match_wins() {
        let open = |name: &str| Selection::Open(name.to_owned());
        let any = |order| process(order, false, "true");
        assert_eq!(chosen(&[("b", any(500), None), ("a", any(500), None)]), open("a"));
        assert_eq!(chosen(&[("a", any(500), None), ("b", any(100), None)]), open("b"));
        assert_eq!(chosen(&[("a", process(1, false, "false"), None), ("b", any(500), None)]), open("b"));
        assert_eq!(chosen(&[("a", process(1, false, "false"), None)]), Selection::Nobody);
        assert_eq!(
            chosen(&[("a", process(1, true, "true"), None), ("b", any(500), None)]),
            Selection::Skip("a".to_owned())
        );
    }

    #[test]
    fn a_process_that_matches_and_cannot_work_holds() {
        let hold = |selection| matches!(selection, Selection::Hold { process, .. } if process == "a");
        let any = process(500, false, "true");
        assert!(hold(chosen(&[("a", process(1, false, "true"), Some("no workflow")), ("b", any.clone(), None)])));
        assert!(hold(chosen(&[("a", process(1, false, "object.spec.missing == 1"), None), ("b", any, None)])));
    }

    #[test]
    fn r29_whoever_asked_is_told_by_the_process_where_the_object_does_not() {
        let input = json!({"object": {"spec": {"owner": "alice", "team": "shop"}}});
        let told = |source: &str| {
            let spec = ApprovalProcessSpec { initiator: Some(source.to_owned()), ..ApprovalProcessSpec::default() };
            asked(&spec, &input).map(|asked| (asked.initiator.username, asked.initiator.groups))
        };
        assert_eq!(told("object.spec.owner"), Ok(("alice".to_owned(), Vec::new())));
        let map = "{'username': object.spec.owner, 'groups': [object.spec.team]}";
        assert_eq!(told(map), Ok(("alice".to_owned(), vec!["shop".to_owned()])));
        for (source, why) in [
            ("''", "it yields nobody"),
            ("object.spec.nobody", "there is no"),
            ("1", "neither a username nor a map"),
            ("{'name': 'alice'}", "it yields a map that is nobody"),
        ] {
            let fault = told(source).expect_err("nobody");
            assert!(fault.starts_with("spec.initiator: ") && fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn attack_37_what_no_instance_can_hold_is_told_where_it_arises() {
        let told = |initiator: &str, subjects: &str, longest: usize| {
            let spec = ApprovalProcessSpec {
                initiator: Some(initiator.to_owned()),
                subjects: Some(subjects.to_owned()),
                ..ApprovalProcessSpec::default()
            };
            let all: Vec<String> = (0..300).map(|number| format!("user-{number}")).collect();
            asked(&spec, &json!({"object": {"long": "x".repeat(longest), "all": all}})).map(|_| ())
        };
        assert_eq!(told("object.long", "['bob']", 1024), Ok(()));
        for (initiator, subjects, why) in [
            ("object.long", "['bob']", "spec.initiator: it yields a text of 1025 letters, and at most 1024 fit"),
            ("'alice'", "[object.long]", "spec.subjects: it yields a text of 1025 letters"),
            ("'alice'", "object.all", "spec.subjects: it yields 300, and at most 256 fit"),
            ("'alice'", "['']", "spec.subjects: it yields an empty text"),
        ] {
            let told = told(initiator, subjects, 1025).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn r29_a_kind_that_is_not_built_in_needs_initiator_and_write_back() {
        let mut spec = process(500, false, "true");
        let pending = spec.event.pending.as_mut().expect("a pending event");
        pending.resources[0] =
            GroupResources { api_groups: vec!["example.com".to_owned()], resources: vec!["parcels".to_owned()] };
        let told = faults(&spec).join("; ");
        assert!(told.contains("spec.initiator: is missing, and parcels do not say who asked"), "{told}");
        assert!(told.contains("without spec.event.pending.writeBack"), "{told}");
        spec.initiator = Some("object.spec.owner".to_owned());
        let patch = json!({"patch": {"spec": {"approved": true}}});
        let write_back = json!({"approved": patch, "rejected": {"patch": {"spec": {"approved": false}}}});
        spec.event.pending.as_mut().expect("a pending event").write_back =
            Some(serde_json::from_value(write_back).expect("a write-back"));
        assert_eq!(faults(&spec), Vec::<String>::new());
    }

    #[test]
    fn rule26_a_workflow_that_outlives_certificate_requests_is_warned_about() {
        let told = |nodes: serde_json::Value| {
            let definition = serde_json::from_value(json!({"nodes": nodes})).expect("a definition");
            outlives_requests(&process(500, false, "true"), &compile(&definition).expect("a graph"))
        };
        let step = |name: &str, timeout: serde_json::Value| json!({"name": name, "approval": {"approvers": [{"user": "mary"}], "timeout": timeout}});
        assert_eq!(told(json!([step("check", json!({"after": "24h"}))])), None);
        for (nodes, why) in [
            (json!([step("check", json!({"after": "25h"}))]), "nodes[check].approval.timeout: 25h"),
            (
                json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}]}}]),
                "nodes[check].approval has no timeout",
            ),
            (json!([step("a", json!({"after": "20h"})), step("b", json!({"after": "5h"}))]), "add up to 25h"),
        ] {
            let warning = told(nodes).expect("a warning");
            assert!(warning.contains("24h") && warning.contains(why), "{warning}");
        }
    }
}
