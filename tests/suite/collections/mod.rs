//! Objects that enter or leave a collection: an instance for each time, across restarts, and nothing held back.

use crate::pending::kinds::{PARCELS, kinds, kinds_alone};
use crate::scene::*;
use crate::{Cluster, ShowsLog, eventually};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

/// A parcel of Alice, on its way or not.
fn parcel(on_its_way: bool) -> Value {
    json!({"spec": {"owner": "alice", "sent": on_its_way}})
}

impl Scene<'_> {
    /// A process about the parcels of this test that are on their way.
    async fn collects(&self, when: &str, more: Value) -> ApprovalProcess {
        let nodes = json!([{"name": "look", "approval": {"approvers": [{"user": "mary"}]}}]);
        let workflow = self.workflow("look", nodes).await;
        let expression = format!("object.metadata.namespace.startsWith('{}') && object.spec.sent", self.namespace);
        let mut collection = json!({
            "resource": {"apiGroup": "example.com", "resource": "parcels"}, "when": when, "expression": expression,
        });
        collection.as_object_mut().unwrap().extend(more["collection"].as_object().cloned().unwrap_or_default());
        let mut spec = json!({
            "displayName": "Parcels on their way",
            "event": {"collection": collection},
            "initiator": "object.spec.owner",
            "workflowRef": {"name": workflow.name_any()},
        });
        spec.as_object_mut().unwrap().extend(more["process"].as_object().cloned().unwrap_or_default());
        let process = self.has("parcels", spec).await;
        self.ready(&process, "True").await;
        process
    }

    /// Sends a parcel, or takes it back.
    async fn sends(&self, parcel: &DynamicObject, sent: bool) {
        let patch = Patch::Merge(json!({"spec": {"sent": sent}}));
        self.api(PARCELS).patch(&parcel.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until so many instances were opened here; gives what they are about, sorted.
    async fn looked_at(&self, number: usize) -> Vec<String> {
        let mut names = eventually(&format!("{number} instances are opened"), async || {
            let instances = self.instances().await;
            assert!(instances.len() <= number, "more than {number}: {:?}", titles(&instances));
            (instances.len() == number).then(|| titles(&instances))
        })
        .await;
        names.sort();
        names
    }

    fn entered(&self, name: &str) -> String {
        format!("Parcel {}/{name} entered: Parcels on their way", self.namespace)
    }

    fn left(&self, name: &str) -> String {
        format!("Parcel {}/{name} left: Parcels on their way", self.namespace)
    }
}

fn titles(instances: &[WorkflowInstance]) -> Vec<String> {
    instances.iter().map(|instance| instance.spec.title.clone().unwrap_or_default()).collect()
}

#[tokio::test]
async fn r29_an_object_that_enters_a_collection_opens_an_instance() {
    let cluster = kinds().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "entered").await;
    let first = scene.makes(PARCELS, "first", parcel(true)).await;
    scene.collects("Entered", json!({})).await;
    let (made, moved) =
        (scene.makes(PARCELS, "made", parcel(true)).await, scene.makes(PARCELS, "moved", parcel(false)).await);
    scene.sends(&moved, true).await;
    assert_eq!(scene.looked_at(2).await, [scene.entered("made"), scene.entered("moved")], "first was there before");

    let instance = scene.opened(&made).await;
    assert_eq!(instance.spec.initiator.as_ref().unwrap().username, "alice");
    assert_eq!(instance.namespace().as_ref(), Some(&scene.namespace));
    scene.refuses(&scene.as_user("alice", &[]).await.approves(&instance).await, "SelfApproval", "alice").await;
    // Nothing is held back, and whatever becomes of the object is no matter of the instance.
    scene.sends(&made, false).await;
    scene.counts(&scene.as_user("mary", &[]).await.approves(&instance).await).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
    assert_eq!(scene.api(PARCELS).get("made").await.unwrap().data["spec"], parcel(false)["spec"]);
    scene.sends(&made, true).await;
    scene.sends(&first, false).await;
    scene.sends(&first, true).await;
    let expected = [scene.entered("first"), scene.entered("made"), scene.entered("made"), scene.entered("moved")];
    assert_eq!(scene.looked_at(4).await, expected);
}

#[tokio::test]
async fn r29_an_object_that_leaves_a_collection_opens_an_instance() {
    let cluster = kinds().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "left").await;
    let (taken_back, deleted) =
        (scene.makes(PARCELS, "taken", parcel(true)).await, scene.makes(PARCELS, "deleted", parcel(true)).await);
    let never = scene.makes(PARCELS, "never", parcel(false)).await;
    let reference = json!([{"apiVersion": "example.com/v1", "kind": "Parcel", "name": "never", "uid": never.uid(), "controller": true}]);
    let owned = scene.makes(PARCELS, "owned", parcel(true)).await;
    let owners = Patch::Merge(json!({"metadata": {"ownerReferences": reference}}));
    scene.api(PARCELS).patch("owned", &PatchParams::default(), &owners).await.unwrap();
    scene.collects("Left", json!({})).await;
    // A removal that a controller is behind of is nobody's wish.
    for gone in [&never, &owned, &deleted] {
        scene.api(PARCELS).delete(&gone.name_any(), &DeleteParams::default()).await.unwrap();
    }
    scene.sends(&taken_back, false).await;
    assert_eq!(scene.looked_at(2).await, [scene.left("deleted"), scene.left("taken")]);
    let instance = scene.opened(&deleted).await;
    assert_eq!(instance.spec.initiator.as_ref().unwrap().username, "alice", "as it was last known");
    assert_eq!(instance.spec.object.as_ref().unwrap()["spec"], parcel(true)["spec"]);
}

#[tokio::test]
async fn r29_a_namespace_that_is_deleted_takes_its_objects_silently_unless_asked_for() {
    for automated in [false, true] {
        let cluster = kinds().await;
        let _log = ShowsLog(cluster);
        let scene = Scene::with_namespace(cluster, "namespace").await;
        let there = Scene::within(cluster, OPERATOR_NAMESPACE).await;
        let doomed = Scene::with_namespace(cluster, &scene.namespace).await;
        doomed.makes(PARCELS, "doomed", parcel(true)).await;
        let here = scene.makes(PARCELS, "here", parcel(true)).await;
        scene.collects("Left", json!({"collection": {"automated": automated}})).await;
        let namespaces: Api<Namespace> = Api::all(scene.admin.client.clone());
        namespaces.delete(&doomed.namespace, &DeleteParams::default()).await.unwrap();
        let mine = async || {
            let all = there.instances().await;
            titles(&all).into_iter().filter(|title| title.contains(&doomed.namespace)).collect::<Vec<_>>()
        };
        if automated {
            let told = eventually("it is told in the operator's namespace", async || {
                Some(mine().await).filter(|told| !told.is_empty())
            });
            assert_eq!(told.await, [doomed.left("doomed")]);
        } else {
            eventually("the namespace is gone", async || {
                namespaces.get_opt(&doomed.namespace).await.unwrap().is_none().then_some(())
            })
            .await;
            // What comes after it in the same watch has been seen.
            scene.sends(&here, false).await;
            assert_eq!(scene.looked_at(1).await, [scene.left("here")]);
            assert!(mine().await.is_empty());
        }
    }
}

#[tokio::test]
async fn r29_a_collection_opens_one_instance_for_each_subject() {
    let cluster = kinds().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "subjects").await;
    let each = json!({"process": {"instancePer": "Subject", "subjects": "['bob', 'carol', 'bob']"}});
    scene.collects("Entered", each).await;
    scene.makes(PARCELS, "cart", parcel(true)).await;
    scene.looked_at(2).await;
    let mut subjects: Vec<_> = scene.instances().await.into_iter().map(|instance| instance.spec.subjects).collect();
    subjects.sort();
    assert_eq!(subjects, [["bob"], ["carol"]]);
}

#[tokio::test]
async fn r29_what_belongs_to_a_collection_outlives_the_operator() {
    let mut cluster = kinds_alone().await;
    let scene = Scene::with_namespace(&cluster, "restart").await;
    let namespace = scene.namespace.clone();
    let (before, leaves) =
        (scene.makes(PARCELS, "before", parcel(true)).await, scene.makes(PARCELS, "leaves", parcel(true)).await);
    scene.collects("Entered", json!({})).await;
    scene.makes(PARCELS, "seen", parcel(true)).await;
    assert_eq!(scene.looked_at(1).await, [scene.entered("seen")]);

    cluster.operator.kill().await.unwrap();
    let scene = Scene::within(&cluster, &namespace).await;
    scene.sends(&leaves, false).await;
    scene.makes(PARCELS, "missed", parcel(true)).await;
    // One crash before the instance was there, one after.
    begin_to_open(&scene, "before").await;
    begin_to_open(&scene, "seen").await;
    cluster.operator = Cluster::spawn_operator(&cluster.plane).await;
    let scene = Scene::within(&cluster, &namespace).await;
    let log = ShowsLog(&cluster);
    let expected = [scene.entered("before"), scene.entered("missed"), scene.entered("seen")];
    assert_eq!(scene.looked_at(3).await, expected);
    scene.sends(&leaves, true).await;
    scene.sends(&before, false).await;
    assert!(scene.looked_at(4).await.contains(&scene.entered("leaves")));
    drop(log);

    // More than can be remembered is told, with the number; what is narrowed down works again.
    cluster.operator.terminate(std::time::Duration::from_secs(20)).await.unwrap();
    cluster.operator =
        Cluster::spawn_operator_with(&cluster.plane, &[("QUORATE_COLLECTION_LIMIT", "2".to_owned())]).await;
    let scene = Scene::within(&cluster, &namespace).await;
    let processes: Api<ApprovalProcess> = Api::all(scene.admin.client.clone());
    let process = processes.list(&ListParams::default()).await.unwrap().items.remove(0);
    let told = scene.ready(&process, "False").await;
    assert!(told.contains("3 objects belong to it, and at most 2 can be remembered"), "{told}");
    assert!(told.contains("collections.limit"), "{told}");
}

/// Waits until an Event about an object says why nothing is opened for it.
async fn held(scene: &Scene<'_>, name: &str) -> String {
    let events: Api<Event> = Api::namespaced(scene.admin.client.clone(), &scene.namespace);
    eventually(&format!("an event tells that {name} is held"), async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let about = |event: &Event| {
            let name_of = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
            name_of == Some(name) && event.reason.as_deref() == Some("Held")
        };
        all.items.into_iter().find(about).and_then(|event| event.note)
    })
    .await
}

#[tokio::test]
async fn attack_37_an_object_that_names_nobody_usable_is_told_and_stops_no_other() {
    let cluster = kinds().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "endless").await;
    scene.collects("Entered", json!({})).await;
    scene.makes(PARCELS, "endless", json!({"spec": {"owner": "x".repeat(2000), "sent": true}})).await;
    let told = held(&scene, "endless").await;
    assert!(told.contains("spec.initiator: it yields a text of 2000 letters"), "{told}");
    scene.makes(PARCELS, "usual", parcel(true)).await;
    assert_eq!(scene.looked_at(1).await, [scene.entered("usual")]);
}

#[tokio::test]
async fn attack_37_an_object_whose_instance_is_refused_waits_alone() {
    let cluster = kinds().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "quota").await;
    let full = Scene::with_namespace(cluster, &scene.namespace).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(scene.admin.client.clone(), &full.namespace);
    let hard = json!({"hard": {"count/workflowinstances.quorate.dev": "0"}});
    let quota = json!({"metadata": {"name": "none"}, "spec": hard});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let known = json!({"status": {"hard": hard["hard"], "used": hard["hard"]}});
    quotas.patch_status("none", &PatchParams::default(), &Patch::Merge(known)).await.unwrap();
    scene.collects("Entered", json!({})).await;
    full.makes(PARCELS, "refused", parcel(true)).await;
    let told = held(&full, "refused").await;
    assert!(told.contains("exceeded quota") && told.contains("tried again"), "{told}");
    scene.makes(PARCELS, "usual", parcel(true)).await;
    assert_eq!(scene.looked_at(1).await, [scene.entered("usual")]);
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    assert_eq!(full.looked_at(1).await, [full.entered("refused")]);
}

/// Makes the record what it is when the operator crashes after it has written down that it opens the first instance of an object.
async fn begin_to_open(scene: &Scene<'_>, name: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(scene.admin.client.clone(), OPERATOR_NAMESPACE);
    let all = maps.list(&ListParams::default()).await.unwrap();
    for mut map in all.items.into_iter().filter(|map| map.name_any().starts_with("quorate-collection-")) {
        for text in map.data.iter_mut().flat_map(|data| data.values_mut()).filter(|text| text.starts_with('{')) {
            let mut entries: Value = serde_json::from_str(text).unwrap();
            for entry in entries.as_object_mut().unwrap().values_mut().filter(|entry| entry["name"] == name) {
                entry["opening"] = json!(true);
                entry["count"] = json!(1);
                entry["asked"] = json!({"initiator": {"username": "alice"}});
            }
            *text = entries.to_string();
        }
        maps.replace(&map.name_any(), &PostParams::default(), &map).await.unwrap();
    }
}
