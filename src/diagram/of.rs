//! The drawing of a graph, and of an instance that runs on it.

use super::{Drawing, Edge, Node, Shape, State};
use crate::api::{Outcome, StepVisit, Task, TaskState, WorkflowInstanceStatus};
use crate::engine::graph::{DEFAULT_PARTITION, Graph, GraphNode, Required, Rule, Step, To, built_in_end};
use crate::engine::source::Source;
use std::collections::BTreeSet;

/// The id of the mark where it begins: no node can have this name.
const START: &str = "\nstart";

/// The id of the end that an instance came to without a way there: no node can have this name.
const STOPPED: &str = "\nstopped";

impl Drawing {
    /// The drawing of a graph; with a status, that of an instance: where it stands, the way it took, how it ended.
    #[must_use]
    pub fn of(graph: &Graph, status: Option<&WorkflowInstanceStatus>) -> Self {
        let visits = status.map_or(&[][..], |status| &status.steps);
        let start = node(START, "Start", Shape::Start);
        let mut drawing = Self {
            title: status.and_then(|status| status.title.clone()).or_else(|| graph.title.clone()).unwrap_or_default(),
            nodes: vec![Node { state: if visits.is_empty() { State::Untouched } else { State::Taken }, ..start }],
            edges: vec![edge(START, &graph.start, "", !visits.is_empty())],
            outcome: status.and_then(|status| status.outcome),
        };
        for name in reading_order(graph) {
            let mut drawn = draw(graph, name, status);
            drawn.state = state(&drawn, visits, drawing.outcome);
            drawing.nodes.push(drawn);
            for (output, target) in graph.nodes.get(name).map(GraphNode::edges).unwrap_or_default() {
                drawing.edges.push(edge(name, target.name(), output, went(visits, name, output)));
            }
        }
        if let Some(outcome) = drawing.outcome {
            stop(&mut drawing, visits, outcome);
        }
        drawing
    }
}

fn draw(graph: &Graph, name: &str, status: Option<&WorkflowInstanceStatus>) -> Node {
    match graph.nodes.get(name) {
        Some(GraphNode::Step(step)) => {
            Node { notes: notes(name, step, status), ..node(name, &step.title, Shape::Step) }
        }
        Some(GraphNode::Condition(branch)) => {
            Node { notes: vec![branch.test.words()], ..node(name, &branch.title, Shape::Condition) }
        }
        Some(GraphNode::Execute(execution)) => node(name, &execution.title, Shape::Execute),
        Some(GraphNode::Notify(notice)) => {
            let told: Vec<_> = notice.to.iter().map(To::to_string).collect();
            Node { notes: vec![format!("tells {}", told.join(", "))], ..node(name, &notice.title, Shape::Execute) }
        }
        Some(GraphNode::Action(act)) => {
            Node { notes: vec![act.work.words()], ..node(name, &act.title, Shape::Execute) }
        }
        Some(GraphNode::End(outcome)) => {
            let notes = if name == outcome.to_string() { Vec::new() } else { vec![format!("ends {outcome}")] };
            Node { notes, ..node(name, name, Shape::End(*outcome)) }
        }
        None => node(name, name, built_in_end(name).map_or(Shape::Step, Shape::End)),
    }
}

/// The nodes and built-in ends as a reader comes upon them: the usual way first. What no way leads to comes last.
fn reading_order(graph: &Graph) -> Vec<&str> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<_> = graph.nodes.keys().rev().map(String::as_str).collect();
    open.push(&graph.start);
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            order.push(name);
            let outputs = graph.nodes.get(name).map(GraphNode::edges).unwrap_or_default();
            open.extend(outputs.iter().rev().map(|(_, target)| target.name()));
        }
    }
    order
}

fn state(node: &Node, visits: &[StepVisit], outcome: Option<Outcome>) -> State {
    let here = |visit: &&StepVisit| visit.node == node.id;
    let end = matches!(node.shape, Shape::End(_));
    if outcome.is_none() && !end && visits.last().filter(here).is_some_and(|visit| visit.left_at.is_none()) {
        State::Current
    } else if visits.iter().any(|visit| here(&visit)) {
        State::Taken
    } else if outcome.is_some() {
        State::Skipped
    } else {
        State::Untouched
    }
}

fn went(visits: &[StepVisit], node: &str, output: &str) -> bool {
    visits.iter().any(|visit| visit.node == node && visit.output.as_deref() == Some(output))
}

/// An instance that was withdrawn, or could go no further, ends beside its graph.
fn stop(drawing: &mut Drawing, visits: &[StepVisit], outcome: Outcome) {
    let regular = |node: &Node| matches!(node.shape, Shape::End(_)) && node.state == State::Taken;
    if drawing.nodes.iter().any(regular) {
        return;
    }
    let from = visits.last().map_or(START, |visit| visit.node.as_str());
    drawing.edges.push(edge(from, STOPPED, "", true));
    drawing.nodes.push(Node { state: State::Taken, ..node(STOPPED, &outcome.to_string(), Shape::End(outcome)) });
}

/// What a step asks, one line for each partition; of an instance, how far each has come.
fn notes(name: &str, step: &Step, status: Option<&WorkflowInstanceStatus>) -> Vec<String> {
    let newest = status.map_or(0, |status| {
        status.steps.iter().filter(|visit| visit.node == name).map(|visit| visit.visit).max().unwrap_or_default()
    });
    let tasks = status.map_or(&[][..], |status| &status.tasks);
    let mut notes: Vec<_> = step
        .partitions
        .iter()
        .map(|rule| {
            let task =
                tasks.iter().find(|task| task.step == name && task.visit == newest && task.partition == rule.name);
            format!("{}{}", asked(rule), task.map(progress).unwrap_or_default())
        })
        .collect();
    if !step.separate_from.is_empty() {
        notes.push(format!("by others than {}", step.separate_from.join(", ")));
    }
    if let Some(timeout) = &step.timeout {
        notes.push(format!("within {}, else {}", timeout.span, timeout.output));
    }
    for level in &step.escalations {
        let sources: Vec<_> = level.approvers.iter().map(Source::to_string).collect();
        notes.push(format!("after {} also {}", level.span, sources.join(", ")));
    }
    if newest > 1 {
        notes.push(format!("visited {newest} times"));
    }
    notes
}

/// `identity: 2 of role ra-administrators`.
fn asked(rule: &Rule) -> String {
    let partition = if rule.name == DEFAULT_PARTITION { String::new() } else { format!("{}: ", rule.title) };
    let required = match rule.required {
        Required::Number(number) => number.to_string(),
        Required::All => "all".to_owned(),
        Required::Percent(percent) => format!("{percent}%"),
    };
    let sources: Vec<_> = rule.approvers.iter().map(Source::to_string).collect();
    let rejections = if rule.rejections > 1 { format!(", rejected by {}", rule.rejections) } else { String::new() };
    format!("{partition}{required} of {}{rejections}", sources.join(", "))
}

fn progress(task: &Task) -> String {
    match task.state {
        TaskState::Open => format!(" — {}/{} so far", task.approvals, task.required),
        TaskState::Approved => " — approved".to_owned(),
        TaskState::Rejected => " — rejected".to_owned(),
        TaskState::Superseded => " — no longer asked".to_owned(),
        TaskState::Expired => " — its time was over".to_owned(),
    }
}

fn node(id: &str, title: &str, shape: Shape) -> Node {
    Node { id: id.to_owned(), title: title.to_owned(), notes: Vec::new(), shape, state: State::Untouched }
}

fn edge(from: &str, to: &str, label: &str, taken: bool) -> Edge {
    Edge { from: from.to_owned(), to: to.to_owned(), label: label.to_owned(), taken }
}
