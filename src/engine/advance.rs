//! What becomes of an instance: start it, judge its signals, move it along its edges, end it.

use super::activity::Activity;
use super::before::{newest, place};
use super::describe::{counted_message, outcome_word};
use super::eligibility::{Asked, Judge};
use super::graph::{Graph, GraphNode, Step, supplied};
use super::judge::{Judged, Reason, Vote};
use super::source::Need;
use super::stock::{Bygone, Stock, Voted};
use super::{Definition, Facts, Note, Object, Plan, Proof, Signal, Verdict};
use crate::api::{
    CountedDecision, Decision, Outcome, SignalRef, StepVisit, TaskState, WorkflowInstanceStatus, seconds,
};
use crate::directory::delegations::Substitutions;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Moves an instance as far as the facts allow. Pure and total; see [`crate::engine`].
///
/// Called again with the status that it returned, and the signals that it gave a verdict left out, it changes nothing more.
#[must_use]
pub fn advance(facts: &Facts<'_>) -> Plan {
    let mut run = Run::new(facts);
    let standing = run.advance();
    run.describe(&standing);
    run.tell_next_wakeup();
    let wake_at = run.wake_at();
    Plan {
        status: run.status,
        verdicts: run.verdicts,
        write_back: run.write_back,
        activity: run.activity,
        notes: run.notes,
        wake_at,
    }
}

/// One computation: the facts, and the status as far as it has come.
pub(super) struct Run<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) status: WorkflowInstanceStatus,
    pub(super) now: Timestamp,
    /// Who may decide in the current visit.
    pub(super) judge: Option<Judge<'a>>,
    /// Who is left to decide, one for each task.
    pub(super) stocks: Vec<Stock>,
    /// Who has voted in the current visit.
    pub(super) voted: Voted,
    /// The standing delegations, once they were needed.
    pub(super) substitutions: OnceCell<Substitutions<'a>>,
    /// Who might have decided in visits that are over, as far as it was asked.
    pub(super) bygone: RefCell<HashMap<(String, u32), Rc<Bygone<'a>>>>,
    /// The administrators, once they were needed.
    pub(super) administrators: Option<Vec<Asked>>,
    /// The place of the newest record in the order of signals.
    pub(super) newest: Option<(i64, u8, String)>,
    /// Why it cannot go on although nobody is asked.
    pub(super) stalled: Option<Stall>,
    /// The graph since a restart.
    pub(super) restarted: Option<&'a Graph>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) write_back: Option<Outcome>,
    /// What the operator is to do now.
    pub(super) activity: Option<Activity>,
    /// When an action goes on although nothing changes.
    pub(super) act_at: Option<Timestamp>,
    pub(super) notes: Vec<Note>,
}

/// What keeps an instance from going on, until the facts change.
pub(super) struct Stall {
    pub(super) reason: &'static str,
    pub(super) message: String,
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
    /// Agreed so far; the operation is carried out elsewhere, when everything about it is agreed.
    Executing,
    /// Ended now.
    Ended { outcome: Outcome, reason: &'static str, message: String },
}

impl<'a> Run<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        // A clock that goes back never makes a record go back; whole seconds, as they are stored.
        let latest =
            facts.status.steps.iter().flat_map(|step| [Some(&step.entered_at), step.left_at.as_ref()]).flatten();
        let latest = latest.map(seconds).max().unwrap_or(i64::MIN);
        let now = Timestamp::from_second(facts.now.as_second().max(latest)).unwrap_or(facts.now);
        Self {
            facts,
            status: facts.status.clone(),
            now,
            judge: None,
            stocks: Vec::new(),
            voted: Voted::default(),
            substitutions: OnceCell::new(),
            bygone: RefCell::default(),
            administrators: None,
            newest: newest(&facts.status.decisions),
            stalled: None,
            restarted: None,
            verdicts: Vec::new(),
            write_back: None,
            activity: None,
            act_at: None,
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
        } else if let Some(ended) = self.proceed() {
            return ended;
        }
        if let Proof::Broken(why) = self.facts.proof
            && self.decided().is_none()
            && (!self.facts.signals.is_empty() || self.is_due())
        {
            let message = format!("decisions wait: {why}");
            self.refresh_tasks();
            return Standing::Held { reason: "ActorUnproven", message, stalled: true };
        }
        if let Some(standing) = self.judge_all() {
            return standing;
        }
        self.refresh_tasks();
        if let Some(outcome) = self.decided() {
            return self.end(outcome);
        }
        if let Some(outcome) = self.write_back {
            return Standing::WritingBack(outcome);
        }
        let stocks_failed = self.stocks.iter().find_map(Stock::failed).map(str::to_owned);
        let failed = stocks_failed.map(|message| Stall { reason: "ExpressionFailed", message });
        match self.stalled.take().or(failed) {
            Some(Stall { reason, message }) => Standing::Held { reason, message, stalled: true },
            None if self.at_execution() => Standing::Executing,
            None => self.acting().unwrap_or(Standing::Asking),
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
                self.missing_input(graph).or_else(|| self.enter(&graph.start))
            }
        }
    }

    /// Fails an instance whose request lacks what its workflow needs: it never changes, so waiting would not help.
    pub(super) fn missing_input(&mut self, graph: &Graph) -> Option<Standing> {
        let spec = self.facts.instance.spec;
        let supplies = |need: Need| match need {
            Need::Role(super::source::RoleOf::Request) => spec.role.is_some(),
            Need::Role(super::source::RoleOf::Superior) => spec.superior_role.is_some(),
            Need::Role(super::source::RoleOf::Sub) => spec.sub_role.is_some(),
            Need::Subjects => !spec.subjects.is_empty(),
            Need::Subject => spec.subjects.len() == 1,
            Need::Process => spec.process_ref.is_some(),
        };
        let (need, place) = supplied(graph, supplies).into_iter().next()?;
        let message = format!(
            "spec.{} is missing: {place} of the workflow needs {}; create it again with that",
            need.field(),
            need.words()
        );
        Some(self.fail("InputMissing", message))
    }

    /// An object that vanished, changed or was decided elsewhere leaves nothing to decide (rule 26), unless the operation has
    /// been carried out before.
    fn object_gone(&mut self) -> Option<Standing> {
        if self.executed() {
            return None;
        }
        let decided = self.decided();
        let what = match (&self.facts.object, decided) {
            (Object::Gone(what), _) => what.clone(),
            // Its own outcome is on the object, and only the snapshot is out of reach: it waits for that, and then completes.
            (Object::Decided(_), None) if self.status.started_at.is_some() && self.graph().is_none() => return None,
            // The operation is carried out here, and has been.
            (Object::Decided(true), None) if self.at_execution() => return None,
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

    /// Judges every signal, in the order of rule 7: by second, rejections first, then what ends or changes the task, then votes,
    /// then uid. Time passes in between: what is due before a signal was made happens before it.
    fn judge_all(&mut self) -> Option<Standing> {
        if matches!(self.facts.proof, Proof::Broken(_)) {
            return None;
        }
        let mut signals: Vec<&Signal> = self.facts.signals.iter().collect();
        signals.sort_by_key(|signal| place(signal));
        signals.dedup_by_key(|signal| &signal.uid);
        // What was recorded before; each signal of the batch is another one.
        let before: HashMap<&str, &CountedDecision> =
            self.facts.status.decisions.iter().map(|decision| (decision.signal.uid.as_str(), decision)).collect();
        let mut ended = None;
        for signal in signals {
            ended = self.pass_time(signal.created_at).or(ended);
            let reference = SignalRef { name: signal.name.clone(), uid: signal.uid.clone() };
            // The decision was recorded, the verdict was not: a crash in between. What is recorded stands.
            if let Some(decision) = before.get(signal.uid.as_str()) {
                let message = counted_message(decision);
                self.verdicts.push(Verdict { signal: reference, reason: Reason::Counted, message });
                continue;
            }
            if self.must_wait(signal) {
                continue;
            }
            let then = self.before(signal).map_or(Ok(()), |before| before.judge(signal).map(|_| ()));
            let (reason, message) = match then.and_then(|()| self.judge(signal)) {
                Ok(Judged::Remark(message)) => (Reason::Counted, message),
                Ok(Judged::Vote(vote)) => {
                    let message = counted_message(&vote.decision);
                    ended = self.count(vote).or(ended);
                    (Reason::Counted, message)
                }
                Ok(Judged::Record(record)) => {
                    let message = counted_message(&record);
                    ended = self.carry_out(record).or(ended);
                    (Reason::Counted, message)
                }
                Err(refusal) => refusal,
            };
            self.verdicts.push(Verdict { signal: reference, reason, message });
        }
        self.pass_time(self.now.as_second()).or(ended)
    }

    /// Counts a vote, and leaves the step when that decides it.
    fn count(&mut self, vote: Vote) -> Option<Standing> {
        let rejections = self.rejections_of(&vote.decision);
        let task = &mut self.status.tasks[vote.task];
        let task_state = if vote.decision.decision == Decision::Approve {
            task.approvals += 1;
            (task.approvals >= task.required).then_some(TaskState::Approved)
        } else {
            task.rejections += 1;
            (task.rejections >= rejections).then_some(TaskState::Rejected)
        };
        self.status.decisions.push(vote.decision);
        self.recorded();
        self.voted();
        match task_state {
            None => {}
            Some(state) => self.status.tasks[vote.task].state = state,
        }
        if task_state == Some(TaskState::Rejected) {
            self.close_open_tasks(TaskState::Superseded);
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
        let rule = step.and_then(|step| step.partition(&decision.partition));
        rule.map_or(1, |rule| rule.rejections)
    }

    pub(super) fn close_open_tasks(&mut self, state: TaskState) {
        for task in &mut self.status.tasks {
            if task.state == TaskState::Open {
                task.state = state;
            }
        }
    }

    /// Ends a decided instance: at once when it stands for itself, or the operation is held back elsewhere or was carried out on the
    /// way, else when the outcome is seen on the object.
    fn end(&mut self, outcome: Outcome) -> Standing {
        match self.facts.object {
            Object::Waiting if !self.executed() => {
                self.write_back = Some(outcome);
                Standing::WritingBack(outcome)
            }
            _ => {
                let message = self.told();
                self.finish(outcome, "", message)
            }
        }
    }

    pub(super) fn fail(&mut self, reason: &'static str, message: String) -> Standing {
        self.stop(Outcome::Failed, reason, message)
    }

    /// Ends an instance in the middle of a step.
    pub(super) fn stop(&mut self, outcome: Outcome, reason: &'static str, message: String) -> Standing {
        self.close_open_tasks(TaskState::Superseded);
        self.left_by(&outcome.to_string().to_lowercase());
        self.write_back = None;
        self.activity = None;
        self.finish(outcome, reason, message)
    }

    pub(super) fn finish(&mut self, outcome: Outcome, reason: &'static str, message: String) -> Standing {
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
    pub(super) fn decided(&self) -> Option<Outcome> {
        let visit = self.status.steps.last()?;
        self.graph()?.end(&visit.node)
    }

    /// Whether the operation has been carried out on the way, or the instance is past the node that would have done so.
    pub(super) fn executed(&self) -> bool {
        let Some(graph) = self.graph() else { return false };
        self.status.steps.iter().any(|visit| {
            visit.output.as_deref() == Some("done")
                && matches!(graph.nodes.get(&visit.node), Some(GraphNode::Execute(_)))
        })
    }

    /// Whether it stands where the operation is carried out.
    pub(super) fn at_execution(&self) -> bool {
        let visit = self.status.steps.last().filter(|visit| visit.left_at.is_none());
        let node = visit.zip(self.graph()).and_then(|(visit, graph)| graph.nodes.get(&visit.node));
        matches!(node, Some(GraphNode::Execute(_)))
    }

    /// The open visit of a step, if people decide at the moment.
    pub(super) fn current_step(&self) -> Option<(&StepVisit, &'a Step)> {
        let visit = self.status.steps.last().filter(|visit| visit.left_at.is_none())?;
        Some((visit, self.graph()?.step(&visit.node)?))
    }

    pub(super) fn graph(&self) -> Option<&'a Graph> {
        self.restarted.or(match self.facts.definition {
            Definition::Usable { graph, .. } => Some(graph),
            _ => None,
        })
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
    use crate::api::{NameRef, Outcome, StepVisit, WorkflowInstanceSpec, WorkflowInstanceStatus};
    use crate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use std::sync::Arc;

    /// An instance that was approved and has written that to its object, but could not record that it is complete.
    fn plan(definition: Definition<'_>) -> Plan {
        let moment = |second| Timestamp::from_second(second).expect("in range");
        let visit = |node: &str, output: Option<&str>| StepVisit {
            node: node.to_owned(),
            visit: 1,
            entered_at: Time(moment(100)),
            left_at: output.map(|_| Time(moment(110))),
            output: output.map(str::to_owned),
            deadline: None,
            escalate_at: Vec::new(),
            escalated: 0,
            partitions: std::collections::BTreeMap::new(),
            attempts: 0,
            retry_at: None,
            job: None,
            message: None,
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
                namespace: "default",
                name: "request",
                uid: "uid-1",
                generation: Some(1),
                created_at: 100,
                spec: &WorkflowInstanceSpec { workflow_ref, ..WorkflowInstanceSpec::default() },
            },
            status: &status,
            definition,
            newest: None,
            signals: &[],
            recorded: &[],
            seen_until: 120,
            directory: &Arc::default(),
            settings: &Settings { administrators: Vec::new(), max_signal_age: 3600 },
            proof: &Proof::Since(0),
            object: Object::Decided(true),
            performed: None,
            now: moment(120),
        })
    }

    #[test]
    fn an_approved_instance_is_not_cancelled_because_its_snapshot_is_lost() {
        let lost = plan(Definition::Missing("the snapshot is gone".to_owned()));
        assert_eq!(lost.status.outcome, None, "it waits for the snapshot");
        let graph = crate::engine::graph::Graph {
            title: None,
            names: std::collections::BTreeMap::new(),
            notifications: Vec::new(),
            start: "check".to_owned(),
            nodes: std::collections::BTreeMap::new(),
        };
        let restored = plan(Definition::Usable { graph: &graph, revision: "workflow-1" });
        assert_eq!(restored.status.outcome, Some(Outcome::Approved));
    }
}
