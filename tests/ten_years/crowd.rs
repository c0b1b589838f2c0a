//! Ten thousand tasks of one approver, and ten thousand approvers of one task.

use crate::clock::{Chance, DAILY, FROM, at};
use crate::world::{Kind, Operator, UID, lives};
use jiff::Timestamp;
use quorate::api::{DigestSpec, IdentitySpec, ReminderSpec};
use quorate::directory::Snapshot;
use quorate::notify::digest::digest;
use quorate::notify::reminder::reminder;
use quorate::notify::run::Occasion;
use quorate::notify::schedule::Handled;
use quorate::notify::seen::Seen;
use quorate::notify::topics::Topics;
use quorate::notify::{Asked, OpenTask};
use std::collections::BTreeSet;

/// Tasks that these people may decide, all opened before the first run.
fn crowd(tasks: usize, people: &[String]) -> Vec<OpenTask> {
    let mut found = Vec::new();
    let mut chance = Chance(1);
    let pattern = lives(&mut chance, at(FROM), at("2025-01-10T00:00:00Z")).remove(0).task;
    for number in 0..tasks {
        let mut task = pattern.clone();
        task.instance.uid = Some(format!("uid-{number}"));
        let asked = |username: &String| Asked { username: username.clone(), on_behalf_of: None };
        task.people = people.iter().map(asked).collect();
        found.push(task);
    }
    found
}

/// One run over a crowd: how many mails it queued, and again after a restart.
async fn run_over(kind: &Kind, tasks: &[OpenTask], people: &[String]) -> (Option<usize>, usize) {
    let mut operator = Operator::new(kind, DAILY, "Europe/Prague", 1).await;
    let identity = |name: &String| IdentitySpec {
        username: name.clone(),
        email: Some(format!("{name}@example.com")),
        active: true,
        ..IdentitySpec::default()
    };
    let specs: Vec<_> = people.iter().map(|name| (name, identity(name))).collect();
    operator.directory = Snapshot::new(specs.iter().map(|(name, spec)| (name.as_str(), spec)), []);
    operator.topics = Topics::new([], "en");
    let begin = Handled { schedule: operator.schedule.text().to_owned(), until: at(FROM) };
    assert!(operator.store.begin_schedule(UID, None, &begin).await.expect("begun"));
    let run_at = operator.schedule.next(at("2025-01-20T00:00:00Z")).expect("a run");
    let passed_over = BTreeSet::new();
    let occasion = |run_at: Timestamp| Occasion {
        about: &operator.about,
        schedule: &operator.schedule,
        time_zone: "Europe/Prague",
        at: run_at,
        now: run_at,
        tasks,
        passed_over: &passed_over,
        directory: &operator.directory,
        topics: &operator.topics,
        links: &operator.links,
    };
    let run = |run_at: Timestamp, seen: &Seen| match kind {
        Kind::Digest(spec) => digest(occasion(run_at), spec, seen),
        Kind::Reminder(spec) => reminder(occasion(run_at), spec),
    };
    let mut faults = BTreeSet::new();
    let first = run(run_at, &Seen::default());
    let store = &operator.store;
    let queued = store.finish_run(UID, &begin, run_at, &first.seen, first.messages(&mut faults), run_at).await;
    let state = store.schedule(UID).await.expect("the state").expect("known");
    assert_eq!(state.handled.until, run_at);
    let next = operator.schedule.next(run_at).expect("a run");
    let again = run(next, &state.seen).len();
    drop(first);
    assert_eq!(faults, BTreeSet::new());
    (queued.expect("finished"), again)
}

#[tokio::test]
async fn r42_ten_thousand_tasks_of_one_approver_are_one_mail() {
    let people = ["mary".to_owned()];
    let tasks = crowd(10_000, &people);
    let few = |kind| match kind {
        Kind::Digest(spec) => Kind::Digest(DigestSpec { tasks_to_send: 10, ..spec }),
        Kind::Reminder(spec) => Kind::Reminder(ReminderSpec { tasks_to_send: 10, max_days_open: None, ..spec }),
    };
    let kind = few(Kind::digest(DAILY, "Europe/Prague"));
    assert_eq!(run_over(&kind, &tasks, &people).await, (Some(1), 0));
    let kind = few(Kind::reminder(DAILY, "Europe/Prague"));
    assert_eq!(run_over(&kind, &tasks, &people).await, (Some(1), 1), "a reminder comes again");
}

#[tokio::test]
async fn r42_ten_thousand_approvers_of_a_task_get_one_mail_each_in_one_transaction() {
    let people: Vec<String> = (0..10_000).map(|number| format!("p{number:05}")).collect();
    let tasks = crowd(1, &people);
    let kind = Kind::digest(DAILY, "Europe/Prague");
    assert_eq!(run_over(&kind, &tasks, &people).await, (Some(10_000), 0));
}
