//! Webhooks and chats (requirement R47).

use super::{SECRET, STANDARD, post};
use crate::endpoint::Call;
use crate::scene::*;
use crate::{ShowsLog, eventually};
use base64::Engine as _;
use kube::ResourceExt;
use quorate::api::*;
use ring::hmac;
use serde_json::{Value, json};

/// Waits for what a channel was sent about a test.
async fn posted(scene: &Scene<'_>, path: &str) -> Call {
    let post = post().await;
    let calls = async || post.endpoint.calls(path).into_iter().find(|call| call.body.contains(&scene.namespace));
    eventually(&format!("something is posted to {path}"), calls).await
}

#[tokio::test]
async fn r47_webhooks_are_signed_and_chats_are_told() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "hooks").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let fields = json!([{"name": "secret", "type": "Text"}]);
    let definition = json!({
        "notifications": [{"on": "decision", "to": [{"channel": "team"}, {"channel": "duty"}]}],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": mary.name()}], "fields": fields}}],
    });
    let definition = scene.definition("check", definition).await;
    let release = anna.asks_for(&scene, &definition, "Release <!channel> *now*").await;
    let vote = json!({"decision": "Approve", "comment": "between us", "fields": {"secret": "4711-0815"}});
    scene.counts(&mary.signals(&release, vote).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);

    let call = posted(&scene, "/audit").await;
    let header = |name: &str| call.headers[name].clone();
    assert_eq!(header("content-type"), "application/cloudevents+json");
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), call.body);
    let tag = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes(), &tag).unwrap();
    let event: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("dev.quorate.completed")));
    assert_eq!(event["id"], header("webhook-id"));
    let source =
        format!("/apis/quorate.dev/v1alpha1/namespaces/{}/workflowinstances/{}", scene.namespace, release.name_any());
    assert_eq!(event["source"], source);
    assert_eq!(
        (&event["data"]["outcome"], &event["data"]["instance"]["uid"]),
        (&json!("Approved"), &json!(release.uid()))
    );

    let slack = posted(&scene, "/team").await;
    let body: Value = serde_json::from_str(&slack.body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("Release &lt;!channel&gt; *now*"), "nobody is mentioned: {text}");
    let mattermost = posted(&scene, "/duty").await;
    let body: Value = serde_json::from_str(&mattermost.body).unwrap();
    assert!(body["text"].as_str().unwrap().contains("\\*now\\*"), "no markup: {body}");
    for call in [&call, &slack, &mattermost] {
        assert!(
            !call.body.contains("between us") && !call.body.contains("4711-0815"),
            "what is recorded stays: {}",
            call.body
        );
    }
}

#[tokio::test]
async fn r47_a_channel_that_is_not_configured_is_said_so() {
    let post = post().await;
    let _log = ShowsLog(&post.cluster);
    let scene = Scene::with_namespace(&post.cluster, "unknown").await;
    let (anna, mary) = (scene.reader("anna", json!({})).await, scene.reader("mary", json!({})).await);
    let workflow = json!({
        "notifications": [{"on": "completed", "to": [{"person": "Initiator"}, {"channel": "nowhere"}]}],
        "nodes": [{"name": "check", "approval": {"approvers": [{"user": mary.name()}]}}],
    });
    let definition = scene.definition("check", workflow).await;
    let warnings = scene.found(&definition).await.status.unwrap().warnings;
    let place = "spec.notifications[0].to[1].channel: there is no channel nowhere; add it to the chart value";
    let warned = |warning: &String| warning.contains(place) && warning.contains("audit, duty, team");
    assert!(warnings.iter().any(warned), "{warnings:?}");
    // Nobody's request waits for it: the others hear of it, and what cannot be sent is told.
    let release = anna.asks_for(&scene, &definition, "Release").await;
    scene.counts(&mary.approves(&release).await).await;
    let said = scene.says_event(&release, "MailSetAside").await;
    assert!(said.contains("there is no channel nowhere in the operator's configuration"), "{said}");
    post.brings(&scene, "anna", "Approved: Release").await;
}
