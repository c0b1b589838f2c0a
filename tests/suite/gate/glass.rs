//! Break-glass: who holds the verb passes with a reason, and somebody looks at it afterwards.

use super::*;
use crate::changes::one_of;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::api::{Api, Patch, PatchParams, PostParams};

const ANNOTATION: &str = "quorate.dev/bypass-reason";

/// A gate of a process that one may pass, and one who holds the verb.
async fn glass<'a>(cluster: &'a Cluster, prefix: &str) -> (Scene<'a>, ApprovalProcess, Person) {
    let scene = Scene::with_namespace(cluster, prefix).await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of(prefix), json!({"bypass": {"permission": true}})).await;
    let (role, named) = (scene.unique("bypass"), format!("--resource-name={}", process.name_any()));
    let verbs = ["create", "clusterrole", &role, "--verb=bypass", "--resource=approvalprocesses.quorate.dev", &named];
    scene.kubectl(&verbs).await.ok().unwrap();
    let bound = ["create", "clusterrolebinding", &role, "--clusterrole", &role, "--user=alice"];
    scene.kubectl(&bound).await.ok().unwrap();
    (scene, process, alice)
}

fn urgent(name: &str, reason: &str) -> ConfigMap {
    let mut object = config_map(name, "x");
    object["metadata"]["annotations"] = json!({ANNOTATION: reason});
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn r25_what_passed_without_approval_is_recorded_told_and_reviewed() {
    let cluster = crate::with_mutating_policy().await;
    let (scene, process, alice) = glass(cluster, "glass-review").await;
    let own: Api<ConfigMap> = alice.sees();
    let object = urgent("web", "the cluster burns");
    // A right that was just given may not be known everywhere yet.
    eventually("the right is known", async || own.create(&PostParams::default(), &object).await.ok()).await;
    let request = scene.held_about("web").await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    assert_eq!(request.spec.requester.as_ref().unwrap().username, "alice");
    assert_eq!(request.spec.reason.as_deref(), Some("the cluster burns"));
    let told = scene.tells(&request, "Executed", "True", "Executed").await;
    assert!(told.contains("passed without approval: the cluster burns"), "{told}");
    eventually("an Event tells", async || {
        let events = scene.admin.sees::<Event>().list(&ListParams::default()).await.unwrap().items;
        let about = |event: &Event| {
            event.involved_object.name.as_deref() == Some(&request.name_any())
                && event.message.as_deref().is_some_and(|told| told.contains("the cluster burns"))
        };
        events.iter().any(about).then_some(())
    })
    .await;

    let review = scene.asked_for(&request, "operation", &process).await;
    assert!(review.spec.change_ref.as_ref().unwrap().review);
    scene.refuses(&alice.approves(&review).await, "SelfApproval", "").await;
    scene.counts(&scene.as_user("mary", &["glass-review"]).await.rejects(&review).await).await;
    assert_eq!(scene.outcome_of(&review).await, Outcome::Rejected);
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed], "what happened stays");
    assert!(scene.config_map("web").await.is_some());
}

#[tokio::test]
async fn r25_without_a_reason_or_without_the_verb_it_is_held_or_refused() {
    let cluster = crate::with_mutating_policy().await;
    let (scene, process, alice) = glass(cluster, "glass-not").await;
    for reason in ["", "  "] {
        let tried = alice.sees::<ConfigMap>().create(&PostParams::default(), &urgent("web", reason)).await;
        refused_by(tried, "gate.quorate.dev", "held for approval");
    }
    let bob = scene.as_user("bob", &[]).await;
    scene.may_edit(&bob).await;
    let tried = bob.sees::<ConfigMap>().create(&PostParams::default(), &urgent("web", "please")).await;
    let told = format!(
        "bob may not pass without approval: that needs the verb bypass on approvalprocess/{}",
        process.name_any()
    );
    refused_by(tried, "gate.quorate.dev", &told);
    assert!(scene.config_map("web").await.is_none());
    scene.held_about("web").await;
}

#[tokio::test]
async fn r25_a_reason_that_is_there_from_before_lets_nothing_pass() {
    let cluster = crate::with_mutating_policy().await;
    let (scene, _, alice) = glass(cluster, "glass-stale").await;
    let own: Api<ConfigMap> = alice.sees();
    let object = urgent("web", "the cluster burnt");
    eventually("the right is known", async || own.create(&PostParams::default(), &object).await.ok()).await;
    let patch = |patch: Value| Patch::Merge(patch);
    let tried = own.patch("web", &PatchParams::default(), &patch(json!({"data": {"key": "y"}}))).await;
    refused_by(tried, "gate.quorate.dev", "held for approval");
    // Another reason, for another change, is one.
    let again = json!({"data": {"key": "y"}, "metadata": {"annotations": {ANNOTATION: "it burns again"}}});
    own.patch("web", &PatchParams::default(), &patch(again)).await.unwrap();
    assert_eq!(json!(scene.config_map("web").await.unwrap().data), json!({"key": "y"}));
}
