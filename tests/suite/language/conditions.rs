//! The facts decide where an instance goes.

use super::runs;
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(five_types_of_conditions, what_was_recorded_decides_where_it_goes, faults_of_conditions_have_a_place);

async fn five_types_of_conditions(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "facts").await;
    let alice = scene.as_user("alice", &[]).await;
    let guard = scene.person("guard", json!({})).await;
    let employee = scene.person("employee", json!({"type": "employee"})).await;
    let guest = scene.person("guest", json!({"type": "guest"})).await;
    let guarantors = json!([{"identity": guard.name(), "type": "security"}]);
    let role = |criticality: u32, tier: &str, guarantors: &Value| json!({"criticality": criticality, "attributes": {"tier": tier}, "guarantors": guarantors});
    scene.role_of("prod", role(5, "gold", &guarantors)).await;
    scene.role_of("bronze", role(5, "bronze", &guarantors)).await;
    scene.role_of("test", role(1, "gold", &guarantors)).await;
    scene.role_of("nobodys", role(5, "gold", &json!([{"identity": guard.name(), "type": "business"}]))).await;
    let nodes = json!([
        {"name": "guarded", "condition": {"type": "GuarantorExists", "guarantorType": "security", "operator": "Exists"},
         "next": {"else": "denied"}},
        {"name": "critical", "condition": {"type": "RoleCriticality", "operator": "GreaterOrEqual", "right": 3},
         "next": {"else": "light"}},
        {"name": "tier", "condition": {"type": "RoleAttribute", "left": "tier", "operator": "In", "right": ["gold", "silver"]},
         "next": {"else": "denied"}},
        {"name": "staff", "condition": {"type": "IdentityAttribute", "left": "type", "operator": "Equals", "right": "employee"},
         "next": {"else": "denied"}},
        {"name": "small", "condition": {"type": "Expression", "left": "parameters.amount", "operator": "LessThan", "right": 1000},
         "next": {"else": "board"}},
        {"name": "check", "approval": {"approvers": [{"user": "mary"}]}, "next": {"approved": "Approved"}},
        {"name": "board", "approval": {"approvers": [{"user": "john"}]}, "next": {"approved": "Approved"}},
        {"name": "light", "approval": {"approvers": [{"user": "jane"}]}, "next": {"approved": "Approved"}},
        {"name": "denied", "end": {"outcome": "Rejected"}},
    ]);
    let definition = scene.workflow("facts", nodes).await;
    let spec = |role: &str, subject: &Person, parameters: Value| {
        let mut spec = runs(&definition);
        spec["role"] = json!(scene.unique(role));
        spec["subjects"] = json!([subject.name()]);
        spec["parameters"] = parameters;
        spec
    };
    for (name, role, subject, amount, leads_to) in [
        ("small", "prod", &employee, 10, "check"),
        ("large", "prod", &employee, 5000, "board"),
        ("light", "test", &guest, 5000, "light"),
        ("guest", "prod", &guest, 10, "denied"),
        ("bronze", "bronze", &employee, 10, "denied"),
        ("unguarded", "nobodys", &employee, 10, "denied"),
    ] {
        let instance = alice.opens(name, spec(role, subject, json!({"amount": amount}))).await;
        let at = scene.at(&instance, leads_to).await.status.unwrap();
        if leads_to == "denied" {
            assert_eq!(scene.outcome_of(&instance).await, Outcome::Rejected);
        } else {
            assert_eq!(at.outcome, None);
        }
    }
    let stalled = alice.opens("stalled", spec("prod", &employee, json!({"other": 1}))).await;
    let told = scene.says(&stalled, "Stalled", "True", "ExpressionFailed").await;
    assert!(told.contains("parameters.amount"), "{told}");
    let mut nameless = runs(&definition);
    nameless["parameters"] = json!({"amount": 1});
    let nameless = alice.opens("nameless", nameless).await;
    assert_eq!(scene.outcome_of(&nameless).await, Outcome::Failed);
    let told = scene.says(&nameless, "Completed", "True", "InputMissing").await;
    assert!(
        told.contains("spec.role is missing") && told.contains("].condition of the workflow needs a role"),
        "{told}"
    );
}

async fn what_was_recorded_decides_where_it_goes(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "recorded").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let nodes = json!([
        {"name": "value", "approval": {"approvers": [{"user": "mary"}], "fields": [{"name": "price", "type": "NumberLong", "required": true}]}},
        {"name": "dear", "condition": {"type": "Expression", "expression": "decisions.exists(d, d.step == 'value' && d.fields.price > 1000)"},
         "next": {"then": "board", "else": "Approved"}},
        {"name": "board", "approval": {"approvers": [{"user": "john"}]}},
    ]);
    let definition = scene.workflow("value", nodes).await;
    let price = |price: &str| json!({"decision": "Approve", "fields": {"price": price}});
    let cheap = scene.asking(&alice.opens("cheap", runs(&definition)).await).await;
    scene.counts(&mary.signals(&cheap, price("1000")).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&cheap).await, Outcome::Approved);
    let dear = scene.asking(&alice.opens("dear", runs(&definition)).await).await;
    scene.counts(&mary.signals(&dear, price("1001")).await.unwrap()).await;
    let dear = scene.at(&dear, "board").await;
    assert_eq!(dear.status.as_ref().unwrap().outcome, None);
    let board = json!({"decision": "Approve", "step": "board", "visit": 1});
    scene.counts(&john.signals(&dear, board).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&dear).await, Outcome::Approved);
}

async fn faults_of_conditions_have_a_place(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "faulty").await;
    let check = json!({"name": "check", "approval": {"approvers": [{"user": "mary"}]}});
    for (name, condition, told) in [
        (
            "syntax",
            json!({"type": "Expression", "expression": "parameters."}),
            "spec.nodes[fact].condition.expression: ",
        ),
        ("variable", json!({"type": "Expression", "expression": "params.x == 1"}), "there is no variable params"),
        ("operator", json!({"type": "RoleCriticality", "right": 3}), "spec.nodes[fact].condition.operator: is missing"),
        ("number", json!({"type": "RoleCriticality", "operator": "GreaterThan", "right": "many"}), "many is no number"),
        (
            "list",
            json!({"type": "RoleAttribute", "left": "tier", "operator": "In", "right": "gold"}),
            "In needs a list",
        ),
        (
            "pattern",
            json!({"type": "RoleAttribute", "left": "tier", "operator": "Matches", "right": "("}),
            "is no regular expression",
        ),
    ] {
        let nodes = json!([{"name": "fact", "condition": condition, "next": {"else": "Rejected"}}, check]);
        let definition: WorkflowDefinition = scene.has(name, json!({"nodes": nodes})).await;
        let message = scene.ready(&definition, "False").await;
        assert!(
            message.contains("spec.nodes[fact].condition") && message.contains(told),
            "{name}: {told:?}: {message}"
        );
    }
}
