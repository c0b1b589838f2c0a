//! Nothing is lost, whatever happens to the mail server and to the operator (requirement R46).

use super::{NOBODY, Post, post, says, servers::Smtp, told};
use crate::language::runs;
use crate::scene::*;
use crate::{ShowsLog, eventually};
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Without a server nobody waits, and nothing is lost: it goes out as soon as there is one, once, also when that goes away.
#[tokio::test]
async fn r46_a_server_that_comes_late_goes_and_returns() {
    let mut post = Post::with(Smtp::start(&[]).await.unwrap(), None).await;
    let namespace = Scene::with_namespace(&post.cluster, "late").await.namespace;
    let scene = Scene::within(&post.cluster, &namespace).await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": mary.name()}], "notify": {}}}],
    });
    let definition = scene.definition("check", definition).await;
    let topic: NotificationTopic = scene.has("topic", json!({})).await;
    let digest: Digest = scene.has("yearly", json!({"schedule": "0 0 1 1 *"})).await;
    let said = says(&scene, &topic, "Delivering", "False", "NoMailServer").await;
    assert!(said.contains("notifications.smtp.url") && said.contains("QUORATE_SMTP_URL"), "{said}");
    says(&scene, &digest, "Delivering", "False", "NoMailServer").await;
    let early = anna.asks_for(&scene, &definition, "Early").await;
    eventually("the log shows the mail", async || {
        let log = std::fs::read_to_string(post.cluster.operator.log()).unwrap();
        let shown =
            |line: &str| line.contains("no mail server is configured; the mail waits") && line.contains("Early");
        log.lines().any(shown).then_some(())
    })
    .await;
    scene.counts(&mary.approves(&early).await).await;
    assert_eq!(scene.outcome_of(&early).await, Outcome::Approved);

    // A server is configured.
    post.cluster.operator.kill().await.unwrap();
    let listens_at = post.smtp.port;
    post.starts_again(&[("QUORATE_SMTP_URL", post.smtp.url())]).await;
    let scene = Scene::within(&post.cluster, &namespace).await;
    let expected = ["archive: Approved: Early", "mary: Your approval is needed: Early"];
    assert_eq!(told(&post.has_brought(&scene, "Early").await), expected);
    says(&scene, &topic, "Delivering", "True", "MailServerUp").await;

    // It goes.
    let before = post.mails(&scene);
    post.smtp.kill().await.unwrap();
    let scene = Scene::within(&post.cluster, &namespace).await;
    let away = anna.asks_for(&scene, &definition, "Away").await;
    says(&scene, &topic, "Delivering", "False", "MailServerDown").await;
    scene.counts(&mary.approves(&away).await).await;
    assert_eq!(scene.outcome_of(&away).await, Outcome::Approved);
    // And returns.
    post.smtp = Smtp::start_at(listens_at, &[]).await.unwrap();
    let scene = Scene::within(&post.cluster, &namespace).await;
    let expected = ["archive: Approved: Away", "mary: Your approval is needed: Away"];
    assert_eq!(told(&post.has_brought(&scene, "Away").await), expected);
    says(&scene, &topic, "Delivering", "True", "MailServerUp").await;
    assert_eq!(before.len(), 2, "what was sent before is not sent again");
    post.cluster.is_well();
}

#[tokio::test]
async fn r46_a_recipient_who_is_refused_stops_nobody_and_is_told_of() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "refused").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let lost = scene.reader("lost", json!({"email": NOBODY})).await;
    let topic: NotificationTopic = scene.has("topic", json!({})).await;
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {
            "approvers": [{"user": lost.name()}, {"user": mary.name()}],
            "notify": {"topic": topic.name_any()},
        }}],
    });
    let definition = scene.definition("check", definition).await;
    let release = anna.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "mary", "Your approval is needed").await;
    let event = scene.says_event(&release, "MailSetAside").await;
    assert!(event.contains(NOBODY) && event.contains("550"), "{event}");
    let said = says(&scene, &topic, "Delivering", "False", "MailSetAside").await;
    assert!(said.contains(NOBODY) && said.contains("no such user"), "{said}");
    let (_, metrics) = post.cluster.operator.get("/metrics").await.unwrap();
    let counted =
        |word: &str| metrics.lines().any(|line| line.starts_with("quorate_notifications") && line.contains(word));
    assert!(counted("\"set-aside\"") && counted("\"sent\""), "{metrics}");
    scene.counts(&mary.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    assert_eq!(told(&mails), ["archive: Approved: Release", "mary: Your approval is needed: Release"]);
}

/// The operator is killed again and again while thirty instances go by.
#[tokio::test]
async fn r46_an_operator_that_is_killed_loses_nothing_and_repeats_nothing() {
    const INSTANCES: usize = 30;
    const KILLS: usize = 4;
    let mut post = Post::start().await;
    let namespace = Scene::with_namespace(&post.cluster, "killed").await.namespace;
    let scene = Scene::within(&post.cluster, &namespace).await;
    let anna = scene.reader("anna", json!({})).await;
    let boss = scene.reader("boss", json!({})).await;
    let (mary, john) = (scene.reader("mary", json!({})).await, scene.reader("john", json!({})).await);
    let template = json!({"locale": "en", "subject": "Half way: {{ instance.title }}", "text": "Half way."});
    let topic: NotificationTopic = scene.has("half", json!({"templates": [template]})).await;
    scene.ready(&topic, "True").await;
    let definition = json!({
        "notifications": [
            scene.archive(),
            {"on": "decision", "to": [{"user": boss.name()}]},
            {"on": "completed", "to": [{"person": "Initiator"}, {"user": boss.name()}]},
        ],
        "nodes": [
            {"name": "check", "approval": {"approvers": [{"user": mary.name()}], "notifyUser": {}}},
            {"name": "tell", "notify": {"to": [{"user": john.name()}], "topic": topic.name_any()}},
            {"name": "confirm", "approval": {"approvers": [{"user": john.name()}], "notifyUser": {}}},
        ],
    });
    let definition = scene.definition("steps", definition).await;
    let mut instances = Vec::new();
    for number in 0..INSTANCES {
        let mut spec = runs(&definition);
        spec["title"] = json!(format!("Move {number}"));
        instances.push(anna.opens(&format!("move-{number}"), spec).await);
    }
    let mut kills = 0;
    for (number, instance) in instances.iter().enumerate() {
        if number % (INSTANCES / KILLS) == INSTANCES / KILLS - 1 {
            post.cluster.operator.kill().await.unwrap();
            post.starts_again(&[]).await;
            kills += 1;
        }
        let scene = Scene::within(&post.cluster, &namespace).await;
        scene.at(instance, "check").await;
        scene.counts(&mary.approves(instance).await).await;
        scene.at(instance, "confirm").await;
        john.approves(instance).await;
    }
    assert_eq!(kills, KILLS);
    let scene = Scene::within(&post.cluster, &namespace).await;
    for instance in &instances {
        assert_eq!(scene.outcome_of(instance).await, Outcome::Approved);
    }
    let mut expected = BTreeSet::new();
    for number in 0..INSTANCES {
        for line in [
            "anna: Approved: Move N",
            "anna: Approved: Move N (check)",
            "anna: Approved: Move N (confirm)",
            "anna: Waiting for approval: Move N",
            "archive: Approved: Move N",
            "boss: Approved: Move N",
            "john: Half way: Move N",
        ] {
            expected.insert(line.replace("Move N", &format!("Move {number}")));
        }
        for person in [&mary, &john] {
            expected.insert(format!("boss: {} approved: Move {number}", person.name()));
        }
    }
    for number in 0..INSTANCES {
        post.has_brought(&scene, &format!("Move {number}")).await;
    }
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mails = post.mails(&scene);
    for mail in &mails {
        let line = told(std::slice::from_ref(mail)).remove(0);
        ids.entry(line).or_default().insert(mail.id().to_owned());
    }
    for (line, ids) in &ids {
        // Openings have the same subject in both steps.
        let openings = usize::from(line.contains("Waiting for approval")) + 1;
        assert_eq!(ids.len(), openings, "{line} was composed anew");
    }
    assert_eq!(ids.keys().cloned().collect::<BTreeSet<_>>(), expected, "all of it is told");
    let different: usize = ids.values().map(BTreeSet::len).sum();
    println!("{} mails, {different} different ones, {kills} kills", mails.len());
    // What a server had taken when the operator died, before it could be written down: one for each connection.
    assert!(mails.len() - different <= kills * 4, "{} of {} are repeats", mails.len() - different, mails.len());
    post.cluster.is_well();
}
