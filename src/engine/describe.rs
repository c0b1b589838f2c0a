//! Says in words where an instance stands: conditions, the `waiting` column, the messages of events and verdicts.

use super::Note;
use super::advance::{Run, Standing};
use super::graph::{DEFAULT_PARTITION, GraphNode, Step};
use super::source::Source;
use super::stock::reachable;
use crate::api::{CountedDecision, Decision, Outcome, Says, Task, TaskState, condition, set_condition};

impl Run<'_> {
    /// How the last node before the end was left, in a sentence. Never what somebody commented.
    pub(super) fn told(&self) -> String {
        // That somebody was told on the way says nothing.
        let notice =
            |node: &str| matches!(self.graph().and_then(|graph| graph.nodes.get(node)), Some(GraphNode::Notify(_)));
        let mut left = self.status.steps.iter().rev().filter(|visit| visit.output.is_some());
        let Some(visit) = left.find(|visit| !notice(&visit.node)) else {
            return String::new();
        };
        let node = &visit.node;
        let (wanted, verb) = match visit.output.as_deref().unwrap_or_default() {
            "approved" => (Decision::Approve, "approved"),
            "rejected" => (Decision::Reject, "rejected"),
            "expired" => {
                let deadline =
                    visit.deadline.as_ref().map(|deadline| format!(" at {}", deadline.0)).unwrap_or_default();
                return format!("the time of step {node} was over{deadline}");
            }
            "done" => return format!("{node} was carried out"),
            output @ ("failed" | "timedOut") => {
                let verb = if output == "failed" { "failed" } else { "was not done in time" };
                let why = visit.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
                return format!("{node} {verb}{why}");
            }
            output => return format!("condition {node} led on by {output}"),
        };
        let decisions = self.status.decisions.iter();
        let decisions = decisions.filter(|decision| decision.step == *node && decision.visit == visit.visit);
        let people: Vec<String> = decisions
            .filter(|decision| decision.decision == wanted)
            .map(|decision| match &decision.on_behalf_of {
                Some(principal) => format!("{} for {principal}", decision.actor),
                None => decision.actor.clone(),
            })
            .collect();
        match people.as_slice() {
            [] => format!("step {node} {verb}"),
            people if people.len() > 10 => {
                format!("step {node} {verb} by {} and {} more", people[..10].join(", "), people.len() - 10)
            }
            people => format!("step {node} {verb} by {}", people.join(", ")),
        }
    }

    /// Says in title, waiting and conditions where the instance stands.
    pub(super) fn describe(&mut self, standing: &Standing) {
        if matches!(standing, Standing::Unchanged) {
            return;
        }
        let open = |status: &'static str| (status, "Undecided");
        let asking = self.waiting();
        let (completed, approved, progress, stalled, message) = match standing {
            Standing::Unchanged => return,
            Standing::Held { reason, message, stalled } => {
                (("False", *reason), open("Unknown"), Some(*reason), stalled.then_some(*reason), message.clone())
            }
            Standing::Asking => {
                let unreachable = self.unreachable();
                let stalled = unreachable.is_some().then_some("QuorumUnreachable");
                let message = unreachable.unwrap_or_else(|| self.asking_message());
                (("False", "WaitingForApproval"), open("Unknown"), Some("WaitingForApproval"), stalled, message)
            }
            Standing::WritingBack(outcome) => {
                let message = format!("{}; the outcome is being written to the object", self.told());
                let decided = approved_status(*outcome);
                (("False", "WritingBack"), (decided, outcome_word(*outcome)), Some("WritingBack"), None, message)
            }
            Standing::Executing => {
                let message = format!("{}; it goes on when the change is carried out", self.told());
                (("False", "WaitingForExecution"), open("Unknown"), Some("WaitingForExecution"), None, message)
            }
            Standing::Ended { outcome, reason, message } => {
                let stalled = (*outcome != Outcome::Approved).then_some(*reason);
                (("True", *reason), (approved_status(*outcome), *reason), None, stalled, message.clone())
            }
        };
        if stalled.is_some() && !matches!(standing, Standing::Ended { .. }) && !self.stalled_before(stalled) {
            self.notes.push(Note { warning: true, reason: stalled.unwrap_or_default(), message: message.clone() });
        }
        self.status.waiting = match standing {
            Standing::Ended { .. } => None,
            Standing::Held { .. } if asking.is_empty() => Some(message.clone()),
            Standing::WritingBack(_) => Some("writing back".to_owned()),
            Standing::Executing => Some("to be carried out".to_owned()),
            _ => Some(asking),
        };
        let reason = completed.1;
        let done = progress.is_none();
        let ready = if done && approved.0 == "True" { "True" } else { "False" };
        let truth = |is: bool| if is { "True" } else { "False" };
        for (type_, status, reason) in [
            ("Completed", completed.0, completed.1),
            ("Approved", approved.0, approved.1),
            ("Ready", ready, reason),
            ("Reconciling", truth(!done && stalled.is_none()), progress.unwrap_or(reason)),
            ("Stalled", truth(stalled.is_some()), stalled.unwrap_or(if done { reason } else { "Progressing" })),
        ] {
            let says = Says { type_, status, reason, message: &message };
            set_condition(&mut self.status.conditions, says, self.facts.instance.generation, self.now);
        }
    }

    fn stalled_before(&self, reason: Option<&str>) -> bool {
        condition(&self.status.conditions, "Stalled")
            .is_some_and(|condition| condition.status == "True" && Some(condition.reason.as_str()) == reason)
    }

    /// What is missing, e.g. `security 1/2, finance 0/1`.
    fn waiting(&self) -> String {
        let only = self.status.tasks.len() == 1;
        let open = self.status.tasks.iter().filter(|task| task.state == TaskState::Open);
        let counts = open.map(|task| {
            let count = format!("{}/{}", task.approvals, task.required);
            if only && task.partition == DEFAULT_PARTITION { count } else { format!("{} {count}", task.partition) }
        });
        counts.collect::<Vec<_>>().join(", ")
    }

    fn asking_message(&self) -> String {
        let Some((_, step)) = self.current_step() else {
            return String::new();
        };
        let open = self.status.tasks.iter().filter(|task| task.state == TaskState::Open);
        format!("{}: {}", step.title, open.map(|task| asked(step, task)).collect::<Vec<_>>().join("; "))
    }

    /// Which task nobody can complete any more, not even the administrators.
    fn unreachable(&self) -> Option<String> {
        let (_, step) = self.current_step()?;
        self.status.tasks.iter().zip(&self.stocks).find_map(|(task, stock)| {
            let stand_in = stock.stand_in.as_ref().filter(|stand_in| !stand_in.is_open() && task.state == TaskState::Open)?;
            let left = stock.left.len() + stand_in.left.len();
            let missing = task.required.checked_sub(reachable(task, left)).filter(|missing| *missing > 0)?;
            Some(format!(
                "{} needs {} approvals, has {}, and only {left} more may decide, administrators included: {missing} too few; add members to its sources",
                task_title(step, task), task.required, task.approvals
            ))
        })
    }
}

pub(super) fn task_title(step: &Step, task: &Task) -> String {
    if step.partitions.len() == 1 {
        format!("step {}", task.step)
    } else {
        format!("partition {} of step {}", task.partition, task.step)
    }
}

/// Who is asked for how much, e.g. `1 of 2 approvals, from group enrollment-approvers`.
pub(super) fn asked(step: &Step, task: &Task) -> String {
    let from: Vec<_> = task.approvers.iter().map(|approvers| approvers.source.as_str()).collect();
    let counts = format!("{} of {} approvals, from {}", task.approvals, task.required, from.join(", "));
    if step.partitions.len() == 1 { counts } else { format!("{} {counts}", task.partition) }
}

pub(super) fn counted_message(decision: &CountedDecision) -> String {
    let CountedDecision { actor, partition, step, visit, through, .. } = decision;
    let for_whom = decision.on_behalf_of.as_ref().map(|principal| format!(" for {principal}")).unwrap_or_default();
    let to = decision.delegate_to.as_deref().unwrap_or_default();
    let named = || {
        let named = decision.approvers.iter().filter_map(Source::named).map(|source| source.to_string());
        named.collect::<Vec<_>>().join(", ")
    };
    match decision.decision {
        Decision::Approve => {
            format!(
                "approval of {actor}{for_whom} counted for partition {partition} of step {step}, visit {visit}, through {through}"
            )
        }
        Decision::Reject => {
            format!(
                "rejection of {actor}{for_whom} counted for partition {partition} of step {step}, visit {visit}, through {through}"
            )
        }
        Decision::Delegate if to == actor && for_whom.is_empty() => {
            format!("{actor} took partition {partition} of step {step} back")
        }
        Decision::Delegate => format!("{actor} handed partition {partition} of step {step} over to {to}{for_whom}"),
        Decision::Reassign => format!("{actor} reassigned partition {partition} of step {step}: asked are {}", named()),
        Decision::AddApprovers => format!("{actor} added to partition {partition} of step {step}: {}", named()),
        Decision::Cancel => format!("{actor} withdrew it"),
        Decision::Stop => format!("{actor} stopped it"),
        Decision::Retry => format!("{actor} had step {step} tried again"),
        Decision::Restart => format!("{actor} restarted it on the newest definition"),
        Decision::Comment => format!("comment of {actor} noted"),
    }
}

fn approved_status(outcome: Outcome) -> &'static str {
    if outcome == Outcome::Approved { "True" } else { "False" }
}

pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approved => "Approved",
        Outcome::Rejected => "Rejected",
        Outcome::Expired => "Expired",
        Outcome::Cancelled => "Cancelled",
        Outcome::Failed => "Failed",
    }
}
