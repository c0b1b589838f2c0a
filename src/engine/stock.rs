//! Who is left to decide the open tasks of a visit, and when the administrators stand in (rules 4, 6).

use super::advance::Run;
use super::eligibility::Judge;
use crate::api::{ApproverSummary, Task, TaskState};
use std::collections::BTreeSet;

/// Who is left to decide a task.
pub(super) struct Stock {
    /// Listed people who have not decided in this visit.
    pub(super) left: BTreeSet<String>,
    /// Whether a source cannot be listed.
    pub(super) open: bool,
    /// The sources, for the status.
    pub(super) summary: Vec<ApproverSummary>,
    /// The administrators, where they stand in.
    pub(super) stand_in: Option<StandIn>,
}

impl Stock {
    /// Whether nobody may decide.
    pub(super) fn is_empty(&self) -> bool {
        !self.open && self.left.is_empty()
    }
}

/// The administrators who stand in.
pub(super) struct StandIn {
    pub(super) left: BTreeSet<String>,
    pub(super) open: bool,
    pub(super) summary: Vec<ApproverSummary>,
}

impl Run<'_> {
    /// Resolves who may decide the open tasks of the current visit.
    pub(super) fn take_stock(&mut self) {
        let Some((visit, step)) = self.current_step() else {
            return;
        };
        let eligibility = self.eligibility();
        let voted: BTreeSet<String> = self
            .status
            .decisions
            .iter()
            .filter(|decision| decision.step == visit.node && decision.visit == visit.visit)
            .flat_map(|decision| {
                // Whoever was renamed since has voted all the same.
                let then = decision.identity.as_deref().map(Judge::identified);
                then.into_iter().chain([eligibility.person(&decision.actor)])
            })
            .collect();
        let stocks = step
            .partitions
            .iter()
            .map(|rule| {
                let roster = eligibility.roster(step, &rule.approvers, false);
                let left = roster.closed.into_keys().filter(|person| !voted.contains(person)).collect();
                Stock { left, open: roster.open, summary: roster.summary, stand_in: None }
            })
            .collect();
        self.stocks = stocks;
        if self.status.tasks.iter().all(|task| task.required > 0) {
            self.call_stand_ins();
        }
    }

    /// Adds the administrators to every open task that its own sources cannot complete any more (rules 4, 6), and to no other:
    /// what is asked now follows from what is recorded, not from how it came to that.
    pub(super) fn call_stand_ins(&mut self) {
        let Some((visit, step)) = self.current_step() else {
            return;
        };
        let eligibility = self.eligibility();
        let stand_in = |stock: &Stock| {
            let roster = eligibility.roster(step, &self.facts.settings.administrators, true);
            let left = roster
                .closed
                .into_iter()
                .filter(|(person, _)| !stock.left.contains(person))
                .filter(|(_, username)| self.vote_in(visit, username).is_none())
                .map(|(person, _)| person)
                .collect();
            StandIn { left, open: roster.open, summary: roster.summary }
        };
        let tasks = self.status.tasks.iter().zip(&self.stocks);
        let found: Vec<Option<StandIn>> = tasks
            .map(|(task, stock)| {
                let short =
                    task.state == TaskState::Open && !stock.open && reachable(task, stock.left.len()) < task.required;
                short.then(|| stand_in(stock))
            })
            .collect();
        for (stock, stand_in) in self.stocks.iter_mut().zip(found) {
            stock.stand_in = stand_in;
        }
    }

    /// Whether the administrators may decide this task.
    pub(super) fn administrators_stand_in(&self, task: &Task) -> bool {
        let position = self.status.tasks.iter().position(|other| other.partition == task.partition);
        position.and_then(|position| self.stocks.get(position)).is_some_and(|stock| stock.stand_in.is_some())
    }

    /// Writes the approvers of open tasks into the status.
    pub(super) fn refresh_tasks(&mut self) {
        for (task, stock) in self.status.tasks.iter_mut().zip(&self.stocks) {
            if task.state == TaskState::Open {
                task.approvers.clone_from(&stock.summary);
                task.approvers.extend(stock.stand_in.iter().flat_map(|stand_in| stand_in.summary.iter().cloned()));
            }
        }
    }
}

/// How many approvals a task can still come to when so many people are left.
pub(super) fn reachable(task: &Task, left: usize) -> u32 {
    u32::try_from(left).unwrap_or(u32::MAX).saturating_add(task.approvals)
}
