//! Who may do everything turns the lock off, or takes a snapshot away.

use crate::cluster::chart;
use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use quorate::api::*;
use serde_json::json;
use std::time::Duration;

on_both_servers!(alone:
    attack_05_policy_removed_and_restored,
    attack_05_policy_removed_while_the_operator_is_away,
    attack_28_snapshot_deleted,
);

/// An instance that waits for Mary and John.
async fn release(scene: &Scene<'_>) -> WorkflowInstance {
    let alice = scene.as_user("alice", &[]).await;
    let spec = one_step(json!({"approvers": [{"user": "mary"}, {"user": "john"}], "required": 2}));
    scene.asking(&alice.opens("release", spec).await).await
}

/// A forged instance and a forged approval in the name of Mary. They pass as soon as the server has noticed that the policies
/// are gone.
async fn forge(scene: &Scene<'_>, release: &WorkflowInstance) -> (WorkflowInstance, ApprovalSignal) {
    let mallory = scene.as_user("mallory", &[]).await;
    let mary = scene.as_user("mary", &[]).await.actor;
    let mut spec = one_step(json!({"approvers": [{"user": "mallory"}]}));
    spec["initiator"] = json!(mary);
    let instance =
        eventually("a forged instance passes", async || mallory.tries_to_open("forged", spec.clone()).await.ok());
    let instance = instance.await;
    let signal = json!({"decision": "Approve", "actor": mary});
    let signal = eventually("a forged signal passes", async || mallory.signals(release, signal.clone()).await.ok());
    (instance, signal.await)
}

async fn remove_policies(scene: &Scene<'_>) {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.admin.client.clone());
    for name in ["quorate-signal-actor", "quorate-instance-initiator"] {
        policies.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

async fn restore_policies(cluster: &Cluster) {
    cluster.plane.install_chart(&["deployment.enabled=false"]).await.unwrap();
}

/// What was forged never counts, and says so; what is honest and new does.
async fn only_honest_signals_count(
    scene: &Scene<'_>,
    release: &WorkflowInstance,
    forged: (WorkflowInstance, ApprovalSignal),
) {
    let (instance, signal) = forged;
    let told = "was not provably in force when this was sent; send it again";
    scene.refuses(&signal, "ActorUnproven", told).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Failed);
    scene.says(&instance, "Completed", "True", "InitiatorUnproven").await;
    assert_eq!(scene.now(release).await.status.unwrap().decisions, []);
    for name in ["mary", "john"] {
        scene.counts(&scene.as_user(name, &[]).await.approves(release).await).await;
    }
    assert_eq!(scene.outcome_of(release).await, Outcome::Approved);
    scene.refuses(&signal, "ActorUnproven", told).await;
}

async fn proof_metric(cluster: &Cluster) -> String {
    let (_, metrics) = cluster.operator.get("/metrics").await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix("quorate_actor_proof ")).unwrap().to_owned()
}

async fn attack_05_policy_removed_and_restored(cluster: Cluster) {
    let scene = Scene::with_namespace(&cluster, "attack-05").await;
    let release = release(&scene).await;
    assert_eq!(proof_metric(&cluster).await, "1");
    remove_policies(&scene).await;
    let forged = forge(&scene, &release).await;

    eventually("the operator is not ready", async || {
        (cluster.operator.get("/readyz").await.ok()?.0 == 503).then_some(())
    })
    .await;
    assert_eq!(proof_metric(&cluster).await, "0");
    let told = scene.says(&release, "Stalled", "True", "ActorUnproven").await;
    assert!(told.contains("decisions wait") && told.contains("quorate-"), "{told}");
    let events: Api<Event> = scene.admin.sees();
    eventually("an event tells of it", async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let told = |event: &&Event| {
            event.reason.as_deref() == Some("ActorUnproven") && event.type_.as_deref() == Some("Warning")
        };
        events.iter().find(told).map(|_| ())
    })
    .await;
    let unproven = scene.as_user("john", &[]).await.approves(&release).await;
    let status = scene.now(&release).await.status.unwrap();
    assert_eq!((status.decisions, status.outcome), (Vec::new(), None));

    restore_policies(&cluster).await;
    cluster.operator.wait_ready().await.unwrap();
    assert_eq!(proof_metric(&cluster).await, "1");
    scene.refuses(&unproven, "ActorUnproven", "send it again").await;
    only_honest_signals_count(&scene, &release, forged).await;
    let stalled = scene.now(&release).await.status.unwrap();
    assert!(!is_true(&stalled.conditions, "Stalled"));
    cluster.is_well();
}

async fn attack_05_policy_removed_while_the_operator_is_away(mut cluster: Cluster) {
    let namespace = Scene::with_namespace(&cluster, "attack-05").await.namespace;
    let release = release(&Scene::within(&cluster, &namespace).await).await;
    cluster.operator.terminate(Duration::from_secs(30)).await.unwrap();
    let scene = Scene::within(&cluster, &namespace).await;
    remove_policies(&scene).await;
    let forged = forge(&scene, &release).await;
    restore_policies(&cluster).await;
    let operator = Cluster::spawn_operator(&cluster.plane).await;
    only_honest_signals_count(&scene, &release, forged).await;
    assert_eq!(operator.exit_status(), None);
}

async fn attack_28_snapshot_deleted(mut cluster: Cluster) {
    let namespace = Scene::with_namespace(&cluster, "attack-28").await.namespace;
    let release = release(&Scene::within(&cluster, &namespace).await).await;
    let name = release.status.as_ref().unwrap().revision.clone().unwrap();
    let revisions: Api<ControllerRevision> = Api::namespaced(cluster.plane.admin().await.unwrap(), chart::NAMESPACE);
    let snapshot = revisions.get(&name).await.unwrap();

    // An operator that has read it goes on by it: the name stands for the content. One that starts anew cannot.
    cluster.operator.terminate(Duration::from_secs(30)).await.unwrap();
    revisions.delete(&name, &DeleteParams::default()).await.unwrap();
    cluster.operator = Cluster::spawn_operator(&cluster.plane).await;
    let _log = crate::ShowsLog(&cluster);
    let scene = Scene::within(&cluster, &namespace).await;
    let signal = scene.as_user("mary", &[]).await.approves(&release).await;
    let told = scene.says(&release, "Stalled", "True", "RevisionUnusable").await;
    assert!(told.contains(&name) && told.contains("restore it from a backup"), "{told}");
    stands_still(&scene, &release, &signal).await;

    // Easier rules under the name of the snapshot are not taken for it.
    let mut easier = snapshot.clone();
    easier.metadata.uid = None;
    easier.metadata.resource_version = None;
    let data = easier.data.as_mut().unwrap();
    data.0["workflow"]["nodes"][0]["approval"]["required"] = json!(1);
    revisions.create(&PostParams::default(), &easier).await.unwrap();
    eventually("the snapshot is told apart", async || {
        let status = scene.now(&release).await.status.unwrap();
        let stalled = condition(&status.conditions, "Stalled").unwrap();
        stalled.message.contains("was tampered with").then_some(())
    })
    .await;
    stands_still(&scene, &release, &signal).await;

    revisions.delete(&name, &DeleteParams::default()).await.unwrap();
    let mut restored = snapshot;
    restored.metadata.uid = None;
    restored.metadata.resource_version = None;
    revisions.create(&PostParams::default(), &restored).await.unwrap();
    scene.counts(&signal).await;
    scene.counts(&scene.as_user("john", &[]).await.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    cluster.is_well();
}

async fn stands_still(scene: &Scene<'_>, release: &WorkflowInstance, signal: &ApprovalSignal) {
    let status = scene.now(release).await.status.unwrap();
    assert_eq!((status.decisions, status.outcome), (Vec::new(), None));
    assert_eq!(scene.now(signal).await.status, None, "it is judged when the snapshot is back");
}
