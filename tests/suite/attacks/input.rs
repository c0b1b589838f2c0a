//! Too much, too deep, too slow: what people write must not stop anybody else's work.

use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_servers!(
    attack_37_objects_as_large_as_they_may_be,
    attack_37_nesting_deeper_than_anybody_reads,
    attack_38_bombs_are_refused_when_they_are_written,
    attack_38_bombs_that_go_off_stop_nobody_else,
);

/// How many signals are sent to one instance. Ten thousand take several minutes on a small machine.
const FLOOD: usize = 2000;

/// An instance of somebody else starts, is approved and completes: the operator has time for it.
async fn others_go_on(scene: &Scene<'_>, name: &str) {
    let (alice, mary) = (scene.as_user("alice", &[]).await, scene.as_user("mary", &[]).await);
    let began = Instant::now();
    let other = alice.opens(name, one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    scene.counts(&mary.approves(&scene.asking(&other).await).await).await;
    assert_eq!(scene.outcome_of(&other).await, Outcome::Approved);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "an instance of somebody else took {took:?}");
}

async fn attack_37_objects_as_large_as_they_may_be(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-37").await;
    let (mallory, mary) = (scene.as_user("mallory", &[]).await, scene.as_user("mary", &[]).await);
    let sized = |bytes: usize| {
        let mut spec = one_step(json!({"approvers": [{"user": "mary"}]}));
        spec["parameters"] = json!({"large": "x".repeat(bytes)});
        spec
    };
    // More than the store of the API server takes.
    assert!(mallory.tries_to_open("too-large", sized(1600 * 1024)).await.is_err());
    let large = mallory.opens("large", sized(1400 * 1024)).await;
    // Just so much that it can be written, and its status perhaps not.
    let edge = mallory.tries_to_open("edge", sized(1_572_864 - 1200)).await;
    others_go_on(&scene, "other").await;
    scene.counts(&mary.approves(&scene.asking(&large).await).await).await;
    assert_eq!(scene.outcome_of(&large).await, Outcome::Approved);
    let edge = edge.unwrap();
    eventually("an event says why nothing happens to it", async || {
        let events = scene.kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"]).await.ok().unwrap();
        events.contains(&format!("WorkflowInstance {}: nothing can be recorded in it", edge.name_any())).then_some(())
    })
    .await;
    // What expressions are evaluated over is bounded.
    let mut spec = one_step(json!({"approvers": [{"expression": "[parameters.large]"}]}));
    spec["parameters"] = json!({"large": "x".repeat(1024 * 1024)});
    let stalled = mallory.opens("stalled", spec).await;
    let told = scene.says(&stalled, "Stalled", "True", "ExpressionFailed").await;
    assert!(told.contains("bytes"), "{told}");
    let long = json!({"decision": "Approve", "comment": "x".repeat(4097)});
    refused_by(mary.signals(&stalled, long).await, "", "may not be more than 4096");
    let long = json!({"decision": "Approve", "fields": {"a": "x".repeat(4097)}});
    refused_by(mary.signals(&stalled, long).await, "", "may not be more than 4096");
    others_go_on(&scene, "last").await;
}

/// Lists within lists.
fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("deep"), |inner, _| json!([inner]))
}

async fn attack_37_nesting_deeper_than_anybody_reads(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-37").await;
    let mallory = scene.as_user("mallory", &[]).await;
    for depth in [2, 100, 1000] {
        let deep = || json!({"deep": nested(depth)});
        let mut spec = one_step(json!({"approvers": [{"user": "mary"}]}));
        spec["parameters"] = deep();
        refused_by(mallory.tries_to_open("deep", spec).await, "", "spec.parameters.deep");
        let condition = json!({"type": "Expression", "left": "parameters.x", "operator": "In", "right": nested(depth)});
        let nodes = json!([
            {"name": "fact", "condition": condition, "next": {"else": "Rejected"}},
            {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
        ]);
        let opened = mallory.tries_to_open("right", json!({"workflow": {"nodes": nodes}})).await;
        refused_by(opened, "", "nodes[0].condition.right");
        let definition = scene.tries_to_have::<WorkflowDefinition>("deep", json!({"nodes": nodes})).await;
        refused_by(definition, "", "nodes[0].condition.right");
        let identity = json!({"username": scene.unique("deep"), "attributes": deep()});
        refused_by(scene.tries_to_have::<Identity>("deep", identity).await, "", "spec.attributes.deep");
        let role = json!({"attributes": deep()});
        refused_by(scene.tries_to_have::<BusinessRole>("deep", role).await, "", "spec.attributes.deep");
        let member = json!({"members": [{"identity": "deep", "attributes": deep()}]});
        refused_by(scene.tries_to_have::<BusinessRole>("deep", member).await, "", "attributes.deep");
    }
    // Where the schema ends, what nobody knows is dropped.
    let unknown = json!({"instance": "nothing", "decision": "Approve", "unknown": nested(500)});
    mallory.signals_in(&scene.namespace, unknown).await.unwrap();
    // Every watch goes on: what is written now is seen.
    let person = scene.person("person", json!({"attributes": {"list": [1, "two", true], "text": "x"}})).await;
    let role = scene.role("role", &[&person]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}]});
    let definition = scene.workflow("seen", json!([{"name": "check", "approval": approval}])).await;
    let alice = scene.as_user("alice", &[]).await;
    let release = scene.asking(&alice.opens("seen", crate::language::runs(&definition)).await).await;
    scene.counts(&person.approves(&release).await).await;
}

/// Two thousand signals of one person who may not decide, and then one of somebody who may. On one server: it is long work.
#[tokio::test]
async fn attack_37_a_flood_of_signals_on_one_instance() {
    let cluster = crate::with_mutating_policy().await;
    let _log = crate::ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "attack-37").await;
    let (alice, mary) = (scene.as_user("alice", &[]).await, scene.as_user("mary", &[]).await);
    let mallory = scene.as_user("mallory", &[]).await;
    let release = alice.opens("release", one_step(json!({"approvers": [{"user": "mary"}], "required": 1}))).await;
    let release = scene.asking(&release).await;
    let began = Instant::now();
    let sent: Vec<_> = stream::iter(0..FLOOD)
        .map(|number| {
            let decision = if number % 2 == 0 { "Approve" } else { "Reject" };
            mallory.signals(&release, json!({"decision": decision}))
        })
        .buffer_unordered(16)
        .try_collect()
        .await
        .unwrap();
    println!("{FLOOD} signals were sent in {:?}", began.elapsed());
    others_go_on(&scene, "other").await;
    let judged = Api::<ApprovalSignal>::namespaced(scene.admin.client.clone(), &scene.namespace);
    let open = ListParams::default().fields("status.reason=,spec.instance=release");
    let deadline = Instant::now() + Duration::from_mins(5);
    while !judged.list(&open).await.unwrap().items.is_empty() {
        assert!(Instant::now() < deadline, "the flood is not judged after five minutes");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("and judged after {:?}", began.elapsed());
    for signal in sent.iter().step_by(97) {
        scene.refuses(signal, "NotAnApprover", "mallory may not decide").await;
    }
    scene.untouched(&release).await;
    scene.counts(&mary.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    assert_eq!(scene.status(&release).await.decisions.len(), 1);
    cluster.is_well();
}

async fn attack_38_bombs_are_refused_when_they_are_written(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-38").await;
    let all = "[1].all(a, [1].all(b, [1].all(c, true)))";
    let brackets = format!("{}true{}", "(".repeat(65), ")".repeat(65));
    let condition = |expression: &str| json!({"type": "Expression", "expression": expression});
    let matches =
        |pattern: &str| json!({"type": "RoleAttribute", "left": "tier", "operator": "Matches", "right": pattern});
    for (name, condition, told) in [
        ("nested", condition(all), "nested 2 deep at most"),
        ("brackets", condition(&brackets), "nested deeper than"),
        ("large-regex", matches("(a{1000}){1000}"), "is no regular expression"),
        ("unicode-regex", matches(r"(\w{500}){100}"), "is no regular expression"),
    ] {
        let nodes = json!([
            {"name": "fact", "condition": condition, "next": {"else": "Rejected"}},
            {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
        ]);
        let definition: WorkflowDefinition = scene.has(name, json!({"nodes": nodes})).await;
        let message = scene.ready(&definition, "False").await;
        assert!(message.contains("spec.nodes[fact].condition.") && message.contains(told), "{name}: {message}");
    }
    let source = |expression: &str| json!({"nodes": [{"name": "check", "approval": {"approvers": [{"expression": expression}]}}]});
    let definition: WorkflowDefinition =
        scene.has("source", source("[['a'].map(a, ['b'].map(b, ['c'].map(c, c)))]")).await;
    let message = scene.ready(&definition, "False").await;
    assert!(message.contains("approvers[0].expression") && message.contains("nested 2 deep at most"), "{message}");
    let long = format!("['a']{}", " ".repeat(4096));
    refused_by(scene.tries_to_have::<WorkflowDefinition>("long", source(&long)).await, "", "may not be more than 4096");
    // A pattern that takes other engines for ever is plain work here.
    let identity = json!({"attributes": {"text": format!("{}!", "a".repeat(30_000))}});
    let person = scene.person("person", identity).await;
    let pattern = json!({"type": "IdentityAttribute", "left": "text", "operator": "Matches", "right": "^(a+)+$"});
    let nodes = json!([
        {"name": "fact", "condition": pattern, "next": {"else": "other"}},
        {"name": "check", "approval": {"approvers": [{"user": "mary"}]}, "next": {"approved": "Approved"}},
        {"name": "other", "approval": {"approvers": [{"user": "mary"}]}},
    ]);
    let instance = scene.as_user("alice", &[]).await;
    let instance = instance.opens("pattern", json!({"workflow": {"nodes": nodes}, "subjects": [person.name()]})).await;
    scene.at(&instance, "other").await;
}

async fn attack_38_bombs_that_go_off_stop_nobody_else(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-38").await;
    let mallory = scene.as_user("mallory", &[]).await;
    let list: Vec<usize> = (0..30_000).collect();
    let text = "a".repeat(200_000);
    let quadratic = "parameters.list.all(a, parameters.list.all(b, a + b >= 0))";
    let mut bombs = Vec::new();
    for (name, workflow) in [
        (
            "condition",
            json!([
                {"name": "fact", "condition": {"type": "Expression", "expression": quadratic}, "next": {"else": "Rejected"}},
                {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
            ]),
        ),
        (
            "source",
            json!([{"name": "check", "approval": {"approvers": [
            {"expression": "parameters.list.filter(a, parameters.list.exists(b, a + b < 0)).map(a, 'mary')"}]}}]),
        ),
        (
            "pattern",
            json!([
                {"name": "fact", "condition": {"type": "Expression",
                    "expression": "parameters.list.all(a, parameters.text.matches('(a{900}){9}' + string(a)))"}, "next": {"else": "Rejected"}},
                {"name": "check", "approval": {"approvers": [{"user": "mary"}]}},
            ]),
        ),
    ] {
        let text = if name == "pattern" { &text[..2000] } else { "" };
        let spec = json!({"workflow": {"nodes": workflow}, "parameters": {"list": list, "text": text}});
        bombs.push(mallory.opens(name, spec).await);
    }
    for round in 0..3 {
        others_go_on(&scene, &format!("other-{round}")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    for bomb in &bombs {
        let ended = eventually(&format!("{} stalls or ends", bomb.name_any()), async || {
            let status = scene.status(bomb).await;
            let stalled = condition(&status.conditions, "Stalled").filter(|found| found.status == "True").cloned();
            stalled
                .map(|found| (found.reason, found.message))
                .or(status.outcome.map(|found| (found.to_string(), String::new())))
        })
        .await;
        println!("{}: {ended:?}", bomb.name_any());
        assert!(["ExpressionFailed", "Rejected", "Failed"].contains(&ended.0.as_str()), "{ended:?}");
    }
    others_go_on(&scene, "last").await;
}
