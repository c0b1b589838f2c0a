//! What people see: diagrams, warnings, columns; and that it follows the directory while an instance runs.

use super::{names_asked, runs};
use crate::scene::*;
use crate::{Cluster, on_both_servers};
use kube::ResourceExt;
use quorate::api::*;
use serde_json::{Value, json};

on_both_servers!(
    diagrams_show_the_way,
    warnings_say_what_may_not_be_meant,
    kubectl_shows_the_directory,
    who_is_asked_follows_the_directory,
    who_comes_and_goes_by_the_clock_is_followed_too,
);

async fn diagrams_show_the_way(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "diagram").await;
    let (alice, mary) = (scene.as_user("alice", &[]).await, scene.as_user("mary", &[]).await);
    let nodes = json!([
        {"name": "check", "displayName": "Check \"it\" <b>now</b>", "approval": {"approvers": [{"user": "mary"}]}},
        {"name": "confirm", "approval": {"approvers": [{"user": "john"}]}},
    ]);
    let definition = scene.workflow("picture", nodes).await;
    let drawn = scene.found(&definition).await.status.unwrap().diagram.unwrap();
    assert!(drawn.starts_with("flowchart TD\n"), "{drawn}");
    assert!(drawn.contains("confirm") && !drawn.contains("<b>") && !drawn.contains(":::current"), "{drawn}");
    let current =
        |drawn: &str| drawn.lines().filter(|line| line.ends_with(":::current")).collect::<Vec<_>>().join("\n");
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    let first = release.status.as_ref().unwrap().diagram.clone().unwrap();
    assert!(current(&first).contains("Check"), "{first}");
    scene.counts(&mary.approves(&release).await).await;
    let second = scene.at(&release, "confirm").await.status.unwrap().diagram.unwrap();
    assert!(current(&second).contains("confirm") && !current(&second).contains("Check"), "{second}");
    let reject = json!({"decision": "Reject", "step": "confirm", "visit": 1});
    scene.counts(&scene.as_user("john", &[]).await.signals(&release, reject).await.unwrap()).await;
    assert_eq!(scene.outcome_of(&release).await, Outcome::Rejected);
    let last = scene.status(&release).await.diagram.unwrap();
    assert!(current(&last).is_empty() && last.lines().any(|line| line.ends_with(":::Rejected")), "{last}");
}

async fn warnings_say_what_may_not_be_meant(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "warnings").await;
    let nodes = json!([{"name": "check", "approval": {"partitions": [
        {"name": "open", "approvers": [{"group": "team"}]},
        {"name": "closed", "approvers": [{"user": "mary"}]},
    ]}}]);
    let definition = scene.workflow("open", nodes).await;
    let warnings = scene.found(&definition).await.status.unwrap().warnings;
    let place = "spec.nodes[check].approval.partitions[open].approvers: nobody can be listed";
    assert!(warnings.len() == 1 && warnings[0].contains(place), "{warnings:?}");
    let mended =
        json!([{"name": "check", "approval": {"approvers": [{"group": "team"}], "timeout": {"after": "72h"}}}]);
    scene.changes(&definition, json!({"nodes": mended})).await;
    scene.ready(&definition, "True").await;
    assert_eq!(scene.found(&definition).await.status.unwrap().warnings, Vec::<String>::new());
}

async fn kubectl_shows_the_directory(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "columns").await;
    let anna = scene.person("anna", json!({"displayName": "Anna Malá"})).await;
    let role = json!({"displayName": "Clerks", "members": [{"identity": anna.name()}]});
    let role = scene.role_of("clerks", role).await;
    let definition =
        scene.workflow("check", json!([{"name": "check", "approval": {"approvers": [{"user": "mary"}]}}])).await;
    let office: BusinessCalendar = scene.has("office", json!({"timeZone": "Europe/Prague"})).await;
    scene.ready(&office, "True").await;
    let (user, name) = (anna.name(), role.name_any());
    for (kind, object, columns, row) in [
        ("ident", user, "NAME USERNAME DISPLAY NAME ACTIVE READY AGE", vec![user, user, "Anna Malá", "true", "True"]),
        ("brole", &name, "NAME DISPLAY NAME READY AGE", vec![&name, "Clerks", "True"]),
        (
            "wfd",
            &definition.name_any(),
            "NAME READY REASON INSTANCES AGE",
            vec![&definition.name_any(), "True", "Valid", "0"],
        ),
        (
            "businesscalendar",
            &office.name_any(),
            "NAME TIME ZONE READY AGE",
            vec![&office.name_any(), "Europe/Prague", "True"],
        ),
    ] {
        let table = scene.kubectl(&["get", kind, object]).await.ok().unwrap();
        let mut lines = table.lines();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines.next().unwrap()), columns);
        let shown = words(lines.next().unwrap());
        assert!(shown.starts_with(&row.join(" ")), "{row:?} expected: {shown}");
    }
    // The category holds all of them, and `all` none.
    let approvals = scene.kubectl(&["get", "approvals", "-o", "name"]).await.ok().unwrap();
    for kind in ["identity", "businessrole", "workflowdefinition", "businesscalendar"] {
        assert!(approvals.contains(&format!("{kind}.quorate.dev/")), "{kind} is missing: {approvals}");
    }
    let all = scene.kubectl(&["get", "all", "-o", "name"]).await.ok().unwrap();
    assert!(!all.contains("quorate.dev"), "{all}");
}

/// Waits until these people are asked, and nobody else.
async fn asks(scene: &Scene<'_>, instance: &WorkflowInstance, people: &[&Person]) {
    let mut names: Vec<_> = people.iter().map(|person| person.name().to_owned()).collect();
    names.sort_unstable();
    scene.until(instance, &format!("{names:?} are asked"), |status| names_asked(status) == names).await;
}

async fn who_is_asked_follows_the_directory(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "follows").await;
    let alice = scene.as_user("alice", &[]).await;
    let (anna, bob) = (scene.person("anna", json!({})).await, scene.person("bob", json!({})).await);
    let (carl, dan) = (scene.person("carl", json!({})).await, scene.person("dan", json!({})).await);
    let role = scene.role("clerks", &[&anna, &bob]).await;
    let approval = json!({"approvers": [{"role": role.name_any()}]});
    let definition = scene.workflow("check", json!([{"name": "check", "approval": approval}])).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    asks(&scene, &release, &[&anna, &bob]).await;
    let members = |people: &[&Person]| -> Value {
        let listed: Vec<_> = people.iter().map(|person| json!({"identity": person.name()})).collect();
        json!({"members": listed})
    };
    scene.changes(&role, members(&[&anna, &carl])).await;
    asks(&scene, &release, &[&anna, &carl]).await;
    scene.refuses(&bob.approves(&release).await, "NotAnApprover", "may not decide").await;
    // Somebody becomes inactive.
    let identity: Identity = kube::Api::all(scene.admin.client.clone()).get(anna.name()).await.unwrap();
    scene.changes(&identity, json!({"active": false})).await;
    asks(&scene, &release, &[&carl]).await;
    scene.refuses(&anna.approves(&release).await, "InactiveIdentity", "").await;
    // Nobody is left: the administrators are asked.
    scene.changes(&role, members(&[&anna])).await;
    let stand_in = |status: &WorkflowInstanceStatus| {
        status.tasks[0].approvers.iter().any(|asked| asked.source.contains("administrators"))
    };
    scene.until(&release, "the administrators are asked", stand_in).await;
    scene.changes(&role, members(&[&anna, &carl])).await;
    asks(&scene, &release, &[&carl]).await;
    // A substitute needs no edit of the role.
    carl.delegates(&scene, "carl", json!({"to": dan.name()})).await;
    scene.counts(&dan.approves(&release).await).await;
    assert_eq!(scene.status(&release).await.decisions[0].on_behalf_of.as_deref(), Some(carl.name()));
    assert_eq!(scene.outcome_of(&release).await, Outcome::Approved);
}

async fn who_comes_and_goes_by_the_clock_is_followed_too(cluster: &Cluster) {
    let scene = Scene::with_namespace(cluster, "clock").await;
    let alice = scene.as_user("alice", &[]).await;
    let (anna, bob) = (scene.person("anna", json!({})).await, scene.person("bob", json!({})).await);
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let members = json!([{"identity": anna.name(), "validUntil": soon}, {"identity": bob.name(), "validFrom": soon}]);
    let role = scene.role_of("clerks", json!({"members": members})).await;
    let approval = json!({"approvers": [{"role": role.name_any()}]});
    let definition = scene.workflow("check", json!([{"name": "check", "approval": approval}])).await;
    let release = scene.asking(&alice.opens("release", runs(&definition)).await).await;
    asks(&scene, &release, &[&bob]).await;
    scene.refuses(&anna.approves(&release).await, "NotAnApprover", "may not decide").await;
    scene.counts(&bob.approves(&release).await).await;
}
