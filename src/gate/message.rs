//! What people are told whose operation is held: where it stands, who must agree, and what to do next.

use super::judge::{change_of, held_of};
use crate::api::{ApproverSummary, ChangeRequest, ChangeState, SupervisorOf, Task, TaskState, WorkflowInstanceStatus};
use crate::change::Carrier;
use crate::engine::graph::{Graph, GraphNode, Required, Step};
use crate::engine::source::{RoleOf, Source};
use kube::ResourceExt as _;
use std::collections::{BTreeSet, VecDeque};

/// How many approver sources of a partition are told.
const SOURCES: usize = 3;

/// Where a request lives and what it is called.
#[must_use]
pub fn pointer(request: &ChangeRequest) -> String {
    format!("changerequest/{} in {}", request.name_any(), request.namespace().unwrap_or_default())
}

/// The refusal of an operation that waits for approval. `progress` says who must agree.
#[must_use]
pub fn held(request: &ChangeRequest, progress: &str, carrier: Carrier) -> String {
    let then = match carrier {
        Carrier::Operator => "it is carried out once approved".to_owned(),
        Carrier::Requester(None) => "the same command passes once approved".to_owned(),
        Carrier::Requester(Some(why)) => format!("the same command passes once approved ({why})"),
    };
    format!("held for approval: {}, {progress}; {then}", pointer(request))
}

/// The refusal of an operation that was rejected.
#[must_use]
pub fn rejected(request: &ChangeRequest) -> String {
    let said = change_of(request).and_then(|change| change.message.clone());
    let said = said.filter(|said| !said.is_empty()).unwrap_or_else(|| "it was not approved".to_owned());
    format!(
        "rejected: {}: {said}; ask for something else, or again when the rejection is no longer valid",
        pointer(request)
    )
}

/// What is said besides, where something else was asked before about the same object.
#[must_use]
pub fn drift(earlier: &ChangeRequest, digest: &str) -> String {
    let differs = if held_of(earlier).is_some_and(|held| held.digest == digest) {
        "for the object as it was before"
    } else {
        "for another payload"
    };
    let decided = match change_of(earlier).map(|change| change.state) {
        Some(ChangeState::Approved) => "what was approved",
        Some(ChangeState::Rejected) => "what was rejected",
        _ => "what is being decided",
    };
    format!("{decided} as changerequest/{} was {differs}", earlier.name_any())
}

/// The warning of a dry run.
#[must_use]
pub fn dry_run(processes: &[&str], progress: &str) -> String {
    format!("needs approval ({}): {progress}; a dry run asks nobody", processes.join(", "))
}

/// Who is asked first by a workflow: what is told before anybody has been asked.
#[must_use]
pub fn first_step(graph: &Graph) -> String {
    let mut open = VecDeque::from([graph.start.as_str()]);
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop_front() {
        if !seen.insert(name) {
            continue;
        }
        match graph.nodes.get(name) {
            Some(GraphNode::Step(step)) => return asked(step),
            Some(node) => open.extend(node.edges().into_iter().map(|(_, target)| target.name())),
            None => {}
        }
    }
    "nobody has to approve it".to_owned()
}

fn asked(step: &Step) -> String {
    let partitions = step.partitions.iter().map(|rule| {
        let required = match rule.required {
            Required::Number(number) => format!("0 of {number} {}", approvals(number)),
            Required::All => "0 of all approvals".to_owned(),
            Required::Percent(percent) => format!("0 of {percent}% approvals"),
        };
        let sources: Vec<String> = rule.approvers.iter().map(source).collect();
        format!("{required} from {}", some_of(&sources))
    });
    partitions.collect::<Vec<_>>().join(", ")
}

fn approvals(number: u32) -> &'static str {
    if number == 1 { "approval" } else { "approvals" }
}

fn some_of(sources: &[String]) -> String {
    let told = sources.iter().take(SOURCES).cloned().collect::<Vec<_>>().join(" or ");
    if sources.len() > SOURCES { format!("{told} or others") } else { told }
}

fn source(source: &Source) -> String {
    let of = |role: &RoleOf| match role {
        RoleOf::Request => "the role",
        RoleOf::Superior => "the superior role",
        RoleOf::Sub => "the subrole",
    };
    match source {
        Source::User(name) => name.clone(),
        Source::Group(name) => format!("group {name}"),
        Source::Role(name) => format!("role {name}"),
        Source::Guarantor(role, _) => format!("the guarantors of {}", of(role)),
        Source::Supervisor(SupervisorOf::Subject, _) => "the supervisors of whom it is about".to_owned(),
        Source::Supervisor(SupervisorOf::Initiator, _) => "your supervisors".to_owned(),
        Source::Supervisor(SupervisorOf::Approvers, _) => "the supervisors of the approvers".to_owned(),
        Source::GuarantorOfSubject => "the guarantors of whom it is about".to_owned(),
        Source::Expression(_) => "whom an expression names".to_owned(),
        Source::Permission(verb) => format!("whoever may {verb} it"),
    }
}

/// Where a request stands. `instance` is the status of the newest instance that was opened for it, `first` who is asked first.
#[must_use]
pub fn progress(
    request: &ChangeRequest,
    instance: Option<&WorkflowInstanceStatus>,
    first: impl FnOnce() -> String,
) -> String {
    let Some(change) = change_of(request) else { return first() };
    if change.state == ChangeState::Approved {
        return "approved, and about to be let through".to_owned();
    }
    let open: Vec<String> = instance.iter().flat_map(|status| &status.tasks).filter_map(task).collect();
    if !open.is_empty() {
        return open.join(", ");
    }
    // Opened a moment ago: who is asked first is known all the same.
    if change.instances.len() <= 1 && instance.is_none_or(|status| status.started_at.is_none()) {
        return first();
    }
    change.message.clone().filter(|message| !message.is_empty()).unwrap_or_else(first)
}

fn task(task: &Task) -> Option<String> {
    let sources: Vec<String> = task.approvers.iter().map(|ApproverSummary { source, .. }| source.clone()).collect();
    let from = if sources.is_empty() { String::new() } else { format!(" from {}", some_of(&sources)) };
    (task.state == TaskState::Open)
        .then(|| format!("{} of {} {}{from}", task.approvals, task.required, approvals(task.required)))
}
