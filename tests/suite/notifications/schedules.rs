//! Digests (requirement R42) and reminders (R43, R44).

use super::{Post, post, says};
use crate::scene::*;
use crate::{ShowsLog, eventually};
use jiff::Timestamp;
use kube::core::ClusterResourceScope;
use kube::{Api, Resource, ResourceExt};
use quorate::api::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

/// A kind with a schedule.
trait Scheduled: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug {
    fn scheduled(&self) -> ScheduledStatus;
}

impl Scheduled for Digest {
    fn scheduled(&self) -> ScheduledStatus {
        self.status.clone().unwrap_or_default()
    }
}

impl Scheduled for Reminder {
    fn scheduled(&self) -> ScheduledStatus {
        self.status.clone().unwrap_or_default()
    }
}

/// Waits until the schedule has come once more, which takes up to a minute, and its mails are queued; gives the status.
async fn comes<K: Scheduled>(scene: &Scene<'_>, object: &K) -> ScheduledStatus {
    let api: Api<K> = Api::all(scene.admin.client.clone());
    let name = object.name_any();
    let next = eventually(&format!("it is said when {name} comes next"), async || {
        let next = api.get(&name).await.unwrap().scheduled().next_run?.0;
        (next > Timestamp::now()).then_some(next)
    })
    .await;
    while Timestamp::now() < next {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eventually(&format!("{name} comes at {next}"), async || {
        let status = api.get(&name).await.unwrap().scheduled();
        status.last_run.as_ref().is_some_and(|last| last.0 >= next).then_some(status)
    })
    .await
}

/// The subjects of the mails of a test that are about no instance, by who got them, in the order in which they arrived.
fn scheduled(post: &Post, scene: &Scene<'_>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in post.mails(scene).iter().filter(|mail| !mail.has("References")) {
        let to = mail.to[0].split('@').next().unwrap_or_default();
        found.entry(to.to_owned()).or_default().push(mail.header("Subject").to_owned());
    }
    found
}

/// What is told, by name.
fn lines(told: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    told.iter().map(|(name, lines)| ((*name).to_owned(), lines.iter().map(|&line| line.to_owned()).collect())).collect()
}

/// Nothing tells these people of single tasks.
async fn silent(scene: &Scene<'_>, name: &str, approvers: &Value) -> WorkflowDefinition {
    let definition =
        json!({"nodes": [{"name": "check", "displayName": "Check", "approval": {"approvers": approvers}}]});
    scene.definition(name, definition).await
}

/// A cluster of its own: a Digest mails everybody who has something to decide.
#[tokio::test]
async fn r42_a_digest_has_all_tasks_and_comes_only_when_there_are_new_ones() {
    let post = Post::start().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "digest").await;
    let mary = scene.reader("mary", json!({"displayName": "Mary"})).await;
    let cilla = scene.reader("cilla", json!({"locale": "cs"})).await;
    let john = scene.reader("john", json!({})).await;
    let mute = scene.person("mute", json!({})).await;
    let alone = silent(&scene, "alone", &json!([{"user": cilla.name()}])).await;
    let both =
        silent(&scene, "both", &json!([{"user": cilla.name()}, {"user": john.name()}, {"user": mute.name()}])).await;
    for title in ["First", "Second", "Third"] {
        mary.asks_for(&scene, &alone, title).await;
    }
    let shared = mary.asks_for(&scene, &both, "Shared").await;
    let digest: Digest =
        scene.has("mornings", json!({"schedule": "* * * * *", "timeZone": "Europe/Prague", "tasksToSend": 3})).await;
    scene.ready(&digest, "True").await;

    let status = comes(&scene, &digest).await;
    assert_eq!((status.last_mails, status.without_address), (Some(2), vec![mute.name().to_owned()]));
    post.is_done().await;
    let first =
        [("cilla", &["Čekají na vás 4 úkoly, z toho 4 nové"][..]), ("john", &["1 task is waiting for you, 1 new"][..])];
    assert_eq!(scheduled(&post, &scene), lines(&first));
    let mail = post.brings(&scene, "cilla", "Čekají").await;
    assert!(mail.text().contains("a další 1 úkol") && mail.text().contains("otevřen dnes"), "{}", mail.text());
    assert!(mail.html().contains("žádá Mary") && mail.html().contains("/tasks/"), "{}", mail.html());
    assert!(mail.defects.is_empty() && !mail.has("In-Reply-To"), "{mail:?}");

    // Nothing new: nobody is written to.
    assert_eq!(comes(&scene, &digest).await.last_mails, Some(0));
    mary.asks_for(&scene, &alone, "Fourth").await;
    scene.counts(&john.rejects(&shared).await).await;
    scene.outcome_of(&shared).await;
    mary.asks_for(&scene, &alone, "Fifth").await;
    assert_eq!(comes(&scene, &digest).await.last_mails, Some(1));
    post.is_done().await;
    let second = [
        ("cilla", &["Čekají na vás 4 úkoly, z toho 4 nové", "Čeká na vás 5 úkolů, z toho 2 nové"][..]),
        ("john", &["1 task is waiting for you, 1 new"][..]),
    ];
    assert_eq!(scheduled(&post, &scene), lines(&second));
    let mail = post.brings(&scene, "cilla", "Čeká na vás 5").await;
    let places = ["Fourth (nový)", "Fifth (nový)", "a další 2 úkoly"].map(|what| mail.text().find(what));
    assert!(
        places.iter().all(Option::is_some) && places[0] < places[2] && places[1] < places[2],
        "new ones first: {}",
        mail.text()
    );
    says(&scene, &digest, "Delivering", "True", "MailServerUp").await;
    post.cluster.is_well();
}

#[tokio::test]
async fn r43_reminders_go_to_approvers_and_their_managers() {
    let post = Post::start().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "remind").await;
    let mary = scene.reader("mary", json!({})).await;
    let boss = scene.reader("boss", json!({"locale": "cs"})).await;
    let chief = scene.reader("chief", json!({})).await;
    let managers = json!([boss.name(), chief.name()]);
    let anna = scene.reader("anna", json!({"displayName": "Anna", "managers": managers})).await;
    let john = scene.reader("john", json!({"displayName": "John", "managers": [boss.name()]})).await;
    let mine = silent(&scene, "mine", &json!([{"user": anna.name()}])).await;
    let both = silent(&scene, "both", &json!([{"user": anna.name()}, {"user": john.name()}])).await;
    for title in ["First", "Second"] {
        mary.asks_for(&scene, &mine, title).await;
    }
    mary.asks_for(&scene, &both, "Shared").await;
    let old =
        json!({"schedule": "* * * * *", "minDaysOpen": 7, "maxDaysOpen": 13, "approvers": {"topic": "reminder-low"}});
    let old: Reminder = scene.has("old", old).await;
    let all = json!({"schedule": "* * * * *", "timeZone": "Europe/Prague", "minDaysOpen": 0, "tasksToSend": 2,
        "approvers": {"topic": "reminder-high"}, "managers": {"notify": true}});
    let all: Reminder = scene.has("all", all).await;
    scene.ready(&old, "True").await;
    scene.ready(&all, "True").await;

    assert_eq!(comes(&scene, &all).await.last_mails, Some(5));
    post.is_done().await;
    let mails = post.mails(&scene);
    let today = scheduled(&post, &scene);
    let mut of_boss = today["boss"].clone();
    of_boss.sort();
    of_boss.dedup();
    let boss_hears = ["Anna: na rozhodnutí čekají 3 úkoly".to_owned(), "John: na rozhodnutí čeká 1 úkol".to_owned()];
    assert_eq!(of_boss, boss_hears, "one mail for each approver");
    assert_eq!(today["anna"][0], "Urgent: 3 tasks have been waiting for you");
    assert_eq!(today["john"][0], "Urgent: 1 task has been waiting for you");
    assert_eq!(today["chief"][0], "3 tasks have been waiting for Anna");
    assert_eq!(today.keys().collect::<Vec<_>>(), ["anna", "boss", "chief", "john"]);
    let to = |name: &str| {
        let address = scene.mailbox(name);
        mails.iter().find(|mail| mail.to == [address.as_str()]).unwrap()
    };
    let anna_reads = to("anna");
    assert!(anna_reads.text().contains("and 1 more") && anna_reads.text().contains("/tasks"), "{}", anna_reads.text());
    let chief_reads = to("chief");
    assert!(chief_reads.text().contains("and 1 more"), "{}", chief_reads.text());
    assert!(!chief_reads.text().contains("/tasks") && !chief_reads.html().contains("href"), "{}", chief_reads.text());
    assert_eq!(comes(&scene, &old).await.last_mails, Some(0), "nothing is a week old");
    post.cluster.is_well();
}

#[tokio::test]
async fn r42_a_schedule_that_cannot_be_kept_says_so() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "cron").await;
    let never: Digest = scene.has("never", json!({"schedule": "61 * * * *"})).await;
    let said = scene.ready(&never, "False").await;
    assert!(said.contains("spec.schedule") && said.contains("61"), "{said}");
    let nowhere: Reminder =
        scene.has("nowhere", json!({"schedule": "0 7 * * 1-5", "timeZone": "Europe/Nowhere"})).await;
    let said = scene.ready(&nowhere, "False").await;
    assert!(said.contains("spec.timeZone: ") && said.contains("Europe/Nowhere"), "{said}");
    assert_eq!(scene.found(&nowhere).await.status.unwrap().next_run, None);
    scene.changes(&nowhere, json!({"timeZone": "Europe/Prague", "approvers": {"notify": false}})).await;
    scene.ready(&nowhere, "True").await;
    assert!(scene.found(&nowhere).await.status.unwrap().next_run.is_some());
    let tried =
        scene.tries_to_have::<Reminder>("less", json!({"schedule": "0 7 * * *", "minDaysOpen": 9, "maxDaysOpen": 3}));
    refused_by(tried.await, "", "spec.maxDaysOpen is less than spec.minDaysOpen");
}
