//! Certificate requests, from the event to what is written back.

use super::names_asked;
use crate::requests::CN;
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;

on_both_servers!(
    a_process_supplies_what_its_workflow_needs,
    a_right_on_the_process_makes_approvers,
    the_operation_is_carried_out_in_the_middle,
    a_request_that_is_rejected_after_it_was_carried_out_stays_carried_out,
    a_process_says_whom_it_is_about_and_who_may_not_decide,
    an_expired_request_is_denied,
    a_withdrawn_request_is_left_undecided,
);

async fn a_process_supplies_what_its_workflow_needs(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "binding").await;
    let alice = scene.as_user("alice", &[]).await;
    let guard = scene.person("guard", json!({})).await;
    let role = scene.role_of("pki", json!({"guarantors": [{"identity": guard.name()}]})).await;
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"roleGuarantor": {}}]}}]);
    let workflow = scene.workflow("certificates", nodes).await;
    let process = scene.process("certificates", &workflow.name_any(), &[]).await;
    let told = scene.ready(&process, "False").await;
    let needs = format!("spec.role: is missing, and WorkflowDefinition {} needs a role", workflow.name_any());
    assert!(told.contains(&needs) && told.contains("spec.nodes[check].approval.approvers[0]"), "{told}");
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    scene.undecided(&request).await;
    assert_eq!(scene.instance_of(&request).await, None);

    scene.changes(&process, json!({"role": format!("'{}'", role.name_any())})).await;
    scene.ready(&process, "True").await;
    let instance = scene.opened_for(&request).await;
    assert_eq!(instance.spec.role.as_deref(), Some(role.name_any().as_str()));
    assert_eq!(names_asked(instance.status.as_ref().unwrap()), [guard.name()]);
    scene.counts(&guard.approves(&instance).await).await;
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
}

async fn a_right_on_the_process_makes_approvers(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "permission").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &["pki"]).await, scene.as_user("john", &[]).await);
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"permission": {"verb": "approve"}}]}}]);
    let workflow = scene.workflow("certificates", nodes).await;
    let process = scene.process("certificates", &workflow.name_any(), &[]).await;
    scene.ready(&process, "True").await;
    let role = scene.unique("approves");
    let rights = format!(
        "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {role}}}
rules:
- {{apiGroups: [quorate.dev], resources: [approvalprocesses], resourceNames: [{}], verbs: [approve]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {role}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: pki}}]
",
        process.name_any()
    );
    cluster.plane.apply(&rights).await.unwrap().ok().unwrap();
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    let summary = instance.status.as_ref().unwrap().tasks[0].approvers[0].clone();
    assert_eq!(
        (summary.source.as_str(), summary.count),
        ("permission to approve", None),
        "Kubernetes cannot list them"
    );
    scene.refuses(&john.approves(&instance).await, "NotAnApprover", "john may not decide").await;
    scene.untouched(&instance).await;
    // The right on one process is none on another.
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"permission": {"verb": "review"}}]}}]);
    let other = scene.workflow("other", nodes).await;
    let other = scene.process("other", &other.name_any(), &["object.metadata.name.endsWith('-other')"]).await;
    scene.changes(&other, json!({"order": 1})).await;
    scene.ready(&other, "True").await;
    let reviewed = alice.requests(&scene, "other", &[(CN, "alice")]).await;
    let reviewed = scene.opened_for(&reviewed).await;
    assert_eq!(reviewed.spec.process_ref.as_ref().unwrap().name, other.name_any());
    scene.refuses(&mary.approves(&reviewed).await, "NotAnApprover", "mary may not decide").await;

    scene.counts(&mary.approves(&instance).await).await;
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
    let decided = scene.status(&instance).await.decisions;
    assert_eq!(decided[0].through, "permission to approve");
    // An instance that no process opened has no such right to ask for.
    let approval = json!({"approvers": [{"permission": {"verb": "approve"}}]});
    let by_hand = alice.opens("by-hand", one_step(approval)).await;
    assert_eq!(scene.outcome_of(&by_hand).await, Outcome::Failed);
    scene.says(&by_hand, "Completed", "True", "InputMissing").await;
}

/// A workflow that checks, carries out, and files.
async fn checked_then_filed(scene: &Scene<'_>) {
    let nodes = json!([
        {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
        {"name": "apply", "execute": {}},
        {"name": "file", "approval": {"approvers": [{"user": "john"}]}},
    ]);
    let workflow = scene.workflow("certificates", nodes).await;
    let process = scene.process("certificates", &workflow.name_any(), &[]).await;
    scene.ready(&process, "True").await;
}

async fn the_operation_is_carried_out_in_the_middle(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "execute").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    checked_then_filed(&scene).await;
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    scene.undecided(&request).await;
    scene.counts(&mary.approves(&instance).await).await;
    let filing = scene.at(&instance, "file").await;
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
    assert_eq!(filing.status.as_ref().unwrap().outcome, None, "a step is left after the operation");
    let late = alice.signals(&instance, json!({"decision": "Cancel"})).await.unwrap();
    scene.refuses(&late, "StepClosed", "cannot be withdrawn any more").await;
    let file = json!({"decision": "Approve", "step": "file", "visit": 1});
    scene.counts(&john.signals(&instance, file).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
    let visits: Vec<_> = scene.status(&instance).await.steps.iter().map(|visit| visit.node.clone()).collect();
    assert_eq!(visits, ["check", "apply", "file", "Approved"]);
    // By hand there is nothing to carry out: it passes at once.
    let definition = scene.unique("certificates");
    let by_hand = scene.asking(&alice.opens("by-hand", json!({"workflowRef": {"name": definition}})).await).await;
    scene.counts(&mary.approves(&by_hand).await).await;
    scene.at(&by_hand, "file").await;
}

async fn a_request_that_is_rejected_after_it_was_carried_out_stays_carried_out(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "post-run").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    checked_then_filed(&scene).await;
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    scene.counts(&mary.approves(&instance).await).await;
    scene.at(&instance, "file").await;
    let file = json!({"decision": "Reject", "step": "file", "visit": 1});
    scene.counts(&john.signals(&instance, file).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Rejected);
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
}

async fn a_process_says_whom_it_is_about_and_who_may_not_decide(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "about").await;
    let alice = scene.as_user("alice", &[]).await;
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"group": "team"}]}}]);
    let workflow = scene.workflow("certificates", nodes).await;
    let mut spec = scene.process_spec(&workflow.name_any(), &[]);
    spec["subjects"] = json!("['bob', request.commonNames[0]]");
    spec["excludeApprovers"] = json!("['mary']");
    let process: ApprovalProcess = scene.has("certificates", spec).await;
    scene.ready(&process, "True").await;
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    assert_eq!(instance.spec.subjects, ["bob", "alice"]);
    for (name, reason) in [("bob", "SelfApproval"), ("alice", "SelfApproval"), ("mary", "Excluded")] {
        let person = scene.as_user(name, &["team"]).await;
        scene.refuses(&person.approves(&instance).await, reason, name).await;
    }
    scene.untouched(&instance).await;
    scene.counts(&scene.as_user("john", &["team"]).await.approves(&instance).await).await;
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
}

async fn an_expired_request_is_denied(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "expired").await;
    let alice = scene.as_user("alice", &[]).await;
    let nodes = json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}], "timeout": {"after": "6s"}}}]);
    let workflow = scene.workflow("certificates", nodes).await;
    let process = scene.process("certificates", &workflow.name_any(), &[]).await;
    scene.ready(&process, "True").await;
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    scene.undecided(&request).await;
    let decision = scene.decision_on(&request).await;
    assert_eq!(decision.type_, "Denied", "{decision:?}");
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Expired);
}

async fn a_withdrawn_request_is_left_undecided(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "withdrawn").await;
    let (alice, mallory) = (scene.as_user("alice", &[]).await, scene.as_user("mallory", &[]).await);
    let workflow =
        scene.workflow("certificates", json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}]}}]));
    let process = scene.process("certificates", &workflow.await.name_any(), &[]).await;
    scene.ready(&process, "True").await;
    let request = alice.requests(&scene, "www", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&request).await;
    let cancel = json!({"decision": "Cancel"});
    let foreign = mallory.signals(&instance, cancel.clone()).await.unwrap();
    scene.refuses(&foreign, "NotAllowed", "mallory did not ask for this").await;
    scene.untouched(&instance).await;
    scene.counts(&alice.signals(&instance, cancel).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Cancelled);
    scene.says(&instance, "Completed", "True", "Withdrawn").await;
    scene.undecided(&request).await;
}
