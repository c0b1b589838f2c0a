//! What single people are told: `explain` and `visible`.

use super::people::may_see;
use super::play::{Play, filled_in};
use super::story::{CREATED_AT, GROUPS, MARKER, USERS, person};
use proptest::prelude::*;
use quorate::api::{Actor, ApprovalSignalSpec, Decision, TaskState, seconds};
use quorate::engine::{Proof, Right, Signal, explain, visible};
use std::collections::BTreeSet;

type Held = Result<(), TestCaseError>;

/// Somebody, another one each time.
pub fn somebody(number: usize) -> (Actor, BTreeSet<Right>) {
    let groups =
        GROUPS.iter().enumerate().filter(|(at, _)| number >> at & 1 == 1).map(|(_, group)| (*group).to_owned());
    let actor =
        Actor { username: USERS[number % USERS.len()].to_owned(), uid: String::new(), groups: groups.collect() };
    let rights = [Right::Process("approve".to_owned()), Right::Administer];
    let rights = rights.into_iter().enumerate().filter(|(at, _)| number.is_multiple_of(3 + at)).map(|(_, right)| right);
    (actor, rights.collect())
}

/// What `explain` says of a task is what the verdict on a signal about this very task says.
pub fn told_the_truth(play: &Play, actor: &Actor, rights: &BTreeSet<Right>) -> Held {
    let explanation = play.ask(&play.status, &[], |facts| explain(facts, actor, rights));
    prop_assert!(!explanation.to_string().contains(MARKER), "it tells what somebody wrote: {explanation}");
    let Some(visit) = play.status.steps.last().filter(|visit| visit.left_at.is_none()) else {
        prop_assert!(explanation.tasks.is_empty(), "tasks, although nobody is asked");
        return Ok(());
    };
    // After everything that is on record, some of which clocks that were ahead have dated later than now.
    let newest = play.status.decisions.iter().map(|decision| seconds(&decision.at)).max().unwrap_or(CREATED_AT);
    let created_at = play.now.max(seconds(&visit.entered_at)).max(CREATED_AT).max(newest);
    let proven = matches!(play.proof, Proof::Since(since) if created_at > since);
    let late = visit.deadline.as_ref().is_some_and(|deadline| created_at > seconds(deadline));
    let unopened = play.status.tasks.iter().any(|task| task.required == 0);
    // Then the verdict waits, or the sender is not proven.
    if !proven || late || unopened || !play.readable() {
        return Ok(());
    }
    for task in &explanation.tasks {
        let rule = play.graph_of(&play.status).and_then(|graph| graph.step(&task.step));
        let rule = rule.and_then(|step| step.partitions.iter().find(|rule| rule.name == task.partition));
        let signal = Signal {
            name: "probe".to_owned(),
            uid: "the-very-last".to_owned(),
            created_at,
            spec: ApprovalSignalSpec {
                instance: "request".to_owned(),
                step: Some(task.step.clone()),
                visit: Some(task.visit),
                partition: Some(task.partition.clone()),
                decision: Decision::Approve,
                comment: Some("why not".to_owned()),
                fields: rule.map(filled_in).unwrap_or_default(),
                actor: Some(actor.clone()),
                ..ApprovalSignalSpec::default()
            },
            rights: rights.clone(),
        };
        let plan = play.compute(&play.status, &[signal]);
        let verdict = plan.verdicts.first();
        prop_assert!(verdict.is_some(), "no verdict on {} of {}", task.partition, task.step);
        let verdict = verdict.expect("a verdict");
        match &task.may {
            Ok(through) => {
                prop_assert!(
                    verdict.reason.counted(),
                    "told to decide through {}, but {}: {}",
                    through,
                    verdict.reason,
                    verdict.message
                );
                prop_assert_eq!(task.state, TaskState::Open);
            }
            Err((reason, why)) => {
                prop_assert_eq!(*reason, verdict.reason, "told: {}; but the verdict: {}", why, verdict.message);
            }
        }
    }
    Ok(())
}

/// Fields reach whoever may decide or view a partition, and nobody else; comments also the initiator, where they reject.
pub fn shown_to_the_right_people(play: &Play, actor: &Actor, rights: &BTreeSet<Right>) -> Held {
    let seen = play.ask(&play.status, &[], |facts| visible(facts, actor, rights));
    let own = play.story.request.initiator.is_some_and(|initiator| person(initiator) == person(&actor.username));
    for shown in &seen {
        let decision = play.status.decisions.iter().find(|decision| {
            (&decision.step, decision.visit, &decision.partition, &decision.actor, decision.decision)
                == (&shown.step, shown.visit, &shown.partition, &shown.actor, shown.decision)
        });
        let decision = decision.expect("what is shown was decided");
        if may_see(play, &play.status, decision, actor, rights) {
            continue;
        }
        prop_assert!(own, "{} sees what they have no part in", actor.username);
        prop_assert!(shown.fields.is_empty(), "{} sees fields: {:?}", actor.username, shown.fields);
        prop_assert!(
            shown.comment.is_none() || shown.decision == Decision::Reject,
            "{} sees a comment",
            actor.username
        );
    }
    Ok(())
}
