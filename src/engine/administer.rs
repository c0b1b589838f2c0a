//! Signals that are no votes: Comment, Cancel, Delegate, and what administrators may do (rules 5, 12; requirement R53).

use super::advance::{Run, Standing};
use super::graph::Rule;
use super::judge::names_partition;
use super::source::Source;
use super::{Definition, Note, Reason, Refusal, Right, Signal};
use crate::api::{Actor, CountedDecision, Decision, NamedApprovers, Outcome, SignalRef, StepVisit, TaskState, seconds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

impl Run<'_> {
    /// The record of a signal, before it is known what it is about.
    pub(super) fn record(&self, signal: &Signal, actor: &Actor, visit: Option<&StepVisit>) -> CountedDecision {
        CountedDecision {
            actor: actor.username.clone(),
            identity: self.facts.directory.identity_of(&actor.username).map(str::to_owned),
            decision: signal.spec.decision,
            on_behalf_of: None,
            on_behalf_of_identity: None,
            delegate_to: None,
            approvers: Vec::new(),
            step: visit.map(|visit| visit.node.clone()).unwrap_or_default(),
            visit: visit.map(|visit| visit.visit).unwrap_or_default(),
            partition: String::new(),
            through: String::new(),
            at: Time(jiff::Timestamp::from_second(signal.created_at).unwrap_or(self.now)),
            signal: SignalRef { name: signal.name.clone(), uid: signal.uid.clone() },
        }
    }

    /// Whether a withdrawal counts: of whoever asked, or of who holds the verb `cancel`; until the operation is carried out.
    pub(super) fn judge_cancel(&self, signal: &Signal, actor: &Actor) -> Result<CountedDecision, Refusal> {
        let mut record = self.record(signal, actor, self.status.steps.last());
        let initiator = self.facts.instance.spec.initiator.as_ref();
        let own =
            initiator.is_some_and(|initiator| self.facts.directory.same_person(&initiator.username, &actor.username));
        self.active(actor)?;
        if own {
            "initiator".clone_into(&mut record.through);
        } else if signal.rights.contains(&Right::Cancel) {
            "permission to cancel".clone_into(&mut record.through);
        } else {
            let message = format!(
                "{} did not ask for this; only whoever did, or who holds verb cancel on workflowinstances, can withdraw it",
                actor.username
            );
            return Err((Reason::NotAllowed, message));
        }
        if self.executed() {
            let message = "it is carried out, and cannot be withdrawn any more".to_owned();
            return Err((Reason::StepClosed, message));
        }
        Ok(record)
    }

    /// Whether an administrator's signal counts: who holds the verb `administer` on the instance, and did not ask for it.
    pub(super) fn judge_administrator(&self, signal: &Signal, actor: &Actor) -> Result<CountedDecision, Refusal> {
        let decision = signal.spec.decision;
        self.active(actor)?;
        if !signal.rights.contains(&Right::Administer) {
            let message = format!(
                "{} may not {decision:?}; that takes verb administer on workflowinstances of this namespace",
                actor.username
            );
            return Err((Reason::NotAllowed, message));
        }
        if decision != Decision::Stop
            && let Some(why) = self.own_request(&actor.username)
        {
            let message = format!("{} {why} and may not {decision:?}; another administrator has to", actor.username);
            return Err((Reason::SelfApproval, message));
        }
        let mut record = self.record(signal, actor, self.status.steps.last());
        "permission to administer".clone_into(&mut record.through);
        match decision {
            Decision::Retry if self.failed_since(signal) => {}
            Decision::Reassign | Decision::AddApprovers => {
                record.partition = self.named_task(signal)?;
                record.approvers = self.named_approvers(signal)?;
            }
            Decision::Retry => {
                let message = "nothing failed here that could be tried again".to_owned();
                return Err((Reason::NothingToRetry, message));
            }
            Decision::Restart => {
                if self.executed() {
                    let message = "it is carried out, and cannot begin anew".to_owned();
                    return Err((Reason::StepClosed, message));
                }
                match &self.facts.newest {
                    Some(Definition::Usable { .. }) => {}
                    Some(other) => {
                        return Err((Reason::DefinitionNotReady, other.unusable().unwrap_or_default()));
                    }
                    None => {
                        return Err((Reason::DefinitionNotReady, "the newest definition is not known".to_owned()));
                    }
                }
            }
            _ => {}
        }
        Ok(record)
    }

    /// Whether something fails in the visit that was open when the signal was made.
    fn failed_since(&self, signal: &Signal) -> bool {
        let waits = self.current_act().is_some_and(|(visit, _)| visit.retry_at.is_some());
        let fails = waits || self.stalled.is_some() || self.stocks.iter().any(|stock| stock.failed().is_some());
        let visit = self.status.steps.last().filter(|visit| self.names_current_step(signal, visit).is_ok());
        fails && visit.is_some()
    }

    /// The open task that an administrator names; it may be left out while only one is open.
    fn named_task(&self, signal: &Signal) -> Result<String, Refusal> {
        let Some((visit, step)) = self.current_step() else {
            return Err((Reason::StepClosed, "people decide nothing at the moment".to_owned()));
        };
        self.names_current_step(signal, visit)?;
        names_partition(signal, visit, step)?;
        let wanted = |partition: &str| signal.spec.partition.as_deref().is_none_or(|named| named == partition);
        let open: Vec<_> = self
            .status
            .tasks
            .iter()
            .filter(|task| task.state == TaskState::Open && wanted(&task.partition))
            .map(|task| task.partition.clone())
            .collect();
        match open.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err((Reason::StepClosed, format!("no such partition of step {} is open", visit.node))),
            several => {
                let message = format!("spec.partition: say which one of {}", several.join(", "));
                Err((Reason::Ambiguous, message))
            }
        }
    }

    /// Whether somebody may remark on a task that was open when they did: whoever may see it.
    pub(super) fn judge_comment(&self, signal: &Signal, actor: &Actor) -> Result<(), Refusal> {
        self.active(actor)?;
        let meant = |visit: &&StepVisit| {
            signal.spec.step.as_ref().is_none_or(|named| *named == visit.node)
                && signal.spec.visit.is_none_or(|named| named == visit.visit)
                && self.open_since(visit) <= signal.created_at
                && visit.left_at.as_ref().is_none_or(|left| signal.created_at <= seconds(left))
        };
        let wanted = |partition: &str| signal.spec.partition.as_deref().is_none_or(|named| named == partition);
        let mut refusal = (Reason::StepClosed, "no such step was open when this was sent".to_owned());
        for visit in self.status.steps.iter().filter(meant) {
            let Some(step) = self.graph().and_then(|graph| graph.step(&visit.node)) else { continue };
            let seen = |rule: &Rule| self.may_view(&visit.node, rule, actor, &signal.rights);
            if step.partitions.iter().any(|rule| wanted(&rule.name) && seen(rule)) {
                return Ok(());
            }
            let message = format!("{} may not see step {}, and so may not comment on it", actor.username, visit.node);
            refusal = names_partition(signal, visit, step).err().unwrap_or((Reason::NotAllowed, message));
        }
        Err(refusal)
    }

    /// Carries out a signal that is no vote: it is recorded, and what follows from it follows.
    pub(super) fn carry_out(&mut self, record: CountedDecision) -> Option<Standing> {
        let (decision, actor) = (record.decision, record.actor.clone());
        let told = super::describe::counted_message(&record);
        self.status.decisions.push(record);
        self.recorded();
        let note = |reason, message| Note { warning: false, reason, message };
        match decision {
            Decision::Cancel => Some(self.stop(Outcome::Cancelled, "Withdrawn", format!("{actor} withdrew it"))),
            Decision::Stop => Some(self.stop(Outcome::Cancelled, "Stopped", format!("{actor} stopped it"))),
            Decision::Restart => self.restart(&actor),
            Decision::Retry => {
                self.stalled = None;
                if let Some(visit) = self.status.steps.last_mut() {
                    visit.retry_at = None;
                }
                self.proceed()
            }
            Decision::Delegate | Decision::Reassign | Decision::AddApprovers => {
                let reason = if decision == Decision::Delegate { "HandedOver" } else { "Reassigned" };
                self.notes.push(note(reason, told));
                // Who is asked now may be known although it was not before.
                self.stalled = None;
                self.proceed()
            }
            Decision::Approve | Decision::Reject | Decision::Comment => None,
        }
    }

    /// Begins anew on the newest definition. What was decided stays on record and counts for nothing but `separateFrom`.
    fn restart(&mut self, actor: &str) -> Option<Standing> {
        let Some(Definition::Usable { graph, revision }) = &self.facts.newest else {
            return None;
        };
        self.close_open_tasks(TaskState::Superseded);
        self.left_by("restarted");
        self.status.revision = Some((*revision).to_owned());
        self.status.restarts += 1;
        self.restarted = Some(graph);
        self.stalled = None;
        let message = format!("{actor} restarted it on {revision}");
        self.notes.push(Note { warning: false, reason: "Restarted", message });
        if let Some(failed) = self.missing_input(graph) {
            return Some(failed);
        }
        self.enter(&graph.start)
    }

    /// What bars somebody from administering their own request.
    fn own_request(&self, username: &str) -> Option<&'static str> {
        let spec = self.facts.instance.spec;
        let same = |other: &str| self.facts.directory.may_be_same(other, username);
        if spec.initiator.as_ref().is_some_and(|initiator| same(&initiator.username)) {
            return Some("asked for it");
        }
        let mut subjects = spec.subjects.iter().flat_map(|subject| [subject, self.facts.directory.resolve(subject)]);
        subjects.any(same).then_some("is the one it is about")
    }

    /// An inactive person does nothing at all.
    fn active(&self, actor: &Actor) -> Result<(), Refusal> {
        if self.facts.directory.is_out(&actor.username, self.facts.now) {
            let message = format!(
                "the Identity of {0} is inactive, not valid now, or contested, so {0} decides nothing",
                actor.username
            );
            return Err((Reason::InactiveIdentity, message));
        }
        Ok(())
    }

    /// Whom an administrator names.
    fn named_approvers(&self, signal: &Signal) -> Result<Vec<NamedApprovers>, Refusal> {
        let mut named = signal.spec.approvers.clone();
        named.extend(signal.spec.delegate_to.iter().map(|name| {
            let user = Some(self.facts.directory.resolve(name).to_owned());
            NamedApprovers { user, ..NamedApprovers::default() }
        }));
        if named.is_empty() || named.iter().any(|named| Source::named(named).is_none()) {
            let message = "spec.approvers: name at least one user, group or role, each by itself".to_owned();
            return Err((Reason::NotAllowed, message));
        }
        for (position, role) in named.iter().enumerate().filter_map(|(at, named)| Some((at, named.role.as_ref()?))) {
            if !self.facts.directory.has_role(role) {
                let message =
                    format!("spec.approvers[{position}].role: there is no BusinessRole {role}; name another one");
                return Err((Reason::NotAllowed, message));
            }
        }
        Ok(named)
    }
}
