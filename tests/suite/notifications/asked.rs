//! Who is asked to decide: whoever can, and nobody else.

use super::{post, told};
use crate::ShowsLog;
use crate::scene::*;
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;

#[tokio::test]
async fn r16_an_escalation_tells_those_whom_it_calls_in() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "called").await;
    let alice = scene.reader("alice", json!({})).await;
    let boss = scene.reader("boss", json!({})).await;
    let anna = scene.reader("anna", json!({"managers": [boss.name()]})).await;
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {
            "approvers": [{"user": anna.name()}],
            "notify": {},
            "escalations": [{"after": "5s", "approvers": [{"supervisorOf": "Approvers"}]}],
        }}],
    });
    let definition = scene.definition("slow", definition).await;
    let release = alice.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "anna", "Your approval is needed: Release").await;
    let called = post.brings(&scene, "boss", "Escalated to you: Release").await;
    assert!(called.text().contains("(level 1)"), "{}", called.text());
    scene.counts(&boss.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    let expected =
        ["anna: Your approval is needed: Release", "archive: Approved: Release", "boss: Escalated to you: Release"];
    assert_eq!(told(&mails), expected, "who was asked before is not asked again");
}

#[tokio::test]
async fn r12_a_substitute_is_told_for_whom() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "behalf").await;
    let alice = scene.reader("alice", json!({})).await;
    let olga = scene.reader("olga", json!({"displayName": "Olga"})).await;
    let dan = scene.reader("dan", json!({"locale": "cs"})).await;
    olga.delegates(&scene, "holiday", json!({"to": dan.name()})).await;
    let role = scene.role("clerks", &[&olga]).await.name_any();
    let definition = json!({
        "notifications": [scene.archive(), {"on": "decision", "to": [{"person": "Initiator"}]}],
        "nodes": [{"name": "check", "approval": {"approvers": [{"role": role}], "notify": {}}}],
    });
    let definition = scene.definition("clerks", definition).await;
    let release = alice.asks_for(&scene, &definition, "Release").await;
    let own = post.brings(&scene, "olga", "Your approval is needed").await;
    assert!(!own.text().contains("You decide for"), "{}", own.text());
    let theirs = post.brings(&scene, "dan", "Čeká se na vaše schválení").await;
    assert!(theirs.text().contains("Rozhodujete za: Olga"), "{}", theirs.text());
    scene.counts(&dan.approves(&release).await).await;
    let decided = post.brings(&scene, "alice", "").await;
    assert!(decided.text().contains("on behalf of Olga"), "{}", decided.text());
}

#[tokio::test]
async fn r12_who_has_voted_and_who_may_not_is_not_asked() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "barred").await;
    let (mary, john) = (scene.reader("mary", json!({})).await, scene.reader("john", json!({})).await);
    let (martha, late) = (scene.reader("martha", json!({})).await, scene.reader("late", json!({})).await);
    let (away, mute) = (scene.reader("away", json!({"active": false})).await, scene.person("mute", json!({})).await);
    let role = scene.role("clerks", &[&mary, &john, &martha, &away, &mute]).await;
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"role": role.name_any()}], "required": 2, "notify": {}}}],
    });
    let definition = scene.definition("clerks", definition).await;
    // Mary asks, so she may not decide.
    let release = mary.asks_for(&scene, &definition, "Release").await;
    for name in ["john", "martha"] {
        post.brings(&scene, name, "Your approval is needed").await;
    }
    let told_of = scene.says_event(&release, "NoMailAddress").await;
    assert!(told_of.contains(mute.name()), "{told_of}");
    scene.counts(&john.approves(&release).await).await;
    // The role changes: only who was not asked before is asked.
    let members = [&mary, &john, &martha, &late].map(|person| json!({"identity": person.name()}));
    scene.changes(&role, json!({"members": members})).await;
    post.brings(&scene, "late", "Your approval is needed").await;
    scene.counts(&late.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    let expected = [
        "archive: Approved: Release",
        "john: Your approval is needed: Release",
        "late: Your approval is needed: Release",
        "martha: Your approval is needed: Release",
    ];
    assert_eq!(told(&mails), expected);
}

#[tokio::test]
async fn r53_who_is_named_by_an_administrator_is_told() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "named").await;
    let (alice, mary) = (scene.reader("alice", json!({})).await, scene.reader("mary", json!({})).await);
    let nora = scene.reader("nora", json!({})).await;
    let bind = ["create", "rolebinding", "boss", "--clusterrole=quorate-administrator", "--user=boss"];
    scene.kubectl(&bind).await.ok().unwrap();
    let boss = scene.as_user("boss", &[]).await;
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": mary.name()}], "notify": {}}}],
    });
    let definition = scene.definition("check", definition).await;
    let release = alice.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "mary", "Your approval is needed").await;
    let reassign = json!({"decision": "Reassign", "delegateTo": nora.name()});
    scene.counts(&boss.signals(&release, reassign).await.unwrap()).await;
    let asked = post.brings(&scene, "nora", "Your approval is needed").await;
    // What the mail says to type works as it stands.
    let text = asked.text();
    let command = text.split_once("<<'EOF'\n").and_then(|(_, rest)| rest.split_once("EOF\n")).unwrap().0;
    let kubeconfig = scene.cluster.plane.kubeconfig_for(nora.name(), &[]).unwrap();
    let arguments = ["create", "-f", "-"];
    scene.cluster.plane.run_tool("kubectl", &kubeconfig, &arguments, command).await.unwrap().ok().unwrap();
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    let mails = post.has_brought(&scene, "Release").await;
    let expected = [
        "archive: Approved: Release",
        "mary: Your approval is needed: Release",
        "nora: Your approval is needed: Release",
    ];
    assert_eq!(told(&mails), expected);
}

#[tokio::test]
async fn r12_a_group_is_told_by_its_mail() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "group").await;
    let alice = scene.reader("alice", json!({})).await;
    let night = scene.as_user("night-shift", &["night"]).await;
    let definition = json!({
        "notifications": [scene.archive(), {"on": "completed", "to": [{"person": "Approvers"}]}],
        "nodes": [{"name": "check", "approval": {"approvers": [{"group": "night", "mail": scene.mailbox("night")}], "notify": {}}}],
    });
    let definition = scene.definition("night", definition).await;
    let release = alice.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "night", "Your approval is needed").await;
    scene.counts(&night.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    let expected =
        ["archive: Approved: Release", "night: Approved: Release", "night: Your approval is needed: Release"];
    assert_eq!(told(&mails), expected);
}
