//! What is no vote: remarks, withdrawals, and what administrators do.

use super::runs;
use crate::cluster::chart;
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use kube::Api;
use kube::api::{Patch, PatchParams};
use quorate::api::*;
use serde_json::json;

on_both_servers!(
    whoever_asked_withdraws,
    administrators_name_others,
    administrators_stop_and_retry,
    administrators_restart_on_the_newest_definition,
    a_comment_is_a_remark,
);

/// Somebody who holds the verbs of an administrator in this namespace.
async fn administrator(scene: &Scene<'_>, name: &str) -> Person {
    let bind = ["create", "rolebinding", name, "--clusterrole=quorate-administrator", &format!("--user={name}")];
    scene.kubectl(&bind).await.ok().unwrap();
    scene.as_user(name, &[]).await
}

async fn whoever_asked_withdraws(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "cancel").await;
    let (alice, mary) = (scene.as_user("alice", &[]).await, scene.as_user("mary", &[]).await);
    let cancel = json!({"decision": "Cancel", "comment": "Not needed any more."});
    let release = alice.opens("release", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let release = scene.asking(&release).await;
    let tried = mary.signals(&release, cancel.clone()).await.unwrap();
    scene.refuses(&tried, "NotAllowed", "mary did not ask for this").await;
    scene.untouched(&release).await;
    scene.counts(&alice.signals(&release, cancel.clone()).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Cancelled);
    let told = scene.says(&release, "Completed", "True", "Withdrawn").await;
    assert_eq!(told, "alice withdrew it");
    let status = scene.status(&release).await;
    assert_eq!((status.decisions[0].decision, status.decisions[0].through.as_str()), (Decision::Cancel, "initiator"));
    scene.refuses(&mary.approves(&release).await, "StepClosed", "release is finished: Cancelled").await;

    let boss = administrator(&scene, "boss").await;
    let other = alice.opens("other", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    scene.counts(&boss.signals(&scene.asking(&other).await, cancel).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&other).await, Outcome::Cancelled);
    assert_eq!(scene.status(&other).await.decisions[0].through, "permission to cancel");
}

async fn administrators_name_others(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "reassign").await;
    let (alice, boss) = (scene.as_user("alice", &[]).await, administrator(&scene, "boss").await);
    let [mary, john, jane] = ["mary", "john", "jane"];
    let people =
        [scene.as_user(mary, &[]).await, scene.as_user(john, &[]).await, scene.as_user(jane, &["night"]).await];
    let partitions = json!([
        {"name": "one", "approvers": [{"user": "mary"}]},
        {"name": "two", "approvers": [{"user": "mary"}, {"user": "sam"}]},
    ]);
    let release = scene.asking(&alice.opens("release", one_step(json!({"partitions": partitions}))).await).await;
    let reassign = json!({"decision": "Reassign", "partition": "one", "delegateTo": "john"});
    for person in [&people[0], &alice] {
        let tried = person.signals(&release, reassign.clone()).await.unwrap();
        scene.refuses(&tried, "NotAllowed", "that takes verb administer on workflowinstances of this namespace").await;
    }
    let ambiguous = json!({"decision": "Reassign", "delegateTo": "john"});
    let ambiguous = boss.signals(&release, ambiguous).await.unwrap();
    scene.refuses(&ambiguous, "Ambiguous", "say which one of one, two").await;
    refused_by(
        boss.signals(&release, json!({"decision": "Reassign"})).await,
        "",
        "need either approvers, or delegateTo",
    );
    let unknown = json!({"decision": "AddApprovers", "partition": "one", "approvers": [{"role": "nowhere"}]});
    let unknown = boss.signals(&release, unknown).await.unwrap();
    scene.refuses(&unknown, "NotAllowed", "spec.approvers[0].role: there is no BusinessRole nowhere").await;
    scene.untouched(&release).await;

    scene.counts(&boss.signals(&release, reassign).await.unwrap()).await;
    let reassigned = |status: &WorkflowInstanceStatus| {
        let names = |task: &Task| task.approvers.iter().flat_map(|asked| asked.names.clone()).collect::<Vec<_>>();
        names(&status.tasks[0]) == ["john"] && names(&status.tasks[1]) == ["mary", "sam"]
    };
    scene.until(&release, "john is asked", reassigned).await;
    let one = json!({"decision": "Approve", "partition": "one"});
    scene.refuses(&people[0].signals(&release, one.clone()).await.unwrap(), "NotAnApprover", "may not decide").await;
    scene.counts(&people[1].signals(&release, one).await.unwrap()).await;
    let add = json!({"decision": "AddApprovers", "partition": "two", "approvers": [{"group": "night"}]});
    scene.counts(&boss.signals(&release, add).await.unwrap()).await;
    scene.counts(&people[2].approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    let recorded: Vec<_> = scene.status(&release).await.decisions.iter().map(|found| found.decision).collect();
    assert_eq!(recorded, [Decision::Reassign, Decision::Approve, Decision::AddApprovers, Decision::Approve]);

    // Nobody administers what they asked for themselves; stopping it is no harm.
    let own = boss.opens("own", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let tried = json!({"decision": "Reassign", "delegateTo": "john"});
    let tried = boss.signals(&scene.asking(&own).await, tried).await.unwrap();
    scene.refuses(&tried, "SelfApproval", "another administrator has to").await;
}

async fn administrators_stop_and_retry(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "stop").await;
    let (alice, boss) = (scene.as_user("alice", &[]).await, administrator(&scene, "boss").await);
    let release = alice.opens("release", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let release = scene.asking(&release).await;
    for decision in ["Stop", "Retry", "Restart"] {
        let tried = alice.signals(&release, json!({"decision": decision})).await.unwrap();
        scene.refuses(&tried, "NotAllowed", &format!("alice may not {decision}")).await;
    }
    let retry = boss.signals(&release, json!({"decision": "Retry"})).await.unwrap();
    scene.refuses(&retry, "NothingToRetry", "nothing failed here").await;
    scene.untouched(&release).await;
    scene.counts(&boss.signals(&release, json!({"decision": "Stop"})).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Cancelled);
    assert_eq!(scene.says(&release, "Completed", "True", "Stopped").await, "boss stopped it");

    // What stalled because a fact was missing is tried again at once.
    let approval = json!({"approvers": [{"expression": "parameters.reviewers"}]});
    let stalled = alice.opens("stalled", one_step(approval)).await;
    scene.says(&stalled, "Stalled", "True", "ExpressionFailed").await;
    scene.counts(&boss.signals(&stalled, json!({"decision": "Retry"})).await.unwrap()).await;
    scene.says(&stalled, "Stalled", "True", "ExpressionFailed").await;
    scene.counts(&boss.signals(&stalled, json!({"decision": "Stop"})).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&stalled).await, Outcome::Cancelled);
}

async fn administrators_restart_on_the_newest_definition(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "restart").await;
    let (alice, boss) = (scene.as_user("alice", &[]).await, administrator(&scene, "boss").await);
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let nodes = json!([
        {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
        {"name": "confirm", "approval": {"approvers": [{"user": "mary"}]}},
    ]);
    let definition = scene.workflow("release", nodes).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    scene.counts(&mary.approves(&release).await).await;
    let confirming = scene.at(&release, "confirm").await;
    let before = confirming.status.as_ref().unwrap().revision.clone().unwrap();
    assert_eq!(scene.found(&definition).await.status.unwrap().revision.as_deref(), Some(before.as_str()));
    scene
        .changes(&definition, json!({"nodes": [{"name": "only", "approval": {"approvers": [{"user": "john"}]}}]}))
        .await;
    scene.ready(&definition, "True").await;
    let after = scene.found(&definition).await.status.unwrap().revision.unwrap();
    assert_ne!(before, after);
    scene.untouched(&confirming).await;

    // Not even the operator changes the revision of what runs, but by a restart.
    let operator = format!("system:serviceaccount:{}:{}", chart::NAMESPACE, chart::RELEASE);
    let operator = scene.as_user(&operator, &[]).await;
    let api: Api<WorkflowInstance> = operator.sees();
    let other = Patch::Merge(json!({"status": {"revision": after}}));
    let written = api.patch_status("release", &PatchParams::default(), &other).await;
    refused_by(written, "", "changes only when an administrator restarts it");
    scene.untouched(&confirming).await;

    let restart = json!({"decision": "Restart"});
    let tried = mary.signals(&release, restart.clone()).await.unwrap();
    scene.refuses(&tried, "NotAllowed", "mary may not Restart").await;
    scene.untouched(&confirming).await;
    scene.counts(&boss.signals(&release, restart.clone()).await.unwrap()).await;
    let status = scene.at(&release, "only").await.status.unwrap();
    assert_eq!((status.revision.as_deref(), status.restarts), (Some(after.as_str()), 1));
    assert_eq!(status.steps.iter().map(|visit| visit.node.as_str()).collect::<Vec<_>>(), ["check", "confirm", "only"]);
    assert_eq!(status.steps[1].output.as_deref(), Some("restarted"));
    let only = json!({"decision": "Approve", "step": "only", "visit": 1});
    scene.refuses(&mary.signals(&release, only.clone()).await.unwrap(), "NotAnApprover", "may not decide").await;

    // A definition that cannot be run on restarts nothing.
    let standing = scene.at(&release, "only").await;
    let missing = json!([{"name": "only", "approval": {"approvers": [{"role": scene.unique("nowhere")}]}}]);
    scene.changes(&definition, json!({"nodes": missing})).await;
    scene.ready(&definition, "False").await;
    let tried = boss.signals(&release, restart).await.unwrap();
    scene.refuses(&tried, "DefinitionNotReady", "there is no BusinessRole").await;
    scene.untouched(&standing).await;
    scene.counts(&john.signals(&release, only).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn a_comment_is_a_remark(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "comment").await;
    let (alice, mallory) = (scene.as_user("alice", &[]).await, scene.as_user("mallory", &[]).await);
    let (mary, eva) = (scene.as_user("mary", &[]).await, scene.as_user("eva", &["supervisors"]).await);
    let approval = json!({"approvers": [{"user": "mary"}], "viewers": [{"group": "supervisors"}]});
    let release = scene.asking(&alice.opens("release", one_step(approval)).await).await;
    let comment = json!({"decision": "Comment", "comment": "Why now?"});
    scene.refuses(&mallory.signals(&release, comment.clone()).await.unwrap(), "NotAllowed", "may not see step").await;
    for person in [&mary, &eva, &mary] {
        scene.counts(&person.signals(&release, comment.clone()).await.unwrap()).await;
    }
    refused_by(mary.signals(&release, json!({"decision": "Comment"})).await, "", "decision Comment needs a comment");
    scene.untouched(&release).await;
    scene.counts(&mary.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}
