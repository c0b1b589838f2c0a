//! The attacks on change requests, by their numbers: what people may not write, and what changes nothing about a request that runs.

use super::{create, one_of};
use crate::cluster::audit::Entry;
use crate::scene::*;
use crate::{Cluster, with_mutating_policy};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

const POLICY: &str = "quorate-change-requester";

#[tokio::test]
async fn attack_14_a_request_that_pretends_to_come_from_the_gate() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-14").await;
    let (alice, mallory) = (scene.as_user("alice", &[]).await, scene.as_user("mallory", &[]).await);
    let spec = json!({"changes": [create("one")]});
    let of_alice = json!({"requester": alice.actor, "changes": [create("one")]});
    let mut held = create("one");
    held["held"] = json!({"operation": "CREATE", "version": "v1", "resource": "configmaps", "kind": "ConfigMap",
        "name": "one", "digest": "x", "base": "one", "processes": []});
    for sender in [mallory, scene.admin.clone()] {
        let tried = sender.tries_to_ask(&scene, "forged", of_alice.clone()).await;
        refused_by(tried, POLICY, "spec.requester must be the sender");
        let tried = sender.tries_to_ask(&scene, "gate-0123456789", spec.clone()).await;
        refused_by(tried, POLICY, "names that begin with gate- are the operator's");
        let mut spec = spec.clone();
        sender.fill_in(&mut spec, "requester");
        let generated = json!({"metadata": {"generateName": "gate-"}, "spec": spec});
        let tried: kube::Result<ChangeRequest> = sender.creates(&scene.namespace, generated).await;
        refused_by(tried, POLICY, "names that begin with gate- are the operator's");
        let tried = sender.tries_to_ask(&scene, "held", json!({"changes": [held.clone()]})).await;
        refused_by(tried, POLICY, "held is set by the operator alone");
    }
}

#[tokio::test]
async fn attack_12_an_instance_that_pretends_to_be_for_a_change() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-12-change").await;
    let policy = "quorate-instance-initiator";
    let easy = one_step(json!({"approvers": [{"user": "mallory"}]}));
    for sender in [scene.as_user("mallory", &[]).await, scene.admin.clone()] {
        for (field, value) in [
            ("changeRef", json!({"name": "any", "uid": "any", "change": "any"})),
            ("oldObject", json!({"kind": "ConfigMap"})),
            ("operation", json!("CREATE")),
        ] {
            let mut spec = easy.clone();
            spec[field] = value;
            let tried = sender.tries_to_open("forged", spec).await;
            refused_by(tried, policy, "are set by the operator alone");
        }
        let tried = sender.tries_to_open("creq-release-0123456789", easy.clone()).await;
        refused_by(tried, policy, "names that begin with creq- are the operator's");
    }
}

/// A request is read by whoever looks after requests: a Secret in it would be nobody's secret any more.
#[tokio::test]
async fn attack_42_secrets_are_not_taken_into_a_request() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-42-change").await;
    let alice = scene.as_user("alice", &[]).await;
    let secret = |field: &str, value: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}});
        object[field] = value;
        json!({"name": "secret", "operation": "Create", "object": object})
    };
    let patch = |patch: Value| {
        let target = json!({"apiVersion": "v1", "kind": "Secret", "name": "database"});
        json!({"name": "secret", "operation": "Patch", "target": target, "patch": patch})
    };
    for change in [
        secret("data", json!({"password": "aHVudGVyMg=="})),
        secret("stringData", json!({"password": "hunter2"})),
        patch(json!({"stringData": {"password": "hunter2"}})),
        patch(json!([{"op": "add", "path": "/stringData", "value": {"password": "hunter2"}}])),
    ] {
        let tried = alice.tries_to_ask(&scene, "secret", json!({"changes": [create("one"), change]})).await;
        refused_by(tried, POLICY, "the data of a Secret would be readable in the request");
    }
    let bare = json!({"changes": [secret("immutable", json!(true))]});
    alice.tries_to_ask(&scene, "bare", bare).await.unwrap();
}

/// What a requester writes becomes part of a path that the operator asks for.
#[tokio::test]
async fn attack_12_names_that_lead_elsewhere_are_refused() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-12-names").await;
    let target = |kind: &str, namespace: Option<&str>, name: &str| {
        let mut target = json!({"apiVersion": "v1", "kind": kind, "name": name});
        target["namespace"] = json!(namespace.unwrap_or(&scene.namespace));
        json!({"name": "one", "operation": "Patch", "target": target, "patch": {"metadata": {"labels": {"a": "b"}}}})
    };
    for (number, (change, why)) in [
        (target("Namespace", None, "quorate-system/secrets/quorate-gate"), "is no such name"),
        (target("ConfigMap", Some("quorate-system/secrets/quorate-gate?"), "one"), "is no such name"),
        (target("ConfigMap", Some("default"), "one"), "ask in the namespace of the object"),
        (target("Namespace", None, "default"), "ask in the namespace of the object"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("elsewhere-{number}");
        let spec = json!({"execution": {"mode": "OnRetry"}, "changes": [change]});
        let request = scene.admin.clone().asks(&scene, &name, spec).await;
        assert_eq!(scene.completed(&request).await, [ChangeState::Rejected]);
        let told = scene.tells(&request, "Completed", "True", "Rejected").await;
        assert!(told.contains(why), "{told}");
        let status = scene.now(&request).await.status.unwrap();
        assert!(status.changes[0].held.is_none() && status.changes[0].object.is_none(), "{status:?}");
    }
}

/// A request that waits for Mary.
async fn waiting(scene: &Scene<'_>) -> (ChangeRequest, WorkflowInstance) {
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("attacked"), json!({})).await;
    let request = alice.asks(scene, "waiting", json!({"changes": [create("one")]})).await;
    let instance = scene.asked_for(&request, "one", &process).await;
    let opened = |status: &ChangeRequestStatus| {
        status.changes[0].message.as_ref().is_some_and(|message| message.contains("asks"))
    };
    scene.until_change(&request, "it says who asks", opened).await;
    (scene.now(&request).await, instance)
}

#[tokio::test]
async fn attack_13_18_20_what_waits_is_not_rewritten_nor_deleted() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-20").await;
    let (request, instance) = waiting(&scene).await;
    let api = scene.admin.sees::<ChangeRequest>();
    let mut approved = request.clone();
    approved.status.as_mut().unwrap().changes[0].state = ChangeState::Approved;
    let tried = api.replace_status("waiting", &PostParams::default(), &approved).await;
    refused_by(tried, "quorate-status", "status is written by the operator alone");
    let other = Patch::Merge(json!({"spec": {"changes": [create("two")]}}));
    let tried = api.patch("waiting", &PatchParams::default(), &other).await;
    refused_by(tried, "", "spec is immutable");
    let tried = api.delete("waiting", &DeleteParams::default()).await;
    refused_by(tried, "quorate-evidence", "unfinished change requests cannot be deleted");
    let tried = api.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await;
    refused_by(tried, "quorate-evidence", "unfinished change requests cannot be deleted");
    let after = scene.now(&request).await;
    assert_eq!((after.spec, after.status), (request.spec.clone(), request.status.clone()));

    // Complete, it may go; while it goes, it still says what it said.
    scene.counts(&scene.as_user("mary", &["attacked"]).await.rejects(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Rejected]);
    let finalizer = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/kept"]}}));
    api.patch("waiting", &PatchParams::default(), &finalizer).await.unwrap();
    api.delete("waiting", &DeleteParams::default()).await.unwrap();
    refused_by(api.patch("waiting", &PatchParams::default(), &other).await, "", "spec is immutable");
    let tried = api.replace_status("waiting", &PostParams::default(), &scene.now(&request).await).await;
    refused_by(tried, "quorate-status", "status is written by the operator alone");
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("waiting", &PatchParams::default(), &free).await.unwrap();
}

#[tokio::test]
async fn attack_22_a_request_is_nobodys_to_have_collected() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-22-change").await;
    let (request, _) = waiting(&scene).await;
    scene.kubectl(&["create", "configmap", "owner"]).await.ok().unwrap();
    let uid = scene.config_map("owner").await.unwrap().uid();
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]);
    let mut spec = json!({"changes": [create("one")]});
    scene.admin.fill_in(&mut spec, "requester");
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": owners}, "spec": spec});
    let tried: kube::Result<ChangeRequest> = scene.admin.creates(&scene.namespace, owned).await;
    refused_by(tried, POLICY, "metadata.ownerReferences");
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owners}}));
    let tried = scene.admin.sees::<ChangeRequest>().patch("waiting", &PatchParams::default(), &patch).await;
    refused_by(tried, POLICY, "metadata.ownerReferences");
    scene.untouched(&request).await;
}

#[tokio::test]
async fn attack_26_what_was_to_be_asked_stays_to_be_asked() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "attack-26").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let two = json!([{"name": "check", "approval": {"approvers": [{"group": "attack-26"}], "required": 2}}]);
    let first = scene.gate("first", two, json!({"order": 1, "onMatch": "Continue"})).await;
    let second = scene.gate("second", one_of("attack-26-second"), json!({"order": 2})).await;
    let request = alice.asks(&scene, "running", json!({"changes": [create("one")]})).await;
    let instance = scene.asked_for(&request, "one", &first).await;

    // The quorum is lowered, approvers are appended, and the list of processes is shortened.
    let definition: Api<WorkflowDefinition> = Api::all(scene.admin.client.clone());
    let easy: Value =
        json!([{"name": "check", "approval": {"approvers": [{"group": "attack-26"}, {"user": "mallory"}]}}]);
    let patch = Patch::Merge(json!({"spec": {"nodes": easy}}));
    definition.patch(&scene.unique("first"), &PatchParams::default(), &patch).await.unwrap();
    scene.changes(&first, json!({"onMatch": "Stop"})).await;
    let processes: Api<ApprovalProcess> = Api::all(scene.admin.client.clone());
    processes.delete(&second.name_any(), &DeleteParams::default()).await.unwrap();

    let (mary, john) = (scene.as_user("mary", &["attack-26"]).await, scene.as_user("john", &["attack-26"]).await);
    let mallory = scene.as_user("mallory", &[]).await;
    scene.refuses(&mallory.approves(&instance).await, "NotAnApprover", "mallory may not decide").await;
    scene.counts(&mary.approves(&instance).await).await;
    assert_eq!(scene.now(&instance).await.status.unwrap().outcome, None, "two are needed still");
    scene.counts(&john.approves(&instance).await).await;
    let asks = |status: &ChangeRequestStatus| {
        status.changes[0].instances.iter().any(|instance| instance.process == second.name_any())
    };
    let status = scene.until_change(&request, "the second process is asked too", asks).await;
    assert_eq!(status.changes[0].state, ChangeState::InApproval);
    let held = status.changes[0].instances.last().unwrap().name.clone();
    let api = scene.admin.sees::<WorkflowInstance>();
    let held = crate::eventually("its instance is there", async || api.get_opt(&held).await.unwrap()).await;
    let told = scene.says(&held, "Completed", "False", "DefinitionNotFound").await;
    assert!(told.contains("does not exist any more"), "{told}");
    assert!(scene.config_map("one").await.is_none());
}

#[tokio::test]
async fn attack_45_two_operators_carry_out_once() {
    let cluster = Cluster::start(true).await;
    let second =
        Cluster::spawn_operator_with(&cluster.plane, &[("QUORATE_EXECUTION_AUTOMATIC", "true".to_owned())]).await;
    let scene = Scene::with_namespace(&cluster, "attack-45").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("attack-45"), json!({})).await;
    let mary = scene.as_user("mary", &["attack-45"]).await;
    let names = ["one", "two", "three", "four"];
    let request = alice.asks(&scene, "shared", json!({"changes": names.map(create)})).await;
    for name in names {
        let instance = scene.asked_for(&request, name, &process).await;
        scene.counts(&mary.approves(&instance).await).await;
    }
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed; 4]);
    let own =
        |entry: &Entry| entry.resource == "configmaps" && entry.namespace == scene.namespace && entry.user == "alice";
    let made = cluster.plane.audit().writes(own).await.unwrap();
    assert_eq!(made.len(), 4, "{made:?}");
    assert_eq!(second.exit_status(), None);
    cluster.is_well();
}
