//! What becomes of one signal. It is judged once; later facts change nothing about it (rule 7).

use super::advance::Run;
use super::eligibility::Denied;
use super::graph::Step;
use super::handover::Title;
use super::{Object, Proof, Refusal, Signal, fields};
use crate::api::{Actor, CountedDecision, Decision, RequireComment, StepVisit, Task, TaskState, seconds};
use std::fmt;

/// The verdict in one word, as `status.reason` of a signal says it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// It counted.
    Counted,
    /// No source names the actor.
    NotAnApprover,
    /// The actor asked, or it is about them.
    SelfApproval,
    /// The actor decided in a step that this one is separate from.
    SeparationOfDuties,
    /// The process or the request excludes the actor.
    Excluded,
    /// The actor's Identity is inactive, not valid now, or contested.
    InactiveIdentity,
    /// The actor handed the task over.
    HandedOver,
    /// The task cannot be handed over to that person.
    DelegateRefused,
    /// A field is missing or wrong.
    FieldInvalid,
    /// It takes a right that the actor does not have.
    NotAllowed,
    /// Nothing failed that could be tried again.
    NothingToRetry,
    /// The newest definition cannot be run on.
    DefinitionNotReady,
    /// The actor has decided in this visit of the step.
    AlreadyDecided,
    /// What it decides is decided.
    StepClosed,
    /// The step has not opened yet.
    StepNotOpen,
    /// The definition has no such step.
    UnknownStep,
    /// The step has no such partition.
    UnknownPartition,
    /// It could mean several tasks.
    Ambiguous,
    /// A comment is needed.
    CommentRequired,
    /// There is no such instance.
    InstanceNotFound,
    /// It was made for another instance of that name.
    InstanceReplaced,
    /// It was made too long ago.
    TooOld,
    /// The API server did not provably prove who sent it.
    ActorUnproven,
}

impl Reason {
    /// Whether the signal counted.
    #[must_use]
    pub fn counted(self) -> bool {
        self == Self::Counted
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a signal that counts comes to.
pub(super) enum Judged {
    /// A vote.
    Vote(Vote),
    /// Something else that is recorded.
    Record(CountedDecision),
    /// Nothing but a remark: what its verdict says.
    Remark(String),
}

/// A vote for a task.
pub(super) struct Vote {
    /// The position of the task in the status.
    pub task: usize,
    /// The record that counts.
    pub decision: CountedDecision,
}

impl Run<'_> {
    /// Judges one signal against the state of this moment.
    pub(super) fn judge(&self, signal: &Signal) -> Result<Judged, Refusal> {
        let actor = self.proven_actor(signal)?;
        self.same_instance(signal)?;
        if signal.spec.decision == Decision::Comment {
            self.judge_comment(signal, actor)?;
            return Ok(Judged::Remark(format!("comment of {} noted", actor.username)));
        }
        if let Some(outcome) = self.status.outcome {
            return Err((Reason::StepClosed, format!("{} is finished: {outcome}", self.facts.instance.name)));
        }
        // Another replica may be carrying it out at this very moment. What is held back and was not let through yet can be taken back.
        let taken_back =
            matches!(signal.spec.decision, Decision::Cancel | Decision::Stop) && self.facts.object == Object::Held;
        let carried_out = self.at_execution() && signal.spec.decision != Decision::Retry && !taken_back;
        if self.decided().is_some() || carried_out {
            return Err(self.carried_out());
        }
        match signal.spec.decision {
            Decision::Approve | Decision::Reject => self.judge_vote(signal, actor).map(Judged::Vote),
            Decision::Delegate => self.judge_delegate(signal, actor).map(Judged::Record),
            Decision::Cancel => self.judge_cancel(signal, actor).map(Judged::Record),
            _ => self.judge_administrator(signal, actor).map(Judged::Record),
        }
    }

    fn carried_out(&self) -> Refusal {
        let message = format!("{} has been decided, its outcome is being carried out", self.facts.instance.name);
        (Reason::StepClosed, message)
    }

    /// Why nothing can be decided while no step is open: a condition cannot be told.
    fn nothing_open(&self, signal: &Signal) -> Refusal {
        let left = |named: &String| self.status.steps.iter().any(|visit| visit.node == *named);
        match &signal.spec.step {
            Some(named) if left(named) => (Reason::StepClosed, format!("step {named} is decided")),
            _ => (Reason::StepNotOpen, format!("no step of {} is open at the moment", self.facts.instance.name)),
        }
    }

    fn judge_vote(&self, signal: &Signal, actor: &Actor) -> Result<Vote, Refusal> {
        let (visit, step, task, title) = self.task_of(signal, actor)?;
        let partition = &self.status.tasks[task].partition;
        if let Some(rule) = step.partition(partition) {
            fields::accept(partition, &rule.fields, signal.spec.decision, &signal.spec.fields)
                .map_err(|why| (Reason::FieldInvalid, why))?;
        }
        comment_given(signal, step, &visit.node)?;
        Ok(Vote { task, decision: self.record_for(signal, actor, visit, task, title) })
    }

    fn judge_delegate(&self, signal: &Signal, actor: &Actor) -> Result<CountedDecision, Refusal> {
        // Whoever takes a task back does not hold it at the moment.
        let taken_back = self.taken_back(signal, actor);
        let (visit, _, task, title) = match taken_back {
            Some((visit, step, task, title)) => (visit, step, task, title),
            None => self.task_of(signal, actor)?,
        };
        let record = self.record_for(signal, actor, visit, task, title);
        self.hand_over(signal, visit, record)
    }

    fn record_for(
        &self,
        signal: &Signal,
        actor: &Actor,
        visit: &StepVisit,
        task: usize,
        title: Title,
    ) -> CountedDecision {
        let principal = title.on_behalf_of.as_deref();
        CountedDecision {
            partition: self.status.tasks[task].partition.clone(),
            through: title.through,
            on_behalf_of_identity: principal
                .and_then(|principal| self.facts.directory.identity_of(principal))
                .map(str::to_owned),
            on_behalf_of: title.on_behalf_of,
            ..self.record(signal, actor, Some(visit))
        }
    }

    /// The task that the actor handed over and now takes back, if that is what the signal says.
    fn taken_back(&self, signal: &Signal, actor: &Actor) -> Option<(&StepVisit, &Step, usize, Title)> {
        let to = self.facts.directory.resolve(signal.spec.delegate_to.as_deref()?);
        let out = self.judge.as_ref().is_some_and(|judge| judge.out(&actor.username).is_some());
        if out || !self.facts.directory.same_person(to, &actor.username) || self.vote_of(&actor.username).is_some() {
            return None;
        }
        let (visit, step) = self.current_step()?;
        self.names_current_step(signal, visit).ok()?;
        let person = self.facts.directory.person(&actor.username);
        self.status.tasks.iter().enumerate().find_map(|(position, task)| {
            let meant = signal.spec.partition.as_ref().is_none_or(|named| *named == task.partition);
            let handover = self.handovers(visit, &task.partition).remove(&person);
            let handover = handover.filter(|_| meant && task.state == TaskState::Open)?;
            Some((visit, step, position, Title { through: handover.through, on_behalf_of: None }))
        })
    }

    /// The task that a signal is about, and the right by which its actor may decide it.
    pub(super) fn task_of(&self, signal: &Signal, actor: &Actor) -> Result<(&StepVisit, &Step, usize, Title), Refusal> {
        let Some((visit, step)) = self.current_step() else {
            return Err(self.nothing_open(signal));
        };
        self.names_current_step(signal, visit)?;
        self.earlier_visits_excluded(signal, visit, actor)?;
        if let Some(vote) = self.vote_of(&actor.username) {
            return Err(self.decided_before(vote, visit, &actor.username));
        }
        let (task, title) = self.only_task(signal, visit, step, actor)?;
        if let Some(vote) = self.vote_alike(&actor.username) {
            let message = format!(
                "{0} looks like {1}, who decided this visit of step {2} ({3}); if they are two people, give each an Identity",
                actor.username, vote.actor, visit.node, vote.signal.name
            );
            return Err((Reason::AlreadyDecided, message));
        }
        Ok((visit, step, task, title))
    }

    /// That somebody's one vote was given, by whom and how.
    pub(super) fn decided_before(&self, vote: &CountedDecision, visit: &StepVisit, username: &str) -> Refusal {
        let decided = if self.facts.directory.same_person(&vote.actor, username) {
            format!("{username} decided")
        } else {
            format!("{} decided for {username}", vote.actor)
        };
        let (step, decision, signal) = (&visit.node, vote.decision, &vote.signal.name);
        (Reason::AlreadyDecided, format!("{decided} this visit of step {step} before: {decision:?} ({signal})"))
    }

    /// The actor, if the API server provably proved them and the signal is not too old (rules 7, 8).
    fn proven_actor<'s>(&self, signal: &'s Signal) -> Result<&'s Actor, Refusal> {
        if let Proof::Since(since) = self.facts.proof
            && signal.created_at <= *since
        {
            let message = "the admission policy that proves the sender was not provably in force when this was sent; send it again";
            return Err((Reason::ActorUnproven, message.to_owned()));
        }
        let Some(actor) = &signal.spec.actor else {
            return Err((Reason::ActorUnproven, "spec.actor is missing, so nobody sent it; send it again".to_owned()));
        };
        let age = self.facts.now.as_second().saturating_sub(signal.created_at);
        if age > self.facts.settings.max_signal_age {
            let message = format!(
                "it is {age} s old and at most {} s are allowed; send it again",
                self.facts.settings.max_signal_age
            );
            return Err((Reason::TooOld, message));
        }
        Ok(actor)
    }

    /// A signal means the instance that had the name when it was made (rule 11).
    fn same_instance(&self, signal: &Signal) -> Result<(), Refusal> {
        let instance = &self.facts.instance;
        match &signal.spec.instance_uid {
            Some(uid) if uid != instance.uid => {
                let message = format!(
                    "spec.instanceUID is {uid}, but {} is {} now: another instance of that name",
                    instance.name, instance.uid
                );
                Err((Reason::InstanceReplaced, message))
            }
            _ if signal.created_at < instance.created_at => {
                let message =
                    format!("it is older than {}: it was made for an earlier instance of that name", instance.name);
                Err((Reason::InstanceReplaced, message))
            }
            _ => Ok(()),
        }
    }

    /// The step and visit that the signal names, if it names any, are the ones that are open.
    pub(super) fn names_current_step(&self, signal: &Signal, visit: &StepVisit) -> Result<(), Refusal> {
        if let Some(named) = &signal.spec.step
            && *named != visit.node
        {
            return Err(if self.graph().and_then(|graph| graph.step(named)).is_none() {
                let steps = self.graph().map(super::graph::Graph::step_names).unwrap_or_default();
                (Reason::UnknownStep, format!("spec.step: there is no step {named}; steps are {steps}"))
            } else if self.status.steps.iter().any(|earlier| earlier.node == *named) {
                (Reason::StepClosed, format!("step {named} is decided; step {} is open", visit.node))
            } else {
                (Reason::StepNotOpen, format!("step {named} has not opened yet; step {} is open", visit.node))
            });
        }
        match signal.spec.visit {
            Some(named) if named < visit.visit => Err((
                Reason::StepClosed,
                format!("visit {named} of step {} is over; visit {} is open", visit.node, visit.visit),
            )),
            Some(named) if named > visit.visit => {
                Err((Reason::StepNotOpen, format!("step {} is at visit {}, not {named}", visit.node, visit.visit)))
            }
            _ if signal.created_at < self.open_since(visit) => {
                let message = format!(
                    "it is older than visit {} of step {}: it was made for something decided since",
                    visit.visit, visit.node
                );
                Err((Reason::StepClosed, message))
            }
            _ => self.closed_after(signal, visit),
        }
    }

    /// creationTimestamp tells seconds: a signal made in the second in which an earlier step was left may mean that step. It
    /// counts here only if its actor could not have meant the other (rule 11).
    fn earlier_visits_excluded(&self, signal: &Signal, visit: &StepVisit, actor: &Actor) -> Result<(), Refusal> {
        let names_visit = signal.spec.visit.is_some() && signal.spec.step.is_some();
        let candidates: Vec<_> = self
            .status
            .steps
            .iter()
            .filter(|earlier| !(earlier.node == visit.node && earlier.visit == visit.visit))
            .filter(|earlier| earlier.left_at.as_ref().is_some_and(|left| signal.created_at <= seconds(left)))
            .filter(|earlier| signal.created_at >= self.open_since(earlier))
            .filter(|earlier| signal.spec.step.as_ref().is_none_or(|step| *step == earlier.node))
            .filter(|earlier| signal.spec.visit.is_none_or(|number| number == earlier.visit))
            .filter(|earlier| self.could_have_decided(earlier, signal, actor))
            .map(|earlier| format!("{} (visit {})", earlier.node, earlier.visit))
            .collect();
        if names_visit || candidates.is_empty() {
            return Ok(());
        }
        let message = format!(
            "it was made in the second in which {} closed and {} (visit {}) opened, and {} may decide either; say spec.step and spec.visit",
            candidates.join(", "),
            visit.node,
            visit.visit,
            actor.username
        );
        Err((Reason::Ambiguous, message))
    }

    /// Whether the actor could have meant that visit. Having voted there is no excuse: a second click means the same step as the
    /// first. Nor is it known any more whether the administrators stood in.
    fn could_have_decided(&self, visit: &StepVisit, signal: &Signal, actor: &Actor) -> bool {
        let meant = |partition: &str| signal.spec.partition.as_deref().is_none_or(|named| named == partition);
        self.might_decide(visit, actor, &signal.rights, meant)
    }

    /// Whether a task was open in that second.
    fn was_open(&self, task: &Task, second: i64) -> bool {
        let votes = self.status.decisions.iter().rev().filter(|decision| decision.decision.is_vote());
        let mut here = votes.filter(|decision| {
            decision.step == task.step && decision.visit == task.visit && decision.partition == task.partition
        });
        task.state == TaskState::Open || here.next().is_some_and(|last| seconds(&last.at) >= second)
    }

    /// The one task that the signal can mean, and the right by which its actor may decide it.
    fn only_task(
        &self,
        signal: &Signal,
        visit: &StepVisit,
        step: &Step,
        actor: &Actor,
    ) -> Result<(usize, Title), Refusal> {
        let named = signal.spec.partition.as_ref();
        names_partition(signal, visit, step)?;
        // What a signal leaves out means the tasks that were open when it was made, in whole seconds (rule 11).
        let mut open = Vec::new();
        let mut closed = Vec::new();
        let mut denied = None;
        for (position, (task, stock)) in self.status.tasks.iter().zip(&self.stocks).enumerate() {
            if named.is_some_and(|named| *named != task.partition) {
                continue;
            }
            match self.title(stock, actor, &signal.rights) {
                Ok(title) if self.was_open(task, signal.created_at) => open.push((position, title)),
                Ok(_) => closed.push(task.partition.as_str()),
                // What bars somebody from one task says more than that another one does not name them.
                Err(why) if denied.is_none() || why != Denied::NotAnApprover => denied = Some(why),
                Err(_) => {}
            }
        }
        if open.len() > 1 {
            let tasks: Vec<_> =
                open.iter().map(|(position, _)| self.status.tasks[*position].partition.as_str()).collect();
            let message = format!(
                "{} may decide {} of step {}; say which in spec.partition",
                actor.username,
                tasks.join(", "),
                visit.node
            );
            return Err((Reason::Ambiguous, message));
        }
        if let Some((position, title)) = open.pop() {
            let task = &self.status.tasks[position];
            if task.state == TaskState::Open {
                return Ok((position, title));
            }
            closed.push(task.partition.as_str());
        }
        if !closed.is_empty() {
            return Err((
                Reason::StepClosed,
                format!("partition {} of step {} is decided", closed.join(", "), visit.node),
            ));
        }
        let asked = |task: &&Task| named.is_none_or(|named| *named == task.partition);
        let sources = self.status.tasks.iter().filter(asked).flat_map(|task| &task.approvers);
        let sources: Vec<&str> = sources.map(|asked| asked.source.as_str()).collect();
        Err(denial(&visit.node, &actor.username, denied.unwrap_or(Denied::NotAnApprover), &sources))
    }
}

/// The partition that the signal names, if it names one, is one of the step.
pub(super) fn names_partition(signal: &Signal, visit: &StepVisit, step: &Step) -> Result<(), Refusal> {
    let known: Vec<&str> = step.partitions.iter().map(|rule| rule.name.as_str()).collect();
    match &signal.spec.partition {
        Some(named) if !known.contains(&named.as_str()) => {
            let (step, known) = (&visit.node, known.join(", "));
            let message = format!("spec.partition: step {step} has no partition {named}; partitions are {known}");
            Err((Reason::UnknownPartition, message))
        }
        _ => Ok(()),
    }
}

/// Why somebody may not decide a step, for them to read.
fn denial(node: &str, user: &str, denied: Denied, asked: &[&str]) -> Refusal {
    match denied {
        Denied::SelfApproval(why) => {
            (Reason::SelfApproval, format!("{user} {why} and may not decide step {node}; somebody else has to"))
        }
        Denied::Separated(step) => (
            Reason::SeparationOfDuties,
            format!("{user} decided step {step} and may not decide step {node} too; somebody else has to"),
        ),
        Denied::Excluded(why) => {
            (Reason::Excluded, format!("{user} {why} and may not decide step {node}; somebody else has to"))
        }
        Denied::Inactive(identity) => (
            Reason::InactiveIdentity,
            format!("Identity {identity} of {user} is inactive or not valid now, so {user} decides nothing"),
        ),
        Denied::Contested => {
            (Reason::InactiveIdentity, format!("several Identities claim the username {user}, so none of them counts"))
        }
        Denied::ServiceAccount => {
            let message = format!(
                "{user} is a ServiceAccount and counts only where a user: source names it, which step {node} does not"
            );
            (Reason::NotAnApprover, message)
        }
        Denied::HandedOver(to) => (
            Reason::HandedOver,
            format!("{user} handed step {node} over to {to}; take it back with decision: Delegate, delegateTo: {user}"),
        ),
        Denied::PrincipalVoted(principal) => (
            Reason::AlreadyDecided,
            format!("{principal}, for whom {user} decides, has one vote in this visit of step {node} and gave it"),
        ),
        Denied::PrincipalAlike(principal, voter) => (
            Reason::AlreadyDecided,
            format!(
                "{principal}, for whom {user} decides, looks like {voter}, who decided this visit of step {node}; if they are two people, give each an Identity"
            ),
        ),
        Denied::NotAnApprover => {
            (Reason::NotAnApprover, format!("{user} may not decide step {node}; asked are {}", asked.join(", ")))
        }
    }
}

fn comment_given(signal: &Signal, step: &Step, node: &str) -> Result<(), Refusal> {
    let needed = match step.require_comment {
        RequireComment::Never => false,
        RequireComment::OnReject => signal.spec.decision == Decision::Reject,
        RequireComment::Always => true,
    };
    if needed && signal.spec.comment.as_ref().is_none_or(|comment| comment.trim().is_empty()) {
        let message = format!("spec.comment: step {node} needs a comment with this decision; send it again with one");
        return Err((Reason::CommentRequired, message));
    }
    Ok(())
}
