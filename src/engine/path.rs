//! The way of an instance along the edges of its graph.

use super::advance::{Run, Stall, Standing};
use super::condition::Untold;
use super::describe::{asked, task_title};
use super::eligibility::required;
use super::graph::{Branch, GraphNode, Required, Step};
use super::input::input;
use super::stock::Stock;
use super::{Note, Object};
use crate::api::{NoApprovers, Outcome, StepVisit, Task, TaskState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// More visits of one node than this end an instance as Failed (rule 11).
const MAX_VISITS: u32 = 20;

/// What became of a step that was entered.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Opened {
    /// People are asked.
    Asking,
    /// An expression fails: who would be asked is not known yet.
    Stalled,
    /// Nobody may decide, and the definition says that this rejects.
    Rejected,
}

impl Run<'_> {
    /// The name of the node where it stands; empty before the first.
    pub(super) fn node(&self) -> &str {
        self.status.steps.last().map(|visit| visit.node.as_str()).unwrap_or_default()
    }

    /// Leaves the current step by that output and enters where it leads.
    pub(super) fn leave(&mut self, output: &str) -> Option<Standing> {
        let target = self.close(output)?;
        self.enter(&target)
    }

    /// Closes the current visit by that output; where it leads.
    fn close(&mut self, output: &str) -> Option<String> {
        let graph = self.graph()?;
        self.left_by(output);
        let node = graph.nodes.get(self.node())?;
        Some(node.target(output)?.name().to_owned())
    }

    /// Records that the current visit is over, if it is not, and how each of its partitions stands. One that nobody was asked yet
    /// to decide, since it could not be told who is, stands in no way.
    pub(super) fn left_by(&mut self, output: &str) {
        let Some(visit) = self.status.steps.last_mut().filter(|visit| visit.left_at.is_none()) else { return };
        visit.left_at = Some(Time(self.now));
        visit.output = Some(output.to_owned());
        let here = |task: &&Task| task.step == visit.node && task.visit == visit.visit && task.required > 0;
        let tasks = self.status.tasks.iter().filter(here);
        visit.partitions = tasks.map(|task| (task.partition.clone(), task.state)).collect();
    }

    /// Enters a node or a built-in end, and goes on from there.
    pub(super) fn enter(&mut self, name: &str) -> Option<Standing> {
        self.visit(name).or_else(|| self.proceed())
    }

    /// Goes on from the current node as far as the facts lead. A loop, since the path may be as long as the definition allows.
    pub(super) fn proceed(&mut self) -> Option<Standing> {
        loop {
            let graph = self.graph()?;
            let visit = self.status.steps.last().filter(|visit| visit.left_at.is_none())?;
            let output = match graph.nodes.get(&visit.node)? {
                GraphNode::End(_) => return None,
                GraphNode::Step(step) => {
                    self.set_limits();
                    if self.open_tasks(step) != Opened::Rejected {
                        return None;
                    }
                    "rejected"
                }
                GraphNode::Condition(branch) => match self.decide(branch) {
                    Ok(true) => "then",
                    Ok(false) => "else",
                    Err(Untold::Failed(why)) => {
                        let message = format!("condition {}: {why}", self.node());
                        return Some(self.fail("ConditionFailed", message));
                    }
                    Err(Untold::Stalled(why)) => {
                        let message = format!("condition {}: {why}", self.node());
                        self.stalled = Some(Stall { reason: "ExpressionFailed", message });
                        return None;
                    }
                },
                GraphNode::Execute(_) => match self.facts.object {
                    Object::Waiting => {
                        self.write_back = Some(Outcome::Approved);
                        return None;
                    }
                    Object::Held | Object::Passing => return None,
                    Object::None | Object::Decided(_) | Object::Gone(_) => "done",
                },
                // Who is told follows from this visit being on record.
                GraphNode::Notify(_) => "done",
                GraphNode::Action(act) => self.act(act)?,
            };
            let target = self.close(output)?;
            if let Some(failed) = self.visit(&target) {
                return Some(failed);
            }
        }
    }

    /// Opens a visit of a node or of a built-in end; fails when that is one too many.
    fn visit(&mut self, name: &str) -> Option<Standing> {
        let visits = self.status.steps.iter().filter(|visit| visit.node == name).count();
        let visit = u32::try_from(visits).unwrap_or(u32::MAX).saturating_add(1);
        if visit > MAX_VISITS {
            let message = format!(
                "step {name} has been entered {visits} times and would be once more; at most {MAX_VISITS} visits are allowed"
            );
            return Some(self.fail("TooManyVisits", message));
        }
        self.status.steps.push(StepVisit {
            node: name.to_owned(),
            visit,
            entered_at: Time(self.now),
            left_at: None,
            output: None,
            deadline: None,
            escalate_at: Vec::new(),
            escalated: 0,
            partitions: BTreeMap::new(),
            attempts: 0,
            retry_at: None,
            job: None,
            message: None,
        });
        self.status.step = Some(name.to_owned());
        self.judge = None;
        self.stocks.clear();
        // What kept it in the node before does not keep it here.
        self.stalled = None;
        self.activity = None;
        self.act_at = None;
        if self.graph()?.end(name) == Some(Outcome::Failed) {
            self.close_open_tasks(TaskState::Superseded);
            let message = self.told();
            return Some(self.finish(Outcome::Failed, "ActionFailed", message));
        }
        // The tasks of the last step stay at an end: they say how it was decided.
        if let Some(step) = self.graph()?.step(name) {
            let tasks = step.partitions.iter().map(|rule| Task {
                step: name.to_owned(),
                visit,
                partition: rule.name.clone(),
                state: TaskState::Open,
                approvals: 0,
                required: 0,
                rejections: 0,
                approvers: Vec::new(),
            });
            self.status.tasks = tasks.collect();
        }
        None
    }

    /// Fixes how many approvals each task of the step needs, once.
    fn open_tasks(&mut self, step: &Step) -> Opened {
        self.take_stock();
        if self.status.tasks.iter().all(|task| task.required > 0) {
            return Opened::Asking;
        }
        if let Some(why) = self.stocks.iter().find_map(Stock::failed) {
            let message = format!("step {}: {why}", self.node());
            self.stalled = Some(Stall { reason: "ExpressionFailed", message });
            return Opened::Stalled;
        }
        if let Some(why) = self.uncountable(step) {
            let message = format!("step {}: {why}", self.node());
            self.stalled = Some(Stall { reason: "QuorumUncountable", message });
            return Opened::Stalled;
        }
        for ((task, rule), stock) in self.status.tasks.iter_mut().zip(&step.partitions).zip(&self.stocks) {
            task.required = required(rule, stock.left.len());
        }
        if step.no_approvers == NoApprovers::Reject && self.stocks.iter().any(Stock::is_empty) {
            self.reject_unasked(step);
            return Opened::Rejected;
        }
        self.call_stand_ins();
        self.refresh_tasks();
        let asked: Vec<_> = self.status.tasks.iter().map(|task| asked(step, task)).collect();
        let message = format!("{}: {}", step.title, asked.join("; "));
        self.notes.push(Note { warning: false, reason: "StepOpened", message });
        Opened::Asking
    }

    /// Which partition needs all, or a share, of people of whom some cannot be listed (rule 2): a definition is checked for that,
    /// but who guarantees a role is known with the request alone, and groups may have come since.
    fn uncountable(&self, step: &Step) -> Option<String> {
        let rules = step.partitions.iter().zip(&self.stocks);
        let mut shares = rules.filter(|(rule, _)| !matches!(rule.required, Required::Number(_)));
        shares.find_map(|(rule, stock)| {
            let open = stock.everybody().find(|asked| asked.is_open())?;
            Some(format!(
                "partition {} needs all or a percentage of its approvers, and Kubernetes cannot list who is of {}; take its groups away, or have an administrator restart it on a definition with a number",
                rule.name, open.label
            ))
        })
    }

    /// Rejects the step that has just been entered.
    fn reject_unasked(&mut self, step: &Step) {
        if let Some(position) = self.stocks.iter().position(Stock::is_empty) {
            let message = format!(
                "nobody may decide {}: rejected, as the definition says",
                task_title(step, &self.status.tasks[position])
            );
            self.notes.push(Note { warning: true, reason: "NoApprovers", message });
            self.status.tasks[position].state = TaskState::Rejected;
            self.close_open_tasks(TaskState::Superseded);
        }
    }

    /// What the facts decide at a condition.
    fn decide(&self, branch: &Branch) -> Result<bool, Untold> {
        let expressions: Vec<_> = branch.test.expression().into_iter().collect();
        let votes: Vec<_> = self.status.decisions.iter().filter(|decision| decision.decision.is_vote()).collect();
        branch.test.holds(self.facts, &input(self.facts, &votes, &expressions))
    }
}
