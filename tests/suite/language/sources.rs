//! Every way to say who is asked.

use super::runs;
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use kube::ResourceExt;
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(every_source_asks_whom_it_means, whoever_holds_a_superior_role_is_asked_too);

async fn every_source_asks_whom_it_means(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "sources").await;
    let person = async |name: &str| scene.person(name, json!({})).await;
    let (boss, guard, owner) = (person("boss").await, person("guard").await, person("owner").await);
    let (superior, sub, reviewer) = (person("superior").await, person("sub").await, person("reviewer").await);
    let (lead, voucher) = (person("lead").await, person("voucher").await);
    let manager = scene.person("manager", json!({"managers": [boss.name()]})).await;
    let ties = json!({"managers": [manager.name()], "guarantors": [voucher.name()]});
    let subject = scene.person("subject", ties).await;
    let alice = scene.person("alice", json!({"managers": [lead.name()]})).await;
    let stranger = person("stranger").await;
    let guarantor = |who: &Person, type_: &str| json!({"identity": who.name(), "type": type_});
    let guarantors = json!([guarantor(&guard, "security"), guarantor(&owner, "business")]);
    let role = scene.role_of("prod", json!({"guarantors": guarantors})).await;
    let over = scene.role_of("over", json!({"guarantors": [guarantor(&superior, "security")]})).await;
    let under = scene.role_of("under", json!({"guarantors": [guarantor(&sub, "business")]})).await;

    let cases: [(&str, Value, &[&Person]); 12] = [
        ("user", json!({"user": reviewer.name()}), &[&reviewer]),
        ("any-guarantor", json!({"roleGuarantor": {}}), &[&guard, &owner]),
        ("guarantor", json!({"roleGuarantor": {"type": "security"}}), &[&guard]),
        ("superior", json!({"superiorRoleGuarantor": {}}), &[&superior]),
        ("sub", json!({"subRoleGuarantor": {"type": "business"}}), &[&sub]),
        ("supervisor", json!({"supervisorOf": "Subject"}), &[&manager]),
        ("level-2", json!({"supervisorOf": "Subject", "level": 2}), &[&boss]),
        ("lead", json!({"supervisorOf": "Initiator"}), &[&lead]),
        ("voucher", json!({"guarantorOf": "Subject"}), &[&voucher]),
        ("parameters", json!({"expression": "parameters.reviewers"}), &[&reviewer]),
        ("subject", json!({"expression": "subject.managers"}), &[&manager]),
        (
            "role",
            json!({"expression": "role.guarantors.filter(g, g.type == 'business').map(g, g.identity)"}),
            &[&owner],
        ),
    ];
    for (name, source, expected) in cases {
        let definition = scene.workflow(name, json!([{"name": "check", "approval": {"approvers": [source]}}])).await;
        let mut spec = runs(&definition);
        spec["role"] = json!(role.name_any());
        spec["superiorRole"] = json!(over.name_any());
        spec["subRole"] = json!(under.name_any());
        spec["subjects"] = json!([subject.name()]);
        spec["parameters"] = json!({"reviewers": [reviewer.name()]});
        let instance = scene.asking(&alice.opens(name, spec).await).await;
        let mut names: Vec<_> = expected.iter().map(|person| person.name()).collect();
        names.sort_unstable();
        assert_eq!(scene.asked(&instance).await, names, "{name}");
        scene.refuses(&stranger.approves(&instance).await, "NotAnApprover", "may not decide").await;
        scene.refuses(&alice.approves(&instance).await, "SelfApproval", "").await;
        scene.counts(&expected[0].approves(&instance).await).await;
        assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved, "{name}");
    }

    // Whoever approved before: the manager decides first, then the manager's manager.
    let nodes = json!([
        {"name": "first", "approval": {"approvers": [{"supervisorOf": "Subject"}]}},
        {"name": "second", "approval": {"approvers": [{"supervisorOf": "Approvers"}]}},
    ]);
    let definition = scene.workflow("approvers", nodes).await;
    let mut spec = runs(&definition);
    spec["subjects"] = json!([subject.name()]);
    let instance = scene.asking(&alice.opens("approvers", spec).await).await;
    scene.counts(&manager.approves(&instance).await).await;
    scene.at(&instance, "second").await;
    assert_eq!(scene.asked(&instance).await, [boss.name()]);
}

async fn whoever_holds_a_superior_role_is_asked_too(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "roles").await;
    let alice = scene.as_user("alice", &[]).await;
    let (anna, chief) = (scene.person("anna", json!({})).await, scene.person("chief", json!({})).await);
    let role =
        scene.role_of("clerks", json!({"members": [{"identity": anna.name()}], "groups": ["night-shift"]})).await;
    let over = json!({"members": [{"identity": chief.name()}], "subroles": [role.name_any()]});
    let over = scene.role_of("chiefs", over).await;
    let source = |role: &BusinessRole| json!([{"name": "check", "approval": {"approvers": [{"role": role.name_any()}], "required": 3}}]);
    let definition = scene.workflow("clerks", source(&role)).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    assert_eq!(scene.asked(&release).await, [anna.name(), chief.name()]);
    scene.counts(&anna.approves(&release).await).await;
    scene.counts(&chief.approves(&release).await).await;
    let guest = scene.as_user("night-guard", &["night-shift"]).await;
    scene.counts(&guest.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    // Never the other way round.
    let definition = scene.workflow("chiefs", source(&over)).await;
    let other = scene.asking(&alice.opens("other", runs(&definition)).await).await;
    scene.refuses(&anna.approves(&other).await, "NotAnApprover", "may not decide").await;
}
