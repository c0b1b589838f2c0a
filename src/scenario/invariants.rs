//! What holds of every computation, whatever a story is about. Whoever finds one of these broken has found a fault of Quorate.
//!
//! - The order in which a batch arrives, and signals that arrive twice, make no difference.
//! - A crash after the status was written, before any verdict was, changes no decision: the whole batch is judged again.
//! - An outcome, a decision that counted and the revision never change any more.
//!
//! That computing again changes nothing is seen by playing on, in `world`.

use crate::api::WorkflowInstanceStatus;
use crate::engine::{Plan, Signal, Verdict};
use serde::Serialize;
use serde_json::Value;

/// What is broken, in words. The plan is what `compute` gives for that status and those signals.
pub fn broken(
    status: &WorkflowInstanceStatus,
    signals: &[Signal],
    plan: &Plan,
    compute: impl Fn(&WorkflowInstanceStatus, &[Signal]) -> Plan,
) -> Vec<String> {
    let mut found = in_any_order(status, signals, plan, &compute);
    found.extend(after_a_crash(signals, plan, &compute));
    found.extend(taken_back(status, &plan.status));
    found
}

/// The order in which a batch arrives, and signals that arrive twice.
pub fn in_any_order(
    status: &WorkflowInstanceStatus,
    signals: &[Signal],
    plan: &Plan,
    compute: &impl Fn(&WorkflowInstanceStatus, &[Signal]) -> Plan,
) -> Vec<String> {
    let backwards: Vec<Signal> = signals.iter().rev().cloned().collect();
    let mut turned = backwards.clone();
    turned.rotate_left(signals.len() / 2);
    let twice = signals.iter().chain(&turned).cloned().collect();
    let mut found = Vec::new();
    for (how, signals) in [("backwards", backwards), ("turned", turned), ("twice", twice)] {
        let other = compute(status, &signals);
        let same = [
            ("the status", difference(&plan.status, &other.status)),
            ("a verdict", difference(&verdicts(plan), &verdicts(&other))),
            ("the effects", difference(&plan.write_back, &other.write_back)),
            ("the activity", difference(&plan.activity, &other.activity)),
            ("what people are told", difference(&notes(plan), &notes(&other))),
        ];
        let differing = same.into_iter().filter_map(|(what, how)| Some((what, how?)));
        found.extend(
            differing.map(|(what, which)| format!("when the batch is delivered {how}, {what} is another: {which}")),
        );
    }
    found
}

/// The status was written, and nothing after it.
fn after_a_crash(
    signals: &[Signal],
    plan: &Plan,
    compute: &impl Fn(&WorkflowInstanceStatus, &[Signal]) -> Plan,
) -> Vec<String> {
    let again = compute(&plan.status, signals);
    let counted = plan.verdicts.iter().filter(|verdict| verdict.reason.counted());
    let mut found: Vec<String> = counted
        .filter(|verdict| !again.verdicts.contains(verdict))
        .map(|verdict| format!("after a crash, the verdict on {} is not given again", verdict.signal.name))
        .collect();
    if !plan.verdicts.is_empty()
        && let Some(difference) = difference(&plan.status.decisions, &again.status.decisions)
    {
        found.push(format!("after a crash, another decision counts: {difference}"));
    }
    found
}

/// What may never change any more.
#[must_use]
pub fn taken_back(before: &WorkflowInstanceStatus, after: &WorkflowInstanceStatus) -> Vec<String> {
    let ended = before.outcome.and_then(|_| difference(before, after));
    let rules = [
        (!after.decisions.starts_with(&before.decisions), "a decision that counted changed".to_owned()),
        (after.steps.len() < before.steps.len(), "a visit is gone".to_owned()),
        (
            before.revision.is_some() && before.revision != after.revision && before.restarts == after.restarts,
            "it runs on another revision".to_owned(),
        ),
        (ended.is_some(), format!("it changed after its end: {}", ended.unwrap_or_default())),
    ];
    rules.into_iter().filter_map(|(broken, what)| broken.then_some(what)).collect()
}

fn verdicts(plan: &Plan) -> Vec<String> {
    let line = |Verdict { signal, reason, message }: &Verdict| format!("{} {reason}: {message}", signal.uid);
    let mut verdicts: Vec<_> = plan.verdicts.iter().map(line).collect();
    verdicts.sort();
    verdicts
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.notes.iter().map(|note| format!("{note:?}")).collect()
}

/// Where two values differ, and how; none where they do not.
fn difference<T: PartialEq + Serialize>(one: &T, other: &T) -> Option<String> {
    let json = |value: &T| serde_json::to_value(value).unwrap_or_default();
    (one != other).then(|| where_they_differ(&json(one), &json(other), ""))
}

fn where_they_differ(one: &Value, other: &Value, path: &str) -> String {
    let inside = match (one, other) {
        (Value::Object(one), Value::Object(other)) => one
            .keys()
            .chain(other.keys())
            .map(|field| (format!(".{field}"), one.get(field), other.get(field)))
            .find(|(_, one, other)| one != other),
        (Value::Array(one), Value::Array(other)) => (0..one.len().max(other.len()))
            .map(|number| (format!("[{number}]"), one.get(number), other.get(number)))
            .find(|(_, one, other)| one != other),
        _ => None,
    };
    match inside {
        Some((part, one, other)) => {
            let (one, other) = (one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null));
            where_they_differ(one, other, &format!("{path}{part}"))
        }
        None => format!("{path} {one} and {other}").trim_start().to_owned(),
    }
}
