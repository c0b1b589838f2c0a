//! Objects that wait, of other kinds than certificate signing requests: requests of cert-manager, and kinds that a process says
//! how to write back to.

mod kinds;
mod readiness;

use crate::scene::*;
use crate::{Cluster, eventually};
use kinds::*;
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use quorate::api::*;
use serde_json::{Value, json};

/// One step that Mary decides.
async fn mary_decides(scene: &Scene<'_>) -> String {
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}]}}]);
    scene.workflow("check", nodes).await.name_any()
}

#[tokio::test]
async fn r29_a_certificate_request_of_cert_manager_is_approved() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "cm-approved").await;
    let process = scene.cert_manager_process(&mary_decides(&scene).await, json!({})).await;
    scene.ready(&process, "True").await;
    let pending = json!([{"type": "Ready", "status": "False", "reason": "Pending", "message": "waits"}]);
    let request = scene.certificate_request("www", "alice", &[(crate::requests::CN, "www.example.com")]).await;
    scene.writes_status(CERTIFICATE_REQUESTS, &request, json!({"conditions": pending})).await;
    let instance = scene.opened(&request).await;
    assert_eq!(instance.namespace().as_ref(), Some(&scene.namespace), "it lives where its object does");
    assert_eq!(instance.spec.initiator.as_ref().unwrap().username, "alice");
    assert_eq!(instance.spec.title.as_deref(), Some("Certificate CN=www.example.com by Issuer ca"));

    scene.counts(&scene.as_user("mary", &[]).await.approves(&instance).await).await;
    let conditions = scene.conditions_of(&request, 2).await;
    assert_eq!(conditions[0], pending[0], "what the issuer wrote stays");
    let decision = &conditions[1];
    assert_eq!((&decision["type"], &decision["status"]), (&json!("Approved"), &json!("True")));
    assert_eq!(decision["reason"], "QuorateApproved");
    let message = decision["message"].as_str().unwrap();
    assert!(message.contains("approved by mary") && message.contains(&instance.uid().unwrap()), "{message}");
    assert!(decision["lastTransitionTime"].as_str().unwrap().ends_with('Z'));
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
}

#[tokio::test]
async fn r29_a_certificate_request_of_cert_manager_is_denied_with_the_reason() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "cm-denied").await;
    let process = scene.cert_manager_process(&mary_decides(&scene).await, json!({})).await;
    scene.ready(&process, "True").await;
    let request = scene.certificate_request("www", "alice", &[(crate::requests::CN, "www.example.com")]).await;
    let instance = scene.opened(&request).await;
    let own = scene.as_user("alice", &[]).await.approves(&instance).await;
    scene.refuses(&own, "SelfApproval", "alice").await;
    let no = json!({"decision": "Reject", "comment": "not this name"});
    scene.counts(&scene.as_user("mary", &[]).await.signals(&instance, no).await.unwrap()).await;
    let decision = scene.conditions_of(&request, 1).await.remove(0);
    assert_eq!((&decision["type"], &decision["reason"]), (&json!("Denied"), &json!("QuorateDenied")));
    assert!(decision["message"].as_str().unwrap().contains("mary: not this name"), "{decision}");
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Rejected);
}

/// Attack 36, for cert-manager: where the process asks for it, nobody gets a certificate in another's name.
#[tokio::test]
async fn attack_36_a_certificate_request_in_the_name_of_another() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "cm-foreign").await;
    let own_name = json!({"requestedIdentity": "Requester"});
    let process = scene.cert_manager_process(&mary_decides(&scene).await, own_name).await;
    scene.ready(&process, "True").await;
    let request = scene.certificate_request("foreign", "alice", &[(crate::requests::CN, "mary")]).await;
    let decision = scene.conditions_of(&request, 1).await.remove(0);
    assert_eq!(decision["type"], "Denied");
    assert!(decision["message"].as_str().unwrap().contains("nobody was asked: it asks for CN=mary"), "{decision}");
    assert!(scene.instances().await.is_empty());
}

#[tokio::test]
async fn r29_the_outcome_is_written_to_a_kind_of_any_make() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "parcel").await;
    let process = scene.parcel_process(&mary_decides(&scene).await).await;
    scene.ready(&process, "True").await;
    let mary = scene.as_user("mary", &[]).await;
    let (yes, no) = (scene.parcel("yes", 1).await, scene.parcel("no", 2).await);
    let (approved, rejected) = (scene.opened(&yes).await, scene.opened(&no).await);
    assert_eq!(approved.spec.initiator.as_ref().unwrap().username, "alice");
    scene.refuses(&scene.as_user("alice", &[]).await.approves(&approved).await, "SelfApproval", "alice").await;
    scene.counts(&mary.approves(&approved).await).await;
    scene.counts(&mary.rejects(&rejected).await).await;
    assert_eq!(scene.outcome_of(&approved).await, Outcome::Approved);
    assert_eq!(scene.outcome_of(&rejected).await, Outcome::Rejected);
    let (yes, no) = (scene.parcel_now(&yes).await, scene.parcel_now(&no).await);
    assert_eq!(yes.data["status"]["phase"], "Approved");
    assert_eq!(no.data["status"]["phase"], "Refused");
    for (parcel, word) in [(&yes, "approved by mary"), (&no, "rejected by mary")] {
        let told = parcel.data["status"]["told"].as_str().unwrap();
        assert!(told.contains(word), "{told}");
        assert!(parcel.data["status"]["at"].as_str().unwrap().ends_with('Z'));
    }
    // What is decided does not wait again.
    scene.touches(PARCELS, &yes, json!({"metadata": {"finalizers": ["example.com/kept"]}})).await;
    assert_eq!(scene.instances().await.len(), 2);
    scene.touches(PARCELS, &yes, json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test]
async fn rule26_an_expired_object_is_refused_and_a_withdrawn_one_left_alone() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "parcel-time").await;
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}], "timeout": {"after": "8s"}}}]);
    let workflow = scene.workflow("check", nodes).await;
    let process = scene.parcel_process(&workflow.name_any()).await;
    scene.ready(&process, "True").await;
    let (late, withdrawn) = (scene.parcel("late", 1).await, scene.parcel("withdrawn", 1).await);
    let cancelled = scene.opened(&withdrawn).await;
    let alice = scene.as_user("alice", &[]).await;
    scene.counts(&alice.signals(&cancelled, json!({"decision": "Cancel"})).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&cancelled).await, Outcome::Cancelled);
    let expired = scene.opened(&late).await;
    assert_eq!(scene.outcome_of(&expired).await, Outcome::Expired);
    assert_eq!(scene.parcel_now(&late).await.data["status"]["phase"], "Refused");
    assert_eq!(scene.parcel_now(&withdrawn).await.data.get("status"), None);
    assert_eq!(scene.instances().await.len(), 2, "what was withdrawn is not asked for again");
}

#[tokio::test]
async fn rule26_an_object_that_changes_is_asked_for_anew() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "parcel-changed").await;
    let process = scene.parcel_process(&mary_decides(&scene).await).await;
    scene.ready(&process, "True").await;
    let parcel = scene.parcel("cart", 1).await;
    let first = scene.opened(&parcel).await;
    // The server's own doing, and what the issuer tells, are no change.
    scene.writes_status(PARCELS, &parcel, json!({"seen": true})).await;
    scene.touches(PARCELS, &parcel, json!({"spec": {"size": 400}})).await;
    scene.says(&first, "Completed", "True", "ObjectGone").await;
    let second = scene.another(&parcel, &[&first]).await;
    assert_eq!(second.spec.object.as_ref().unwrap()["spec"]["size"], 400);
    scene.touches(PARCELS, &parcel, json!({"spec": {"size": 1}})).await;
    scene.says(&second, "Completed", "True", "ObjectGone").await;
    let third = scene.another(&parcel, &[&first, &second]).await;
    scene.counts(&scene.as_user("mary", &[]).await.approves(&third).await).await;
    assert_eq!(scene.outcome_of(&third).await, Outcome::Approved);
    assert_eq!(scene.parcel_now(&parcel).await.data["status"]["phase"], "Approved");
}

#[tokio::test]
async fn attack_19_an_object_made_again_under_its_name() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "parcel-again").await;
    let process = scene.parcel_process(&mary_decides(&scene).await).await;
    scene.ready(&process, "True").await;
    let parcel = scene.parcel("cart", 1).await;
    let first = scene.opened(&parcel).await;
    scene.api(PARCELS).delete(&parcel.name_any(), &DeleteParams::default()).await.unwrap();
    let again = scene.parcel("cart", 1).await;
    scene.says(&first, "Completed", "True", "ObjectGone").await;
    let late = scene.as_user("mary", &[]).await.approves(&first).await;
    scene.refuses(&late, "StepClosed", "").await;
    let second = scene.opened(&again).await;
    assert_ne!(second.name_any(), first.name_any());
    assert_eq!(scene.parcel_now(&again).await.data.get("status"), None);
}

#[tokio::test]
async fn rule26_an_object_decided_elsewhere_leaves_nothing_to_decide() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "parcel-else").await;
    let process = scene.parcel_process(&mary_decides(&scene).await).await;
    scene.ready(&process, "True").await;
    let parcel = scene.parcel("cart", 1).await;
    let instance = scene.opened(&parcel).await;
    let by_hand = json!({"phase": "Approved", "told": "by hand", "at": "today"});
    scene.writes_status(PARCELS, &parcel, by_hand.clone()).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Cancelled);
    scene.says(&instance, "Completed", "True", "ObjectGone").await;
    assert_eq!(scene.parcel_now(&parcel).await.data["status"], by_hand);
}

/// Attack 12, for objects of any kind: under the name that the operator will take, and approved, before there is a process.
#[tokio::test]
async fn attack_12_an_instance_that_takes_the_name_of_an_objects() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "parcel-squat").await;
    let parcel = scene.parcel("cart", 1).await;
    let workflow = mary_decides(&scene).await;
    let spec: ApprovalProcessSpec = serde_json::from_value(scene.parcel_spec(&workflow)).unwrap();
    let digest = quorate::pending::object::digest(&json!(parcel), spec.event.pending.as_ref().unwrap());
    let name = quorate::pending::instance_name_of("cart", &format!("{}/{digest}/0", parcel.uid().unwrap()));
    let mallory = scene.as_user("mallory", &[]).await;
    let easy = one_step(json!({"approvers": [{"user": "john"}]}));
    let mut forged = easy.clone();
    forged["object"] = json!(parcel);
    refused_by(mallory.tries_to_open(&name, forged).await, "quorate-instance-initiator", "spec.object is set by");
    let squatter = mallory.opens(&name, easy).await;
    scene.counts(&scene.as_user("john", &[]).await.approves(&squatter).await).await;
    assert_eq!(scene.outcome_of(&squatter).await, Outcome::Approved);

    scene.parcel_process(&workflow).await;
    let instance = scene.opened(&parcel).await;
    assert_ne!(instance.name_any(), name);
    assert_eq!(scene.parcel_now(&parcel).await.data.get("status"), None);
    scene.counts(&scene.as_user("mary", &[]).await.approves(&instance).await).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
}

/// Attack 27, for objects of any kind: what was approved is changed before the outcome can be written.
#[tokio::test]
async fn attack_27_an_object_changed_after_its_approval() {
    let mut cluster = kinds_alone().await;
    let scene = Scene::with_namespace(&cluster, "parcel-27").await;
    let process = scene.parcel_process(&mary_decides(&scene).await).await;
    scene.ready(&process, "True").await;
    let parcel = scene.parcel("cart", 1).await;
    let instance = scene.opened(&parcel).await;
    let namespace = scene.namespace.clone();
    cluster.operator.kill().await.unwrap();
    let scene = Scene::within(&cluster, &namespace).await;
    let approval = scene.as_user("mary", &[]).await.approves(&instance).await;
    scene.touches(PARCELS, &parcel, json!({"spec": {"size": 400}})).await;
    cluster.operator = Cluster::spawn_operator(&cluster.plane).await;
    let scene = Scene::within(&cluster, &namespace).await;
    scene.says(&instance, "Completed", "True", "ObjectGone").await;
    scene.refuses(&approval, "StepClosed", "").await;
    assert_eq!(scene.parcel_now(&parcel).await.data.get("status"), None);
    let second = scene.another(&parcel, &[&instance]).await;
    assert_eq!(second.spec.object.as_ref().unwrap()["spec"]["size"], 400);
}

impl Scene<'_> {
    /// Changes an object by a merge patch.
    async fn touches(&self, kind: Kind, object: &DynamicObject, patch: Value) {
        let api = self.api(kind);
        api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Writes the status of an object.
    async fn writes_status(&self, kind: Kind, object: &DynamicObject, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.api(kind).patch_status(&object.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }

    /// The parcel as it is now.
    async fn parcel_now(&self, parcel: &DynamicObject) -> DynamicObject {
        self.api(PARCELS).get(&parcel.name_any()).await.unwrap()
    }

    /// Waits until a certificate request has so many conditions; gives them.
    async fn conditions_of(&self, request: &DynamicObject, number: usize) -> Vec<Value> {
        eventually(&format!("{} has {number} conditions", request.name_any()), async || {
            let now = self.api(CERTIFICATE_REQUESTS).get(&request.name_any()).await.unwrap();
            now.data["status"]["conditions"].as_array().filter(|conditions| conditions.len() == number).cloned()
        })
        .await
    }
}
