//! Who gets a digest, and what it lists.

use super::digest;
use crate::api::{DigestSpec, IdentitySpec};
use crate::notify::OpenTask;
use crate::notify::run::Occasion;
use crate::notify::run::fixtures::{Place, directory, identity, planned, shown, summaries, task, topics, written};
use crate::notify::seen::Seen;
use serde_json::json;
use std::collections::BTreeSet;

const COUNTS: [&str; 3] = ["newCount", "restCount", "totalCount"];

fn spec(tasks_to_send: u32) -> DigestSpec {
    DigestSpec {
        schedule: "0 8 * * *".to_owned(),
        time_zone: "Europe/Prague".to_owned(),
        topic: "task-digest".to_owned(),
        tasks_to_send,
    }
}

fn place() -> Place {
    Place::new("Digest", &[identity("john", &[]), identity("mary", &[])])
}

/// Runs day after day, and remembers in between.
struct Days {
    place: Place,
    spec: DigestSpec,
    seen: Seen,
}

impl Days {
    fn new(tasks_to_send: u32) -> Self {
        Self { place: place(), spec: spec(tasks_to_send), seen: Seen::default() }
    }

    fn day(&mut self, moment: &str, tasks: &[OpenTask]) -> Vec<String> {
        self.day_without(moment, tasks, &[])
    }

    /// The instances of that name could not be looked at.
    fn day_without(&mut self, moment: &str, tasks: &[OpenTask], passed_over: &[&str]) -> Vec<String> {
        let passed_over = passed_over.iter().map(|name| format!("uid-of-{name}")).collect();
        let occasion = Occasion { passed_over: &passed_over, ..self.place.occasion(moment, tasks) };
        let run = digest(occasion, &self.spec, &self.seen);
        let told = summaries(&run, &COUNTS);
        self.seen = std::mem::take(&mut self.seen).after(run.seen);
        told
    }
}

#[test]
fn a_mail_comes_when_there_is_something_new() {
    let mut days = Days::new(10);
    let one = task("one", "2026-03-01T10:00:00Z", &["mary"]);
    let two = task("two", "2026-03-02T10:00:00Z", &["mary", "john"]);
    assert_eq!(days.day("2026-03-01T07:00:00Z", &[]), Vec::<String>::new());
    let tasks = [one.clone()];
    assert_eq!(days.day("2026-03-02T07:00:00Z", &tasks), ["mary@example.com task-digest: one* | 1 0 1"]);
    assert_eq!(days.day("2026-03-03T07:00:00Z", &tasks), Vec::<String>::new());
    let tasks = [two.clone(), one];
    assert_eq!(
        days.day("2026-03-04T07:00:00Z", &tasks),
        ["john@example.com task-digest: two* | 1 0 1", "mary@example.com task-digest: two* one | 1 0 2"]
    );
    assert_eq!(days.day("2026-03-05T07:00:00Z", &[two]), Vec::<String>::new(), "one is done, nothing is new");
}

#[test]
fn what_could_not_be_looked_at_is_not_new_again() {
    let mut days = Days::new(10);
    let one = task("one", "2026-03-01T10:00:00Z", &["mary", "john"]);
    let two = task("two", "2026-03-02T10:00:00Z", &["mary"]);
    days.day("2026-03-02T07:00:00Z", std::slice::from_ref(&one));
    let told = days.day_without("2026-03-03T07:00:00Z", std::slice::from_ref(&two), &["one"]);
    assert_eq!(told, ["mary@example.com task-digest: two* | 1 0 1"]);
    assert_eq!(days.day("2026-03-04T07:00:00Z", &[one.clone(), two.clone()]), Vec::<String>::new(), "neither to her");
    assert_eq!(days.day_without("2026-03-05T07:00:00Z", &[], &["one", "two"]), Vec::<String>::new());
    assert_eq!(days.day("2026-03-06T07:00:00Z", &[one, two]), Vec::<String>::new());
    assert_eq!(days.day("2026-03-07T07:00:00Z", &[]), Vec::<String>::new());
    assert_eq!((days.seen.tasks.len(), days.seen.people.len()), (0, 0), "what is closed is forgotten");
}

#[test]
fn new_ones_are_first_and_the_rest_is_counted() {
    let mut days = Days::new(3);
    let old = [
        task("b", "2026-03-01T12:00:00Z", &["mary"]),
        task("c", "2026-03-01T14:00:00Z", &["mary"]),
        task("a", "2026-03-01T10:00:00Z", &["mary"]),
        task("d", "2026-03-01T16:00:00Z", &["mary"]),
    ];
    assert_eq!(days.day("2026-03-02T07:00:00Z", &old), ["mary@example.com task-digest: a* b* c* | 4 1 4"]);
    let mut tasks = old.to_vec();
    tasks.push(task("f", "2026-03-02T16:00:00Z", &["mary"]));
    tasks.push(task("e", "2026-03-02T14:00:00Z", &["mary"]));
    assert_eq!(
        days.day("2026-03-03T07:00:00Z", &tasks),
        ["mary@example.com task-digest: e* f* a | 2 3 6"],
        "d was counted although it was not listed"
    );
}

#[test]
fn a_task_is_new_to_whoever_may_decide_it_only_now() {
    let mut days = Days::new(10);
    let asked = |people: &[&str]| [task("one", "2026-03-01T10:00:00Z", people)];
    assert_eq!(days.day("2026-03-02T07:00:00Z", &asked(&["mary"])).len(), 1);
    let later = days.day("2026-03-03T07:00:00Z", &asked(&["mary", "john"]));
    assert_eq!(later, ["john@example.com task-digest: one* | 1 0 1"]);
    assert!(days.day("2026-03-04T07:00:00Z", &asked(&["mary"])).is_empty());
    assert!(days.day("2026-03-05T07:00:00Z", &asked(&["mary", "john"])).is_empty(), "the last mail to john counted it");
    // Another visit of the same step is another task.
    let mut again = asked(&["mary"]);
    again[0].visit = 2;
    assert_eq!(days.day("2026-03-06T07:00:00Z", &again), ["mary@example.com task-digest: one* | 1 0 1"]);
}

#[test]
fn what_is_closed_is_forgotten() {
    let mut days = Days::new(10);
    let tasks = ["a", "b", "c"].map(|name| task(name, "2026-03-01T10:00:00Z", &["mary"]));
    days.day("2026-03-02T07:00:00Z", &tasks);
    assert_eq!((days.seen.tasks.len(), days.seen.people.len()), (3, 1));
    days.day("2026-03-03T07:00:00Z", &tasks[1..]);
    assert_eq!((days.seen.tasks.len(), days.seen.people.len()), (2, 1));
    days.day("2026-03-04T07:00:00Z", &[]);
    assert_eq!(days.seen, Seen::default());
}

#[test]
fn several_usernames_are_one_person() {
    let mut mary = identity("mary", &[]);
    mary.1.aliases = vec!["oidc:mary".to_owned()];
    let place = Place::new("Digest", &[mary]);
    let tasks = [
        task("one", "2026-03-01T10:00:00Z", &["oidc:mary", "mary"]),
        task("two", "2026-03-01T11:00:00Z", &["oidc:mary"]),
    ];
    let (spec, seen) = (spec(10), Seen::default());
    let run = digest(place.occasion("2026-03-02T07:00:00Z", &tasks), &spec, &seen);
    assert_eq!(summaries(&run, &COUNTS), ["mary@example.com task-digest: one* two* | 2 0 2"]);
}

#[test]
fn a_username_is_not_the_name_of_somebody_elses_identity() {
    // The Identity that is called john belongs to somebody with another username.
    let mut rob = identity("john", &[]);
    rob.1.username = "rob".to_owned();
    let place = Place::new("Digest", &[rob]);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["john"])];
    let (spec, seen) = (spec(10), Seen::default());
    let run = digest(place.occasion("2026-03-02T07:00:00Z", &tasks), &spec, &seen);
    assert!(run.is_empty());
    assert_eq!(run.without_address, BTreeSet::from(["john".to_owned()]));
}

#[test]
fn a_mailbox_of_a_group_is_a_recipient_unless_it_is_somebodys_own() {
    let mut days = Days::new(10);
    let mut one = task("one", "2026-03-01T10:00:00Z", &["john"]);
    one.mails = vec!["Approvers@example.com".to_owned(), "approvers@example.com".to_owned()];
    let mut two = task("two", "2026-03-01T11:00:00Z", &[]);
    two.mails = vec!["JOHN@example.com".to_owned()];
    let tasks = [two, one];
    assert_eq!(
        days.day("2026-03-02T07:00:00Z", &tasks),
        ["john@example.com task-digest: one* two* | 2 0 2", "Approvers@example.com task-digest: one* | 1 0 1"]
    );
    assert_eq!(days.day("2026-03-03T07:00:00Z", &tasks), Vec::<String>::new());
}

#[test]
fn whoever_has_no_address_is_named_and_hears_of_everything_later() {
    let mut days = Days::new(10);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["alita"]), task("two", "2026-03-01T10:00:00Z", &["alita"])];
    let run = digest(days.place.occasion("2026-03-02T07:00:00Z", &tasks), &days.spec, &days.seen);
    assert!(run.is_empty());
    assert_eq!(run.without_address, BTreeSet::from(["alita".to_owned()]));
    days.day("2026-03-02T07:00:00Z", &tasks);
    days.place.directory = directory(&[identity("alita", &[])]);
    let told = days.day("2026-03-03T07:00:00Z", &tasks);
    assert_eq!(told, ["alita@example.com task-digest: one* two* | 2 0 2"]);
}

#[test]
fn whose_identity_is_named_like_the_username_of_another_gets_their_own_mail() {
    let mut john = identity("john", &[]);
    john.0 = "employee-1".to_owned();
    let mut other = identity("jd", &[]);
    other.0 = "john".to_owned();
    other.1.aliases = vec!["oidc:jd".to_owned()];
    let place = Place::new("Digest", &[john, other]);
    for username in ["jd", "oidc:jd"] {
        let tasks = [task("one", "2026-03-01T10:00:00Z", &[username])];
        let (spec, seen) = (spec(10), Seen::default());
        let run = digest(place.occasion("2026-03-02T07:00:00Z", &tasks), &spec, &seen);
        let told = shown(&run);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0.as_str(), &told[0].1["recipient"]["username"]), ("jd@example.com", &json!("jd")));
    }
}

#[test]
fn a_disabled_topic_tells_nobody_and_counts_as_told() {
    let mut days = Days::new(10);
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["mary"])];
    days.place.topics = topics(&["task-digest"]);
    assert_eq!(days.day("2026-03-02T07:00:00Z", &tasks), Vec::<String>::new());
    days.place.topics = topics(&[]);
    assert_eq!(days.day("2026-03-03T07:00:00Z", &tasks), Vec::<String>::new());
}

#[test]
fn the_template_gets_what_is_documented() {
    let mut mary: (String, IdentitySpec) = identity("mary", &[]);
    mary.1.locale = Some("cs-CZ".to_owned());
    let place = Place::new("Digest", &[mary]);
    let mut tasks = [task("one", "2026-03-28T22:30:00Z", &["mary"]), task("two", "2026-03-29T10:00:00Z", &["mary"])];
    tasks[0].deadline = Some("2026-04-01T10:00:00Z".parse().expect("a moment"));
    let (spec, seen) = (spec(1), Seen::default());
    let run = digest(place.occasion("2026-03-30T06:00:00Z", &tasks), &spec, &seen);
    let messages = written(&run);
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!((message.about.kind.as_deref(), message.thread.as_deref()), (Some("Digest"), None));
    assert_eq!(message.event, serde_json::Value::Null);
    let expected = json!({
        "recipient": {"username": "mary", "displayName": "Mary", "email": "mary@example.com", "locale": "cs-CZ"},
        "url": "https://q.example.com/tasks",
        "timeZone": "Europe/Prague",
        "newCount": 2,
        "restCount": 1,
        "totalCount": 2,
        "tasks": [{
            "title": "Úkol one",
            "namespace": "prod",
            "instance": "one",
            "step": "review",
            "stepTitle": "Review",
            "partition": "default",
            "partitionTitle": null,
            "initiator": {"username": "martha", "displayName": "martha"},
            "openedAt": "2026-03-28T22:30:00Z",
            "deadline": "2026-04-01T10:00:00Z",
            "age": 2,
            "isNew": true,
            "url": "https://q.example.com/tasks/prod/one"
        }]
    });
    assert_eq!(shown(&run), [("mary@example.com".to_owned(), expected)]);
}

#[test]
fn the_same_run_gives_the_same_ids_and_another_others() {
    let place = place();
    let tasks = [task("one", "2026-03-01T10:00:00Z", &["mary", "john"])];
    let (spec, seen) = (spec(10), Seen::default());
    let ids = |moment: &str| -> BTreeSet<String> {
        written(&digest(place.occasion(moment, &tasks), &spec, &seen)).into_iter().map(|message| message.id).collect()
    };
    assert_eq!(ids("2026-03-02T07:00:00Z").len(), 2);
    assert_eq!(ids("2026-03-02T07:00:00Z"), ids("2026-03-02T07:00:00Z"));
    assert!(ids("2026-03-02T07:00:00Z").is_disjoint(&ids("2026-03-03T07:00:00Z")));
}

#[test]
fn ten_thousand_tasks_of_one_approver_are_one_mail() {
    let place = place();
    let tasks: Vec<_> =
        (0..10_000).map(|number| task(&format!("t{number:05}"), "2026-03-01T10:00:00Z", &["mary"])).collect();
    let (spec, seen) = (spec(2), Seen::default());
    let run = digest(place.occasion("2026-03-02T07:00:00Z", &tasks), &spec, &seen);
    assert_eq!(summaries(&run, &COUNTS), ["mary@example.com task-digest: t00000* t00001* | 10000 9998 10000"]);
    assert_eq!(run.seen.told[0].1.to_string(), "1-10000", "what is remembered of her is one range");
}

#[test]
fn ten_thousand_approvers_of_one_task_get_one_mail_each() {
    let names: Vec<String> = (0..10_000).map(|number| format!("p{number:05}")).collect();
    let people: Vec<_> = names.iter().map(|name| identity(name, &[])).collect();
    let place = Place::new("Digest", &people);
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let tasks = [task("one", "2026-03-01T10:00:00Z", &asked)];
    let (spec, seen) = (spec(10), Seen::default());
    let run = digest(place.occasion("2026-03-02T07:00:00Z", &tasks), &spec, &seen);
    let ids: BTreeSet<_> = planned(&run).into_iter().map(|(_, id)| id).collect();
    assert_eq!((run.len(), ids.len(), run.seen.told.len()), (10_000, 10_000, 10_000));
}
