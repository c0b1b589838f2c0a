//! Compares what came of a story with what is expected, and says precisely what differs. Pure.

use super::Finding;
use super::format::{Expect, TaskLine};
use super::play::message;
use super::world::World;
use crate::api::{CountedDecision, Outcome, Task, condition};
use crate::engine::{Plan, Seen};
use serde_json::Value;
use std::fmt::Debug;

/// Compares everything that `expect` names; `place` is where it stands.
pub(super) fn compare(world: &World, plan: &Plan, expect: &Expect, place: &str, findings: &mut Vec<Finding>) {
    let status = &world.status;
    let at = |field: &str| format!("{place}.{field}");
    let or_none = |outcome: Option<Outcome>| outcome.map_or_else(|| "none".to_owned(), |outcome| outcome.to_string());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut words = |field: &str, expected: &Option<String>, found: String| {
        if let Some(expected) = expected.as_ref().filter(|expected| **expected != found) {
            let found = if found.is_empty() { "nothing" } else { &found };
            let why = match (field, message(status)) {
                ("outcome", says) if !says.is_empty() => format!("; the instance says: {says}"),
                _ => String::new(),
            };
            let expected = if expected.is_empty() { "nothing" } else { expected };
            findings.push(Finding::unexpected(&at(field), format!("expected {expected}, found {found}{why}")));
        }
    };
    words("outcome", &expect.outcome, or_none(status.outcome));
    words("step", &expect.step, text(&status.step));
    words("waiting", &expect.waiting, text(&status.waiting));
    words("title", &expect.title, text(&status.title));
    words("writeBack", &expect.write_back, or_none(plan.write_back));
    let next = status.next_wakeup.as_ref().map_or_else(|| "none".to_owned(), |next| next.0.to_string());
    words("nextWakeup", &expect.next_wakeup, next);
    let attempts = status.steps.last().map(|visit| visit.attempts).unwrap_or_default();
    equal(expect.attempts.as_ref(), &attempts, &at("attempts"), findings);
    if let Some(expected) = &expect.activity {
        let found = plan.activity.as_ref().and_then(|activity| serde_json::to_value(&activity.deed).ok());
        let found = found.unwrap_or_else(|| Value::from("none"));
        if !holds(&found, expected) {
            let message = format!("expected {expected}, found {found}");
            findings.push(Finding::unexpected(&at("activity"), message));
        }
    }
    let path: Vec<_> = status.steps.iter().map(|visit| visit.node.clone()).collect();
    equal(expect.path.as_ref(), &path, &at("path"), findings);
    equal(expect.decisions.as_ref(), &status.decisions.iter().map(decision).collect(), &at("decisions"), findings);
    let sorted = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    let notified = expect.notified.as_ref().map(|lines| sorted(lines));
    equal(notified.as_ref(), &sorted(&world.notified), &at("notified"), findings);
    for (partition, line) in &expect.tasks {
        let place = at(&format!("tasks.{partition}"));
        match status.tasks.iter().find(|task| task.partition == *partition) {
            Some(found) => task(found, line, &place, findings),
            None => {
                let known: Vec<_> = status.tasks.iter().map(|task| task.partition.as_str()).collect();
                findings.push(Finding::unexpected(&place, format!("there is no such task; tasks are {known:?}")));
            }
        }
    }
    for (type_, expected) in &expect.conditions {
        let found = condition(&status.conditions, type_).map_or_else(
            || ("nothing".to_owned(), String::new()),
            |found| (format!("{} {}", found.status, found.reason), format!(", which says: {}", found.message)),
        );
        if found.0 != *expected {
            let message = format!("expected {expected}, found {}{}", found.0, found.1);
            findings.push(Finding::unexpected(&at(&format!("conditions.{type_}")), message));
        }
    }
    if let Some(expected) = &expect.says {
        says(message(status), expected, &at("says"), findings);
    }
    for (person, expected) in &expect.sees {
        let seen = world.visible(person).iter().map(seen).collect();
        equal(Some(expected), &seen, &at(&format!("sees.{person}")), findings);
    }
    for (person, expected) in &expect.explain {
        let told = world.explain(person);
        for part in expected {
            says(&told, part, &at(&format!("explain.{person}")), findings);
        }
    }
    for (name, expected) in &expect.verdicts {
        let place = at(&format!("verdicts.{name}"));
        let judged = world.verdicts.values().map(|verdict| (&verdict.signal.name, &verdict.signal.uid));
        let waiting = world.unjudged.iter().map(|signal| (&signal.name, &signal.uid));
        match judged.chain(waiting).find(|(known, _)| *known == name) {
            Some((_, uid)) => verdict(world, uid, (expected, &place), findings),
            None => findings.push(Finding::malformed(&place, "there is no such signal")),
        }
    }
}

/// Whether a value has everything that is expected of it.
fn holds(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(field, expected)| found.get(field).is_some_and(|found| holds(found, expected)))
        }
        _ => found == expected,
    }
}

/// Compares the verdict on a signal with the word that is expected at that place.
pub(super) fn verdict(world: &World, uid: &str, (expected, place): (&str, &str), findings: &mut Vec<Finding>) {
    let (found, says) = match world.verdicts.get(uid) {
        Some(verdict) => (verdict.reason.to_string(), format!("{}, which says: {}", verdict.reason, verdict.message)),
        None => ("waits".to_owned(), format!("waits; the instance says: {}", message(&world.status))),
    };
    if found != expected {
        findings.push(Finding::unexpected(place, format!("expected {expected}, found {says}")));
    }
}

/// Looks for a part of a message.
pub(super) fn says(message: &str, expected: &str, place: &str, findings: &mut Vec<Finding>) {
    if !message.contains(expected) {
        let message = format!("expected the message to have\n  {expected}\nfound\n  {message}");
        findings.push(Finding::unexpected(place, message));
    }
}

/// Compares the faults, or the warnings, of a definition, which are all expected, in order.
pub(super) fn faults(what: &str, found: &[String], expected: &[String], findings: &mut Vec<Finding>) {
    for (number, fault) in expected.iter().enumerate().filter(|(_, fault)| !found.contains(fault)) {
        let place = format!("{what}s[{number}]");
        findings.push(Finding::unexpected(&place, format!("the definition does not have this {what}: {fault}")));
    }
    let field = format!("{what}s");
    for fault in found.iter().filter(|fault| !expected.contains(fault)) {
        findings.push(Finding::unexpected(&field, format!("the definition has another {what}: {fault}")));
    }
    if findings.is_empty() && found != expected {
        findings.push(Finding::unexpected(&field, format!("they are in another order: {found:#?}")));
    }
}

fn task(found: &Task, expected: &TaskLine, place: &str, findings: &mut Vec<Finding>) {
    let at = |field: &str| format!("{place}.{field}");
    equal(expected.state.as_ref(), &found.state, &at("state"), findings);
    equal(expected.approvals.as_ref(), &found.approvals, &at("approvals"), findings);
    equal(expected.rejections.as_ref(), &found.rejections, &at("rejections"), findings);
    equal(expected.required.as_ref(), &found.required, &at("required"), findings);
    let sources = found.approvers.iter().map(|summary| summary.source.clone()).collect();
    equal(expected.approvers.as_ref(), &sources, &at("approvers"), findings);
    let people = found.approvers.iter().flat_map(|summary| summary.names.clone()).collect();
    equal(expected.people.as_ref(), &people, &at("people"), findings);
}

fn equal<T: Debug + PartialEq>(expected: Option<&T>, found: &T, place: &str, findings: &mut Vec<Finding>) {
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        findings.push(Finding::unexpected(place, format!("expected {expected:?}, found {found:?}")));
    }
}

fn decision(decision: &CountedDecision) -> String {
    let CountedDecision { actor, decision: verb, step, visit, partition, through, .. } = decision;
    let for_whom = decision.on_behalf_of.as_ref().map(|principal| format!(" for {principal}")).unwrap_or_default();
    let to = decision.delegate_to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
    format!("{actor}{for_whom} {verb:?}{to} {step}/{partition}#{visit} through {through}")
}

fn seen(seen: &Seen) -> String {
    let Seen { actor, decision, step, partition, visit, fields, comment } = seen;
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let fields = fields.concat();
    let comment = comment.as_ref().map(|comment| format!(" {comment:?}")).unwrap_or_default();
    format!("{actor} {decision:?} {step}/{partition}#{visit}{fields}{comment}")
}
