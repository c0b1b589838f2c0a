//! In whose name something is done.

use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use quorate::api::*;
use quorate::pending::csr::instance_name;
use serde_json::{Value, json};

on_both_servers!(
    attack_01_forged_actor,
    attack_02_another_policy_rewrites_the_identity,
    attack_03_identity_changed_afterwards,
    attack_04_impersonation_without_the_right,
    attack_06_service_account_as_a_person,
    attack_07_requester_approves_own_request,
    attack_09_one_person_counted_twice,
    attack_10_empty_approver_list,
    attack_11_approver_removed_before_counting,
    attack_12_instance_pretends_to_come_from_a_process,
);

async fn attack_01_forged_actor(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-01").await;
    let alice = scene.as_user("alice", &[]).await;
    let sources = json!({"approvers": [{"user": "mary"}, {"group": "approvers"}]});
    let release = scene.asking(&alice.opens("release", one_step(sources.clone())).await).await;
    for forger in [scene.as_user("mallory", &["staff"]).await, scene.admin.clone()] {
        let honest = forger.actor.clone();
        let forgeries = [
            Actor { username: "mary".into(), ..honest.clone() },
            Actor { uid: "1".into(), ..honest.clone() },
            Actor { groups: [&honest.groups[..], &["approvers".into()]].concat(), ..honest.clone() },
            Actor { groups: vec!["approvers".into()], ..honest.clone() },
            Actor { groups: Vec::new(), ..honest.clone() },
            Actor { groups: honest.groups.iter().rev().cloned().collect(), ..honest.clone() },
        ];
        let sender = format!("must be the sender, {}", honest.username);
        for forged in forgeries {
            let signal = json!({"decision": "Approve", "actor": forged});
            refused_by(forger.signals(&release, signal).await, "quorate-signal-actor", &sender);
            let mut spec = one_step(sources.clone());
            spec["initiator"] = json!(forged);
            refused_by(forger.tries_to_open("forged", spec).await, "quorate-instance-initiator", &sender);
        }
    }
    scene.untouched(&release).await;
    assert!(scene.signals().await.is_empty());

    // Left out, it is filled in by the server that can, and refused by the one that cannot.
    let mary = scene.as_user("mary", &[]).await;
    let bare = json!({"metadata": {"name": "bare"}, "spec": {"instance": "release", "decision": "Approve"}});
    let sent = mary.creates::<ApprovalSignal>(&scene.namespace, bare).await;
    if cluster.mutating {
        let sent = sent.unwrap();
        assert_eq!(sent.spec.actor.as_ref(), Some(&mary.actor));
        scene.counts(&sent).await;
    } else {
        refused_by(sent, "quorate-signal-actor", "must be the sender, mary");
        scene.untouched(&release).await;
    }
}

async fn attack_02_another_policy_rewrites_the_identity(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-02").await;
    let alice = scene.as_user("alice", &[]).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let release = alice.opens("release", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let release = scene.asking(&release).await;
    if cluster.mutating {
        let policy = REWRITES.replace("POLICY", &scene.unique("rewrites")).replace("NAMESPACE", &scene.namespace);
        cluster.plane.apply(&policy).await.unwrap().ok().unwrap();
        // A new policy takes some seconds to be in force.
        eventually("the other policy rewrites", async || {
            mallory.signals(&release, json!({"decision": "Approve"})).await.err()
        })
        .await;
    }
    // A server that knows no such policies could only have a webhook there: what it would hand on is sent as it is.
    let signal = if cluster.mutating {
        json!({"decision": "Approve"})
    } else {
        json!({"decision": "Approve", "actor": {"username": "mary", "groups": mallory.actor.groups}})
    };
    refused_by(mallory.signals(&release, signal).await, "quorate-signal-actor", "must be the sender, mallory");
    for signal in scene.signals().await {
        assert_eq!(signal.spec.actor.as_ref(), Some(&mallory.actor));
        scene.refuses(&signal, "NotAnApprover", "mallory may not decide").await;
    }
    scene.untouched(&release).await;
}

const REWRITES: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: POLICY}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules:
    - {apiGroups: [quorate.dev], apiVersions: ['*'], operations: [CREATE], resources: [approvalsignals]}
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: \"Object{spec: Object.spec{actor: Object.spec.actor{username: 'mary'}}}\"
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: POLICY}
spec:
  policyName: POLICY
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}}
";

async fn attack_03_identity_changed_afterwards(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-03").await;
    let alice = scene.as_user("alice", &[]).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let release = alice.opens("release", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let signal = mallory.approves(&release).await;
    scene.refuses(&signal, "NotAnApprover", "mallory may not decide").await;
    let (signal, release) = (scene.now(&signal).await, scene.now(&release).await);

    let mut put = signal.clone();
    put.spec.actor.as_mut().unwrap().username = "mary".into();
    let api = scene.admin.sees::<ApprovalSignal>();
    let replaced = api.replace(&signal.name_any(), &PostParams::default(), &put).await;
    refused_by(replaced, "", "a signal is immutable");
    for patch in patches("ApprovalSignal", "actor", &json!(signal.spec), put.spec.actor.as_ref()) {
        let tried = api.patch(&signal.name_any(), &patch.0, &patch.1).await;
        refused_by(tried, "", "a signal is immutable");
    }

    let mut put = release.clone();
    put.spec.initiator.as_mut().unwrap().username = "mary".into();
    let api = scene.admin.sees::<WorkflowInstance>();
    let replaced = api.replace("release", &PostParams::default(), &put).await;
    refused_by(replaced, "", "spec is immutable");
    for patch in patches("WorkflowInstance", "initiator", &json!(release.spec), put.spec.initiator.as_ref()) {
        let tried = api.patch("release", &patch.0, &patch.1).await;
        refused_by(tried, "", "spec is immutable");
    }
    scene.untouched(&signal).await;
    scene.untouched(&release).await;
}

/// Every other way to write a field of a spec: merge patch, JSON patches that remove and add, server-side apply.
fn patches(kind: &str, field: &str, spec: &Value, value: Option<&Actor>) -> Vec<(PatchParams, Patch<Value>)> {
    let mut forged = spec.clone();
    forged[field] = json!(value);
    let path = format!("/spec/{field}");
    let json_patch = |operations| Patch::Json(serde_json::from_value(operations).unwrap());
    let plain = PatchParams::default();
    let applied = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": kind, "spec": {field: value}});
    vec![
        (plain.clone(), Patch::Merge(json!({"spec": {field: value}}))),
        (plain.clone(), json_patch(json!([{"op": "replace", "path": path, "value": value}]))),
        (
            plain.clone(),
            json_patch(json!([{"op": "remove", "path": path}, {"op": "add", "path": path, "value": value}])),
        ),
        (
            plain,
            json_patch(json!([{"op": "remove", "path": "/spec"}, {"op": "add", "path": "/spec", "value": forged}])),
        ),
        (PatchParams::apply("mallory").force(), Patch::Apply(applied)),
    ]
}

async fn attack_04_impersonation_without_the_right(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-04").await;
    let alice = scene.as_user("alice", &[]).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let sources = json!({"approvers": [{"user": "mary"}, {"group": "approvers"}]});
    let release = scene.asking(&alice.opens("release", one_step(sources)).await).await;
    let everybody = "system:authenticated";
    for (headers, actor) in [
        (vec![("Impersonate-User", "mary")], json!({"username": "mary", "groups": [everybody]})),
        (
            vec![("Impersonate-User", "mallory"), ("Impersonate-Group", "approvers")],
            json!({"username": "mallory", "groups": ["approvers", everybody]}),
        ),
        (
            vec![("Impersonate-User", "mallory"), ("Impersonate-Uid", "1")],
            json!({"username": "mallory", "uid": "1", "groups": [everybody]}),
        ),
    ] {
        let signal = json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "ApprovalSignal", "metadata": {"name": "as-another"},
            "spec": {"instance": "release", "decision": "Approve", "actor": actor},
        });
        let path = format!("/apis/quorate.dev/v1alpha1/namespaces/{}/approvalsignals", scene.namespace);
        let mut request = http::Request::post(path).header("Content-Type", "application/json");
        for (header, value) in headers {
            request = request.header(header, value);
        }
        let request = request.body(signal.to_string().into_bytes()).unwrap();
        refused_by(mallory.client.request::<ApprovalSignal>(request).await, "User \"mallory\" cannot impersonate", "");
    }
    assert!(scene.signals().await.is_empty());
    scene.untouched(&release).await;
}

async fn attack_06_service_account_as_a_person(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-06").await;
    let alice = scene.as_user("alice", &[]).await;
    let bot = scene.as_service_account("bot").await;
    let username = bot.actor.username.clone();
    let identity: Identity = scene.has("bot", json!({"username": username})).await;
    let members = json!([{"identity": identity.name_any()}]);
    let role: BusinessRole = scene.has("bots", json!({"members": members, "groups": ["system:serviceaccounts"]})).await;
    for (name, source) in [
        ("by-group", json!({"group": "system:serviceaccounts"})),
        ("by-everybody", json!({"group": "system:authenticated"})),
        ("by-role", json!({"role": role.name_any()})),
    ] {
        let instance = scene.asking(&alice.opens(name, one_step(json!({"approvers": [source]}))).await).await;
        let told = "is a ServiceAccount and counts only where a user: source names it";
        scene.refuses(&bot.approves(&instance).await, "NotAnApprover", told).await;
        scene.untouched(&instance).await;
    }
    let named = alice.opens("by-user", one_step(json!({"approvers": [{"user": username}]}))).await;
    scene.counts(&bot.approves(&named).await).await;
    assert_eq!(scene.outcome_of(&named).await, Outcome::Approved);
}

async fn attack_07_requester_approves_own_request(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-07").await;
    // Whatever groups help, she is in.
    let mary = scene.as_user("mary", &["approvers", "quorate-administrators"]).await;
    let group = mary.opens("release", one_step(json!({"approvers": [{"group": "approvers"}]}))).await;
    let group = scene.asking(&group).await;
    scene.refuses(&mary.approves(&group).await, "SelfApproval", "mary asked for it").await;
    scene.untouched(&group).await;

    let only = mary.opens("only-approver", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let only = scene.asking(&only).await;
    scene.refuses(&mary.approves(&only).await, "SelfApproval", "mary asked for it").await;
    scene.untouched(&only).await;

    let workflow: WorkflowDefinition =
        scene.has("certificates", one_step(json!({"approvers": [{"group": "approvers"}]}))["workflow"].clone()).await;
    scene.process("certificates", &workflow.name_any(), &[]).await;
    let request = mary.requests(&scene, "mary", &[(crate::requests::CN, "mary")]).await;
    let instance = scene.opened_for(&request).await;
    scene.refuses(&mary.approves(&instance).await, "SelfApproval", "mary asked for it").await;
    scene.untouched(&instance).await;
    scene.undecided(&request).await;
}

async fn attack_09_one_person_counted_twice(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-09").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &["security", "finance"]).await;
    let groups = json!({"approvers": [{"group": "security"}, {"group": "finance"}, {"user": "mary"}], "required": 2});
    let groups = alice.opens("two-groups", one_step(groups)).await;
    scene.counts(&mary.approves(&groups).await).await;
    let after = scene.now(&groups).await;
    scene
        .refuses(&mary.approves(&groups).await, "AlreadyDecided", "mary decided this visit of step check before")
        .await;
    scene.untouched(&after).await;

    let partitions = json!([
        {"name": "security", "approvers": [{"group": "security"}]},
        {"name": "finance", "approvers": [{"group": "finance"}]},
    ]);
    let parts = alice.opens("two-partitions", one_step(json!({"partitions": partitions}))).await;
    let both = mary.approves(&parts).await;
    scene.refuses(&both, "Ambiguous", "mary may decide security, finance of step check").await;
    let first = mary.signals(&parts, json!({"decision": "Approve", "partition": "security"})).await.unwrap();
    scene.counts(&first).await;
    let after = scene.now(&parts).await;
    let second = mary.signals(&parts, json!({"decision": "Approve", "partition": "finance"})).await.unwrap();
    scene.refuses(&second, "AlreadyDecided", "mary decided this visit").await;
    scene.untouched(&after).await;

    // The directory says that these usernames are one person.
    let (one, other) = (scene.unique("jane"), scene.unique("jane@corp"));
    let identity: Identity = scene.has("jane", json!({"username": one, "aliases": [other]})).await;
    scene.ready(&identity, "True").await;
    let names = json!({"approvers": [{"group": "security"}], "required": 2});
    let names = alice.opens("two-names", one_step(names)).await;
    scene.counts(&scene.as_user(&one, &["security"]).await.approves(&names).await).await;
    let after = scene.now(&names).await;
    let again = scene.as_user(&other, &["security"]).await.approves(&names).await;
    scene.refuses(&again, "AlreadyDecided", "decided this visit").await;
    scene.untouched(&after).await;
}

async fn attack_10_empty_approver_list(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-10").await;
    let alice = scene.as_user("alice", &[]).await;
    let mallory = scene.as_user("mallory", &["staff"]).await;
    for (approval, message) in [
        (json!({"approvers": []}), "should have at least 1 items"),
        (json!({"approvers": [{}]}), "exactly one of user, group, role"),
        (json!({"approvers": [{"group": ""}]}), "should be at least 1 chars long"),
        (json!({"partitions": [{"name": "a", "approvers": []}]}), "should have at least 1 items"),
        (json!({"partitions": [{"name": "a"}]}), "Required value"),
        (json!({}), "either partitions, or approvers"),
    ] {
        refused_by(alice.tries_to_open("empty", one_step(approval.clone())).await, "", message);
        let definition =
            scene.tries_to_have::<WorkflowDefinition>("empty", one_step(approval)["workflow"].clone()).await;
        refused_by(definition, "", message);
    }

    let role: BusinessRole = scene.has("nobody", json!({"members": []})).await;
    let source = json!({"approvers": [{"role": role.name_any()}]});
    let instance = scene.asking(&alice.opens("role-of-nobody", one_step(source)).await).await;
    let status = instance.status.clone().unwrap();
    let asked: Vec<_> = status.tasks[0].approvers.iter().map(|asked| asked.source.clone()).collect();
    assert!(asked.contains(&"administrators: group quorate-administrators".to_owned()), "{asked:?}");
    scene.refuses(&mallory.approves(&instance).await, "NotAnApprover", "mallory may not decide").await;
    scene.untouched(&instance).await;
    let administrator = scene.as_user("carol", &["quorate-administrators"]).await;
    scene.counts(&administrator.approves(&instance).await).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
}

async fn attack_11_approver_removed_before_counting(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-11").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.unique("mary"), scene.unique("john"));
    let member = |name: &str| json!({"identity": scene.unique(name)});
    for (name, username) in [("mary", &mary), ("john", &john)] {
        scene.has::<Identity>(name, json!({"username": username})).await;
    }
    let role: BusinessRole = scene.has("team", json!({"members": [member("mary"), member("john")]})).await;
    let (mary, john) = (scene.as_user(&mary, &[]).await, scene.as_user(&john, &[]).await);

    let reference = json!({"workflowRef": {"name": scene.unique("later")}});
    let waiting = alice.opens("waiting", reference).await;
    scene.says(&waiting, "Completed", "False", "DefinitionNotFound").await;
    let early = mary.approves(&waiting).await;
    scene.changes(&role, json!({"members": [member("john")]})).await;
    scene.ready(&role, "True").await;
    let workflow = one_step(json!({"approvers": [{"role": role.name_any()}]}))["workflow"].clone();
    scene.has::<WorkflowDefinition>("later", workflow).await;
    scene.refuses(&early, "NotAnApprover", "may not decide step check").await;

    let asking = scene.asking(&waiting).await;
    assert_eq!(asking.status.as_ref().unwrap().decisions, []);
    scene.refuses(&mary.approves(&waiting).await, "NotAnApprover", "may not decide step check").await;
    scene.untouched(&asking).await;
    scene.counts(&john.approves(&waiting).await).await;
}

async fn attack_12_instance_pretends_to_come_from_a_process(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-12").await;
    let mary = scene.as_user("mary", &[]).await;
    let boss = scene.as_user("boss", &[]).await;
    let request = mary.requests(&scene, "mary", &[(crate::requests::CN, "mary")]).await;
    let approval = json!({"approvers": [{"user": "boss"}]});
    let workflow: WorkflowDefinition = scene.has("certificates", one_step(approval)["workflow"].clone()).await;

    // By hand: an easy workflow for the request, in the name of the process, in the name of another.
    let easy = one_step(json!({"approvers": [{"user": "mallory"}]}));
    let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": request.name_any(), "uid": request.uid()}, "spec": request.spec});
    let with = |field: &str, value: &Value| {
        let mut spec = easy.clone();
        spec[field] = value.clone();
        spec
    };
    let process = json!({"name": scene.unique("certificates")});
    let by_reference = json!({"workflowRef": {"name": workflow.name_any()}, "processRef": process});
    for sender in [scene.as_user("mallory", &[]).await, scene.admin.clone()] {
        let opened = sender.tries_to_open("forged", with("object", &object)).await;
        refused_by(opened, "quorate-instance-initiator", "spec.object is set by the operator alone");
        let opened = sender.tries_to_open("forged", by_reference.clone()).await;
        refused_by(opened, "quorate-instance-initiator", "spec.processRef is set by the operator alone");
        let opened = sender.tries_to_open("forged", with("processRef", &process)).await;
        refused_by(opened, "", "an instance of a process runs on the workflow of that process");
        let opened = sender.tries_to_open("forged", with("initiator", &json!(mary.actor))).await;
        refused_by(opened, "quorate-instance-initiator", "must be the sender");
    }

    // Under the very name that the operator will take, and approved, before there is a process.
    let squatter =
        json!({"metadata": {"name": instance_name(&request, 0)}, "spec": with("initiator", &json!(scene.admin.actor))});
    let squatter: WorkflowInstance = scene.admin.creates(OPERATOR_NAMESPACE, squatter).await.unwrap();
    let mallory = scene.as_user("mallory", &[]).await;
    scene.counts(&mallory.approves(&squatter).await).await;
    assert_eq!(scene.outcome_of(&squatter).await, Outcome::Approved);
    scene.process("certificates", &workflow.name_any(), &[]).await;
    let instance = scene.opened_for(&request).await;
    assert_eq!(instance.name_any(), instance_name(&request, 1));
    scene.refuses(&mallory.approves(&instance).await, "NotAnApprover", "mallory may not decide").await;
    scene.untouched(&instance).await;
    scene.undecided(&request).await;

    scene.counts(&boss.approves(&instance).await).await;
    let decision = scene.decision_on(&request).await;
    assert_eq!(decision.type_, "Approved");
    assert!(decision.message.unwrap().contains("approved by boss"));
}
