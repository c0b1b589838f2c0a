//! What becomes of a change request: ask the processes of each change one after the other, give the grant, see the effect, end.

use super::carrier::{Carrier, Kept, carrier};
use super::words;
use crate::api::{
    Change, ChangeInstance, ChangeRequestSpec, ChangeRequestStatus, ChangeState, ChangeStatus, Difference, Execution,
    ExecutionMode, Grant, Held, InstancePer, Outcome, PlannedProcess,
};
use crate::engine::{Note, Proof};
use crate::hex::hex;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How long an approval can be used where nobody says so.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(24);

/// For how long the same request may come again after it was let through: the API server itself repeats calls.
const REPEATED: SignedDuration = SignedDuration::from_secs(30);

/// How long after its claim the operator repeats a request: a little less than the gate lets it.
const PASSES: SignedDuration = SignedDuration::from_secs(25);

/// When what was let through and provably had no effect may be asked for again: no call of that request can be on its way any more.
const TAKEN_BACK: SignedDuration = SignedDuration::from_secs(90);

/// How long an attempt to carry a change out may take. Its result is written before that; if not, whoever tried is gone.
const ATTEMPT: SignedDuration = SignedDuration::from_secs(60);

/// How often it is tried to carry a change out.
const ATTEMPTS: u32 = 8;

/// How much room there is for copies of objects and for differences in one status, in bytes. The server keeps a record of every field
/// beside them, which may be larger than they are.
const COPIES: usize = 256 * 1024;

/// The same together with the spec.
const WHOLE: usize = 1024 * 1024;

/// What the status says between an attempt and the record of what came of it.
const UNDER_WAY: &str = "being carried out";

/// Everything that [`advance()`] goes by.
pub struct Facts<'a> {
    /// The request, without its status.
    pub request: Request<'a>,
    /// The status as it was last written.
    pub status: &'a ChangeRequestStatus,
    /// Since when the API server provably proves who asks.
    pub proof: &'a Proof,
    /// What was found about changes that were not looked at before, by name.
    pub looks: &'a BTreeMap<String, Look>,
    /// The instances of this request that exist, by name.
    pub instances: &'a BTreeMap<String, Seen>,
    /// What the processes say about carrying out, by name.
    pub terms: &'a BTreeMap<String, Terms>,
    /// Whether the installation lets the operator repeat requests in the name of their requesters.
    pub automatic: bool,
    /// The request that this one corrects.
    pub precedent: &'a Precedent,
    /// What is seen of changes that were let through, by name.
    pub effects: &'a BTreeMap<String, Effect>,
    /// What came of carrying changes out, by name.
    pub results: &'a BTreeMap<String, Result>,
    /// The moment, in the API server's time.
    pub now: Timestamp,
}

/// The request, without its status.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// metadata.name.
    pub name: &'a str,
    /// metadata.uid.
    pub uid: &'a str,
    /// metadata.generation.
    pub generation: Option<i64>,
    /// metadata.creationTimestamp in seconds.
    pub created_at: i64,
    /// The spec, which never changes.
    pub spec: &'a ChangeRequestSpec,
}

/// What was found about a change written by hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// It may not be asked for: why, for people.
    Refused(String),
    /// It cannot be told yet who must agree: why, for people.
    Held(String),
    /// It can be asked for.
    Found(Box<Found>),
}

/// Who must agree to a change written by hand, and what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The processes, in order.
    pub processes: Vec<PlannedProcess>,
    /// The request as the gate would see it.
    pub held: Option<Held>,
    /// The object as it is to be, as people are shown it.
    pub object: Option<Value>,
}

/// An instance of the request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Whether it has agreed, and waits until the change is carried out.
    pub agreed: bool,
    /// Where it stands, for people; with the comments of rejections, which the requester sees.
    pub message: String,
}

/// What a process says about carrying out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Who carries it out, and until when.
    pub execution: Option<Execution>,
}

/// The request that another one corrects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Precedent {
    /// It corrects none.
    None,
    /// It has been ended for this one.
    Ended,
    /// It can be ended for this one.
    Open,
    /// It cannot be corrected: why, for people.
    Refused(String),
}

/// What is seen of a change that was let through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It is there.
    Seen,
    /// It provably is not.
    Missing,
    /// It is not there now; whether it was cannot be told: why, for people.
    Unknown(String),
}

/// What came of carrying a change out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Result {
    /// It is carried out.
    Done(String),
    /// The API server refused: what it said, and whether it may answer otherwise later.
    Refused {
        /// For people.
        message: String,
        /// Whether it is worth another try.
        again: bool,
    },
}

/// What is to be done. The status is written first, with the resourceVersion that the facts were read at.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The new status; nothing is written when it equals the old one.
    pub status: ChangeRequestStatus,
    /// Instances to open, if they do not exist.
    pub open: Vec<Opening>,
    /// Changes to carry out now: the attempt is recorded in the status.
    pub carry_out: Vec<Attempt>,
    /// Whether the request that this one corrects is to be ended; everything else waits for that.
    pub end_precedent: bool,
    /// What to tell people in an Event, in order.
    pub notes: Vec<Note>,
    /// When to compute again although nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// A change to carry out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The change, by name.
    pub change: String,
    /// Whether somebody tried before and could not record what came of it.
    pub in_doubt: bool,
}

/// An instance to open.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// metadata.name.
    pub name: String,
    /// The change, by name.
    pub change: String,
    /// The process, and what it says that the change is about.
    pub process: PlannedProcess,
    /// Whom it is about, where each subject has an instance of their own.
    pub subject: Option<String>,
    /// Whether it looks at the change afterwards and decides nothing about it.
    pub review: bool,
}

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

struct Run<'a> {
    facts: &'a Facts<'a>,
    plan: Plan,
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

    fn change(&self, position: usize) -> &Change {
        &self.facts.request.spec.changes[position]
    }

    /// The status of a change; the list has one for each.
    fn status(&mut self, position: usize) -> &mut ChangeStatus {
        let name = &self.facts.request.spec.changes[position].name;
        let found = self.plan.status.changes.iter().position(|status| status.name == *name).unwrap_or(position);
        &mut self.plan.status.changes[found]
    }

    fn end(&mut self, position: usize, state: ChangeState, message: String) {
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

    /// Lets an approved change be carried out, or carries it out, and sees what comes of it.
    fn carry_out(&mut self, position: usize) {
        if self.status(position).state != ChangeState::Approved {
            return;
        }
        let change = self.change(position).clone();
        let now = self.facts.now;
        let valid_for = self.valid_for(position);
        let status = self.status(position);
        let fresh = Grant {
            valid_until: Time(now.saturating_add(valid_for).unwrap_or(Timestamp::MAX)),
            claimed_at: None,
            used_at: None,
        };
        let grant = status.grant.get_or_insert(fresh).clone();
        let status = status.clone();
        match who(self.facts, &change, &status) {
            // Whoever asked was faster than the operator.
            Carrier::Operator if status.attempts == 0 && grant.claimed_at.is_some() => {
                self.wait_for_requester(position, &grant, None);
            }
            Carrier::Operator => self.repeat(position, &grant),
            Carrier::Requester(why) => self.wait_for_requester(position, &grant, why),
        }
    }

    /// How long the approval of a change can be used: the shortest of what is said.
    fn valid_for(&mut self, position: usize) -> SignedDuration {
        let facts = self.facts;
        let change = self.change(position).clone();
        let of_processes: Vec<String> =
            processes(&change, self.status(position)).iter().map(|process| process.name.clone()).collect();
        let of_processes =
            of_processes.iter().filter_map(|name| facts.terms.get(name)).filter_map(|terms| terms.execution.as_ref());
        let said = of_processes.chain(&facts.request.spec.execution);
        let said = said.filter_map(|execution| execution.valid_for.as_ref());
        said.filter_map(|span| span.parse::<SignedDuration>().ok()).min().unwrap_or(VALID_FOR)
    }

    /// The requester repeats the request, and the gate claims the grant.
    fn wait_for_requester(&mut self, position: usize, grant: &Grant, why: Option<&str>) {
        let now = self.facts.now;
        let name = self.change(position).name.clone();
        let Some(claimed) = grant.claimed_at.as_ref().map(|claimed| claimed.0) else {
            if now >= grant.valid_until.0 {
                let message = format!("the approval was not used by {}", grant.valid_until.0);
                return self.end(position, ChangeState::Expired, message);
            }
            self.wake(grant.valid_until.0);
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let until = grant.valid_until.0;
            self.status(position).message = Some(format!("approved: the same request passes once, until {until}{why}"));
            return;
        };
        let age = now.duration_since(claimed);
        let message = match self.facts.effects.get(&name) {
            Some(Effect::Seen) => format!("carried out by its requester at {claimed}"),
            Some(Effect::Unknown(why)) if age >= REPEATED => format!("let through at {claimed}; {why}"),
            Some(Effect::Missing) if age >= TAKEN_BACK => {
                let status = self.status(position);
                if let Some(grant) = &mut status.grant {
                    grant.claimed_at = None;
                }
                let message =
                    format!("what was let through at {claimed} provably had no effect, so that it can be repeated");
                self.plan.notes.push(Note {
                    warning: true,
                    reason: "NoEffect",
                    message: format!("change {name}: {message}"),
                });
                self.status(position).message = Some(message);
                self.wake(grant.valid_until.0.max(now));
                return;
            }
            _ => {
                // At growing intervals, while a repetition may be on its way.
                let pause =
                    SignedDuration::from_millis((age.as_millis().clamp(100, 10_000) / 2).try_into().unwrap_or(5_000));
                self.wake(now.saturating_add(pause).unwrap_or(now));
                self.status(position).message = Some(format!("let through at {claimed}"));
                return;
            }
        };
        if let Some(grant) = &mut self.status(position).grant {
            grant.used_at = Some(Time(now));
        }
        self.end(position, ChangeState::Executed, message);
    }

    /// The operator repeats the request in the name of the requester.
    fn repeat(&mut self, position: usize, grant: &Grant) {
        let now = self.facts.now;
        let name = self.change(position).name.clone();
        let attempts = self.status(position).attempts;
        match self.facts.results.get(&name) {
            Some(Result::Done(message)) => {
                if let Some(grant) = &mut self.status(position).grant {
                    grant.claimed_at.get_or_insert(Time(now));
                    grant.used_at = Some(Time(now));
                }
                return self.end(position, ChangeState::Executed, message.clone());
            }
            Some(Result::Refused { message, again }) => {
                if !again || attempts >= ATTEMPTS {
                    return self.end(position, ChangeState::Failed, message.clone());
                }
                let pause = SignedDuration::from_secs(1 << attempts.clamp(1, 6).saturating_sub(1));
                let at = now.saturating_add(pause).unwrap_or(now);
                let status = self.status(position);
                status.retry_at = Some(Time(at));
                status.message = Some(format!("attempt {attempts} of {ATTEMPTS}: {message}; tried again at {at}"));
                return self.wake(at);
            }
            None => {}
        }
        let due = self.status(position).retry_at.as_ref().map(|at| at.0);
        if let Some(at) = due.filter(|at| *at > now) {
            return self.wake(at);
        }
        // The gate lets the same request repeat for a short time only. What is asked for after that would be held anew.
        let passed = grant.claimed_at.as_ref().map(|claimed| claimed.0);
        if let Some(claimed) = passed.filter(|claimed| now.duration_since(*claimed) >= PASSES) {
            if self.facts.effects.get(&name) == Some(&Effect::Seen) {
                if let Some(grant) = &mut self.status(position).grant {
                    grant.used_at = Some(Time(now));
                }
                let message = format!("let through at {claimed}, and seen to be carried out");
                return self.end(position, ChangeState::Executed, message);
            }
            let last = self.status(position).message.clone().filter(|message| message != UNDER_WAY);
            let last = last.map(|message| format!("; {message}")).unwrap_or_default();
            let message = format!(
                "let through at {claimed}, but not seen to be carried out: look at the object, and ask again if need be{last}"
            );
            return self.end(position, ChangeState::Failed, message);
        }
        if now >= grant.valid_until.0 {
            let message = format!("the approval was valid until {}", grant.valid_until.0);
            return self.end(position, ChangeState::Expired, message);
        }
        if attempts >= ATTEMPTS {
            let message = format!("what came of {attempts} attempts to carry it out is not known; look at the object");
            return self.end(position, ChangeState::Failed, message);
        }
        let until = now.saturating_add(ATTEMPT).unwrap_or(now);
        let status = self.status(position);
        let in_doubt = status.message.replace(UNDER_WAY.to_owned()).as_deref() == Some(UNDER_WAY);
        status.attempts = attempts + 1;
        status.retry_at = Some(Time(until));
        self.plan.carry_out.push(Attempt { change: name, in_doubt });
        self.wake(until);
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

    fn wake(&mut self, at: Timestamp) {
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
