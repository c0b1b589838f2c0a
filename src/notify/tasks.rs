//! The open tasks of an instance, and who is asked: what mails on a schedule list.

use super::render::one_line;
use super::{Asked, OpenTask, Translated};
use crate::directory::delegations::SERVICE_ACCOUNT;
use crate::engine::graph::{DEFAULT_PARTITION, Graph, Rule, Step};
use crate::engine::{Definition, Facts, asking};
use k8s_openapi::api::core::v1::ObjectReference;

/// The open tasks of an instance; empty when it is finished, or nobody is asked at the moment. Goes by the same facts as
/// [`crate::engine::advance()`], with the status as it was last written.
#[must_use]
pub fn open_tasks(facts: &Facts<'_>) -> Vec<OpenTask> {
    let Definition::Usable { graph, .. } = facts.definition else { return Vec::new() };
    let Some(visit) = facts.status.steps.last() else { return Vec::new() };
    let Some(step) = graph.step(&visit.node) else { return Vec::new() };
    let initiator = facts.instance.spec.initiator.as_ref();
    let asking = asking(facts).into_iter().filter_map(|asking| {
        let task = facts.status.tasks.iter().find(|task| task.partition == asking.partition)?;
        let rule = step.partition(&asking.partition)?;
        // A machine reads no mail, unless somebody gave it a mailbox.
        let reads = |username: &str| {
            !username.starts_with(SERVICE_ACCOUNT) || facts.directory.contact_of(username).email.is_some()
        };
        let people = asking.people.into_iter().filter(|invited| reads(&invited.username));
        Some(OpenTask {
            instance: reference(facts),
            title: title(facts, graph),
            step: visit.node.clone(),
            step_title: step_title(step),
            visit: visit.visit,
            partition: asking.partition.clone(),
            partition_title: partition_title(rule),
            initiator: initiator.map(|initiator| initiator.username.clone()),
            opened_at: visit.entered_at.0,
            deadline: visit.deadline.as_ref().map(|deadline| deadline.0),
            approvals: task.approvals,
            required: task.required,
            people: people.map(|it| Asked { username: it.username, on_behalf_of: it.on_behalf_of }).collect(),
            mails: asking.mails.into_keys().collect(),
        })
    });
    asking.collect()
}

/// The instance, for messages about it.
pub(super) fn reference(facts: &Facts<'_>) -> ObjectReference {
    let text = |text: &str| Some(text.to_owned());
    ObjectReference {
        api_version: text("quorate.dev/v1alpha1"),
        kind: text("WorkflowInstance"),
        namespace: text(facts.instance.namespace),
        name: text(facts.instance.name),
        uid: text(facts.instance.uid),
        ..ObjectReference::default()
    }
}

/// What an instance is about: its own title, or that of its workflow in every language that it has.
pub(super) fn title(facts: &Facts<'_>, graph: &Graph) -> Translated {
    let spec = facts.instance.spec;
    // One that shows nothing is none.
    match spec.title.as_ref().filter(|title| shows(title)) {
        Some(title) => Translated { text: title.clone(), ..Translated::default() },
        None => Translated {
            text: facts
                .status
                .title
                .clone()
                .filter(|title| shows(title))
                .or_else(|| graph.title.clone())
                .unwrap_or_else(|| facts.instance.name.to_owned()),
            names: graph.names.clone(),
        },
    }
}

/// Whether anything of a title is to be seen: a link needs a letter to be clicked on.
fn shows(title: &str) -> bool {
    let unseen = |letter: char| matches!(letter, ' ' | '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{3164}');
    !one_line(title).chars().all(unseen)
}

/// What people call a step.
pub(super) fn step_title(step: &Step) -> Translated {
    Translated { text: step.title.clone(), names: step.names.clone() }
}

/// What people call a partition; none for the only one of a step.
pub(super) fn partition_title(rule: &Rule) -> Option<Translated> {
    let named = rule.name != DEFAULT_PARTITION;
    named.then(|| Translated { text: rule.title.clone(), names: rule.names.clone() })
}
