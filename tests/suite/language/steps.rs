//! Partitions in parallel, the data that they record, and who may not decide twice.

use super::runs;
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;

on_both_servers!(
    four_people_check_an_applicant,
    a_step_is_decided_by_others_than_the_one_before,
    quorums_are_fixed_when_a_step_is_entered,
    a_rejection_needs_a_comment_and_closes_the_other_partitions,
);

/// What nobody but the approvers of a partition may read.
const SECRETS: [&str; 4] = ["passport", "NR-4711", "240042", "met in Prague"];

async fn four_people_check_an_applicant(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "steps").await;
    let alice = scene.as_user("alice", &[]).await;
    let (anna, eva) = (scene.person("anna", json!({})).await, scene.person("eva", json!({})).await);
    let petr = scene.as_user("petr", &[]).await;
    let sam = scene.as_user("sam", &["security"]).await;
    let clerks = scene.role("clerks", &[&anna]).await;
    let supervisors = scene.role("supervisors", &[&eva]).await;
    let partitions = json!([
        {"name": "identity", "approvers": [{"role": clerks.name_any()}], "fields": [
            {"name": "met", "type": "CheckBox", "mustBe": true},
            {"name": "document", "type": "RadioButton", "options": ["passport", "id-card"], "required": true},
            {"name": "number", "type": "Text"},
            {"name": "evidence", "type": "URL"},
        ]},
        {"name": "payment", "approvers": [{"user": "petr"}], "fields": [
            {"name": "invoice", "type": "NumberShort", "required": true},
            {"name": "account", "type": "NumberLong"},
        ]},
        {"name": "background", "approvers": [{"group": "security"}]},
    ]);
    let nodes = json!([
        {"name": "verify", "approval": {"partitions": partitions}},
        {"name": "supervise", "approval": {"approvers": [{"role": supervisors.name_any()}]}},
    ]);
    let definition = scene.workflow("enrolment", nodes).await;
    let mut spec = runs(&definition);
    spec["subjects"] = json!(["www"]);
    let enrolment = scene.asking(&alice.opens("enrolment", spec).await).await;
    let waiting = enrolment.status.as_ref().unwrap().waiting.as_deref();
    assert_eq!(waiting, Some("identity 0/1, payment 0/1, background 0/1"));

    for (person, fields, told) in [
        (&petr, json!({"invoice": "1234567"}), "partition payment: field invoice: 1234567 has 7 digits, at most 6"),
        (&petr, json!({"invoice": "12.5"}), "partition payment: field invoice: \"12.5\" is no whole number"),
        (
            &petr,
            json!({"account": "1"}),
            "partition payment: field invoice is missing; an approval needs a whole number",
        ),
        (&anna, json!({"met": "false", "document": "passport"}), "field met: is false; an approval must say \"true\""),
        (&anna, json!({"met": "true"}), "field document is missing; an approval needs one of passport, id-card"),
        (&anna, json!({"met": "true", "document": "badge"}), "is none of the options: passport, id-card"),
        (&anna, json!({"met": "true", "document": "passport", "evidence": "javascript:alert(1)"}), "is no web link"),
        (&anna, json!({"colour": "green"}), "there is no field colour; fields are met, document, number, evidence"),
        (&sam, json!({"met": "true"}), "there is no field met; it has none"),
    ] {
        let signal = person.signals(&enrolment, json!({"decision": "Approve", "fields": fields})).await.unwrap();
        scene.refuses(&signal, "FieldInvalid", told).await;
    }
    scene.untouched(&enrolment).await;

    let identity = json!({
        "decision": "Approve", "comment": "We met in Prague.",
        "fields": {"met": "true", "document": "passport", "number": "NR-4711", "evidence": "https://example.com/scan"},
    });
    scene.counts(&anna.signals(&enrolment, identity).await.unwrap()).await;
    let payment = json!({"decision": "Approve", "fields": {"invoice": "240042", "account": "-12345678901234"}});
    scene.counts(&petr.signals(&enrolment, payment).await.unwrap()).await;
    assert_eq!(scene.status(&enrolment).await.waiting.as_deref(), Some("background 0/1"));
    let early = json!({"decision": "Approve", "step": "supervise"});
    scene.refuses(&eva.signals(&enrolment, early).await.unwrap(), "StepNotOpen", "has not opened yet").await;
    scene.counts(&sam.approves(&enrolment).await).await;
    scene.at(&enrolment, "supervise").await;
    let supervise = json!({"decision": "Approve", "step": "supervise", "visit": 1});
    scene.counts(&eva.signals(&enrolment, supervise).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&enrolment).await, Outcome::Approved);

    let decided: Vec<_> = scene.status(&enrolment).await.decisions;
    let decided: Vec<_> = decided.iter().map(|found| (found.partition.as_str(), found.actor.as_str())).collect();
    let expected = [("identity", anna.name()), ("payment", "petr"), ("background", "sam"), ("default", eva.name())];
    assert_eq!(decided, expected);
    // As it is stored, with whatever the types do not know.
    let raw = scene.kubectl(&["get", "wfi", "enrolment", "-o", "json", "--show-managed-fields"]).await.ok().unwrap();
    let events = scene.kubectl(&["get", "events", "-o", "json"]).await.ok().unwrap();
    for secret in SECRETS {
        assert!(!raw.contains(secret), "{secret} is in the instance: {raw}");
        assert!(!events.contains(secret), "{secret} is in an event: {events}");
    }
    for field in ["f:fields", "f:comment", "\"fields\"", "\"comment\""] {
        assert!(!raw.contains(field), "{field}: {raw}");
    }
}

async fn a_step_is_decided_by_others_than_the_one_before(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "separate").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &["team"]).await, scene.as_user("john", &["team"]).await);
    let nodes = json!([
        {"name": "propose", "approval": {"approvers": [{"group": "team"}]}},
        {"name": "confirm", "approval": {"approvers": [{"group": "team"}], "separateFrom": ["propose"]},
         "next": {"rejected": "propose"}},
    ]);
    let release = scene.asking(&alice.opens("release", json!({"workflow": {"nodes": nodes}})).await).await;
    let confirm = |decision: &str, visit: u32| json!({"decision": decision, "step": "confirm", "visit": visit});
    scene.counts(&mary.approves(&release).await).await;
    let confirming = scene.at(&release, "confirm").await;
    let own = mary.signals(&release, confirm("Approve", 1)).await.unwrap();
    scene.refuses(&own, "SeparationOfDuties", "propose").await;
    scene.untouched(&confirming).await;
    scene.counts(&john.signals(&release, confirm("Reject", 1)).await.unwrap()).await;
    // It spans visits: both have decided one of them now.
    scene.at(&release, "propose").await;
    let again = json!({"decision": "Approve", "step": "propose", "visit": 2});
    scene.counts(&john.signals(&release, again).await.unwrap()).await;
    scene.at(&release, "confirm").await;
    for person in [&mary, &john] {
        let own = person.signals(&release, confirm("Approve", 2)).await.unwrap();
        scene.refuses(&own, "SeparationOfDuties", "propose").await;
    }
    let jane = scene.as_user("jane", &["team"]).await;
    scene.counts(&jane.signals(&release, confirm("Approve", 2)).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn quorums_are_fixed_when_a_step_is_entered(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "quorum").await;
    let alice = scene.as_user("alice", &[]).await;
    let mut people = Vec::new();
    for name in ["anna", "bob", "carl"] {
        people.push(scene.person(name, json!({})).await);
    }
    let all: Vec<_> = people.iter().collect();
    let role = scene.role("board", &all).await;
    let partition = |name: &str, required: serde_json::Value| json!({"name": name, "approvers": [{"role": role.name_any()}], "required": required});
    let partitions = json!([partition("most", json!("60%")), partition("everybody", json!("All"))]);
    let nodes = json!([{"name": "vote", "approval": {"partitions": partitions}}]);
    let definition = scene.workflow("vote", nodes).await;
    let vote = scene.asking(&alice.opens("vote", runs(&definition)).await).await;
    let required: Vec<_> = vote.status.as_ref().unwrap().tasks.iter().map(|task| task.required).collect();
    assert_eq!(required, [2, 3]);
    // One leaves: what is needed stays, and the administrators are asked too.
    let two: Vec<_> = all[..2].iter().map(|person| json!({"identity": person.name()})).collect();
    scene.changes(&role, json!({"members": two})).await;
    let asked = |status: &WorkflowInstanceStatus| {
        status.tasks[1].approvers.iter().any(|asked| asked.source.contains("administrators"))
    };
    let status = scene.until(&vote, "the administrators are asked too", asked).await.status.unwrap();
    assert_eq!((status.tasks[0].required, status.tasks[1].required), (2, 3));
    assert_eq!(status.outcome, None, "a shrinking directory completes nothing");
}

async fn a_rejection_needs_a_comment_and_closes_the_other_partitions(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "reject").await;
    let alice = scene.as_user("alice", &[]).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let partitions = json!([
        {"name": "one", "approvers": [{"user": "mary"}], "fields": [{"name": "seen", "type": "CheckBox", "mustBe": true}]},
        {"name": "two", "approvers": [{"user": "john"}]},
    ]);
    let spec = one_step(json!({"partitions": partitions, "requireComment": "OnReject"}));
    let release = scene.asking(&alice.opens("release", spec).await).await;
    scene.refuses(&mary.rejects(&release).await, "CommentRequired", "").await;
    scene.untouched(&release).await;
    // Fields are needed to approve, not to reject.
    let no = json!({"decision": "Reject", "comment": "No."});
    scene.counts(&mary.signals(&release, no).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Rejected);
    let states: Vec<_> = scene.status(&release).await.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Rejected, TaskState::Superseded]);
    scene.refuses(&john.approves(&release).await, "StepClosed", "release is finished: Rejected").await;
}
