//! What becomes of a change request: ask the processes of each change one after the other, give the grant, see the effect, end.

use super::carrier::{Carrier, Kept, carrier};
use super::facts::{Facts, Found, Look, Opening, Plan, Precedent, Request};
use super::words;
use crate::api::{
    Change, ChangeInstance, ChangeRequestSpec, ChangeRequestStatus, ChangeState, ChangeStatus, Difference,
    ExecutionMode, Held, InstancePer, Outcome, PlannedProcess,
};
use crate::engine::{Note, Proof};
use crate::hex::hex;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How much room there is for copies of objects and for differences in one status, in bytes. The server keeps a record of every field
/// beside them, which may be larger than they are.
const COPIES: usize = 256 * 1024;

/// The same together with the spec.
const WHOLE: usize = 1024 * 1024;

/// Moves a change request as far as the facts allow. Pure and total; called again with the status that it returned, it changes
/// nothing more.
#[must_use]
pub fn advance(facts: &Facts<'_>) -> Plan {
    let mut run = Run { facts, plan: Plan { status: facts.status.clone(), ..Plan::default() }, stall: None };
    if facts.status.completed_at.is_some() {
        return run.plan;
    }
    run.list_changes();
    run.advance();
    run.tell_changes();
    let standing = words::describe(facts, &mut run.plan.status, run.stall.as_ref());
    run.plan.notes.extend(standing);
    run.plan
}

/// What keeps a request from going on, until the facts change.
pub(super) struct Stall {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

pub(super) struct Run<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) plan: Plan,
    stall: Option<Stall>,
}

impl Run<'_> {
    fn list_changes(&mut self) {
        for change in &self.facts.request.spec.changes {
            if !self.plan.status.changes.iter().any(|status| status.name == change.name) {
                self.plan.status.changes.push(ChangeStatus { name: change.name.clone(), ..ChangeStatus::default() });
            }
        }
    }

    fn advance(&mut self) {
        let pending = |run: &Self| run.plan.status.changes.iter().any(|change| change.state == ChangeState::Pending);
        if pending(self) && !self.may_begin() {
            return;
        }
        for position in 0..self.facts.request.spec.changes.len() {
            self.begin(position);
            self.ask(position);
            self.withdraw(position);
        }
        let decided = |change: &ChangeStatus| !matches!(change.state, ChangeState::Pending | ChangeState::InApproval);
        if self.plan.status.changes.iter().all(decided) {
            for position in 0..self.facts.request.spec.changes.len() {
                self.carry_out(position);
            }
        }
        let reviewed: Vec<bool> =
            (0..self.facts.request.spec.changes.len()).map(|position| self.review(position)).collect();
        if self.plan.status.changes.iter().all(|change| is_final(change.state)) && reviewed.into_iter().all(|done| done)
        {
            self.plan.status.completed_at = Some(Time(self.facts.now));
        }
    }

    /// Whether anything new may be asked for: it is proven who asks, and what this corrects has been ended.
    fn may_begin(&mut self) -> bool {
        let unproven = "the admission policy that proves the requester was not provably in force when this was created; it is to be asked for again";
        let refused = match self.facts.proof {
            Proof::Broken(why) => {
                let message = format!("goes on as soon as its requester can be proven: {why}");
                self.stall = Some(Stall { reason: "ActorUnproven", message });
                return false;
            }
            Proof::Since(since) if self.facts.request.created_at <= *since => Some(unproven.to_owned()),
            Proof::Since(_) if self.facts.request.spec.requester.is_none() => {
                Some("spec.requester is missing, so nobody asked for this; create it again".to_owned())
            }
            Proof::Since(_) => match self.facts.precedent {
                Precedent::None | Precedent::Ended => None,
                Precedent::Open => {
                    self.plan.end_precedent = true;
                    return false;
                }
                Precedent::Refused(why) => Some(why.clone()),
            },
        };
        let Some(why) = refused else { return true };
        for position in 0..self.facts.request.spec.changes.len() {
            if self.status(position).state != ChangeState::Pending {
                continue;
            }
            // Nobody rejected what the gate holds: the same command asks again.
            if self.change(position).held.is_some() {
                self.end(position, ChangeState::Cancelled, format!("{why}: send the same command again"));
            } else {
                self.end(position, ChangeState::Rejected, why.clone());
            }
        }
        true
    }

    pub(super) fn change(&self, position: usize) -> &Change {
        &self.facts.request.spec.changes[position]
    }

    /// The status of a change; the list has one for each.
    pub(super) fn status(&mut self, position: usize) -> &mut ChangeStatus {
        let name = &self.facts.request.spec.changes[position].name;
        let found = self.plan.status.changes.iter().position(|status| status.name == *name).unwrap_or(position);
        &mut self.plan.status.changes[found]
    }

    pub(super) fn end(&mut self, position: usize, state: ChangeState, message: String) {
        let now = Time(self.facts.now);
        let status = self.status(position);
        status.state = state;
        status.message = Some(message);
        status.retry_at = None;
        status.decided_at.get_or_insert_with(|| now.clone());
        status.ended_at = Some(now);
    }

    /// Takes up a change that nobody has looked at.
    fn begin(&mut self, position: usize) {
        if self.status(position).state != ChangeState::Pending {
            return;
        }
        let change = self.change(position).clone();
        if let Some(held) = &change.held {
            self.status(position).digest = Some(held.digest.clone());
            if let Some(why) = &held.bypass_reason {
                self.end(position, ChangeState::Executed, format!("passed without approval: {why}"));
                return;
            }
        } else {
            match self.facts.looks.get(&change.name) {
                None => return,
                Some(Look::Refused(why)) => return self.end(position, ChangeState::Rejected, why.clone()),
                Some(Look::Held(why)) => {
                    self.stall
                        .get_or_insert(Stall { reason: "Held", message: format!("change {}: {why}", change.name) });
                    return;
                }
                Some(Look::Found(found)) => {
                    if let Some(message) = self.needs_automatic(&change) {
                        self.stall.get_or_insert(Stall { reason: "AutomaticOff", message });
                        return;
                    }
                    let mut found = found.clone();
                    self.leave_out(&mut found);
                    let status = self.status(position);
                    status.digest = found.held.as_ref().map(|held| held.digest.clone());
                    status.processes = found.processes;
                    status.held = found.held;
                    status.object = found.object;
                }
            }
        }
        let status = self.status(position);
        if change.do_not_approve {
            self.approve(position, "not to be approved, as its requester may say".to_owned());
        } else if processes(&change, status).is_empty() {
            self.approve(position, "no process asks for an approval of this".to_owned());
        } else {
            status.state = ChangeState::InApproval;
        }
    }

    /// Leaves out of what was found for what the status has no room: it must never outgrow the store. The digest stays.
    fn leave_out(&self, found: &mut Found) {
        let size = |value: Option<&Value>| value.map_or(0, |value| value.to_string().len());
        let told = |held: &Held| -> usize {
            let lengths = held.differences.iter().map(|one| {
                64 + one.path.len() + one.from.as_ref().map_or(0, String::len) + one.to.as_ref().map_or(0, String::len)
            });
            lengths.sum()
        };
        let used = self.plan.status.changes.iter().map(|change| {
            let held = change.held.as_ref();
            let old = held.and_then(|held| held.old_object.as_ref());
            size(change.object.as_ref()) + size(old) + held.map_or(0, told)
        });
        let spec = serde_json::to_vec(self.facts.request.spec).map_or(usize::MAX, |text| text.len());
        let mut room = COPIES.min(WHOLE.saturating_sub(spec)).saturating_sub(used.sum());
        let mut fits = |size: usize| {
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        };
        if let Some(held) = &mut found.held
            && !fits(told(held))
        {
            let to = Some("what changes has no room here; look at the object".to_owned());
            held.differences = vec![Difference { path: String::new(), from: None, to }];
        }
        found.object = found.object.take().filter(|object| fits(size(Some(object))));
        if let Some(held) = &mut found.held {
            held.old_object = held.old_object.take().filter(|old| fits(size(Some(old))));
        }
    }

    /// Why a change written by hand cannot be carried out in this installation; none when it can.
    fn needs_automatic(&self, change: &Change) -> Option<String> {
        let asked = self.facts.request.spec.execution.as_ref().and_then(|execution| execution.mode);
        (asked != Some(ExecutionMode::OnRetry) && !self.facts.automatic).then(|| {
            format!(
                "change {}: nobody is asked, since the operator may not carry it out: set the chart value execution.automatic.enabled, or write spec.execution.mode: OnRetry and repeat it yourself once it is approved",
                change.name
            )
        })
    }

    fn approve(&mut self, position: usize, message: String) {
        let now = Time(self.facts.now);
        let status = self.status(position);
        status.state = ChangeState::Approved;
        status.message = Some(message);
        status.decided_at = Some(now);
    }

    /// Asks the processes of a change one after the other; the first that does not agree ends it (rule 19).
    fn ask(&mut self, position: usize) {
        if self.status(position).state != ChangeState::InApproval {
            return;
        }
        let change = self.change(position).clone();
        for process in processes(&change, self.status(position)).to_vec() {
            let mut missing = Vec::new();
            for subject in wanted(&process) {
                let name = instance_name(&self.facts.request, &change.name, &process.name, subject.as_deref(), false);
                let seen = self.facts.instances.get(&name);
                let status = self.status(position);
                let entry = match status.instances.iter().position(|instance| instance.name == name) {
                    Some(entry) => entry,
                    None => {
                        let process = process.name.clone();
                        let entry = ChangeInstance {
                            name: name.clone(),
                            process,
                            subject: subject.clone(),
                            ..ChangeInstance::default()
                        };
                        status.instances.push(entry);
                        status.instances.len() - 1
                    }
                };
                let entry = &mut status.instances[entry];
                // What was recorded stands, whatever becomes of the instance.
                entry.outcome = entry.outcome.or(seen.and_then(|seen| seen.outcome));
                let outcome = entry.outcome;
                match (outcome, seen) {
                    (Some(Outcome::Approved), _) => {}
                    (Some(outcome), _) => {
                        let told = seen.map(|seen| seen.message.as_str()).filter(|message| !message.is_empty());
                        let told = told.map_or_else(|| outcome.to_string(), str::to_owned);
                        let message = format!("process {}: {told} (workflowinstance {name})", process.name);
                        return self.end(position, ended(outcome), message);
                    }
                    (None, Some(seen)) if seen.agreed => {}
                    (None, Some(_)) => missing.push(name),
                    (None, None) => {
                        let (process, change) = (process.clone(), change.name.clone());
                        self.plan.open.push(Opening { name: name.clone(), change, process, subject, review: false });
                        missing.push(name);
                    }
                }
            }
            if !missing.is_empty() {
                let message = format!("process {} asks: workflowinstance {}", process.name, missing.join(", "));
                self.status(position).message = Some(message);
                return;
            }
        }
        self.approve(position, "everybody agreed".to_owned());
    }

    /// Ends an approved change whose instance was withdrawn or stopped, as long as nothing of it has passed. The gate may claim the
    /// grant at this very moment: whoever writes the status first decides.
    fn withdraw(&mut self, position: usize) {
        let instances = &self.facts.instances;
        let status = self.status(position);
        let claimed = status.grant.as_ref().is_some_and(|grant| grant.claimed_at.is_some());
        if status.state != ChangeState::Approved || claimed || status.attempts > 0 {
            return;
        }
        let seen = |entry: &ChangeInstance| instances.get(&entry.name).and_then(|seen| seen.outcome);
        let cancelled = |entry: &&mut ChangeInstance| {
            !entry.review && entry.outcome.is_none() && seen(entry) == Some(Outcome::Cancelled)
        };
        let Some(entry) = status.instances.iter_mut().find(cancelled) else { return };
        entry.outcome = Some(Outcome::Cancelled);
        let told = instances.get(&entry.name).map(|seen| seen.message.as_str()).unwrap_or_default();
        let message = format!("process {}: {told} (workflowinstance {})", entry.process, entry.name);
        self.end(position, ChangeState::Cancelled, message);
    }

    /// Has somebody look at a change that was made without approval. Whether everything that this needs is there.
    fn review(&mut self, position: usize) -> bool {
        let change = self.change(position).clone();
        let bypassed = change.do_not_approve || change.held.as_ref().is_some_and(|held| held.bypass_reason.is_some());
        if !bypassed || self.status(position).state != ChangeState::Executed {
            return true;
        }
        let mut complete = true;
        for process in processes(&change, self.status(position)).to_vec() {
            let name = instance_name(&self.facts.request, &change.name, &process.name, None, true);
            let status = self.status(position);
            if !status.instances.iter().any(|instance| instance.name == name) {
                let process = process.name.clone();
                status.instances.push(ChangeInstance {
                    name: name.clone(),
                    process,
                    review: true,
                    ..ChangeInstance::default()
                });
            }
            if !self.facts.instances.contains_key(&name) {
                complete = false;
                self.plan.open.push(Opening {
                    name,
                    change: change.name.clone(),
                    process,
                    subject: None,
                    review: true,
                });
            }
        }
        complete
    }

    pub(super) fn wake(&mut self, at: Timestamp) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Tells in Events what became of changes.
    fn tell_changes(&mut self) {
        let known: BTreeMap<&str, ChangeState> =
            self.facts.status.changes.iter().map(|change| (change.name.as_str(), change.state)).collect();
        for change in &self.plan.status.changes {
            let before = known.get(change.name.as_str()).copied().unwrap_or_default();
            if before == change.state {
                continue;
            }
            let warning = matches!(change.state, ChangeState::Expired | ChangeState::Cancelled | ChangeState::Failed);
            // What was commented with a rejection is for the requester, and Events are read by more people.
            let told = match change.state {
                ChangeState::Rejected => "rejected; the status of the request says why",
                _ => change.message.as_deref().unwrap_or_default(),
            };
            let message = format!("change {}: {told}", change.name);
            self.plan.notes.push(Note { warning, reason: words::state(change.state), message });
        }
    }
}

/// The state of a change; `Pending` before it was looked at.
#[must_use]
pub fn state_of<'a>(status: &'a ChangeRequestStatus, change: &str) -> Option<&'a ChangeStatus> {
    status.changes.iter().find(|status| status.name == change)
}

/// The processes that must agree to a change, in order.
#[must_use]
pub fn processes<'a>(change: &'a Change, status: &'a ChangeStatus) -> &'a [PlannedProcess] {
    change.held.as_ref().map_or(&status.processes, |held| &held.processes)
}

/// Whom each instance of a process is about: one for all, or one for each subject (rule 20).
#[must_use]
pub fn wanted(process: &PlannedProcess) -> Vec<Option<String>> {
    let subjects: BTreeSet<&String> = process.subjects.iter().collect();
    if process.instance_per == InstancePer::Request || subjects.is_empty() {
        return vec![None];
    }
    subjects.into_iter().map(|subject| Some(subject.clone())).collect()
}

/// Who carries a change out: of what was written by hand the operator, unless the request says otherwise; of what the gate held as
/// [`carrier()`] says.
#[must_use]
pub fn who(facts: &Facts<'_>, change: &Change, status: &ChangeStatus) -> Carrier {
    let Some(held) = &change.held else {
        let asked = facts.request.spec.execution.as_ref().and_then(|execution| execution.mode);
        let automatic = facts.automatic && asked != Some(ExecutionMode::OnRetry);
        return if automatic { Carrier::Operator } else { Carrier::Requester(None) };
    };
    let asked = processes(change, status).iter();
    let asked = asked.map(|process| facts.terms.get(&process.name).and_then(|terms| terms.execution.as_ref()));
    carrier(asked, facts.automatic, &Kept { held, object: change.object.is_some() })
}

/// Ends what is open of a request that another one corrects: nothing of it is carried out any more.
#[must_use]
pub fn supersede(
    spec: &ChangeRequestSpec,
    status: &ChangeRequestStatus,
    by: &str,
    now: Timestamp,
) -> ChangeRequestStatus {
    let mut status = status.clone();
    status.superseded_by = Some(by.to_owned());
    for change in &spec.changes {
        if state_of(&status, &change.name).is_none() {
            status.changes.push(ChangeStatus { name: change.name.clone(), ..ChangeStatus::default() });
        }
    }
    for change in status.changes.iter_mut().filter(|change| !is_final(change.state)) {
        change.state = ChangeState::Cancelled;
        change.message = Some(format!("corrected by changerequest {by}"));
        change.retry_at = None;
        change.ended_at = Some(Time(now));
    }
    status
}

/// The name of an instance: readable, and bound to the uid of the request, so that it is the same however often it is made. The
/// policies keep names that begin so for the operator.
#[must_use]
pub fn instance_name(
    request: &Request<'_>,
    change: &str,
    process: &str,
    subject: Option<&str>,
    review: bool,
) -> String {
    let of = serde_json::json!([request.uid, change, process, subject, review]).to_string();
    let hash = hex(&Sha256::digest(of.as_bytes())[..5]);
    let readable: String = request.name.chars().take(200).collect();
    format!("creq-{}-{hash}", readable.trim_end_matches(['-', '.']))
}

/// Whether nothing more becomes of a change.
pub(super) fn is_final(state: ChangeState) -> bool {
    !matches!(state, ChangeState::Pending | ChangeState::InApproval | ChangeState::Approved)
}

/// What becomes of a change when one of its instances ended without agreeing.
fn ended(outcome: Outcome) -> ChangeState {
    match outcome {
        Outcome::Approved => ChangeState::Approved,
        Outcome::Rejected => ChangeState::Rejected,
        Outcome::Expired => ChangeState::Expired,
        Outcome::Cancelled => ChangeState::Cancelled,
        Outcome::Failed => ChangeState::Failed,
    }
}

#[cfg(test)]
mod tests;
