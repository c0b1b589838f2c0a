//! The store in memory and in a file; `tests/delivery` asks the same of `PostgreSQL`.

use super::outbox::{Fate, MAIL};
use super::{Mark, Store, moment, without_password};
use crate::notify::{Destination, Message, id_of};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    moment(1_800_000_000_000 + second * 1000)
}

fn mail(number: usize, address: &str) -> Message {
    Message {
        id: id_of(&[&number.to_string()]),
        to: Destination::Mail { address: address.to_owned(), name: Some("Mary".to_owned()) },
        topic: "assigned".to_owned(),
        subject: format!("Task {number}"),
        text: "Please decide.".to_owned(),
        html: Some("<p>Please decide.</p>".to_owned()),
        thread: Some("uid".to_owned()),
        about: ObjectReference { name: Some("firewall".to_owned()), ..ObjectReference::default() },
        event: json!({"event": "assigned"}),
    }
}

fn sent(message: &Message) -> (String, Fate) {
    (message.id.clone(), Fate::Sent)
}

async fn store() -> Store {
    Store::open("sqlite::memory:").await.expect("a store in memory")
}

#[tokio::test]
async fn what_is_queued_or_marked_already_is_left_alone() {
    let store = store().await;
    let mark = |id: &str| Mark { id: id.to_owned(), instance: "uid".to_owned() };
    let many: Vec<Message> = (0..150).map(|number| mail(number, "mary@example.com")).collect();
    let queued = store.queued();
    assert_eq!(store.enqueue(&[mark("a"), mark("b")], &many, at(0)).await.expect("queued"), 150);
    assert!(queued.has_changed().expect("the store lives"));
    assert_eq!(store.enqueue(&[mark("b"), mark("c")], &many, at(1)).await.expect("queued"), 0);
    let ids = ["d", "a", "c", "e"].map(str::to_owned).to_vec();
    assert_eq!(store.unmarked(ids).await.expect("asked"), ["d", "e"]);

    let claimed = store.claim(MAIL, "one", 200, at(60), at(2)).await.expect("claimed");
    let got: Vec<&Message> = claimed.iter().map(|claimed| &claimed.message).collect();
    assert_eq!(got, many.iter().collect::<Vec<_>>(), "whole, and in the order in which they were queued");
    assert_eq!(claimed[0].created_at, at(0));
}

#[tokio::test]
async fn a_message_belongs_to_one_holder_until_its_lease_is_over() {
    let store = store().await;
    let message = mail(1, "mary@example.com");
    store.enqueue(&[], std::slice::from_ref(&message), at(0)).await.expect("queued");
    let claim = async |holder: &str, until: i64, now: i64| {
        store.claim(MAIL, holder, 10, at(until), at(now)).await.expect("claimed").len()
    };
    assert_eq!(claim("one", 30, 0).await, 1);
    assert_eq!(claim("two", 40, 10).await, 0);
    store.renew("one", at(45)).await.expect("renewed");
    assert_eq!(claim("two", 70, 40).await, 0);
    assert_eq!(claim("two", 80, 50).await, 1, "the lease of the first is over");
    let again = Fate::Again { due: at(51), reason: "late".to_owned() };
    store.settle("one", &[(message.id.clone(), again)], at(51)).await.expect("settled");
    assert_eq!(claim("three", 90, 60).await, 0, "who has lost it does not put it back");
    store.settle("one", &[sent(&message)], at(61)).await.expect("settled");
    assert_eq!(claim("three", 120, 100).await, 0, "but that it was sent counts");
    assert_eq!(store.next_due(MAIL).await.expect("asked"), None);
}

#[tokio::test]
async fn what_is_sent_loses_its_body_and_goes_after_the_retention() {
    let store = store().await;
    let messages = [mail(1, "Mary@Example.com"), mail(2, "john@example.com")];
    let mark = Mark { id: "a".to_owned(), instance: "uid".to_owned() };
    store.enqueue(&[mark], &messages, at(0)).await.expect("queued");
    store.claim(MAIL, "one", 10, at(60), at(0)).await.expect("claimed");
    let reason = Fate::SetAside { reason: "550 no such\0user".to_owned() };
    store.settle("one", &[sent(&messages[0]), (messages[1].id.clone(), reason)], at(5)).await.expect("settled");

    let row: (String, Option<String>, String, String) =
        sqlx::query_as("SELECT text, html, event, subject FROM outbox WHERE state = 'sent'")
            .fetch_one(&store.pool)
            .await
            .expect("one row");
    assert_eq!(row, (String::new(), None, "null".to_owned(), "Task 1".to_owned()));
    let census = store.census(5).await.expect("counted");
    assert_eq!((census.queued, census.set_aside), (0, 1));
    assert_eq!(census.newest[0].reason, "550 no such\u{fffd}user");
    assert_eq!(census.newest[0].about.name.as_deref(), Some("firewall"));
    let times = store.sent_to(&["mary@example.com".to_owned()], "one", at(0), at(9)).await.expect("asked");
    assert_eq!(times["mary@example.com"], [at(5)], "upper and lower case are one recipient");

    let day = SignedDuration::from_hours(24);
    store.prune(day, at(86_000)).await.expect("pruned");
    assert_eq!(store.enqueue(&[], &messages, at(86_000)).await.expect("queued"), 0, "still known");
    assert_eq!(store.prune(day, at(90_000)).await.expect("pruned"), 2);
    assert_eq!(store.unmarked(vec!["a".to_owned()]).await.expect("asked"), Vec::<String>::new());
    assert_eq!(store.marked_instances().await.expect("asked"), ["uid"]);
    store.forget("uid", at(90_000)).await.expect("forgotten");
    assert_eq!(store.prune(day, at(200_000)).await.expect("pruned"), 1, "marks go when their instance is gone");
}

#[tokio::test]
async fn a_file_outlives_its_store_and_its_url_names_no_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("quorate.db").display());
    let store = Store::open(&url).await.expect("made");
    assert_eq!(store.value_or("born", "1").await.expect("set"), "1");
    store.enqueue(&[], &[mail(1, "mary@example.com")], at(0)).await.expect("queued");
    store.close().await;
    let store = Store::open(&url).await.expect("opened again");
    assert_eq!(store.value_or("born", "2").await.expect("set"), "1");
    store.set_value("born", "3").await.expect("set");
    assert_eq!(store.value("born").await.expect("asked").as_deref(), Some("3"));
    assert_eq!(store.census(0).await.expect("counted").queued, 1);

    let why = Store::open("sqlite:/nowhere/at/all.db").await.expect_err("no folder").to_string();
    assert!(why.starts_with("store sqlite:/nowhere/at/all.db cannot be opened: "), "{why}");
    let why = Store::open("mysql://root:secret@db/x").await.expect_err("another database").to_string();
    assert_eq!(
        why,
        "store mysql://root@db/x: is neither SQLite nor PostgreSQL; write sqlite:PATH or postgres://user:password@host/database"
    );
    assert_eq!(without_password("postgres://q:secret@db/x?password=secret"), "postgres://q@db/x");
}

#[tokio::test]
async fn what_a_wrong_clock_put_off_comes_back() {
    let store = store().await;
    let message = mail(1, "mary@example.com");
    store.enqueue(&[], std::slice::from_ref(&message), at(0)).await.expect("queued");
    store.claim(MAIL, "one", 1, at(86_400 + 60), at(86_400)).await.expect("claimed");
    let again = Fate::Again { due: at(86_400 + 60), reason: "451".to_owned() };
    store.settle("one", &[(message.id, again)], at(86_400)).await.expect("settled");
    store.heal(at(2)).await.expect("healed");
    assert_eq!(store.next_due(MAIL).await.expect("asked"), Some(at(2)));
    let claimed = store.claim(MAIL, "one", 1, at(60), at(2)).await.expect("claimed");
    assert_eq!(claimed[0].attempts, 1);
    assert_eq!(claimed[0].message.event, json!({"event": "assigned"}));
    assert_ne!(claimed[0].message.event, Value::Null);
}

#[tokio::test]
async fn what_fails_often_hides_nothing_else() {
    let store = store().await;
    let mut messages: Vec<Message> = (0..40).map(|number| mail(number, "gone@example.com")).collect();
    let about = |name: &str| ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
    for (message, digest) in messages.iter_mut().zip(["mornings", "evenings"]) {
        message.topic = "task-digest".to_owned();
        message.thread = None;
        message.about = about(digest);
    }
    store.enqueue(&[], &messages, at(0)).await.expect("queued");
    for (second, message) in (1..).zip(&messages) {
        store.claim(MAIL, "one", 1, at(1000), at(second)).await.expect("claimed");
        let fate = Fate::SetAside { reason: "550 no such user".to_owned() };
        store.settle("one", &[(message.id.clone(), fate)], at(second)).await.expect("settled");
    }
    let census = store.census(3).await.expect("counted");
    assert_eq!((census.queued, census.set_aside), (0, 40));
    let shown: Vec<_> = census.newest.iter().map(|aside| (aside.topic.as_str(), aside.about.name.as_deref())).collect();
    let requests = ("assigned", Some("firewall"));
    let digest = |name| ("task-digest", Some(name));
    assert_eq!(shown, [requests, requests, requests, digest("evenings"), digest("mornings")]);
}

#[tokio::test]
async fn what_a_limit_put_off_is_looked_at_again() {
    let store = store().await;
    let messages: Vec<Message> = (0..3).map(|number| mail(number, "mary@example.com")).collect();
    store.enqueue(&[], &messages, at(0)).await.expect("queued");
    store.claim(MAIL, "one", 10, at(60), at(1)).await.expect("claimed");
    let fates = [
        (messages[0].id.clone(), Fate::Later { due: at(3600) }),
        (messages[1].id.clone(), Fate::Again { due: at(900), reason: "451".to_owned() }),
    ];
    store.settle("one", &fates, at(2)).await.expect("settled");
    assert_eq!(store.reconsider(at(3)).await.expect("reconsidered"), 1, "not what was tried, nor what is being sent");
    let due = store.claim(MAIL, "one", 10, at(60), at(3)).await.expect("claimed");
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].message.id, messages[0].id);
}
