//! What a process for objects of any kind needs before it can be used, and how its `Ready` condition says so.

use super::kinds::*;
use crate::scene::*;
use crate::{Cluster, eventually};
use kube::api::{Api, DynamicObject, PostParams};
use kube::{Resource, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

/// Boxes belong to no namespace, and are approved in their spec.
const BOXES: Kind = ["example.org", "v1", "Box", "boxes"];

fn about_boxes(workflow: &str) -> Value {
    let pending = json!({
        "resources": [{"apiGroups": ["example.org"], "resources": ["boxes"]}],
        "writeBack": {
            "approved": {"patch": {"spec": {"approved": true}}},
            "rejected": {"patch": {"spec": {"approved": false}}},
        },
    });
    json!({"event": {"pending": pending}, "initiator": "object.spec.owner", "workflowRef": {"name": workflow}})
}

/// Waits until `Ready` is False with this in its message.
async fn says<K>(scene: &Scene<'_>, process: &K, told: &str)
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>,
{
    eventually(&format!("{} says: {told}", process.name_any()), async || {
        scene.ready(process, "False").await.contains(told).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r29_a_process_waits_for_its_kind_and_for_the_rights_to_it() {
    let cluster = Cluster::start(true).await;
    let scene = Scene::with_namespace(&cluster, "boxes").await;
    let workflow = super::mary_decides(&scene).await;
    let process: ApprovalProcess = scene.has("boxes", about_boxes(&workflow)).await;
    let place = "spec.event.pending.resources[0]: the API server has no boxes of API group \"example.org\"; install";
    says(&scene, &process, place).await;

    cluster.plane.apply(&crd(BOXES, "Cluster").to_string()).await.unwrap().ok().unwrap();
    cluster.plane.wait_kinds().await.unwrap();
    let value = r#"{"apiGroups":["example.org"],"resources":["boxes"]}"#;
    for what in ["watch", "write back to"] {
        says(&scene, &process, &format!("the operator may not {what} boxes of API group \"example.org\"; add {value} to the chart value pending.resources")).await;
    }
    let values = [
        "deployment.enabled=false",
        "pending.resources[0].apiGroups[0]=example.org",
        "pending.resources[0].resources[0]=boxes",
    ];
    cluster.plane.install_chart(&values).await.unwrap();
    scene.ready(&process, "True").await;

    let api: Api<DynamicObject> = Api::all_with(scene.admin.client.clone(), &resource(BOXES));
    let mut object = DynamicObject::new("cart", &resource(BOXES));
    object.data = json!({"spec": {"owner": "alice"}});
    api.create(&PostParams::default(), &object).await.unwrap();
    let there = Scene::within(&cluster, OPERATOR_NAMESPACE).await;
    let instance = eventually("an instance is opened in the operator's namespace", async || {
        there.instances().await.into_iter().find(|instance| instance.spec.process_ref.is_some())
    });
    let instance = there.asking(&instance.await).await;
    there.counts(&there.as_user("mary", &[]).await.approves(&instance).await).await;
    assert_eq!(there.outcome_of(&instance).await, Outcome::Approved);
    assert_eq!(api.get("cart").await.unwrap().data["spec"], json!({"owner": "alice", "approved": true}));
}

#[tokio::test]
async fn rule17_a_kind_that_does_not_say_who_asked_needs_an_initiator() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "nobody").await;
    let workflow = super::mary_decides(&scene).await;
    let mut spec = scene.parcel_spec(&workflow);
    spec.as_object_mut().unwrap().remove("initiator");
    let process: ApprovalProcess = scene.has("parcels", spec).await;
    says(&scene, &process, "spec.initiator: is missing, and parcels do not say who asked").await;
    let parcel = scene.parcel("cart", 1).await;
    scene.changes(&process, json!({"initiator": "object.spec.owner"})).await;
    scene.ready(&process, "True").await;
    assert_eq!(scene.opened(&parcel).await.spec.initiator.unwrap().username, "alice");
}

#[tokio::test]
async fn a_process_for_objects_that_wait_says_what_it_cannot_do() {
    let cluster = kinds().await;
    let scene = Scene::with_namespace(cluster, "unfit").await;
    let workflow = super::mary_decides(&scene).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut spec = scene.parcel_spec(&workflow);
        change(&mut spec);
        spec
    };
    let resources = |group: &str, resource: &str| json!([{"apiGroups": [group], "resources": [resource]}]);
    for (name, spec, told) in [
        (
            "secrets",
            with(&|spec| spec["event"]["pending"]["resources"] = resources("", "secrets")),
            "the content of Secrets would be stored",
        ),
        (
            "own",
            with(&|spec| spec["event"]["pending"]["resources"] = resources("quorate.dev", "approvalsignals")),
            "are Quorate's own",
        ),
        (
            "all",
            with(&|spec| spec["event"]["pending"]["resources"] = resources("example.com", "*")),
            "name one resource",
        ),
        (
            "patch",
            with(&|spec| {
                spec["event"]["pending"]["writeBack"]["approved"]["patch"]["status"]["at"] = json!("${nobody}");
            }),
            "writeBack.approved.patch.status.at: ",
        ),
        ("next", with(&|spec| spec["onMatch"] = json!("Continue")), "spec.onMatch: is for gates"),
        ("each", with(&|spec| spec["instancePer"] = json!("Subject")), "spec.instancePer: "),
    ] {
        let process: ApprovalProcess = scene.has(name, spec).await;
        says(&scene, &process, told).await;
    }
}
