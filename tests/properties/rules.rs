//! What must hold of every computation.

use super::people;
use super::play::Play;
use super::story::{MARKER, person};
use super::telling;
use proptest::prelude::*;
use quorate::api::{CountedDecision, Decision, Outcome, StepVisit, WorkflowInstanceStatus, seconds};
use quorate::engine::activity::Came;
use quorate::engine::graph::{Graph, GraphNode, Required, Step};
use quorate::engine::{Plan, Proof};
use quorate::scenario::invariants::broken;
use std::collections::{BTreeMap, BTreeSet};

type Held = Result<(), TestCaseError>;

/// Everything; the plan is what was computed for the play as it stands.
pub fn hold(play: &Play, plan: &Plan) -> Held {
    promises_are_kept(play, plan)?;
    computing_again_changes_nothing(play, plan)?;
    every_signal_is_judged_once(play, plan)?;
    the_record_grows(play, plan)?;
    for (number, decision) in plan.status.decisions.iter().enumerate().skip(play.status.decisions.len()) {
        people::rightly_counted(play, plan, number, decision)?;
    }
    nobody_counts_twice(play, &plan.status)?;
    duties_are_separate(play, &plan.status)?;
    approved_by_enough(play, &plan.status)?;
    no_approval_after_a_rejection(play, plan)?;
    nothing_confidential_is_told(plan)?;
    telling::hold(play, plan)?;
    wakes_in_time(play, plan)
}

/// The order of delivery, repeated delivery, a crash between status and verdicts, what was taken back.
fn promises_are_kept(play: &Play, plan: &Plan) -> Held {
    let mut broken = broken(&play.status, &play.unjudged, plan, |status, signals| play.compute(status, signals));
    if only_what_was_refused_counts_after_a_crash(play, plan) {
        broken.retain(|what| !what.starts_with("after a crash, another decision counts"));
    }
    // Nor is a remark on record: when the operator dies, it may come too late the second time.
    let remarks: Vec<String> = play
        .unjudged
        .iter()
        .filter(|signal| signal.spec.decision == Decision::Comment)
        .map(|signal| format!("after a crash, the verdict on {} is not given again", signal.name))
        .collect();
    broken.retain(|what| !remarks.contains(what));
    prop_assert!(broken.is_empty(), "{}", broken.join("\n"));
    let twin = play.compute(&play.status, &play.unjudged);
    prop_assert_eq!(&plan.status, &twin.status, "called twice, it says two things");
    prop_assert_eq!(verdicts(plan), verdicts(&twin));
    prop_assert_eq!((plan.write_back, plan.wake_at), (twin.write_back, twin.wake_at));
    Ok(())
}

/// A gap that is known: a refusal is not on record before its verdict is written. When the operator dies in between, the signal is
/// judged again, and what the rest of its batch brought about may entitle it by then. See
/// `a_refused_signal_stays_refused_after_a_crash`.
fn only_what_was_refused_counts_after_a_crash(play: &Play, plan: &Plan) -> bool {
    let again = play.compute(&plan.status, &play.unjudged);
    // What had to wait may have its turn, as it would have the next time.
    let counted =
        |uid: &String| plan.verdicts.iter().any(|verdict| verdict.reason.counted() && verdict.signal.uid == *uid);
    let mut added = again.status.decisions.iter().skip(plan.status.decisions.len());
    again.status.decisions.starts_with(&plan.status.decisions)
        && added.next().is_some_and(|decision| !counted(&decision.signal.uid))
}

fn computing_again_changes_nothing(play: &Play, plan: &Plan) -> Held {
    let judged = verdicts(plan);
    let rest: Vec<_> = play.unjudged.iter().filter(|signal| !judged.contains_key(&signal.uid)).cloned().collect();
    let other = play.compute(&plan.status, &rest);
    // What had to wait may have its turn now.
    if rest.is_empty() || other.verdicts.is_empty() {
        prop_assert_eq!(&plan.status, &other.status, "computing again changes the status");
        prop_assert!(other.notes.is_empty(), "computing again tells {:?}", other.notes);
        prop_assert!(other.verdicts.is_empty(), "computing again judges {:?}", other.verdicts);
        prop_assert_eq!(plan.write_back, other.write_back);
        prop_assert_eq!(plan.wake_at, other.wake_at, "computing again wakes at another time");
    }
    Ok(())
}

fn every_signal_is_judged_once(play: &Play, plan: &Plan) -> Held {
    let judged = verdicts(plan);
    prop_assert_eq!(judged.len(), plan.verdicts.len(), "a signal has two verdicts");
    let known: BTreeSet<&str> = play.unjudged.iter().map(|signal| signal.uid.as_str()).collect();
    prop_assert!(judged.keys().all(|uid| known.contains(uid.as_str())), "a verdict is given anew");
    if matches!(play.proof, Proof::Broken(_)) {
        prop_assert!(judged.is_empty(), "judged without proof");
        return Ok(());
    }
    // Signals wait for the definition, for one that may be on its way, and for who decides; and an end that came by itself has
    // its turn first.
    let ended_first = play.status.outcome.is_none() && plan.status.outcome.is_some();
    let reads = play.status.outcome.is_some() || (play.status.started_at.is_some() && play.readable());
    if reads && !ended_first {
        for signal in play.unjudged.iter().filter(|signal| !judged.contains_key(&signal.uid)) {
            let on_its_way = play.lag > 0 || signal.created_at >= play.now;
            // Until it is known who decides; or until the time of such a step was over, in this very computation.
            let mut before_and_after = play.status.tasks.iter().chain(&plan.status.tasks);
            let unopened = before_and_after.any(|task| task.required == 0);
            let reopened = plan.verdicts.iter().any(|verdict| {
                let spec = &play.sent[&verdict.signal.uid].spec;
                verdict.reason.counted() && !spec.decision.is_vote()
            });
            let deadline = plan.status.steps.iter().any(|visit| visit.deadline.is_some());
            prop_assert!(
                (on_its_way && deadline) || unopened || reopened,
                "signal {} has no verdict and nothing to wait for",
                signal.name
            );
        }
    }
    Ok(())
}

fn the_record_grows(play: &Play, plan: &Plan) -> Held {
    let (before, after) = (&play.status, &plan.status);
    for task in &after.tasks {
        let same = before
            .tasks
            .iter()
            .find(|old| (&old.step, old.visit, &old.partition) == (&task.step, task.visit, &task.partition));
        let same = same.filter(|old| old.required > 0);
        prop_assert!(same.is_none_or(|old| old.required == task.required), "required changed within a visit");
    }
    for (old, new) in before.steps.iter().zip(&after.steps) {
        let fixed = |visit: &StepVisit| (visit.node.clone(), visit.visit, visit.entered_at.clone());
        prop_assert_eq!(fixed(old), fixed(new), "a visit is another");
        prop_assert!(old.left_at.is_none() || old == new, "a visit that was over changed");
        prop_assert!(old.deadline.is_none() || old.deadline == new.deadline, "a deadline moved");
        prop_assert!(old.escalated <= new.escalated, "an escalation was taken back");
    }
    for (one, next) in after.steps.iter().zip(after.steps.iter().skip(1)) {
        let ordered = one.left_at.as_ref().is_some_and(|left| left.0 <= next.entered_at.0);
        prop_assert!(ordered, "the record goes back in time");
    }
    Ok(())
}

fn votes(status: &WorkflowInstanceStatus) -> impl Iterator<Item = &CountedDecision> {
    status.decisions.iter().filter(|decision| decision.decision.is_vote())
}

/// Who acted, and for whom.
pub fn behind(decision: &CountedDecision) -> impl Iterator<Item = &str> {
    std::iter::once(decision.actor.as_str()).chain(decision.on_behalf_of.as_deref())
}

fn nobody_counts_twice(play: &Play, status: &WorkflowInstanceStatus) -> Held {
    let votes: Vec<_> = votes(status).collect();
    for (number, vote) in votes.iter().enumerate() {
        let before = votes[..number].iter().filter(|other| (&other.step, other.visit) == (&vote.step, vote.visit));
        for other in before {
            let both = behind(vote).find(|one| behind(other).any(|other| play.story.alike(one, other)));
            prop_assert!(both.is_none(), "{:?} counted twice in visit {} of {}", both, vote.visit, vote.step);
        }
    }
    let signals: BTreeSet<_> = status.decisions.iter().map(|decision| &decision.signal.uid).collect();
    prop_assert_eq!(signals.len(), status.decisions.len(), "a signal counted twice");
    Ok(())
}

fn duties_are_separate(play: &Play, status: &WorkflowInstanceStatus) -> Held {
    let votes: Vec<_> = votes(status).collect();
    for (number, decision) in votes.iter().enumerate() {
        let Some(step) = step_of(play, status, decision) else { continue };
        for earlier in &votes[..number] {
            let same_visit = (&earlier.step, earlier.visit) == (&decision.step, decision.visit);
            if same_visit || !step.separate_from.contains(&earlier.step) {
                continue;
            }
            let both = behind(decision).find(|one| behind(earlier).any(|other| play.story.alike(one, other)));
            prop_assert!(both.is_none(), "{:?} decided {} and {}", both, earlier.step, decision.step);
        }
    }
    Ok(())
}

/// The visits since the start or a restart, each with the graph that it was made on.
fn visits<'a>(play: &'a Play, status: &'a WorkflowInstanceStatus) -> impl Iterator<Item = (&'a Graph, &'a StepVisit)> {
    let mut restarts = 0;
    status.steps.iter().filter_map(move |visit| {
        let graph = play.graph_after(restarts);
        restarts += usize::from(visit.output.as_deref() == Some("restarted"));
        Some((graph?, visit))
    })
}

/// The step that a decision was made in, as it was then.
pub fn step_of<'a>(play: &'a Play, status: &'a WorkflowInstanceStatus, decision: &CountedDecision) -> Option<&'a Step> {
    let mut visits = visits(play, status);
    let (graph, visit) = visits.find(|(_, visit)| (&visit.node, visit.visit) == (&decision.step, decision.visit))?;
    graph.step(&visit.node)
}

/// Every visit that was left as approved was approved by as many people as each of its partitions needs; or its time was over, and
/// the definition says that this approves.
fn approved_by_enough(play: &Play, status: &WorkflowInstanceStatus) -> Held {
    for (graph, visit) in visits(play, status).filter(|(_, visit)| visit.output.as_deref() == Some("approved")) {
        let step = graph.step(&visit.node).expect("only steps are approved");
        let silent = step.timeout.as_ref().is_some_and(|timeout| timeout.output == "approved")
            && visit.deadline.as_ref().zip(visit.left_at.as_ref()).is_some_and(|(end, left)| end.0 < left.0);
        for rule in &step.partitions {
            let here = |decision: &&CountedDecision| {
                (&decision.step, decision.visit, &decision.partition) == (&visit.node, visit.visit, &rule.name)
            };
            let approvals = votes(status).filter(here).filter(|decision| decision.decision == Decision::Approve);
            let people: BTreeSet<_> =
                approvals.map(|decision| person(decision.on_behalf_of.as_ref().unwrap_or(&decision.actor))).collect();
            let seen = play.required.get(&(visit.node.clone(), visit.visit, rule.name.clone()));
            let needed = match rule.required {
                Required::Number(number) => number,
                Required::All | Required::Percent(_) => seen.copied().unwrap_or(1).max(1),
            };
            prop_assert!(seen.is_none_or(|seen| *seen == needed), "{} needs {}, not {:?}", rule.name, needed, seen);
            let enough = people.len() >= needed as usize;
            prop_assert!(silent || enough, "{} of {} approved {} by {:?}", rule.name, visit.node, needed, people);
        }
    }
    Ok(())
}

/// A path by a rejected or expired edge reaches no operation and no approval without an approved edge after it (rule 13).
fn no_approval_after_a_rejection(play: &Play, plan: &Plan) -> Held {
    let status = &plan.status;
    let mut rejected = None;
    let mut last = None;
    for (graph, visit) in visits(play, status) {
        let approves = graph.end(&visit.node) == Some(Outcome::Approved);
        let executes = matches!(graph.nodes.get(&visit.node), Some(GraphNode::Execute(_)));
        let done = visit.output.as_deref() == Some("done");
        if approves || (executes && done) {
            prop_assert!(rejected.is_none(), "{} was reached by a rejection of {:?}", visit.node, rejected);
        }
        last = Some((approves, executes));
        match visit.output.as_deref() {
            Some("rejected" | "expired") => rejected = Some(visit.node.as_str()),
            Some("approved" | "restarted") => rejected = None,
            _ => {}
        }
    }
    let approving = last.is_some_and(|(approves, executes)| approves || executes);
    if plan.write_back == Some(Outcome::Approved) {
        prop_assert!(approving && rejected.is_none(), "written back as approved after a rejection of {:?}", rejected);
    }
    if status.outcome == Some(Outcome::Approved) {
        prop_assert!(last.is_some_and(|(approves, _)| approves), "Approved without having got there");
    }
    if let Some(outcome) = status.outcome.filter(|outcome| matches!(outcome, Outcome::Rejected | Outcome::Expired)) {
        let end = visits(play, status).last().and_then(|(graph, visit)| graph.end(&visit.node));
        prop_assert_eq!(end, Some(outcome), "ended without having got there");
    }
    Ok(())
}

/// Neither the status nor an Event holds what people wrote (rule 28).
fn nothing_confidential_is_told(plan: &Plan) -> Held {
    let status = serde_json::to_string(&plan.status).expect("JSON");
    let place = status.find(MARKER).map(|found| &status[found.saturating_sub(150)..(found + 30).min(status.len())]);
    prop_assert!(place.is_none(), "the status tells what somebody wrote: …{}…", place.unwrap_or_default());
    let told = plan.notes.iter().find(|note| note.message.contains(MARKER));
    prop_assert!(told.is_none(), "an Event tells what somebody wrote: {:?}", told);
    Ok(())
}

/// Somebody looks again while a time limit is open, and not in the past.
fn wakes_in_time(play: &Play, plan: &Plan) -> Held {
    let status = &plan.status;
    prop_assert!(plan.wake_at.is_none_or(|at| at.as_second() > play.now), "wakes in the past: {:?}", plan.wake_at);
    if status.outcome.is_some() {
        prop_assert!(plan.wake_at.is_none() && status.next_wakeup.is_none(), "wakes after its end");
        return Ok(());
    }
    if status.started_at.is_none() || !play.readable() {
        return Ok(());
    }
    let open = status.steps.last().filter(|visit| visit.left_at.is_none());
    let limit = open.and_then(|visit| {
        let level = visit.escalate_at.get(visit.escalated as usize);
        level.into_iter().chain(&visit.retry_at).chain(&visit.deadline).map(seconds).min()
    });
    prop_assert_eq!(status.next_wakeup.as_ref().map(seconds), limit, "the next wake-up is another than the next limit");
    if let Some(limit) = limit {
        let latest = limit.max(play.now) + 1;
        prop_assert!(
            plan.wake_at.is_some_and(|at| at.as_second() <= latest),
            "nobody looks at the limit: {:?}",
            plan.wake_at
        );
        // A Job that was looked at before its time was over is looked at once more, and its end is tried for as long as it takes.
        let runs = play.performed.as_ref().is_some_and(|performed| matches!(performed.came, Came::Runs(_)));
        let ends = open.is_some_and(|visit| {
            visit.job.is_some() && visit.retry_at.as_ref().is_some_and(|retry| seconds(retry) > play.now)
        });
        let acts = plan.activity.is_some() || runs || ends;
        let held = matches!(play.proof, Proof::Broken(_)) || limit > play.now - play.lag || acts;
        prop_assert!(limit >= play.now || held, "what is due at {} has not happened", limit);
    }
    Ok(())
}

pub fn verdicts(plan: &Plan) -> BTreeMap<String, String> {
    let line = |verdict: &quorate::engine::Verdict| {
        (verdict.signal.uid.clone(), format!("{} {}", verdict.reason, verdict.message))
    };
    plan.verdicts.iter().map(line).collect()
}
