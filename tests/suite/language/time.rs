//! What time does: deadlines, escalations, and the calendars that they are counted by.

use super::{names_asked, runs};
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use kube::ResourceExt;
use quorate::api::*;
use serde_json::json;
use std::time::Duration;

on_both_servers!(
    a_step_expires,
    a_step_is_approved_by_silence_only_where_that_is_written,
    an_escalation_asks_more_people,
    a_deadline_is_counted_in_business_days,
);

async fn a_step_expires(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "timeout").await;
    let alice = scene.as_user("alice", &[]).await;
    let mary = scene.as_user("mary", &[]).await;
    let approval = json!({"approvers": [{"user": "mary"}], "timeout": {"after": "6s"}});
    let release = scene.asking(&alice.opens("release", one_step(approval)).await).await;
    let visit = release.status.as_ref().unwrap().steps[0].clone();
    let deadline = visit.deadline.clone().unwrap().0;
    let given = deadline.duration_since(visit.entered_at.0).as_millis();
    assert!((6000..=7000).contains(&given), "{given} ms were given");
    assert_eq!(release.status.as_ref().unwrap().next_wakeup.as_ref().map(|time| time.0), Some(deadline));
    // In time, and not enough.
    scene.refuses(&alice.approves(&release).await, "SelfApproval", "").await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Expired);
    let status = scene.status(&release).await;
    assert!(status.completed_at.unwrap().0 > deadline);
    assert_eq!(status.steps[0].output.as_deref(), Some("expired"));
    assert_eq!(status.tasks[0].state, TaskState::Expired);
    assert_eq!(status.next_wakeup, None);
    scene.refuses(&mary.approves(&release).await, "StepClosed", "release is finished: Expired").await;

    // Where it leads can be said: to somebody else.
    let nodes = json!([
        {"name": "first", "approval": {"approvers": [{"user": "mary"}], "timeout": {"after": "1s"}}, "next": {"expired": "second"}},
        {"name": "second", "approval": {"approvers": [{"user": "john"}]}},
    ]);
    let other = alice.opens("other", json!({"workflow": {"nodes": nodes}})).await;
    scene.at(&other, "second").await;
    assert_eq!(scene.asked(&other).await, ["john"]);
}

/// Who signed in time is not late because the operator was away. It takes a control plane of its own.
#[tokio::test]
async fn a_signal_in_time_counts_however_late_it_is_seen() {
    let mut cluster = Cluster::start(false).await;
    let namespace = Scene::with_namespace(&cluster, "late").await.namespace;
    let approval = json!({"approvers": [{"user": "mary"}], "timeout": {"after": "8s"}});
    let scene = Scene::within(&cluster, &namespace).await;
    let release = scene.as_user("alice", &[]).await.opens("release", one_step(approval)).await;
    let release = scene.asking(&release).await;
    let deadline = release.status.as_ref().unwrap().steps[0].deadline.clone().unwrap();
    cluster.operator.terminate(Duration::from_secs(30)).await.unwrap();
    let scene = Scene::within(&cluster, &namespace).await;
    let (mary, john) = (scene.as_user("mary", &[]).await, scene.as_user("john", &[]).await);
    let signal = mary.approves(&release).await;
    assert!(seconds(&signal.creation_timestamp().unwrap()) <= seconds(&deadline), "this machine is too slow");
    while Timestamp::now().as_second() <= seconds(&deadline) + 1 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let late = john.approves(&release).await;
    cluster.operator = Cluster::spawn_operator(&cluster.plane).await;
    let _log = crate::ShowsLog(&cluster);
    let scene = Scene::within(&cluster, &namespace).await;
    scene.counts(&signal).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    scene.refuses(&late, "StepClosed", "").await;
}

async fn a_step_is_approved_by_silence_only_where_that_is_written(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "silence").await;
    let alice = scene.as_user("alice", &[]).await;
    let silent = json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}], "timeout": {"after": "1s", "output": "approved"}}}]);
    let definition = scene.workflow("silent", silent).await;
    let warnings = scene.found(&definition).await.status.unwrap().warnings;
    let place = "spec.nodes[check].approval.timeout.output: after 1s this step is approved although nobody agreed";
    assert_eq!(warnings, [place]);
    let release = alice.opens("release", runs(&definition)).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
    assert_eq!(scene.status(&release).await.decisions, []);
    // Any other way is refused.
    let approval = json!({"approvers": [{"user": "mary"}], "timeout": {"after": "1s"}});
    let nodes = json!([{"name": "check", "approval": approval, "next": {"expired": "Approved"}}]);
    let definition: WorkflowDefinition = scene.has("expired", json!({"nodes": nodes})).await;
    let told = scene.ready(&definition, "False").await;
    assert!(told.contains("spec.nodes[check].next.expired") && told.contains("may not end Approved"), "{told}");
}

async fn an_escalation_asks_more_people(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "escalation").await;
    let alice = scene.as_user("alice", &[]).await;
    let boss = scene.person("boss", json!({})).await;
    let anna = scene.person("anna", json!({"managers": [boss.name()]})).await;
    let approval = json!({
        "approvers": [{"user": anna.name()}],
        "escalations": [{"after": "6s", "approvers": [{"supervisorOf": "Approvers"}]}, {"after": "8s", "approvers": [{"group": "night"}]}],
    });
    let release = scene.asking(&alice.opens("release", one_step(approval)).await).await;
    assert_eq!(scene.asked(&release).await, [anna.name()]);
    scene.refuses(&boss.approves(&release).await, "NotAnApprover", "may not decide").await;
    let called = |status: &WorkflowInstanceStatus| status.steps[0].escalated == 1;
    let status = scene.until(&release, "the first level is called", called).await.status.unwrap();
    assert_eq!(names_asked(&status), [anna.name(), boss.name()]);
    let called = |status: &WorkflowInstanceStatus| status.steps[0].escalated == 2;
    let status = scene.until(&release, "the second level is called", called).await.status.unwrap();
    assert_eq!((status.tasks[0].required, status.steps.len()), (1, 1), "required stays, and so does the visit");
    assert_eq!(status.tasks[0].approvers.len(), 3);
    scene.counts(&boss.approves(&release).await).await;
    let vote = scene.status(&release).await.decisions[0].clone();
    assert!(vote.through.contains("escalation 1"), "{vote:?}");
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn a_deadline_is_counted_in_business_days(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "calendar").await;
    let alice = scene.as_user("alice", &[]).await;
    let calendar = scene.unique("office");
    let approval = json!({"approvers": [{"user": "mary"}], "timeout": {"businessDays": 2, "calendar": calendar}});
    let nodes = json!([{"name": "check", "approval": approval}]);
    let definition: WorkflowDefinition = scene.has("slow", json!({"nodes": nodes})).await;
    let told = scene.ready(&definition, "False").await;
    let place = format!("spec.nodes[check].approval.timeout.calendar: there is no BusinessCalendar {calendar}");
    assert!(told.contains(&place), "{told}");
    let release = alice.opens("release", runs(&definition)).await;
    scene.says(&release, "Completed", "False", "DefinitionNotReady").await;

    // Whatever day it is: tomorrow is a holiday, and weekends are not worked on.
    let zone = TimeZone::get("Europe/Prague").unwrap();
    let today = Timestamp::now().to_zoned(zone.clone()).date();
    let tomorrow = today.tomorrow().unwrap();
    let spec = json!({"timeZone": "Europe/Prague", "holidays": [tomorrow.to_string()]});
    let office: BusinessCalendar = scene.has("office", spec).await;
    scene.ready(&office, "True").await;
    scene.ready(&definition, "True").await;
    let release = scene.asking(&release).await;
    let visit = release.status.as_ref().unwrap().steps[0].clone();
    let entered = visit.entered_at.0.to_zoned(zone.clone());
    let works =
        |date: jiff::civil::Date| date != tomorrow && !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
    let mut day = entered.date();
    let mut left = 2;
    let began_on_a_working_day = works(day);
    while left > 0 {
        day = day.checked_add(1.day()).unwrap();
        left -= i32::from(works(day));
    }
    let end = if began_on_a_working_day {
        // The same time of day, two working days later; in whole seconds, rounded up.
        entered.time().on(day.year(), day.month(), day.day()).to_zoned(zone).unwrap()
    } else {
        day.tomorrow().unwrap().to_zoned(zone).unwrap()
    };
    let told = visit.deadline.clone().unwrap().0;
    let off = told.duration_since(end.timestamp()).as_millis();
    assert!((0..=1000).contains(&off), "{told} instead of {end}");

    // A calendar that goes leaves the deadline that was fixed.
    let faulty: BusinessCalendar = scene.has("faulty", json!({"timeZone": "Europe/Nowhere"})).await;
    let told = scene.ready(&faulty, "False").await;
    assert!(told.contains("spec.timeZone: there is no time zone Europe/Nowhere"), "{told}");
    scene.kubectl(&["delete", "businesscalendar", &office.name_any()]).await.ok().unwrap();
    scene.ready(&definition, "False").await;
    assert_eq!(scene.status(&release).await.steps[0].deadline, visit.deadline);
    scene.counts(&scene.as_user("mary", &[]).await.approves(&release).await).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}
