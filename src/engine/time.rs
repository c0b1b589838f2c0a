//! What time does: escalations, deadlines, and when to look again (rules 15, 16; requirement R22).
//!
//! The limits of a visit are fixed when its step is entered. What is due happens between the signals, in the order of the seconds
//! in which they were made: a signal that was created by the deadline counts, however late it is seen.

use super::advance::{Run, Stall, Standing};
use super::graph::Span;
use super::{Note, Proof, Signal};
use crate::api::{StepVisit, TaskState, condition, seconds};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How soon what failed is tried again: as long as it has failed already, within these bounds, in seconds.
const TRY_AGAIN: (i64, i64) = (5, 3600);

impl Run<'_> {
    /// Fixes deadline and escalations of the current visit, once. Without its calendar that waits; people are asked all the same.
    pub(super) fn set_limits(&mut self) {
        let Some((visit, step)) = self.current_step() else { return };
        let fixed =
            visit.deadline.is_some() == step.timeout.is_some() && visit.escalate_at.len() == step.escalations.len();
        if fixed {
            return;
        }
        let entered = visit.entered_at.0;
        let deadline = step.timeout.as_ref().map(|timeout| self.after(entered, &timeout.span)).transpose();
        let levels = step.escalations.iter().map(|level| self.after(entered, &level.span));
        let levels: Result<Vec<Time>, String> = levels.collect();
        match deadline.and_then(|deadline| levels.map(|levels| (deadline, levels))) {
            Ok((deadline, levels)) => {
                if let Some(visit) = self.status.steps.last_mut() {
                    visit.deadline = deadline;
                    visit.escalate_at = levels;
                }
            }
            Err(why) => {
                let message = format!("the time limits of step {} cannot be told: {why}", visit.node);
                self.stalled = Some(Stall { reason: "CalendarUnusable", message });
            }
        }
    }

    /// The moment that a span after another one ends, in whole seconds.
    fn after(&self, from: Timestamp, span: &Span) -> Result<Time, String> {
        let end = match span {
            Span::After(duration) => from.saturating_add(*duration).map_err(|error| error.to_string())?,
            Span::BusinessDays { days, calendar } => self.facts.directory.calendar(calendar)?.after(from, *days)?,
        };
        let whole = end.as_second() + i64::from(end.subsec_nanosecond() > 0);
        Timestamp::from_second(whole).map(Time).map_err(|error| error.to_string())
    }

    /// Lets time pass until that second: calls escalations, and leaves steps whose time is over. A step is left only when every
    /// signal that was made in time is known, and while the actor is proven.
    pub(super) fn pass_time(&mut self, until: i64) -> Option<Standing> {
        if self.status.outcome.is_some() || matches!(self.facts.proof, Proof::Broken(_)) {
            return None;
        }
        // Whatever clocks say: nothing that is still to come has happened.
        let until = until.min(self.now.as_second());
        while let Some((visit, step)) = self.current_step() {
            let next_level = visit.escalate_at.get(visit.escalated as usize).map(seconds);
            let deadline = visit.deadline.as_ref().map(seconds);
            if let Some(level) = next_level.filter(|level| *level <= until && deadline.is_none_or(|end| *level <= end))
            {
                self.escalate(level);
            } else if let Some(end) = deadline.filter(|end| *end < until && *end <= self.facts.seen_until) {
                let output = step.timeout.as_ref().map_or("expired", |timeout| timeout.output);
                self.close_open_tasks(TaskState::Expired);
                let node = self.node();
                let end = Timestamp::from_second(end).unwrap_or(self.now);
                let message = format!("the time of step {node} was over at {end}: it goes on as {output}");
                self.notes.push(Note { warning: true, reason: "Expired", message });
                if let Some(ended) = self.leave(output) {
                    return Some(ended);
                }
            } else {
                return None;
            }
        }
        None
    }

    /// Calls the next level of escalation: once per visit and level. `required` stays.
    fn escalate(&mut self, due: i64) {
        let Some(visit) = self.status.steps.last_mut() else { return };
        visit.escalated += 1;
        let (level, node) = (visit.escalated, visit.node.clone());
        self.take_stock();
        self.refresh_tasks();
        let prefix = format!("escalation {level}: ");
        let sources = self.stocks.iter().flat_map(|stock| &stock.asked);
        let mut named: Vec<String> = sources
            .filter(|asked| asked.level == level)
            .map(|asked| {
                let people: Vec<_> = asked.people.values().map(String::as_str).collect();
                let source = asked.label.trim_start_matches(&prefix);
                if people.is_empty() { source.to_owned() } else { format!("{source} ({})", people.join(", ")) }
            })
            .collect();
        named.sort_unstable();
        named.dedup();
        let due = Timestamp::from_second(due).unwrap_or(self.now);
        let message = format!("step {node} has waited since {due}: level {level} is asked too, {}", named.join(", "));
        self.notes.push(Note { warning: true, reason: "Escalated", message });
    }

    /// Whether a signal cannot be judged yet: it was made after a deadline, and a signal that was made before may be on its way;
    /// or who decides cannot be told.
    pub(super) fn must_wait(&self, signal: &Signal) -> bool {
        let Some((visit, _)) = self.current_step() else { return false };
        let late = visit.deadline.as_ref().is_some_and(|deadline| signal.created_at > seconds(deadline));
        let unopened = self.status.tasks.iter().any(|task| task.required == 0) && signal.spec.decision.is_vote();
        (late && self.status.outcome.is_none()) || unopened
    }

    /// Whether something is due.
    pub(super) fn is_due(&self) -> bool {
        let now = self.now.as_second();
        let visit = self.current_step().map(|(visit, _)| visit);
        visit.is_some_and(|visit| next_of(visit).is_some_and(|next| seconds(&next) < now))
    }

    /// Says in the status when something happens next although nobody does anything.
    pub(super) fn tell_next_wakeup(&mut self) {
        let open = self.status.outcome.is_none();
        let next = self.current_step().and_then(|(visit, _)| next_of(visit)).or_else(|| self.next_of_act());
        let next = next.filter(|_| open);
        self.status.next_wakeup = next;
    }

    /// When to compute again although nothing changes.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        if self.status.outcome.is_some() {
            return None;
        }
        let after = |second: i64, seconds: i64| Timestamp::from_second(second.saturating_add(seconds)).ok();
        let now = self.facts.now.as_second();
        // A deadline is over in the second after it. What is due and could not happen is looked at again at once.
        let limit = self.status.next_wakeup.as_ref().and_then(|next| after(seconds(next).max(now), 1));
        let stalled = condition(&self.status.conditions, "Stalled").filter(|stalled| {
            stalled.status == "True" && ["ExpressionFailed", "CalendarUnusable"].contains(&stalled.reason.as_str())
        });
        let again = stalled.and_then(|stalled| {
            let so_far = now.saturating_sub(seconds(&stalled.last_transition_time));
            after(now, so_far.clamp(TRY_AGAIN.0, TRY_AGAIN.1))
        });
        [limit, again, self.act_at].into_iter().flatten().min()
    }
}

/// When the next escalation or the deadline of a visit is.
fn next_of(visit: &StepVisit) -> Option<Time> {
    let level = visit.escalate_at.get(visit.escalated as usize);
    level.into_iter().chain(&visit.deadline).min_by_key(|time| time.0).cloned()
}
