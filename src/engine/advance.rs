//! What becomes of an instance: start it, judge its signals, move it along its edges, say where it stands.

use super::eligibility::{Judge, required};
use super::graph::{Graph, GraphNode, Step};
use super::judge::{Reason, Vote};
use super::{Definition, Facts, Note, Object, Plan, Proof, Signal, Verdict};
use crate::api::{
    ApproverSummary, CountedDecision, Decision, NoApprovers, Outcome, Says, SignalRef, StepVisit, Task, TaskState,
    WorkflowInstanceStatus, condition, seconds, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeSet;

/// More visits of one node than this end an instance as Failed (rule 11).
const MAX_VISITS: u32 = 20;

/// Moves an instance as far as the facts allow. Pure and total; see [`crate::engine`].
///
/// Called again with the status that it returned, and the signals that it gave a verdict left out, it changes nothing more.
#[must_use]
pub fn advance(facts: &Facts<'_>) -> Plan {
    let mut run = Run::new(facts);
    let standing = run.advance();
    run.describe(standing);
    Plan { status: run.status, verdicts: run.verdicts, write_back: run.write_back, notes: run.notes }
}

/// One computation: the facts, and the status as far as it has come.
pub(super) struct Run<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) status: WorkflowInstanceStatus,
    pub(super) now: Timestamp,
    stocks: Vec<Stock>,
    verdicts: Vec<Verdict>,
    write_back: Option<Outcome>,
    notes: Vec<Note>,
}

/// Who is left to decide a task.
struct Stock {
    /// Listed people who have not decided in this visit.
    left: BTreeSet<String>,
    /// Whether a source cannot be listed.
    open: bool,
    /// The sources, for the status.
    summary: Vec<ApproverSummary>,
    /// The administrators, where they stand in.
    stand_in: Option<StandIn>,
}

impl Stock {
    fn is_empty(&self) -> bool {
        !self.open && self.left.is_empty()
    }
}

struct StandIn {
    left: BTreeSet<String>,
    open: bool,
    summary: Vec<ApproverSummary>,
}

/// Where the instance stands, for its conditions.
enum Standing {
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
            if let Some(stand_in) = &mut stock.stand_in {
                stand_in.left.remove(&person);
            }
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

    /// Resolves who may decide the open tasks of the current visit.
    fn take_stock(&mut self) {
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
    fn call_stand_ins(&mut self) {
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
    fn refresh_tasks(&mut self) {
        for (task, stock) in self.status.tasks.iter_mut().zip(&self.stocks) {
            if task.state == TaskState::Open {
                task.approvers.clone_from(&stock.summary);
                task.approvers.extend(stock.stand_in.iter().flat_map(|stand_in| stand_in.summary.iter().cloned()));
            }
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

    /// How the last decided step was decided, in a sentence. Never what somebody commented.
    fn told(&self) -> String {
        let Some(visit) = self.status.steps.iter().rev().find(|visit| visit.output.is_some()) else {
            return String::new();
        };
        let deciders = |wanted| {
            let decisions = self
                .status
                .decisions
                .iter()
                .filter(|decision| decision.step == visit.node && decision.visit == visit.visit);
            decisions
                .filter(|decision| decision.decision == wanted)
                .map(|decision| decision.actor.as_str())
                .collect::<Vec<_>>()
        };
        let (verb, people) = if visit.output.as_deref() == Some("approved") {
            ("approved", deciders(Decision::Approve))
        } else {
            ("rejected", deciders(Decision::Reject))
        };
        match people.as_slice() {
            [] => format!("step {} {verb}", visit.node),
            people if people.len() > 10 => {
                format!("step {} {verb} by {} and {} more", visit.node, people[..10].join(", "), people.len() - 10)
            }
            people => format!("step {} {verb} by {}", visit.node, people.join(", ")),
        }
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

    /// Says in title, waiting and conditions where the instance stands.
    fn describe(&mut self, standing: Standing) {
        if matches!(standing, Standing::Unchanged) {
            return;
        }
        let open = |status: &'static str| (status, "Undecided");
        let asking = self.waiting();
        let (completed, approved, progress, stalled, message) = match &standing {
            Standing::Unchanged => return,
            Standing::Held { reason, message, stalled } => {
                (("False", *reason), open("Unknown"), Some(*reason), stalled.then_some(*reason), message.clone())
            }
            Standing::Asking => {
                let stalled = self.unreachable().is_some().then_some("QuorumUnreachable");
                let message = self.unreachable().unwrap_or_else(|| self.asking_message());
                (("False", "WaitingForApproval"), open("Unknown"), Some("WaitingForApproval"), stalled, message)
            }
            Standing::WritingBack(outcome) => {
                let message = format!("{}; the outcome is being written to the object", self.told());
                let decided = approved_status(*outcome);
                (("False", "WritingBack"), (decided, outcome_word(*outcome)), Some("WritingBack"), None, message)
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
            if only && task.partition == super::graph::DEFAULT_PARTITION {
                count
            } else {
                format!("{} {count}", task.partition)
            }
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
            let stand_in = stock.stand_in.as_ref().filter(|stand_in| !stand_in.open && task.state == TaskState::Open)?;
            let left = stock.left.len() + stand_in.left.len();
            let missing = task.required.checked_sub(reachable(task, left)).filter(|missing| *missing > 0)?;
            Some(format!(
                "{} needs {} approvals, has {}, and only {left} more may decide, administrators included: {missing} too few; add members to its sources",
                task_title(step, task), task.required, task.approvals
            ))
        })
    }
}

/// How many approvals a task can still come to when so many people are left.
fn reachable(task: &Task, left: usize) -> u32 {
    u32::try_from(left).unwrap_or(u32::MAX).saturating_add(task.approvals)
}

fn task_title(step: &Step, task: &Task) -> String {
    if step.partitions.len() == 1 {
        format!("step {}", task.step)
    } else {
        format!("partition {} of step {}", task.partition, task.step)
    }
}

/// Who is asked for how much, e.g. `1 of 2 approvals, from group enrollment-approvers`.
fn asked(step: &Step, task: &Task) -> String {
    let from: Vec<_> = task.approvers.iter().map(|approvers| approvers.source.as_str()).collect();
    let counts = format!("{} of {} approvals, from {}", task.approvals, task.required, from.join(", "));
    if step.partitions.len() == 1 { counts } else { format!("{} {counts}", task.partition) }
}

fn counted_message(decision: &CountedDecision) -> String {
    let verb = match decision.decision {
        Decision::Approve => "approval",
        Decision::Reject => "rejection",
    };
    format!(
        "{verb} of {} counted for partition {} of step {}, visit {}, through {}",
        decision.actor, decision.partition, decision.step, decision.visit, decision.through
    )
}

fn approved_status(outcome: Outcome) -> &'static str {
    if outcome == Outcome::Approved { "True" } else { "False" }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approved => "Approved",
        Outcome::Rejected => "Rejected",
        Outcome::Expired => "Expired",
        Outcome::Cancelled => "Cancelled",
        Outcome::Failed => "Failed",
    }
}
