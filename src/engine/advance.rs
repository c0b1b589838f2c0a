//! What becomes of an instance: start it, judge its signals, move it along its edges, end it.

use super::describe::{asked, counted_message, outcome_word, task_title};
use super::eligibility::{Judge, required};
use super::graph::{Graph, GraphNode, Step};
use super::judge::{Reason, Vote};
use super::stock::Stock;
use super::{Definition, Facts, Note, Object, Plan, Proof, Signal, Verdict};
use crate::api::{
    CountedDecision, Decision, NoApprovers, Outcome, SignalRef, StepVisit, Task, TaskState, WorkflowInstanceStatus,
    seconds,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// More visits of one node than this end an instance as Failed (rule 11).
const MAX_VISITS: u32 = 20;

/// Moves an instance as far as the facts allow. Pure and total; see [`crate::engine`].
///
/// Called again with the status that it returned, and the signals that it gave a verdict left out, it changes nothing more.
#[must_use]
pub fn advance(facts: &Facts<'_>) -> Plan {
    let mut run = Run::new(facts);
    let standing = run.advance();
    run.describe(&standing);
    Plan { status: run.status, verdicts: run.verdicts, write_back: run.write_back, notes: run.notes }
}

/// One computation: the facts, and the status as far as it has come.
pub(super) struct Run<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) status: WorkflowInstanceStatus,
    pub(super) now: Timestamp,
    pub(super) stocks: Vec<Stock>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) write_back: Option<Outcome>,
    pub(super) notes: Vec<Note>,
}

/// Where the instance stands, for its conditions.
pub(super) enum Standing {
    /// It ended in an earlier computation: nothing is said anew.
    Unchanged,
    /// It cannot start yet, or cannot go on: why.
    Held { reason: &'static str, message: String, stalled: bool },
    /// People are asked.
    Asking,
    /// Decided; the outcome is to be seen on the object.
    WritingBack(Outcome),
    /// Ended now.
    Ended { outcome: Outcome, reason: &'static str, message: String },
}

impl<'a> Run<'a> {
    fn new(facts: &'a Facts<'a>) -> Self {
        // A clock that goes back never makes a record go back; whole seconds, as they are stored.
        let latest =
            facts.status.steps.iter().flat_map(|step| [Some(&step.entered_at), step.left_at.as_ref()]).flatten();
        let latest = latest.map(seconds).max().unwrap_or(i64::MIN);
        let now = Timestamp::from_second(facts.now.as_second().max(latest)).unwrap_or(facts.now);
        Self {
            facts,
            status: facts.status.clone(),
            now,
            stocks: Vec::new(),
            verdicts: Vec::new(),
            write_back: None,
            notes: Vec::new(),
        }
    }

    fn advance(&mut self) -> Standing {
        if self.status.outcome.is_some() {
            self.judge_all();
            return Standing::Unchanged;
        }
        if let Some(standing) = self.object_gone() {
            return standing;
        }
        if self.status.started_at.is_none() {
            if let Some(standing) = self.start() {
                return standing;
            }
        } else if let Some(why) = self.facts.definition.unusable() {
            return Standing::Held { reason: "RevisionUnusable", message: why, stalled: true };
        }
        self.take_stock();
        if let Proof::Broken(why) = self.facts.proof
            && !self.facts.signals.is_empty()
            && self.decided().is_none()
        {
            let message = format!("decisions wait: {why}");
            self.refresh_tasks();
            return Standing::Held { reason: "ActorUnproven", message, stalled: true };
        }
        if let Some(standing) = self.judge_all() {
            return standing;
        }
        self.refresh_tasks();
        match self.decided() {
            None => Standing::Asking,
            Some(outcome) => self.end(outcome),
        }
    }

    /// Starts the instance, or says why it waits or fails.
    fn start(&mut self) -> Option<Standing> {
        let instance = &self.facts.instance;
        let held = |reason, message| Some(Standing::Held { reason, message, stalled: false });
        match self.facts.proof {
            Proof::Broken(why) => {
                return held("ActorUnproven", format!("starts as soon as its initiator can be proven: {why}"));
            }
            Proof::Since(since) if instance.created_at <= *since => {
                let message = "the admission policy that proves the initiator was not provably in force when this was created; create it again";
                return Some(self.fail("InitiatorUnproven", message.to_owned()));
            }
            Proof::Since(_) => {}
        }
        if instance.spec.initiator.is_none() {
            let message = "spec.initiator is missing, so nobody asked for this; create it again";
            return Some(self.fail("InitiatorUnproven", message.to_owned()));
        }
        match &self.facts.definition {
            Definition::Missing(why) => held("DefinitionNotFound", why.clone()),
            Definition::Faulty { .. } => {
                held("DefinitionNotReady", self.facts.definition.unusable().unwrap_or_default())
            }
            Definition::Usable { graph, revision } => {
                self.status.title = instance.spec.title.clone().or_else(|| graph.title.clone());
                self.status.revision = Some((*revision).to_owned());
                self.status.started_at = Some(Time(self.now));
                self.enter(&graph.start)
            }
        }
    }

    /// An object that vanished, changed or was decided elsewhere leaves nothing to decide (rule 26).
    fn object_gone(&mut self) -> Option<Standing> {
        let decided = self.decided();
        let what = match (&self.facts.object, decided) {
            (Object::Gone(what), _) => what.clone(),
            // Its own outcome is on the object, and only the snapshot is out of reach: it waits for that, and then completes.
            (Object::Decided(_), None) if self.status.started_at.is_some() && self.graph().is_none() => return None,
            (Object::Decided(approved), None) => {
                format!("the object was {} before this was decided", if *approved { "approved" } else { "denied" })
            }
            (Object::Decided(approved), Some(outcome)) if *approved != (outcome == Outcome::Approved) => {
                format!(
                    "the object was {} although this ended {outcome}",
                    if *approved { "approved" } else { "denied" }
                )
            }
            _ => return None,
        };
        Some(self.stop(Outcome::Cancelled, "ObjectGone", what))
    }

    /// Judges every signal, in the order of rule 7: by second, rejections first, then uid.
    fn judge_all(&mut self) -> Option<Standing> {
        if matches!(self.facts.proof, Proof::Broken(_)) {
            return None;
        }
        let mut signals: Vec<&Signal> = self.facts.signals.iter().collect();
        signals.sort_by_key(|signal| (signal.created_at, signal.spec.decision != Decision::Reject, &signal.uid));
        signals.dedup_by_key(|signal| &signal.uid);
        let mut ended = None;
        for signal in signals {
            let reference = SignalRef { name: signal.name.clone(), uid: signal.uid.clone() };
            // The decision was recorded, the verdict was not: a crash in between. What is recorded stands.
            if let Some(decision) = self.status.decisions.iter().find(|decision| decision.signal.uid == signal.uid) {
                let message = counted_message(decision);
                self.verdicts.push(Verdict { signal: reference, reason: Reason::Counted, message });
                continue;
            }
            let (reason, message) = match self.judge(signal) {
                Ok(vote) => {
                    let message = counted_message(&vote.decision);
                    ended = self.count(vote).or(ended);
                    (Reason::Counted, message)
                }
                Err(refusal) => refusal,
            };
            self.verdicts.push(Verdict { signal: reference, reason, message });
        }
        ended
    }

    /// Counts a vote, and leaves the step when that decides it.
    fn count(&mut self, vote: Vote) -> Option<Standing> {
        let person = self.eligibility().person(&vote.decision.actor);
        for stock in &mut self.stocks {
            stock.left.remove(&person);
        }
        let rejections = self.rejections_of(&vote.decision);
        let task = &mut self.status.tasks[vote.task];
        let task_state = match vote.decision.decision {
            Decision::Approve => {
                task.approvals += 1;
                (task.approvals >= task.required).then_some(TaskState::Approved)
            }
            Decision::Reject => {
                task.rejections += 1;
                (task.rejections >= rejections).then_some(TaskState::Rejected)
            }
        };
        self.status.decisions.push(vote.decision);
        let task = &mut self.status.tasks[vote.task];
        match task_state {
            None => {
                self.call_stand_ins();
                return None;
            }
            Some(state) => task.state = state,
        }
        if task_state == Some(TaskState::Rejected) {
            self.supersede_open_tasks();
            return self.leave("rejected");
        }
        if self.status.tasks.iter().all(|task| task.state == TaskState::Approved) {
            return self.leave("approved");
        }
        self.call_stand_ins();
        None
    }

    /// How many rejections reject the partition of this decision.
    fn rejections_of(&self, decision: &CountedDecision) -> u32 {
        let step = self.graph().and_then(|graph| graph.step(&decision.step));
        let rule = step.and_then(|step| step.partitions.iter().find(|rule| rule.name == decision.partition));
        rule.map_or(1, |rule| rule.rejections)
    }

    /// Leaves the current step by that output and enters where it leads.
    fn leave(&mut self, output: &str) -> Option<Standing> {
        let target = self.close(output)?;
        self.enter(&target)
    }

    /// Closes the current visit by that output; where it leads.
    fn close(&mut self, output: &str) -> Option<String> {
        let graph = self.graph()?;
        let visit = self.status.steps.last_mut()?;
        visit.left_at = Some(Time(self.now));
        visit.output = Some(output.to_owned());
        let step = graph.step(&visit.node)?;
        let target = if output == "approved" { &step.approved } else { &step.rejected };
        Some(target.name().to_owned())
    }

    /// Enters a node or a built-in end. A step that is over at once leads on: a loop, since the path may be as long as the
    /// definition allows.
    fn enter(&mut self, name: &str) -> Option<Standing> {
        let mut name = name.to_owned();
        loop {
            if let Some(failed) = self.open(&name) {
                return Some(failed);
            }
            if !self.nobody_to_ask() {
                return None;
            }
            name = self.close("rejected")?;
        }
    }

    /// Opens a visit of a node or of a built-in end; fails when that is one too many.
    fn open(&mut self, name: &str) -> Option<Standing> {
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
        });
        self.status.step = Some(name.to_owned());
        self.stocks.clear();
        let graph = self.graph()?;
        let Some(GraphNode::Step(step)) = graph.nodes.get(name) else {
            // The tasks of the last step stay: they say how it was decided.
            return None;
        };
        self.status.tasks = step
            .partitions
            .iter()
            .map(|rule| Task {
                step: name.to_owned(),
                visit,
                partition: rule.name.clone(),
                state: TaskState::Open,
                approvals: 0,
                required: 0,
                rejections: 0,
                approvers: Vec::new(),
            })
            .collect();
        self.take_stock();
        for ((task, rule), stock) in self.status.tasks.iter_mut().zip(&step.partitions).zip(&self.stocks) {
            task.required = required(rule, stock.left.len());
        }
        if self.nobody_to_ask() {
            self.reject_unasked(step);
            return None;
        }
        self.call_stand_ins();
        self.refresh_tasks();
        let asked: Vec<_> = self.status.tasks.iter().map(|task| asked(step, task)).collect();
        self.notes.push(Note {
            warning: false,
            reason: "StepOpened",
            message: format!("{}: {}", step.title, asked.join("; ")),
        });
        None
    }

    /// Whether the definition rejects the current step because nobody may decide one of its partitions as it is entered.
    fn nobody_to_ask(&self) -> bool {
        let rejects = self.current_step().is_some_and(|(_, step)| step.no_approvers == NoApprovers::Reject);
        rejects && self.stocks.iter().any(Stock::is_empty)
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
            self.supersede_open_tasks();
        }
    }

    fn supersede_open_tasks(&mut self) {
        for task in &mut self.status.tasks {
            if task.state == TaskState::Open {
                task.state = TaskState::Superseded;
            }
        }
    }

    /// Ends a decided instance: at once when it stands for itself, else when the outcome is seen on the object.
    fn end(&mut self, outcome: Outcome) -> Standing {
        match self.facts.object {
            Object::Waiting => {
                self.write_back = Some(outcome);
                Standing::WritingBack(outcome)
            }
            Object::None | Object::Decided(_) | Object::Gone(_) => {
                let message = self.told();
                self.finish(outcome, "", message)
            }
        }
    }

    fn fail(&mut self, reason: &'static str, message: String) -> Standing {
        self.stop(Outcome::Failed, reason, message)
    }

    /// Ends an instance in the middle of a step.
    fn stop(&mut self, outcome: Outcome, reason: &'static str, message: String) -> Standing {
        if let Some(visit) = self.status.steps.last_mut()
            && visit.left_at.is_none()
        {
            visit.left_at = Some(Time(self.now));
            visit.output = Some(outcome.to_string().to_lowercase());
        }
        self.supersede_open_tasks();
        self.finish(outcome, reason, message)
    }

    fn finish(&mut self, outcome: Outcome, reason: &'static str, message: String) -> Standing {
        self.status.outcome = Some(outcome);
        self.status.completed_at = Some(Time(self.now));
        self.stocks.clear();
        let reason = if reason.is_empty() { outcome_word(outcome) } else { reason };
        self.notes.push(Note {
            warning: !matches!(outcome, Outcome::Approved | Outcome::Rejected),
            reason: outcome_word(outcome),
            message: message.clone(),
        });
        Standing::Ended { outcome, reason, message }
    }

    /// The outcome of the end that the instance has reached, if it has.
    fn decided(&self) -> Option<Outcome> {
        let visit = self.status.steps.last()?;
        self.graph()?.end(&visit.node)
    }

    /// The open visit of a step, if people decide at the moment.
    pub(super) fn current_step(&self) -> Option<(&StepVisit, &'a Step)> {
        let visit = self.status.steps.last().filter(|visit| visit.left_at.is_none())?;
        Some((visit, self.graph()?.step(&visit.node)?))
    }

    pub(super) fn graph(&self) -> Option<&'a Graph> {
        match self.facts.definition {
            Definition::Usable { graph, .. } => Some(graph),
            _ => None,
        }
    }

    pub(super) fn eligibility(&self) -> Judge<'a> {
        Judge {
            request: self.facts.instance.spec,
            directory: self.facts.directory,
            administrators: &self.facts.settings.administrators,
            now: self.facts.now,
        }
    }

    /// The second from which signals may mean this visit: the first one is open from the creation of the instance on.
    pub(super) fn open_since(&self, visit: &StepVisit) -> i64 {
        let first =
            self.status.steps.first().is_some_and(|first| first.node == visit.node && first.visit == visit.visit);
        if first { self.facts.instance.created_at } else { seconds(&visit.entered_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::advance;
    use crate::api::{ApproverSource, NameRef, Outcome, StepVisit, WorkflowInstanceSpec, WorkflowInstanceStatus};
    use crate::directory::Snapshot;
    use crate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    /// An instance that was approved and has written that to its object, but could not record that it is complete.
    fn plan(definition: Definition<'_>) -> Plan {
        let moment = |second| Timestamp::from_second(second).expect("in range");
        let visit = |node: &str, output: Option<&str>| StepVisit {
            node: node.to_owned(),
            visit: 1,
            entered_at: Time(moment(100)),
            left_at: output.map(|_| Time(moment(110))),
            output: output.map(str::to_owned),
        };
        let status = WorkflowInstanceStatus {
            revision: Some("workflow-1".to_owned()),
            started_at: Some(Time(moment(100))),
            steps: vec![visit("check", Some("approved")), visit("Approved", None)],
            ..WorkflowInstanceStatus::default()
        };
        let workflow_ref = Some(NameRef { name: "any".to_owned() });
        advance(&Facts {
            instance: Instance {
                name: "request",
                uid: "uid-1",
                generation: Some(1),
                created_at: 100,
                spec: &WorkflowInstanceSpec { workflow_ref, ..WorkflowInstanceSpec::default() },
            },
            status: &status,
            definition,
            signals: &[],
            directory: &Snapshot::default(),
            settings: &Settings { administrators: Vec::<ApproverSource>::new(), max_signal_age: 3600 },
            proof: &Proof::Since(0),
            object: Object::Decided(true),
            now: moment(120),
        })
    }

    #[test]
    fn an_approved_instance_is_not_cancelled_because_its_snapshot_is_lost() {
        let lost = plan(Definition::Missing("the snapshot is gone".to_owned()));
        assert_eq!(lost.status.outcome, None, "it waits for the snapshot");
        let graph = crate::engine::graph::Graph {
            title: None,
            start: "check".to_owned(),
            nodes: std::collections::BTreeMap::new(),
        };
        let restored = plan(Definition::Usable { graph: &graph, revision: "workflow-1" });
        assert_eq!(restored.status.outcome, Some(Outcome::Approved));
    }
}
