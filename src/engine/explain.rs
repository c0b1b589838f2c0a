//! Why (requirement R39): for an instance and a person, whether they may decide, and through what; if not, why not; who still
//! can; what is missing; what happens next. Says what the verdict of a signal would say, in the same words.

use super::advance::Run;
use super::graph::{DEFAULT_PARTITION, GraphNode};
use super::{Facts, Reason, Right, Signal};
use crate::api::{Actor, ApprovalSignalSpec, Decision, Field, TaskState, condition, seconds};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where an instance stands, for one person.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Where it stands, in a sentence.
    pub standing: String,
    /// The tasks of the step where it stands; empty when nobody is asked.
    pub tasks: Vec<TaskExplanation>,
    /// Where each output of the node leads.
    pub leads: BTreeMap<&'static str, String>,
    /// What happens although nobody does anything, and when.
    pub next: Option<(Timestamp, String)>,
}

/// One task, for one person.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskExplanation {
    /// The node.
    pub step: String,
    /// The visit of the node, from 1.
    pub visit: u32,
    /// The partition.
    pub partition: String,
    /// Where the task stands.
    pub state: TaskState,
    /// Through what the person may decide it now; else why not, as a verdict would say it.
    pub may: Result<String, (Reason, String)>,
    /// How many approvals counted.
    pub approvals: u32,
    /// How many are needed.
    pub required: u32,
    /// Who can still decide, by username, as far as the directory lists them.
    pub can_still: Vec<String>,
    /// Sources whose people cannot be listed.
    pub cannot_be_listed: Vec<String>,
    /// What an approval records.
    pub fields: Vec<Field>,
}

/// Explains an instance to a person. Pure; goes by the same facts as [`super::advance()`], with the status as it was last written.
#[must_use]
pub fn explain(facts: &Facts<'_>, person: &Actor, rights: &BTreeSet<Right>) -> Explanation {
    let mut run = Run::new(facts);
    if facts.status.outcome.is_none() {
        run.take_stock();
    }
    let completed = condition(&facts.status.conditions, "Completed");
    let standing = completed.map(|completed| completed.message.clone()).unwrap_or_default();
    let mut tasks = Vec::new();
    let mut next = None;
    if let Some((visit, step)) = run.current_step().filter(|_| facts.status.outcome.is_none()) {
        let newest = facts.status.decisions.iter().map(|decision| seconds(&decision.at)).max().unwrap_or(i64::MIN);
        for (task, stock) in run.status.tasks.iter().zip(&run.stocks) {
            let usernames: BTreeMap<&String, &String> = stock.everybody().flat_map(|asked| &asked.people).collect();
            let left = stock.left.iter().chain(stock.stand_in.iter().flat_map(|stand_in| &stand_in.left));
            // Whoever handed a task over is not who can decide it now.
            let can_still: BTreeSet<String> = left
                .filter_map(|person| {
                    let username = usernames.get(person)?;
                    Some(stock.handovers.get(person).map_or_else(
                        || (*username).clone(),
                        |handover| format!("{} for {}", handover.holder(), handover.principal),
                    ))
                })
                .collect();
            // What the verdict on a signal that names this very task would say.
            let named = ApprovalSignalSpec {
                step: Some(task.step.clone()),
                visit: Some(task.visit),
                partition: Some(task.partition.clone()),
                decision: Decision::Approve,
                ..ApprovalSignalSpec::default()
            };
            let signal = Signal {
                name: String::new(),
                // After everything that was made in this second.
                uid: char::MAX.to_string(),
                created_at: newest.max(run.now.as_second()).max(facts.instance.created_at),
                spec: named,
                rights: rights.clone(),
            };
            let may = run.task_of(&signal, person).map(|(_, _, _, title)| match title.on_behalf_of {
                Some(principal) => format!("{} of {principal}", title.through),
                None => title.through,
            });
            let rule = step.partition(&task.partition);
            tasks.push(TaskExplanation {
                step: task.step.clone(),
                visit: task.visit,
                partition: task.partition.clone(),
                state: task.state,
                may,
                approvals: task.approvals,
                required: task.required,
                can_still: can_still.into_iter().collect(),
                cannot_be_listed: stock
                    .everybody()
                    .filter(|asked| asked.is_open() || asked.failed.is_some())
                    .map(|asked| asked.label.clone())
                    .collect(),
                fields: rule.map(|rule| rule.fields.clone()).unwrap_or_default(),
            });
        }
        let level = visit.escalate_at.get(visit.escalated as usize).map(|at| {
            let sources = step
                .escalations
                .get(visit.escalated as usize)
                .map(|level| level.approvers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
            (at.0, format!("escalation to {}", sources.unwrap_or_default()))
        });
        let deadline = visit.deadline.as_ref().map(|deadline| {
            let output = step.timeout.as_ref().map_or("expired", |timeout| timeout.output);
            (deadline.0, format!("step {} ends: {output}", visit.node))
        });
        next = level.into_iter().chain(deadline).min_by_key(|(at, _)| *at);
    }
    let node = facts.status.steps.last().filter(|visit| visit.left_at.is_none());
    let node = node.zip(run.graph()).and_then(|(visit, graph)| graph.nodes.get(&visit.node));
    let edges = node.map(GraphNode::edges).unwrap_or_default();
    let leads = edges.into_iter().map(|(output, target)| (output, target.name().to_owned())).collect();
    Explanation { standing, tasks, leads, next }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.standing)?;
        for task in &self.tasks {
            let name = if task.partition == DEFAULT_PARTITION {
                format!("step {}", task.step)
            } else {
                format!("partition {} of step {}", task.partition, task.step)
            };
            writeln!(f, "{name}, visit {}: {} of {} approvals", task.visit, task.approvals, task.required)?;
            match &task.may {
                Ok(through) => writeln!(f, "  you may decide, through {through}")?,
                Err((reason, why)) => writeln!(f, "  you may not decide ({reason}): {why}")?,
            }
            if task.state == TaskState::Open {
                let mut who = task.can_still.clone();
                who.extend(task.cannot_be_listed.iter().map(|source| format!("whoever is of {source}")));
                writeln!(f, "  who can still: {}", if who.is_empty() { "nobody".to_owned() } else { who.join(", ") })?;
            }
            for field in &task.fields {
                let needed = if field.required || field.must_be.is_some() { ", needed to approve" } else { "" };
                writeln!(f, "  field {}: {:?}{needed}", field.name, field.type_)?;
            }
        }
        for (output, target) in &self.leads {
            writeln!(f, "{output} leads to {target}")?;
        }
        if let Some((at, what)) = &self.next {
            writeln!(f, "next, at {at}: {what}")?;
        }
        Ok(())
    }
}
