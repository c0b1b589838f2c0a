//! Somebody decides for somebody else: a standing substitute, and a task that is handed over.

use super::runs;
use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(
    a_substitute_decides_for_somebody,
    a_delegation_is_the_principals_alone,
    a_delegation_covers_roles_and_times,
    a_task_is_handed_over_and_taken_back,
);

impl Person {
    /// Names a substitute, or is refused. The name is [made unique](Scene::unique).
    pub async fn tries_to_delegate(&self, scene: &Scene<'_>, name: &str, mut spec: Value) -> kube::Result<Delegation> {
        self.fill_in(&mut spec, "principal");
        let resource = ApiResource::erase::<Delegation>(&());
        let mut sent = DynamicObject::new(&scene.unique(name), &resource);
        sent.data = json!({"spec": spec});
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        Ok(api.create(&PostParams::default(), &sent).await?.try_parse().unwrap())
    }

    /// Names a substitute who counts.
    pub async fn delegates(&self, scene: &Scene<'_>, name: &str, spec: Value) -> Delegation {
        let delegation = self.tries_to_delegate(scene, name, spec).await.unwrap();
        assert_eq!(delegation.spec.principal.as_ref(), Some(&self.actor));
        scene.ready(&delegation, "True").await;
        delegation
    }
}

/// A role of Olga and Zoe, in which two must agree.
async fn two_of_the_role(scene: &Scene<'_>, olga: &Person, zoe: &Person) -> WorkflowDefinition {
    let role = scene.role("clerks", &[olga, zoe]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}], "required": 2});
    scene.workflow("clerks", json!([{"name": "check", "approval": approval}])).await
}

async fn a_substitute_decides_for_somebody(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "substitute").await;
    let alice = scene.as_user("alice", &[]).await;
    let (olga, zoe) = (scene.person("olga", json!({})).await, scene.person("zoe", json!({})).await);
    let dan = scene.person("dan", json!({})).await;
    let definition = two_of_the_role(&scene, &olga, &zoe).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    scene.refuses(&dan.approves(&release).await, "NotAnApprover", "may not decide").await;

    // As people do it: kubectl, with nothing but their own name for whom it is.
    let mut spec = json!({"to": dan.name()});
    olga.fill_in(&mut spec, "principal");
    let name = scene.unique("olga");
    let written =
        json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "Delegation", "metadata": {"name": name}, "spec": spec});
    scene.kubectl_as(olga.name(), &["create", "-f", "-"], &written).await.ok().unwrap();
    let delegations: Api<Delegation> = Api::all(scene.admin.client.clone());
    let delegation = delegations.get(&name).await.unwrap();
    assert_eq!(delegation.spec.principal.as_ref(), Some(&olga.actor));
    scene.ready(&delegation, "True").await;
    let columns = scene.kubectl(&["get", "deleg", &name]).await.ok().unwrap();
    assert!(columns.starts_with("NAME") && columns.contains("PRINCIPAL") && columns.contains(dan.name()), "{columns}");

    scene.counts(&dan.approves(&release).await).await;
    let decided = scene.status(&release).await.decisions;
    assert_eq!((decided[0].actor.as_str(), decided[0].on_behalf_of.as_deref()), (dan.name(), Some(olga.name())));
    assert!(decided[0].through.starts_with("role "), "{decided:?}");
    // Both have one vote together.
    scene.refuses(&olga.approves(&release).await, "AlreadyDecided", "decided for").await;
    scene.refuses(&dan.approves(&release).await, "AlreadyDecided", "").await;
    scene.counts(&zoe.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);

    // What ends, ends at once; what was decided stays.
    let other = scene.asking(&alice.opens("other", runs(&definition)).await).await;
    Api::<Delegation>::all(olga.client.clone()).delete(&name, &DeleteParams::default()).await.unwrap();
    // The watch of signals may be ahead of the watch of delegations, so this one is told of last.
    let marker = zoe.delegates(&scene, "marker", json!({"to": "somebody"})).await;
    assert_eq!(marker.spec.to, "somebody");
    scene.refuses(&dan.approves(&other).await, "NotAnApprover", "may not decide").await;
}

async fn a_delegation_is_the_principals_alone(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "principal").await;
    let (olga, dan) = (scene.as_user("olga", &["staff"]).await, scene.as_user("dan", &[]).await);
    let must = |name: &str| format!("spec.principal must be the sender, {name}");
    let honest = dan.actor.clone();
    let forgeries = [
        olga.actor.clone(),
        Actor { uid: "1".into(), ..honest.clone() },
        Actor { groups: vec!["system:masters".into()], ..honest.clone() },
        Actor { groups: Vec::new(), ..honest.clone() },
    ];
    for forged in forgeries {
        let spec = json!({"to": "dan", "principal": forged});
        let tried = dan.tries_to_delegate(&scene, "forged", spec.clone()).await;
        refused_by(tried, "quorate-delegation-principal", &must("dan"));
    }
    let spec = json!({"to": "dan", "principal": olga.actor});
    let tried = scene.admin.tries_to_delegate(&scene, "forged", spec).await;
    refused_by(tried, "quorate-delegation-principal", &must(scene.admin.name()));

    let made = olga.delegates(&scene, "made", json!({"to": "dan"})).await;
    let made = scene.found(&made).await;
    let name = made.name_any();
    let api = |person: &Person| Api::<Delegation>::all(person.client.clone());
    let mut put = made.clone();
    put.spec.principal = Some(dan.actor.clone());
    let immutable = "a delegation is immutable: delete it and create another one";
    refused_by(api(&scene.admin).replace(&name, &PostParams::default(), &put).await, "", immutable);
    let principal = json!(dan.actor);
    let json_patch = |operations: Value| Patch::<Value>::Json(serde_json::from_value(operations).unwrap());
    let applied = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "Delegation", "spec": {"to": "mallory"}});
    for (parameters, patch) in [
        (PatchParams::default(), Patch::Merge(json!({"spec": {"principal": principal}}))),
        (PatchParams::default(), Patch::Merge(json!({"spec": {"to": "mallory"}}))),
        (PatchParams::default(), Patch::Merge(json!({"spec": {"until": "2100-01-01T00:00:00Z"}}))),
        (PatchParams::default(), json_patch(json!([{"op": "replace", "path": "/spec/principal", "value": principal}]))),
        (
            PatchParams::default(),
            json_patch(json!([{"op": "remove", "path": "/spec"}, {"op": "add", "path": "/spec", "value": put.spec}])),
        ),
        (PatchParams::apply("mallory").force(), Patch::Apply(applied)),
    ] {
        refused_by(api(&scene.admin).patch(&name, &parameters, &patch).await, "", immutable);
        // Whoever made it has no right to change it, not even to be refused by the policy.
        refused_by(api(&olga).patch(&name, &parameters, &patch).await, "", "forbidden");
    }
    let ready = json!({"status": {"conditions": [{"type": "Proven", "status": "True", "reason": "PrincipalProven",
        "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z"}]}});
    let status = Patch::Merge(ready);
    let written = api(&scene.admin).patch_status(&name, &PatchParams::default(), &status).await;
    refused_by(written, "quorate-status", "status is written by the operator alone");
    refused_by(api(&olga).patch_status(&name, &PatchParams::default(), &status).await, "", "forbidden");
    let before = scene.found(&made).await;
    assert_eq!(before.metadata.resource_version, made.metadata.resource_version);

    let taken = "a delegation is taken back by its principal";
    refused_by(api(&dan).delete(&name, &DeleteParams::default()).await, "quorate-delegation-principal", taken);
    api(&olga).delete(&name, &DeleteParams::default()).await.unwrap();
    // An administrator may clean up.
    let left = olga.delegates(&scene, "left", json!({"to": "dan"})).await;
    api(&scene.admin).delete(&left.name_any(), &DeleteParams::default()).await.unwrap();
}

async fn a_delegation_covers_roles_and_times(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "covers").await;
    let alice = scene.as_user("alice", &[]).await;
    let (olga, dan) = (scene.person("olga", json!({})).await, scene.person("dan", json!({})).await);
    let (clerks, bosses) = (scene.role("clerks", &[&olga]).await, scene.role("bosses", &[&olga]).await);
    let approval =
        |role: &BusinessRole| json!([{"name": "check", "approval": {"approvers": [{"role": role.name_any()}]}}]);
    let small = scene.workflow("small", approval(&clerks)).await;
    let large = scene.workflow("large", approval(&bosses)).await;
    let covered = olga.delegates(&scene, "clerks", json!({"to": dan.name(), "roles": [clerks.name_any()]})).await;
    let first = scene.asking(&alice.opens("first", runs(&small)).await).await;
    let second = scene.asking(&alice.opens("second", runs(&large)).await).await;
    scene.refuses(&dan.approves(&second).await, "NotAnApprover", "may not decide").await;
    scene.counts(&dan.approves(&first).await).await;
    Api::<Delegation>::all(olga.client.clone()).delete(&covered.name_any(), &DeleteParams::default()).await.unwrap();

    // It begins by itself, and nothing was edited then.
    let soon =
        (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(15)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    olga.delegates(&scene, "soon", json!({"to": dan.name(), "from": soon})).await;
    scene.refuses(&dan.approves(&second).await, "NotAnApprover", "may not decide").await;
    eventually("the delegation has begun", async || {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let verdict = scene.verdict_of(&dan.approves(&second).await).await;
        verdict.counted.then_some(())
    })
    .await;
    assert_eq!(scene.status(&second).await.decisions[0].on_behalf_of.as_deref(), Some(olga.name()));
    let backwards = json!({"to": "dan", "from": "2030-01-02T00:00:00Z", "until": "2030-01-01T00:00:00Z"});
    refused_by(olga.tries_to_delegate(&scene, "backwards", backwards).await, "", "until must be after from");
    // A role that does not exist is said, and where.
    let unknown = json!({"to": dan.name(), "roles": ["nowhere"]});
    let unknown = olga.tries_to_delegate(&scene, "unknown", unknown).await.unwrap();
    let told = scene.ready(&unknown, "False").await;
    assert!(told.contains("spec.roles: there is no BusinessRole nowhere"), "{told}");
}

async fn a_task_is_handed_over_and_taken_back(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "hand-over").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &["team"]).await;
    let (john, jane) = (scene.as_user("john", &[]).await, scene.as_user("jane", &[]).await);
    let release = alice.opens("release", one_step(json!({"approvers": [{"group": "team"}]}))).await;
    let release = scene.asking(&release).await;
    let to = |name: &str| json!({"decision": "Delegate", "delegateTo": name});
    let early = json!({"decision": "Delegate"});
    refused_by(mary.signals(&release, early).await, "", "decision Delegate needs delegateTo");
    scene.refuses(&john.signals(&release, to("jane")).await.unwrap(), "NotAnApprover", "may not decide").await;
    for (name, told) in [
        ("alice", "may not decide it for anybody"),
        ("system:serviceaccount:default:default", "is a ServiceAccount"),
        ("Mary", "had this task before"),
        ("mary", "there is nothing to take back"),
    ] {
        scene.refuses(&mary.signals(&release, to(name)).await.unwrap(), "DelegateRefused", told).await;
    }
    scene.untouched(&release).await;
    scene.counts(&mary.signals(&release, to("john")).await.unwrap()).await;
    scene.refuses(&mary.approves(&release).await, "HandedOver", "john").await;
    scene
        .refuses(&john.signals(&release, to("mary")).await.unwrap(), "DelegateRefused", "a loop decides nothing")
        .await;
    scene.counts(&john.signals(&release, to("jane")).await.unwrap()).await;
    scene.refuses(&john.approves(&release).await, "NotAnApprover", "may not decide").await;
    scene.counts(&mary.signals(&release, to("mary")).await.unwrap()).await;
    scene.refuses(&jane.approves(&release).await, "NotAnApprover", "may not decide").await;
    scene.counts(&mary.signals(&release, to("jane")).await.unwrap()).await;
    scene.counts(&jane.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    let vote = scene.status(&release).await.decisions.last().cloned().unwrap();
    assert_eq!((vote.actor.as_str(), vote.on_behalf_of.as_deref()), ("jane", Some("mary")));
    assert_eq!(vote.through, "group team");
}
