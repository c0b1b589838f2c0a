//! Who is reminded of what, and whose managers are told.

use super::reminder;
use crate::api::{Reminded, ReminderSpec};
use crate::notify::OpenTask;
use crate::notify::run::fixtures::{Place, identity, planned, shown, summaries, task, topics};
use jiff::ToSpan;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const COUNTS: [&str; 3] = ["taskCount", "restCount", "totalCount"];
const RUN: &str = "2026-03-30T06:00:00Z";

fn spec(min: u32, max: Option<u32>) -> ReminderSpec {
    ReminderSpec {
        schedule: "0 8 * * *".to_owned(),
        time_zone: "Europe/Prague".to_owned(),
        min_days_open: min,
        max_days_open: max,
        tasks_to_send: 10,
        approvers: Reminded { notify: true, topic: None },
        managers: Reminded { notify: false, topic: None },
    }
}

fn with_managers(min: u32, max: Option<u32>) -> ReminderSpec {
    ReminderSpec { managers: Reminded { notify: true, topic: None }, ..spec(min, max) }
}

fn told(place: &Place, spec: &ReminderSpec, tasks: &[OpenTask]) -> (Vec<String>, Vec<String>) {
    let run = reminder(place.occasion(RUN, tasks), spec);
    (summaries(&run, &COUNTS), run.without_address.iter().cloned().collect())
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn both_bounds_are_included_and_days_are_those_of_the_zone() {
    // In Prague summer time began on 29 March, and the last instant of the 23rd is 22:59:59 in UTC.
    let place = Place::new("Reminder", &[identity("mary", &[])]);
    for (opened, age) in [
        ("2026-03-30T05:59:59Z", 0),
        ("2026-03-29T22:00:00Z", 0),
        ("2026-03-29T21:59:59Z", 1),
        ("2026-03-28T23:00:00Z", 1),
        ("2026-03-28T22:59:59Z", 2),
        ("2026-03-23T23:00:00Z", 6),
        ("2026-03-23T22:59:59Z", 7),
    ] {
        let tasks = [task("one", opened, &["mary"])];
        for (min, max) in [(0, None), (0, Some(0)), (1, Some(6)), (2, None), (6, Some(7)), (7, Some(7)), (8, None)] {
            let due = min <= age && max.is_none_or(|max| age <= max);
            let (mails, _) = told(&place, &spec(min, max), &tasks);
            assert_eq!(mails.len(), usize::from(due), "{opened} is {age} days old, asked for {min} to {max:?}");
        }
        let (place, spec) = (Place::new("Reminder", &[identity("mary", &[])]), spec(0, None));
        let run = reminder(place.occasion(RUN, &tasks), &spec);
        assert_eq!(shown(&run)[0].1["tasks"][0]["age"], json!(age));
    }
}

#[test]
fn a_task_that_opened_after_a_missed_run_is_not_of_age_in_it() {
    let place = Place::new("Reminder", &[identity("mary", &[])]);
    let tasks = [task("one", "2026-03-31T06:00:00Z", &["mary"])];
    assert_eq!(told(&place, &spec(0, None), &tasks).0, none());
}

#[test]
fn the_oldest_are_listed_and_the_rest_is_counted() {
    let place = Place::new("Reminder", &[identity("mary", &[])]);
    let days_ago = |name: &str, days: i64| {
        let opened = RUN.parse::<jiff::Timestamp>().expect("a moment").checked_sub((days * 24).hours());
        task(name, &opened.expect("a moment").to_string(), &["mary"])
    };
    let tasks = [days_ago("b", 9), days_ago("young", 2), days_ago("c", 8), days_ago("a", 12), days_ago("old", 14)];
    let spec = ReminderSpec { tasks_to_send: 2, ..spec(7, Some(13)) };
    let (mails, _) = told(&place, &spec, &tasks);
    assert_eq!(mails, ["mary@example.com reminder-medium: a b | 3 1 5"]);
}

#[test]
fn every_manager_who_counts_is_told_about_every_approver() {
    let mut gone = identity("gone", &[]);
    gone.1.active = false;
    let mut silent = identity("silent", &[]);
    silent.1.email = None;
    let people = [
        identity("anna", &[]),
        identity("cilla", &[]),
        gone,
        silent,
        identity("john", &["anna", "silent"]),
        identity("mary", &["cilla", "anna", "anna", "gone", "nobody", "mary"]),
    ];
    let place = Place::new("Reminder", &people);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["mary", "john"])];
    let (mails, without_address) = told(&place, &with_managers(7, None), &tasks);
    assert_eq!(
        mails,
        [
            "john@example.com reminder-medium: one | 1 0 1",
            "anna@example.com reminder-manager: one | 1 0 1",
            "mary@example.com reminder-medium: one | 1 0 1",
            "anna@example.com reminder-manager: one | 1 0 1",
            "cilla@example.com reminder-manager: one | 1 0 1",
        ]
    );
    assert_eq!(without_address, ["silent"]);
    let run = with_managers(7, None);
    let run = reminder(place.occasion(RUN, &tasks), &run);
    let ids: BTreeSet<_> = planned(&run).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 5, "anna gets one mail for each of the two");
}

#[test]
fn managers_are_told_of_an_approver_without_an_address() {
    let mut john = identity("john", &["anna"]);
    john.1.email = None;
    let place = Place::new("Reminder", &[identity("anna", &[]), john]);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["john"])];
    let expected = vec!["anna@example.com reminder-manager: one | 1 0 1".to_owned()];
    assert_eq!(told(&place, &with_managers(7, None), &tasks), (expected.clone(), vec!["john".to_owned()]));
    let managers_alone = ReminderSpec { approvers: Reminded { notify: false, topic: None }, ..with_managers(7, None) };
    assert_eq!(told(&place, &managers_alone, &tasks), (expected, none()));
}

#[test]
fn a_delegate_is_reminded_as_themselves() {
    let people =
        [identity("anna", &[]), identity("cilla", &[]), identity("john", &["anna"]), identity("mary", &["cilla"])];
    let place = Place::new("Reminder", &people);
    let mut tasks = [task("one", "2026-03-01T10:00:00Z", &["john"])];
    tasks[0].people[0].on_behalf_of = Some("mary".to_owned());
    assert_eq!(
        told(&place, &with_managers(7, None), &tasks).0,
        ["john@example.com reminder-medium: one | 1 0 1", "anna@example.com reminder-manager: one | 1 0 1"]
    );
}

#[test]
fn a_mailbox_of_a_group_is_reminded_and_has_no_managers() {
    let place = Place::new("Reminder", &[identity("anna", &[]), identity("john", &["anna"])]);
    let mut tasks = [task("one", "2026-03-01T10:00:00Z", &[])];
    tasks[0].mails = vec!["approvers@example.com".to_owned()];
    let (mails, _) = told(&place, &with_managers(7, None), &tasks);
    assert_eq!(mails, ["approvers@example.com reminder-medium: one | 1 0 1"]);
}

#[test]
fn topics_are_those_of_the_reminder_and_can_be_disabled() {
    let mut place = Place::new("Reminder", &[identity("anna", &[]), identity("john", &["anna"])]);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["john"])];
    place.topics = topics(&["reminder-medium"]);
    let (mails, _) = told(&place, &with_managers(7, None), &tasks);
    assert_eq!(mails, ["anna@example.com reminder-manager: one | 1 0 1"]);
    place.topics = topics(&["reminder-manager"]);
    let swapped = ReminderSpec {
        approvers: Reminded { notify: true, topic: Some("reminder-manager".to_owned()) },
        managers: Reminded { notify: true, topic: Some("reminder-medium".to_owned()) },
        ..spec(7, None)
    };
    let (mails, _) = told(&place, &swapped, &tasks);
    assert_eq!(mails, ["anna@example.com reminder-medium: one | 1 0 1"]);
}

#[test]
fn the_template_gets_what_is_documented_and_managers_get_no_link() {
    let place = Place::new("Reminder", &[identity("anna", &[]), identity("john", &["anna"])]);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["john"]), task("two", "2026-03-29T10:00:00Z", &["john"])];
    let spec = with_managers(7, Some(40));
    let run = reminder(place.occasion(RUN, &tasks), &spec);
    let expected = |recipient: Value, url: &str, task_url: &str| {
        json!({
            "recipient": recipient,
            "url": url,
            "timeZone": "Europe/Prague",
            "taskCount": 1,
            "restCount": 0,
            "totalCount": 2,
            "approver": {"username": "john", "displayName": "John", "email": "john@example.com"},
            "minDays": 7,
            "maxDays": 40,
            "tasks": [{
                "title": "Task one",
                "namespace": "prod",
                "instance": "one",
                "step": "review",
                "stepTitle": "Review",
                "partition": "default",
                "partitionTitle": null,
                "initiator": {"username": "martha", "displayName": "martha"},
                "openedAt": "2026-03-01T10:00:00Z",
                "deadline": null,
                "age": 29,
                "isNew": false,
                "url": task_url
            }]
        })
    };
    let person = |username: &str, name: &str| json!({"username": username, "displayName": name, "email": format!("{username}@example.com"), "locale": null});
    let john = expected(person("john", "John"), "https://q.example.com/tasks", "https://q.example.com/tasks/prod/one");
    let anna = expected(person("anna", "Anna"), "", "");
    assert_eq!(shown(&run), [("john@example.com".to_owned(), john), ("anna@example.com".to_owned(), anna)]);
}

#[test]
fn thousands_of_holders_of_a_role_get_one_mail_each_and_their_manager_one_for_each() {
    let names: Vec<String> = (0..3000).map(|number| format!("p{number:04}")).collect();
    let mut people: Vec<_> = names.iter().map(|name| identity(name, &["anna"])).collect();
    people.push(identity("anna", &[]));
    let place = Place::new("Reminder", &people);
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let tasks = [task("one", "2026-03-01T10:00:00Z", &asked), task("two", "2026-03-01T10:00:00Z", &asked)];
    let spec = with_managers(7, None);
    let run = reminder(place.occasion(RUN, &tasks), &spec);
    let messages = planned(&run);
    let of = |topic: &str| messages.iter().filter(|(of, _)| of == topic).count();
    assert_eq!((of("reminder-medium"), of("reminder-manager")), (3000, 3000));
    assert_eq!(messages.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 6000);
}
