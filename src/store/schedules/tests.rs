//! What is remembered of schedules, in memory.

use super::ScheduleState;
use crate::notify::schedule::Handled;
use crate::notify::seen::{Change, Seen};
use crate::notify::{Destination, Message, id_of};
use crate::store::Store;
use crate::store::outbox::MAIL;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hour * 3600).expect("a moment")
}

fn handled(hour: i64) -> Handled {
    Handled { schedule: "0 * * * * UTC".to_owned(), until: at(hour) }
}

fn mails(of: &str, count: usize) -> impl Iterator<Item = Message> + Send {
    (0..count).map(move |number| Message {
        id: id_of(&[of, &number.to_string()]),
        to: Destination::Mail { address: format!("{number}@example.com"), name: None },
        topic: "task-digest".to_owned(),
        subject: "Open tasks".to_owned(),
        text: "Please decide.".to_owned(),
        html: None,
        thread: None,
        about: ObjectReference::default(),
        event: Value::Null,
    })
}

fn change() -> Change {
    Change {
        opened: (1..=200).map(|number| (format!("task {number}"), number)).collect(),
        told: (1..=200).map(|number| (format!("identity {number}"), (1..=number).collect())).collect(),
        ..Change::default()
    }
}

async fn begun() -> Store {
    let store = Store::open("sqlite::memory:").await.expect("a store in memory");
    assert_eq!(store.schedule("uid").await.expect("asked"), None);
    assert!(store.begin_schedule("uid", None, &handled(0)).await.expect("begun"));
    store
}

async fn queued(store: &Store) -> usize {
    store.claim(MAIL, "one", 10_000, at(0), at(1000)).await.expect("claimed").len()
}

#[tokio::test]
async fn a_run_is_remembered_with_its_mails() {
    let store = begun().await;
    let finish = store.finish_run("uid", &handled(0), at(1), &change(), mails("first", 150), at(1)).await;
    assert_eq!(finish.expect("finished"), Some(150));
    let seen = Seen::default().after(change());
    let state = ScheduleState { handled: handled(1), seen: seen.clone() };
    assert_eq!(store.schedule("uid").await.expect("asked"), Some(state));

    let next = Change {
        opened: vec![("task 201".to_owned(), 201)],
        closed: vec!["task 1".to_owned(), "task 2".to_owned()],
        told: vec![("identity 7".to_owned(), [7, 201].into_iter().collect())],
        done: vec!["identity 1".to_owned()],
    };
    let finish = store.finish_run("uid", &handled(1), at(2), &next, mails("second", 1), at(2)).await;
    assert_eq!(finish.expect("finished"), Some(1));
    let state = ScheduleState { handled: handled(2), seen: seen.after(next) };
    assert_eq!(store.schedule("uid").await.expect("asked"), Some(state));
    assert_eq!(queued(&store).await, 151);
}

#[tokio::test]
async fn a_run_that_is_finished_already_changes_nothing() {
    let store = begun().await;
    let first = store.finish_run("uid", &handled(0), at(2), &change(), mails("first", 3), at(2)).await;
    assert_eq!(first.expect("finished"), Some(3));
    let state = store.schedule("uid").await.expect("asked");
    let other = Change { done: vec!["identity 7".to_owned()], ..Change::default() };
    for (from, to) in [(0, 2), (0, 3), (2, 1), (2, 2)] {
        let again = store.finish_run("uid", &handled(from), at(to), &other, mails("other", 3), at(5)).await;
        assert_eq!(again.expect("asked"), None, "from {from} to {to}");
    }
    let edited = Handled { schedule: "30 * * * * UTC".to_owned(), until: at(2) };
    let again = store.finish_run("uid", &edited, at(4), &other, mails("other", 3), at(5)).await;
    assert_eq!(again.expect("asked"), None, "the schedule is another one");
    let never = store.finish_run("another", &handled(2), at(4), &other, mails("other", 3), at(5)).await;
    assert_eq!(never.expect("asked"), None, "it never began");
    assert_eq!(store.schedule("uid").await.expect("asked"), state);
    assert_eq!(queued(&store).await, 3);
}

#[tokio::test]
async fn a_schedule_begins_once_and_again_after_an_edit() {
    let store = begun().await;
    assert!(!store.begin_schedule("uid", None, &handled(5)).await.expect("asked"), "it has begun");
    let finish = store.finish_run("uid", &handled(0), at(1), &change(), mails("first", 1), at(1)).await;
    assert_eq!(finish.expect("finished"), Some(1));
    let edited = Handled { schedule: "30 * * * * UTC".to_owned(), until: at(3) };
    assert!(!store.begin_schedule("uid", Some(&handled(0)), &edited).await.expect("asked"), "it stands elsewhere");
    assert!(store.begin_schedule("uid", Some(&handled(1)), &edited).await.expect("begun"));
    let state = store.schedule("uid").await.expect("asked").expect("known");
    assert_eq!(state, ScheduleState { handled: edited, seen: Seen::default().after(change()) });
}

#[tokio::test]
async fn what_belongs_to_an_object_that_is_gone_is_forgotten() {
    let store = begun().await;
    assert!(store.begin_schedule("other", None, &handled(0)).await.expect("begun"));
    for uid in ["uid", "other"] {
        let finish = store.finish_run(uid, &handled(0), at(1), &change(), mails(uid, 1), at(1)).await;
        assert_eq!(finish.expect("finished"), Some(1));
    }
    store.forget_schedule("uid").await.expect("forgotten");
    assert_eq!(store.schedules().await.expect("asked"), ["other"]);
    assert_eq!(store.schedule("uid").await.expect("asked"), None);
    assert!(store.begin_schedule("uid", None, &handled(0)).await.expect("begun"));
    assert_eq!(store.schedule("uid").await.expect("asked").map(|state| state.seen), Some(Seen::default()));
    let other = store.schedule("other").await.expect("asked").map(|state| state.seen);
    assert_eq!(other, Some(Seen::default().after(change())));
}
