//! What is wrong is said, at its place, and stops nothing else.

use crate::requests::CN;
use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(
    faults_of_a_definition_are_told_at_their_place,
    impossible_quorums_are_refused_by_the_schema,
    signals_that_mean_nothing_are_told_so,
    an_instance_waits_for_its_definition,
    a_process_waits_for_its_workflow_and_its_requests_with_it,
    a_process_that_cannot_work_says_why,
    a_condition_that_fails_holds_the_request,
    two_identities_with_one_username_both_do_not_count,
    kubectl_wait_is_a_gate,
    kubectl_shows_what_matters,
);

fn step(approval: Value) -> Value {
    one_step(approval)["workflow"].clone()
}

async fn faults_of_a_definition_are_told_at_their_place(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "faults").await;
    let node = |name: &str| json!({"name": name, "approval": {"approvers": [{"user": "mary"}]}});
    let mut dangling = node("check");
    dangling["next"] = json!({"approved": "nowhere"});
    let definition: WorkflowDefinition = scene.has("dangling", json!({"nodes": [dangling]})).await;
    let told = scene.ready(&definition, "False").await;
    assert!(told.contains("spec.nodes[check].next.approved: there is no node nowhere"), "{told}");

    let mut first = node("first");
    first["next"] = json!({"approved": "Approved"});
    let definition: WorkflowDefinition = scene.has("unreachable", json!({"nodes": [first, node("lost")]})).await;
    let told = scene.ready(&definition, "False").await;
    assert!(told.contains("spec.nodes[lost]: no path from first leads here"), "{told}");

    let role = scene.unique("team");
    let unknown = json!({"approvers": [{"user": "mary"}, {"role": role}]});
    let definition: WorkflowDefinition = scene.has("unknown-role", step(unknown)).await;
    let told = scene.ready(&definition, "False").await;
    let place = format!("spec.nodes[check].approval.approvers[1].role: there is no BusinessRole {role}");
    assert!(told.contains(&place), "{told}");
    // It is ready as soon as the role is there.
    scene.has::<BusinessRole>("team", json!({})).await;
    scene.ready(&definition, "True").await;
}

async fn impossible_quorums_are_refused_by_the_schema(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "quorums").await;
    let alice = scene.as_user("alice", &[]).await;
    let told = "required must be a number from 1 to 10000, All, or a percentage from 1% to 100%";
    for required in
        [json!("0%"), json!("101%"), json!(0), json!(-1), json!(10_001), json!("all"), json!("007%"), json!("1.5%")]
    {
        let short = json!({"approvers": [{"user": "mary"}], "required": required});
        let long = json!({"partitions": [{"name": "a", "approvers": [{"user": "mary"}], "required": required}]});
        for approval in [short, long] {
            refused_by(scene.tries_to_have::<WorkflowDefinition>("quorum", step(approval.clone())).await, "", told);
            refused_by(alice.tries_to_open("quorum", one_step(approval)).await, "", told);
        }
    }
    for required in [json!("1%"), json!("100%"), json!(1), json!(10_000), json!("All")] {
        let name = format!("quorum-{}", required.to_string().trim_matches('"').replace('%', "-percent").to_lowercase());
        scene
            .has::<WorkflowDefinition>(&name, step(json!({"approvers": [{"user": "mary"}], "required": required})))
            .await;
    }
}

async fn signals_that_mean_nothing_are_told_so(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "signals").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &[]).await;
    let astray =
        mary.signals_in(&scene.namespace, json!({"instance": "nothing", "decision": "Approve"})).await.unwrap();
    let told = format!("spec.instance: there is no WorkflowInstance nothing in namespace {}", scene.namespace);
    scene.refuses(&astray, "InstanceNotFound", &told).await;

    let release = alice.opens("release", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    refused_by(
        mary.signals(&release, json!({"decision": "Perhaps"})).await,
        "",
        "supported values: \"Approve\", \"Reject\"",
    );
    refused_by(mary.signals(&release, json!({})).await, "", "spec.decision: Required value");
    refused_by(
        mary.signals_in(&scene.namespace, json!({"decision": "Approve"})).await,
        "",
        "spec.instance: Required value",
    );
    let signal = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "ApprovalSignal", "metadata": {"name": "unknown-field"},
        "spec": {"instance": "release", "decision": "Approve", "colour": "green", "actor": mary.actor},
    });
    let created = scene.kubectl_as("mary", &["create", "-f", "-"], &signal).await;
    assert!(!created.success() && created.stderr.contains("unknown field \"spec.colour\""), "{created:?}");

    scene.counts(&mary.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    let ended = scene.now(&release).await;
    scene.refuses(&mary.rejects(&release).await, "StepClosed", "release is finished: Approved").await;
    scene.untouched(&ended).await;
}

async fn an_instance_waits_for_its_definition(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "waits").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &[]).await;
    let name = scene.unique("later");
    let release = alice.opens("release", json!({"workflowRef": {"name": name}})).await;
    let told = scene.says(&release, "Completed", "False", "DefinitionNotFound").await;
    assert!(told.contains(&format!("spec.workflowRef: there is no WorkflowDefinition {name} yet")), "{told}");

    let definition: WorkflowDefinition =
        scene.has("later", step(json!({"approvers": [{"role": scene.unique("team")}]}))).await;
    let told = scene.says(&release, "Completed", "False", "DefinitionNotReady").await;
    assert!(told.contains("approvers[0].role: there is no BusinessRole"), "{told}");
    scene.changes(&definition, step(json!({"approvers": [{"user": "mary"}]}))).await;
    scene.says(&release, "Completed", "False", "WaitingForApproval").await;
    scene.counts(&mary.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn a_process_waits_for_its_workflow_and_its_requests_with_it(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "process").await;
    let alice = scene.as_user("alice", &[]).await;
    let workflow = scene.unique("certificates");
    let process = scene.process("certificates", &workflow, &[]).await;
    let told = scene.ready(&process, "False").await;
    assert!(
        told.contains(&format!("spec.workflowRef: there is no WorkflowDefinition {workflow}; create it")),
        "{told}"
    );
    let request = alice.requests(&scene, "alice", &[(CN, "alice")]).await;
    held(&scene, &request.name_any(), &process.name_any()).await;
    assert_eq!(scene.instance_of(&request).await, None);
    scene.undecided(&request).await;

    let role = scene.unique("team");
    let definition: WorkflowDefinition = scene.has("certificates", step(json!({"approvers": [{"role": role}]}))).await;
    eventually("the process names the fault of its workflow", async || {
        let told = scene.ready(&process, "False").await;
        told.contains(&format!("WorkflowDefinition {workflow} is not ready: spec.nodes[check]")).then_some(())
    })
    .await;
    assert_eq!(scene.instance_of(&request).await, None);
    scene.changes(&definition, step(json!({"approvers": [{"user": "mary"}]}))).await;
    scene.ready(&process, "True").await;
    let instance = scene.opened_for(&request).await;
    scene.counts(&scene.as_user("mary", &[]).await.approves(&instance).await).await;
    assert_eq!(scene.decision_on(&request).await.type_, "Approved");
}

/// Waits until an event of the request says that a process holds it.
async fn held(scene: &Scene<'_>, request: &str, process: &str) {
    eventually(&format!("{process} holds {request}"), async || {
        let events: Api<Event> = Api::namespaced(scene.cluster.plane.admin().await.unwrap(), "default");
        let told = |event: &Event| {
            event.reason.as_deref() == Some("Held")
                && event.regarding.as_ref().is_some_and(|about| about.name.as_deref() == Some(request))
                && event.note.as_ref().is_some_and(|note| note.contains(process))
        };
        events.list(&ListParams::default()).await.unwrap().iter().any(told).then_some(())
    })
    .await;
}

async fn a_process_that_cannot_work_says_why(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "faulty").await;
    let definition: WorkflowDefinition = scene.has("workflow", step(json!({"approvers": [{"user": "mary"}]}))).await;
    let workflow = definition.name_any();
    let mut other = scene.process_spec(&workflow, &[]);
    let resources = json!([
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]},
        {"apiGroups": ["apps"], "resources": ["deployments"]},
    ]);
    other["event"]["pending"]["resources"] = resources;
    let process: ApprovalProcess = scene.has("deployments", other).await;
    let told = scene.ready(&process, "False").await;
    let place =
        "spec.event.pending.resources[1]: the outcome cannot be written back to deployments of API group \"apps\"";
    assert!(told.contains(place), "{told}");

    for (name, expression, why) in [
        ("syntax", "object.spec.", "syntax error"),
        ("variable", "objekt.spec.signerName == 'x'", "there is no variable objekt"),
        ("function", "lower(object.spec.signerName) == 'x'", "there is no function lower"),
        ("bomb", "[1].all(a, [1].all(b, [1].all(c, true)))", "nested 2 deep at most"),
    ] {
        let process = scene.process(name, &workflow, &[expression]).await;
        let told = scene.ready(&process, "False").await;
        let place = "spec.event.pending.matchConditions[condition-1].expression: ";
        assert!(told.contains(place) && told.contains(why), "{why}: {told}");
    }
    let too_long = scene.process_spec(&workflow, &[&format!("true{}", " ".repeat(4096))]);
    refused_by(scene.tries_to_have::<ApprovalProcess>("long", too_long).await, "", "may not be more than 4096");
    let both =
        json!({"event": scene.process_spec(&workflow, &[])["event"], "workflowRef": {"name": workflow}, "skip": true});
    refused_by(
        scene.tries_to_have::<ApprovalProcess>("both", both).await,
        "",
        "exactly one of workflowRef, skip: true",
    );
}

async fn a_condition_that_fails_holds_the_request(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "condition").await;
    let alice = scene.as_user("alice", &[]).await;
    let definition: WorkflowDefinition = scene.has("workflow", step(json!({"approvers": [{"user": "mary"}]}))).await;
    let mut first = scene.process_spec(&definition.name_any(), &["object.spec.nothing == 'x'"]);
    first["order"] = json!(1);
    let first: ApprovalProcess = scene.has("first", first).await;
    scene.ready(&first, "True").await;
    let next = scene.process("next", &definition.name_any(), &[]).await;
    scene.ready(&next, "True").await;
    let request = alice.requests(&scene, "alice", &[(CN, "alice")]).await;
    held(&scene, &request.name_any(), &first.name_any()).await;
    assert_eq!(scene.instance_of(&request).await, None, "the next process must not take it");
    scene.undecided(&request).await;

    let mended = scene.process_spec(&definition.name_any(), &["!has(object.spec.nothing)"]);
    scene.changes(&first, mended).await;
    let instance = scene.opened_for(&request).await;
    assert_eq!(instance.spec.process_ref.map(|process| process.name), Some(first.name_any()));
}

async fn two_identities_with_one_username_both_do_not_count(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "identities").await;
    let alice = scene.as_user("alice", &[]).await;
    let username = scene.unique("jane");
    let one: Identity = scene.has("one", json!({"username": username})).await;
    scene.ready(&one, "True").await;
    let other: Identity = scene.has("other", json!({"username": scene.unique("else"), "aliases": [username]})).await;
    let told = scene.ready(&one, "False").await;
    assert!(
        told.contains(&format!("spec.username: {username} is also claimed by Identity {}", other.name_any())),
        "{told}"
    );
    let told = scene.ready(&other, "False").await;
    assert!(
        told.contains(&format!("spec.aliases: {username} is also claimed by Identity {}", one.name_any())),
        "{told}"
    );

    let release = alice.opens("release", one_step(json!({"approvers": [{"user": username}, {"group": "team"}]}))).await;
    let release = scene.asking(&release).await;
    let jane = scene.as_user(&username, &["team"]).await;
    let told = format!("several Identities claim the username {username}");
    scene.refuses(&jane.approves(&release).await, "InactiveIdentity", &told).await;
    scene.untouched(&release).await;
    scene.changes(&other, json!({"aliases": []})).await;
    scene.ready(&one, "True").await;
    scene.counts(&jane.approves(&release).await).await;
}

async fn kubectl_wait_is_a_gate(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "gate").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &[]).await;
    for (name, approves) in [("yes", true), ("no", false)] {
        // Nobody has seen it yet, and there is no definition: waiting works all the same.
        let reference = json!({"workflowRef": {"name": scene.unique(name)}});
        let release = alice.opens(name, reference).await;
        let resource = format!("wfi/{name}");
        let gate = ["wait", "--for=condition=Completed", &resource, "--timeout=60s"];
        let decide = async {
            let hurried = scene.kubectl(&["wait", "--for=condition=Completed", &resource, "--timeout=1s"]).await;
            assert!(hurried.stderr.contains("timed out waiting for the condition"), "{hurried:?}");
            scene.has::<WorkflowDefinition>(name, step(json!({"approvers": [{"user": "mary"}]}))).await;
            let signal = if approves { mary.approves(&release).await } else { mary.rejects(&release).await };
            scene.counts(&signal).await;
        };
        let (waited, ()) = tokio::join!(scene.kubectl(&gate), decide);
        assert!(waited.ok().unwrap().contains("condition met"));
        let outcome = scene.kubectl(&["get", &resource, "-o", "jsonpath={.status.outcome}"]).await.ok().unwrap();
        assert_eq!(outcome, if approves { "Approved" } else { "Rejected" });
    }
    let approved = scene.kubectl(&["wait", "--for=condition=Approved", "wfi/yes", "--timeout=1s"]).await;
    approved.ok().unwrap();
}

async fn kubectl_shows_what_matters(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "kubectl").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &[]).await;
    let partitions = json!([
        {"name": "security", "approvers": [{"user": "mary"}, {"user": "john"}], "required": 2},
        {"name": "finance", "approvers": [{"user": "jane"}]},
    ]);
    let definition: WorkflowDefinition = scene.has("two", step(json!({"partitions": partitions}))).await;
    let workflow = definition.name_any();
    let release = alice.opens("release", json!({"workflowRef": {"name": workflow}})).await;
    let signal = mary.approves(&release).await;
    scene.counts(&signal).await;
    let process = scene.process("aproc", &workflow, &[]).await;
    scene.ready(&process, "True").await;

    let columns = ["NAME", "WORKFLOW", "STEP", "WAITING", "APPROVED", "REQUESTED BY", "AGE"];
    let row = shown(&scene, &["get", "wfi", "release"], &columns).await;
    assert_eq!(row[..6], ["release", &workflow, "check", "security 1/2, finance 0/1", "Unknown", "alice"]);
    let columns = ["NAME", "INSTANCE", "DECISION", "ACTOR", "COUNTED", "REASON", "AGE"];
    let row = shown(&scene, &["get", "sig", &signal.name_any()], &columns).await;
    assert_eq!(row[1..6], ["release", "Approve", "mary", "True", "Counted"]);
    let columns = ["NAME", "ORDER", "WORKFLOW", "READY"];
    let row = shown(&scene, &["get", "aproc", &process.name_any()], &columns).await;
    assert_eq!(row[..], [process.name_any(), "500".into(), workflow, "True".into()]);
    let all = scene.kubectl(&["get", "approvals"]).await.ok().unwrap();
    assert!(all.contains("workflowinstance.quorate.dev/release"), "{all}");

    let explained = scene.kubectl(&["explain", "wfd.spec.nodes.approval"]).await.ok().unwrap();
    for description in
        ["People decide here", "Short form: who may decide", "Whether who asked, and whom it is about, may decide"]
    {
        assert!(explained.contains(description), "{description:?} is missing:\n{explained}");
    }
    assert!(!explained.contains("<no description>"), "{explained}");
}

/// The one row of a table with these columns.
async fn shown(scene: &Scene<'_>, command: &[&str], columns: &[&str]) -> Vec<String> {
    let table = scene.kubectl(command).await.ok().unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let mut lines = table.lines();
    assert_eq!(cells(lines.next().unwrap()), columns);
    cells(lines.next().unwrap())
}
