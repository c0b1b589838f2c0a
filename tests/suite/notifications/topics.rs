//! Texts of one's own (requirement R45).

use super::{post, told};
use crate::ShowsLog;
use crate::scene::*;
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;

#[tokio::test]
async fn r45_a_topic_that_is_disabled_sends_nothing() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "quiet").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let topic: NotificationTopic = scene.has("quiet", json!({"enabled": false})).await;
    scene.ready(&topic, "True").await;
    let quiet = topic.name_any();
    let definition = json!({
        "notifications": [scene.archive(), {"on": "completed", "to": [{"person": "Initiator"}], "topic": quiet}],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": mary.name()}], "notify": {"topic": quiet}}}],
    });
    let definition = scene.definition("check", definition).await;
    let first = anna.asks_for(&scene, &definition, "First").await;
    scene.counts(&mary.approves(&first).await).await;
    assert_eq!(told(&post.has_brought(&scene, "First").await), ["archive: Approved: First"]);

    // Enabled without a template, and not there at all: the built-in text is sent.
    scene.changes(&topic, json!({"enabled": true})).await;
    let said = scene.ready(&topic, "False").await;
    assert!(said.contains("spec.templates: there is none"), "{said}");
    let second = anna.asks_for(&scene, &definition, "Second").await;
    post.brings(&scene, "mary", "Your approval is needed: Second").await;
    scene.kubectl(&["delete", "notificationtopic", &quiet]).await.ok().unwrap();
    scene.counts(&mary.approves(&second).await).await;
    let mails = post.has_brought(&scene, "Second").await;
    let expected = [
        "anna: Approved: Second",
        "archive: Approved: First",
        "archive: Approved: Second",
        "mary: Your approval is needed: Second",
    ];
    assert_eq!(told(&mails), expected);
}

#[tokio::test]
async fn r45_a_broken_template_says_where_and_the_built_in_text_is_sent() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "broken").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let template = |text: &str| json!([{"locale": "en", "subject": "Look at {{ instance.title }}", "text": text, "html": "<p>{{ instance.title }}</p>"}]);
    let broken = template("Hello,\nplease look: {{ task.nosuch }}");
    let topic: NotificationTopic = scene.has("look", json!({"templates": broken})).await;
    let said = scene.ready(&topic, "False").await;
    assert!(said.contains("spec.templates[0] (en): text: line 2, column ") && said.contains("nosuch"), "{said}");
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": mary.name()}], "notify": {"topic": topic.name_any()}}}],
    });
    let definition = scene.definition("check", definition).await;
    anna.asks_for(&scene, &definition, "First").await;
    let mail = post.brings(&scene, "mary", "Your approval is needed: First").await;
    assert!(mail.text().contains("Step: "), "{}", mail.text());

    scene.changes(&topic, json!({"templates": template("Hello,\nplease look: {{ task.step }}")})).await;
    scene.ready(&topic, "True").await;
    anna.asks_for(&scene, &definition, "Second").await;
    let mail = post.brings(&scene, "mary", "Look at Second").await;
    assert_eq!(mail.text().trim(), "Hello,\nplease look: check");
    assert_eq!(mail.html().trim(), "<p>Second</p>");
    // What cannot even be read says so too.
    scene.changes(&topic, json!({"templates": template("{% if task %}")})).await;
    let said = scene.ready(&topic, "False").await;
    assert!(said.contains("spec.templates[0] (en): text: line 1"), "{said}");
}

/// A topic of the name of a built-in one adds a language and leaves the others as they are.
#[tokio::test]
async fn r45_a_built_in_text_in_another_language() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "polish").await;
    let anna = scene.reader("anna", json!({})).await;
    let zofia = scene.reader("zofia", json!({"locale": "pl"})).await;
    let cilla = scene.reader("cilla", json!({"locale": "cs"})).await;
    let clerks = scene.role("clerks", &[&zofia, &cilla]).await.name_any();
    let template = json!({"locale": "pl", "subject": "Proszę o zgodę: {{ instance.title }}", "text": "{{ url|link }}\n{{ command }}"});
    let topic = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "NotificationTopic", "metadata": {"name": "task-assigned"},
        "spec": {"templates": [template]}});
    scene.cluster.plane.apply(&topic.to_string()).await.unwrap().ok().unwrap();
    let topic: NotificationTopic = kube::Api::all(scene.admin.client.clone()).get("task-assigned").await.unwrap();
    scene.ready(&topic, "True").await;
    let definition = json!({
        "notifications": [scene.archive()],
        "nodes": [{"name": "check", "approval": {"approvers": [{"role": clerks}], "notify": {}}}],
    });
    let definition = scene.definition("check", definition).await;
    anna.asks_for(&scene, &definition, "Release").await;
    let polish = post.brings(&scene, "zofia", "Proszę o zgodę: Release").await;
    assert!(polish.text().contains("/tasks/") && polish.text().contains("kind: ApprovalSignal"), "{}", polish.text());
    post.brings(&scene, "cilla", "Čeká se na vaše schválení: Release").await;
}
