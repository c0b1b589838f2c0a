//! Objects that wait for a decision by nature: which process takes them, and how the outcome is written back.
//!
//! Pure: no IO. [`select`] chooses the process, [`csr`] knows certificate signing requests. Called by the controllers.

pub mod csr;

use crate::api::{ApprovalProcessSpec, GroupResources};
use crate::cel::{Expression, Input, Scope};
use serde_json::Value;

/// What conditions of a process see.
pub static SCOPE: Scope = Scope { variables: &["object", "request", "initiator"], directory: false };

/// A process that may take an object.
pub struct Candidate<'a> {
    /// metadata.name.
    pub name: &'a str,
    /// The process.
    pub spec: &'a ApprovalProcessSpec,
    /// Why it cannot work at the moment; none when it can.
    pub not_ready: Option<String>,
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
    let mut ordered: Vec<&Candidate<'_>> = candidates.iter().collect();
    ordered.sort_by_key(|candidate| (candidate.spec.order, candidate.name));
    for candidate in ordered {
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
    let input = Input { variables, ..Input::default() };
    for condition in &pending.match_conditions {
        let told = Expression::compile(&condition.expression, &SCOPE).and_then(|compiled| compiled.holds(&input));
        match told {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => return Err(format!("matchConditions[{}]: {why}", condition.name)),
        }
    }
    Ok(true)
}

pub use crate::change::about::About;

/// What a request is about.
///
/// # Errors
/// The expression that does not yield it, and why.
pub fn about(spec: &ApprovalProcessSpec, input: &Value) -> Result<About, String> {
    crate::change::about::about(spec, &SCOPE, input)
}

/// What is wrong with a process by itself.
#[must_use]
pub fn faults(spec: &ApprovalProcessSpec) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(pending) = &spec.event.pending else { return faults };
    for (position, resources) in pending.resources.iter().enumerate() {
        for group in &resources.api_groups {
            for resource in &resources.resources {
                if (group.as_str(), resource.as_str()) != (csr::GROUP, csr::RESOURCE) {
                    faults.push(format!(
                        "spec.event.pending.resources[{position}]: the outcome cannot be written back to {resource} of API group \"{group}\"; built in is {} of {}",
                        csr::RESOURCE, csr::GROUP
                    ));
                }
            }
        }
    }
    for condition in &pending.match_conditions {
        if let Err(why) = Expression::compile(&condition.expression, &SCOPE) {
            faults.push(format!("spec.event.pending.matchConditions[{}].expression: {why}", condition.name));
        }
    }
    faults.extend(crate::change::about::faults(spec, &SCOPE));
    faults
}

fn covers(resources: &GroupResources, group: &str, resource: &str) -> bool {
    resources.api_groups.iter().any(|covered| covered == group)
        && resources.resources.iter().any(|covered| covered == resource)
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Selection, csr, select};
    use crate::api::{ApprovalProcessSpec, GroupResources, MatchCondition, NameRef, PendingEvent, ProcessEvent};
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
        let input = json!({"object": {"spec": {"signerName": "example.com/web"}}, "request": {}});
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
}
