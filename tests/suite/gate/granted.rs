//! What was approved passes, once, and nothing else does.

use super::*;
use crate::cluster::{Operator, OperatorOptions, ports};
use kube::api::{Api, Patch, PatchParams, PostParams};
use std::time::Duration;

const APPLY: &[&str] = &["apply", "-f", "-"];

#[tokio::test]
async fn r32_once_approved_the_same_command_passes_once() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-once").await;
    is_held(&gated.kubectl_as("mary", APPLY, &config_map("web", "after")).await);
    let request = gated.request_about("web").await;
    gated.is_approved(&request).await;

    let other = gated.kubectl_as("mary", APPLY, &config_map("web", "other")).await;
    assert!(other.stderr.contains("was for another payload"), "attack 27, the payload changed: {other:?}");
    is_held(&gated.kubectl_as("john", APPLY, &config_map("web", "after")).await);
    assert_eq!(gated.data_of("web").await, None, "attack 27: nobody else passes by the grant");

    gated.kubectl_as("mary", APPLY, &config_map("web", "after")).await.ok().unwrap();
    assert_eq!(gated.data_of("web").await, Some(json!({"key": "after"})));
    eventually("the grant is used", async || {
        let status = gated.scene.now(&request).await.status?;
        (status.changes[0].state == ChangeState::Executed).then_some(())
    })
    .await;
    let delete = ["delete", "configmap", "web"];
    is_held(&gated.kubectl_as("mary", &delete, &json!(null)).await);
    let (exempt, remove) = (gated.exempt(), ["-n", &gated.scene.namespace, "delete", "configmap", "web"]);
    cluster.plane.run_tool("kubectl", &exempt, &remove, "").await.unwrap().ok().unwrap();
    let again = gated.kubectl_as("mary", APPLY, &config_map("web", "after")).await;
    is_held(&again);
    assert!(again.stderr.contains(&format!("{}-2 in", request.name_any())), "attack 27, replayed: {again:?}");
}

#[tokio::test]
async fn r32_a_loop_that_applies_again_and_again_opens_one_request_and_passes_once() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-loop").await;
    let apply = ["apply", "--server-side", "--field-manager=flux", "-f", "-"];
    is_held(&gated.kubectl_as("flux", &apply, &config_map("web", "after")).await);
    let request = gated.request_about("web").await;
    let looping = async {
        eventually("the loop passes", async || {
            let applied = gated.kubectl_as("flux", &apply, &config_map("web", "after")).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            applied.success().then_some(())
        })
        .await;
        // From now on it changes nothing, and nobody is asked.
        for _ in 0..3 {
            gated.kubectl_as("flux", &apply, &config_map("web", "after")).await.ok().unwrap();
        }
    };
    tokio::join!(looping, gated.is_approved(&request));
    assert_eq!(gated.requests().await.len(), 1);
    assert_eq!(gated.data_of("web").await, Some(json!({"key": "after"})));
}

#[tokio::test]
async fn r32_an_object_that_changed_meanwhile_needs_another_approval_and_says_so() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-drift").await;
    gated.has_been(config_map("web", "before")).await;
    let mary = gated.scene.as_user("mary", &[]).await;
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = mary.sees();
    let whole = serde_json::from_value(config_map("web", "after")).unwrap();
    let tried = api.replace("web", &PostParams::default(), &whole).await;
    refused_by(tried, "gate.quorate.dev", "held for approval");
    gated.is_approved(&gated.request_about("web").await).await;

    let operator = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:quorate");
    let exempt = cluster.plane.as_user(&operator, &["system:masters"]).await.unwrap();
    let exempt: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(exempt, &gated.scene.namespace);
    let drift = Patch::Merge(json!({"data": {"key": "drifted"}}));
    exempt.patch("web", &PatchParams::default(), &drift).await.unwrap();

    let tried = api.replace("web", &PostParams::default(), &whole).await;
    refused_by(tried, "gate.quorate.dev", "for the object as it was before");
    assert_eq!(gated.requests().await.len(), 2);
}

#[tokio::test]
async fn r25_who_holds_the_verb_passes_with_a_reason_that_is_recorded() {
    let cluster = crate::with_mutating_policy().await;
    let gate = json!({"operations": ["CREATE"], "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::of(cluster, "r25-glass", gate, json!({"bypass": {"permission": true}})).await;
    let urgent = |name: &str| {
        let mut object = config_map(name, "after");
        object["metadata"]["annotations"] = json!({"quorate.dev/bypass-reason": "the cluster burns"});
        object
    };
    let tried = gated.kubectl_as("mary", &["create", "-f", "-"], &urgent("web")).await;
    assert!(tried.stderr.contains("mary may not pass without approval"), "{tried:?}");
    assert!(gated.requests().await.is_empty(), "nothing is opened for who may not");

    let (role, process) = (gated.scene.unique("bypass"), gated.process.name_any());
    let allow = [
        "create",
        "clusterrole",
        &role,
        "--verb=bypass",
        "--resource=approvalprocesses.quorate.dev",
        "--resource-name",
        &process,
    ];
    gated.scene.kubectl(&allow).await.ok().unwrap();
    gated
        .scene
        .kubectl(&["create", "clusterrolebinding", &role, "--clusterrole", &role, "--user=mary"])
        .await
        .ok()
        .unwrap();
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", "after")).await);
    let passed = eventually("the right is known", async || {
        let passed = gated.kubectl_as("mary", &["create", "-f", "-"], &urgent("web")).await;
        passed.success().then_some(passed)
    });
    let passed = passed.await;
    assert!(passed.stderr.contains("passed without approval, on record as changerequest/gate-"), "{passed:?}");
    let requests = gated.requests().await;
    let recorded: Vec<_> = requests.iter().filter_map(|request| held_of(request).bypass_reason.as_deref()).collect();
    assert_eq!(recorded, ["the cluster burns"]);
}

/// What is asked of a gate when `object` is created under a name that the server has made up.
fn review(gated: &Gated<'_>, name: &str) -> String {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "x"},
        "metadata": {"generateName": "web-", "name": name, "namespace": gated.scene.namespace}});
    let request = json!({"uid": name, "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"}, "name": name, "namespace": gated.scene.namespace,
        "operation": "CREATE", "userInfo": {"username": "mary", "groups": ["system:authenticated"]}, "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

#[tokio::test]
async fn attack_27_two_operators_that_race_let_one_request_pass() {
    let cluster = Cluster::start(true).await;
    let gated = Gated::start(&cluster, "attack-27").await;
    let (url, authority) = away::reached(&gated).await;
    let mut second = OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"));
    let address = ports::free().unwrap();
    let own = format!("{}://{}:{}", url.scheme(), url.host_str().unwrap(), url.port().unwrap());
    second.environment.push(("QUORATE_GATE_ADDRESS".into(), address.to_string()));
    second.environment.push(("QUORATE_GATE_URL".into(), own));
    let second = Operator::spawn(&cluster.plane, second).await.unwrap();
    second.wait_ready().await.unwrap();
    let mut other = url.clone();
    other.set_port(Some(address.port())).unwrap();

    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}, "data": {"key": "x"}});
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &object).await);
    gated.is_approved(&gated.request_about("web-").await).await;
    eventually("the other gate answers", async || {
        let path = url.path().to_owned();
        let (status, _) = away::post(&other, &authority, &path, "{}").await;
        (status == 400).then_some(())
    })
    .await;
    let reviews: Vec<_> = "bcdfghjklm".chars().map(|made| review(&gated, &format!("web-bcdf{made}"))).collect();
    let posts = reviews.iter().flat_map(|body| [(&url, body), (&other, body)]);
    let posts = posts.map(|(gate, body)| away::post(gate, &authority, url.path(), body));
    let answers = futures::future::join_all(posts).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let allowed = answers.iter().filter(|(_, answer)| answer.contains(r#""allowed":true"#)).count();
    assert_eq!(allowed, 1, "{answers:?}");
}

#[tokio::test]
async fn attack_27_of_twenty_at_the_same_time_one_passes() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-27").await;
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}, "data": {"key": "x"}});
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &object).await);
    gated.is_approved(&gated.request_about("web-").await).await;
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = gated.scene.as_user("mary", &[]).await.sees();
    let (parameters, object) = (PostParams::default(), serde_json::from_value(object).unwrap());
    let made = futures::future::join_all((0..20).map(|_| api.create(&parameters, &object))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
}

#[tokio::test]
async fn r32_what_a_service_account_was_refused_passes_once_approved() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-account").await;
    let account = gated.scene.as_service_account("robot").await;
    assert!(!account.actor.uid.is_empty(), "its token tells a uid");
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = account.sees();
    let web = serde_json::from_value(config_map("web", "after")).unwrap();
    refused_by(api.create(&PostParams::default(), &web).await, "gate.quorate.dev", "held for approval");
    let request = gated.request_about("web").await;
    // Whoever acts as it, without its token, is told of the same request.
    let admin = ["--as", account.name(), "create", "configmap", "web", "--from-literal=key=after"];
    let again = gated.scene.kubectl(&admin).await;
    assert!(again.stderr.contains(&request.name_any()), "{again:?}");
    gated.is_approved(&request).await;
    api.create(&PostParams::default(), &web).await.unwrap();
    assert_eq!(gated.requests().await.len(), 1);
}
