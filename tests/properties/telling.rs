//! What must hold of what people are told: nothing that happened is forgotten or told twice, and asked is who may decide.

use super::play::Play;
use super::story::USERS;
use proptest::prelude::*;
use quorate::api::{Actor, NotificationEvent as On, WorkflowInstanceStatus};
use quorate::engine::{Plan, asking, explain};
use quorate::notify::{Occurrence, Story, Subscriptions};
use std::collections::BTreeSet;

const EVERYTHING: [On; 11] = [
    On::Assigned,
    On::Opened,
    On::Approved,
    On::Rejected,
    On::Expired,
    On::Superseded,
    On::Escalated,
    On::Decision,
    On::Executed,
    On::Completed,
    On::Failed,
];

/// Everything; the plan is what was computed for the play as it stands.
pub fn hold(play: &Play, plan: &Plan) -> Result<(), TestCaseError> {
    let (before, after) = (happened(play, &play.status), happened(play, &plan.status));
    let ids: BTreeSet<&str> = after.iter().map(|occurrence| occurrence.id.as_str()).collect();
    prop_assert_eq!(ids.len(), after.len(), "two things that happened have one id");
    if play.status.restarts == plan.status.restarts {
        let forgotten = before.iter().find(|it| it.asks.is_none() && !ids.contains(it.id.as_str()));
        prop_assert!(forgotten.is_none(), "it is forgotten that {forgotten:?}");
    }
    let decided = after.iter().filter(|it| it.decision.is_some()).count();
    prop_assert_eq!(decided, if after.is_empty() { 0 } else { plan.status.decisions.len() });
    for visit in &plan.status.steps {
        let open = visit.left_at.is_none();
        prop_assert!(!open || visit.partitions.is_empty(), "a visit that goes on has left its partitions");
    }
    asked_is_who_may_decide(play, &plan.status)
}

/// Everything that happened, as a channel hears of it that hears of everything.
fn happened(play: &Play, status: &WorkflowInstanceStatus) -> Vec<Occurrence> {
    let all: &Subscriptions = &[("all".to_owned(), BTreeSet::from(EVERYTHING))];
    play.ask(status, &[], |facts| Story::new(facts, None, all).map(|story| story.occurrences()).unwrap_or_default())
}

fn asked_is_who_may_decide(play: &Play, status: &WorkflowInstanceStatus) -> Result<(), TestCaseError> {
    let tasks = play.ask(status, &[], asking);
    if tasks.is_empty() {
        return Ok(());
    }
    let directory = play.snapshot();
    for username in USERS {
        let person = Actor { username: (*username).to_owned(), ..Actor::default() };
        let told = play.ask(status, &[], |facts| explain(facts, &person, &BTreeSet::new()));
        let key = directory.person(username);
        for task in &tasks {
            let asked = task.people.iter().any(|invited| invited.person == key);
            let explained = told.tasks.iter().find(|other| other.partition == task.partition);
            let may = explained.is_some_and(|task| task.may.is_ok());
            prop_assert_eq!(asked, may, "{}, partition {}: {:?}", username, &task.partition, explained);
        }
    }
    Ok(())
}
