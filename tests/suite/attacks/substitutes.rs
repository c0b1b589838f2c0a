//! Somebody decides in whose name they may not: their own request, a loop of substitutes, twice for one person.

use crate::language::runs;
use crate::scene::*;
use crate::{Cluster, eventually, on_both_servers};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(
    attack_08_own_request_under_another_name,
    attack_08_own_request_through_a_substitute,
    attack_35_loop_of_delegations,
    attack_35_vote_of_delegate_and_principal,
);

async fn attack_08_own_request_under_another_name(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-08").await;
    let alias = scene.unique("second-account");
    let alice = scene.person("alice", json!({"aliases": [alias]})).await;
    let subject = scene.as_user(&scene.unique("subject"), &["team"]).await;
    let approval = json!({"approvers": [{"group": "team"}]});
    let mut spec = one_step(approval);
    spec["subjects"] = json!([subject.name()]);
    let release = scene.asking(&alice.opens("release", spec).await).await;
    let name = alice.name().to_owned();
    // The letters а, е and і of the Cyrillic alphabet look like a, e and i.
    let homograph = name.replace('a', "\u{430}").replace('e', "\u{435}").replace('i', "\u{456}");
    let subjects_homograph = subject.name().replace('e', "\u{435}");
    let other_case = name.to_uppercase();
    for pretender in [name, alias, other_case, homograph, subject.name().to_owned(), subjects_homograph] {
        let person = scene.as_user(&pretender, &["team"]).await;
        scene.refuses(&person.approves(&release).await, "SelfApproval", "").await;
        let delegate = json!({"decision": "Delegate", "delegateTo": "mary"});
        scene.refuses(&person.signals(&release, delegate).await.unwrap(), "SelfApproval", "").await;
    }
    scene.untouched(&release).await;
    // Whom the directory tells apart is somebody else, and the honest approver decides.
    scene.counts(&scene.as_user("mary", &["team"]).await.approves(&release).await).await;
}

async fn attack_08_own_request_through_a_substitute(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-08").await;
    let alias = scene.unique("second-account");
    let alice = scene.person("alice", json!({"aliases": [alias]})).await;
    let (mary, dan) = (scene.person("mary", json!({})).await, scene.person("dan", json!({})).await);
    let role = scene.role("clerks", &[&alice, &mary]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}]});
    let definition = scene.workflow("check", json!([{"name": "check", "approval": approval}])).await;
    alice.delegates(&scene, "alice", json!({"to": dan.name()})).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    assert_eq!(scene.asked(&release).await, [mary.name()]);
    scene.refuses(&dan.approves(&release).await, "NotAnApprover", "may not decide").await;
    // Whoever may decide makes the requester their substitute: by a delegation, and by a hand-over.
    let delegation = mary.delegates(&scene, "mary", json!({"to": alias})).await;
    let own = scene.as_user(&alias, &[]).await;
    for person in [&alice, &own] {
        scene.refuses(&person.approves(&release).await, "SelfApproval", "").await;
        let hand_over = json!({"decision": "Delegate", "delegateTo": person.name()});
        let hand_over = mary.signals(&release, hand_over).await.unwrap();
        scene.refuses(&hand_over, "DelegateRefused", "may not decide it for anybody").await;
    }
    scene.untouched(&release).await;
    let gone =
        Api::<Delegation>::all(mary.client.clone()).delete(&delegation.name_any(), &DeleteParams::default()).await;
    gone.unwrap();
    scene.counts(&mary.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn attack_35_loop_of_delegations(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-35").await;
    let alice = scene.as_user("alice", &[]).await;
    let mut people = Vec::new();
    for name in ["p0", "p1", "p2", "p3", "p4", "p5", "p6"] {
        people.push(scene.person(name, json!({})).await);
    }
    let role = scene.role("clerks", &[&people[0]]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}]});
    let definition = scene.workflow("check", json!([{"name": "check", "approval": approval}])).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    for pair in people.windows(2) {
        pair[0].delegates(&scene, pair[0].name().rsplit('-').next().unwrap(), json!({"to": pair[1].name()})).await;
    }
    // Of a loop the youngest does not count: it has to be a second younger.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let back = people[2].tries_to_delegate(&scene, "back", json!({"to": people[0].name()})).await.unwrap();
    let told = scene.ready(&back, "False").await;
    assert!(told.contains("spec.to: ") && told.contains("a loop of delegations decides nothing"), "{told}");
    let own = people[3].tries_to_delegate(&scene, "own", json!({"to": people[3].name()})).await.unwrap();
    let told = scene.ready(&own, "False").await;
    assert!(told.contains("spec.to: is the principal"), "{told}");
    // Five are followed, six are not.
    scene.refuses(&people[6].approves(&release).await, "NotAnApprover", "may not decide").await;
    assert_eq!(scene.status(&release).await.decisions, []);
    scene.counts(&people[5].approves(&release).await).await;
    let decided = scene.status(&release).await.decisions[0].clone();
    assert_eq!(decided.on_behalf_of.as_deref(), Some(people[0].name()));
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn attack_35_vote_of_delegate_and_principal(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "attack-35").await;
    let alice = scene.as_user("alice", &[]).await;
    let (olga, dan) = (scene.person("olga", json!({})).await, scene.person("dan", json!({})).await);
    let zoe = scene.person("zoe", json!({})).await;
    let role = scene.role("clerks", &[&olga, &zoe]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}], "required": 2, "rejections": 2});
    let definition = scene.workflow("check", json!([{"name": "check", "approval": approval}])).await;
    olga.delegates(&scene, "olga", json!({"to": dan.name()})).await;
    for (name, first, second) in [("principal-first", &olga, &dan), ("delegate-first", &dan, &olga)] {
        let release = scene.asking(&alice.opens(name, runs(&definition)).await).await;
        scene.counts(&first.approves(&release).await).await;
        let voted = scene.now(&release).await;
        for signal in [second.approves(&release).await, second.rejects(&release).await, first.rejects(&release).await] {
            scene.refuses(&signal, "AlreadyDecided", "").await;
        }
        scene.untouched(&voted).await;
        assert_eq!(scene.status(&release).await.tasks[0].approvals, 1);
        scene.counts(&zoe.approves(&release).await).await;
        assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    }
    // Handed over besides, it is one vote all the same.
    let release = scene.asking(&alice.opens("handed-over", runs(&definition)).await).await;
    let hand_over = json!({"decision": "Delegate", "delegateTo": dan.name()});
    scene.counts(&zoe.signals(&release, hand_over).await.unwrap()).await;
    scene.counts(&dan.approves(&release).await).await;
    scene.refuses(&dan.approves(&release).await, "AlreadyDecided", "").await;
    scene.refuses(&zoe.approves(&release).await, "AlreadyDecided", "decided for").await;
    assert_eq!(scene.status(&release).await.tasks[0].approvals, 1);
}

/// A delegation in the name of somebody else, made while nothing proves who delegates. It takes a control plane of its own.
#[tokio::test]
async fn attack_05_delegation_forged_while_the_policy_is_away() {
    let cluster = Cluster::start(true).await;
    let scene = Scene::with_namespace(&cluster, "attack-05").await;
    let _log = crate::ShowsLog(&cluster);
    let alice = scene.as_user("alice", &[]).await;
    let (olga, mallory) = (scene.person("olga", json!({})).await, scene.person("mallory", json!({})).await);
    let role = scene.role("clerks", &[&olga]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}]});
    let definition = scene.workflow("check", json!([{"name": "check", "approval": approval}])).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;

    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.admin.client.clone());
    policies.delete("quorate-delegation-principal", &DeleteParams::default()).await.unwrap();
    let spec = json!({"to": mallory.name(), "principal": olga.actor});
    let forged = eventually("a forged delegation passes", async || {
        mallory.tries_to_delegate(&scene, "forged", spec.clone()).await.ok()
    })
    .await;
    let told = scene.ready(&forged, "False").await;
    assert!(told.contains("proven") || told.contains("provably"), "{told}");
    chart_again(&cluster).await;
    let unproven = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|found| found["type"] == "Proven" && found["status"] == "False")
    };
    eventually("it is recorded that nobody proved the forged delegation", async || {
        unproven(&serde_json::to_value(scene.found(&forged).await).unwrap()).then_some(())
    })
    .await;
    let told = scene.ready(&forged, "False").await;
    assert!(told.contains("was not provably in force when this was created; create it again"), "{told}");
    let signal = eventually("signals are judged again", async || {
        let verdict = scene.verdict_of(&mallory.approves(&release).await).await;
        (verdict.reason != "ActorUnproven").then_some(verdict)
    })
    .await;
    assert_eq!(signal.reason, "NotAnApprover", "{signal:?}");
    assert_eq!(scene.status(&release).await.decisions, []);
    // An honest one counts.
    olga.delegates(&scene, "honest", json!({"to": mallory.name()})).await;
    scene.counts(&mallory.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    cluster.is_well();
}

/// Puts back what the chart installs, and waits until the operator trusts it.
async fn chart_again(cluster: &Cluster) {
    cluster.plane.install_chart(&["deployment.enabled=false"]).await.unwrap();
    cluster.operator.wait_ready().await.unwrap();
}
