//! The way of an instance through an action: asked for, tried again, given up (requirement R51). Pure.
//!
//! That an action was entered is in the status before it is begun, and so is the number of its tries: a restart goes on. A crash
//! between a try and its record repeats it under the same id.

use super::Note;
use super::activity::{Activity, Came, Performed, Unrendered, backoff, id, poll_after};
use super::advance::{Run, Stall, Standing};
use super::graph::{Act, GraphNode};
use super::input::input;
use crate::api::{StepVisit, seconds};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The longest message of a try that the status keeps, in characters.
const MAX_MESSAGE: usize = 512;

impl Run<'_> {
    /// Where an action leads now; none while it is under way.
    pub(super) fn act(&mut self, act: &Act) -> Option<&'static str> {
        // What it waited for before a Retry counts no longer.
        self.act_at = None;
        let now = self.now.as_second();
        let (uid, performed) = (self.facts.instance.uid, self.facts.performed);
        let visit = self.status.steps.last_mut()?;
        let entered = seconds(&visit.entered_at);
        let deadline = if let Some(deadline) = &visit.deadline {
            seconds(deadline)
        } else {
            let end = entered.saturating_add(act.work.timeout.as_secs().max(1));
            visit.deadline = Timestamp::from_second(end).ok().map(Time);
            end
        };
        let (id, node) = (id(uid, &visit.node, visit.visit), visit.node.clone());
        if let Some(performed) = performed.filter(|it| it.id == id && is_new(visit, it)) {
            match record(visit, performed, act, now, deadline) {
                Recorded::Left(output) => {
                    let message = format!("{}: {}", act.title, visit.message.as_deref().unwrap_or(output));
                    let reason = if output == "done" { "ActionDone" } else { "ActionFailed" };
                    self.notes.push(Note { warning: output != "done", reason, message });
                    return Some(output);
                }
                Recorded::Runs => {
                    let next = now.saturating_add(poll_after(now - entered)).min(deadline.max(now + 1));
                    self.act_at = Timestamp::from_second(next).ok();
                    return None;
                }
                Recorded::Again => {}
            }
        }
        let over = now >= deadline;
        let started = visit.job.is_some();
        if over && !started && visit.attempts > 0 {
            return Some(self.timed_out(act));
        }
        if let Some(retry) = visit.retry_at.as_ref().filter(|retry| seconds(retry) > now) {
            self.act_at = Some(retry.0);
            return None;
        }
        let (attempt, job, entered_at) = (visit.attempts + 1, visit.job.clone(), visit.entered_at.0);
        let votes: Vec<_> = self.status.decisions.iter().filter(|decision| decision.decision.is_vote()).collect();
        let mut input = input(self.facts, &votes, &act.work.expressions());
        // Every try of a visit is the same.
        input.now = Some(entered_at);
        match act.work.render(&input) {
            Ok(deed) => {
                self.activity = Some(Activity { id, node, attempt, job, over, deed });
                None
            }
            Err(Unrendered::Stalled(_)) if over => Some(self.timed_out(act)),
            Err(Unrendered::Stalled(why)) => {
                let message = format!("action {node}: {}", shown(act, &why));
                self.stalled = Some(Stall { reason: "ExpressionFailed", message });
                self.act_at = Timestamp::from_second(deadline).ok();
                None
            }
            Err(Unrendered::Failed(why)) => {
                let why = shown(act, &why);
                self.notes.push(Note {
                    warning: true,
                    reason: "ActionFailed",
                    message: format!("{}: {why}", act.title),
                });
                self.status.steps.last_mut()?.message = Some(why);
                Some("failed")
            }
        }
    }

    fn timed_out(&mut self, act: &Act) -> &'static str {
        let last = self.status.steps.last().and_then(|visit| visit.message.clone());
        let last = last.map(|message| format!("; at last: {message}")).unwrap_or_default();
        let message = format!("{} was not done within {:#}{last}", act.title, act.work.timeout);
        self.notes.push(Note { warning: true, reason: "ActionFailed", message });
        "timedOut"
    }

    /// The open visit of an action, if it stands at one.
    pub(super) fn current_act(&self) -> Option<(&StepVisit, &Act)> {
        let visit = self.status.steps.last().filter(|visit| visit.left_at.is_none())?;
        match self.graph()?.nodes.get(&visit.node)? {
            GraphNode::Action(act) => Some((visit, act)),
            _ => None,
        }
    }

    /// Where it stands, when that is an action.
    pub(super) fn acting(&self) -> Option<Standing> {
        let (visit, act) = self.current_act()?;
        let words = act.work.words();
        let message = match (&visit.message, visit.attempts) {
            (Some(message), attempts) if visit.job.is_none() => {
                format!("{}: try {attempts} failed: {message}; it is tried again", act.title)
            }
            (Some(message), _) => format!("{}: {message}", act.title),
            (None, _) => format!("{}: it {words}", act.title),
        };
        Some(Standing::Held { reason: "Acting", message, stalled: false })
    }

    /// When the action where it stands is tried again, or its time is over.
    pub(super) fn next_of_act(&self) -> Option<Time> {
        let (visit, _) = self.current_act()?;
        visit.retry_at.iter().chain(&visit.deadline).min_by_key(|time| time.0).cloned()
    }
}

enum Recorded {
    /// It is over, by this output.
    Left(&'static str),
    /// Its Job runs.
    Runs,
    /// It is tried again.
    Again,
}

/// Whether a try is not on record yet; that its Job runs may be said again.
fn is_new(visit: &StepVisit, performed: &Performed) -> bool {
    let runs = matches!(&performed.came, Came::Runs(job) if visit.job.as_ref() == Some(job));
    performed.attempt == visit.attempts + 1 || runs && performed.attempt == visit.attempts
}

/// Takes note of what came of a try.
fn record(visit: &mut StepVisit, performed: &Performed, act: &Act, now: i64, deadline: i64) -> Recorded {
    let again = performed.came == Came::Again;
    // To look at a Job is no try.
    if visit.job.is_none() || again {
        visit.attempts += 1;
    }
    visit.retry_at = None;
    visit.message = Some(shown(act, &performed.message)).filter(|message| !message.is_empty());
    match &performed.came {
        Came::Done => Recorded::Left("done"),
        Came::Failed => Recorded::Left("failed"),
        Came::TimedOut => Recorded::Left("timedOut"),
        Came::Runs(job) => {
            visit.job = Some(job.clone());
            Recorded::Runs
        }
        Came::Again => {
            let next = now.saturating_add(backoff(visit.attempts));
            // The end of a Job that is over is tried for as long as it takes.
            let next = if now < deadline { next.min(deadline) } else { next };
            visit.retry_at = Timestamp::from_second(next).ok().map(Time);
            Recorded::Again
        }
    }
}

/// A message as the status may show it: short, in one line, and without what people recorded (rule 28).
fn shown(act: &Act, message: &str) -> String {
    if act.work.reads_decisions() && !message.is_empty() {
        return "what came of it is not shown, since what people recorded went into it".to_owned();
    }
    let plain: String = message.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match plain.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}
