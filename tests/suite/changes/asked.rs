//! Who is asked, in which order, and what an answer does.

use super::{create, one_of};
use crate::cluster::audit::Entry;
use crate::scene::*;
use crate::with_mutating_policy;
use kube::ResourceExt;
use kube::api::ListParams;
use quorate::api::*;
use serde_json::json;

#[tokio::test]
async fn r30_what_is_approved_is_carried_out_when_all_is_decided() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r30").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("r30"), json!({})).await;
    let mary = scene.as_user("mary", &["r30"]).await;
    let request =
        alice.asks(&scene, "several", json!({"changes": [create("one"), create("two"), create("three")]})).await;
    let one = scene.asked_for(&request, "one", &process).await;
    let two = scene.asked_for(&request, "two", &process).await;
    let three = scene.asked_for(&request, "three", &process).await;
    assert_eq!(one.spec.initiator.as_ref().unwrap().username, "alice");
    assert_eq!(one.spec.object.as_ref().unwrap()["data"]["of"], "one");
    scene.counts(&mary.approves(&one).await).await;
    let rejection = json!({"decision": "Reject", "comment": "two is taken"});
    scene.counts(&mary.signals(&two, rejection).await.unwrap()).await;
    let state = |status: &ChangeRequestStatus| status.changes.iter().map(|change| change.state).collect::<Vec<_>>();
    let partly = [ChangeState::Approved, ChangeState::Rejected, ChangeState::InApproval];
    scene.until_change(&request, "two of three are decided", |status| state(status) == partly).await;
    assert!(scene.config_map("one").await.is_none(), "nothing is carried out before all is decided");
    scene.counts(&mary.approves(&three).await).await;

    let ended = [ChangeState::Executed, ChangeState::Rejected, ChangeState::Executed];
    assert_eq!(scene.completed(&request).await, ended);
    assert!(scene.config_map("one").await.is_some() && scene.config_map("three").await.is_some());
    assert!(scene.config_map("two").await.is_none());
    let status = scene.now(&request).await.status.unwrap();
    assert_eq!(status.summary.as_deref(), Some("3: 2 Executed, 1 Rejected"));
    let told = status.changes[1].message.clone().unwrap();
    assert!(told.contains("rejected by mary") && told.contains("mary: two is taken"), "{told}");
    scene.tells(&request, "Completed", "True", "PartlyExecuted").await;
    scene.tells(&request, "Approved", "False", "PartlyApproved").await;
    let made =
        |entry: &Entry| entry.resource == "configmaps" && entry.namespace == scene.namespace && entry.user == "alice";
    let made = cluster.plane.audit().writes(made).await.unwrap();
    assert_eq!(made.len(), 2, "each once, by the one who asked: {made:?}");
    let requests = scene.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap();
    assert_eq!(requests.items.len(), 1, "the gate knows them as approved");
}

/// Checks, carries out, files.
fn with_execute(before: &str, after: &str) -> serde_json::Value {
    json!([
        {"name": "check", "approval": {"approvers": [{"group": before}]}},
        {"name": "apply", "execute": {}},
        {"name": "file", "approval": {"approvers": [{"group": after}]}},
    ])
}

#[tokio::test]
async fn r27_all_agree_in_order_then_it_is_carried_out_then_the_rest() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r27").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let goes_on = json!({"order": 1, "onMatch": "Continue"});
    let first = scene.gate("first", with_execute("r27-first", "r27-audit"), goes_on).await;
    let second = scene.gate("second", one_of("r27-second"), json!({"order": 2})).await;
    let (mary, john) = (scene.as_user("mary", &["r27-first"]).await, scene.as_user("john", &["r27-second"]).await);
    let request = alice.asks(&scene, "ordered", json!({"changes": [create("one")]})).await;
    let checked = scene.asked_for(&request, "one", &first).await;
    let opened = scene.now(&request).await.status.unwrap().changes[0].instances.len();
    assert_eq!(opened, 1, "the second process is not asked before the first has agreed");
    scene.counts(&mary.approves(&checked).await).await;
    scene.says(&checked, "Completed", "False", "WaitingForExecution").await;
    let other = scene.asked_for(&request, "one", &second).await;
    assert!(scene.config_map("one").await.is_none());
    scene.counts(&john.approves(&other).await).await;
    scene.at(&checked, "file").await;
    assert!(scene.config_map("one").await.is_some());
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    let arthur = scene.as_user("arthur", &["r27-audit"]).await;
    let file = json!({"decision": "Approve", "step": "file", "visit": 1});
    scene.counts(&arthur.signals(&checked, file).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&checked).await, Outcome::Approved);
}

#[tokio::test]
async fn r27_the_second_process_rejects_and_nothing_is_carried_out() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r27-no").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let goes_on = json!({"order": 1, "onMatch": "Continue"});
    let first = scene.gate("first", with_execute("r27-first", "r27-audit"), goes_on.clone()).await;
    let second = scene.gate("second", one_of("r27-second"), json!({"order": 2, "onMatch": "Continue"})).await;
    let third = scene.gate("third", one_of("r27-third"), json!({"order": 3})).await;
    let (mary, john) = (scene.as_user("mary", &["r27-first"]).await, scene.as_user("john", &["r27-second"]).await);
    let request = alice.asks(&scene, "ordered", json!({"changes": [create("one")]})).await;
    let checked = scene.asked_for(&request, "one", &first).await;
    scene.counts(&mary.approves(&checked).await).await;
    let other = scene.asked_for(&request, "one", &second).await;
    scene.counts(&john.rejects(&other).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Rejected]);
    assert_eq!(scene.outcome_of(&checked).await, Outcome::Cancelled, "what waited to be carried out ends");
    assert!(scene.config_map("one").await.is_none());
    let processes: Vec<_> =
        scene.now(&request).await.status.unwrap().changes[0].instances.iter().map(|i| i.process.clone()).collect();
    assert!(!processes.contains(&third.name_any()), "later ones are never asked: {processes:?}");
}

#[tokio::test]
async fn r25_each_subject_has_an_instance_of_their_own() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r25").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let per_subject = json!({"instancePer": "Subject", "subjects": "object.data.members.split(',')"});
    let process = scene.gate("membership", one_of("r25"), per_subject).await;
    let mary = scene.as_user("mary", &["r25"]).await;
    let mut change = create("team");
    change["object"]["data"]["members"] = json!("zoe,adam");
    let request = alice.asks(&scene, "members", json!({"changes": [change]})).await;
    let both = scene.all_asked_for(&request, "team", &process, 2).await;
    let subjects: Vec<_> = both.iter().flat_map(|instance| instance.spec.subjects.clone()).collect();
    assert_eq!(subjects, ["adam", "zoe"]);
    scene.counts(&mary.approves(&both[0]).await).await;
    assert_eq!(scene.outcome_of(&both[0]).await, Outcome::Approved);
    assert!(scene.config_map("team").await.is_none(), "both have to be agreed to");
    scene.counts(&mary.approves(&both[1]).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    assert!(scene.config_map("team").await.is_some());
}

#[tokio::test]
async fn r28_whoever_may_not_do_it_is_told_at_once() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r28").await;
    scene.gate("check", one_of("r28"), json!({})).await;
    let mallory = scene.as_user("mallory", &[]).await;
    let request = mallory.asks(&scene, "denied", json!({"changes": [create("one")]})).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Rejected]);
    let told = scene.tells(&request, "Completed", "True", "Rejected").await;
    assert!(told.contains(&format!("mallory may not create configmaps in {}", scene.namespace)), "{told}");
    let status = scene.now(&request).await.status.unwrap();
    assert_eq!(status.changes[0].instances, [], "nobody is bothered");
}

#[tokio::test]
async fn r28_what_the_api_server_refuses_nobody_is_asked_about() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r28-dry").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    scene.gate("check", one_of("r28"), json!({})).await;
    let mut change = create("one");
    change["object"]["data"]["not a key"] = json!("x");
    let request = alice.asks(&scene, "invalid", json!({"changes": [change]})).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Rejected]);
    let told = scene.tells(&request, "Completed", "True", "Rejected").await;
    assert!(told.contains("the API server refuses it") && told.contains("not a key"), "{told}");
    assert_eq!(scene.now(&request).await.status.unwrap().changes[0].instances, []);
}

#[tokio::test]
async fn r57_a_corrected_request_takes_the_place_of_the_older_one() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r57").await;
    let (alice, mallory) = (scene.as_user("alice", &[]).await, scene.as_user("mallory", &[]).await);
    scene.may_edit(&alice).await;
    scene.may_edit(&mallory).await;
    let process = scene.gate("check", one_of("r57"), json!({})).await;
    let mary = scene.as_user("mary", &["r57"]).await;
    let request = alice.asks(&scene, "first", json!({"changes": [create("one")]})).await;
    let asked = scene.asked_for(&request, "one", &process).await;

    let foreign = json!({"supersedes": "first", "changes": [create("two")]});
    let foreign = mallory.asks(&scene, "foreign", foreign).await;
    assert_eq!(scene.completed(&foreign).await, [ChangeState::Rejected]);
    let told = scene.tells(&foreign, "Completed", "True", "Rejected").await;
    assert!(told.contains("changerequest first was made by somebody else"), "{told}");
    assert_eq!(scene.now(&asked).await.status.unwrap().outcome, None);

    let corrected = alice.asks(&scene, "second", json!({"supersedes": "first", "changes": [create("two")]})).await;
    let instance = scene.asked_for(&corrected, "two", &process).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Cancelled]);
    let status = scene.now(&request).await.status.unwrap();
    assert_eq!(status.superseded_by.as_deref(), Some("second"));
    assert_eq!(scene.outcome_of(&asked).await, Outcome::Cancelled);
    let told = scene.says(&asked, "Completed", "True", "ObjectGone").await;
    assert!(told.contains("corrected by changerequest second"), "{told}");
    scene.counts(&mary.approves(&instance).await).await;
    assert_eq!(scene.completed(&corrected).await, [ChangeState::Executed]);
    assert!(scene.config_map("two").await.is_some() && scene.config_map("one").await.is_none());
}

#[tokio::test]
async fn r57_what_was_rejected_is_corrected_by_another_request() {
    let cluster = with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r57-rejected").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("r57-rejected"), json!({})).await;
    let mary = scene.as_user("mary", &["r57-rejected"]).await;
    let first = alice.asks(&scene, "first", json!({"changes": [create("one")]})).await;
    let asked = scene.asked_for(&first, "one", &process).await;
    scene.counts(&mary.rejects(&asked).await).await;
    assert_eq!(scene.completed(&first).await, [ChangeState::Rejected]);

    let second = alice.asks(&scene, "second", json!({"supersedes": "first", "changes": [create("two")]})).await;
    let asked = scene.asked_for(&second, "two", &process).await;
    let status = scene.now(&first).await.status.unwrap();
    assert_eq!(status.superseded_by.as_deref(), Some("second"));
    scene.counts(&mary.approves(&asked).await).await;
    assert_eq!(scene.completed(&second).await, [ChangeState::Executed]);
    // What was carried out is no draft any more.
    let third = alice.asks(&scene, "third", json!({"supersedes": "second", "changes": [create("three")]})).await;
    assert_eq!(scene.completed(&third).await, [ChangeState::Rejected]);
}
