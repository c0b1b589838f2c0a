//! What is wrong with a graph as a whole, with it in a directory, and with it for a request; and what may not be meant.

use super::compile::open_quorum;
use super::telling::unknown_roles;
use super::{Fault, Graph, GraphNode, Required, Rule, Span, Target, fault, place_of};
use crate::api::{Outcome, SupervisorOf};
use crate::directory::Snapshot;
use crate::engine::source::{Need, Source};
use std::collections::BTreeSet;

/// What is wrong with the graph as a whole, once every edge leads somewhere.
pub(super) fn structure(graph: &Graph) -> Vec<Fault> {
    let mut faults = unreachable(graph);
    faults.extend(approval_by_rejection(graph));
    faults.extend(endless(graph));
    for (name, step) in graph.steps() {
        for (position, other) in step.separate_from.iter().enumerate() {
            if graph.step(other).is_none() {
                let message = format!("there is no approval {other}; approvals are {}", graph.step_names());
                faults.push(fault(&format!("spec.nodes[{name}].approval.separateFrom[{position}]"), message));
            }
        }
        for rule in &step.partitions {
            let place = place_of(name, step, rule);
            for (position, source) in rule.approvers.iter().enumerate() {
                if matches!(source, Source::Supervisor(SupervisorOf::Approvers, _)) && !decided_before(graph, name) {
                    let place = format!("{place}.approvers[{position}].supervisorOf");
                    let message = "nobody has approved before the first step; name Subject or Initiator, or move it to escalations";
                    faults.push(fault(&place, message.to_owned()));
                }
            }
        }
    }
    if graph.end(&graph.start) == Some(Outcome::Approved) {
        let message = format!("{} ends Approved before anybody was asked; start with an approval", graph.start);
        faults.push(fault("spec.start", message));
    }
    faults
}

/// What is wrong with a definition in this directory: roles and calendars that do not exist, and quorums that cannot be counted.
#[must_use]
pub fn check(graph: &Graph, directory: &Snapshot) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (place, source) in graph.sources() {
        if let Source::Role(role) = source
            && !directory.has_role(role)
        {
            faults.push(fault(&place, format!("there is no BusinessRole {role}; create it or name another one")));
        }
    }
    for (place, to, _) in graph.recipients() {
        faults.extend(unknown_roles(&place, to, directory));
    }
    for (name, step) in graph.steps() {
        for rule in step.partitions.iter().filter(|rule| !matches!(rule.required, Required::Number(_))) {
            faults.extend(groups_of_roles(rule, &place_of(name, step, rule), directory));
        }
        let place = format!("spec.nodes[{name}].approval");
        let timeout = step.timeout.iter().map(|timeout| (format!("{place}.timeout.calendar"), &timeout.span));
        let levels = step.escalations.iter().enumerate();
        let levels =
            levels.map(|(level, escalation)| (format!("{place}.escalations[{level}].calendar"), &escalation.span));
        for (place, span) in timeout.chain(levels) {
            if let Span::BusinessDays { calendar, .. } = span
                && let Err(why) = directory.calendar(calendar)
            {
                faults.push(fault(&place, why));
            }
        }
    }
    faults
}

fn groups_of_roles(rule: &Rule, place: &str, directory: &Snapshot) -> Vec<Fault> {
    let roles = rule.approvers.iter().filter_map(|source| match source {
        Source::Role(named) => Some(named),
        _ => None,
    });
    let held = roles.filter_map(|named| {
        let groups = directory.role_groups(named);
        groups.first().map(|group| open_quorum(place, &format!("role {named} is held by group {group}")))
    });
    held.collect()
}

/// What a definition needs that a request of this kind does not supply; `supplies` tells whether it does.
#[must_use]
pub fn supplied(graph: &Graph, supplies: impl Fn(Need) -> bool) -> Vec<(Need, String)> {
    graph.needs().into_iter().filter(|(need, _)| !supplies(*need)).collect()
}

/// What works, but may not be meant (semantics.md 2, 13).
#[must_use]
pub fn warnings(graph: &Graph) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, step) in graph.steps() {
        if step.timeout.as_ref().is_some_and(|timeout| timeout.output == "approved") {
            warnings.push(format!(
                "spec.nodes[{name}].approval.timeout.output: after {} this step is approved although nobody agreed",
                step.timeout.iter().map(|timeout| timeout.span.to_string()).collect::<String>()
            ));
        }
        for rule in &step.partitions {
            let open = |source: &Source| matches!(source, Source::Group(_) | Source::Permission(_));
            if step.timeout.is_none() && rule.approvers.iter().all(open) {
                warnings.push(format!(
                    "{}.approvers: nobody can be listed, so nobody is known to be missing, and there is no timeout: this may wait for ever",
                    place_of(name, step, rule)
                ));
            }
        }
    }
    // The requester alone has brought it there.
    let undecided = reachable(graph, &graph.start, |output| !["approved", "rejected", "expired"].contains(&output));
    for (name, _) in graph.actions().filter(|(name, _)| undecided.contains(name)) {
        warnings.push(format!("spec.nodes[{name}].action: is done before anybody has decided anything"));
    }
    warnings
}

fn unreachable(graph: &Graph) -> Vec<Fault> {
    let reached = reachable(graph, &graph.start, |_| true);
    let lost = graph.nodes.keys().filter(|name| !reached.contains(name.as_str()));
    lost.map(|name| {
        let message = format!("no path from {} leads here; point an edge at it or remove it", graph.start);
        fault(&format!("spec.nodes[{name}]"), message)
    })
    .collect()
}

/// Every node and end that can be reached from a node by outputs that are allowed, itself included.
fn reachable<'a>(graph: &'a Graph, from: &'a str, allowed: impl Fn(&str) -> bool) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if reached.insert(name)
            && let Some(node) = graph.nodes.get(name)
        {
            let edges = node.edges().into_iter().filter(|(output, _)| allowed(output));
            open.extend(edges.map(|(_, target)| target.name()));
        }
    }
    reached
}

/// A rejection, or the end of a step's time, may not approve (semantics.md 13): the edge may lead to another step, never to an
/// approved end or to the operation unless somebody approves on the way.
fn approval_by_rejection(graph: &Graph) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, step) in graph.steps() {
        let mut edges: Vec<(&str, &Target)> = vec![("rejected", &step.rejected)];
        if step.timeout.as_ref().is_some_and(|timeout| timeout.output == "expired") {
            edges.push(("expired", &step.expired));
        }
        for (output, target) in edges {
            let reached = reachable(graph, target.name(), |output| output != "approved");
            let approves = |node: &&&str| {
                graph.end(node) == Some(Outcome::Approved)
                    || matches!(graph.nodes.get(**node), Some(GraphNode::Execute(_)))
            };
            let wrong = reached.iter().filter(approves).min_by_key(|node| **node != target.name());
            let Some(wrong) = wrong else { continue };
            let what = if output == "rejected" { "a rejection" } else { "the end of its time" };
            let does = if graph.end(wrong).is_some() { "end Approved" } else { "carry the operation out" };
            let way = if *wrong == target.name() {
                format!("{wrong} does")
            } else {
                format!("by way of {} it reaches {wrong}", target.name())
            };
            let message = format!("{what} may not {does}; {way}, so lead to another step or to Rejected");
            faults.push(fault(&format!("spec.nodes[{name}].next.{output}"), message));
        }
    }
    faults
}

/// A loop in which nobody decides would never end: the facts do not change on the way.
fn endless(graph: &Graph) -> Vec<Fault> {
    let decided = |name: &str| matches!(graph.nodes.get(name), Some(GraphNode::Step(_)));
    let mut faults = Vec::new();
    for (name, node) in &graph.nodes {
        if decided(name) {
            continue;
        }
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = node.edges().into_iter().map(|(_, target)| target.name()).collect();
        while let Some(next) = open.pop() {
            if next == name {
                let message = "leads back to itself and nobody decides on the way, so it would never end; put an approval into the loop";
                faults.push(fault(&format!("spec.nodes[{name}].next"), message.to_owned()));
                break;
            }
            if !decided(next) && seen.insert(next) {
                let edges = graph.nodes.get(next).map(GraphNode::edges).unwrap_or_default();
                open.extend(edges.into_iter().map(|(_, target)| target.name()));
            }
        }
    }
    faults
}

/// Whether an approval may lie before this step.
fn decided_before(graph: &Graph, name: &str) -> bool {
    graph.steps().any(|(other, _)| {
        let onward = graph.nodes.get(other).map(GraphNode::edges).unwrap_or_default();
        onward.iter().any(|(_, target)| reachable(graph, target.name(), |_| true).contains(name))
    })
}
