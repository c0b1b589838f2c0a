//! Attacks 39–42, and ways to have mail sent to whom it does not concern.

use super::{Mail, Post, STANDARD, post, told};
use crate::gate::{Gated, is_held};
use crate::scene::*;
use crate::{ShowsLog, eventually};
use base64::Engine as _;
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The headers of every mail about an instance, in order.
const HEADERS: [&str; 11] = [
    "Auto-Submitted",
    "Content-Type",
    "Date",
    "From",
    "In-Reply-To",
    "MIME-Version",
    "Message-ID",
    "References",
    "Subject",
    "To",
    "X-Auto-Response-Suppress",
];

/// A definition in which this person decides and is told so, and the archive hears of the end.
async fn decided_by(scene: &Scene<'_>, person: &Person) -> WorkflowDefinition {
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": person.name()}], "notify": {}}}],
    });
    scene.definition("check", definition).await
}

#[tokio::test]
async fn attack_39_no_text_becomes_a_header() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "attack-39").await;
    let victim = scene.mailbox("victim");
    let injected = |text: &str| format!("{text}\r\nBcc: {victim}\r\nX-Evil: 1\r\n\r\nHello");
    let eve = scene.reader("eve", json!({"displayName": injected("Eve")})).await;
    let mary = scene.reader("mary", json!({"displayName": injected("Mary")})).await;
    let definition = decided_by(&scene, &mary).await;
    let mut spec = crate::language::runs(&definition);
    spec["title"] = json!(injected("Release"));
    let release = scene.asking(&eve.opens("release", spec).await).await;
    post.brings(&scene, "mary", "Your approval is needed: Release").await;
    scene.counts(&mary.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Hello").await;
    assert_eq!(mails.len(), 2, "{mails:?}");
    for mail in &mails {
        let mut names = mail.names();
        names.sort_unstable();
        assert_eq!(names, HEADERS);
        assert_eq!(mail.to.len(), 1, "{mail:?}");
        assert!(!mail.to.contains(&victim) && mail.defects.is_empty(), "{mail:?}");
    }
}

/// An address with a line break in it is no address: nothing is sent there, and it is said.
#[tokio::test]
async fn attack_39_an_address_that_is_more_than_one() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "attack-39-to").await;
    let anna = scene.reader("anna", json!({})).await;
    let mut asked = Vec::new();
    for (number, end) in ["\r\nRCPT TO:<{}>", "\r\nBcc: {}", ">, <{}", ",{}"].into_iter().enumerate() {
        let email = format!("{}{}", scene.mailbox("mary"), end.replace("{}", &scene.mailbox("victim")));
        asked.push(scene.reader(&format!("mary-{number}"), json!({"email": email})).await);
    }
    let john = scene.reader("john", json!({})).await;
    asked.push(john.clone());
    let role = scene.role("clerks", &asked.iter().collect::<Vec<_>>()).await.name_any();
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"role": role}], "notify": {}}}],
    });
    let definition = scene.definition("check", definition).await;
    let release = anna.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "john", "Your approval is needed").await;
    scene.counts(&john.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    assert_eq!(told(&mails), ["archive: Approved: Release", "john: Your approval is needed: Release"]);
}

#[tokio::test]
async fn attack_40_neither_html_nor_templates_of_others() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "attack-40").await;
    let markup = "<script>alert(1)</script><a href=\"javascript:x\">{{7*7}}{% for x in y %}";
    let eve = scene.reader("eve", json!({"displayName": format!("Eve {markup}")})).await;
    let mary = scene.reader("mary", json!({})).await;
    let definition = decided_by(&scene, &mary).await;
    let mut spec = crate::language::runs(&definition);
    spec["title"] = json!(markup);
    scene.asking(&eve.opens("release", spec).await).await;
    let mail = post.brings(&scene, "mary", "Your approval is needed").await;
    assert_eq!(mail.header("Subject"), format!("Your approval is needed: {markup}"));
    let html = mail.html();
    assert!(html.contains("&lt;script&gt;alert(1)") && html.contains("{{7*7}}{% for x in y %}"), "{html}");
    assert!(!html.contains("<script") && !html.contains("href=\"javascript") && !html.contains("href=\"{{"), "{html}");
    assert!(mail.text().contains(&format!("Asked by: Eve {markup}")), "{}", mail.text());
    let links: Vec<_> = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(!links.is_empty() && links.iter().all(|link| link.starts_with("http")), "{links:?}");
}

/// Everything in a mail that a scanner would open.
fn links(mail: &Mail) -> Vec<String> {
    let ends = |letter: char| letter.is_whitespace() || "\"<>'".contains(letter);
    let mut links = Vec::new();
    for text in [mail.text(), mail.html()] {
        let found = text.match_indices("http").filter_map(|(at, _)| text[at..].split(ends).next());
        links.extend(found.filter(|link| link.contains("://")).map(str::to_owned));
    }
    links
}

/// The status with which the operator answers.
async fn answered(post: &Post, method: &str, url: &str) -> u16 {
    let address = post.cluster.operator.address();
    let path = url.strip_prefix(&format!("http://{address}")).unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn attack_41_opening_a_link_decides_nothing() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "attack-41").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let definition = decided_by(&scene, &mary).await;
    let release = anna.asks_for(&scene, &definition, "Release").await;
    let mail = post.brings(&scene, "mary", "Your approval is needed").await;
    let links = links(&mail);
    let task = format!("/tasks/{}/{}", scene.namespace, release.name_any());
    assert!(links.iter().filter(|link| link.ends_with(&task)).count() >= 2, "{links:?}");
    let before = scene.now(&release).await;
    for link in &links {
        for tail in ["", "?decision=Approve", "?approve=true&token=x"] {
            let link = format!("{link}{tail}");
            for _ in 0..3 {
                assert_eq!(answered(post, "GET", &link).await, 200, "{link}");
                assert_eq!(answered(post, "HEAD", &link).await, 200, "{link}");
            }
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                assert_eq!(answered(post, method, &link).await, 405, "{method} {link}");
            }
        }
    }
    assert_eq!(scene.signals().await.len(), 0);
    scene.untouched(&before).await;
    // Had anything of that reached the operator, it would have been judged before what Mary sends now.
    scene.counts(&mary.rejects(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Rejected);
    assert_eq!(scene.status(&release).await.decisions.len(), 1);
}

/// What is held back, and what people write about it, stays where it is.
#[tokio::test]
async fn attack_42_no_secret_reaches_a_mail() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let gate = json!({"operations": ["CREATE"], "resources": [{"apiGroups": [""], "resources": ["secrets"]}]});
    let gated = Gated::of(&post.cluster, "attack-42", gate, json!({})).await;
    let scene = &gated.scene;
    let archive = scene.reader("archive", json!({})).await;
    let told_of = |on: &str| json!({"on": on, "to": [{"user": archive.name()}]});
    let notifications: Vec<_> = ["opened", "decision", "approved", "completed"].map(told_of).into();
    scene.changes(&gated.process, json!({"notifications": notifications})).await;
    scene.ready(&gated.process, "True").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": "hunter2-secret"}});
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &secret).await);
    let request = gated.request_about("db").await;
    gated.is_approved(&request).await;
    eventually("the archive hears of the end", async || {
        let ends = |mail: &Mail| mail.header("Subject").starts_with("Approved: ") && mail.text().contains("Ended: ");
        post.mails(scene).iter().any(ends).then_some(())
    })
    .await;
    post.is_done().await;
    let mails = post.mails(scene);
    assert_eq!(mails.len(), 5, "it opened, two decided, it was approved, it ended: {:?}", told(&mails));
    let encoded = STANDARD.encode("hunter2-secret");
    for mail in &mails {
        let all = format!("{mail:?}");
        assert!(!all.contains("hunter2") && !all.contains(&encoded) && !all.contains("password"), "{all}");
    }
}

/// Attack 15, for mail: what was only tried tells nobody.
#[tokio::test]
async fn attack_15_a_dry_run_sends_no_mail() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "dry").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let definition = decided_by(&scene, &mary).await;
    let mut spec = crate::language::runs(&definition);
    spec["title"] = json!("Tried");
    anna.fill_in(&mut spec, "initiator");
    let tried = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "WorkflowInstance", "metadata": {"name": "tried"}, "spec": spec});
    let arguments = ["create", "--dry-run=server", "-f", "-"];
    scene.kubectl_as(anna.name(), &arguments, &tried).await.ok().unwrap();
    let release = anna.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "mary", "Your approval is needed: Release").await;
    let signal = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "ApprovalSignal", "metadata": {"generateName": "tried-"},
        "spec": {"instance": release.name_any(), "decision": "Approve"}});
    scene.kubectl_as(mary.name(), &arguments, &signal).await.ok().unwrap();
    scene.counts(&mary.rejects(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    assert_eq!(told(&mails), ["archive: Rejected: Release", "mary: Your approval is needed: Release"]);
}

/// Whoever may open an instance must not send mail to the world.
#[tokio::test]
async fn attack_39_nobody_chooses_addresses_for_their_own_instance() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "relay").await;
    let eve = scene.as_user("eve", &[]).await;
    let victim = scene.mailbox("victim");
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}]}}]);
    let mut spec = json!({"workflow": {"nodes": nodes}});
    spec["subjectEmails"] = json!([victim]);
    refused_by(
        eve.tries_to_open("addressed", spec).await,
        "quorate-instance-initiator",
        "spec.subjectEmails is set by the operator alone: leave it out",
    );
    let told_at_once = json!([{"on": "assigned", "to": [{"address": victim}]}]);
    let group = json!([{"name": "check", "approval": {"approvers": [{"group": "all", "mail": victim}], "notify": {}}}]);
    let channel = json!([{"on": "completed", "to": [{"channel": "team"}]}]);
    let notified = json!([{"name": "tell", "notify": {"to": [{"address": victim}]}}, nodes[0]]);
    for (name, workflow, place, what) in [
        (
            "definition",
            json!({"nodes": nodes, "notifications": told_at_once}),
            "spec.notifications[0].to[0].address",
            "an address",
        ),
        (
            "channel",
            json!({"nodes": nodes, "notifications": channel}),
            "spec.notifications[0].to[0].channel",
            "a channel",
        ),
        ("mail", json!({"nodes": group}), "spec.nodes[check].approval.approvers[0].mail", "mail"),
        ("node", json!({"nodes": notified}), "spec.nodes[tell].notify.to[0].address", "an address"),
    ] {
        let instance = eve.opens(name, json!({"workflow": workflow})).await;
        let said = scene.says(&instance, "Completed", "False", "DefinitionNotReady").await;
        let because = format!(
            "{place}: {what} is not for a workflow of an instance's own; put the workflow into a WorkflowDefinition"
        );
        assert!(said.contains(&because), "{said}");
    }
    // Instances are told of in turn: when this one was, those were.
    let mary = scene.reader("mary", json!({})).await;
    let definition = decided_by(&scene, &mary).await;
    let anna = scene.reader("anna", json!({})).await;
    let release = anna.asks_for(&scene, &definition, "Release").await;
    post.brings(&scene, "mary", "Your approval is needed").await;
    scene.counts(&mary.approves(&release).await).await;
    let mails = post.has_brought(&scene, "Release").await;
    assert_eq!(told(&mails), ["archive: Approved: Release", "mary: Your approval is needed: Release"]);
}
