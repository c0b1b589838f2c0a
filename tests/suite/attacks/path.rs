//! Ways around the signals.

use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Resource, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(
    attack_13_write_through_status,
    attack_18_unfinished_instances_and_signals_deleted,
    attack_19_instance_recreated_under_the_same_name,
    attack_21_finalizers_added_and_removed,
    attack_22_foreign_owner_reference,
    attack_23_signal_from_another_namespace,
);

/// An instance that waits for Mary.
async fn release(scene: &Scene<'_>) -> WorkflowInstance {
    let alice = scene.as_user("alice", &[]).await;
    let spec = one_step(json!({"approvers": [{"user": "mary"}]}));
    scene.asking(&alice.opens("release", spec).await).await
}

async fn attack_13_write_through_status(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-13").await;
    let alone = "status is written by the operator alone";
    let release = release(&scene).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let signal = mallory.approves(&release).await;
    scene.refuses(&signal, "NotAnApprover", "mallory may not decide").await;
    let signal = scene.now(&signal).await;

    let api = scene.admin.sees::<WorkflowInstance>();
    let mut status = json!({"outcome": "Approved", "decisions": [{"actor": "mary", "decision": "Approve", "step": "check", "visit": 1,
        "partition": "default", "through": "user mary", "at": "2030-01-01T00:00:00Z", "signal": {"name": "x", "uid": "x"}}]});
    // Another revision would be refused before any policy is asked.
    status["revision"] = json!(release.status.as_ref().unwrap().revision);
    let mut put = release.clone();
    put.status.as_mut().unwrap().outcome = Some(Outcome::Approved);
    refused_by(api.replace_status("release", &PostParams::default(), &put).await, "quorate-status", alone);
    for (parameters, patch) in every_patch("WorkflowInstance", &status) {
        refused_by(api.patch_status("release", &parameters, &patch).await, "quorate-status", alone);
    }
    let api = scene.admin.sees::<ApprovalSignal>();
    for (parameters, patch) in every_patch("ApprovalSignal", &json!({"reason": "Counted"})) {
        let tried = api.patch_status(&signal.name_any(), &parameters, &patch).await;
        refused_by(tried, "quorate-status", alone);
    }
    // Beside the status, nothing written to the object reaches it, not even when it is created.
    let merge = Patch::Merge(json!({"status": status}));
    scene.admin.sees::<WorkflowInstance>().patch("release", &PatchParams::default(), &merge).await.unwrap();
    scene.untouched(&release).await;
    scene.untouched(&signal).await;
    let mut spec = one_step(json!({"approvers": [{"user": "mary"}]}));
    spec["initiator"] = json!(scene.admin.actor);
    let decided = json!({"metadata": {"name": "born-approved"}, "spec": spec, "status": status});
    let decided: WorkflowInstance = scene.admin.creates(&scene.namespace, decided).await.unwrap();
    let decided = scene.asking(&decided).await.status.unwrap();
    assert_eq!((decided.outcome, decided.decisions), (None, Vec::new()));

    let workflow = one_step(json!({"approvers": [{"user": "mary"}]}))["workflow"].clone();
    readiness_is_the_operators(&scene, scene.has::<WorkflowDefinition>("status", workflow).await).await;
    readiness_is_the_operators(&scene, scene.process("status", "nothing", &[]).await).await;
    let identity = scene.has::<Identity>("status", json!({"username": scene.unique("status")})).await;
    readiness_is_the_operators(&scene, identity).await;
    readiness_is_the_operators(&scene, scene.has::<BusinessRole>("status", json!({})).await).await;
}

async fn readiness_is_the_operators<K>(scene: &Scene<'_>, object: K)
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
{
    let api: Api<DynamicObject> = Api::all_with(scene.admin.client.clone(), &ApiResource::erase::<K>(&()));
    let patch = Patch::Merge(json!({"status": {"conditions": []}}));
    let tried = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
    refused_by(tried, "quorate-status", "status is written by the operator alone");
}

fn every_patch(kind: &str, status: &Value) -> Vec<(PatchParams, Patch<Value>)> {
    let add = json!([{"op": "add", "path": "/status", "value": status}]);
    let applied = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": kind, "status": status});
    vec![
        (PatchParams::default(), Patch::Merge(json!({"status": status}))),
        (PatchParams::default(), Patch::Json(serde_json::from_value(add).unwrap())),
        (PatchParams::apply("mallory").force(), Patch::Apply(applied)),
    ]
}

async fn attack_18_unfinished_instances_and_signals_deleted(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-18").await;
    let release = release(&scene).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let signal = mallory.rejects(&release).await;
    scene.refuses(&signal, "NotAnApprover", "mallory may not decide").await;
    let (release, signal) = (scene.now(&release).await, scene.now(&signal).await);
    let (instances, signals) = (scene.admin.sees::<WorkflowInstance>(), scene.admin.sees::<ApprovalSignal>());
    let (all, now) = (ListParams::default(), DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() });
    let unfinished = "unfinished instances cannot be deleted: let release be decided first";
    let evidence = "signals are the record of a decision: they go with their instance";
    for how in [DeleteParams::default(), DeleteParams::foreground(), now] {
        refused_by(instances.delete("release", &how).await, "quorate-evidence", unfinished);
        refused_by(instances.delete_collection(&how, &all).await, "quorate-evidence", unfinished);
        refused_by(signals.delete(&signal.name_any(), &how).await, "quorate-evidence", evidence);
        refused_by(signals.delete_collection(&how, &all).await, "quorate-evidence", evidence);
    }
    scene.untouched(&release).await;
    scene.untouched(&signal).await;

    // Decided, an instance may go; its signals are still evidence.
    let mary = scene.as_user("mary", &[]).await;
    scene.counts(&mary.rejects(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Rejected);
    instances.delete("release", &DeleteParams::default()).await.unwrap();
    refused_by(signals.delete_collection(&DeleteParams::default(), &all).await, "quorate-evidence", evidence);
    assert_eq!(signals.list(&all).await.unwrap().items.len(), 2);

    // A whole namespace can be emptied all the same, unfinished instances included.
    let other = Scene::with_namespace(cluster, "attack-18").await;
    let unfinished = self::release(&other).await;
    mallory
        .signals_in(&other.namespace, json!({"instance": unfinished.name_any(), "decision": "Reject"}))
        .await
        .unwrap();
    let namespaces: Api<Namespace> = Api::all(scene.admin.client.clone());
    namespaces.delete(&other.namespace, &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", async || {
        namespaces.get_opt(&other.namespace).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn attack_19_instance_recreated_under_the_same_name(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-19").await;
    let mary = scene.as_user("mary", &[]).await;
    let harmless = release(&scene).await;
    scene.counts(&mary.rejects(&harmless).await).await;
    assert_eq!(scene.outcome_of(&harmless).await, Outcome::Rejected);
    scene.admin.sees::<WorkflowInstance>().delete("release", &DeleteParams::default()).await.unwrap();
    let between = json!({"instance": "release", "decision": "Approve"});
    let between = mary.signals_in(&scene.namespace, between).await.unwrap();
    scene.refuses(&between, "InstanceNotFound", "there is no WorkflowInstance release").await;

    let harmful = release(&scene).await;
    assert_ne!(harmless.uid(), harmful.uid());
    let read = json!({"decision": "Approve", "instanceUID": harmless.uid()});
    let signed = mary.signals(&harmful, read).await.unwrap();
    scene.refuses(&signed, "InstanceReplaced", "another instance of that name").await;
    scene.refuses(&between, "InstanceNotFound", "there is no WorkflowInstance release").await;
    scene.untouched(&harmful).await;
    let meant = json!({"decision": "Approve", "instanceUID": harmful.uid()});
    scene.counts(&mary.signals(&harmful, meant).await.unwrap()).await;
}

async fn attack_21_finalizers_added_and_removed(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-21").await;
    let mary = scene.as_user("mary", &[]).await;
    let release = release(&scene).await;
    let before = release.status.clone();
    let (instances, signals) = (scene.admin.sees::<WorkflowInstance>(), scene.admin.sees::<ApprovalSignal>());
    let finalizers = |list: Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    let plain = PatchParams::default();
    instances.patch("release", &plain, &finalizers(json!(["example.com/mine"]))).await.unwrap();
    assert_eq!(scene.now(&release).await.status, before);
    let deleted = instances.delete("release", &DeleteParams::default()).await;
    refused_by(deleted, "quorate-evidence", "let release be decided first");
    instances.patch("release", &plain, &finalizers(json!([]))).await.unwrap();
    assert_eq!(scene.now(&release).await.status, before);
    instances.patch("release", &plain, &finalizers(json!(["example.com/mine"]))).await.unwrap();

    // A finalizer holds neither the decision nor its evidence.
    let signal = mary.approves(&release).await;
    scene.counts(&signal).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    signals.patch(&signal.name_any(), &plain, &finalizers(json!(["example.com/mine"]))).await.unwrap();
    let deleted = signals.delete(&signal.name_any(), &DeleteParams::default()).await;
    refused_by(deleted, "quorate-evidence", "signals are the record of a decision");
    signals.patch(&signal.name_any(), &plain, &finalizers(json!([]))).await.unwrap();
    scene.counts(&signal).await;

    // Kept from going by a finalizer, a decided instance is as it was and takes no more decisions.
    instances.delete("release", &DeleteParams::default()).await.unwrap();
    let going = scene.now(&release).await;
    assert!(going.metadata.deletion_timestamp.is_some());
    scene.refuses(&mary.rejects(&release).await, "StepClosed", "release is finished: Approved").await;
    scene.untouched(&going).await;
    instances.patch("release", &plain, &finalizers(json!([]))).await.unwrap();
    assert!(instances.get_opt("release").await.unwrap().is_none());
}

async fn attack_22_foreign_owner_reference(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-22").await;
    let release = release(&scene).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let signal = mallory.approves(&release).await;
    scene.refuses(&signal, "NotAnApprover", "mallory may not decide").await;
    let (release, signal) = (scene.now(&release).await, scene.now(&signal).await);
    let metadata = ObjectMeta { name: Some("bait".into()), ..ObjectMeta::default() };
    let bait = ConfigMap { metadata, ..ConfigMap::default() };
    let bait = scene.admin.sees::<ConfigMap>().create(&PostParams::default(), &bait).await.unwrap();
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "bait", "uid": bait.uid()}]);

    let evidence = "a signal is evidence and may not be owned";
    let instances = "metadata.ownerReferences of an instance are set by the operator alone";
    for sender in [mallory.clone(), scene.admin.clone()] {
        let spec = json!({"instance": "release", "decision": "Reject", "actor": sender.actor});
        let owned = json!({"metadata": {"name": "owned", "ownerReferences": owners}, "spec": spec});
        refused_by(sender.creates::<ApprovalSignal>(&scene.namespace, owned).await, "quorate-signal-actor", evidence);
        let mut spec = one_step(json!({"approvers": [{"user": "mary"}]}));
        spec["initiator"] = json!(sender.actor);
        let owned = json!({"metadata": {"name": "owned", "ownerReferences": owners}, "spec": spec});
        refused_by(
            sender.creates::<WorkflowInstance>(&scene.namespace, owned).await,
            "quorate-instance-initiator",
            instances,
        );
    }
    let add = json!([{"op": "add", "path": "/metadata/ownerReferences", "value": owners}]);
    for patch in [
        Patch::Merge(json!({"metadata": {"ownerReferences": owners}})),
        Patch::Json(serde_json::from_value(add).unwrap()),
    ] {
        let patched =
            scene.admin.sees::<ApprovalSignal>().patch(&signal.name_any(), &PatchParams::default(), &patch).await;
        refused_by(patched, "quorate-signal-actor", evidence);
        let patched = scene.admin.sees::<WorkflowInstance>().patch("release", &PatchParams::default(), &patch).await;
        refused_by(patched, "quorate-instance-initiator", instances);
    }
    scene.untouched(&release).await;
    scene.untouched(&signal).await;
}

async fn attack_23_signal_from_another_namespace(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-23").await;
    let elsewhere = Scene::with_namespace(cluster, "attack-23").await;
    let release = release(&scene).await;
    let mary = scene.as_user("mary", &[]).await;
    let spec = json!({"instance": "release", "decision": "Approve", "instanceUID": release.uid()});
    let signal = mary.signals_in(&elsewhere.namespace, spec).await.unwrap();
    let told = format!("there is no WorkflowInstance release in namespace {}", elsewhere.namespace);
    scene.refuses(&signal, "InstanceNotFound", &told).await;
    // Nor does a path lead there.
    let collection = format!("../../{}/workflowinstances", scene.namespace);
    for path in [format!("{collection}/release"), "release/status".into(), "..".into(), "release?watch=1".into()] {
        let tried = mary.signals_in(&elsewhere.namespace, json!({"instance": path, "decision": "Approve"})).await;
        refused_by(tried, "spec.instance", "should match '^[a-z0-9]");
    }
    scene.untouched(&release).await;
}
