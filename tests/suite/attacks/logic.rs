//! What the engine must see through.

use crate::requests::{CN, O, Subject, UID};
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(
    attack_26_quorum_lowered_and_approvers_appended,
    attack_28_definition_changed_and_deleted,
    attack_29_wrong_step_or_visit_or_uid,
    attack_30_signal_replayed,
    attack_31_approve_and_reject_in_the_same_second,
    attack_32_terminal_outcome_changed,
    attack_33_signal_after_expiry,
    attack_36_request_for_another_identity,
);

async fn attack_26_quorum_lowered_and_approvers_appended(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-26").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let mallory = scene.as_user("mallory", &[]).await;
    let two = one_step(json!({"approvers": [{"user": "mary"}, {"user": "john"}], "required": 2}));
    let definition: WorkflowDefinition = scene.has("two", two["workflow"].clone()).await;
    let reference = json!({"workflowRef": {"name": definition.name_any()}});
    let release = scene.asking(&alice.opens("release", reference.clone()).await).await;

    let one = one_step(json!({"approvers": [{"user": "mary"}, {"user": "mallory"}], "required": 1}));
    scene.changes(&definition, one["workflow"].clone()).await;
    // New instances run on the new one.
    let later = scene.asking(&alice.opens("later", reference).await).await;
    assert_eq!(later.status.unwrap().tasks[0].required, 1);
    scene.refuses(&mallory.approves(&release).await, "NotAnApprover", "mallory may not decide").await;
    scene.untouched(&release).await;
    scene.counts(&mary.approves(&release).await).await;
    let status = scene.now(&release).await.status.unwrap();
    assert_eq!((status.outcome, status.tasks[0].approvals, status.tasks[0].required), (None, 1, 2));
    scene.counts(&john.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn attack_28_definition_changed_and_deleted(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-28").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let nodes = json!([
        {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
        {"name": "confirm", "approval": {"approvers": [{"user": "john"}]}},
    ]);
    let definition: WorkflowDefinition = scene.has("steps", json!({"nodes": nodes})).await;
    let reference = json!({"workflowRef": {"name": definition.name_any()}});
    let release = scene.asking(&alice.opens("release", reference.clone()).await).await;
    let revision = release.status.as_ref().unwrap().revision.clone();

    let other = json!([{"name": "else", "approval": {"approvers": [{"user": "mallory"}]}}]);
    scene.changes(&definition, json!({"nodes": other})).await;
    scene.ready(&definition, "True").await;
    scene.untouched(&release).await;
    let decide = |step: &str| json!({"decision": "Approve", "step": step, "visit": 1});
    scene.counts(&mary.signals(&release, decide("check")).await.unwrap()).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let unknown = mallory.signals(&release, decide("else")).await.unwrap();
    scene.refuses(&unknown, "UnknownStep", "there is no step else; steps are check, confirm").await;

    let definitions: Api<WorkflowDefinition> = Api::all(scene.admin.client.clone());
    definitions.delete(&definition.name_any(), &DeleteParams::default()).await.unwrap();
    let waits = alice.opens("waits", reference).await;
    scene.says(&waits, "Completed", "False", "DefinitionNotFound").await;
    scene.counts(&john.signals(&release, decide("confirm")).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    let status = scene.now(&release).await.status.unwrap();
    assert_eq!(status.revision, revision);
    let nodes: Vec<_> = status.steps.iter().map(|visit| visit.node.as_str()).collect();
    assert_eq!(nodes, ["check", "confirm", "Approved"]);
}

async fn attack_29_wrong_step_or_visit_or_uid(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-29").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let nodes = json!([
        {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
        {"name": "confirm", "approval": {"approvers": [{"user": "john"}]}, "next": {"rejected": "check"}},
    ]);
    let release = scene.asking(&alice.opens("release", json!({"workflow": {"nodes": nodes}})).await).await;
    let decide = |step: &str, visit: u32| json!({"decision": "Approve", "step": step, "visit": visit, "instanceUID": release.uid()});
    for (spec, reason, message) in [
        (decide("confirm", 1), "StepNotOpen", "step confirm has not opened yet; step check is open"),
        (decide("nowhere", 1), "UnknownStep", "there is no step nowhere; steps are check, confirm"),
        (decide("check", 2), "StepNotOpen", "step check is at visit 1, not 2"),
        (json!({"decision": "Approve", "partition": "finance"}), "UnknownPartition", "partitions are default"),
        (json!({"decision": "Approve", "instanceUID": "old"}), "InstanceReplaced", "another instance of that name"),
    ] {
        scene.refuses(&mary.signals(&release, spec).await.unwrap(), reason, message).await;
    }
    scene.untouched(&release).await;

    scene.counts(&mary.signals(&release, decide("check", 1)).await.unwrap()).await;
    let confirming = scene.at(&release, "confirm").await;
    let again = mary.signals(&release, decide("check", 1)).await.unwrap();
    scene.refuses(&again, "StepClosed", "step check is decided; step confirm is open").await;
    scene.untouched(&confirming).await;
    let mut back = decide("confirm", 1);
    back["decision"] = json!("Reject");
    scene.counts(&john.signals(&release, back).await.unwrap()).await;
    let second = scene.at(&release, "check").await;
    let earlier = mary.signals(&release, decide("check", 1)).await.unwrap();
    scene.refuses(&earlier, "StepClosed", "visit 1 of step check is over; visit 2 is open").await;
    scene.untouched(&second).await;
    scene.counts(&mary.signals(&release, decide("check", 2)).await.unwrap()).await;
}

async fn attack_30_signal_replayed(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-30").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, mallory) = (scene.as_user("mary", &["team"]).await, scene.as_user("mallory", &["staff"]).await);
    let release = alice.opens("release", one_step(json!({"approvers": [{"group": "team"}], "required": 2}))).await;
    let signal = mary.approves(&release).await;
    scene.counts(&signal).await;
    let before = scene.now(&release).await;

    let content = json!(signal.spec);
    let again = mary.signals(&release, content.clone()).await.unwrap();
    scene.refuses(&again, "AlreadyDecided", &format!("Approve ({})", signal.name_any())).await;
    let copied = mallory.signals(&release, content.clone()).await;
    refused_by(copied, "quorate-signal-actor", "must be the sender, mallory");
    let mut renamed = content.clone();
    renamed["actor"] = json!(mallory.actor);
    let own = mallory.signals(&release, renamed).await.unwrap();
    scene.refuses(&own, "NotAnApprover", "mallory may not decide").await;
    let same = json!({"metadata": {"name": signal.name_any()}, "spec": content});
    refused_by(mary.creates::<ApprovalSignal>(&scene.namespace, same).await, "", "already exists");
    scene.untouched(&before).await;

    // To another instance, what was signed for this one does not count.
    let other = alice.opens("other", one_step(json!({"approvers": [{"group": "team"}]}))).await;
    let other = scene.asking(&other).await;
    let bound = json!({"decision": "Approve", "instanceUID": release.uid()});
    scene.refuses(&mary.signals(&other, bound).await.unwrap(), "InstanceReplaced", "another instance").await;
    scene.untouched(&other).await;
}

async fn attack_31_approve_and_reject_in_the_same_second(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-31").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    // Signals that come before the definition are judged together: the same batch, whoever was seen first.
    let reference = json!({"workflowRef": {"name": scene.unique("later")}});
    let mut rounds = Vec::new();
    for round in 0..20 {
        let two = alice.opens(&format!("two-{round}"), reference.clone()).await;
        let one = alice.opens(&format!("one-{round}"), reference.clone()).await;
        let approves = mary.approves(&two).await;
        let rejects = john.rejects(&two).await;
        let yes = mary.approves(&one).await;
        let no = mary.rejects(&one).await;
        let signals = [&approves, &rejects, &yes, &no].map(ResourceExt::creation_timestamp);
        if signals.iter().all(|created| *created == signals[0]) {
            rounds.push((two, one, approves, rejects, yes, no));
        }
        if rounds.len() == 2 {
            break;
        }
    }
    assert!(!rounds.is_empty(), "no four signals were made in one second");
    // Signals are seen in the order in which they were made: once the operator has judged this one, it knows the others.
    let last = mary.signals_in(&scene.namespace, json!({"instance": "nothing", "decision": "Approve"})).await.unwrap();
    scene.refuses(&last, "InstanceNotFound", "there is no WorkflowInstance nothing").await;
    let workflow = one_step(json!({"approvers": [{"user": "mary"}, {"user": "john"}]}))["workflow"].clone();
    scene.has::<WorkflowDefinition>("later", workflow).await;
    for (two, one, approves, rejects, yes, no) in rounds {
        scene.counts(&rejects).await;
        scene.refuses(&approves, "StepClosed", "").await;
        assert_eq!(scene.outcome_of(&two).await, Outcome::Rejected);
        scene.counts(&no).await;
        scene.refuses(&yes, "StepClosed", "").await;
        assert_eq!(scene.outcome_of(&one).await, Outcome::Rejected);
        for instance in [two, one] {
            assert_eq!(scene.now(&instance).await.status.unwrap().decisions.len(), 1);
        }
    }
}

async fn attack_32_terminal_outcome_changed(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-32").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &["team"]).await, scene.as_user("john", &["team"]).await);
    let release = alice.opens("release", one_step(json!({"approvers": [{"group": "team"}], "required": 2}))).await;
    scene.counts(&john.rejects(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Rejected);
    let ended = scene.now(&release).await;
    for signal in [mary.approves(&release).await, john.approves(&release).await, scene.admin.approves(&release).await] {
        scene.refuses(&signal, "StepClosed", "release is finished: Rejected").await;
    }
    scene.untouched(&ended).await;

    let workflow = one_step(json!({"approvers": [{"group": "team"}]}))["workflow"].clone();
    let workflow: WorkflowDefinition = scene.has("certificates", workflow).await;
    scene.process("certificates", &workflow.name_any(), &[]).await;
    let denied = alice.requests(&scene, "denied", &[(CN, "alice")]).await;
    let instance = scene.opened_for(&denied).await;
    let comment = json!({"decision": "Reject", "comment": "Not this year."});
    scene.counts(&mary.signals(&instance, comment).await.unwrap()).await;
    let decision = scene.decision_on(&denied).await;
    let told = decision.message.clone().unwrap();
    assert!(decision.type_ == "Denied" && told.contains("mary: Not this year."), "{decision:?}");
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Rejected);
    let ended = scene.now(&instance).await;
    let approved = scene.kubectl(&["certificate", "approve", &denied.name_any()]).await;
    assert!(!approved.success(), "{approved:?}");
    assert_eq!(scene.decision_on(&denied).await, decision);

    // The request goes, and comes again under the same name: a new instance, the old one stays as it ended.
    let requests: Api<CertificateSigningRequest> = Api::all(scene.admin.client.clone());
    requests.delete(&denied.name_any(), &DeleteParams::default()).await.unwrap();
    let again = alice.requests(&scene, "denied", &[(CN, "alice")]).await;
    let second = scene.opened_for(&again).await;
    assert_ne!(second.name_any(), instance.name_any());
    scene.counts(&mary.approves(&second).await).await;
    assert_eq!(scene.decision_on(&again).await.type_, "Approved");
    assert_eq!(scene.outcome_of(&second).await, Outcome::Approved);
    requests.delete(&again.name_any(), &DeleteParams::default()).await.unwrap();
    let approved = scene.now(&second).await;
    scene.refuses(&john.rejects(&second).await, "StepClosed", "is finished: Approved").await;
    scene.untouched(&approved).await;
    scene.untouched(&ended).await;
}

async fn attack_33_signal_after_expiry(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-33").await;
    let (alice, mary) = (scene.as_user("alice", &[]).await, scene.as_user("mary", &[]).await);
    let approval = json!({"approvers": [{"user": "mary"}], "timeout": {"after": "2s"}});
    let release = scene.asking(&alice.opens("release", one_step(approval)).await).await;
    let deadline = release.status.as_ref().unwrap().steps[0].deadline.clone().unwrap();
    // Its time is over, and the operator still waits for what may be on its way.
    while jiff::Timestamp::now().as_second() <= seconds(&deadline) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let late = mary.approves(&release).await;
    assert!(seconds(&late.creation_timestamp().unwrap()) > seconds(&deadline));
    assert_eq!(scene.now(&release).await.status.unwrap().outcome, None, "it has not been cleaned up");
    let named = mary.signals(&release, json!({"decision": "Approve", "step": "check", "visit": 1})).await.unwrap();
    assert_eq!(scene.outcome_of(&release).await, Outcome::Expired);
    // By whichever turn judges them: the step is over, or the instance is.
    for signal in [late, named] {
        scene.refuses(&signal, "StepClosed", "").await;
    }
    let ended = scene.now(&release).await;
    assert_eq!(ended.status.as_ref().unwrap().decisions, []);
    scene.refuses(&mary.approves(&release).await, "StepClosed", "release is finished: Expired").await;
    scene.untouched(&ended).await;
}

async fn attack_36_request_for_another_identity(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-36").await;
    let alice = scene.as_user("alice", &["staff"]).await;
    let workflow = one_step(json!({"approvers": [{"user": "mary"}]}))["workflow"].clone();
    let workflow: WorkflowDefinition = scene.has("certificates", workflow).await;
    let process = scene.process("certificates", &workflow.name_any(), &[]).await;
    scene.ready(&process, "True").await;
    let cases: [(&str, &Subject<'_>, &str); 8] = [
        ("another-name", &[(CN, "mary")], "it asks for CN=mary, and alice may ask for CN=alice only"),
        ("two-names", &[(CN, "alice"), (CN, "mary")], "it asks for CN=alice, CN=mary"),
        ("two-names-reversed", &[(CN, "mary"), (CN, "alice")], "it asks for CN=mary, CN=alice"),
        ("no-name", &[(O, "staff")], "it has no common name; alice may ask for CN=alice"),
        ("empty-name", &[(CN, "")], "alice may ask for CN=alice only"),
        ("another-case", &[(CN, "Alice")], "it asks for CN=Alice"),
        (
            "another-group",
            &[(O, "staff"), (O, "approvers"), (CN, "alice")],
            "it asks for O=approvers, a group that alice is not in",
        ),
        ("another-uid", &[(CN, "alice"), (UID, "1234")], "it asks for the uid 1234, which is not that of alice"),
    ];
    for (name, subject, why) in cases {
        let request = alice.requests(&scene, name, subject).await;
        let decision = scene.decision_on(&request).await;
        let told = decision.message.clone().unwrap_or_default();
        assert!(decision.type_ == "Denied" && told.contains(why), "{name}: {why:?} expected: {decision:?}");
        assert!(told.contains("nobody was asked"), "{told}");
        assert_eq!(scene.instance_of(&request).await, None, "{name}");
    }
    let honest = alice.requests(&scene, "honest", &[(O, "staff"), (CN, "alice")]).await;
    let instance = scene.opened_for(&honest).await;
    scene.undecided(&honest).await;
    assert_eq!(instance.spec.initiator.map(|initiator| initiator.username).as_deref(), Some("alice"));
    let title: Value = json!(instance.status.unwrap().title);
    assert!(title.as_str().unwrap().contains("CN=alice, O=staff"), "{title}");
}
