//! In the name of the requester, or not.

use super::{create, one_of};
use crate::cluster::audit::Entry;
use crate::scene::*;
use crate::{with_mutating_policy, without_mutating_policy};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::json;

#[tokio::test]
async fn where_the_operator_may_not_it_says_so_before_anybody_is_asked() {
    let cluster = without_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "off").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("off"), json!({})).await;
    let request = alice.asks(&scene, "automatic", json!({"changes": [create("one")]})).await;
    let told = scene.tells(&request, "Stalled", "True", "AutomaticOff").await;
    assert!(told.contains("execution.automatic.enabled") && told.contains("OnRetry"), "{told}");
    let status = scene.now(&request).await.status.unwrap();
    assert_eq!((status.changes[0].state, status.changes[0].instances.len()), (ChangeState::Pending, 0));

    let by_hand = json!({"execution": {"mode": "OnRetry"}, "changes": [create("two")]});
    let by_hand = alice.asks(&scene, "by-hand", by_hand).await;
    let instance = scene.asked_for(&by_hand, "two", &process).await;
    let mary = scene.as_user("mary", &["off"]).await;
    scene.counts(&mary.approves(&instance).await).await;
    let told = scene.tells(&by_hand, "Completed", "False", "WaitingForExecution").await;
    assert!(told.contains("the same request passes once"), "{told}");
    let change = scene.now(&by_hand).await.status.unwrap().changes.remove(0);
    let day = change.grant.unwrap().valid_until.0.duration_since(change.decided_at.unwrap().0);
    assert!((86_395..=86_405).contains(&day.as_secs()), "{day}");

    // The very request passes the gate, once; another one does not.
    let makes = async |data: &str| {
        let map = json!({"metadata": {"name": "two"}, "data": {"of": data}});
        alice.sees::<ConfigMap>().create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await
    };
    refused_by(makes("other").await, "gate.quorate.dev", "held for approval");
    makes("two").await.unwrap();
    assert_eq!(scene.completed(&by_hand).await, [ChangeState::Executed]);
    scene.kubectl(&["delete", "configmap", "two"]).await.ok().unwrap();
    refused_by(makes("two").await, "gate.quorate.dev", "held for approval");
}

#[tokio::test]
async fn an_approval_that_nobody_uses_expires() {
    let cluster = without_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "unused").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let nodes = json!([
        {"name": "check", "approval": {"approvers": [{"group": "unused"}]}},
        {"name": "apply", "execute": {}},
    ]);
    let process = scene.gate("check", nodes, json!({"execution": {"validFor": "2s"}})).await;
    // Whoever asks may shorten what a process says, not lengthen it.
    let spec = json!({"execution": {"mode": "OnRetry", "validFor": "48h"}, "changes": [create("one")]});
    let request = alice.asks(&scene, "unused", spec).await;
    let instance = scene.asked_for(&request, "one", &process).await;
    scene.counts(&scene.as_user("mary", &["unused"]).await.approves(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Expired]);
    scene.tells(&request, "Approved", "True", "Approved").await;
    scene.tells(&request, "Executed", "False", "Expired").await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Cancelled, "what waited to be carried out ends");
}

#[tokio::test]
async fn every_operation_is_carried_out_as_the_requester() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "operations").await;
    let alice = scene.as_user("alice", &["team"]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("operations"), json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(scene.admin.client.clone(), &scene.namespace);
    for name in ["updated", "patched", "listed", "removed"] {
        let map = json!({"metadata": {"name": name}, "data": {"of": name, "kept": "x"}});
        api.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"of": "new"}});
    let target = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
    let changes = json!([
        {"name": "created", "operation": "Create", "object": object("created")},
        {"name": "applied", "operation": "Apply", "object": object("applied")},
        {"name": "updated", "operation": "Update", "object": object("updated")},
        {"name": "patched", "operation": "Patch", "target": target("patched"), "patch": {"data": {"of": "new"}}},
        {"name": "listed", "operation": "Patch", "target": target("listed"),
            "patch": [{"op": "replace", "path": "/data/of", "value": "new"}]},
        {"name": "removed", "operation": "Delete", "target": target("removed")},
    ]);
    let request = alice.asks(&scene, "all", json!({"changes": changes})).await;
    let mary = scene.as_user("mary", &["operations"]).await;
    for name in ["created", "applied", "updated", "patched", "listed", "removed"] {
        let instance = scene.asked_for(&request, name, &process).await;
        if name == "patched" {
            let (old, new) = (instance.spec.old_object.as_ref().unwrap(), instance.spec.object.as_ref().unwrap());
            assert_eq!((&old["data"]["of"], &new["data"]["of"]), (&json!("patched"), &json!("new")));
            assert_eq!(instance.spec.operation, Some(Operation::Update));
            assert_eq!(new["data"]["kept"], "x", "people see what it comes to");
        }
        scene.counts(&mary.approves(&instance).await).await;
    }
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed; 6]);
    scene.tells(&request, "Executed", "True", "Executed").await;
    let data = async |name: &str| scene.config_map(name).await.unwrap().data.unwrap();
    for name in ["created", "applied", "updated", "patched", "listed"] {
        assert_eq!(data(name).await["of"], "new", "{name}");
    }
    assert!(data("patched").await.contains_key("kept") && !data("updated").await.contains_key("kept"));
    assert!(scene.config_map("removed").await.is_none());
    let manager = scene.config_map("created").await.unwrap().metadata.managed_fields.unwrap().remove(0).manager;
    assert_eq!(manager.as_deref(), Some("quorate"));
    let own = |entry: &Entry| {
        entry.resource == "configmaps" && entry.namespace == scene.namespace && entry.user == alice.name()
    };
    assert_eq!(cluster.plane.audit().writes(own).await.unwrap().len(), 6, "each once, by the one who asked");
}

#[tokio::test]
async fn what_cannot_be_carried_out_says_why_and_the_others_stand() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "failed").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("failed"), json!({})).await;
    let mary = scene.as_user("mary", &["failed"]).await;
    let request = alice.asks(&scene, "both", json!({"changes": [create("taken"), create("free")]})).await;
    let taken = scene.asked_for(&request, "taken", &process).await;
    let free = scene.asked_for(&request, "free", &process).await;
    scene.kubectl(&["create", "configmap", "taken"]).await.ok().unwrap();
    scene.counts(&mary.approves(&taken).await).await;
    scene.counts(&mary.approves(&free).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Failed, ChangeState::Executed]);
    let change = scene.now(&request).await.status.unwrap().changes.remove(0);
    assert!(change.message.as_ref().unwrap().contains("already exists"), "{change:?}");
    assert_eq!(change.attempts, 1, "another try would not help");
    assert!(scene.config_map("free").await.is_some());
    assert!(scene.config_map("taken").await.unwrap().data.is_none(), "what is there stays as it is");
}

#[tokio::test]
async fn the_right_to_do_it_is_asked_for_again_when_it_is_done() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "right-lost").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("right-lost"), json!({})).await;
    let request = alice.asks(&scene, "later", json!({"changes": [create("one")]})).await;
    let instance = scene.asked_for(&request, "one", &process).await;
    scene.kubectl(&["delete", "rolebinding", "edit-alice"]).await.ok().unwrap();
    scene.counts(&scene.as_user("mary", &["right-lost"]).await.approves(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Failed]);
    let told = scene.tells(&request, "Completed", "True", "Failed").await;
    assert!(told.contains("\"alice\" cannot create resource \"configmaps\""), "{told}");
    assert!(scene.config_map("one").await.is_none());
}

#[tokio::test]
async fn what_no_process_is_about_needs_no_approval() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "free").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let request = alice.asks(&scene, "free", json!({"changes": [create("one")]})).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    assert!(scene.config_map("one").await.is_some());
}

#[tokio::test]
async fn without_approval_passes_only_who_may_and_is_reviewed() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "bypass").await;
    let (alice, mallory) = (scene.as_user("alice", &[]).await, scene.as_user("mallory", &[]).await);
    scene.may_edit(&alice).await;
    scene.may_edit(&mallory).await;
    let process = scene.gate("check", one_of("bypass"), json!({"bypass": {"permission": true}})).await;
    let role = scene.unique("bypass");
    let verbs = ["create", "clusterrole", &role, "--verb=bypass", "--resource=approvalprocesses.quorate.dev"];
    let named = format!("--resource-name={}", process.name_any());
    cluster.plane.kubectl(&[&verbs[..], &[&named]].concat()).await.unwrap().ok().unwrap();
    let bound = ["create", "clusterrolebinding", &role, &format!("--clusterrole={role}"), "--user=alice"];
    cluster.plane.kubectl(&bound).await.unwrap().ok().unwrap();
    let now = |name: &str| {
        let mut change = create(name);
        change["doNotApprove"] = json!(true);
        change
    };
    let reason = "the shop is down";

    let foreign = mallory.asks(&scene, "foreign", json!({"reason": reason, "changes": [now("one")]})).await;
    assert_eq!(scene.completed(&foreign).await, [ChangeState::Rejected]);
    let told = scene.tells(&foreign, "Completed", "True", "Rejected").await;
    assert!(told.contains(&format!("mallory may not bypass ApprovalProcess {}", process.name_any())), "{told}");
    let silent = alice.asks(&scene, "silent", json!({"changes": [now("one")]})).await;
    assert_eq!(scene.completed(&silent).await, [ChangeState::Rejected]);
    assert!(scene.tells(&silent, "Completed", "True", "Rejected").await.contains("needs spec.reason"));
    assert!(scene.config_map("one").await.is_none());

    let request = alice.asks(&scene, "urgent", json!({"reason": reason, "changes": [now("one")]})).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    assert!(scene.config_map("one").await.is_some());
    let review = scene.asked_for(&request, "one", &process).await;
    assert!(review.spec.change_ref.as_ref().unwrap().review);
    assert!(review.spec.title.as_ref().unwrap().starts_with("Review: Create ConfigMap one"), "{:?}", review.spec.title);
    scene.refuses(&alice.approves(&review).await, "SelfApproval", "alice asked for it").await;
    scene.counts(&scene.as_user("mary", &["bypass"]).await.rejects(&review).await).await;
    assert_eq!(scene.outcome_of(&review).await, Outcome::Rejected);
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed], "a review decides nothing about the change");
}

#[tokio::test]
async fn what_is_deleted_is_the_very_object_that_was_asked_about() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "made-again").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("made-again"), json!({})).await;
    scene.kubectl(&["create", "configmap", "old", "--from-literal=is=old"]).await.ok().unwrap();
    let target = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "old"});
    let change = json!({"name": "old", "operation": "Delete", "target": target});
    let request = alice.asks(&scene, "removal", json!({"changes": [change]})).await;
    let instance = scene.asked_for(&request, "old", &process).await;
    assert_eq!(instance.spec.old_object.as_ref().unwrap()["data"]["is"], "old");
    let api: Api<ConfigMap> = Api::namespaced(scene.admin.client.clone(), &scene.namespace);
    api.delete("old", &DeleteParams::default()).await.unwrap();
    scene.kubectl(&["create", "configmap", "old", "--from-literal=is=new"]).await.ok().unwrap();
    scene.counts(&scene.as_user("mary", &["made-again"]).await.approves(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Failed]);
    assert_eq!(scene.config_map("old").await.unwrap().data.unwrap()["is"], "new");
}

#[tokio::test]
async fn r17_what_a_service_account_asked_for_is_carried_out_and_nobody_is_asked_twice() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "account").await;
    let process = scene.gate("check", one_of("account"), json!({})).await;
    let account = scene.as_service_account("robot").await;
    let binding = ["create", "rolebinding", "edit-robot", "--clusterrole=edit"];
    let subject = format!("--serviceaccount={}:robot", scene.namespace);
    scene.kubectl(&[&binding[..], &[&subject]].concat()).await.ok().unwrap();
    let request = account.asks(&scene, "automatic", json!({"changes": [create("one")]})).await;
    let instance = scene.asked_for(&request, "one", &process).await;
    scene.counts(&scene.as_user("mary", &["account"]).await.approves(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    assert!(scene.config_map("one").await.is_some());
    let all = scene.admin.sees::<ChangeRequest>().list(&kube::api::ListParams::default()).await.unwrap().items;
    assert_eq!(all.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["automatic"]);
}

#[tokio::test]
async fn r32_what_two_processes_agreed_to_passes_although_the_gate_is_asked_for_each() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "twice").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let goes_on = json!({"onMatch": "Continue"});
    let first = scene.gate("first", one_of("twice"), goes_on.clone()).await;
    let second = scene.gate("second", one_of("twice"), goes_on).await;
    let mary = scene.as_user("mary", &["twice"]).await;
    for (name, change) in [("one", create("one")), ("two", create("two"))] {
        let spec = json!({"execution": {"mode": "OnRetry"}, "changes": [change]});
        let request = alice.asks(&scene, name, spec).await;
        for process in [&first, &second] {
            let instance = scene.asked_for(&request, name, process).await;
            scene.counts(&mary.approves(&instance).await).await;
        }
        scene.tells(&request, "Completed", "False", "WaitingForExecution").await;
        let mut object = scene.now(&request).await.spec.changes.remove(0).object.unwrap();
        object["metadata"]["namespace"] = json!(scene.namespace);
        let object = serde_json::from_value(object).unwrap();
        alice.sees::<ConfigMap>().create(&PostParams::default(), &object).await.unwrap();
        assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    }
}
