//! What becomes of one signal. It is judged once; later facts change nothing about it (rule 7).

use super::advance::Run;
use super::eligibility::Denied;
use super::graph::Step;
use super::{Proof, Signal};
use crate::api::{Actor, CountedDecision, Decision, RequireComment, SignalRef, StepVisit, Task, TaskState, seconds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
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
    /// The actor's Identity is inactive, not valid now, or contested.
    InactiveIdentity,
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

/// A refusal: the word, and the sentence.
type Refusal = (Reason, String);

/// What a signal asks of a task that its actor may decide.
pub(super) struct Vote {
    /// The position of the task in the status.
    pub task: usize,
    /// The record that counts.
    pub decision: CountedDecision,
}

impl Run<'_> {
    /// Judges one signal against the state of this moment.
    pub(super) fn judge(&self, signal: &Signal) -> Result<Vote, Refusal> {
        let actor = self.proven_actor(signal)?;
        self.same_instance(signal)?;
        if let Some(outcome) = self.status.outcome {
            return Err((Reason::StepClosed, format!("{} is finished: {outcome}", self.facts.instance.name)));
        }
        let Some((visit, step)) = self.current_step() else {
            let message = format!("{} has been decided, its outcome is being carried out", self.facts.instance.name);
            return Err((Reason::StepClosed, message));
        };
        self.names_current_step(signal, visit)?;
        self.earlier_visits_excluded(signal, visit, actor)?;
        if let Some(vote) = self.vote_in(visit, &actor.username) {
            let message = format!(
                "{} decided this visit of step {} before: {:?} ({})",
                actor.username, visit.node, vote.decision, vote.signal.name
            );
            return Err((Reason::AlreadyDecided, message));
        }
        let (task, through) = self.only_task(signal, visit, step, actor)?;
        comment_given(signal, step, &visit.node)?;
        let decision = CountedDecision {
            actor: actor.username.clone(),
            identity: self.facts.directory.identity_of(&actor.username).map(str::to_owned),
            decision: signal.spec.decision,
            step: visit.node.clone(),
            visit: visit.visit,
            partition: self.status.tasks[task].partition.clone(),
            through,
            at: Time(jiff::Timestamp::from_second(signal.created_at).unwrap_or(self.now)),
            signal: SignalRef { name: signal.name.clone(), uid: signal.uid.clone() },
        };
        Ok(Vote { task, decision })
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
    fn names_current_step(&self, signal: &Signal, visit: &StepVisit) -> Result<(), Refusal> {
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
            _ => Ok(()),
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
        let Some(step) = self.graph().and_then(|graph| graph.step(&visit.node)) else {
            return false;
        };
        let may = |sources| self.eligibility().may_decide(step, sources, actor).is_ok();
        let mut meant = step
            .partitions
            .iter()
            .filter(|rule| signal.spec.partition.as_ref().is_none_or(|named| *named == rule.name));
        meant.any(|rule| may(&rule.approvers) || may(&self.facts.settings.administrators))
    }

    /// The decision that this person made in that visit, if any: one per person, under whatever name (rule 7).
    pub(super) fn vote_in(&self, visit: &StepVisit, username: &str) -> Option<&CountedDecision> {
        let identity = self.facts.directory.identity_of(username);
        self.status.decisions.iter().find(|decision| {
            decision.step == visit.node
                && decision.visit == visit.visit
                && (self.facts.directory.same_person(&decision.actor, username)
                    || identity.is_some_and(|identity| decision.identity.as_deref() == Some(identity)))
        })
    }

    /// The one task that the signal can mean, and the source through which its actor may decide it.
    fn only_task(
        &self,
        signal: &Signal,
        visit: &StepVisit,
        step: &Step,
        actor: &Actor,
    ) -> Result<(usize, String), Refusal> {
        let named = signal.spec.partition.as_ref();
        let partitions = || step.partitions.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(named) = named
            && !step.partitions.iter().any(|rule| rule.name == *named)
        {
            let message = format!(
                "spec.partition: step {} has no partition {named}; partitions are {}",
                visit.node,
                partitions()
            );
            return Err((Reason::UnknownPartition, message));
        }
        let mut open = Vec::new();
        let mut closed = Vec::new();
        let mut denied = None;
        for (position, task) in self.status.tasks.iter().enumerate() {
            if named.is_some_and(|named| *named != task.partition) {
                continue;
            }
            match self.may_decide_task(step, task, actor) {
                Ok(through) if task.state == TaskState::Open => open.push((position, through)),
                Ok(_) => closed.push(task.partition.as_str()),
                Err(why) => denied = Some(why),
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
        if let Some(only) = open.pop() {
            return Ok(only);
        }
        if !closed.is_empty() {
            return Err((
                Reason::StepClosed,
                format!("partition {} of step {} is decided", closed.join(", "), visit.node),
            ));
        }
        Err(self.denial(&visit.node, actor, denied))
    }

    fn may_decide_task(&self, step: &Step, task: &Task, actor: &Actor) -> Result<String, Denied> {
        let Some(rule) = step.partitions.iter().find(|rule| rule.name == task.partition) else {
            return Err(Denied::NotAnApprover);
        };
        let direct = self.eligibility().may_decide(step, &rule.approvers, actor);
        if matches!(direct, Err(Denied::NotAnApprover | Denied::ServiceAccount)) && self.administrators_stand_in(task) {
            let stand_in = self.eligibility().may_decide(step, &self.facts.settings.administrators, actor);
            return stand_in.map(|source| format!("administrators: {source}"));
        }
        direct.map(|source| source.to_string())
    }

    fn denial(&self, node: &str, actor: &Actor, denied: Option<Denied>) -> Refusal {
        let user = &actor.username;
        match denied {
            Some(Denied::SelfApproval(why)) => {
                (Reason::SelfApproval, format!("{user} {why} and may not decide step {node}; somebody else has to"))
            }
            Some(Denied::Inactive(identity)) => (
                Reason::InactiveIdentity,
                format!("Identity {identity} of {user} is inactive or not valid now, so {user} decides nothing"),
            ),
            Some(Denied::Contested) => (
                Reason::InactiveIdentity,
                format!("several Identities claim the username {user}, so none of them counts"),
            ),
            Some(Denied::ServiceAccount) => {
                let message = format!(
                    "{user} is a ServiceAccount and counts only where a user: source names it, which step {node} does not"
                );
                (Reason::NotAnApprover, message)
            }
            Some(Denied::NotAnApprover) | None => {
                let asked: Vec<_> = self
                    .status
                    .tasks
                    .iter()
                    .flat_map(|task| &task.approvers)
                    .map(|asked| asked.source.as_str())
                    .collect();
                (Reason::NotAnApprover, format!("{user} may not decide step {node}; asked are {}", asked.join(", ")))
            }
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
