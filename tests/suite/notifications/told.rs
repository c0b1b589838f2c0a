//! Who is told what, by which words, in which language (requirements R12, R15, R41, R52).

use super::{post, told};
use crate::ShowsLog;
use crate::language::runs;
use crate::requests::CN;
use crate::scene::*;
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test]
async fn r41_requester_and_other_approvers_hear_the_outcome() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "told").await;
    let mary = scene.reader("mary", json!({"displayName": "Mary"})).await;
    let martha = scene.reader("martha", json!({"displayName": "Martha"})).await;
    let john = scene.reader("john", json!({"displayName": "John", "locale": "en"})).await;
    let cilla = scene.reader("cilla", json!({"displayName": "Cilla Nováková", "locale": "cs-CZ"})).await;
    let clerks = scene.role("clerks", &[&martha, &john, &cilla]).await.name_any();
    let definition = json!({
        "notifications": [
            {"on": "assigned", "to": [{"person": "Approvers"}]},
            {"on": "decision", "to": [{"person": "Approvers"}, {"person": "Initiator"}]},
            {"on": "completed", "to": [{"person": "Initiator"}, {"person": "Approvers"}]},
            scene.archive(),
        ],
        "nodes": [{"name": "check", "displayName": "Check", "approval": {"approvers": [{"role": clerks}], "required": 2}}],
    });
    let definition = scene.definition("shop", definition).await;
    let release = mary.asks_for(&scene, &definition, "Release").await;
    for (name, subject) in
        [("martha", "Your approval"), ("john", "Your approval"), ("cilla", "Čeká se na vaše schválení")]
    {
        post.brings(&scene, name, subject).await;
    }
    scene.counts(&martha.approves(&release).await).await;
    scene.counts(&john.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    assert_eq!(
        told(&mails),
        [
            "archive: Approved: Release",
            "cilla: John – schváleno: Release",
            "cilla: Martha – schváleno: Release",
            "cilla: Schváleno: Release",
            "cilla: Čeká se na vaše schválení: Release",
            "john: Approved: Release",
            "john: Martha approved: Release",
            "john: Your approval is needed: Release",
            "martha: Approved: Release",
            "martha: John approved: Release",
            "martha: Your approval is needed: Release",
            "mary: Approved: Release",
            "mary: John approved: Release",
            "mary: Martha approved: Release",
        ]
    );
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids.len(), mails.len(), "each has an id of its own");
    let thread = mails[0].header("References");
    assert!(!ids.contains(thread) && thread.ends_with("@example.com>"), "{thread}");
    for mail in &mails {
        assert_eq!((mail.header("References"), mail.header("In-Reply-To")), (thread, thread), "they are one thread");
        assert_eq!(mail.header("From"), "Quorate <quorate@example.com>");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.content_type, "multipart/alternative");
        let types: Vec<_> = mail.parts.iter().map(|part| part.content_type.as_str()).collect();
        assert_eq!(types, ["text/plain", "text/html"]);
        assert!(mail.defects.is_empty() && mail.ascii && mail.longest <= 998, "{mail:?}");
        assert!(mail.text().contains(&format!("{}/{}", scene.namespace, release.name_any())), "{}", mail.text());
    }
    let czech = post.brings(&scene, "cilla", "Čeká").await;
    assert_eq!(czech.header("To"), format!("Cilla Nováková <{}>", scene.mailbox("cilla")));
    for text in [czech.text(), czech.html()] {
        assert!(text.contains("Čeká se na vaše schválení") && text.contains("Kdo žádá") && text.contains("Mary"));
        assert!(!text.contains("Your approval"), "{text}");
    }
    assert!(czech.html().contains("<html lang=\"cs\">"), "{}", czech.html());
}

/// EJBCA's example: partitions that are decided by different people; whom it is about hears how each of them stands.
#[tokio::test]
async fn r12_partitions_tell_their_approvers_and_the_user() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "parts").await;
    let (mary, anna) = (scene.reader("mary", json!({})).await, scene.reader("anna", json!({})).await);
    let (martha, john) = (scene.reader("martha", json!({})).await, scene.reader("john", json!({})).await);
    let (cilla, alita) = (scene.reader("cilla", json!({})).await, scene.reader("alita", json!({})).await);
    let officers = scene.role("officers", &[&martha, &john]).await.name_any();
    let partition = |name: &str, title: &str, approver: &Person| json!({"name": name, "displayName": title, "approvers": [{"user": approver.name()}], "notify": {}, "notifyUser": {}});
    let mut identity = partition("identity", "Identity", &martha);
    identity["approvers"] = json!([{"role": officers}]);
    identity["required"] = json!(2);
    let partitions = [identity, partition("payment", "Payment", &cilla), partition("background", "Background", &alita)];
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"partitions": partitions}}],
    });
    let definition = scene.definition("certificates", definition).await;
    let mut spec = runs(&definition);
    spec["title"] = json!("Certificate");
    spec["subjects"] = json!([anna.name()]);
    let request = scene.asking(&mary.opens("certificate", spec).await).await;
    for name in ["martha", "john", "cilla", "alita"] {
        post.brings(&scene, name, "Your approval is needed").await;
    }
    let sends = async |person: &Person, decision: &str, partition: &str| {
        let signal = person.signals(&request, json!({"decision": decision, "partition": partition})).await.unwrap();
        scene.counts(&signal).await;
    };
    sends(&martha, "Approve", "identity").await;
    sends(&john, "Approve", "identity").await;
    post.brings(&scene, "anna", "Approved: Certificate (Identity)").await;
    sends(&cilla, "Reject", "payment").await;
    let mails = post.has_brought(&scene, "Certificate").await;
    assert_eq!(
        told(&mails),
        [
            "alita: Your approval is needed: Certificate",
            "anna: Approved: Certificate (Identity)",
            "anna: No longer needed: Certificate (Background)",
            "anna: Rejected: Certificate (Payment)",
            "anna: Waiting for approval: Certificate",
            "anna: Waiting for approval: Certificate",
            "anna: Waiting for approval: Certificate",
            "archive: Rejected: Certificate",
            "cilla: Your approval is needed: Certificate",
            "john: Your approval is needed: Certificate",
            "martha: Your approval is needed: Certificate",
        ],
        "not of single votes, and nothing of the partitions of others"
    );
    let asked = post.brings(&scene, "cilla", "Your approval").await;
    assert!(asked.text().contains("Payment") && !asked.text().contains("Identity"), "{}", asked.text());
}

#[tokio::test]
async fn r15_a_node_tells_in_the_middle_and_goes_on() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "node").await;
    let (mary, john) = (scene.reader("mary", json!({})).await, scene.reader("john", json!({})).await);
    let boss = scene.reader("boss", json!({})).await;
    let anna = scene.reader("anna", json!({"managers": [boss.name()]})).await;
    let template = json!({"locale": "en", "subject": "Half way: {{ instance.title }}", "text": "{{ recipient.displayName }}: {{ event }}"});
    let topic: NotificationTopic = scene.has("half", json!({"templates": [template]})).await;
    scene.ready(&topic, "True").await;
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [
            {"name": "check", "approval": {"approvers": [{"user": mary.name()}]}},
            {"name": "tell", "notify": {"topic": topic.name_any(), "to": [{"person": "Managers"}, {"user": boss.name()}]}},
            {"name": "news", "notify": {"to": [{"person": "Initiator"}]}},
            {"name": "confirm", "approval": {"approvers": [{"user": john.name()}]}},
        ],
    });
    let definition = scene.definition("steps", definition).await;
    let move_ = anna.asks_for(&scene, &definition, "Move").await;
    scene.counts(&mary.approves(&move_).await).await;
    let middle = post.brings(&scene, "boss", "Half way: Move").await;
    assert_eq!((middle.content_type.as_str(), middle.parts.len()), ("text/plain", 1), "the topic has no HTML");
    assert_eq!(middle.text().trim(), format!("{}: notify", boss.name()));
    let news = post.brings(&scene, "anna", "Under way: Move").await;
    assert!(news.text().contains("it has not ended yet"), "{}", news.text());
    let status = scene.status(&move_).await;
    assert_eq!((status.outcome, status.step.as_deref()), (None, Some("confirm")));
    scene.counts(&john.approves(&move_).await).await;
    let mails = post.has_brought(&scene, "Move").await;
    assert_eq!(told(&mails), ["anna: Under way: Move", "archive: Approved: Move", "boss: Half way: Move"]);
}

/// What a definition, a process and a partition say comes together, and whom the request is about is told where the process says.
#[tokio::test]
async fn r52_definition_process_and_partition_each_say_who_is_told() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "levels").await;
    let (mary, boss) = (scene.reader("mary", json!({})).await, scene.reader("boss", json!({})).await);
    let owners = scene.role("owners", &[&boss]).await.name_any();
    let of_partition = json!([{"on": "approved", "to": [{"role": owners}]}]);
    let definition = json!({
        "displayName": "Certificates",
        "notifications": [scene.archive(), {"on": "executed", "to": [{"user": mary.name()}]}],
        "nodes": [{"name": "check", "displayName": "Check", "approval": {"approvers": [{"user": mary.name()}], "notify": {}, "notifications": of_partition}}],
    });
    let definition = scene.definition("certificates", definition).await;
    let process = scene.process("certificates", &definition.name_any(), &[]).await;
    let more = json!({
        "subjects": "[object.spec.username]",
        "subjectEmail": format!("object.spec.username + '@{}.example.com'", scene.namespace),
        "notifications": [
            {"on": "completed", "to": [{"person": "Subject"}, {"address": scene.mailbox("pki")}]},
            {"on": "opened", "to": [{"person": "Subject"}]},
        ],
    });
    scene.changes(&process, more).await;
    scene.ready(&process, "True").await;
    let request = scene.as_user("alice", &[]).await.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    assert_eq!(instance.spec.subject_emails, [scene.mailbox("alice")]);
    post.brings(&scene, "mary", "Your approval is needed").await;
    scene.counts(&mary.approves(&instance).await).await;
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
    let title = instance.status.as_ref().unwrap().title.clone().unwrap();
    let mails = post.has_brought(&scene, &title).await;
    let expected = [
        "alice: Approved: T",
        "alice: Waiting for approval: T",
        "archive: Approved: T",
        "boss: Approved: T (Check)",
        "mary: Carried out: T",
        "mary: Your approval is needed: T",
        "pki: Approved: T",
    ];
    assert_eq!(told(&mails), expected.map(|line| line.replacen(": T", &format!(": {title}"), 1)));
    for mail in &mails {
        assert!(!mail.text().contains("BEGIN CERTIFICATE"), "what is asked for is in no mail: {}", mail.text());
    }
}

#[tokio::test]
async fn rule34_titles_are_in_the_readers_language() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "titles").await;
    let anna = scene.reader("anna", json!({})).await;
    let cilla = scene.reader("cilla", json!({"locale": "cs"})).await;
    let martha = scene.reader("martha", json!({"locale": "de"})).await;
    let clerks = scene.role("clerks", &[&cilla, &martha]).await.name_any();
    let partition = json!({"name": "safety", "displayName": "Safety", "displayNames": {"cs": "Bezpečnost"},
        "approvers": [{"role": clerks}], "notify": {}});
    let definition = json!({
        "displayName": "Access",
        "displayNames": {"cs": "Přístup"},
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "displayName": "Check", "displayNames": {"cs": "Kontrola"}, "approval": {"partitions": [partition]}}],
    });
    let definition = scene.definition("access", definition).await;
    scene.asking(&anna.opens("access", runs(&definition)).await).await;
    let czech = post.brings(&scene, "cilla", "Čeká se na vaše schválení: Přístup").await;
    assert!(czech.text().contains("Krok: Kontrola – Bezpečnost"), "{}", czech.text());
    assert!(!czech.text().contains("Access"), "{}", czech.text());
    let other = post.brings(&scene, "martha", "Your approval is needed: Access").await;
    assert!(other.text().contains("Step: Check – Safety"), "{}", other.text());
}
