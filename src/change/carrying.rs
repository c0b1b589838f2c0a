//! The approved change: the grant by which its requester passes the gate once, or the attempts of the operator to carry it out.

use super::advance::{Run, processes, who};
use super::carrier::{Carrier, REPEATED, VALID_FOR};
use super::facts::{Attempt, Effect, Result};
use crate::api::{ChangeState, Grant};
use crate::engine::Note;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How long after its claim the operator repeats a request: a little less than the gate lets it.
const PASSES: SignedDuration = SignedDuration::from_secs(25);

/// When what was let through and provably had no effect may be asked for again: no call of that request can be on its way any more.
const TAKEN_BACK: SignedDuration = SignedDuration::from_secs(90);

/// How long an attempt to carry a change out may take. Its result is written before that; if not, whoever tried is gone.
const ATTEMPT: SignedDuration = SignedDuration::from_secs(60);

/// How often it is tried to carry a change out.
const ATTEMPTS: u32 = 8;

/// What the status says between an attempt and the record of what came of it.
const UNDER_WAY: &str = "being carried out";

impl Run<'_> {
    /// Lets an approved change be carried out, or carries it out, and sees what comes of it.
    pub(super) fn carry_out(&mut self, position: usize) {
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
}
