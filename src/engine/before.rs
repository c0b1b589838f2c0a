//! The order of signals, and where an instance stood before one of them.
//!
//! A signal is judged once, against what came before it. After a crash between the status and the verdicts the whole batch is
//! judged again, with what counted on record: whatever was refused then must be refused again, although a later signal has
//! opened the way for it since. So a signal that is older than something on record is judged twice: as it would have been then,
//! and as things are.

use super::advance::Run;
use super::{Reason, Refusal, Signal};
use crate::api::{CountedDecision, Decision, StepVisit, TaskState, seconds};

/// The place of a signal in the order of rule 7: its second, what it is, its uid.
pub(super) type Place<'s> = (i64, u8, &'s str);

/// The place of a signal.
pub(super) fn place(signal: &Signal) -> Place<'_> {
    (signal.created_at, rank(signal.spec.decision), &signal.uid)
}

fn place_of(record: &CountedDecision) -> Place<'_> {
    (seconds(&record.at), rank(record.decision), &record.signal.uid)
}

/// The place of the newest of these records.
pub(super) fn newest(decisions: &[CountedDecision]) -> Option<(i64, u8, String)> {
    decisions.iter().map(place_of).max().map(|(second, rank, uid)| (second, rank, uid.to_owned()))
}

/// The order of signals within one second: rejections, then what ends or changes the task, then approvals.
fn rank(decision: Decision) -> u8 {
    match decision {
        Decision::Reject => 0,
        Decision::Cancel | Decision::Stop => 1,
        Decision::Delegate | Decision::Reassign | Decision::AddApprovers | Decision::Retry | Decision::Restart => 2,
        Decision::Approve | Decision::Comment => 3,
    }
}

impl Run<'_> {
    /// The instance as it stood in this visit before that signal; none when nothing has come after it.
    pub(super) fn before(&self, signal: &Signal) -> Option<Self> {
        if self.is_newest(signal) && !self.called_since(signal) {
            return None;
        }
        let (visit, step) = self.current_step()?;
        let (node, number) = (visit.node.clone(), visit.visit);
        let later =
            |record: &CountedDecision| self.came_after(record, signal) && record.step == node && record.visit == number;
        let levels = visit.escalate_at.iter().take(visit.escalated as usize);
        let levels = levels.filter(|level| seconds(level) <= signal.created_at).count();
        let escalated = u32::try_from(levels).unwrap_or(u32::MAX);
        if escalated == visit.escalated && !self.status.decisions.iter().any(later) {
            return None;
        }
        let mut run = Self::new(self.facts);
        run.status = self.status.clone();
        run.restarted = self.restarted;
        run.status.decisions.retain(|record| !later(record));
        if let Some(visit) = run.status.steps.last_mut() {
            visit.escalated = escalated;
        }
        let decisions = &run.status.decisions;
        for (task, rule) in run.status.tasks.iter_mut().zip(&step.partitions) {
            let votes = decisions.iter().filter(|record| {
                record.decision.is_vote()
                    && record.step == node
                    && record.visit == number
                    && record.partition == rule.name
            });
            let (approvals, rejections): (Vec<_>, Vec<_>) =
                votes.partition(|record| record.decision == Decision::Approve);
            task.approvals = u32::try_from(approvals.len()).unwrap_or(u32::MAX);
            task.rejections = u32::try_from(rejections.len()).unwrap_or(u32::MAX);
            if task.state == TaskState::Approved && task.approvals < task.required {
                task.state = TaskState::Open;
            }
        }
        run.take_stock();
        Some(run)
    }

    /// Whether a record comes after that signal. Within one second nothing tells what came first: the order by uid is that of a
    /// batch, so it only binds what is judged once more with its batch. What was recorded and told before may be the very reason
    /// why the signal was sent.
    fn came_after(&self, record: &CountedDecision, signal: &Signal) -> bool {
        let same_batch = || self.facts.signals.iter().any(|other| other.uid == record.signal.uid);
        place_of(record) > place(signal) && (seconds(&record.at) > signal.created_at || same_batch())
    }

    /// Whether nothing on record comes after that signal: the usual case, told without a look at every record.
    fn is_newest(&self, signal: &Signal) -> bool {
        let (second, rank, uid) = place(signal);
        self.newest.as_ref().is_none_or(|newest| (newest.0, newest.1, newest.2.as_str()) <= (second, rank, uid))
    }

    /// Whether a level of escalation was called after that signal was made.
    fn called_since(&self, signal: &Signal) -> bool {
        let visit = self.current_step().map(|(visit, _)| visit);
        let mut levels = visit.into_iter().flat_map(|visit| visit.escalate_at.iter().take(visit.escalated as usize));
        levels.any(|level| seconds(level) > signal.created_at)
    }

    /// Takes note of what has been recorded last.
    pub(super) fn recorded(&mut self) {
        let Some((second, rank, uid)) = self.status.decisions.last().map(place_of) else { return };
        let place = (second, rank, uid.to_owned());
        if self.newest.as_ref().is_none_or(|newest| *newest < place) {
            self.newest = Some(place);
        }
    }

    /// A signal that is older than what closed the step before means that one, also within the second.
    pub(super) fn closed_after(&self, signal: &Signal, visit: &StepVisit) -> Result<(), Refusal> {
        if self.is_newest(signal) {
            return Ok(());
        }
        let mut later = self.status.decisions.iter().filter(|record| self.came_after(record, signal));
        match later.find(|record| !(record.step == visit.node && record.visit == visit.visit)) {
            None => Ok(()),
            Some(record) => {
                let message = format!(
                    "it came before {} of {}, which opened visit {} of step {}: send it again",
                    record.signal.name, record.actor, visit.visit, visit.node
                );
                Err((Reason::StepClosed, message))
            }
        }
    }
}
